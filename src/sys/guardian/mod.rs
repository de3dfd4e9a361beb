//! A small process that ends what is left when the master has died without ending it.
//!
//! A master that is killed by SIGKILL can do nothing more. Its children see the end of their
//! channels and leave; but not one that spins in a loop, and not what they have started. The
//! guardian is told of every child, sees the end of its own channel at the same moment, gives
//! everybody the grace period, and kills who is there after it. Then it ends itself.
//!
//! What the kernel offers by itself does not do: `PR_SET_PDEATHSIG` comes at once, without a
//! grace period, with the end of the *thread* that forked; `SIGIO` for a closed channel knows no
//! grace period either, and no grandchildren; and the cgroup is rarely ours to write.
//!
//! The notes are lines on a socket pair. Processes are named with their start times, so that a
//! reused id is nobody's death.

use std::fmt;
use std::io::{self, IoSlice};
#[cfg(not(target_os = "linux"))]
use std::os::fd::OwnedFd;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::str::FromStr;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};

use super::channel;
use super::process_tree::Identity;

/// The environment variable by which what is started after the death of a master is known: with
/// a value of its own for each guardian, in the environment of all children and of the guardian.
pub const MARK: &str = "EGG_CLUSTER_RS_GUARDED_BY";

#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod watch;

#[cfg(target_os = "linux")]
pub use program::launch;
#[cfg(target_os = "linux")]
use watch::watch;

/// Not available here: always fails with [`Unsupported`](io::ErrorKind::Unsupported).
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn launch(_: &[std::ffi::CString]) -> io::Result<(i32, OwnedFd)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What a guardian is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// How long everybody has to leave by himself.
    Grace(Duration),
    /// A child is about to be started: the inode of its end of the channel, by which it is
    /// known until its id is.
    Starting(u64),
    /// That has failed.
    NotStarted,
    /// That child.
    Child(Identity),
    /// A copy of the master's end of a child's channel comes with this, so that the child sees the
    /// end of it only when the guardian has seen what the child has started.
    Channel(i32),
    /// A descendant of a child that is being ended.
    Descendant(Identity),
    /// A child or descendant is no more.
    Gone(i32),
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grace(time) => writeln!(formatter, "grace {}", time.as_millis()),
            Self::Starting(inode) => writeln!(formatter, "starting {inode}"),
            Self::NotStarted => writeln!(formatter, "not-started"),
            Self::Child(it) => writeln!(formatter, "child {} {}", it.pid, it.start_time()),
            Self::Channel(pid) => writeln!(formatter, "channel {pid}"),
            Self::Descendant(it) => {
                writeln!(formatter, "descendant {} {}", it.pid, it.start_time())
            }
            Self::Gone(pid) => writeln!(formatter, "gone {pid}"),
        }
    }
}

impl FromStr for Note {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split_ascii_whitespace();
        let kind = words.next().ok_or(())?;
        let mut number = || words.next()?.parse::<u64>().ok();
        let mut identity = || {
            let pid = i32::try_from(number()?).ok()?;
            Some(Identity::new(pid, number()?))
        };
        let note = match kind {
            "grace" => number().map(|time| Self::Grace(Duration::from_millis(time))),
            "starting" => number().map(Self::Starting),
            "not-started" => Some(Self::NotStarted),
            "child" => identity().map(Self::Child),
            "descendant" => identity().map(Self::Descendant),
            "channel" => number().and_then(|pid| Some(Self::Channel(i32::try_from(pid).ok()?))),
            "gone" => number().and_then(|pid| Some(Self::Gone(i32::try_from(pid).ok()?))),
            _ => None,
        };
        note.ok_or(())
    }
}

/// Tells a guardian something; with [`Note::Channel`], and only with that, comes a descriptor.
/// Never blocks.
///
/// # Errors
/// Where it is not there any more, or does not read: it knows too little from then on.
pub fn tell(
    guardian: BorrowedFd<'_>,
    note: Note,
    channel: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let line = note.to_string();
    if channel::send(guardian, &[IoSlice::new(line.as_bytes())], channel)? == line.len() {
        return Ok(());
    }
    Err(io::ErrorKind::WriteZero.into())
}

/// Tells a guardian that this was all, as the end of this process would, whoever else has a copy
/// of the descriptor.
pub fn dismiss(guardian: BorrowedFd<'_>) {
    // An error means that it has ended already.
    let _ = shutdown(guardian.as_raw_fd(), Shutdown::Both);
}

/// Hears what a guardian says: once, that it watches.
///
/// # Errors
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) when it has ended,
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when there is nothing.
pub fn hear(guardian: BorrowedFd<'_>) -> io::Result<()> {
    let mut buffer = [0; 16];
    match recv(guardian.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
