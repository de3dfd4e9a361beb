//! What must hold after every step, and at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use super::children::Proc;
use super::connections::{HOLD_SLACK, KEEP, KEEP_SLACK, LOOK_AGAIN, Place, Port};
use super::world::{DYING, Sim};
use crate::core::event::*;
use crate::core::lifecycle::Phase;
use crate::core::timer::Timer;

/// How much longer than by its timeouts an end may take: processes that were being made, and
/// answers of the system.
const SLACK: Duration = Duration::from_secs(2);
/// The longest time between two looks of the watchdog.
const TICK: Duration = Duration::from_millis(500);

impl Sim {
    pub fn core_is_ending(&self) -> bool {
        self.core.phase.is_ending()
    }

    pub fn note_event(&mut self, event: Event) {
        match event {
            Event::AgentForked { pid, .. } => self.check_pid(ChildId::Agent(self.last_agent), pid),
            Event::AppForked { id, pid, .. } => self.check_pid(self.app_shown_as(id), pid),
            Event::Unresponsive { role, id, .. } => {
                let proc = self.procs.get(&child_of(role, id));
                assert!(
                    !proc.is_some_and(|proc| proc.short),
                    "{role} {id} cannot be written to"
                );
            }
            Event::Stuck { role, id, .. } => self.check_stuck(child_of(role, id)),
            Event::Recovered { role, id, .. } => {
                if let Some(proc) = self.procs.get_mut(&child_of(role, id)) {
                    assert!(proc.stuck, "{role} {id} was not stuck");
                    proc.stuck = false;
                }
            }
            Event::Hung {
                role, id, booting, ..
            } => self.check_hung(child_of(role, id), booting),
            Event::Ready { .. } => self.running = true,
            Event::ParentDeaf => self.note_deaf_parent(),
            Event::ParentReads { .. } => self.talk.parent_is_deaf = false,
            Event::ReloadStarted { .. } => {
                assert!(
                    !std::mem::replace(&mut self.reloading, true),
                    "two reloads at once"
                );
            }
            Event::ReloadDone { .. } | Event::ReloadFailed { .. } => {
                assert!(
                    std::mem::replace(&mut self.reloading, false),
                    "no reload is over"
                );
            }
            Event::Scaled { from, to } => self.note_scaling(from, to),
            Event::GaveUp { .. } => self.check_giving_up(),
            Event::Closed { .. } => self.check_closed(),
            _ => {}
        }
    }

    /// Threads are shown by the number of their slot: the last one has it.
    fn app_shown_as(&self, number: u32) -> ChildId {
        if !self.scenario.settings.threads {
            return ChildId::App(number);
        }
        let has_slot = |(_, proc): &(&ChildId, &Proc)| proc.slot == Some(number - 1);
        let last = self.procs.iter().rfind(has_slot);
        *last.expect("a thread of the slot").0
    }

    fn check_pid(&self, child: ChildId, pid: i32) {
        let known = self.procs.get(&child).map(|proc| proc.pid);
        assert_eq!(known, Some(pid), "the process id of {child:?}");
    }

    /// A worker has its slot to itself; in a reload one old worker may be there, too.
    fn check_sharing(&self) {
        // Two threads cannot have the port of their slot.
        let most = 1 + usize::from(self.reloading && !self.scenario.settings.threads);
        let mut living = BTreeMap::<u32, usize>::new();
        for proc in self.procs.values() {
            if let Some(slot) = proc.slot
                && proc.reported
                && proc.connected
                && !proc.leaving
            {
                let count = living.entry(slot).or_default();
                *count += 1;
                assert!(*count <= most, "slot {slot} has {count} workers");
            }
        }
    }

    /// The core asks a child to go: outside of an end that must not leave its slot empty.
    pub fn check_retirement(&mut self, child: ChildId) {
        let ending = self.core_is_ending();
        let Some(proc) = self.procs.get(&child) else {
            return;
        };
        let settings = &self.scenario.settings;
        let has_slot = proc.slot.is_some_and(|slot| slot < settings.workers);
        let has_successor = !settings.threads;
        if proc.serves() && !proc.left && has_slot && !ending && has_successor {
            let serves = |(&other, it): (&ChildId, &Proc)| {
                other != child && it.slot == proc.slot && it.was_offered(self.clock)
            };
            assert!(
                self.procs.iter().any(serves),
                "{child:?} is taken out of service, and nobody serves for it"
            );
        }
        if let Some(proc) = self.procs.get_mut(&child) {
            proc.leaving = true;
            for port in std::mem::take(&mut proc.members) {
                self.leave(child, port);
            }
        }
    }

    /// How long, at the least, the core must have waited for an answer that it blames a child for.
    fn assert_silent(&self, since: (Duration, u32), limit: Duration, child: ChildId) {
        let (since, stalls) = since;
        let silent = self.fair - since + TICK * (self.stalls - stalls);
        assert!(
            silent >= limit,
            "{child:?} is blamed after {silent:?}, not {limit:?}"
        );
    }

    fn check_stuck(&mut self, child: ChildId) {
        let sticky = self.scenario.settings.sticky_port.is_some();
        let limit = Duration::from_secs(if sticky { 5 } else { 1 });
        let Some(proc) = self.procs.get_mut(&child) else {
            panic!("{child:?} is reaped")
        };
        proc.stuck = true;
        let (paused, since) = (proc.paused, proc.owes_since);
        assert!(!paused, "{child:?} is not read");
        let is_short = self.procs.get(&child).is_some_and(|proc| proc.short);
        assert!(!is_short, "{child:?} cannot be written to");
        let since = since.unwrap_or_else(|| panic!("{child:?} has answered everything"));
        self.assert_silent(since, limit, child);
    }

    fn check_hung(&self, child: ChildId, booting: bool) {
        let (Some(proc), Some(watchdog)) =
            (self.procs.get(&child), self.scenario.settings.watchdog)
        else {
            panic!("{child:?} is not watched")
        };
        assert!(!proc.paused, "{child:?} is not read");
        assert!(!proc.short, "{child:?} cannot be written to");
        if booting {
            assert!(!proc.ready, "{child:?} has booted");
            let limit = watchdog.boot_timeout.expect("a limit");
            // The watchdog's clock is that of its last look.
            self.assert_silent(proc.forked_at, limit - TICK, child);
        } else {
            let since = proc.owes_since.expect("something to answer");
            self.assert_silent(since, watchdog.timeout, child);
        }
    }

    fn check_giving_up(&self) {
        let limit = self.scenario.settings.restart.give_up.expect("a limit");
        let since = self.none_ready_since.expect("no worker is ready");
        assert!(self.clock - since >= limit, "given up too early");
    }

    fn check_closed(&mut self) {
        self.closed = true;
        let left: Vec<_> = self.procs.keys().collect();
        assert!(left.is_empty(), "at the end {left:?} live");
        let open: Vec<_> = self.conns.keys().collect();
        assert!(open.is_empty(), "at the end {open:?} are open");
        let ports: Vec<_> = self.ports.iter().filter(|(_, port)| port.bound).collect();
        let ports: Vec<_> = ports.iter().map(|(id, _)| id).collect();
        assert!(ports.is_empty(), "at the end {ports:?} are open");
        assert_eq!(self.core.poll_timeout(), None, "a timer runs after the end");
    }

    /// After every step.
    pub fn check(&mut self) {
        self.note_end();
        if self.closed {
            assert_eq!(self.core.poll_timeout(), None, "a timer runs after the end");
            return;
        }
        let crowd = self.procs.len() > 40;
        if crowd && !self.steps.is_multiple_of(128) {
            return;
        }
        self.note_readiness();
        let late = self.core.poll_timeout().is_some_and(|at| at <= self.now());
        if self.ending_since.is_none() && self.running && !late {
            self.check_slots();
            self.check_sharing();
            self.check_ports();
            self.look_at_ports();
            self.check_conns();
        }
    }

    fn note_end(&mut self) {
        if !self.core_is_ending() {
            return;
        }
        let (since, stalled) = *self.ending_since.get_or_insert((self.clock, self.stalled));
        let settings = &self.scenario.settings;
        let drain = settings
            .drain
            .map_or(Duration::ZERO, |it| it.timeout.max(it.websocket_timeout));
        let dying = 2 * Duration::from_millis(DYING);
        let limit =
            drain + settings.app_close_timeout + settings.agent_close_timeout + dying + SLACK;
        let passed = self.clock - since - (self.stalled - stalled);
        assert!(self.closed || passed <= limit, "the end takes {passed:?}");
    }

    fn note_readiness(&mut self) {
        let (mut ready, mut replaced) = (BTreeMap::new(), Vec::new());
        for slot in 0..self.scenario.settings.workers {
            let Some(id) = self.core.workers.in_slot(slot) else {
                continue;
            };
            let Some(proc) = self.procs.get(&ChildId::App(id)) else {
                continue;
            };
            let before = self.occupants.insert(slot, id);
            if let Some(old) = before.filter(|&old| old != id && self.running) {
                let served = self
                    .procs
                    .get(&ChildId::App(old))
                    .is_some_and(Proc::is_offered);
                assert!(
                    proc.was_offered(self.clock) || !served || self.scenario.settings.threads,
                    "slot {slot} goes from {old} to {id} too early"
                );
                replaced.push(ChildId::App(old));
            }
            if proc.is_offered() {
                let before = self.ready_slots.get(&slot);
                let before = before.filter(|it| it.0 == id);
                ready.insert(slot, (id, before.map_or(self.clock, |it| it.1)));
            }
        }
        self.ready_slots = ready;
        // A worker may be taken out of service without a word.
        for child in replaced {
            self.check_retirement(child);
        }
        let any = self.procs.iter().any(|(child, proc)| {
            matches!(child, ChildId::App(_)) && proc.ready && proc.connected && !proc.leaving
        });
        if any {
            self.none_ready_since = None;
        } else {
            self.none_ready_since.get_or_insert(self.clock);
        }
    }

    /// No slot is forgotten.
    fn check_slots(&self) {
        let settings = &self.scenario.settings;
        if !(settings.production || settings.threads) || self.reloading {
            return;
        }
        for slot in 0..self.scenario.settings.workers {
            let has_worker = self.core.workers.in_slot(slot).is_some();
            let waits = self.core.timers.is_set(Timer::Refork(slot));
            assert!(has_worker || waits, "slot {slot} is forgotten");
        }
        if !settings.production {
            return;
        }
        let agent = self
            .procs
            .keys()
            .any(|child| matches!(child, ChildId::Agent(_)));
        let spawning = self.core.agent.newest() > self.last_agent;
        let waits = self.core.timers.is_set(Timer::AgentRestart);
        assert!(
            agent || spawning || waits || !self.scenario.prompt,
            "the agent is forgotten"
        );
    }

    /// Where a worker could take a connection, none waits; elsewhere not too many do.
    fn check_ports(&self) {
        for (id, port) in self.ports.iter().filter(|(_, port)| port.accepts) {
            let starved = self.core.timers.is_set(Timer::RetryAccept(*id));
            let held = self.held_at(*id);
            assert!(
                !port.accepting || !self.core.is_paused(),
                "{id:?} accepts in a pause"
            );
            let most = if port.sticky || !self.core.listeners.is_attended(*id) {
                self.scenario.settings.hold.connections
            } else {
                1
            };
            assert!(
                !port.accepting || held < most,
                "{id:?} accepts more than {held} that wait"
            );
            if !self.has_taker(port) {
                continue;
            }
            assert!(
                held == 0,
                "{held} connections wait at {id:?}, and a worker has nothing"
            );
            assert!(
                port.accepting || starved || self.core.is_paused(),
                "{id:?} rests, and a worker has nothing"
            );
        }
    }

    fn held_at(&self, id: ListenerId) -> usize {
        let is_held = |conn: &&super::connections::Conn| {
            conn.port == id && conn.place == Place::Master && !conn.is_looked_at()
        };
        self.conns.values().filter(is_held).count()
    }

    /// A worker has nothing to answer, and could be given a connection.
    fn has_taker(&self, port: &Port) -> bool {
        let is_recent = |at: Duration| self.clock - at <= Duration::from_millis(50);
        let was_refused = |proc: &Proc| proc.refused_at.is_some_and(is_recent);
        let is_free = |proc: &Proc| {
            proc.connected
                && !proc.leaving
                && !proc.left
                && !proc.stuck
                && proc.killed.is_none()
                && proc.is_idle()
                && !was_refused(proc)
        };
        if port.sticky {
            // What waits may be for any slot, or for none.
            let slots = 0..self.scenario.settings.workers;
            let mut workers = slots
                .filter_map(|slot| self.ready_slots.get(&slot))
                .peekable();
            let any = workers.peek().is_some();
            return any
                && !self.refused_at.is_some_and(is_recent)
                && self
                    .procs
                    .values()
                    .filter(|proc| proc.ready && proc.connected)
                    .all(is_free);
        }
        port.members.iter().any(|&id| {
            let proc = self.procs.get(&ChildId::App(id));
            proc.is_some_and(|proc| is_free(proc) && !self.is_replaced(id, proc))
        })
    }

    /// A newer worker has taken its slot: it may have been taken out of service without a word.
    fn is_replaced(&self, id: u32, proc: &Proc) -> bool {
        let current = proc.slot.and_then(|slot| self.core.workers.in_slot(slot));
        current.is_some_and(|current| current > id)
    }

    /// Notes which ports have workers.
    fn look_at_ports(&mut self) {
        for (&id, port) in &mut self.ports {
            let attended = self.core.listeners.is_attended(id);
            if attended || port.attended {
                port.attended_at = self.clock;
            }
            port.attended = attended;
        }
    }

    /// How long a connection may be held at a port: without a limit while workers are only
    /// busy. In sticky mode one that waits, waits for a single worker.
    fn may_hold(&self, id: ListenerId) -> Duration {
        let limit = self.scenario.settings.hold.timeout + HOLD_SLACK;
        match self.ports.get(&id) {
            Some(port) if !port.sticky && self.clock - port.attended_at <= limit => Duration::MAX,
            _ => limit,
        }
    }

    /// Nothing is kept for longer than it should be.
    fn check_conns(&self) {
        for (id, conn) in &self.conns {
            match conn.place {
                Place::Served(worker, since) => {
                    // It may have been touched just after the last look.
                    let until = match conn.found_untouched {
                        None => since + KEEP,
                        Some(at) => at + LOOK_AGAIN,
                    };
                    assert!(
                        self.may_yet_read(worker, since) && self.clock <= until + KEEP_SLACK,
                        "the duplicate of {id:?} is kept"
                    );
                }
                Place::Master if !conn.is_looked_at() => {
                    let held = self.clock - conn.held_since;
                    let limit = self.may_hold(conn.port);
                    assert!(held <= limit, "{id:?} is held for {held:?}");
                }
                _ => {}
            }
        }
    }

    /// After a time without dangers everybody serves, and nothing waits.
    pub fn check_recovery(&self) {
        if self.core_is_ending() {
            return;
        }
        assert_eq!(self.core.phase, Phase::Running, "it never comes up");
        assert!(!self.reloading, "a reload never ends");
        // Outside of production nobody may be left to wait for.
        let may_wait = !self.scenario.settings.production && self.none_ready_since.is_some();
        let open: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.place != Place::Master || !may_wait)
            .map(|(id, conn)| (id, conn.place))
            .collect();
        assert!(open.is_empty(), "{open:?} stay for ever");
        if self.scenario.settings.production {
            let count = self.ready_slots.len();
            assert_eq!(
                count, self.scenario.settings.workers as usize,
                "slots that serve"
            );
            let agent = self
                .procs
                .iter()
                .find(|(child, _)| matches!(child, ChildId::Agent(_)));
            assert!(
                agent.is_some_and(|(_, proc)| proc.ready),
                "there is no agent"
            );
            let waiting = self
                .ports
                .iter()
                .find(|(_, port)| !port.backlog.is_empty() && port.accepts);
            assert!(
                waiting.is_none_or(|(_, port)| port.accepting),
                "clients wait for ever"
            );
        }
    }
}

fn child_of(role: &str, id: u32) -> ChildId {
    if role == "agent" {
        ChildId::Agent(id)
    } else {
        ChildId::App(id)
    }
}
