//! Connections whose first bytes are awaited.
//!
//! Nothing is read, so a socket stays readable. It is watched edge-triggered: there is one
//! wake-up when bytes arrive, and none for those that were there already.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Weak;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::task::{AbortHandle, spawn_local};

use super::engine::{Engine, Progress};
use super::tables::Connections;
use super::tasks;
use crate::core::event::{ConnId, Peeked};
use crate::core::head::LIMIT;
use crate::sys;
use crate::sys::reactor::{Watched, watch};

/// The connections that a task waits for. The task has a descriptor of its own: the one in
/// the table goes its way as any other.
#[derive(Debug, Default)]
pub(super) struct Peeks(HashMap<ConnId, Wait>);

#[derive(Debug)]
struct Wait {
    /// How many bytes have been seen; None once they were told.
    seen: Option<usize>,
    task: AbortHandle,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peeks {
    /// What is there beyond `seen` bytes, if anything is; otherwise it is waited for.
    pub(super) fn ask(
        &mut self,
        connections: &Connections,
        conn: ConnId,
        seen: usize,
        buffer: &mut [u8],
        engine: &Weak<RefCell<Engine>>,
    ) -> Option<Peeked> {
        if let Some(wait) = self.0.get_mut(&conn) {
            // Asked again by the answer to its last look: the task is still there.
            wait.seen = Some(seen);
            return None;
        }
        let socket = connections.get(conn)?;
        let peeked = look(socket, seen, false, buffer);
        if peeked.is_some() {
            return peeked;
        }
        match watch_duplicate(socket) {
            Ok(socket) => {
                let task = spawn_local(tasks::peek(engine.clone(), conn, socket)).abort_handle();
                let seen = Some(seen);
                self.0.insert(conn, Wait { seen, task });
                None
            }
            Err(error) => {
                tracing::debug!(?conn, %error, "the head of a connection cannot be awaited");
                Some(Peeked::NoMore)
            }
        }
    }

    /// Looks again, when something has come; `ended` when it was the last.
    pub(super) fn look(
        &mut self,
        connections: &Connections,
        conn: ConnId,
        ended: bool,
        buffer: &mut [u8],
    ) -> Option<Peeked> {
        let wait = self.0.get_mut(&conn)?;
        let peeked = look(connections.get(conn)?, wait.seen?, ended, buffer)?;
        wait.seen = None;
        Some(peeked)
    }

    /// Whether the task of a connection has something to wait for. If not, it is forgotten.
    pub(super) fn progress(&mut self, conn: ConnId) -> Progress {
        match self.0.get(&conn) {
            Some(Wait { seen: Some(_), .. }) => Progress::Blocked,
            _ => {
                self.end(conn);
                Progress::Ended
            }
        }
    }

    /// Waits no longer.
    pub(super) fn end(&mut self, conn: ConnId) {
        self.0.remove(&conn);
    }
}

/// None when there is nothing new, and something may come.
fn look(socket: BorrowedFd<'_>, seen: usize, ended: bool, buffer: &mut [u8]) -> Option<Peeked> {
    let buffer = &mut buffer[..LIMIT];
    match sys::peek::peek(socket, buffer) {
        Ok(0) => Some(Peeked::Gone),
        Ok(there) if there > seen => Some(Peeked::Bytes(Bytes::copy_from_slice(&buffer[..there]))),
        Ok(_) => ended.then_some(Peeked::NoMore),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        Err(_) => Some(Peeked::Gone),
    }
}

fn watch_duplicate(socket: BorrowedFd<'_>) -> io::Result<Watched> {
    watch(socket.try_clone_to_owned()?, Interest::READABLE)
}
