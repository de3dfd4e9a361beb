//! The children: how they boot, answer, hang and die.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::scenario::{PUBLIC, STICKY};
use super::talk::Receiver;
use super::world::{ANSWER, DYING, Happening, SPAWNING, Sim};
use crate::core::event::*;
use crate::core::tests::{code, user};
use crate::ipc::encode;
use crate::ipc::message::{Address, ChildMessage, Family, InUse, QueryServer};

/// A process, from the wish for it until it is reaped.
pub struct Proc {
    pub slot: Option<u32>,
    pub pid: i32,
    /// The core knows its process id.
    pub reported: bool,
    /// Its channel is open.
    pub connected: bool,
    /// It has said that it is ready.
    pub ready: bool,
    /// The core has asked it to go.
    pub leaving: bool,
    /// It has said itself that it goes.
    pub left: bool,
    /// When it was sent SIGKILL.
    pub killed: Option<Duration>,
    pub dying: bool,
    /// It was started ahead of time and not released.
    pub waits: bool,
    pub hung: bool,
    pub stuck: bool,
    /// The master does not read it.
    pub paused: bool,
    full: bool,
    /// The system lets nothing be written to it.
    pub short: bool,
    persona: Persona,
    booted: u32,
    inbox: VecDeque<Item>,
    turn_planned: bool,
    /// Connections that it has taken and not answered for.
    pub owed: VecDeque<(u64, ConnId)>,
    /// Since when it has something to answer, by the fair clock, and how many stalls were before.
    pub owes_since: Option<(Duration, u32)>,
    /// When the ping was sent that it has yet to answer, and the last one that it has answered.
    pinged_at: Option<Duration>,
    pub turned_at: Option<Duration>,
    pub forked_at: (Duration, u32),
    pub refused_at: Option<Duration>,
    /// The ports that it listens on.
    pub members: BTreeSet<ListenerId>,
    seq: u64,
}

/// What a child is like.
#[derive(Clone, Copy)]
struct Persona {
    /// SIGTERM and the end of its channel do not end it.
    deaf: bool,
    dies_in_boot: bool,
    never_ready: bool,
    can_drain: bool,
    /// It takes connections and answers for none.
    mute: bool,
    second_port: bool,
    latency: u64,
}

/// What has been sent to it and not been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Newconn(u64, ConnId),
    Sticky(ConnId),
    Ping,
    Drain,
    Disconnect,
    /// The answer to a query for a port, the second or the public one; None: it cannot be had.
    Port(Option<bool>),
    /// The answer to its good-bye.
    Farewell,
}

impl Item {
    /// Node answers it from the event loop.
    fn is_asking(self) -> bool {
        matches!(self, Self::Newconn(..) | Self::Sticky(_) | Self::Ping)
    }
}

impl Proc {
    /// The core can hear from it.
    pub fn can_speak(&self) -> bool {
        self.reported && self.connected && !self.paused && !self.hung && !self.waits
    }

    /// It serves, as far as the core can know.
    pub fn serves(&self) -> bool {
        self.ready && self.connected && !self.leaving && self.killed.is_none()
    }

    /// It serves, and is given connections.
    pub fn is_offered(&self) -> bool {
        self.serves() && !self.left && !self.stuck
    }

    /// The same, or it has been killed just now: two timers may be due at once.
    pub fn was_offered(&self, now: Duration) -> bool {
        let is_alive = self.killed.is_none_or(|at| at == now);
        self.ready && self.connected && !self.leaving && !self.left && !self.stuck && is_alive
    }

    /// Nothing that it was given waits for an answer of it.
    pub fn is_idle(&self) -> bool {
        self.owed.is_empty() && !self.inbox.iter().any(|item| item.is_asking())
    }

    fn owes(&self) -> bool {
        !self.is_idle()
    }
}

impl Sim {
    pub fn spawn(&mut self, spec: &SpawnSpec) {
        assert!(
            self.ending_since.is_none(),
            "{:?} is started at the end",
            spec.child
        );
        let last = match spec.child {
            ChildId::Agent(_) => &mut self.last_agent,
            ChildId::App(_) => &mut self.last_app,
        };
        let (ChildId::Agent(id) | ChildId::App(id)) = spec.child;
        assert!(id > *last, "{:?} again", spec.child);
        *last = id;
        let failing = self.running && self.strikes(self.scenario.hazards.spawn_failure)
            || self.strikes(self.scenario.hazards.spawn_failure / 20);
        let what = if failing {
            let reason = self.random.pick(&["EAGAIN", "ENOMEM", "ENOENT"]);
            Happening::SpawnFails(spec.child, reason)
        } else {
            self.make_process(spec);
            Happening::Spawn(spec.child)
        };
        if self.scenario.prompt {
            self.happen(what);
        } else {
            let after = self.random.millis(0..SPAWNING);
            self.plan(after, what);
        }
    }

    fn make_process(&mut self, spec: &SpawnSpec) {
        if matches!(spec.child, ChildId::Agent(_)) {
            let others = self
                .procs
                .keys()
                .filter(|it| matches!(it, ChildId::Agent(_)));
            assert_eq!(others.count(), 0, "two agents");
        }
        let hazards = &self.scenario.hazards;
        let [deaf, dies, never, mute] = [
            hazards.deaf,
            hazards.boot_crash,
            hazards.never_ready,
            hazards.mute,
        ];
        let persona = Persona {
            deaf: self.strikes(deaf),
            dies_in_boot: self.strikes(dies),
            never_ready: self.strikes(never),
            can_drain: self.random.chance(700),
            mute: self.strikes(mute),
            second_port: self.random.chance(100),
            latency: self.random.pick(&[1, 5, 50, 400]),
        };
        self.next_pid += 1;
        let proc = Proc {
            // One that waits has no slot yet, whatever it was made for.
            slot: spec.slot.filter(|_| !spec.waits),
            pid: self.next_pid,
            reported: false,
            connected: true,
            ready: false,
            leaving: false,
            left: false,
            killed: None,
            dying: false,
            waits: spec.waits,
            hung: false,
            stuck: false,
            paused: false,
            full: false,
            short: false,
            persona,
            booted: 0,
            inbox: VecDeque::new(),
            turn_planned: false,
            owed: VecDeque::new(),
            owes_since: None,
            pinged_at: None,
            turned_at: None,
            forked_at: (self.fair, self.stalls),
            refused_at: None,
            members: BTreeSet::new(),
            seq: 0,
        };
        self.procs.insert(spec.child, proc);
    }

    pub fn report_spawned(&mut self, child: ChildId) {
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        proc.reported = true;
        let pid = proc.pid;
        let after = self.random.millis(0..2000);
        self.plan(after, Happening::Boot(child));
        self.feed(Input::Spawned { child, pid });
        if self.strikes(self.scenario.hazards.boot_crash / 4) {
            // It had ended before its start was reported.
            self.plan(Duration::ZERO, Happening::Die(child, code(1)));
        }
    }

    /// The next step of a child that boots.
    pub fn boot(&mut self, child: ChildId) {
        let Some(proc) = self.procs.get_mut(&child).filter(|proc| proc.connected) else {
            return;
        };
        if proc.hung || proc.paused || proc.waits {
            return self.plan(Duration::from_secs(1), Happening::Boot(child));
        }
        proc.booted += 1;
        let (booted, persona) = (proc.booted, proc.persona);
        if booted == 2 && persona.dies_in_boot {
            return self.die(child, code(1));
        }
        if booted == 2 && persona.never_ready && !self.kind {
            return;
        }
        let after = self.random.millis(0..1500);
        match child {
            ChildId::Agent(_) if booted == 2 => self.start_agent(child),
            ChildId::App(_) if booted == 2 && self.scenario.settings.threads => {
                self.listen_as_thread(child);
            }
            ChildId::App(_) if self.scenario.settings.threads => {
                self.plan(after, Happening::Boot(child));
            }
            ChildId::App(_) if booted == 2 => self.query(child, false),
            ChildId::App(_) if booted == 3 && persona.second_port => self.query(child, true),
            ChildId::App(_) if booted == 1 => {
                self.say(child, ChildMessage::Online);
                if persona.can_drain {
                    self.say(child, ChildMessage::CanDrain);
                }
                self.plan(after, Happening::Boot(child));
            }
            _ => self.plan(after, Happening::Boot(child)),
        }
    }

    fn start_agent(&mut self, child: ChildId) {
        let text = serde_json::json!({"action": "agent-start", "to": "master"});
        if let Some(proc) = self.procs.get_mut(&child) {
            proc.ready = true;
        }
        self.say(child, ChildMessage::User(user(&text)));
    }

    fn query(&mut self, child: ChildId, second: bool) {
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        proc.seq += 1;
        let place = self.address_of(second);
        let seq = self.procs.get(&child).map_or(0, |proc| proc.seq);
        self.say(
            child,
            ChildMessage::QueryServer(QueryServer {
                seq,
                index: 0,
                family: place.family,
                address: place.address,
                port: place.port,
                fd: None,
                flags: 0,
                backlog: 0,
                readable_all: false,
                writable_all: false,
                data: None,
            }),
        );
    }

    fn address_of(&self, second: bool) -> Address {
        let (address, port) = match self.scenario.settings.sticky_port {
            _ if second => return self.scenario.second.address(),
            Some(_) => (Some("127.0.0.1".into()), STICKY),
            None => (None, PUBLIC),
        };
        Address {
            family: Family::Tcp4,
            address,
            port: Some(port.into()),
            fd: None,
        }
    }

    /// A thread opens its port by itself, and only tells of it.
    fn listen_as_thread(&mut self, child: ChildId) {
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        proc.ready = true;
        let port = PUBLIC + u16::try_from(proc.slot.unwrap_or(0)).unwrap();
        for text in [
            serde_json::json!({"action": "realport", "to": "master", "data": {"port": port, "protocol": "http"}}),
            serde_json::json!({"action": "listening", "to": "master", "data": {"address": "::", "family": "IPv6", "port": port}}),
        ] {
            self.say(child, ChildMessage::User(user(&text)));
        }
    }

    pub fn say(&mut self, child: ChildId, message: ChildMessage) {
        if self
            .procs
            .get(&child)
            .is_some_and(|proc| proc.connected && proc.reported)
        {
            self.feed(Input::Message { child, message });
        }
    }

    /// A child that waits may go on.
    pub fn release(&mut self, child: ChildId, slot: u32) {
        let since = (self.fair, self.stalls);
        let proc = self.procs.get_mut(&child).filter(|proc| proc.connected);
        // It may have ended, which the core does not know yet.
        if let Some(proc) = proc {
            assert!(proc.waits, "{child:?} does not wait");
            assert!(proc.reported, "{child:?} is released before it exists");
            proc.waits = false;
            proc.slot = Some(slot);
            proc.forked_at = since;
        }
    }

    /// A frame has come to a child.
    pub fn receive(&mut self, child: ChildId, frame: Frame) {
        let waits = self.procs.get(&child).is_some_and(|proc| proc.waits);
        assert!(!waits, "{child:?} waits, and is sent {frame:?}");
        let item = match frame {
            Frame::Message { head, .. } => {
                self.check_delivery(Receiver::Child(child), &head);
                match self.read(child, &head) {
                    Some(item) => item,
                    None => return,
                }
            }
            Frame::Handle {
                handle: HandleRef::Conn(conn),
                ..
            } => {
                self.check_handoff(child, conn, true);
                Item::Sticky(conn)
            }
            Frame::Handle {
                handle: HandleRef::Listener(id),
                ..
            } => {
                self.join(child, id);
                Item::Port(Some(self.is_second(id)))
            }
            Frame::Newconn { seq, handle, .. } => {
                let HandleRef::Conn(conn) = handle else {
                    panic!("no connection in a newconn")
                };
                self.check_handoff(child, conn, false);
                Item::Newconn(seq, conn)
            }
            Frame::Ping => Item::Ping,
        };
        let since = (self.fair, self.stalls);
        let Some(proc) = self.procs.get_mut(&child) else {
            panic!("{item:?} for {child:?}, which is reaped")
        };
        assert!(proc.reported, "{item:?} for {child:?} before it exists");
        if proc.connected {
            if matches!(item, Item::Ping) {
                let before = proc.pinged_at.replace(self.clock);
                assert_eq!(before, None, "{child:?} is pinged twice");
            }
            proc.inbox.push_back(item);
            if item.is_asking() {
                proc.owes_since.get_or_insert(since);
            }
            self.plan_turn(child);
        }
    }

    fn plan_turn(&mut self, child: ChildId) {
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        if !proc.turn_planned && !proc.hung && !proc.paused && !proc.short {
            proc.turn_planned = true;
            let most = proc.persona.latency;
            let after = self.random.millis(0..most);
            self.plan(after, Happening::Turn(child));
        }
    }

    /// What a line means to the child, if anything.
    fn read(&mut self, child: ChildId, head: &[u8]) -> Option<Item> {
        if head == encode::DRAIN {
            self.check_retirement(child);
            return Some(Item::Drain);
        }
        if !head.starts_with(br#"{"cmd":"NODE_CLUSTER""#) {
            return None;
        }
        let line: serde_json::Value = serde_json::from_slice(head).ok()?;
        if line["act"] == "disconnect" {
            self.check_retirement(child);
            return Some(Item::Disconnect);
        }
        line.get("ack")?;
        if let Some(key) = line["key"].as_str() {
            let granted = line["errno"].is_null() || line["errno"] == 0;
            let port = self.port_of(key).filter(|_| granted);
            if let Some(id) = port {
                self.join(child, id);
            }
            // The pretended port has no socket.
            let second = port.is_some_and(|id| self.is_second(id));
            return Some(Item::Port(granted.then_some(second)));
        }
        Some(Item::Farewell)
    }

    /// The event loop of a child turns: it reads some of what has come.
    pub fn turn(&mut self, child: ChildId) {
        if let Some(proc) = self.procs.get_mut(&child) {
            proc.turn_planned = false;
        }
        for _ in 0..=self.random.below(4) {
            let can_hear = |proc: &&mut Proc| proc.can_speak() && !proc.short;
            let Some(proc) = self.procs.get_mut(&child).filter(can_hear) else {
                return;
            };
            let Some(item) = proc.inbox.pop_front() else {
                return;
            };
            self.react(child, item);
        }
        if self
            .procs
            .get(&child)
            .is_some_and(|proc| !proc.inbox.is_empty())
        {
            self.plan_turn(child);
        }
    }

    fn react(&mut self, child: ChildId, item: Item) {
        match item {
            Item::Newconn(seq, conn) => self.answer_newconn(child, seq, conn),
            Item::Sticky(conn) => self.answer_sticky(child, conn),
            Item::Ping => {
                self.note_answered(child);
                if let Some(proc) = self.procs.get_mut(&child) {
                    proc.turned_at = proc.pinged_at.take();
                }
                self.feed(Input::Pong { child });
            }
            Item::Drain => {
                let left = u32::try_from(self.random.below(4)).unwrap();
                self.tell_in_use(child, left);
            }
            Item::Disconnect | Item::Farewell => {
                let after = self.random.millis(0..3000);
                self.plan(after, Happening::Cut(child));
            }
            Item::Port(granted) => self.listen(child, granted),
        }
    }

    fn listen(&mut self, child: ChildId, granted: Option<bool>) {
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        let Some(second) = granted else {
            return self.die(child, code(1));
        };
        proc.ready |= !second;
        let place = self.address_of(second);
        self.say(child, ChildMessage::Listening(place));
        self.plan(Duration::from_millis(100), Happening::Boot(child));
        if self.reloading && self.strikes(self.scenario.hazards.fickle) {
            self.fail_early(child);
        }
    }

    /// A worker that has just become ready does not last.
    fn fail_early(&mut self, child: ChildId) {
        let after = self.random.millis(0..1200);
        match self.random.below(4) {
            0 => self.plan(after, Happening::Die(child, code(1))),
            1 => self.plan(after, Happening::Cut(child)),
            2 => self.plan(after, Happening::Leave(child)),
            _ => self.hang(child),
        }
    }

    /// It is about to answer something from its event loop.
    pub fn note_answered(&mut self, child: ChildId) {
        let since = (self.fair, self.stalls);
        if let Some(proc) = self.procs.get_mut(&child) {
            proc.owes_since = proc.owes().then_some(since);
        }
    }

    fn answer_newconn(&mut self, child: ChildId, seq: u64, conn: ConnId) {
        let hazards = &self.scenario.hazards;
        let [nack, late] = [hazards.nack, hazards.late];
        if self.strikes(nack) {
            self.conn_returns(conn);
            self.note_refusal(child);
            self.note_answered(child);
            return self.feed(Input::HandleRefused { child, conn });
        }
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        proc.owed.push_back((seq, conn));
        let mute = proc.persona.mute;
        self.note_answered(child);
        self.feed(Input::HandleAcked { child, conn });
        if self.strikes(late) {
            let after = self.random.millis(0..5000);
            self.plan(after, Happening::Answer(child));
        } else if !mute || self.kind {
            self.answer_late(child);
        }
    }

    /// A worker answers for the oldest connection that it has taken.
    pub fn answer_late(&mut self, child: ChildId) {
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        if !proc.can_speak() {
            return;
        }
        let Some((ack, conn)) = proc.owed.pop_front() else {
            return;
        };
        let leaves = proc.leaving || proc.left;
        let hazards = &self.scenario.hazards;
        let [refuse, twice] = [hazards.refuse, hazards.twice];
        let accepted = !self.strikes(if leaves { refuse * 10 } else { refuse });
        if accepted {
            self.conn_is_served(child, conn);
        } else {
            self.conn_returns(conn);
            self.note_refusal(child);
        }
        self.note_answered(child);
        self.say(child, ChildMessage::Accepted { ack, accepted });
        if self.strikes(twice) {
            self.say(
                child,
                ChildMessage::Accepted {
                    ack,
                    accepted: !accepted,
                },
            );
        }
    }

    fn note_refusal(&mut self, child: ChildId) {
        let now = self.clock;
        if let Some(proc) = self.procs.get_mut(&child) {
            proc.refused_at = Some(now);
            self.refused_at = Some(now);
        }
    }

    fn answer_sticky(&mut self, child: ChildId, conn: ConnId) {
        self.note_answered(child);
        if self.strikes(self.scenario.hazards.nack) {
            self.conn_returns(conn);
            self.note_refusal(child);
            self.feed(Input::HandleRefused { child, conn });
        } else {
            self.conn_is_served(child, conn);
            self.feed(Input::HandleAcked { child, conn });
        }
    }

    /// A worker that drains tells what it still serves, until that is nothing.
    pub fn tell_in_use(&mut self, child: ChildId, left: u32) {
        if !self.procs.get(&child).is_some_and(Proc::can_speak) {
            return;
        }
        let in_use = InUse {
            requests: left,
            connections: left,
            upgraded: left / 2,
        };
        self.say(child, ChildMessage::Draining(in_use));
        if left > 0 {
            let after = self.random.millis(0..4000);
            self.plan(after, Happening::Drained(child, left - 1));
        }
    }

    pub fn terminate(&mut self, child: ChildId) {
        self.check_retirement(child);
        let Some(proc) = self.procs.get(&child) else {
            return;
        };
        if !proc.persona.deaf && !proc.hung {
            let after = self.random.millis(0..4000);
            self.plan(after, Happening::Die(child, code(0)));
        }
    }

    pub fn kill(&mut self, child: ChildId) {
        let now = self.clock;
        if let Some(proc) = self.procs.get_mut(&child) {
            proc.killed.get_or_insert(now);
        }
        let after = self.random.millis(0..DYING);
        let status = ExitStatus {
            code: None,
            signal: Some("SIGKILL".into()),
        };
        self.plan(after, Happening::Die(child, status));
    }

    /// Its channel closes.
    pub fn disconnect(&mut self, child: ChildId) {
        let Some(proc) = self.procs.get_mut(&child).filter(|proc| proc.connected) else {
            return;
        };
        proc.connected = false;
        proc.stuck = false;
        proc.full = false;
        let unread = std::mem::take(&mut proc.inbox);
        let owed = std::mem::take(&mut proc.owed);
        let members = std::mem::take(&mut proc.members);
        proc.owes_since = None;
        if !proc.persona.deaf && self.random.chance(800) {
            let after = self.random.millis(0..2000);
            self.plan(after, Happening::Die(child, code(0)));
        }
        for item in unread {
            if let Item::Newconn(_, conn) | Item::Sticky(conn) = item {
                self.conn_returns(conn);
            }
        }
        for (_, conn) in owed {
            self.conn_returns(conn);
        }
        for port in members {
            self.leave(child, port);
        }
        self.feed(Input::Disconnected { child });
    }

    /// The process ends; the master learns it a little later.
    pub fn die(&mut self, child: ChildId, status: ExitStatus) {
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        if proc.dying || !proc.reported {
            return;
        }
        proc.dying = true;
        proc.hung = true;
        self.disconnect(child);
        if self.random.chance(700) {
            self.reap(child, status);
        } else {
            let after = self.random.millis(0..ANSWER);
            self.plan(after, Happening::Reap(child, status));
        }
    }

    pub fn reap(&mut self, child: ChildId, status: ExitStatus) {
        if self.procs.remove(&child).is_some() && !self.closed {
            self.feed(Input::Exited { child, status });
        }
    }

    pub fn hang(&mut self, child: ChildId) {
        if let Some(proc) = self.procs.get_mut(&child).filter(|proc| !proc.hung) {
            proc.hung = true;
            let time = self.random.pick(&[500, 3_000, 12_000, 300_000]);
            let after = self.random.millis(0..time);
            self.tell(|| format!("{child:?} hangs"));
            self.plan(after, Happening::Unhang(child));
        }
    }

    pub fn unhang(&mut self, child: ChildId) {
        let Some(proc) = self
            .procs
            .get_mut(&child)
            .filter(|proc| proc.hung && !proc.dying)
        else {
            return;
        };
        proc.hung = false;
        let leaves = proc.leaving && !proc.persona.deaf;
        self.plan_turn(child);
        if leaves {
            let after = self.random.millis(0..1000);
            self.plan(after, Happening::Die(child, code(0)));
        }
    }

    /// The master stops to read a child for a while.
    pub fn pause(&mut self, child: ChildId) {
        if let Some(proc) = self
            .procs
            .get_mut(&child)
            .filter(|proc| proc.connected && !proc.paused && !proc.waits)
        {
            proc.paused = true;
            let after = self.random.millis(0..8000);
            self.plan(after, Happening::Resume(child));
            self.feed(Input::ReadingPaused { child });
        }
    }

    pub fn resume(&mut self, child: ChildId) {
        let since = (self.fair, self.stalls);
        if let Some(proc) = self.procs.get_mut(&child).filter(|proc| proc.paused) {
            proc.paused = false;
            proc.owes_since = proc.owes().then_some(since);
            self.feed(Input::ReadingResumed { child });
            self.plan_turn(child);
        }
    }

    pub fn fill_outbox(&mut self, child: ChildId) {
        if let Some(proc) = self
            .procs
            .get_mut(&child)
            .filter(|proc| proc.connected && !proc.full && !proc.waits)
        {
            proc.full = true;
            let after = self.random.millis(0..40_000);
            self.plan(after, Happening::OutboxDrained(child));
            self.feed(Input::OutboxFull { child });
        }
    }

    pub fn drain_outbox(&mut self, child: ChildId) {
        if let Some(proc) = self.procs.get_mut(&child).filter(|proc| proc.full) {
            proc.full = false;
            self.feed(Input::OutboxDrained { child });
        }
    }

    /// The system is too short of something to let anything be written to a child.
    pub fn shorten(&mut self, child: ChildId) {
        if let Some(proc) = self
            .procs
            .get_mut(&child)
            .filter(|proc| proc.connected && !proc.short)
        {
            proc.short = true;
            let time = self.random.pick(&[50, 3_000, 90_000]);
            let after = self.random.millis(0..time);
            self.plan(after, Happening::Written(child));
            self.feed(Input::WritingPaused { child });
        }
    }

    pub fn relieve(&mut self, child: ChildId) {
        let since = (self.fair, self.stalls);
        let is_short = |proc: &&mut Proc| proc.connected && proc.short;
        if let Some(proc) = self.procs.get_mut(&child).filter(is_short) {
            proc.short = false;
            proc.owes_since = proc.owes().then_some(since);
            self.feed(Input::WritingResumed { child });
            self.plan_turn(child);
        }
    }

    pub fn tell_stack(&mut self, child: ChildId) {
        let stack = if self.random.chance(500) {
            Ok(Vec::new())
        } else {
            Err("no inspector".to_owned())
        };
        self.feed(Input::Stack { child, stack });
    }

    /// A worker says that it goes, or closes its server.
    pub fn leave_by_itself(&mut self, child: ChildId) {
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        if !proc.can_speak() || !proc.ready {
            return;
        }
        let port = proc.members.first().copied();
        if let Some(port) = port.filter(|_| self.random.chance(500)) {
            return self.close_server(child, port);
        }
        let Some(proc) = self.procs.get_mut(&child) else {
            return;
        };
        proc.left = true;
        proc.seq += 1;
        let seq = proc.seq;
        self.say(child, ChildMessage::ExitedAfterDisconnect { seq });
    }

    fn close_server(&mut self, child: ChildId, id: ListenerId) {
        self.leave(child, id);
        if let Some(proc) = self.procs.get_mut(&child) {
            proc.members.remove(&id);
        }
        let key = self.ports.get(&id).map(|port| port.key.clone());
        if let Some(key) = key {
            self.say(child, ChildMessage::CloseServer { key });
        }
    }

    pub fn babble(&mut self, child: ChildId) {
        if self.procs.get(&child).is_some_and(Proc::can_speak) {
            let reason = "not JSON".to_owned();
            self.feed(Input::BadLine { child, reason });
        }
    }

    /// The child mends its ways.
    pub fn reform(&mut self, child: ChildId) {
        if let Some(proc) = self.procs.get_mut(&child) {
            proc.persona.mute = false;
            proc.persona.deaf = false;
            proc.persona.latency = 5;
            let boots = proc.persona.never_ready && proc.booted == 2;
            let owed = proc.owed.len();
            proc.persona.never_ready = false;
            if boots {
                proc.booted = 1;
                self.plan(Duration::from_millis(10), Happening::Boot(child));
            }
            for _ in 0..owed {
                self.plan(Duration::from_millis(10), Happening::Answer(child));
            }
            self.unhang(child);
            self.resume(child);
            self.relieve(child);
            self.drain_outbox(child);
        }
    }
}
