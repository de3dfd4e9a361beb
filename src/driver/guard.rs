//! The engine's part of the guardian: who ends what is left when this process is killed.
//!
//! It is started before the first child and told of every one. When it has been killed, another
//! takes its place. Without one the cluster runs as well: the children still leave by the end
//! of their channels, if they can.

use std::cell::RefCell;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::task::spawn_local;

use super::engine::Engine;
use crate::sys;
use crate::sys::guardian::{self, Note};
use crate::sys::process::Signal;
use crate::sys::process_tree::{Identity, identify};
use crate::sys::reactor::{Watched, watch};

/// Before another one is started. One that is killed again and again costs little so.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// How long one that has nothing to do may take to end. It takes less than a millisecond.
const FAREWELL: Duration = Duration::from_secs(1);
/// Between two looks whether it has.
const FAREWELL_LOOK: Duration = Duration::from_micros(500);

/// What the engine knows of its guardian.
#[derive(Debug, Default)]
pub(super) enum Guard {
    /// Not tried yet, or to be tried again.
    #[default]
    None,
    Running(Guardian),
    /// There can be none here.
    Impossible,
}

/// A guardian that runs.
#[derive(Debug)]
pub(super) struct Guardian {
    pid: i32,
    channel: OwnedFd,
    /// It has said so.
    is_up: bool,
}

impl Guard {
    pub(super) fn tell(&self, note: Note) {
        if let Self::Running(guardian) = self {
            guardian.tell(note, None);
        }
    }

    /// A child has been started, with this as the master's end of its channel.
    pub(super) fn tell_child(&self, child: Identity, channel: Option<BorrowedFd<'_>>) {
        self.tell(Note::Child(child));
        if let (Self::Running(guardian), Some(channel)) = (self, channel) {
            guardian.tell(Note::Channel(child.pid), Some(channel));
        }
    }

    /// Takes the guardian out, to be [dismissed](Guardian::dismiss).
    pub(super) fn take(&mut self) -> Option<Guardian> {
        match std::mem::replace(self, Self::Impossible) {
            Self::Running(guardian) => Some(guardian),
            Self::None | Self::Impossible => None,
        }
    }
}

impl Guardian {
    fn tell(&self, note: Note, channel: Option<BorrowedFd<'_>>) {
        if let Err(error) = guardian::tell(self.channel.as_fd(), note, channel) {
            // It has ended, which is seen elsewhere; or it was stopped for very long, and knows
            // too little now.
            tracing::warn!(%error, ?note, "the guardian cannot be told");
            if error.kind() == io::ErrorKind::WouldBlock {
                kill(self.pid);
            }
        }
    }

    /// Lets one that has nobody to watch any more end, and reaps it.
    pub(super) fn dismiss(self) {
        guardian::dismiss(self.channel.as_fd());
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline {
            // An error means that somebody else has reaped it.
            if !matches!(sys::process::try_reap(self.pid), Ok(None)) {
                return;
            }
            std::thread::sleep(FAREWELL_LOOK);
        }
        kill(self.pid);
        let _ = sys::process::wait(self.pid);
    }
}

fn kill(pid: i32) {
    if let Err(error) = sys::process::signal(pid, Signal::SIGKILL) {
        tracing::warn!(pid, %error, "cannot signal the guardian");
    }
}

impl Engine {
    /// Sees to it that there is a guardian, if there can be one.
    pub(super) fn ensure_guardian(&mut self) {
        if !matches!(self.guard, Guard::None) || !is_of_use() {
            return;
        }
        self.guard = match start(self.launch.env(), &self.me) {
            Ok(guardian) => Guard::Running(guardian),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                tracing::warn!(%error, "no guardian");
                Guard::Impossible
            }
            Err(error) => {
                tracing::warn!(%error, "no guardian for now");
                Guard::None
            }
        };
        self.guard.tell(Note::Grace(self.orphan_grace));
        for child in self.children.values().filter(|child| child.pid > 0) {
            if let Some(identity) = identify(child.pid) {
                let channel = child.channel.as_ref();
                let end = channel.map(|channel| channel.fd.get_ref().as_fd());
                self.guard.tell_child(identity, end);
            }
        }
        for descendant in self.descendants.values().flatten() {
            self.guard.tell(Note::Descendant(*descendant));
        }
    }

    /// A child of ours, or what it has started, is known to have gone.
    pub(super) fn tell_gone<'a>(&self, gone: impl IntoIterator<Item = &'a Identity>) {
        for identity in gone {
            self.guard.tell(Note::Gone(identity.pid));
        }
    }

    /// Hears the guardian; false when it has ended.
    fn hear_guardian(&mut self) -> bool {
        let Guard::Running(guardian) = &mut self.guard else {
            return false;
        };
        match guardian::hear(guardian.channel.as_fd()) {
            Ok(()) => guardian.is_up = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        true
    }

    /// The guardian has ended, which it should not. True when another one may fare better.
    fn lose_guardian(&mut self) -> bool {
        let Some(Guardian { pid, is_up, .. }) = self.guard.take() else {
            return false;
        };
        kill(pid);
        let status = sys::process::wait(pid).ok();
        tracing::warn!(pid, ?status, is_up, "the guardian has ended");
        if is_up {
            self.guard = Guard::None;
        }
        is_up
    }
}

/// When the first process of a container ends, the kernel ends all others.
fn is_of_use() -> bool {
    std::process::id() != 1
}

fn start(env: &[CString], engine: &Weak<RefCell<Engine>>) -> io::Result<Guardian> {
    let (pid, channel) = guardian::launch(env)?;
    let watched = channel
        .try_clone()
        .and_then(|fd| watch(fd, Interest::READABLE));
    let guardian = Guardian {
        pid,
        channel,
        is_up: false,
    };
    match watched {
        Ok(watched) => {
            spawn_local(attend(engine.clone(), watched));
            Ok(guardian)
        }
        Err(error) => {
            guardian.dismiss();
            Err(error)
        }
    }
}

/// Notices the end of a guardian, and starts another.
async fn attend(engine: Weak<RefCell<Engine>>, channel: Watched) {
    loop {
        let ready = channel.readable().await;
        let (Ok(mut ready), Some(engine)) = (ready, engine.upgrade()) else {
            return;
        };
        if !engine.borrow_mut().hear_guardian() {
            break;
        }
        ready.clear_ready();
    }
    drop(channel);
    let is_lost = |engine: Rc<RefCell<Engine>>| engine.borrow_mut().lose_guardian();
    if engine.upgrade().is_some_and(is_lost) {
        tokio::time::sleep(RESTART_PAUSE).await;
        if let Some(engine) = engine.upgrade() {
            engine.borrow_mut().ensure_guardian();
        }
    }
}
