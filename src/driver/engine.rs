//! Feeds the core with inputs and performs its outputs.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::Instant;

use bytes::Bytes;
use tokio::io::Interest;
use tokio::io::unix::AsyncFdReadyGuard;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::EventSink;
use super::child::{Channel, Child, Handles, Level};
use super::config::Launch;
use super::hang_stack;
use super::peeks::Peeks;
use super::tables::{Connections, Listener, Socket};
use super::tasks::{self, Gate};
use crate::core::Core;
use crate::core::event::{
    ChildId, Command, ConnId, Event, ExitStatus, Frame, HandleRef, Input, ListenSpec, ListenTarget,
    ListenerId, Output, Settings, Signal, Snapshot, SpawnSpec, StackFrame,
};
use crate::ipc::message::{self, Line};
use crate::ipc::outbox::Flush;
use crate::sys;
use crate::sys::reactor::watch;

/// The size of Node's own reads of a channel.
const READ_SIZE: usize = 64 << 10;
/// Reads of one channel, and connections accepted, before others have their turn.
const READS_PER_TURN: usize = 8;
const ACCEPTS_PER_TURN: usize = 64;
/// Connections accepted from a listener that is about to be closed.
const ACCEPTS_AT_END: usize = 4096;
/// Reported where an error has no number of its own.
const EINVAL: i32 = 22;

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
    me: Weak<RefCell<Self>>,
    core: Core,
    launch: Launch,
    sink: EventSink,
    children: HashMap<ChildId, Child>,
    /// Descendants as they were listed when a child was first signalled.
    descendants: HashMap<ChildId, Vec<sys::process_tree::Identity>>,
    connections: Connections,
    peeks: Peeks,
    listeners: HashMap<ListenerId, Listener>,
    /// Children whose outboxes have got something.
    dirty: Vec<ChildId>,
    /// The child whose messages are being read: held back when it fills an outbox.
    reading: Option<ChildId>,
    buffer: Vec<u8>,
    deadline: Option<Instant>,
    wake: Rc<Notify>,
    closed: bool,
}

impl Engine {
    pub(super) fn new(settings: Settings, launch: Launch, sink: EventSink) -> Rc<RefCell<Self>> {
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                me: me.clone(),
                core: Core::new(settings),
                launch,
                sink,
                children: HashMap::new(),
                descendants: HashMap::new(),
                connections: Connections::default(),
                peeks: Peeks::default(),
                listeners: HashMap::new(),
                dirty: Vec::new(),
                reading: None,
                buffer: vec![0; READ_SIZE],
                deadline: None,
                wake: Rc::new(Notify::new()),
                closed: false,
            })
        })
    }

    pub(super) fn is_closed(&self) -> bool {
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

    fn read_once(&mut self, child: ChildId) -> Progress {
        let Some(entry) = self.children.get_mut(&child) else {
            return Progress::Ended;
        };
        let Some(channel) = &entry.channel else {
            return Progress::Ended;
        };
        let fd = channel.fd.get_ref().as_fd();
        let descriptors = entry.received.len();
        match sys::channel::receive(fd, &mut self.buffer, &mut entry.received) {
            Ok(received) if received.bytes > 0 => {
                // A read stops early at a descriptor, or when nothing is left.
                let drained = received.bytes < READ_SIZE && entry.received.len() == descriptors;
                let progress = if drained {
                    Progress::Blocked
                } else {
                    Progress::More
                };
                match entry.decoder.feed(&self.buffer[..received.bytes]) {
                    Ok(()) => self.read_lines(child),
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

    fn read_lines(&mut self, child: ChildId) {
        self.reading = Some(child);
        while let Some(line) = self
            .children
            .get_mut(&child)
            .and_then(|c| c.decoder.next_line())
        {
            if let Some(input) = self.read_line(child, &line) {
                self.feed(input);
            }
        }
        self.reading = None;
    }

    /// The transport's part of a line, and what of it is for the core.
    fn read_line(&mut self, child: ChildId, line: &Bytes) -> Option<Input> {
        let entry = self.children.get_mut(&child)?;
        match message::parse(line) {
            Ok(Line::Plain(message)) => Some(Input::Message { child, message }),
            Ok(Line::Handle(message)) => {
                // Nobody here wants a descriptor: it is closed. The ack is due all the same,
                // or everything that the child sends would wait for it.
                entry.received.pop_front();
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

    fn on_transport_answer(
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
    fn end_talker(&mut self, child: ChildId, reason: String) {
        self.feed(Input::BadLine { child, reason });
        self.signal(child, Signal::Kill);
        self.close_channel(child);
    }

    fn close_channel(&mut self, child: ChildId) {
        let Some(entry) = self.children.get_mut(&child) else {
            return;
        };
        if entry.channel.take().is_none() {
            return;
        }
        entry.outbox = crate::ipc::outbox::Outbox::new();
        entry.received.clear();
        entry.is_full = false;
        self.release_senders(child);
        self.feed(Input::Disconnected { child });
    }

    /// Writes on when the socket has room again; true when only time can help.
    pub(super) fn write_channel(
        &mut self,
        child: ChildId,
        ready: &mut AsyncFdReadyGuard<'_, OwnedFd>,
    ) -> bool {
        let flush = self.flush(child);
        if flush == Flush::Blocked {
            ready.clear_ready();
        }
        self.settle();
        flush == Flush::Starved
    }

    fn flush(&mut self, child: ChildId) -> Flush {
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
        self.check_level(child);
        flush
    }

    fn check_level(&mut self, child: ChildId) {
        let Some(entry) = self.children.get_mut(&child) else {
            return;
        };
        match entry.level() {
            Level::Same => {}
            Level::Full => self.feed(Input::OutboxFull { child }),
            Level::Drained => {
                self.release_senders(child);
                self.feed(Input::OutboxDrained { child });
            }
        }
    }

    fn release_senders(&mut self, receiver: ChildId) {
        for sender in self.children.values_mut() {
            if sender.held_by.remove(&receiver) {
                sender.regulate();
            }
        }
        self.tell_who_is_read();
    }

    /// The core should not wait for answers of children that are not read.
    fn tell_who_is_read(&mut self) {
        for (&child, entry) in &mut self.children {
            let paused = !entry.held_by.is_empty();
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

    /// Accepts what waits at a listener, as long as the core wants more.
    pub(super) fn accept_batch(&mut self, listener: ListenerId) -> Progress {
        let progress = self.accept_some(listener);
        self.settle();
        progress
    }

    fn accept_some(&mut self, listener: ListenerId) -> Progress {
        for _ in 0..ACCEPTS_PER_TURN {
            let Some(entry) = self.listeners.get(&listener) else {
                return Progress::Ended;
            };
            let Socket::Accepting(socket, gate) = &entry.socket else {
                return Progress::Ended;
            };
            if !gate.is_open() {
                return Progress::More;
            }
            match sys::listener::accept(socket.get_ref().as_fd()) {
                Ok((fd, peer)) => {
                    let conn = self.connections.insert(fd);
                    self.feed(Input::Accepted {
                        listener,
                        conn,
                        peer,
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Progress::Blocked;
                }
                // Out of descriptors or memory: the core pauses the listener.
                Err(error) => {
                    self.feed(Input::AcceptFailed {
                        listener,
                        errno: errno(&error),
                    });
                    return Progress::More;
                }
            }
        }
        Progress::More
    }

    /// Looks at the first bytes of a connection again; `ended` when no more will come.
    pub(super) fn look(&mut self, conn: ConnId, ended: bool) -> Progress {
        let Self {
            connections,
            buffer,
            ..
        } = self;
        if let Some(head) = self.peeks.look(connections, conn, ended, buffer) {
            self.feed(Input::Peeked { conn, head });
            self.settle();
        }
        self.peeks.progress(conn)
    }

    fn peek(&mut self, conn: ConnId, beyond: usize) {
        let Self {
            connections,
            buffer,
            me,
            ..
        } = self;
        if let Some(head) = self.peeks.ask(connections, conn, beyond, buffer, me) {
            self.core
                .handle_input(Instant::now(), Input::Peeked { conn, head });
        }
    }

    fn skip(&mut self, conn: ConnId, bytes: usize) {
        if let Some(socket) = self.connections.get(conn)
            && let Err(error) = sys::peek::skip(socket, &mut self.buffer, bytes)
        {
            // The client has reset the connection meanwhile. The worker will see its end.
            tracing::debug!(?conn, %error, "the header of a connection cannot be taken");
        }
    }

    /// Looks whether a child has ended; true when there is nothing to wait for any more.
    pub(super) fn reap(&mut self, child: ChildId) -> bool {
        let Some(pid) = self.children.get(&child).map(|entry| entry.pid) else {
            return true;
        };
        let status = match sys::process::try_reap(pid) {
            Ok(None) => return false,
            Ok(Some(status)) => ExitStatus {
                code: status.code,
                signal: status.signal.map(sys::process::signal_name),
            },
            // Somebody else has reaped it: how it ended is not known.
            Err(error) => {
                tracing::error!(?child, pid, %error, "a child cannot be reaped");
                ExitStatus::default()
            }
        };
        // From here on its process id may be anybody's.
        if let Some(entry) = self.children.get_mut(&child) {
            entry.pid = 0;
        }
        // All that it said before it ended counts.
        while self.read_once(child) == Progress::More {}
        self.close_channel(child);
        self.children.remove(&child);
        self.feed(Input::Exited { child, status });
        self.settle();
        true
    }

    fn feed(&mut self, input: Input) {
        self.core.handle_input(Instant::now(), input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Spawn(spec) => self.spawn(&spec),
                Output::Send { child, frame } => self.send(child, frame),
                Output::Disconnect { child } => self.close_channel(child),
                Output::Signal { child, signal } => self.signal(child, signal),
                Output::AskStack { child } => self.ask_stack(child),
                Output::CountDescendants { child } => self.count_descendants(child),
                Output::ForgetDescendants { child } => drop(self.descendants.remove(&child)),
                Output::Listen { listener, spec } => self.listen(listener, &spec),
                Output::Accept { listener } => self.set_accepting(listener, true),
                Output::PauseAccept { listener } => self.set_accepting(listener, false),
                Output::AcceptRest { listener } => self.accept_rest(listener),
                Output::CloseListener { listener } => drop(self.listeners.remove(&listener)),
                Output::CheckUntouched { conn } => self.check_untouched(conn),
                Output::CloseConn { conn } => self.connections.remove(conn),
                Output::Peek { conn, beyond } => self.peek(conn, beyond),
                Output::EndPeek { conn } => self.peeks.end(conn),
                Output::Skip { conn, bytes } => self.skip(conn, bytes),
                Output::Emit(event) => self.emit(&event),
            }
        }
    }

    /// Ends a turn: writes what has gathered, and tells the main loop of a new deadline.
    fn settle(&mut self) {
        while let Some(child) = self.dirty.pop() {
            if let Some(entry) = self.children.get_mut(&child) {
                entry.is_dirty = false;
            }
            // What could not be written is left to the writing task.
            let _ = self.flush(child);
        }
        let deadline = self.core.poll_timeout();
        if deadline != self.deadline || self.closed {
            self.deadline = deadline;
            self.wake.notify_one();
        }
    }

    fn emit(&mut self, event: &Event) {
        let json = to_json(event);
        tracing::debug!(event = json);
        (self.sink)(json);
        if matches!(event, Event::Closed { .. }) {
            self.closed = true;
        }
    }

    fn send(&mut self, child: ChildId, frame: Frame) {
        let Some(entry) = self.children.get_mut(&child) else {
            return;
        };
        if entry.channel.is_none() {
            return;
        }
        entry.outbox.push(frame);
        self.check_level(child);
        self.mark_dirty(child);
        self.hold_sender(child);
    }

    /// Whoever sends to a full outbox is not read until it is drained.
    fn hold_sender(&mut self, receiver: ChildId) {
        let is_full = self
            .children
            .get(&receiver)
            .is_some_and(|entry| entry.is_full);
        let Some(sender) = self.reading.filter(|_| is_full) else {
            return;
        };
        if let Some(entry) = self.children.get_mut(&sender) {
            let is_new = entry.held_by.insert(receiver);
            entry.regulate();
            if is_new {
                self.tell_who_is_read();
            }
        }
    }

    fn mark_dirty(&mut self, child: ChildId) {
        if let Some(entry) = self
            .children
            .get_mut(&child)
            .filter(|entry| !entry.is_dirty)
        {
            entry.is_dirty = true;
            self.dirty.push(child);
        }
    }

    fn spawn(&mut self, spec: &SpawnSpec) {
        let child = spec.child;
        let now = Instant::now();
        match self.try_spawn(spec) {
            Ok(pid) => self.core.handle_input(now, Input::Spawned { child, pid }),
            Err(error) => {
                let program = self.launch.program().to_string_lossy();
                let reason = format!("cannot start {program}: {error}");
                self.core
                    .handle_input(now, Input::SpawnFailed { child, reason });
            }
        }
    }

    fn try_spawn(&mut self, spec: &SpawnSpec) -> io::Result<i32> {
        let (ours, theirs) = sys::channel::pair()?;
        let fd = watch(ours, Interest::READABLE | Interest::WRITABLE)?;
        let line = self.launch.command_line(spec);
        let pid = sys::spawn::spawn(&sys::spawn::SpawnRequest {
            program: self.launch.program(),
            argv: &line.argv,
            env: &line.env,
            channel: theirs.as_fd(),
        })?;
        let channel = Channel {
            fd: Rc::new(fd),
            read_gate: Gate::new(true),
            write_gate: Gate::new(false),
        };
        self.start_tasks(spec.child, pid, &channel);
        self.children.insert(spec.child, Child::new(pid, channel));
        Ok(pid)
    }

    fn start_tasks(&self, child: ChildId, pid: i32, channel: &Channel) {
        let Channel {
            fd,
            read_gate,
            write_gate,
        } = channel;
        spawn_local(tasks::read(
            self.me.clone(),
            child,
            Rc::clone(fd),
            Rc::clone(read_gate),
        ));
        spawn_local(tasks::write(
            self.me.clone(),
            child,
            Rc::clone(fd),
            Rc::clone(write_gate),
        ));
        spawn_local(tasks::reap(self.me.clone(), child, pid));
    }

    /// Signals a child and what it has started. The list is made before the first signal:
    /// afterwards the descendants of a dead parent are nobody's.
    fn signal(&mut self, child: ChildId, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => nix::sys::signal::Signal::SIGTERM,
            Signal::Kill => nix::sys::signal::Signal::SIGKILL,
        };
        let pid = self
            .children
            .get(&child)
            .map(|entry| entry.pid)
            .filter(|&pid| pid > 0);
        if let Some(pid) = pid {
            self.descendants
                .entry(child)
                .or_insert_with(|| sys::process_tree::descendants(pid));
            if let Err(error) = sys::process::signal(pid, signal) {
                tracing::warn!(?child, pid, %error, "cannot signal");
            }
        }
        for identity in self.descendants.get(&child).into_iter().flatten() {
            if let Err(error) = sys::process_tree::signal(identity, signal) {
                tracing::warn!(?child, ?identity, %error, "cannot signal a descendant");
            }
        }
    }

    fn ask_stack(&self, child: ChildId) {
        // One that is reaped already needs no answer.
        if let Some(pid) = self.pid_of(child) {
            spawn_local(hang_stack::ask(self.me.clone(), child, pid));
        }
    }

    /// Has Node open its inspector: that is what SIGUSR1 is for.
    pub(super) fn open_inspector(&self, child: ChildId) -> io::Result<()> {
        let pid = self.pid_of(child).ok_or(io::ErrorKind::NotFound)?;
        sys::process::signal(pid, nix::sys::signal::Signal::SIGUSR1)
    }

    pub(super) fn tell_stack(&mut self, child: ChildId, stack: Result<Vec<StackFrame>, String>) {
        self.feed(Input::Stack { child, stack });
        self.settle();
    }

    /// The process id of a child that is not reaped.
    fn pid_of(&self, child: ChildId) -> Option<i32> {
        let pid = self.children.get(&child).map(|entry| entry.pid);
        pid.filter(|&pid| pid > 0)
    }

    fn count_descendants(&mut self, child: ChildId) {
        let listed = self.descendants.get(&child).map_or(&[][..], Vec::as_slice);
        let alive = listed
            .iter()
            .filter(|identity| sys::process_tree::is_alive(identity))
            .count();
        self.core
            .handle_input(Instant::now(), Input::Descendants { child, alive });
    }

    fn check_untouched(&mut self, conn: ConnId) {
        let untouched = self
            .connections
            .get(conn)
            .is_some_and(sys::tcp::is_untouched);
        let input = Input::Checked { conn, untouched };
        self.core.handle_input(Instant::now(), input);
    }

    fn listen(&mut self, listener: ListenerId, spec: &ListenSpec) {
        let input = match self.try_listen(listener, spec) {
            Ok(()) => {
                let local = self.listeners.get(&listener).map(Listener::fd);
                let local = local.and_then(sys::listener::local_address);
                Input::Listening { listener, local }
            }
            Err(error) => Input::ListenFailed {
                listener,
                errno: errno(&error),
            },
        };
        self.core.handle_input(Instant::now(), input);
    }

    fn try_listen(&mut self, listener: ListenerId, spec: &ListenSpec) -> io::Result<()> {
        let fd = bind(spec)?;
        let path = match &spec.target {
            ListenTarget::Pipe { path, .. } => Some(path.into()),
            _ => None,
        };
        let socket = if spec.backlog.is_some() {
            let socket = Rc::new(watch(fd, Interest::READABLE)?);
            let gate = Gate::new(false);
            let (me, task_gate) = (self.me.clone(), Rc::clone(&gate));
            spawn_local(tasks::accept(me, listener, Rc::clone(&socket), task_gate));
            Socket::Accepting(socket, gate)
        } else {
            Socket::Shared(fd)
        };
        let is_ours = !matches!(spec.target, ListenTarget::Fd(_));
        let entry = Listener {
            socket,
            path,
            is_ours,
        };
        self.listeners.insert(listener, entry);
        Ok(())
    }

    /// Accepts all that waits at a listener that is about to be closed.
    fn accept_rest(&mut self, listener: ListenerId) {
        let now = Instant::now();
        let socket = match self.listeners.get(&listener).map(|entry| &entry.socket) {
            Some(Socket::Accepting(socket, _)) => Some(Rc::clone(socket)),
            Some(Socket::Shared(_)) | None => None,
        };
        // The kernel's queue has room for fewer; clients that go on connecting end here, too.
        for _ in 0..ACCEPTS_AT_END {
            let Some(Ok((fd, peer))) = socket
                .as_ref()
                .map(|socket| sys::listener::accept(socket.get_ref().as_fd()))
            else {
                break;
            };
            let conn = self.connections.insert(fd);
            self.core.handle_input(
                now,
                Input::Accepted {
                    listener,
                    conn,
                    peer,
                },
            );
        }
        self.core
            .handle_input(now, Input::AcceptedRest { listener });
    }

    fn set_accepting(&self, listener: ListenerId, accepting: bool) {
        if let Some(Listener {
            socket: Socket::Accepting(_, gate),
            ..
        }) = self.listeners.get(&listener)
        {
            gate.set(accepting);
        }
    }
}

fn bind(spec: &ListenSpec) -> io::Result<OwnedFd> {
    match &spec.target {
        &ListenTarget::Tcp {
            address,
            port,
            ipv6_only,
        } => sys::listener::tcp(address, port, ipv6_only, spec.backlog),
        ListenTarget::Pipe {
            path,
            readable_all,
            writable_all,
        } => sys::listener::pipe(path, *readable_all, *writable_all, spec.backlog),
        &ListenTarget::Fd(fd) => sys::listener::inherited(fd, spec.backlog),
        &ListenTarget::Udp {
            address,
            port,
            ipv6_only,
            reuse_addr,
        } => sys::listener::udp(address, port, ipv6_only, reuse_addr),
    }
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(EINVAL)
}

/// An event as JavaScript gets it.
pub(super) fn to_json(event: &Event) -> String {
    // Every field is a number, a text or JSON already, so this cannot fail.
    serde_json::to_string(event).unwrap_or_default()
}
