//! One child: its process id, its channel, and what waits to be read and written there.

use std::collections::HashSet;
use std::io::{self, IoSlice, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::tables::{Connections, Listener};
use super::tasks::Gate;
use crate::core::event::{ChildId, ChildLimits, HandleRef, ListenerId};
use crate::ipc::codec::LineDecoder;
use crate::ipc::outbox::{Flush, Outbox, Sink};
use crate::sys;
use crate::sys::reactor::Watched;

/// The descriptors that a frame may carry.
pub(super) struct Handles<'a> {
    pub(super) connections: &'a Connections,
    pub(super) listeners: &'a FxHashMap<ListenerId, Listener>,
}

impl Handles<'_> {
    fn get(&self, handle: HandleRef) -> Option<BorrowedFd<'_>> {
        match handle {
            HandleRef::Conn(id) => self.connections.get(id),
            HandleRef::Listener(id) => self.listeners.get(&id).map(Listener::fd),
        }
    }
}

/// The master's end of a channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) fd: Rc<Watched>,
    /// Open while the child may be read.
    pub(super) read_gate: Rc<Gate>,
    /// Open while the outbox waits for the socket.
    pub(super) write_gate: Rc<Gate>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        // The guardian has a copy.
        sys::channel::end(self.fd.get_ref());
        self.read_gate.close_for_ever();
        self.write_gate.close_for_ever();
    }
}

/// A child that is not reaped.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    /// None once it is closed.
    pub(super) channel: Option<Channel>,
    pub(super) decoder: LineDecoder,
    pub(super) outbox: Outbox<HandleRef>,
    /// The outbox is above its high-water mark.
    pub(super) is_full: bool,
    /// It is in the engine's list of outboxes to be flushed.
    pub(super) is_dirty: bool,
    /// Full outboxes that this child has sent to: it is not read until they are drained.
    pub(super) held_by: HashSet<ChildId>,
    /// It is not read until JavaScript has dealt with the events that its messages make.
    pub(super) held_by_events: bool,
    /// It is not read until the parent has read most of its messages.
    pub(super) held_by_parent: bool,
    /// The core knows that it is not read.
    pub(super) is_paused: bool,
    /// When it last said anything; at first, when it was started.
    pub(super) heard_at: Instant,
    /// It waits until something is written here, or this is closed. What it says is left in its
    /// channel meanwhile.
    pub(super) gate: Option<PipeWriter>,
    /// The core knows that the system is too short of something to let anything be written to it.
    pub(super) is_starved: bool,
    limits: ChildLimits,
}

/// What a change of an outbox means for those who send to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Level {
    Same,
    Full,
    Drained,
}

impl Child {
    pub(super) fn new(pid: i32, channel: Channel, limits: ChildLimits) -> Self {
        Self {
            pid,
            channel: Some(channel),
            decoder: LineDecoder::new(limits.line_bytes),
            outbox: Outbox::new(),
            is_full: false,
            is_dirty: false,
            held_by: HashSet::new(),
            held_by_events: false,
            held_by_parent: false,
            is_paused: false,
            heard_at: Instant::now(),
            gate: None,
            is_starved: false,
            limits,
        }
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// Where the channel is broken; the child is about to be seen as disconnected.
    pub(super) fn flush(&mut self, handles: &Handles<'_>) -> io::Result<Flush> {
        let Some(channel) = &self.channel else {
            return Ok(Flush::Drained);
        };
        let mut writer = Writer {
            fd: channel.fd.get_ref().as_fd(),
            handles,
        };
        let flush = self.outbox.flush(&mut writer)?;
        // An answer of the child flushes the outbox by itself.
        let waits = flush == Flush::Barred && self.outbox.awaits_answer();
        channel.write_gate.set(flush != Flush::Drained && !waits);
        Ok(flush)
    }

    /// Compares the outbox with its marks.
    pub(super) fn level(&mut self) -> Level {
        let queued = self.outbox.queued_bytes();
        if !self.is_full && queued > self.limits.outbox_bytes {
            self.is_full = true;
            Level::Full
        } else if self.is_full && queued <= self.limits.low_water() {
            self.is_full = false;
            Level::Drained
        } else {
            Level::Same
        }
    }

    /// Somebody has not kept up with what it sends.
    pub(super) fn is_held(&self) -> bool {
        self.held_by_events || self.held_by_parent || !self.held_by.is_empty()
    }

    /// Reads the child only while nobody holds it back, and it does not wait.
    pub(super) fn regulate(&self) {
        if let Some(channel) = &self.channel {
            channel
                .read_gate
                .set(!self.is_held() && self.gate.is_none());
        }
    }
}

struct Writer<'a> {
    fd: BorrowedFd<'a>,
    handles: &'a Handles<'a>,
}

impl Sink<HandleRef> for Writer<'_> {
    fn send(&mut self, parts: &[IoSlice<'_>], handle: Option<HandleRef>) -> io::Result<usize> {
        let handle = match handle {
            None => None,
            Some(handle) => Some(self.handles.get(handle).ok_or(io::ErrorKind::NotFound)?),
        };
        sys::channel::send(self.fd, parts, handle)
    }

    fn has(&self, handle: HandleRef) -> bool {
        self.handles.get(handle).is_some()
    }
}
