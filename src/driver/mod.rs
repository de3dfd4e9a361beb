//! Does what the core decides: one thread, one single-threaded runtime.
//!
//! | module | what it does |
//! |---|---|
//! | [`config`] | what JavaScript gives at birth |
//! | [`pace`] | rests a moment under load, so that one wake-up finds more work |
//! | [`engine`] | holds the core, feeds it inputs and performs its outputs; its parts are |
//! | [`channels`] | — reading and writing what goes between master and children |
//! | [`processes`] | — starting, signalling and reaping children |
//! | [`threads`] | — children that are threads: has JavaScript make, feed and end them |
//! | [`sockets`] | — binding, accepting, looking at connections |
//! | [`backlog`] | events that JavaScript has not looked at yet |
//! | [`service`] | — the service manager: what it is told |
//! | [`control`] | — operators: what they see, and what they ask for |
//! | [`child`] | one child: its process id, its channel, what waits there |
//! | [`farewell`] | ends the process where its JavaScript does not |
//! | [`guard`] | — the guardian: who ends what is left when this process is killed |
//! | [`hang_stack`] | where the JavaScript of a hung process is |
//! | [`inspector`] | a client of Node's inspector, for that |
//! | [`orphans`] | children that are left when the thread ends before them |
//! | [`panics`] | notes what panics, so that nothing goes on after it |
//! | [`peeks`] | connections whose first bytes are awaited |
//! | [`tables`] | the descriptors behind the core's ids |
//! | [`tasks`] | waits for descriptors to be ready, and for children to end |
//!
//! Every task waits for one thing, borrows the engine, has it do all the work that is
//! there, and lets go of it before it waits again. So nothing needs a lock, and one wake-up
//! costs the same however many children there are.

mod backlog;
mod channels;
mod child;
pub mod config;
pub mod control;
mod engine;
mod farewell;
mod guard;
mod hang_stack;
mod inspector;
mod orphans;
mod pace;
mod panics;
mod peeks;
mod processes;
mod service;
mod sockets;
mod tables;
mod tasks;
mod threads;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc as sync_mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc};

use crate::core::event::{Command, Event, Settings, Snapshot};
use crate::error::RequestError;
pub use backlog::Backlog;
use config::Launch;
use engine::Engine;
pub use threads::ThreadReport;

/// Receives each event as JSON, on the core thread.
pub type EventSink = Arc<dyn Fn(String) + Send + Sync>;

/// How long a caller waits for an answer of the core thread.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The exit code after a panic: `EX_SOFTWARE` of `sysexits.h`.
const EXIT_SOFTWARE: i32 = 70;
/// The exit code of a master that has not started.
const EXIT_START_FAILED: i32 = 1;

/// What other threads ask of the core thread.
#[derive(Debug)]
enum Request {
    Command(Command),
    Thread { key: u32, report: ThreadReport },
    Snapshot(sync_mpsc::Sender<Snapshot>),
    EventsTaken,
    Parent { full: bool },
    Stop,
}

/// A running core thread. Dropping it stops the thread: channels close, and the children
/// leave as they do when a master exits.
#[derive(Debug)]
pub struct Driver {
    requests: mpsc::UnboundedSender<Request>,
    ended: sync_mpsc::Receiver<()>,
    /// None once it is joined.
    thread: Option<JoinHandle<()>>,
    /// Closed when JavaScript lets go of the driver.
    held: Option<sync_mpsc::Sender<()>>,
}

impl Driver {
    /// Starts the core thread. Nothing is forked before [`Command::Start`]. Whoever gets the events takes
    /// their bytes off the backlog when it has dealt with them.
    ///
    /// # Errors
    /// Where the system has no thread left to give.
    pub fn launch(
        settings: Settings,
        launch: Launch,
        sink: EventSink,
        backlog: Arc<Backlog>,
    ) -> io::Result<Self> {
        let (requests, inbox) = mpsc::unbounded_channel();
        backlog.tell(requests.clone());
        let counted = Arc::clone(&backlog);
        let sink: EventSink = Arc::new(move |event: String| {
            counted.add(event.len());
            sink(event);
        });
        let (end, ended) = sync_mpsc::channel();
        let (held, released) = sync_mpsc::channel();
        let farewell = launch.farewell();
        let told = Arc::clone(&backlog);
        let thread = thread::Builder::new()
            .name("egg-cluster".to_owned())
            .spawn(move || {
                let code = run_contained(settings, launch, inbox, &sink, backlog);
                // The sink goes first: it keeps Node's event loop alive.
                drop(sink);
                if let (Some(code), Some(farewell)) = (code, farewell) {
                    farewell.wait(code, &told, &released);
                }
                drop(end);
            })?;
        Ok(Self {
            requests,
            ended,
            thread: Some(thread),
            held: Some(held),
        })
    }

    /// Passes a command to the core.
    ///
    /// # Errors
    /// Where the core thread has ended.
    pub fn command(&self, command: Command) -> Result<(), RequestError> {
        self.requests
            .send(Request::Command(command))
            .map_err(|_| RequestError::Ended)
    }

    /// Says what has become of the thread that was asked for under this key. When the core
    /// thread has ended, it is of no interest any more.
    pub fn report_thread(&self, key: u32, report: ThreadReport) {
        let _ = self.requests.send(Request::Thread { key, report });
    }

    /// Says that more waits for the parent than may, or that most of it is gone. When the core thread has
    /// ended, it is of no interest any more.
    pub fn report_parent(&self, full: bool) {
        let _ = self.requests.send(Request::Parent { full });
    }

    /// The cluster as it is now; an empty one when everything has ended.
    ///
    /// # Errors
    /// Where the core thread does not answer within a second.
    pub fn snapshot(&self) -> Result<Snapshot, RequestError> {
        let (reply, answer) = sync_mpsc::channel();
        if self.requests.send(Request::Snapshot(reply)).is_err() {
            return Ok(Snapshot::closed());
        }
        match answer.recv_timeout(ANSWER_LIMIT) {
            Ok(snapshot) => Ok(snapshot),
            Err(sync_mpsc::RecvTimeoutError::Timeout) => Err(RequestError::NoAnswer),
            Err(sync_mpsc::RecvTimeoutError::Disconnected) => Ok(Snapshot::closed()),
        }
    }

    /// Stops the core thread and waits until it is gone, with all of its descriptors. False if
    /// that takes more than a second.
    pub fn release(&mut self) -> bool {
        // An error means that the thread has ended already.
        let _ = self.requests.send(Request::Stop);
        self.held = None;
        let answer = self.ended.recv_timeout(ANSWER_LIMIT);
        if answer == Err(sync_mpsc::RecvTimeoutError::Timeout) {
            return false;
        }
        if let Some(thread) = self.thread.take() {
            // A panic in it has been told as an event.
            let _ = thread.join();
        }
        true
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.release();
    }
}

/// A panic must not pass the border of the thread: it is told to JavaScript instead. The exit code that was
/// told with the last event; none where JavaScript has stopped the thread before.
fn run_contained(
    settings: Settings,
    launch: Launch,
    inbox: mpsc::UnboundedReceiver<Request>,
    sink: &EventSink,
    backlog: Arc<Backlog>,
) -> Option<i32> {
    let noticed = panics::watch();
    let run = AssertUnwindSafe(|| run(settings, launch, inbox, sink, backlog, &noticed));
    let ended = catch_unwind(run);
    let (reason, code, backtrace) = match (panics::take(), ended) {
        (Some(panic), _) => (panic.reason, EXIT_SOFTWARE, Some(panic.backtrace)),
        // Raised without the hook, which nothing here does.
        (None, Err(_)) => ("unknown panic".to_owned(), EXIT_SOFTWARE, None),
        (None, Ok(Err(error))) => {
            let reason = format!("the core thread could not start: {error}");
            (reason, EXIT_START_FAILED, None)
        }
        (None, Ok(Ok(code))) => return code,
    };
    let fatal = Event::Fatal {
        reason,
        code,
        backtrace,
    };
    tracing::error!(?fatal, "the core has failed");
    sink(engine::to_json(&fatal));
    Some(code)
}

fn run(
    settings: Settings,
    mut launch: Launch,
    mut inbox: mpsc::UnboundedReceiver<Request>,
    sink: &EventSink,
    backlog: Arc<Backlog>,
    panicked: &Notify,
) -> io::Result<Option<i32>> {
    let before = Arc::new(pace::Pace::new());
    let after = Arc::clone(&before);
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(move || before.before_wait())
        .on_thread_unpark(move || after.after_wait())
        .build_local(LocalOptions::default())?;
    Ok(runtime.block_on(async {
        let control = launch.take_control();
        let inherited = launch.take_inherited();
        let notify_socket = launch.take_notify_socket();
        let engine = Engine::new(settings, launch, Arc::clone(sink), backlog);
        control::start(&engine, control);
        if let Some(name) = notify_socket {
            engine.borrow_mut().meet_service_manager(name);
        }
        engine.borrow_mut().look_at_inherited(inherited);
        loop {
            if panics::has_happened() {
                return None;
            }
            let closed = engine.borrow().closed();
            if closed.is_some() {
                control::finish(&engine).await;
                return closed;
            }
            let (deadline, wake) = {
                let engine = engine.borrow();
                (engine.next_deadline(), engine.wake())
            };
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(Request::Command(command)) => engine.borrow_mut().command(command),
                    Some(Request::Thread { key, report }) => {
                        engine.borrow_mut().on_thread(key, report);
                    }
                    // A caller that has given up waiting is no error.
                    Some(Request::Snapshot(reply)) => {
                        let _ = reply.send(engine.borrow().snapshot());
                    }
                    Some(Request::EventsTaken) => engine.borrow_mut().on_events_taken(),
                    Some(Request::Parent { full }) => engine.borrow_mut().on_parent(full),
                    Some(Request::Stop) | None => return None,
                },
                () = tasks::sleep_until(deadline) => engine.borrow_mut().timeout(),
                () = wake.notified() => {}
                () = panicked.notified() => {}
            }
        }
    }))
}
