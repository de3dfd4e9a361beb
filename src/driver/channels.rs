//! The engine's part of the channels: what children send, and what is sent to them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use super::child::{Handles, Level};
use super::engine::{Engine, Progress, READ_SIZE};
use crate::core::event::{ChildId, ConnId, Frame, HandleRef, Input, Signal};
use crate::ipc::message::{self, Line};
use crate::ipc::outbox::Flush;
use crate::sys;
use bytes::Bytes;

/// Reads of one channel before others have their turn.
const READS_PER_TURN: usize = 8;

impl Engine {
    /// Reads what a child has sent.
    pub(super) fn read_channel(&mut self, child: ChildId) -> Progress {
        let mut progress = Progress::More;
        for _ in 0..READS_PER_TURN {
            progress = self.read_once(child);
            if progress != Progress::More {
                break;
            }
        }
        self.settle();
        progress
    }

    pub(super) fn read_once(&mut self, child: ChildId) -> Progress {
        let Some(entry) = self.children.get_mut(&child) else {
            return Progress::Ended;
        };
        let Some(channel) = &entry.channel else {
            return Progress::Ended;
        };
        let fd = channel.fd.get_ref().as_fd();
        // Nobody here wants a descriptor: all are closed at once, with a line that speaks of them or without.
        let mut unwanted = VecDeque::new();
        match sys::channel::receive(fd, &mut self.buffer, &mut unwanted) {
            Ok(received) if received.bytes > 0 => {
                let now = Instant::now();
                entry.heard_at = now;
                // A read stops early at a descriptor, or when nothing is left.
                let drained = received.bytes < READ_SIZE && unwanted.is_empty();
                let progress = if drained {
                    Progress::Blocked
                } else {
                    Progress::More
                };
                match entry.decoder.feed(&self.buffer[..received.bytes]) {
                    Ok(()) => self.read_lines(now, child),
                    Err(error) => self.end_talker(child, error.to_string()),
                }
                progress
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Blocked,
            // The end, or a broken channel.
            Ok(_) | Err(_) => {
                self.close_channel(child);
                Progress::Ended
            }
        }
    }

    pub(super) fn read_lines(&mut self, now: Instant, child: ChildId) {
        self.reading = Some(child);
        while let Some(line) = self
            .children
            .get_mut(&child)
            .and_then(|c| c.decoder.next_line())
        {
            if let Some(input) = self.read_line(child, &line) {
                self.feed_at(now, input);
            }
        }
        self.reading = None;
    }

    /// The transport's part of a line, and what of it is for the core.
    pub(super) fn read_line(&mut self, child: ChildId, line: &Bytes) -> Option<Input> {
        let entry = self.children.get_mut(&child)?;
        match message::parse(line) {
            Ok(Line::Plain(message)) => Some(Input::Message { child, message }),
            Ok(Line::Handle(message)) => {
                // The descriptor is closed. The ack is due all the same, or everything that the
                // child sends would wait for it.
                entry.outbox.push_ack();
                self.mark_dirty(child);
                Some(Input::Message { child, message })
            }
            // A ping is answered with a nack, but either says that the child lives.
            Ok(Line::Ack | Line::Nack) if entry.outbox.take_pong() => {
                self.mark_dirty(child);
                Some(Input::Pong { child })
            }
            Ok(Line::Ack) => {
                let handle = entry.outbox.acked();
                self.on_transport_answer(child, handle, |conn| Input::HandleAcked { child, conn })
            }
            Ok(Line::Nack) => {
                let handle = entry.outbox.nacked();
                self.on_transport_answer(child, handle, |conn| Input::HandleRefused { child, conn })
            }
            Err(reason) => Some(Input::BadLine { child, reason }),
        }
    }

    pub(super) fn on_transport_answer(
        &mut self,
        child: ChildId,
        handle: Option<HandleRef>,
        input: impl FnOnce(ConnId) -> Input,
    ) -> Option<Input> {
        // The outbox may have waited for this answer with its next descriptor.
        self.mark_dirty(child);
        match handle {
            Some(HandleRef::Conn(conn)) => Some(input(conn)),
            Some(HandleRef::Listener(_)) => None,
            None => {
                let reason = "an answer for a descriptor that it was not sent".to_owned();
                Some(Input::BadLine { child, reason })
            }
        }
    }

    /// A child that sends a line without end would fill the memory.
    pub(super) fn end_talker(&mut self, child: ChildId, reason: String) {
        self.feed(Input::BadLine { child, reason });
        self.signal(child, Signal::Kill);
        self.close_channel(child);
    }

    pub(super) fn close_channel(&mut self, child: ChildId) {
        let Some(entry) = self.children.get_mut(&child) else {
            return;
        };
        // One that waits for it leaves then.
        entry.gate = None;
        if entry.channel.take().is_none() {
            return;
        }
        entry.outbox = crate::ipc::outbox::Outbox::new();
        entry.is_full = false;
        self.release_senders(child);
        self.feed(Input::Disconnected { child });
    }

    /// Writes on when the socket has room again.
    pub(super) fn write_channel(&mut self, child: ChildId) -> Flush {
        let flush = self.flush(child);
        self.settle();
        flush
    }

    pub(super) fn flush(&mut self, child: ChildId) -> Flush {
        let Some(entry) = self.children.get_mut(&child) else {
            return Flush::Drained;
        };
        let handles = Handles {
            connections: &self.connections,
            listeners: &self.listeners,
        };
        let flush = entry.flush(&handles).unwrap_or_else(|error| {
            // What the child still said can be read: the reader closes the channel.
            tracing::debug!(?child, %error, "channel cannot be written");
            if let Some(channel) = &entry.channel {
                channel.write_gate.set(false);
            }
            Flush::Drained
        });
        let level = entry.level();
        self.tell_whether_starved(child, flush == Flush::Starved);
        self.on_level(child, &level);
        flush
    }

    /// The core should not wait for answers of children that cannot be asked.
    fn tell_whether_starved(&mut self, child: ChildId, starved: bool) {
        let Some(entry) = self.children.get_mut(&child) else {
            return;
        };
        if std::mem::replace(&mut entry.is_starved, starved) != starved {
            self.feed(if starved {
                Input::WritingPaused { child }
            } else {
                Input::WritingResumed { child }
            });
        }
    }

    /// Tells of a change of an outbox.
    fn on_level(&mut self, child: ChildId, level: &Level) {
        match level {
            Level::Same => {}
            Level::Full => self.feed(Input::OutboxFull { child }),
            Level::Drained => {
                self.release_senders(child);
                self.feed(Input::OutboxDrained { child });
            }
        }
    }

    pub(super) fn release_senders(&mut self, receiver: ChildId) {
        for sender in self.children.values_mut() {
            if sender.held_by.remove(&receiver) {
                sender.regulate();
            }
        }
        self.tell_who_is_read();
    }

    /// The core should not wait for answers of children that are not read.
    pub(super) fn tell_who_is_read(&mut self) {
        for (&child, entry) in &mut self.children {
            let paused = entry.is_held();
            if std::mem::replace(&mut entry.is_paused, paused) != paused {
                let input = if paused {
                    Input::ReadingPaused { child }
                } else {
                    Input::ReadingResumed { child }
                };
                self.core.handle_input(Instant::now(), input);
            }
        }
    }

    pub(super) fn send(&mut self, child: ChildId, frame: Frame) {
        let Some(entry) = self.children.get_mut(&child) else {
            return;
        };
        if entry.channel.is_none() {
            return;
        }
        entry.outbox.push(frame);
        let level = entry.level();
        let is_full = entry.is_full;
        if !std::mem::replace(&mut entry.is_dirty, true) {
            self.dirty.push(child);
        }
        self.on_level(child, &level);
        if is_full {
            self.hold_sender(child);
        }
    }

    /// Whoever sends to a full outbox is not read until it is drained.
    fn hold_sender(&mut self, receiver: ChildId) {
        if let Some(sender) = self.reading
            && let Some(entry) = self.children.get_mut(&sender)
        {
            let is_new = entry.held_by.insert(receiver);
            entry.regulate();
            if is_new {
                self.tell_who_is_read();
            }
        }
    }

    /// Whose message has made an event is not read while JavaScript has too many to deal with.
    pub(super) fn hold_for_events(&mut self) {
        if let Some(entry) = self.reading.and_then(|child| self.children.get_mut(&child))
            && !entry.held_by_events
            && self.backlog.is_full()
        {
            entry.held_by_events = true;
            entry.regulate();
            self.tell_who_is_read();
        }
    }

    /// JavaScript has dealt with most events.
    pub(super) fn on_events_taken(&mut self) {
        for entry in self.children.values_mut() {
            entry.held_by_events = false;
            entry.regulate();
        }
        self.tell_who_is_read();
        self.settle();
    }

    /// The parent has too much to read, or has read most of it.
    pub(super) fn on_parent(&mut self, full: bool) {
        self.is_parent_full = full;
        if full {
            self.feed(Input::ParentFull);
        } else {
            self.release_for_parent();
            self.feed(Input::ParentDrained);
        }
        self.settle();
    }

    /// Whose message goes to a parent that has too much to read is not read until it has read that.
    pub(super) fn hold_for_parent(&mut self) {
        if let Some((child, entry)) = self
            .reading
            .filter(|_| self.is_parent_full)
            .and_then(|child| Some((child, self.children.get_mut(&child)?)))
            && !entry.held_by_parent
        {
            tracing::debug!(?child, "not read until the parent has read its messages");
            entry.held_by_parent = true;
            entry.regulate();
            self.tell_who_is_read();
        }
    }

    /// Nobody waits for the parent.
    pub(super) fn release_for_parent(&mut self) {
        for entry in self.children.values_mut() {
            entry.held_by_parent = false;
            entry.regulate();
        }
        self.tell_who_is_read();
    }

    pub(super) fn mark_dirty(&mut self, child: ChildId) {
        if let Some(entry) = self
            .children
            .get_mut(&child)
            .filter(|entry| !entry.is_dirty)
        {
            entry.is_dirty = true;
            self.dirty.push(child);
        }
    }
}
