//! The descriptors behind the core's ids.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;

use slab::Slab;

use super::tasks::Gate;
use crate::core::event::ConnId;
use crate::sys;
use crate::sys::reactor::Watched;

/// The master's duplicates of accepted connections.
#[derive(Debug, Default)]
pub(super) struct Connections {
    entries: Slab<(u32, OwnedFd)>,
    /// Goes into the id, so that a late ack cannot mean the next connection of a place.
    generation: u32,
}

impl Connections {
    pub(super) fn insert(&mut self, fd: OwnedFd) -> ConnId {
        self.generation = self.generation.wrapping_add(1);
        let place = self.entries.insert((self.generation, fd));
        ConnId(u64::from(self.generation) << 32 | place as u64)
    }

    pub(super) fn get(&self, id: ConnId) -> Option<BorrowedFd<'_>> {
        let (generation, place) = split(id);
        let (found, fd) = self.entries.get(place)?;
        (*found == generation).then(|| fd.as_fd())
    }

    /// Closes a connection.
    pub(super) fn remove(&mut self, id: ConnId) {
        if self.get(id).is_some() {
            self.entries.remove(split(id).1);
        }
    }
}

fn split(id: ConnId) -> (u32, usize) {
    ((id.0 >> 32) as u32, (id.0 & 0xffff_ffff) as usize)
}

/// A socket that the master bound.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: Socket,
    /// The file of a unix socket, removed when the listener is closed.
    pub(super) path: Option<PathBuf>,
    /// Bound here, and not a descriptor that the process had before.
    pub(super) is_ours: bool,
}

/// Who accepts.
#[derive(Debug)]
pub(super) enum Socket {
    /// The master, while the gate is open.
    Accepting(Rc<Watched>, Rc<Gate>),
    /// The workers.
    Shared(OwnedFd),
}

impl Listener {
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Accepting(fd, _) => fd.get_ref().as_fd(),
            Socket::Shared(fd) => fd.as_fd(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // It may have been removed by hand.
            let _ = std::fs::remove_file(path);
        }
        if let Socket::Accepting(fd, gate) = &self.socket {
            if self.is_ours {
                // The accepting task lets go of its share a moment later.
                sys::listener::refuse(fd.get_ref().as_fd());
            }
            gate.close_for_ever();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_next_connection_of_a_place_has_another_id() {
        let mut table = Connections::default();
        let (one, two) = UnixStream::pair().unwrap();
        let first = table.insert(one.into());
        table.remove(first);
        let second = table.insert(two.into());
        assert_ne!(first, second);
        assert!(table.get(first).is_none());
        table.remove(first);
        assert!(table.get(second).is_some());
    }
}
