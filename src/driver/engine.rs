//! Feeds the core with inputs and performs its outputs.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tokio::sync::Notify;

use super::EventSink;
use super::backlog::Backlog;
use super::child::Child;
use super::config::Launch;
use super::control::Control;
use super::guard::Guard;
use super::orphans;
use super::peeks::Peeks;
use super::service::Service;
use super::tables::{Connections, Listener};
use super::threads::Threads;
use crate::core::Core;
use crate::core::event::{
    ChildId, ChildLimits, Command, Event, Input, ListenerId, Output, Settings, Snapshot,
};
use crate::sys;

/// The size of Node's own reads of a channel.
pub(super) const READ_SIZE: usize = 64 << 10;

/// How far a turn of work has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// There may be more to do at once.
    More,
    /// Nothing is there: wait for the descriptor.
    Blocked,
    /// What was waited for is gone.
    Ended,
}

/// The core with everything that its ids stand for.
pub(super) struct Engine {
    pub(super) me: Weak<RefCell<Self>>,
    pub(super) core: Core,
    pub(super) launch: Launch,
    pub(super) sink: EventSink,
    /// What of the events JavaScript has not dealt with.
    pub(super) backlog: Arc<Backlog>,
    /// For each child.
    pub(super) limits: ChildLimits,
    pub(super) children: FxHashMap<ChildId, Child>,
    pub(super) guard: Guard,
    pub(super) control: Control,
    pub(super) service: Service,
    /// Where children are threads.
    pub(super) threads: Option<Threads>,
    /// Descendants as they were listed when a child was first signalled.
    pub(super) descendants: FxHashMap<ChildId, Vec<sys::process_tree::Identity>>,
    pub(super) connections: Connections,
    pub(super) peeks: Peeks,
    pub(super) listeners: FxHashMap<ListenerId, Listener>,
    /// Children whose outboxes have got something.
    pub(super) dirty: Vec<ChildId>,
    /// The child whose messages are being read: held back when it fills an outbox.
    pub(super) reading: Option<ChildId>,
    /// More waits for the parent than may.
    pub(super) is_parent_full: bool,
    pub(super) buffer: Vec<u8>,
    pub(super) deadline: Option<Instant>,
    pub(super) wake: Rc<Notify>,
    /// The exit code, once everything is closed.
    pub(super) closed: Option<i32>,
    /// How long children may take to end when the engine goes before them.
    pub(super) orphan_grace: Duration,
}

impl Engine {
    pub(super) fn new(
        settings: Settings,
        launch: Launch,
        sink: EventSink,
        backlog: Arc<Backlog>,
    ) -> Rc<RefCell<Self>> {
        let orphan_grace = settings.app_close_timeout.max(settings.agent_close_timeout);
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                me: me.clone(),
                threads: settings.threads.then(Threads::default),
                limits: settings.limits,
                backlog,
                core: Core::new(settings),
                launch,
                sink,
                children: FxHashMap::default(),
                guard: Guard::default(),
                control: Control::default(),
                service: Service::default(),
                descendants: FxHashMap::default(),
                connections: Connections::default(),
                peeks: Peeks::default(),
                listeners: FxHashMap::default(),
                dirty: Vec::new(),
                reading: None,
                is_parent_full: false,
                buffer: vec![0; READ_SIZE],
                deadline: None,
                wake: Rc::new(Notify::new()),
                closed: None,
                orphan_grace,
            })
        })
    }

    pub(super) fn closed(&self) -> Option<i32> {
        self.closed
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Notified when the deadline has moved, or everything is closed.
    pub(super) fn wake(&self) -> Rc<Notify> {
        Rc::clone(&self.wake)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.core.snapshot()
    }

    pub(super) fn command(&mut self, command: Command) {
        self.feed(Input::Command(command));
        self.settle();
    }

    pub(super) fn timeout(&mut self) {
        self.core.handle_timeout(Instant::now());
        self.perform();
        self.settle();
    }

    pub(super) fn feed(&mut self, input: Input) {
        self.feed_at(Instant::now(), input);
    }

    /// As [`Engine::feed`], for what came together: each look at the clock costs as much as a decision.
    pub(super) fn feed_at(&mut self, now: Instant, input: Input) {
        self.core.handle_input(now, input);
        self.perform();
    }

    pub(super) fn perform(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let Some(output) = self.perform_on_threads(output) else {
                continue;
            };
            match output {
                Output::Spawn(spec) => self.spawn(&spec),
                Output::Release { child, slot, slots } => self.release(child, slot, slots),
                Output::Send { child, frame } => self.send(child, frame),
                Output::Disconnect { child } => self.close_channel(child),
                Output::Signal { child, signal } => self.signal(child, signal),
                Output::AskStack { child } => self.ask_stack(child),
                Output::CountDescendants { child } => self.count_descendants(child),
                Output::ForgetDescendants { child } => self.forget_descendants(child),
                Output::Listen { listener, spec } => self.listen(listener, &spec),
                Output::Accept { listener } => self.set_accepting(listener, true),
                Output::PauseAccept { listener } => self.set_accepting(listener, false),
                Output::AcceptRest { listener } => self.accept_rest(listener),
                Output::CloseListener { listener } => drop(self.listeners.remove(&listener)),
                Output::CheckUntouched { conn } => self.check_untouched(conn),
                Output::FindUntouched { conns } => self.find_untouched(conns),
                Output::CloseConn { conn } => self.connections.remove(conn),
                Output::Peek { conn, beyond } => self.peek(conn, beyond),
                Output::EndPeek { conn } => self.peeks.end(conn),
                Output::Skip { conn, bytes } => self.skip(conn, bytes),
                Output::ForgetParent => self.release_for_parent(),
                Output::Notify(notice) => self.notify(&notice),
                Output::Emit(event) => self.emit(&event),
            }
        }
    }

    /// Ends a turn: writes what has gathered, and tells the main loop of a new deadline.
    pub(super) fn settle(&mut self) {
        while let Some(child) = self.dirty.pop() {
            if let Some(entry) = self.children.get_mut(&child) {
                entry.is_dirty = false;
            }
            // What could not be written is left to the writing task.
            let _ = self.flush(child);
        }
        let deadline = self.core.poll_timeout();
        if deadline != self.deadline || self.closed.is_some() {
            self.deadline = deadline;
            self.wake.notify_one();
        }
    }

    pub(super) fn emit(&mut self, event: &Event) {
        let json = to_json(event);
        tracing::debug!(event = json);
        self.control.publish(event, &json);
        (self.sink)(json);
        self.hold_for_events();
        if matches!(event, Event::ToParent { .. }) {
            self.hold_for_parent();
        }
        if let Event::Closed { code } = *event {
            self.closed = Some(code);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let pids = self.children.values().map(|child| child.pid);
        let pids = pids.filter(|&pid| pid > 0).collect();
        orphans::reap(pids, self.orphan_grace, self.guard.take());
    }
}

/// An event as JavaScript gets it.
pub(super) fn to_json(event: &Event) -> String {
    // Every field is a number, a text or JSON already, so this cannot fail.
    serde_json::to_string(event).unwrap_or_default()
}
