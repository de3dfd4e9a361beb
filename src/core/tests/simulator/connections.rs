//! Clients, the kernel's queues and the connections that have been accepted: each is in one
//! place at any time.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::children::Proc;
use super::scenario::{PUBLIC, SECOND, Second};
use super::world::{ANSWER, Happening, Sim};
use crate::core::client_key::KeyBy;
use crate::core::event::*;

/// Those that are late are closed together, once a second.
pub const HOLD_SLACK: Duration = Duration::from_secs(1);
/// The master keeps its duplicate of a connection that a worker serves for this time.
pub const KEEP: Duration = Duration::from_millis(5);
/// The same for one that nobody has touched, and longer while its worker does not turn.
const KEEP_UNTOUCHED: Duration = Duration::from_millis(250);
/// How often it is looked whether it has been touched.
pub const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Those whose time is over are closed together, so some a little later.
pub const KEEP_SLACK: Duration = Duration::from_millis(5);
/// The client that comes past all proxies.
const UNTRUSTED: u8 = 11;
/// A connection that was refused more often may be closed.
const REFUSAL_LIMIT: u32 = 200;

/// A socket that the master has bound, or pretends to have.
pub struct Port {
    pub key: String,
    pub sticky: bool,
    is_second: bool,
    pub accepts: bool,
    pub accepting: bool,
    pub bound: bool,
    /// Clients in the kernel's queue.
    pub backlog: VecDeque<u8>,
    pub members: BTreeSet<u32>,
    pub starved_until: Option<Duration>,
    /// A worker is there to take connections.
    pub attended: bool,
    /// The last time when one was.
    pub attended_at: Duration,
}

/// An accepted connection that the core has not closed.
pub struct Conn {
    pub port: ListenerId,
    pub client: u8,
    pub place: Place,
    /// A worker has read from it.
    touched: bool,
    /// Nothing comes of its client.
    mute: bool,
    /// When it was last found untouched.
    pub found_untouched: Option<Duration>,
    refusals: u32,
    /// Since when no worker has it.
    pub held_since: Duration,
    /// Since when its client is known.
    known_since: Duration,
    /// The client had gone before it was handed over.
    gone: bool,
    /// How many bytes the core has seen of it, while it waits for more.
    awaited: Option<usize>,
    wants_head: bool,
    /// Bytes at its beginning that are not for the worker: seen by the core, and taken off by it.
    header: usize,
    skipped: usize,
    /// It goes by its key; otherwise by its address, since that did not come in time.
    is_known: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// No worker has it.
    Master,
    /// Sent to this worker, which has not answered for it.
    Handed(u32),
    /// This worker serves it since then; the master has its duplicate still.
    Served(u32, Duration),
    /// The worker that served it is dead; the system is asked whether it had begun.
    Checked,
}

impl Conn {
    /// Its first bytes are awaited.
    pub fn is_looked_at(&self) -> bool {
        self.awaited.is_some()
    }
}

impl Sim {
    pub fn bind(&mut self, id: ListenerId, spec: &ListenSpec) {
        let key = match &spec.target {
            ListenTarget::Tcp { port, .. } => format!("null:{port}:4:undefined:0"),
            ListenTarget::Udp { port, .. } => format!("127.0.0.1:{port}:udp4:undefined:0"),
            ListenTarget::Pipe { path, .. } => format!("{path}:-1:-1:undefined:0"),
            ListenTarget::Fd(_) | ListenTarget::Inherited(_) => {
                panic!("nobody asks for a descriptor")
            }
        };
        let sticky = self.scenario.settings.sticky_port.is_some();
        let public = matches!(spec.target, ListenTarget::Tcp { port, .. } if port == PUBLIC);
        let port = Port {
            key,
            sticky: sticky && public,
            is_second: !public,
            accepts: spec.backlog.is_some(),
            accepting: false,
            bound: false,
            backlog: VecDeque::new(),
            members: BTreeSet::new(),
            starved_until: None,
            attended: false,
            attended_at: Duration::ZERO,
        };
        assert!(self.ports.insert(id, port).is_none(), "{id:?} again");
    }

    pub fn answer_listen(&mut self, listener: ListenerId) {
        if self.strikes(self.scenario.hazards.listen_failure) {
            self.ports.remove(&listener);
            return self.feed(Input::ListenFailed {
                listener,
                errno: 98,
            });
        }
        if let Some(port) = self.ports.get_mut(&listener) {
            port.bound = true;
        }
        let port = if self.is_second(listener) {
            SECOND
        } else {
            PUBLIC
        };
        let is_pipe = self.is_second(listener) && self.scenario.second == Second::Pipe;
        let local = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let local = (!is_pipe).then_some(local);
        self.feed(Input::Listening { listener, local });
    }

    pub fn port_of(&self, key: &str) -> Option<ListenerId> {
        let has_key = |port: &Port| port.key == key && !port.sticky;
        self.ports
            .iter()
            .find(|(_, port)| has_key(port))
            .map(|(&id, _)| id)
    }

    pub fn is_second(&self, id: ListenerId) -> bool {
        self.ports.get(&id).is_some_and(|port| port.is_second)
    }

    /// A worker has been told that it listens on a port.
    pub fn join(&mut self, child: ChildId, id: ListenerId) {
        if let (ChildId::App(worker), Some(port)) = (child, self.ports.get_mut(&id)) {
            port.members.insert(worker);
            if let Some(proc) = self.procs.get_mut(&child) {
                proc.members.insert(id);
            }
        }
    }

    pub fn leave(&mut self, child: ChildId, id: ListenerId) {
        if let (ChildId::App(worker), Some(port)) = (child, self.ports.get_mut(&id)) {
            port.members.remove(&worker);
        }
    }

    pub fn set_accepting(&mut self, id: ListenerId, accepting: bool) {
        let port = self.ports.get_mut(&id).expect("a port that is not open");
        assert_ne!(
            port.accepting, accepting,
            "{id:?}: asked for what is so already"
        );
        assert!(port.accepts && port.bound, "{id:?} is not listened on");
        let rests = port.starved_until.is_some_and(|until| self.clock < until);
        assert!(!(accepting && rests), "{id:?} has no descriptors");
        port.accepting = accepting;
    }

    pub fn close_port(&mut self, id: ListenerId) {
        let port = self
            .ports
            .remove(&id)
            .expect("a port that is not open is closed");
        assert!(port.bound, "{id:?} is closed before it is bound");
        if !self.core_is_ending() {
            assert!(
                port.members.is_empty(),
                "{id:?} is closed under {:?}",
                port.members
            );
        }
    }

    /// A client connects: it waits in the kernel's queue.
    pub fn connect(&mut self) {
        let client = u8::try_from(self.random.below(12)).unwrap();
        let place = self.random.index(self.ports.len().max(1));
        if let Some(port) = self.ports.values_mut().nth(place)
            && port.bound
            && port.accepts
            && port.backlog.len() < 100
        {
            port.backlog.push_back(client);
        }
    }

    pub fn accept(&mut self) {
        let place = self.random.index(self.ports.len().max(1));
        if let Some((&id, port)) = self.ports.iter_mut().nth(place)
            && port.accepting
            && let Some(client) = port.backlog.pop_front()
        {
            self.accept_one(id, client);
        }
    }

    pub fn accept_rest(&mut self, listener: ListenerId) {
        let waiting = self
            .ports
            .get_mut(&listener)
            .map(|port| std::mem::take(&mut port.backlog));
        for client in waiting.into_iter().flatten() {
            self.accept_one(listener, client);
        }
        self.feed(Input::AcceptedRest { listener });
    }

    fn accept_one(&mut self, listener: ListenerId, client: u8) {
        self.last_conn += 1;
        let id = ConnId(self.last_conn);
        let gone = self.strikes(self.scenario.hazards.vanish);
        let sticky = self.ports.get(&listener).is_some_and(|port| port.sticky);
        let peer = self.peer_of(client);
        let wants_head = sticky && self.scenario.settings.client_key.wants_head(peer);
        let conn = Conn {
            port: listener,
            client,
            place: Place::Master,
            touched: false,
            mute: self.random.chance(200),
            found_untouched: None,
            refusals: 0,
            held_since: self.clock,
            known_since: self.clock,
            gone,
            awaited: None,
            wants_head,
            header: 0,
            skipped: 0,
            is_known: true,
        };
        self.conns.insert(id, conn);
        let is_pipe = self.scenario.second == Second::Pipe && self.is_second(listener);
        let peer = (!is_pipe && (!gone || wants_head)).then_some(peer);
        self.feed(Input::Accepted {
            listener,
            conn: id,
            peer,
        });
    }

    /// Where a connection comes from: a client, or the proxy before it, which is trusted. The last
    /// client has none.
    fn peer_of(&self, client: u8) -> IpAddr {
        let by = &self.scenario.settings.client_key.by;
        let octets = match by {
            KeyBy::ProxyProtocol | KeyBy::Forwarded(_) if client == UNTRUSTED => {
                [192, 0, 2, client]
            }
            KeyBy::ProxyProtocol | KeyBy::Forwarded(_) => [10, 0, 0, 99],
            _ => [10, 0, 0, client],
        };
        Ipv4Addr::from(octets).into()
    }

    /// What a client's connection begins with, and how much of it is the proxy's.
    fn first_bytes(&self, client: u8) -> (String, usize) {
        match &self.scenario.settings.client_key.by {
            KeyBy::ProxyProtocol => {
                let header = format!("PROXY TCP4 198.51.100.{client} 10.0.0.1 4000 80\r\n");
                let length = header.len();
                (header + "GET / HTTP/1.1\r\n\r\n", length)
            }
            KeyBy::Forwarded(_) => {
                let from = format!("x-forwarded-for: 198.51.100.{client}");
                (format!("GET / HTTP/1.1\r\n{from}\r\n\r\n"), 0)
            }
            _ => {
                let cookie = format!("cookie: id={client}");
                (format!("GET / HTTP/1.1\r\n{cookie}\r\n\r\n"), 0)
            }
        }
    }

    /// The core takes bytes off the front of a connection.
    pub fn skip(&mut self, id: ConnId, bytes: usize) {
        let conn = self
            .conns
            .get_mut(&id)
            .unwrap_or_else(|| panic!("{id:?} is closed"));
        assert_eq!(
            conn.place,
            Place::Master,
            "{id:?} is not the master's any more"
        );
        assert!(conn.awaited.is_none(), "{id:?} is looked at still");
        conn.skipped += bytes;
    }

    /// The system has no descriptors left.
    pub fn starve(&mut self) {
        let place = self.random.index(self.ports.len().max(1));
        if let Some((&listener, port)) = self.ports.iter_mut().nth(place)
            && port.accepting
        {
            port.starved_until = Some(self.clock + Duration::from_millis(100));
            self.starving = true;
            self.feed(Input::AcceptFailed {
                listener,
                errno: 24,
            });
            self.starving = false;
        }
    }

    /// The core hands a connection over.
    pub fn check_handoff(&mut self, child: ChildId, id: ConnId, sticky: bool) {
        let ChildId::App(worker) = child else {
            panic!("{id:?} for the agent")
        };
        let conn = self
            .conns
            .get(&id)
            .unwrap_or_else(|| panic!("{id:?} is closed"));
        assert_eq!(conn.place, Place::Master, "{id:?} for {child:?}");
        assert!(!conn.touched, "{id:?} has been served");
        assert!(conn.awaited.is_none(), "{id:?} is looked at still");
        assert_eq!(
            conn.skipped, conn.header,
            "what {id:?} has of its proxy's header, and what was taken off"
        );
        let port = self
            .ports
            .get(&conn.port)
            .expect("the port of a connection is closed");
        assert_eq!(port.sticky, sticky);
        let proc = self
            .procs
            .get(&child)
            .unwrap_or_else(|| panic!("{child:?} is reaped"));
        assert!(
            proc.connected,
            "{id:?} for {child:?}, which cannot be reached"
        );
        assert!(
            !proc.leaving,
            "{id:?} for {child:?}, which has been asked to go"
        );
        assert!(
            !proc.left,
            "{id:?} for {child:?}, which has said that it goes"
        );
        if sticky {
            assert!(proc.ready, "{id:?} for {child:?}, which is not ready");
            self.check_home(child, id);
        } else {
            assert!(
                port.members.contains(&worker),
                "{id:?} for {child:?}, which does not listen"
            );
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.place = Place::Handed(worker);
        }
    }

    /// A client of sticky mode comes to its slot, while that has a worker for it.
    fn check_home(&mut self, child: ChildId, id: ConnId) {
        let (Some(conn), Some(slot)) = (
            self.conns.get(&id),
            self.procs.get(&child).and_then(|proc| proc.slot),
        ) else {
            return;
        };
        let slots = self.scenario.settings.workers;
        let since = conn.known_since.max(conn.held_since);
        if !conn.is_known {
            return;
        }
        let serves = |id| {
            self.procs
                .get(&ChildId::App(id))
                .is_some_and(Proc::is_offered)
        };
        let is_ready = |slot: &u32| {
            let ready = self.ready_slots.get(slot);
            ready.is_some_and(|&(id, at)| at < since && serves(id))
        };
        match self.homes.get(&conn.client) {
            Some(home) if is_ready(home) => {
                assert_eq!(
                    slot, *home,
                    "client {} of {id:?} leaves its slot",
                    conn.client
                );
            }
            None if (0..slots).all(|slot| is_ready(&slot)) => {
                self.homes.insert(conn.client, slot);
            }
            _ => {}
        }
    }

    /// A worker answers that it serves a connection.
    pub fn conn_is_served(&mut self, child: ChildId, id: ConnId) {
        let ChildId::App(worker) = child else { return };
        let now = self.clock;
        if let Some(conn) = self.conns.get_mut(&id) {
            assert_eq!(conn.place, Place::Handed(worker), "{id:?} at {child:?}");
            conn.place = Place::Served(worker, now);
            conn.found_untouched = None;
            if !conn.mute {
                let after = self.random.millis(0..60);
                self.plan(after, Happening::Touch(id));
            }
        }
    }

    /// The core wants to know which of its duplicates may be wanted again.
    pub fn find_untouched(&mut self, mut conns: Vec<ConnId>) {
        let now = self.clock;
        conns.retain(|id| {
            let conn = self
                .conns
                .get_mut(id)
                .unwrap_or_else(|| panic!("{id:?} is closed"));
            assert!(
                matches!(conn.place, Place::Served(..)),
                "{id:?} is at {:?}",
                conn.place
            );
            if !conn.touched {
                conn.found_untouched = Some(now);
            }
            !conn.touched
        });
        self.feed(Input::UntouchedFound { conns });
    }

    pub fn touch(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id)
            && let Place::Served(worker, _) = conn.place
            && self
                .procs
                .get(&ChildId::App(worker))
                .is_some_and(|proc| !proc.dying && !proc.hung)
        {
            conn.touched = true;
        }
    }

    /// A connection is nowhere but at the master: refused, or its worker is gone.
    pub fn conn_returns(&mut self, id: ConnId) {
        let now = self.clock;
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.place = Place::Master;
            conn.refusals += 1;
            conn.held_since = now;
        }
    }

    pub fn begin_check(&mut self, id: ConnId) {
        let conn = self
            .conns
            .get_mut(&id)
            .unwrap_or_else(|| panic!("{id:?} is closed"));
        let Place::Served(worker, _) = conn.place else {
            panic!("{id:?} is at {:?}", conn.place)
        };
        assert!(
            !self.procs.contains_key(&ChildId::App(worker)),
            "{worker} lives"
        );
        conn.place = Place::Checked;
    }

    pub fn answer_check(&mut self, id: ConnId) {
        let now = self.clock;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let untouched = !conn.touched;
        if untouched {
            conn.place = Place::Master;
            conn.held_since = now;
        }
        self.feed(Input::Checked {
            conn: id,
            untouched,
        });
    }

    /// The core closes its duplicate. A client that was not served must deserve it.
    pub fn close_conn(&mut self, id: ConnId) {
        let conn = self
            .conns
            .remove(&id)
            .unwrap_or_else(|| panic!("{id:?} is closed twice"));
        assert!(
            conn.awaited.is_none(),
            "{id:?} is closed while it is looked at"
        );
        let ending = self.core_is_ending();
        match conn.place {
            Place::Handed(worker) => panic!("{id:?} is closed while {worker} has it"),
            Place::Served(worker, since) => {
                let is_done = conn.touched || !self.may_yet_read(worker, since);
                assert!(
                    ending || self.starving || (is_done && self.clock - since >= KEEP),
                    "the duplicate of {id:?} is given up early"
                );
            }
            Place::Checked => assert!(ending || conn.touched, "{id:?} was never begun"),
            Place::Master => {
                let held = self.clock - conn.held_since;
                let unused = self
                    .ports
                    .get(&conn.port)
                    .is_none_or(|port| port.members.is_empty());
                assert!(
                    ending
                        || conn.gone
                        || held >= self.scenario.settings.hold.timeout
                        || conn.refusals > REFUSAL_LIMIT
                        || (unused && !self.ports.get(&conn.port).is_some_and(|port| port.sticky)),
                    "{id:?} is closed after {held:?}, and nobody has served it"
                );
            }
        }
    }

    /// The worker has answered nothing that it was asked when it should have touched this connection.
    pub fn may_yet_read(&self, worker: u32, since: Duration) -> bool {
        let proc = self.procs.get(&ChildId::App(worker));
        let turned_at = proc.and_then(|proc| proc.turned_at);
        turned_at.is_none_or(|at| at < since + KEEP_UNTOUCHED)
    }

    pub fn begin_peek(&mut self, id: ConnId, beyond: usize) {
        let conn = self
            .conns
            .get_mut(&id)
            .unwrap_or_else(|| panic!("{id:?} is closed"));
        assert!(
            conn.wants_head && conn.place == Place::Master,
            "{id:?} need not be looked at"
        );
        assert!(
            conn.awaited.replace(beyond).is_none(),
            "{id:?} is looked at already"
        );
        if self.scenario.prompt && beyond == 0 && self.random.chance(500) {
            return self.show_head(id);
        }
        let most = self.random.pick(&[20, ANSWER, 4000]);
        let after = self.random.millis(0..most);
        self.plan(after, Happening::Peeked(id));
    }

    pub fn end_peek(&mut self, id: ConnId) {
        let now = self.clock;
        let conn = self
            .conns
            .get_mut(&id)
            .unwrap_or_else(|| panic!("{id:?} is closed"));
        // The answer may be on its way already.
        assert!(
            conn.wants_head && conn.place == Place::Master,
            "{id:?} is not looked at"
        );
        conn.awaited = None;
        conn.wants_head = false;
        conn.is_known = false;
        conn.held_since = now;
        conn.known_since = now;
    }

    /// More of the first bytes of a connection has come.
    pub fn show_head(&mut self, id: ConnId) {
        let part = self.random.chance(300);
        let now = self.clock;
        let Some(client) = self.conns.get(&id).map(|conn| conn.client) else {
            return;
        };
        let (whole, header) = self.first_bytes(client);
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let Some(beyond) = conn.awaited.take() else {
            return;
        };
        let seen = if part {
            (beyond + whole.len()).div_ceil(2)
        } else {
            whole.len()
        };
        let head = if conn.gone {
            Peeked::Gone
        } else if seen <= beyond {
            Peeked::NoMore
        } else {
            Peeked::Bytes(Bytes::from(whole[..seen].to_owned()))
        };
        conn.held_since = now;
        conn.known_since = now;
        conn.is_known = !matches!(head, Peeked::NoMore);
        if matches!(head, Peeked::Bytes(_)) && seen >= header {
            conn.header = header;
        }
        self.feed(Input::Peeked { conn: id, head });
    }
}
