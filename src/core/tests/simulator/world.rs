//! The system that the core runs on: a clock, an agenda of what is going to happen, and an
//! answer to every output.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::children::Proc;
use super::connections::{Conn, Port};
use super::random::Random;
use super::scenario::Scenario;
use super::talk::{Receiver, Talk};
use crate::core::Core;
use crate::core::event::*;

/// How long the system may take for what it is asked.
pub const ANSWER: u64 = 100;
/// How long it may take to make a process.
pub const SPAWNING: u64 = 300;
/// How long a process may take to end after SIGKILL.
pub const DYING: u64 = 1000;
/// Lines that are remembered of a run that is to be told.
const TOLD: usize = 100;

/// What is going to happen.
#[derive(Clone, Debug)]
pub enum Happening {
    Spawn(ChildId),
    SpawnFails(ChildId, &'static str),
    /// The next step of a child's boot.
    Boot(ChildId),
    /// A child's event loop turns.
    Turn(ChildId),
    /// A worker answers for a connection that it took before.
    Answer(ChildId),
    /// It reads from a connection that it serves.
    Touch(ConnId),
    Unhang(ChildId),
    /// It says that it goes, or closes its server.
    Leave(ChildId),
    Resume(ChildId),
    OutboxDrained(ChildId),
    /// Its channel can be written again.
    Written(ChildId),
    /// The parent reads again.
    ParentReads,
    Drained(ChildId, u32),
    /// It closes its channel, and lives on.
    Cut(ChildId),
    Die(ChildId, ExitStatus),
    Reap(ChildId, ExitStatus),
    Disconnected(ChildId),
    Descendants(ChildId),
    Stack(ChildId),
    Listening(ListenerId),
    Accepted(ListenerId),
    Checked(ConnId),
    Peeked(ConnId),
}

/// A core and its world.
pub struct Sim {
    pub core: Core,
    pub random: Random,
    pub scenario: Scenario,
    base: Instant,
    /// The time, since the beginning.
    pub clock: Duration,
    /// The same without the times in which nothing ran.
    pub fair: Duration,
    /// How often nothing ran for long, and how long that was in all.
    pub stalls: u32,
    pub stalled: Duration,
    agenda: BTreeMap<(Duration, u64), Happening>,
    pub procs: BTreeMap<ChildId, Proc>,
    /// Descendants that were listed at the first signal and not forgotten, and how many live.
    pub descendants: BTreeMap<ChildId, usize>,
    pub next_pid: i32,
    pub last_agent: u32,
    pub last_app: u32,
    pub ports: BTreeMap<ListenerId, Port>,
    pub conns: BTreeMap<ConnId, Conn>,
    pub last_conn: u64,
    /// Where each client of sticky mode is at home.
    pub homes: BTreeMap<u8, u32>,
    /// The last worker of each slot.
    pub occupants: BTreeMap<u32, u32>,
    pub ready_slots: BTreeMap<u32, (u32, Duration)>,
    /// When a worker has last refused a connection.
    pub refused_at: Option<Duration>,
    pub talk: Talk,
    pub running: bool,
    /// The world does no more harm.
    pub kind: bool,
    pub reloading: bool,
    /// Since when everything is being ended, and what had been stalled before.
    pub ending_since: Option<(Duration, Duration)>,
    pub none_ready_since: Option<Duration>,
    pub closed: bool,
    /// `accept` has just failed: duplicates may be given up early.
    pub starving: bool,
    pub steps: u64,
    performing: bool,
    /// Has the numbers of who steers the master.
    pub operator: Option<Random>,
    told_at_most: usize,
    trace: Option<VecDeque<String>>,
}

impl Sim {
    pub fn new(seed: u64, crowd: bool, is_wide: bool, told: bool) -> Self {
        let mut random = Random::new(seed);
        let scenario = Scenario::draw(seed, &mut random, crowd, is_wide);
        Self {
            core: Core::new(scenario.settings.clone()),
            random,
            scenario,
            base: Instant::now(),
            clock: Duration::ZERO,
            fair: Duration::ZERO,
            stalls: 0,
            stalled: Duration::ZERO,
            agenda: BTreeMap::new(),
            procs: BTreeMap::new(),
            descendants: BTreeMap::new(),
            next_pid: 1000,
            last_agent: 0,
            last_app: 0,
            ports: BTreeMap::new(),
            conns: BTreeMap::new(),
            last_conn: 0,
            homes: BTreeMap::new(),
            occupants: BTreeMap::new(),
            ready_slots: BTreeMap::new(),
            refused_at: None,
            talk: Talk::default(),
            running: false,
            kind: false,
            reloading: false,
            ending_since: None,
            none_ready_since: None,
            closed: false,
            starving: false,
            steps: 0,
            performing: false,
            operator: None,
            told_at_most: super::number_of("EGG_CLUSTER_RS_SIM_TOLD")
                .and_then(|lines| usize::try_from(lines).ok())
                .unwrap_or(TOLD),
            trace: told.then(VecDeque::new),
        }
    }

    pub fn now(&self) -> Instant {
        self.base + self.clock
    }

    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        let (clock, steps) = (self.clock, self.steps);
        if let Some(trace) = &mut self.trace {
            if trace.len() == self.told_at_most {
                trace.pop_front();
            }
            trace.push_back(format!("step {steps}, {clock:?}: {}", what()));
        }
    }

    pub fn told(&self) -> impl Iterator<Item = &String> {
        self.trace.iter().flatten()
    }

    /// One of the dangers strikes; none does in a kind world.
    pub fn strikes(&mut self, per_mille: u64) -> bool {
        !self.kind && self.random.chance(per_mille)
    }

    pub fn plan(&mut self, after: Duration, what: Happening) {
        // Among those of the same time any may be the first.
        let mut order = self.random.next();
        while self.agenda.contains_key(&(self.clock + after, order)) {
            order = order.wrapping_add(1);
        }
        self.agenda.insert((self.clock + after, order), what);
    }

    /// Asks the system for something: it answers at once, or a little later.
    fn ask(&mut self, most: u64, what: Happening) {
        if self.scenario.prompt {
            self.happen(what);
        } else {
            let after = self.random.millis(0..most);
            self.plan(after, what);
        }
    }

    pub fn feed(&mut self, input: Input) {
        self.tell(|| format!("<- {input:?}"));
        self.core.handle_input(self.now(), input);
        // What is answered at once leads to outputs behind those that are there already.
        if !std::mem::replace(&mut self.performing, true) {
            self.perform();
        }
    }

    /// Does what the core wants done after something other than an input.
    pub fn perform_all(&mut self) {
        self.perform();
    }

    fn perform(&mut self) {
        self.performing = true;
        while let Some(output) = self.core.poll_output() {
            self.tell(|| format!("   -> {output:?}"));
            assert!(!self.closed, "after the last event: {output:?}");
            self.perform_one(output);
        }
        self.performing = false;
    }

    fn perform_one(&mut self, output: Output) {
        match output {
            Output::Spawn(spec) => self.spawn(&spec),
            Output::Release { child, slot, slots } => {
                assert_eq!(slots, self.scenario.settings.workers);
                self.release(child, slot);
            }
            Output::Send { child, frame } => self.receive(child, frame),
            Output::Disconnect { child } => {
                if self.procs.contains_key(&child) {
                    self.ask(ANSWER, Happening::Disconnected(child));
                }
            }
            Output::Signal { child, signal } => self.signal(child, signal),
            Output::AskStack { child } => {
                assert!(self.procs.contains_key(&child), "{child:?} is reaped");
                let after = self.random.millis(0..3000);
                self.plan(after, Happening::Stack(child));
            }
            Output::CountDescendants { child } => self.ask(ANSWER, Happening::Descendants(child)),
            Output::ForgetDescendants { child } => drop(self.descendants.remove(&child)),
            Output::Listen { listener, spec } => {
                self.bind(listener, &spec);
                self.ask(ANSWER, Happening::Listening(listener));
            }
            Output::Accept { listener } => self.set_accepting(listener, true),
            Output::PauseAccept { listener } => self.set_accepting(listener, false),
            Output::AcceptRest { listener } => self.ask(5 * ANSWER, Happening::Accepted(listener)),
            Output::CloseListener { listener } => self.close_port(listener),
            Output::CheckUntouched { conn } => {
                self.begin_check(conn);
                self.ask(50 * ANSWER, Happening::Checked(conn));
            }
            Output::FindUntouched { conns } => self.find_untouched(conns),
            Output::CloseConn { conn } => self.close_conn(conn),
            Output::Peek { conn, beyond } => self.begin_peek(conn, beyond),
            Output::EndPeek { conn } => self.end_peek(conn),
            Output::Skip { conn, bytes } => self.skip(conn, bytes),
            Output::ForgetParent => assert!(self.talk.parent_is_deaf, "the parent reads"),
            Output::Notify(notice) => self.hear_notice(&notice),
            Output::Emit(event) => self.hear(event),
        }
    }

    /// A service manager hears of changes only, and of nothing after the end.
    fn hear_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::State {
                change: Some(change),
                ..
            } => {
                assert_ne!(*change, self.talk.told, "told twice");
                assert_ne!(self.talk.told, ServiceState::Stopping, "after the end");
                self.talk.told = *change;
            }
            Notice::State { status, .. } => assert!(!status.contains('\n'), "{status:?}"),
            Notice::Alive => {
                let watchdog = self.scenario.settings.service.and_then(|it| it.watchdog);
                assert!(watchdog.is_some(), "nobody wants a sign of life");
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Message { message } => {
                self.check_delivery(Receiver::Master, message.get().as_bytes());
            }
            Event::ToParent { message } => {
                self.check_delivery(Receiver::Parent, message.get().as_bytes());
            }
            other => self.note_event(other),
        }
    }

    /// Something of the agenda comes to pass.
    pub fn happen(&mut self, what: Happening) {
        if self.closed {
            return;
        }
        match what {
            Happening::Spawn(child) => self.report_spawned(child),
            Happening::SpawnFails(child, reason) => {
                let reason = reason.to_owned();
                self.feed(Input::SpawnFailed { child, reason });
            }
            Happening::Boot(child) => self.boot(child),
            Happening::Turn(child) => self.turn(child),
            Happening::Answer(child) => self.answer_late(child),
            Happening::Touch(conn) => self.touch(conn),
            Happening::Unhang(child) => self.unhang(child),
            Happening::Leave(child) => self.leave_by_itself(child),
            Happening::Resume(child) => self.resume(child),
            Happening::OutboxDrained(child) => self.drain_outbox(child),
            Happening::Written(child) => self.relieve(child),
            Happening::ParentReads => self.drain_parent(),
            Happening::Drained(child, left) => self.tell_in_use(child, left),
            Happening::Cut(child) | Happening::Disconnected(child) => self.disconnect(child),
            Happening::Die(child, status) => self.die(child, status),
            Happening::Reap(child, status) => self.reap(child, status),
            Happening::Descendants(child) => self.count_descendants(child),
            Happening::Stack(child) => self.tell_stack(child),
            Happening::Listening(listener) => self.answer_listen(listener),
            Happening::Accepted(listener) => self.accept_rest(listener),
            Happening::Checked(conn) => self.answer_check(conn),
            Happening::Peeked(conn) => self.show_head(conn),
        }
    }

    /// What is due: the core's timers and the agenda, the one or the other first.
    pub fn do_due(&mut self) -> bool {
        let timer = self.core.poll_timeout().is_some_and(|at| at <= self.now());
        let agenda = self
            .agenda
            .first_key_value()
            .is_some_and(|((at, _), _)| *at <= self.clock);
        if timer && (!agenda || self.random.chance(500)) {
            self.tell(|| "<- the time".to_owned());
            let now = self.now();
            self.core.handle_timeout(now);
            self.perform();
        } else if agenda && let Some((_, what)) = self.agenda.pop_first() {
            self.happen(what);
        }
        timer || agenda
    }

    /// When something is due next.
    fn next_due(&self) -> Option<Duration> {
        let agenda = self.agenda.keys().next().map(|&(at, _)| at);
        let timer = self
            .core
            .poll_timeout()
            .map(|at| at.saturating_duration_since(self.base));
        [agenda, timer].into_iter().flatten().min()
    }

    /// Does something that is due, or lets time pass until something is, at most so much.
    pub fn go_on(&mut self, most: Duration) {
        if self.do_due() {
            return;
        }
        let next = self.next_due().unwrap_or(self.clock + most);
        let passed = next.saturating_sub(self.clock).min(most);
        self.clock += passed;
        self.fair += passed;
    }

    /// The machine stands still: everything is late afterwards.
    pub fn stall(&mut self) {
        let time = self.random.millis(2_000..90_000);
        self.tell(|| format!("nothing runs for {time:?}"));
        self.clock += time;
        self.stalled += time;
        self.stalls += 1;
    }

    pub fn signal(&mut self, child: ChildId, signal: Signal) {
        let listed = self.descendants.contains_key(&child);
        let Some(proc) = self.procs.get(&child) else {
            assert!(listed, "{signal:?} for {child:?}, which is reaped");
            if signal == Signal::Kill {
                self.descendants.insert(child, 0);
            }
            return;
        };
        assert!(
            proc.reported,
            "{signal:?} for {child:?} before its process id is known"
        );
        if !listed {
            let some = self.strikes(self.scenario.hazards.descendants);
            self.descendants.insert(child, if some { 2 } else { 0 });
        }
        match signal {
            Signal::Terminate => self.terminate(child),
            Signal::Kill => self.kill(child),
        }
    }

    fn count_descendants(&mut self, child: ChildId) {
        let Some(alive) = self.descendants.get_mut(&child) else {
            return self.feed(Input::Descendants { child, alive: 0 });
        };
        if *alive > 0 && self.random.chance(200) {
            *alive -= 1;
        }
        let alive = *alive;
        self.feed(Input::Descendants { child, alive });
    }
}
