//! What waits: for a channel to be readable or writable, for a connection, for the end of
//! a child, for a deadline. Each holds the engine weakly, and ends when what it waits for
//! is gone.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::sync::Notify;

use super::engine::{Engine, Progress};
use crate::core::event::{ChildId, ConnId, ListenerId};
use crate::ipc::outbox::Flush;
use crate::sys;
use crate::sys::reactor::{Watched, watch};

/// Pause after the kernel had no room for a descriptor in flight: no event says when it
/// has some again.
const STARVED_PAUSE: Duration = Duration::from_millis(10);

/// Something that can be held back: accepting, or reading a channel.
#[derive(Debug)]
pub(super) struct Gate {
    open: Cell<bool>,
    gone: Cell<bool>,
    changed: Notify,
}

impl Gate {
    pub(super) fn new(open: bool) -> Rc<Self> {
        Rc::new(Self {
            open: Cell::new(open),
            gone: Cell::new(false),
            changed: Notify::new(),
        })
    }

    pub(super) fn set(&self, open: bool) {
        if self.open.replace(open) != open {
            self.changed.notify_one();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.get() && !self.gone.get()
    }

    pub(super) fn close_for_ever(&self) {
        self.gone.set(true);
        self.changed.notify_one();
    }

    /// Waits until the gate is open; false when it never will be.
    async fn passed(&self) -> bool {
        loop {
            if self.gone.get() {
                return false;
            }
            if self.open.get() {
                return true;
            }
            self.changed.notified().await;
        }
    }

    async fn gone(&self) {
        while !self.gone.get() {
            self.changed.notified().await;
        }
    }
}

/// Sleeps until `deadline`; for ever without one.
pub(super) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Reads a channel whenever something is there.
pub(super) async fn read(
    engine: Weak<RefCell<Engine>>,
    child: ChildId,
    channel: Rc<Watched>,
    gate: Rc<Gate>,
) {
    let read = |engine: &mut Engine| engine.read_channel(child);
    while_readable(engine, &channel, &gate, read).await;
}

/// Accepts connections while the gate is open.
pub(super) async fn accept(
    engine: Weak<RefCell<Engine>>,
    listener: ListenerId,
    socket: Rc<Watched>,
    gate: Rc<Gate>,
) {
    let accept = |engine: &mut Engine| engine.accept_batch(listener);
    while_readable(engine, &socket, &gate, accept).await;
}

/// Takes a turn each time that a descriptor is readable and its gate is open.
async fn while_readable(
    engine: Weak<RefCell<Engine>>,
    fd: &Watched,
    gate: &Gate,
    turn: impl Fn(&mut Engine) -> Progress,
) {
    while gate.passed().await {
        let ready = tokio::select! {
            // In this order, and not in one that is drawn by lot each time.
            biased;
            ready = fd.readable() => ready,
            () = gate.gone() => return,
        };
        let (Ok(mut ready), Some(engine)) = (ready, engine.upgrade()) else {
            return;
        };
        if !gate.is_open() {
            continue;
        }
        match turn(&mut engine.borrow_mut()) {
            Progress::More => ready.retain_ready(),
            Progress::Blocked => ready.clear_ready(),
            Progress::Ended => return,
        }
    }
}

/// Writes the rest of an outbox, each time that a write has come to its limit.
///
/// The channel is watched for room only while something waits: otherwise each read of the
/// child would wake this thread to tell that there is room.
pub(super) async fn write(
    engine: Weak<RefCell<Engine>>,
    child: ChildId,
    channel: Rc<Watched>,
    gate: Rc<Gate>,
) {
    while gate.passed().await {
        let copy = channel.get_ref().try_clone();
        match copy.and_then(|copy| watch(copy, Interest::WRITABLE)) {
            Ok(room) => write_while_blocked(&engine, child, &room, &gate).await,
            // Out of descriptors: the outbox is tried again later.
            Err(error) => {
                tracing::debug!(?child, %error, "channel cannot be watched for room");
                tokio::time::sleep(STARVED_PAUSE).await;
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                let _ = engine.borrow_mut().write_channel(child);
            }
        }
    }
}

/// Writes whenever there is room, until nothing waits any more.
async fn write_while_blocked(
    engine: &Weak<RefCell<Engine>>,
    child: ChildId,
    room: &Watched,
    gate: &Gate,
) {
    while gate.is_open() {
        let ready = tokio::select! {
            ready = room.writable() => ready,
            () = gate.gone() => return,
        };
        let (Ok(mut ready), Some(strong)) = (ready, engine.upgrade()) else {
            return;
        };
        let flush = strong.borrow_mut().write_channel(child);
        drop(strong);
        match flush {
            Flush::Blocked => ready.clear_ready(),
            Flush::Barred | Flush::Starved => tokio::time::sleep(STARVED_PAUSE).await,
            Flush::Drained => {}
        }
    }
}

/// Looks at the first bytes of a connection, each time that some have come.
pub(super) async fn peek(engine: Weak<RefCell<Engine>>, conn: ConnId, socket: Watched) {
    loop {
        let ready = socket.readable().await;
        let (Ok(mut ready), Some(engine)) = (ready, engine.upgrade()) else {
            return;
        };
        let ended = ready.ready().is_read_closed();
        match engine.borrow_mut().look(conn, ended) {
            Progress::More => ready.retain_ready(),
            Progress::Blocked => ready.clear_ready(),
            Progress::Ended => return,
        }
    }
}

/// Waits for the end of a child.
pub(super) async fn reap(engine: Weak<RefCell<Engine>>, child: ChildId, pid: i32) {
    match sys::process::open(pid).and_then(|fd| watch(fd, Interest::READABLE)) {
        // An error of the event loop ends the wait as well: `reaped` looks for itself.
        Ok(process) => drop(process.readable().await.map(drop)),
        Err(_) => wait_on_thread(pid).await,
    }
    // A process descriptor is readable a moment before the status can be had.
    while let Some(strong) = engine.upgrade() {
        if strong.borrow_mut().reap(child) {
            return;
        }
        drop(strong);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Where there are no process descriptors (macOS, Linux before 5.3).
async fn wait_on_thread(pid: i32) {
    let (end, ended) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name(format!("egg-cluster-{pid}"));
    let wait = move || {
        let result = sys::process::wait_until_ended(pid);
        // The engine may be gone.
        let _ = end.send(result);
    };
    if thread.spawn(wait).is_ok() {
        let _ = ended.await;
    }
}
