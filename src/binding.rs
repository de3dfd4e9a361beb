//! The border to JavaScript, and the only place of `#[napi]`: convert, pass on, return.

use std::sync::Arc;

use napi::bindgen_prelude::Function;
use napi::{Env, Error, Result, Status};
use napi_derive::napi;

use crate::core::event::{Command, Origin};
use crate::driver::config::Config;
use crate::driver::{Backlog, Driver, ThreadReport};
use crate::error::RequestError;
use crate::ipc::message::{self, ChildMessage, Line};
#[cfg(target_os = "linux")]
use crate::sys::adopted;
use crate::sys::callback::Callback;
use crate::sys::{port, process, signal_sender, usage};

/// A master: one core thread with its children.
#[napi]
pub struct NativeMaster {
    driver: Driver,
}

#[napi]
impl NativeMaster {
    /// Makes a master from its configuration (JSON); `on_event` gets every event as JSON,
    /// and keeps the event loop alive until the last one.
    #[napi(constructor, catch_unwind)]
    pub fn new(env: Env, config: String, on_event: Function<'_, String, ()>) -> Result<Self> {
        crate::trace::init();
        let (settings, launch) = Config::parse(&config).map_err(to_js)?;
        let backlog = Arc::new(Backlog::default());
        let taken = Arc::clone(&backlog);
        let callback = Callback::new(&env, &on_event, Box::new(move |bytes| taken.take(bytes)))?;
        let sink = move |event: String| callback.call(event);
        let driver = Driver::launch(settings, launch, Arc::new(sink), backlog).map_err(to_js)?;
        Ok(Self { driver })
    }

    /// Forks the agent, then the app workers.
    #[napi(catch_unwind)]
    pub fn start(&self) -> Result<()> {
        self.command(Command::Start)
    }

    /// Routes a message, a JSON object, of the master's own or of the parent's.
    #[napi(catch_unwind)]
    pub fn send(&self, message: String, from_parent: bool) -> Result<()> {
        let from = if from_parent {
            Origin::Parent
        } else {
            Origin::Master
        };
        let reason = match message::parse(&message.into()) {
            Ok(Line::Plain(ChildMessage::User(message))) => {
                return self.command(Command::Send { from, message });
            }
            Ok(_) => "it is something else".to_owned(),
            Err(reason) => reason,
        };
        Err(to_js(RequestError::NotAMessage(reason)))
    }

    /// More waits for the parent than may (`full`), or most of it is read.
    #[napi(catch_unwind)]
    pub fn parent_full(&self, full: bool) {
        self.driver.report_parent(full);
    }

    /// Replaces the app workers, and before them the agent if `agent` is true.
    #[napi(catch_unwind)]
    pub fn reload(&self, agent: bool) -> Result<()> {
        self.command(if agent {
            Command::ReloadWithAgent
        } else {
            Command::Reload
        })
    }

    /// Ends everything in order. The last event is `closed`.
    #[napi(catch_unwind)]
    pub fn close(&self) -> Result<()> {
        self.command(Command::Close)
    }

    /// Waits until the core thread is gone, with all of its descriptors: after `closed` or
    /// `fatal`. False if that takes more than a second.
    #[napi(catch_unwind)]
    pub fn release(&mut self) -> bool {
        self.driver.release()
    }

    /// The thread that was asked for under this key exists.
    #[napi(catch_unwind)]
    pub fn thread_started(&self, key: u32, thread_id: i32) {
        self.driver
            .report_thread(key, ThreadReport::Started { thread_id });
    }

    /// The thread that was asked for under this key could not be made.
    #[napi(catch_unwind)]
    pub fn thread_failed(&self, key: u32, reason: String) {
        self.driver
            .report_thread(key, ThreadReport::Failed { reason });
    }

    /// A thread has posted a message, here as JSON.
    #[napi(catch_unwind)]
    pub fn thread_message(&self, key: u32, message: String) {
        let message = message.into();
        self.driver
            .report_thread(key, ThreadReport::Message { message });
    }

    /// A thread has ended.
    #[napi(catch_unwind)]
    pub fn thread_exited(&self, key: u32, code: i32) {
        self.driver
            .report_thread(key, ThreadReport::Exited { code });
    }

    /// The cluster as it is now, as JSON.
    #[napi(catch_unwind)]
    pub fn snapshot(&self) -> Result<String> {
        let snapshot = self.driver.snapshot().map_err(to_js)?;
        serde_json::to_string(&snapshot).map_err(to_js)
    }
}

impl NativeMaster {
    fn command(&self, command: Command) -> Result<()> {
        self.driver.command(command).map_err(to_js)
    }
}

/// Ends this process without waiting for its threads, some of which cannot be ended.
#[napi(catch_unwind)]
pub fn exit_at_once(code: i32) {
    process::exit_at_once(code)
}

/// How many processors this process may keep busy; null where the system does not tell.
#[napi(catch_unwind)]
pub fn processors() -> Option<u32> {
    usage::processors().and_then(|count| u32::try_from(count).ok())
}

/// Do orphans become children of this process, as those of the first process of a container?
#[napi(catch_unwind)]
pub fn adopts_orphans() -> bool {
    #[cfg(target_os = "linux")]
    return adopted::is_expected();
    #[cfg(not(target_os = "linux"))]
    return false;
}

/// Reaps orphans that had ended before the last call. To be called from the main event loop.
#[napi(catch_unwind)]
pub fn reap_orphans() -> u32 {
    #[cfg(target_os = "linux")]
    return u32::try_from(adopted::reap()).unwrap_or(u32::MAX);
    #[cfg(not(target_os = "linux"))]
    return 0;
}

/// Who has sent a signal.
#[napi(object)]
pub struct SignalSender {
    /// The process id; 0 for the kernel, and for a process outside of our namespace.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// The kernel itself, as for a key of the terminal.
    pub is_kernel: bool,
    /// What it runs, as far as that is known.
    pub command: Option<String>,
}

/// Notes from now on who sends the signals that this process listens to now. Not in a worker thread:
/// no signal reaches it, and its end may take the handler with it.
#[napi(catch_unwind)]
pub fn watch_signals() {
    if process::is_main_thread() {
        signal_sender::watch();
    }
}

/// The sender of the signal of this number that has come; once, and null where nothing is known of it.
#[napi(catch_unwind)]
pub fn take_signal_sender(number: i32) -> Option<SignalSender> {
    let sender = signal_sender::take_sender(number)?;
    Some(SignalSender {
        pid: sender.pid,
        uid: sender.uid,
        is_kernel: sender.is_kernel,
        command: sender.command,
    })
}

/// A TCP port that nobody else is given while this object lives.
#[napi]
pub struct PortReservation {
    reservation: Option<port::PortReservation>,
    port: u16,
}

#[napi]
impl PortReservation {
    /// Reserves a free port.
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Result<Self> {
        let reservation = port::PortReservation::reserve().map_err(to_js)?;
        Ok(Self {
            port: reservation.port(),
            reservation: Some(reservation),
        })
    }

    /// The port.
    #[napi(getter, catch_unwind)]
    pub fn port(&self) -> u32 {
        self.port.into()
    }

    /// Gives the port back.
    #[napi(catch_unwind)]
    pub fn release(&mut self) {
        self.reservation = None;
    }
}

fn to_js(error: impl std::fmt::Display) -> Error {
    Error::new(Status::GenericFailure, error.to_string())
}
