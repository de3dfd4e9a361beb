//! A cluster played with a fake clock: the world answers what the core asks for, at once
//! and well, unless a test says otherwise.

mod agent;
mod agent_reload;
mod bounds;
mod closing;
mod connections;
mod draining;
mod hang_stack;
mod inherited;
mod listeners;
mod messages;
mod peeking;
mod prestarting;
mod races;
mod reloading;
mod restarting;
mod scale;
mod service;
mod simulator;
mod steering;
mod sticky;
mod threads;
mod watching;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::Core;
use super::event::*;
use crate::ipc::message::{Line, UserMessage, parse};

/// The master's own process id in these tests.
const MASTER: i32 = 500;

/// A core and the world around it.
pub(super) struct World {
    pub core: Core,
    pub now: Instant,
    next_pid: i32,
    pub pids: BTreeMap<ChildId, i32>,
    /// Children that are not reaped.
    pub alive: BTreeSet<ChildId>,
    /// Everything emitted, as JavaScript sees it.
    pub events: Vec<Value>,
    /// Lines sent to children, with their handles, `newconn` spelt out.
    pub sent: Vec<(ChildId, Value, Option<HandleRef>)>,
    pub signals: Vec<(ChildId, Signal)>,
    /// Who was asked for its stack.
    pub stacks_asked: Vec<ChildId>,
    /// Who was pinged.
    pub pings: Vec<ChildId>,
    pub listens: BTreeMap<ListenerId, ListenSpec>,
    pub accepting: BTreeSet<ListenerId>,
    pub closed_listeners: Vec<ListenerId>,
    /// Connections that wait in the kernel's queue of any listener.
    pub backlog: usize,
    /// Accepted connections that the core has not closed yet.
    pub conns: BTreeSet<ConnId>,
    /// Connections whose first bytes are asked for, with how many have been seen.
    pub peeks: BTreeMap<ConnId, usize>,
    /// Bytes taken off the front of connections.
    pub skips: BTreeMap<ConnId, usize>,
    /// How often nobody has had to wait for the parent any more.
    pub parent_forgotten: usize,
    /// What the service manager was told.
    pub notices: Vec<Notice>,
    /// Connections of which a worker has read.
    pub touched: BTreeSet<ConnId>,
    next_conn: u64,
    seqs: BTreeMap<u32, u64>,
    pub spawns: Vec<SpawnSpec>,
    /// Children that were started ahead of time and not released.
    pub waiting: BTreeSet<ChildId>,
    /// Those that were, with their slots.
    pub releases: Vec<(ChildId, u32)>,
    /// How many slots the last of them was told of.
    pub released_of: u32,
    /// The next spawns fail.
    pub spawn_fails: bool,
    /// The next binds fail with this errno.
    pub listen_errno: Option<i32>,
    /// Binds are answered by the test.
    pub listen_later: bool,
    /// Spawns are answered by the test.
    pub spawn_later: bool,
    /// Channels that the core closes stay open.
    pub disconnect_later: bool,
    /// The rest of the kernel's queue is accepted by the test.
    pub rest_later: bool,
    /// Connections that nobody touches, though their worker lives.
    pub idle: BTreeSet<ConnId>,
    /// Connections of which it was asked whether they are untouched.
    pub looks: Vec<ConnId>,
    /// Nobody looks whether a connection is untouched.
    pub check_later: bool,
    closed: bool,
    /// Living descendants of every child.
    pub descendants: usize,
}

pub(super) fn settings(workers: u32) -> Settings {
    Settings {
        master_pid: MASTER,
        workers,
        port: Some(7001),
        protocol: "http".into(),
        host: None,
        sticky_port: None,
        client_key: Default::default(),
        debug_port: None,
        production: true,
        options: Bytes::from_static(br#"{"port":7001}"#),
        is_debug: false,
        agent_inspect_port: None,
        app_inspect_base: None,
        share_listeners: false,
        threads: false,
        restart: RestartSettings {
            stable_time: Duration::from_secs(10),
            max_delay: Duration::from_secs(30),
            intensity_limit: 60,
            intensity_period: Duration::from_secs(60),
            give_up: Some(Duration::from_secs(60)),
            seed: 1,
        },
        watchdog: None,
        prestart: PrestartSettings::default(),
        app_close_timeout: Duration::from_secs(5),
        agent_close_timeout: Duration::from_secs(3),
        hold: HoldLimits {
            timeout: Duration::from_secs(10),
            connections: 1024,
        },
        limits: ChildLimits::default(),
        service: None,
        drain: Some(DrainLimits {
            timeout: Duration::from_secs(4),
            websocket_timeout: Duration::from_secs(10),
        }),
    }
}

pub(super) const AGENT: ChildId = ChildId::Agent(1);

impl World {
    pub fn new(settings: Settings) -> Self {
        Self {
            core: Core::new(settings),
            now: Instant::now(),
            next_pid: 1000,
            pids: BTreeMap::new(),
            alive: BTreeSet::new(),
            events: Vec::new(),
            sent: Vec::new(),
            signals: Vec::new(),
            stacks_asked: Vec::new(),
            pings: Vec::new(),
            listens: BTreeMap::new(),
            accepting: BTreeSet::new(),
            closed_listeners: Vec::new(),
            backlog: 0,
            conns: BTreeSet::new(),
            peeks: BTreeMap::new(),
            skips: BTreeMap::new(),
            parent_forgotten: 0,
            notices: Vec::new(),
            touched: BTreeSet::new(),
            next_conn: 0,
            seqs: BTreeMap::new(),
            spawns: Vec::new(),
            waiting: BTreeSet::new(),
            releases: Vec::new(),
            released_of: 0,
            spawn_fails: false,
            listen_errno: None,
            listen_later: false,
            spawn_later: false,
            disconnect_later: false,
            rest_later: false,
            idle: BTreeSet::new(),
            looks: Vec::new(),
            check_later: false,
            closed: false,
            descendants: 0,
        }
    }

    /// A cluster that has become ready.
    pub fn running(settings: Settings) -> Self {
        let workers = settings.workers;
        let mut world = Self::new(settings);
        world.start_agent();
        for id in 1..=workers {
            world.bring_up(id);
        }
        assert_eq!(world.last_event("ready")["type"], "ready");
        world
    }

    pub fn start_agent(&mut self) {
        self.command(Command::Start);
        self.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    }

    /// A worker boots and listens on the port of the application.
    pub fn bring_up(&mut self, id: u32) {
        self.say_cluster(id, json!({"act": "online"}));
        let port = self.core.settings.sticky_port.unwrap_or(7001);
        let host = self.core.settings.sticky_port.map(|_| "127.0.0.1");
        self.listen_on(id, host, port);
    }

    /// A new worker of a reload boots, and lasts.
    pub fn bring_up_for_good(&mut self, id: u32) {
        self.bring_up(id);
        self.pass(Duration::from_secs(1));
    }

    pub fn listen_on(&mut self, id: u32, host: Option<&str>, port: u16) {
        let query = json!({"act": "queryServer", "index": 0, "data": null, "address": host,
            "port": port, "addressType": 4, "backlog": 0});
        self.say_cluster(id, query);
        let listening = json!({"act": "listening", "index": 0, "data": null, "address": host,
            "port": port, "addressType": 4});
        self.say_cluster(id, listening);
    }

    pub fn command(&mut self, command: Command) {
        self.feed(Input::Command(command));
    }

    /// A child writes a line.
    pub fn say(&mut self, child: ChildId, message: &Value) {
        match parse(&Bytes::from(message.to_string())).unwrap() {
            Line::Plain(message) => self.feed(Input::Message { child, message }),
            other => panic!("not a plain line: {other:?}"),
        }
    }

    /// A worker speaks the cluster protocol.
    pub fn say_cluster(&mut self, id: u32, mut message: Value) {
        let seq = self.seqs.entry(id).or_default();
        message["cmd"] = "NODE_CLUSTER".into();
        message["seq"] = (*seq).into();
        *seq += 1;
        self.say(ChildId::App(id), &message);
    }

    /// A worker answers the oldest `newconn` that it was sent and has not answered.
    pub fn answer(&mut self, id: u32, accepted: bool) -> ConnId {
        let position = self
            .sent
            .iter()
            .position(|(child, line, handle)| {
                *child == ChildId::App(id) && line["act"] == "newconn" && handle.is_some()
            })
            .expect("no newconn to answer");
        let (_, line, handle) = self.sent.remove(position);
        let Some(HandleRef::Conn(conn)) = handle else {
            panic!("no connection in a newconn")
        };
        self.feed(Input::HandleAcked {
            child: ChildId::App(id),
            conn,
        });
        self.say_cluster(id, json!({"ack": line["seq"], "accepted": accepted}));
        conn
    }

    /// The moment is over for which taken connections are kept; all are closed by now.
    pub fn assert_all_closed(&mut self) {
        self.pass(Duration::from_millis(40));
        assert!(self.conns.is_empty(), "{:?}", self.conns);
    }

    /// Connections sent to a worker that it has not answered for.
    pub fn unanswered(&self, id: u32) -> usize {
        self.sent
            .iter()
            .filter(|(child, line, _)| *child == ChildId::App(id) && line["act"] == "newconn")
            .count()
    }

    /// The connections sent to a worker that it has not answered for, oldest first.
    pub fn sent_to(&self, id: u32) -> Vec<ConnId> {
        let conn = |(child, line, handle): &(ChildId, Value, Option<HandleRef>)| match handle {
            Some(HandleRef::Conn(conn))
                if *child == ChildId::App(id) && line["act"] == "newconn" =>
            {
                Some(*conn)
            }
            _ => None,
        };
        self.sent.iter().filter_map(conn).collect()
    }

    pub fn connect(&mut self, listener: ListenerId) -> ConnId {
        self.connect_from(listener, Ipv4Addr::LOCALHOST.into())
    }

    pub fn connect_from(&mut self, listener: ListenerId, peer: IpAddr) -> ConnId {
        assert!(
            self.accepting.contains(&listener),
            "{listener:?} does not accept"
        );
        self.accept_from(listener, peer)
    }

    /// As many connections as are let in, while the workers `ids` answer for all of theirs, so
    /// that they are trusted with more.
    pub fn crowd(&mut self, listener: ListenerId, ids: &[u32]) {
        for _ in 0..40 {
            for &id in ids {
                self.connect_all(listener);
                self.answer(id, true);
            }
        }
    }

    /// As many connections as are let in.
    pub fn connect_all(&mut self, listener: ListenerId) -> Vec<ConnId> {
        let mut conns = Vec::new();
        while self.accepting.contains(&listener) {
            conns.push(self.connect(listener));
        }
        conns
    }

    fn accept_from(&mut self, listener: ListenerId, peer: IpAddr) -> ConnId {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        self.conns.insert(conn);
        self.feed(Input::Accepted {
            listener,
            conn,
            peer: Some(peer),
        });
        conn
    }

    /// The channel closes, then the process is reaped.
    pub fn die(&mut self, child: ChildId, status: ExitStatus) {
        self.feed(Input::Disconnected { child });
        self.exit(child, status);
    }

    pub fn exit(&mut self, child: ChildId, status: ExitStatus) {
        assert!(self.alive.remove(&child), "{child:?} is dead already");
        self.feed(Input::Exited { child, status });
    }

    pub fn kill(&mut self, child: ChildId) {
        self.die(
            child,
            ExitStatus {
                code: None,
                signal: Some("SIGKILL".into()),
            },
        );
    }

    /// Moves the clock on, with every timer at its time.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(at) = self.core.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.core.handle_timeout(self.now);
            self.perform();
        }
        self.now = end;
    }

    pub fn feed(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.perform_one(output);
        }
    }

    fn perform_one(&mut self, output: Output) {
        assert!(!self.closed, "after the last event: {output:?}");
        match output {
            Output::Spawn(spec) => self.spawn(spec),
            Output::Release { child, slot, slots } => {
                assert!(self.waiting.remove(&child), "{child:?} does not wait");
                self.releases.push((child, slot));
                self.released_of = slots;
            }
            Output::Send { child, frame } => self.send(child, frame),
            Output::Disconnect { .. } if self.disconnect_later => {}
            Output::Disconnect { child } => self.feed(Input::Disconnected { child }),
            Output::AskStack { child } => self.stacks_asked.push(child),
            Output::Signal { child, signal } => self.signals.push((child, signal)),
            Output::CountDescendants { child } => {
                let alive = self.descendants;
                self.feed(Input::Descendants { child, alive });
            }
            Output::ForgetDescendants { .. } => {}
            Output::Listen { listener, spec } => {
                self.listens.insert(listener, spec);
                if !self.listen_later {
                    self.answer_listen(listener);
                }
            }
            Output::Accept { listener } => assert!(self.accepting.insert(listener)),
            Output::PauseAccept { listener } => assert!(self.accepting.remove(&listener)),
            Output::AcceptRest { .. } if self.rest_later => {}
            Output::AcceptRest { listener } => {
                for _ in 0..std::mem::take(&mut self.backlog) {
                    self.accept_from(listener, Ipv4Addr::LOCALHOST.into());
                }
                self.feed(Input::AcceptedRest { listener });
            }
            Output::CloseListener { listener } => {
                assert!(self.listens.remove(&listener).is_some(), "closed twice");
                self.accepting.remove(&listener);
                self.closed_listeners.push(listener);
            }
            Output::CheckUntouched { .. } if self.check_later => {}
            Output::CheckUntouched { conn } => {
                let untouched = !self.touched.contains(&conn);
                self.feed(Input::Checked { conn, untouched });
            }
            Output::FindUntouched { mut conns } => {
                self.looks.extend(&conns);
                conns.retain(|conn| self.idle.contains(conn) && !self.touched.contains(conn));
                self.feed(Input::UntouchedFound { conns });
            }
            Output::CloseConn { conn } => assert!(self.conns.remove(&conn), "closed twice"),
            Output::Peek { conn, beyond } => {
                let asked = self.peeks.insert(conn, beyond);
                assert_eq!(asked, None, "{conn:?} is asked for already");
            }
            Output::EndPeek { conn } => assert!(self.peeks.remove(&conn).is_some(), "not asked"),
            Output::Skip { conn, bytes } => assert_eq!(self.skips.insert(conn, bytes), None),
            Output::ForgetParent => self.parent_forgotten += 1,
            Output::Notify(notice) => self.notices.push(notice),
            Output::Emit(event) => {
                self.closed = matches!(event, Event::Closed { .. });
                self.events.push(serde_json::to_value(&event).unwrap());
            }
        }
    }

    pub fn answer_listen(&mut self, listener: ListenerId) {
        if let Some(errno) = self.listen_errno {
            self.listens.remove(&listener);
            self.feed(Input::ListenFailed { listener, errno });
            return;
        }
        let local = match &self.listens[&listener].target {
            ListenTarget::Tcp { address, port, .. } => {
                let host = address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
                Some(SocketAddr::new(
                    host,
                    if *port == 0 { 40_000 } else { *port },
                ))
            }
            _ => None,
        };
        self.feed(Input::Listening { listener, local });
    }

    fn spawn(&mut self, spec: SpawnSpec) {
        let child = spec.child;
        if spec.waits {
            self.waiting.insert(child);
        }
        self.spawns.push(spec);
        if self.spawn_fails {
            self.feed(Input::SpawnFailed {
                child,
                reason: "no more processes".into(),
            });
            return;
        }
        if !self.spawn_later {
            self.answer_spawn(child);
        }
    }

    /// What was to be started exists.
    pub fn answer_spawn(&mut self, child: ChildId) {
        self.next_pid += 1;
        self.pids.insert(child, self.next_pid);
        self.alive.insert(child);
        let pid = self.next_pid;
        self.feed(Input::Spawned { child, pid });
    }

    fn send(&mut self, child: ChildId, frame: Frame) {
        assert!(!self.waiting.contains(&child), "{child:?} waits");
        let (text, handle) = match frame {
            Frame::Message { head, tail } => ([head, tail].concat(), None),
            Frame::Handle { text, handle } => (text.to_vec(), Some(handle)),
            Frame::Ping => {
                self.pings.push(child);
                return;
            }
            Frame::Newconn {
                prefix,
                seq,
                handle,
            } => (
                [&prefix[..], seq.to_string().as_bytes(), b"}}"].concat(),
                Some(handle),
            ),
        };
        let line: Value = serde_json::from_slice(&text).expect("a line is JSON");
        let line = if line["cmd"] == "NODE_HANDLE" {
            line["msg"].clone()
        } else {
            line
        };
        self.sent.push((child, line, handle));
    }

    /// What a child was sent since the last look, user messages only.
    pub fn received(&mut self, child: ChildId) -> Vec<Value> {
        let (mine, others) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition::<Vec<_>, _>(|(receiver, line, _)| {
                *receiver == child && line.get("action").is_some()
            });
        self.sent = others;
        mine.into_iter().map(|(_, line, _)| line).collect()
    }

    /// Actions that a child was sent since the last look.
    pub fn actions(&mut self, child: ChildId) -> Vec<String> {
        let action = |line: Value| line["action"].as_str().unwrap().to_owned();
        self.received(child).into_iter().map(action).collect()
    }

    /// The answers of the cluster protocol that a worker was sent since the last look.
    pub fn replies(&mut self, id: u32) -> Vec<(Value, Option<HandleRef>)> {
        let (mine, others) = std::mem::take(&mut self.sent)
            .into_iter()
            .partition::<Vec<_>, _>(|(receiver, line, _)| {
                *receiver == ChildId::App(id) && line.get("ack").is_some()
            });
        self.sent = others;
        mine.into_iter()
            .map(|(_, line, handle)| (line, handle))
            .collect()
    }

    pub fn forget_sent(&mut self) {
        self.sent.clear();
        self.events.clear();
    }

    pub fn events_of(&self, kind: &str) -> Vec<&Value> {
        self.events
            .iter()
            .filter(|event| event["type"] == kind)
            .collect()
    }

    pub fn last_event(&self, kind: &str) -> &Value {
        self.events_of(kind).last().copied().unwrap_or(&Value::Null)
    }

    pub fn to_parent(&self) -> Vec<&Value> {
        self.events_of("to-parent")
            .into_iter()
            .map(|event| &event["message"])
            .collect()
    }

    /// The listener of the application's port.
    pub fn listener(&self) -> ListenerId {
        *self.listens.keys().next().expect("a listener")
    }

    pub fn ready(&self) -> usize {
        let ready = |worker: &&WorkerView| worker.ready && worker.state == WorkerState::Listening;
        self.core.snapshot().workers.iter().filter(ready).count()
    }
}

pub(super) fn user(message: &Value) -> UserMessage {
    match parse(&Bytes::from(message.to_string())).unwrap() {
        Line::Plain(crate::ipc::message::ChildMessage::User(message)) => message,
        other => panic!("not a user message: {other:?}"),
    }
}

pub(super) fn code(code: i32) -> ExitStatus {
    ExitStatus {
        code: Some(code),
        signal: None,
    }
}
