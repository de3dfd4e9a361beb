//! The primary's side of Node's cluster protocol: who listens where.
//!
//! A worker asks for a listener (`queryServer`). The first to ask makes the master bind
//! it, later ones with the same key share it. With round robin the answer carries no
//! descriptor, and the master hands over each connection; otherwise the worker gets the
//! socket itself.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::value::RawValue;

use super::Core;
use super::event::{
    ChildId, ConnId, Event, Frame, HandleRef, ListenSpec, ListenTarget, ListenerId, Output,
    WorkerAddress,
};
use super::lifecycle::Phase;
use super::scheduler::Scheduler;
use super::status::ListenerStatus;
use super::timer::Timer;
use super::workers::Worker;
use crate::ipc::encode;
use crate::ipc::message::{Address, ChildMessage, Family, QueryServer};

/// What Node's `listen` uses where no backlog is given.
const DEFAULT_BACKLOG: i32 = 511;
/// The errno of an address that cannot be one; the same number on Linux and macOS.
const EINVAL: i32 = 22;
/// How long a listener is kept open at least for the successor of its last worker.
const ORPHAN_LIMIT: Duration = Duration::from_secs(30);

/// All listeners that workers asked for.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    by_id: BTreeMap<ListenerId, Listener>,
    keys: HashMap<String, ListenerId>,
    last_id: u32,
}

/// A listener, by whatever way workers get its connections.
#[derive(Debug)]
pub(super) struct Listener {
    key: String,
    kind: Kind,
    state: State,
    /// The first data that a worker gave; all get the same (TLS ticket keys).
    data: Option<Box<RawValue>>,
    members: BTreeSet<u32>,
    /// The `newconn` message up to its number.
    pub(super) newconn: Bytes,
    pub(super) scheduler: Scheduler,
    /// The driver accepts on it.
    pub(super) accepting: bool,
    /// Accepting failed; it is tried again later.
    pub(super) starved: bool,
    /// Accepted connections that no worker has, oldest first.
    pub(super) pending: VecDeque<Held>,
}

/// A connection that waits for a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) conn: ConnId,
    /// Since when no worker has it.
    pub(super) since: Instant,
    /// How often workers have refused it.
    pub(super) refusals: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The master accepts and hands over.
    RoundRobin,
    /// Workers share the TCP or unix socket.
    Shared,
    /// Workers share the UDP socket.
    SharedDatagram,
    /// The port that workers pretend to listen on in sticky mode: nothing is bound.
    Pretended,
}

#[derive(Debug)]
enum State {
    /// Being bound; these workers wait, with the numbers of their queries.
    Binding(Vec<(u32, u64)>),
    /// Bound, to this address if it is TCP.
    Open(Option<SocketAddr>),
}

impl Listeners {
    pub(super) fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn has(&self, id: ListenerId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Some worker is there to take its connections, now or later.
    #[cfg(test)]
    pub(super) fn is_attended(&self, id: ListenerId) -> bool {
        self.by_id
            .get(&id)
            .is_some_and(|listener| !listener.scheduler.is_empty())
    }

    pub(super) fn next_id(&mut self) -> ListenerId {
        self.last_id += 1;
        ListenerId(self.last_id)
    }

    fn insert(&mut self, listener: Listener) -> ListenerId {
        let id = self.next_id();
        self.keys.insert(listener.key.clone(), id);
        self.by_id.insert(id, listener);
        id
    }

    fn remove(&mut self, id: ListenerId) -> Option<Listener> {
        let listener = self.by_id.remove(&id)?;
        self.keys.remove(&listener.key);
        Some(listener)
    }

    /// The listeners that the master accepts on.
    pub(super) fn accepted_on(&self) -> Vec<ListenerId> {
        self.by_id
            .iter()
            .filter(|(_, listener)| listener.is_accepted_on())
            .map(|(&id, _)| id)
            .collect()
    }

    pub(super) fn count(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (ListenerId, &Listener)> {
        self.by_id.iter().map(|(&id, listener)| (id, listener))
    }

    fn has_member(&self, id: ListenerId, worker: u32) -> bool {
        let listener = self.by_id.get(&id);
        listener.is_some_and(|listener| listener.members.contains(&worker))
    }

    pub(super) fn of_member(&self, worker: u32) -> Vec<ListenerId> {
        let has = |listener: &Listener| listener.members.contains(&worker);
        self.by_id
            .iter()
            .filter(|(_, listener)| has(listener))
            .map(|(&id, _)| id)
            .collect()
    }
}

impl Listener {
    fn new(key: String, kind: Kind, state: State) -> Self {
        Self {
            newconn: encode::newconn_prefix(&key),
            key,
            kind,
            state,
            data: None,
            members: BTreeSet::new(),
            scheduler: Scheduler::default(),
            accepting: false,
            starved: false,
            pending: VecDeque::new(),
        }
    }

    /// As operators see it; none where nothing is bound, or not yet.
    pub(super) fn view(&self) -> Option<ListenerStatus> {
        let State::Open(local) = self.state else {
            return None;
        };
        let kind = match self.kind {
            Kind::RoundRobin => "round-robin",
            Kind::Shared => "shared",
            Kind::SharedDatagram => "shared-datagram",
            Kind::Pretended => return None,
        };
        Some(ListenerStatus {
            kind,
            address: local.map_or_else(|| self.key.clone(), |local| local.to_string()),
            inherited: false,
            accepting: self.accepting,
            workers: self.members.len(),
            waiting: self.pending.len(),
        })
    }

    /// The master accepts its connections, or would if they were wanted.
    pub(super) fn is_accepted_on(&self) -> bool {
        self.kind == Kind::RoundRobin && matches!(self.state, State::Open(_))
    }
}

impl Core {
    /// Everything that a child says.
    pub(super) fn on_message(&mut self, now: Instant, child: ChildId, message: ChildMessage) {
        if let ChildId::App(id) = child
            && self.waiting.has(id)
        {
            // The last words of one that has ended while it waited.
            return;
        }
        match (message, child) {
            (ChildMessage::User(message), _) => self.route_from_child(now, child, message),
            (ChildMessage::NotRoutable, _) => {
                self.report_bad_message(child, "neither an object nor a string".to_owned());
            }
            (ChildMessage::NotifySocketsClosed { key }, _) => {
                self.reply(child, encode::sockets_closed(&key));
            }
            (ChildMessage::CountSockets { key }, _) => {
                self.reply(child, encode::socket_count(&key, 0));
            }
            (message, ChildId::App(id)) => self.on_cluster_message(now, id, message),
            (_, ChildId::Agent(_)) => {}
        }
    }

    fn on_cluster_message(&mut self, now: Instant, id: u32, message: ChildMessage) {
        match message {
            ChildMessage::Online => self.workers.set_online(id),
            ChildMessage::QueryServer(query) => self.on_query_server(id, &query),
            ChildMessage::Listening(address) => {
                let address = self.correct_port(id, worker_address(address));
                self.on_worker_listening(now, id, address, false);
            }
            ChildMessage::CloseServer { key } => self.on_close_server(id, &key),
            ChildMessage::ExitedAfterDisconnect { seq } => {
                self.on_exited_after_disconnect(now, id, seq);
            }
            ChildMessage::Accepted { ack, accepted } => {
                self.note_answer(ChildId::App(id));
                self.on_newconn_answer(now, id, ack, accepted);
            }
            ChildMessage::CanDrain => self.on_can_drain(id),
            ChildMessage::Draining(in_use) => self.on_draining(now, id, in_use),
            ChildMessage::Counted(in_use) => self.on_counted(now, id, in_use),
            _ => {}
        }
    }

    fn reply(&mut self, child: ChildId, head: Bytes) {
        self.send(
            child,
            Frame::Message {
                head,
                tail: Bytes::new(),
            },
        );
    }

    fn on_query_server(&mut self, id: u32, query: &QueryServer) {
        // Node's primary does not answer a worker that is leaving either.
        let stays = self.workers.get(id).is_some_and(Worker::is_watched);
        if self.phase.is_ending() || !stays {
            return;
        }
        let listener = match self.find_listener(id, query) {
            Ok(listener) => listener,
            Err(errno) => return self.refuse_listener(id, query, errno),
        };
        let Some(entry) = self.listeners.get_mut(listener) else {
            return;
        };
        if entry.data.is_none() {
            entry.data.clone_from(&query.data);
        }
        match &mut entry.state {
            State::Binding(waiting) => waiting.push((id, query.seq)),
            State::Open(local) => {
                let local = *local;
                self.admit(listener, id, query.seq, local);
            }
        }
    }

    /// The listener that a query is for, made if it is the first for it; an errno where there is none.
    fn find_listener(&mut self, worker: u32, query: &QueryServer) -> Result<ListenerId, i32> {
        self.check_query(worker, query)?;
        let key = query.listener_key();
        let found = self.listeners.keys.get(&key).copied();
        if !found.is_some_and(|id| self.listeners.has_member(id, worker)) {
            self.check_listeners(worker)?;
        }
        found.map_or_else(|| self.make_listener(key, query), Ok)
    }

    fn make_listener(&mut self, key: String, query: &QueryServer) -> Result<ListenerId, i32> {
        if let Some(local) = self.pretended_address(query) {
            let state = State::Open(Some(local));
            return Ok(self
                .listeners
                .insert(Listener::new(key, Kind::Pretended, state)));
        }
        let datagram = matches!(query.family, Family::Udp4 | Family::Udp6);
        let kind = match (datagram, self.settings.share_listeners) {
            (true, _) => Kind::SharedDatagram,
            (false, true) => Kind::Shared,
            (false, false) => Kind::RoundRobin,
        };
        let spec = listen_spec(query, kind == Kind::RoundRobin)?;
        let state = State::Binding(Vec::new());
        let listener = self.listeners.insert(Listener::new(key, kind, state));
        self.listen(listener, spec);
        Ok(listener)
    }

    /// The address to answer with, if this is the listen of sticky mode.
    fn pretended_address(&self, query: &QueryServer) -> Option<SocketAddr> {
        let port = self.settings.sticky_port?;
        let address: IpAddr = query.address.as_deref()?.parse().ok()?;
        (query.port == Some(i64::from(port)) && address.is_loopback())
            .then_some(SocketAddr::new(address, port))
    }

    fn refuse_listener(&mut self, id: u32, query: &QueryServer, errno: i32) {
        let key = query.listener_key();
        if let Some(worker) = self.workers.get_mut(id) {
            let seq = worker.take_seq();
            self.reply(
                ChildId::App(id),
                encode::reply_error(seq, query.seq, &key, None, errno),
            );
        }
    }

    /// Answers a worker's query and gives it its share of the listener.
    fn admit(&mut self, id: ListenerId, worker_id: u32, ack: u64, local: Option<SocketAddr>) {
        let Some(worker) = self.workers.get_mut(worker_id) else {
            return;
        };
        let seq = worker.take_seq();
        worker.note_port(
            local.map(|local| local.port()),
            self.settings.limits.listeners,
        );
        let Some(listener) = self.listeners.by_id.get_mut(&id) else {
            return;
        };
        listener.members.insert(worker_id);
        self.timers.cancel(Timer::Orphaned(id));
        let data = listener.data.as_deref();
        let frame = match listener.kind {
            Kind::RoundRobin | Kind::Pretended => Frame::Message {
                head: encode::reply_round_robin(seq, ack, &listener.key, data, local),
                tail: Bytes::new(),
            },
            Kind::Shared | Kind::SharedDatagram => {
                let datagram = listener.kind == Kind::SharedDatagram;
                Frame::Handle {
                    text: encode::reply_shared(seq, ack, &listener.key, data, datagram),
                    handle: HandleRef::Listener(id),
                }
            }
        };
        let round_robin = listener.kind == Kind::RoundRobin;
        if round_robin {
            listener.scheduler.add(worker_id);
        }
        // The answer first: a worker refuses a connection with a key that it does not know.
        self.send(ChildId::App(worker_id), frame);
        if round_robin {
            self.dispatch(id);
        }
    }

    pub(super) fn on_listening(&mut self, now: Instant, id: ListenerId, local: Option<SocketAddr>) {
        if self.sticky.listener == Some(id) {
            self.on_sticky_listening(now);
            return;
        }
        let Some(listener) = self.listeners.by_id.get_mut(&id) else {
            self.output(Output::CloseListener { listener: id });
            return;
        };
        let opened = std::mem::replace(&mut listener.state, State::Open(local));
        if let State::Binding(waiting) = opened {
            for (worker, ack) in waiting {
                if self.workers.get(worker).is_some_and(Worker::is_watched) {
                    self.admit(id, worker, ack, local);
                }
            }
        }
        self.close_listener_if_unused(id);
    }

    pub(super) fn on_listen_failed(&mut self, now: Instant, id: ListenerId, errno: i32) {
        if self.sticky.listener == Some(id) {
            self.sticky.listener = None;
            self.emit(Event::ListenFailed {
                port: self.public.port,
                errno,
            });
            self.fail(now);
            return;
        }
        // The key is forgotten, so that another worker, or the same, may try again.
        let Some(listener) = self.listeners.remove(id) else {
            return;
        };
        let State::Binding(waiting) = listener.state else {
            return;
        };
        for (worker_id, ack) in waiting {
            let Some(worker) = self.workers.get_mut(worker_id) else {
                continue;
            };
            let seq = worker.take_seq();
            let data = listener.data.as_deref();
            let text = encode::reply_error(seq, ack, &listener.key, data, errno);
            self.reply(ChildId::App(worker_id), text);
        }
    }

    /// A server of Node 16 that listens twice tells its second port both times, if both answers
    /// reach it together. The port that it was given and has not told is the one it means.
    fn correct_port(&mut self, id: u32, mut address: WorkerAddress) -> WorkerAddress {
        let Some(worker) = self.workers.get_mut(id) else {
            return address;
        };
        let told = address.port.and_then(|port| u16::try_from(port).ok());
        match worker
            .untold_ports
            .iter()
            .position(|&port| Some(port) == told)
        {
            Some(at) => drop(worker.untold_ports.remove(at)),
            None => {
                if let Some(port) = worker.untold_ports.pop() {
                    address.port = Some(port.into());
                }
            }
        }
        address
    }

    fn on_close_server(&mut self, worker: u32, key: &str) {
        // The listener of others is none of its business, be it one that waits for their successors.
        if let Some(&id) = self.listeners.keys.get(key)
            && self.listeners.has_member(id, worker)
        {
            self.leave_listener(worker, id);
            self.close_listener_if_unused(id);
        }
    }

    fn on_exited_after_disconnect(&mut self, now: Instant, id: u32, seq: u64) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.exited_after_disconnect = true;
        let text = encode::acknowledge(worker.take_seq(), seq);
        self.reply(ChildId::App(id), text);
        // It would refuse what is sent to it from now on.
        self.stop_offering(id);
        self.take_back_sticky_queue(now, id);
    }

    /// Gives a worker no more connections; the answers for those it was given still count.
    pub(super) fn stop_offering(&mut self, id: u32) {
        for listener in self.listeners.of_member(id) {
            if let Some(listener) = self.listeners.get_mut(listener) {
                listener.scheduler.remove(id);
            }
            self.regulate(listener);
        }
    }

    fn leave_listener(&mut self, worker: u32, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(id) {
            listener.members.remove(&worker);
            listener.scheduler.remove(worker);
            self.regulate(id);
        }
    }

    /// Takes a worker out of all listeners. A listener whose last worker is gone stays
    /// open while a successor is expected: its clients wait instead of being refused.
    pub(super) fn leave_listeners(&mut self, now: Instant, worker: u32) {
        for id in self.listeners.of_member(worker) {
            self.leave_listener(worker, id);
            if self.expects_successor() {
                let unused = |listener: &Listener| listener.members.is_empty();
                if self.listeners.by_id.get(&id).is_some_and(unused) {
                    let limit = ORPHAN_LIMIT.max(self.settings.hold.timeout);
                    self.timers.set(Timer::Orphaned(id), now + limit);
                }
            } else {
                self.close_listener_if_unused(id);
            }
        }
    }

    fn expects_successor(&self) -> bool {
        self.phase == Phase::Running && (self.settings.production || self.reload.is_some())
    }

    /// The successor has not come.
    pub(super) fn close_orphaned(&mut self, id: ListenerId) {
        self.close_listener_if_unused(id);
    }

    fn close_listener_if_unused(&mut self, id: ListenerId) {
        let unused = |listener: &Listener| {
            listener.members.is_empty() && matches!(listener.state, State::Open(_))
        };
        if self.listeners.by_id.get(&id).is_some_and(unused) {
            self.close_listener(id);
        }
    }

    fn close_listener(&mut self, id: ListenerId) {
        self.timers.cancel_where(|timer| {
            [
                Timer::Orphaned(id),
                Timer::RetryRefused(id),
                Timer::HeldTooLong(id),
                Timer::RetryAccept(id),
            ]
            .contains(timer)
        });
        let Some(listener) = self.listeners.remove(id) else {
            return;
        };
        for held in listener.pending {
            self.output(Output::CloseConn { conn: held.conn });
        }
        // A listener that is being bound is closed when the answer comes.
        if listener.kind != Kind::Pretended && matches!(listener.state, State::Open(_)) {
            self.output(Output::CloseListener { listener: id });
        }
    }

    /// The end has come: nobody is let in any more.
    pub(super) fn close_all_listeners(&mut self) {
        for id in self.listeners.by_id.keys().copied().collect::<Vec<_>>() {
            self.close_listener(id);
        }
        self.close_sticky();
    }
}

impl super::workers::Workers {
    fn set_online(&mut self, id: u32) {
        if let Some(worker) = self.get_mut(id)
            && worker.state == super::event::WorkerState::None
        {
            worker.state = super::event::WorkerState::Online;
        }
    }
}

/// What to bind for a query; an errno where its address makes no sense.
fn listen_spec(query: &QueryServer, accept: bool) -> Result<ListenSpec, i32> {
    let port = || {
        query
            .port
            .and_then(|port| u16::try_from(port).ok())
            .ok_or(EINVAL)
    };
    // A zone (`fe80::1%eth0`) has no place in the address of the standard library.
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| EINVAL);
    let ipv6_only = query.flags & 1 != 0;
    let target = match (query.fd.filter(|&fd| fd >= 0), query.family) {
        (Some(fd), _) => ListenTarget::Fd(i32::try_from(fd).map_err(|_| EINVAL)?),
        (None, Family::Tcp4 | Family::Tcp6) => ListenTarget::Tcp {
            address: query.address.as_deref().map(address).transpose()?,
            port: port()?,
            ipv6_only,
        },
        (None, Family::Udp4 | Family::Udp6) => ListenTarget::Udp {
            address: address(query.address.as_deref().ok_or(EINVAL)?)?,
            port: port()?,
            ipv6_only,
            reuse_addr: query.flags & 4 != 0,
        },
        (None, Family::Pipe) => ListenTarget::Pipe {
            path: query.address.clone().ok_or(EINVAL)?,
            readable_all: query.readable_all,
            writable_all: query.writable_all,
        },
        (None, Family::Fd) => return Err(EINVAL),
    };
    let backlog = match i32::try_from(query.backlog) {
        Ok(backlog) if backlog > 0 => backlog,
        _ => DEFAULT_BACKLOG,
    };
    Ok(ListenSpec {
        target,
        backlog: accept.then_some(backlog),
    })
}

fn worker_address(address: Address) -> WorkerAddress {
    let address_type = match address.family {
        Family::Tcp4 => 4.into(),
        Family::Tcp6 => 6.into(),
        Family::Pipe => (-1).into(),
        Family::Udp4 => "udp4".into(),
        Family::Udp6 => "udp6".into(),
        Family::Fd => serde_json::Value::Null,
    };
    WorkerAddress {
        address_type,
        address: address.address,
        port: address.port,
        fd: address.fd,
    }
}
