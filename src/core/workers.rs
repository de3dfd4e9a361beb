//! The app workers: one slot each; fork, ready, death and refork.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::event::{
    ChildId, ConnId, Event, ExitStatus, ForkReason, LastExit, ListenerId, Output, ReforkDecision,
    Settings, Signal, SpawnSpec, WorkerAddress, WorkerState, WorkerView,
};
use super::handoff::StickyQueue;
use super::inquiry::Served;
use super::lifecycle::Phase;
use super::restart::Delay;
use super::timer::Timer;
use super::watchdog::Pulse;
use super::{Core, millis};

/// How long a refork waits after the system refused to make a process.
const SPAWN_RETRY: Duration = Duration::from_secs(1);

/// The workers that are not reaped, and their slots.
#[derive(Debug)]
pub(super) struct Workers {
    by_id: BTreeMap<u32, Worker>,
    /// Who has which process id.
    by_pid: BTreeMap<i32, u32>,
    /// The worker that serves, or will serve, each slot.
    slots: Vec<Option<u32>>,
    /// What workers that are gone have done in each slot, also in slots that are no more.
    past: Vec<Counters>,
    next_id: u32,
    next_inspect_port: Option<u16>,
    /// Workers are shown by the numbers of their slots, and not by their own.
    numbered_by_slot: bool,
    /// The first fork has been done.
    pub(super) forked: bool,
    first_forked_at: Option<Instant>,
    started: u32,
    /// All slots have had a ready worker once: the application has started.
    pub(super) all_started: bool,
}

/// One app worker process.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) slot: u32,
    pub(super) pid: Option<i32>,
    pub(super) state: WorkerState,
    /// It listens on the port of the application.
    pub(super) ready: bool,
    pub(super) ready_at: Option<Instant>,
    /// Whether its event loop turns.
    pub(super) pulse: Pulse,
    pub(super) forked_at: Instant,
    pub(super) reason: ForkReason,
    /// It leaves of its own will or was asked to; nothing new is given to it.
    pub(super) exited_after_disconnect: bool,
    /// The master ends it: by a reload, by closing, or since it does not read.
    pub(super) ending: Option<EndReason>,
    /// It gets SIGKILL, since it hangs or does not read.
    pub(super) doomed: bool,
    /// It waits, and is released as soon as its process exists.
    waits: bool,
    /// Our own code runs in it and can drain it.
    pub(super) can_drain: bool,
    /// What has been decided about its slot when its channel closed.
    refork: Refork,
    inspect_port: Option<u16>,
    next_seq: u64,
    /// Ports that it was given and has not said to listen on.
    pub(super) untold_ports: Vec<u16>,
    /// Connections that it has not answered for, oldest first.
    pub(super) newconns: VecDeque<Newconn>,
    /// Its connections of sticky mode.
    pub(super) sticky: StickyQueue,
    pub(super) counters: Counters,
    /// What it said that it serves, when an operator wanted to know.
    pub(super) served: Option<Served>,
}

/// A connection on its way to a worker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newconn {
    pub(super) seq: u64,
    pub(super) conn: ConnId,
    pub(super) listener: ListenerId,
    /// How often workers have refused it.
    pub(super) refusals: u32,
}

/// Why the master ends a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndReason {
    /// Another has taken its slot.
    Reload,
    /// Its slot is no more.
    Scale,
    Close,
}

impl EndReason {
    /// The master goes on, and the worker is given time to finish what it has.
    pub(super) fn drains(self) -> bool {
        matches!(self, Self::Reload | Self::Scale)
    }
}

impl Worker {
    /// It may be given connections and answers.
    pub(super) fn is_connected(&self) -> bool {
        !matches!(self.state, WorkerState::Disconnected | WorkerState::Dead)
    }

    /// It has to answer: nobody ends it, and it has not said that it leaves.
    pub(super) fn is_watched(&self) -> bool {
        self.is_connected() && self.ending.is_none() && !self.exited_after_disconnect
    }

    /// It is ready, nobody ends it, and it has not said that it leaves.
    pub(super) fn serves(&self) -> bool {
        self.ready && self.is_watched()
    }

    /// It has been given a port, and should tell it. Of one that never does, no more ports are kept than
    /// it may have listeners.
    pub(super) fn note_port(&mut self, port: Option<u16>, limit: usize) {
        if self.untold_ports.len() >= limit {
            self.untold_ports.remove(0);
        }
        self.untold_ports.extend(port);
    }

    /// The number of the next message of the cluster protocol.
    pub(super) fn take_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }
}

impl Workers {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            by_id: BTreeMap::new(),
            by_pid: BTreeMap::new(),
            slots: vec![None; settings.workers as usize],
            past: Vec::new(),
            next_id: 1,
            next_inspect_port: settings.app_inspect_base,
            numbered_by_slot: settings.threads,
            forked: false,
            first_forked_at: None,
            started: 0,
            all_started: false,
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<&Worker> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Worker> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Worker)> {
        self.by_id.iter().map(|(&id, worker)| (id, worker))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.by_id.values_mut()
    }

    /// Workers that have a process.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter()
            .filter(|(_, worker)| worker.pid.is_some())
            .map(|(id, _)| id)
    }

    /// Some are being forked.
    pub(super) fn any_spawning(&self) -> bool {
        self.by_id.values().any(|worker| worker.pid.is_none())
    }

    /// Each slot has a worker that is ready.
    pub(super) fn all_ready(&self) -> bool {
        let slots = 0..self.slot_count();
        slots.into_iter().all(|slot| {
            let worker = self.in_slot(slot).and_then(|id| self.get(id));
            worker.is_some_and(|worker| worker.ready)
        })
    }

    /// The number of the next app worker; none is used twice.
    pub(super) fn take_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// The number that a worker is shown with.
    pub(super) fn number(&self, id: u32, slot: u32) -> u32 {
        if self.numbered_by_slot { slot + 1 } else { id }
    }

    pub(super) fn slot_count(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Changes the number of slots; who was in those that are no more.
    pub(super) fn resize(&mut self, slots: u32) -> Vec<u32> {
        let kept = self.slots.len().min(slots as usize);
        let gone = self.slots[kept..].iter().copied().flatten().collect();
        self.slots.resize(slots as usize, None);
        gone
    }

    /// What all workers of a slot have done.
    pub(super) fn counters_of(&self, slot: u32) -> Counters {
        let mut sum = self.past.get(slot as usize).copied().unwrap_or_default();
        for worker in self.by_id.values().filter(|worker| worker.slot == slot) {
            sum += worker.counters;
        }
        sum
    }

    /// What a worker has done counts on when it is gone.
    fn keep_counters(&mut self, worker: &Worker) {
        let slot = worker.slot as usize;
        if self.past.len() <= slot {
            self.past.resize(slot + 1, Counters::default());
        }
        self.past[slot] += worker.counters;
    }

    /// The worker of a slot, whatever its state.
    pub(super) fn in_slot(&self, slot: u32) -> Option<u32> {
        self.slots.get(slot as usize).copied().flatten()
    }

    /// The worker of a slot, if it can take connections.
    pub(super) fn ready_in_slot(&self, slot: u32) -> Option<u32> {
        let id = self.in_slot(slot)?;
        let worker = self.get(id)?;
        let serves = worker.serves() && (!worker.pulse.is_stuck() || self.all_stuck());
        serves.then_some(id)
    }

    /// The worker of a slot can take connections, whether or not it answers at this moment.
    pub(super) fn serves_in_slot(&self, slot: u32) -> bool {
        let worker = self.in_slot(slot).and_then(|id| self.get(id));
        worker.is_some_and(Worker::serves)
    }

    /// Some worker can take connections.
    pub(super) fn any_ready(&self) -> bool {
        self.by_id.values().any(Worker::serves)
    }

    /// No worker that can take connections answers: none is better than another.
    fn all_stuck(&self) -> bool {
        let answers = |worker: &Worker| worker.serves() && !worker.pulse.is_stuck();
        !self.by_id.values().any(answers)
    }

    pub(super) fn put_in_slot(&mut self, slot: u32, id: Option<u32>) {
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = id;
        }
    }

    /// The worker with this process id.
    pub(super) fn with_pid(&self, pid: i32) -> Option<u32> {
        self.by_pid.get(&pid).copied()
    }

    fn set_pid(&mut self, id: u32, pid: i32) {
        if let Some(worker) = self.by_id.get_mut(&id) {
            worker.pid = Some(pid);
            self.by_pid.insert(pid, id);
        }
    }

    /// Forgets a worker. Its process id may have another already.
    fn remove(&mut self, id: u32) -> Option<Worker> {
        let worker = self.by_id.remove(&id)?;
        if let Some(pid) = worker.pid.filter(|&pid| self.with_pid(pid) == Some(id)) {
            self.by_pid.remove(&pid);
        }
        Some(worker)
    }

    pub(super) fn pids(&self) -> Vec<i32> {
        self.by_id
            .values()
            .filter_map(|worker| worker.pid)
            .collect()
    }

    /// The pids that egg's messenger gets in `egg-pids`.
    pub(super) fn listening_pids(&self) -> Vec<i32> {
        let listening = |worker: &&Worker| worker.state == WorkerState::Listening;
        self.by_id
            .values()
            .filter(listening)
            .filter_map(|worker| worker.pid)
            .collect()
    }

    pub(super) fn views(&self) -> Vec<WorkerView> {
        let view = |(id, worker): (u32, &Worker)| {
            Some(WorkerView {
                id: self.number(id, worker.slot),
                pid: worker.pid?,
                slot: Some(worker.slot),
                state: worker.state,
                ready: worker.ready,
                responsive: !worker.pulse.is_stuck(),
            })
        };
        self.iter().filter_map(view).collect()
    }

    /// The next inspector port; Node counts on from the master's and wraps to 1024.
    fn take_inspect_port(&mut self) -> Option<u16> {
        let last = self.next_inspect_port?;
        self.next_inspect_port = Some(last.checked_add(1).unwrap_or(1024));
        self.next_inspect_port
    }
}

impl Core {
    pub(super) fn fork_all_workers(&mut self, now: Instant) {
        self.workers.forked = true;
        self.workers.first_forked_at = Some(now);
        self.emit(Event::AppsForking);
        for slot in 0..self.workers.slot_count() {
            let id = self.fork_worker(now, slot, ForkReason::Start);
            self.workers.put_in_slot(slot, Some(id));
        }
    }

    /// Starts a worker for a slot; whether it takes the slot at once is the caller's.
    pub(super) fn fork_worker(&mut self, now: Instant, slot: u32, reason: ForkReason) -> u32 {
        let taken = self.take_waiting(now, slot, reason);
        let id = taken.map_or_else(|| self.workers.take_id(), |(id, _)| id);
        let worker = Worker {
            slot,
            pid: None,
            state: WorkerState::None,
            ready: false,
            ready_at: None,
            pulse: self.watchdog.newborn(),
            forked_at: now,
            reason,
            exited_after_disconnect: false,
            ending: None,
            doomed: false,
            waits: taken.is_some(),
            can_drain: false,
            refork: Refork::Disabled,
            inspect_port: self.workers.take_inspect_port(),
            next_seq: 0,
            untold_ports: Vec::new(),
            newconns: VecDeque::new(),
            sticky: StickyQueue::new(),
            counters: Counters::default(),
            served: None,
        };
        let inspect_port = worker.inspect_port;
        self.workers.by_id.insert(id, worker);
        match taken {
            None => self.output(Output::Spawn(SpawnSpec {
                child: ChildId::App(id),
                inspect_port,
                slot: Some(slot),
                slots: self.workers.slot_count(),
                waits: false,
            })),
            Some((_, Some(pid))) => self.on_worker_spawned(now, id, pid),
            // It is being made.
            Some((_, None)) => {}
        }
        id
    }

    pub(super) fn on_worker_spawned(&mut self, now: Instant, id: u32, pid: i32) {
        self.workers.set_pid(id, pid);
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let child = ChildId::App(id);
        if std::mem::take(&mut worker.waits) {
            let slot = worker.slot;
            let slots = self.workers.slot_count();
            self.output(Output::Release { child, slot, slots });
        }
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (slot, reason, inspect_port) = (worker.slot, worker.reason, worker.inspect_port);
        let workers = self.workers.ids().collect();
        self.emit(Event::AppForked {
            id: self.workers.number(id, slot),
            pid,
            slot,
            reason,
            inspect_port,
            workers,
        });
        self.tell_debug_port("app", inspect_port, pid);
        self.end_latecomer(now, child);
        self.end_if_unwanted(now, id);
    }

    pub(super) fn on_spawn_failed(&mut self, now: Instant, child: ChildId, reason: String) {
        match child {
            ChildId::Agent(_) => self.on_agent_spawn_failed(now, reason),
            ChildId::App(id) if self.waiting.has(id) => self.on_waiting_spawn_failed(now, id),
            ChildId::App(id) => self.on_worker_spawn_failed(now, id, reason),
        }
    }

    fn on_worker_spawn_failed(&mut self, now: Instant, id: u32, reason: String) {
        let Some(worker) = self.workers.remove(id) else {
            return;
        };
        self.emit(Event::SpawnFailed {
            role: "app",
            id: self.workers.number(id, worker.slot),
            reason: reason.clone(),
        });
        if self.workers.in_slot(worker.slot) == Some(id) {
            self.workers.put_in_slot(worker.slot, None);
        }
        if let Some(backoff) = self.restarts.slot_mut(worker.slot) {
            backoff.record_spawn_failure(reason.clone());
        }
        if self.phase.is_ending() {
            self.finish_what_ends(now);
        } else if !self.workers.all_started {
            self.fail(now);
        } else if worker.ending.is_some() {
            self.on_reload_worker_left(now, id);
        } else if !self.on_reload_worker_gone(now, id, &reason) && self.reforks() {
            self.timers
                .set(Timer::Refork(worker.slot), now + SPAWN_RETRY);
        }
    }

    /// A worker listens somewhere; on the port of the application it is ready.
    pub(super) fn on_worker_listening(
        &mut self,
        now: Instant,
        id: u32,
        address: WorkerAddress,
        reuse_port: bool,
    ) {
        let Some(worker) = self
            .workers
            .get_mut(id)
            .filter(|worker| worker.is_connected())
        else {
            return;
        };
        worker.state = WorkerState::Listening;
        let (slot, Some(pid)) = (worker.slot, worker.pid) else {
            return;
        };
        self.emit(Event::AppListening {
            id: self.workers.number(id, slot),
            pid,
            address: address.clone(),
            reuse_port,
        });
        if self.is_public(&address) {
            self.on_worker_ready(now, id, address);
        }
    }

    /// The address is the one that the application is reached by.
    fn is_public(&self, address: &WorkerAddress) -> bool {
        if self.settings.threads {
            return true;
        }
        if let Some(port) = self.settings.sticky_port {
            return address.port == Some(i64::from(port));
        }
        address.address_type == -1
            || self
                .public
                .port
                .is_some_and(|port| address.port == Some(i64::from(port)))
    }

    fn on_worker_ready(&mut self, now: Instant, id: u32, address: WorkerAddress) {
        let Some(worker) = self.workers.get_mut(id).filter(|worker| !worker.ready) else {
            return;
        };
        worker.ready = true;
        worker.ready_at = Some(now);
        self.note_readiness(now);
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let (slot, Some(pid)) = (worker.slot, worker.pid) else {
            return;
        };
        self.tell_agent_pids();
        self.workers.started += 1;
        let all_started = self.workers.all_started;
        let remain = if all_started {
            0
        } else {
            self.workers
                .slot_count()
                .saturating_sub(self.workers.started)
        };
        let elapsed = self
            .workers
            .first_forked_at
            .map_or(Duration::ZERO, |at| now - at);
        self.emit(Event::AppStarted {
            id: self.workers.number(id, slot),
            pid,
            address: address.clone(),
            remain,
            elapsed_ms: millis(elapsed),
        });
        if self.is_known_by(slot) {
            self.set_public_address(&address);
        }
        if all_started {
            let ready = self.egg_ready("app");
            self.tell_apps(&ready);
            self.on_reload_worker_ready(now, id);
            self.offer_held_sticky(now);
        } else if remain == 0 && self.phase == Phase::Starting {
            self.on_all_started(now);
        }
    }

    /// The channel of a worker is closed: its connections go to others, and its slot to a
    /// new worker, which need not wait for the process to end.
    pub(super) fn on_worker_disconnected(&mut self, now: Instant, id: u32) {
        let Some(worker) = self
            .workers
            .get_mut(id)
            .filter(|worker| worker.is_connected())
        else {
            return;
        };
        worker.state = WorkerState::Disconnected;
        let (slot, pid) = (worker.slot, worker.pid.unwrap_or_default());
        let exited_after_disconnect = worker.exited_after_disconnect;
        let refork = self.decide_refork(now, id);
        self.emit(Event::AppDisconnected {
            id: self.workers.number(id, slot),
            pid,
            exited_after_disconnect,
            state: WorkerState::Disconnected,
            refork: refork.decision(),
            refork_in_ms: refork.delay_ms(),
            workers: self.workers.ids().collect(),
        });
        self.note_readiness(now);
        self.apply_refork(now, id, refork);
        self.take_back_connections(now, id);
        self.on_drain_disconnected(now, id);
        self.on_retired_disconnected(now, id);
    }

    fn decide_refork(&mut self, now: Instant, id: u32) -> Refork {
        let Some(worker) = self.workers.get(id) else {
            return Refork::Disabled;
        };
        let holds_slot = self.workers.in_slot(worker.slot) == Some(id);
        if self.phase.is_ending()
            || !self.workers.all_started
            || worker.ending.is_some()
            || !holds_slot
            || self.is_replacing(worker.slot)
        {
            return Refork::Disabled;
        }
        if !self.reforks() {
            return Refork::Off;
        }
        let (slot, ready_for) = (worker.slot, worker.ready_at.map(|at| now - at));
        let mut delay = self.restarts.after_death(now, slot, ready_for);
        delay.time = delay.time.max(self.least_refork_delay());
        if delay.time.is_zero() {
            Refork::Now
        } else {
            Refork::After(delay)
        }
    }

    fn report_restart_limit(&mut self) {
        let settings = self.settings.restart;
        self.emit(Event::RestartLimit {
            limit: settings.intensity_limit,
            period_ms: millis(settings.intensity_period),
        });
    }

    fn apply_refork(&mut self, now: Instant, id: u32, refork: Refork) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let slot = worker.slot;
        worker.refork = refork;
        if self.workers.in_slot(slot) == Some(id) {
            self.workers.put_in_slot(slot, None);
        }
        match refork {
            Refork::Now => {
                let new = self.fork_worker(now, slot, ForkReason::Refork);
                self.workers.put_in_slot(slot, Some(new));
            }
            Refork::After(delay) => {
                self.timers.set(Timer::Refork(slot), now + delay.time);
                if delay.just_exceeded {
                    self.report_restart_limit();
                }
            }
            Refork::Disabled | Refork::Off => {}
        }
    }

    /// The application has started. A worker may have been ready, and lost its channel since:
    /// its slot was not refilled, for its end would have ended the start.
    pub(super) fn refill_slots(&mut self, now: Instant) {
        let slots = 0..self.workers.slot_count();
        for slot in slots.filter(|_| self.settings.production) {
            if self.workers.in_slot(slot).is_none() {
                self.timers.set_if_idle(Timer::Refork(slot), now);
            }
        }
    }

    /// A refork that was delayed.
    pub(super) fn refork_slot(&mut self, now: Instant, slot: u32) {
        let exists = slot < self.workers.slot_count();
        if self.phase.is_ending() || !exists || self.workers.in_slot(slot).is_some() {
            return;
        }
        let id = self.fork_worker(now, slot, ForkReason::Refork);
        self.workers.put_in_slot(slot, Some(id));
    }

    pub(super) fn on_worker_exited(&mut self, now: Instant, id: u32, status: ExitStatus) {
        let pids = self.workers.pids();
        let Some(mut worker) = self.workers.remove(id) else {
            return;
        };
        self.workers.keep_counters(&worker);
        self.check_recent_of(id);
        worker.state = WorkerState::Dead;
        let closing = self.phase.is_ending();
        let while_starting = !self.workers.all_started && !closing;
        let by_debugger = !closing
            && self.settings.is_debug
            && worker.ending.is_none()
            && status.signal.as_deref() == Some("SIGKILL");
        let reason = describe(&status);
        if worker.ending.is_none() && !closing {
            let pid = worker.pid.unwrap_or_default();
            let number = self.workers.number(id, worker.slot);
            let exit = LastExit::new(number, pid, status.clone(), worker.ready_at.is_some());
            if let Some(backoff) = self.restarts.slot_mut(worker.slot) {
                backoff.record_exit(now, exit);
            }
        }
        self.emit(Event::AppExited {
            id: self.workers.number(id, worker.slot),
            pid: worker.pid.unwrap_or_default(),
            status,
            exited_after_disconnect: worker.exited_after_disconnect,
            state: WorkerState::Dead,
            expected: closing || worker.ending.is_some(),
            reloaded: worker.ending.is_some_and(EndReason::drains),
            reforked: matches!(worker.refork, Refork::Now | Refork::After(_)),
            refork_in_ms: worker.refork.delay_ms(),
            pids,
            while_starting,
            by_debugger,
        });
        if closing {
            return;
        }
        self.tell_agent_pids();
        if while_starting {
            self.fail(now);
            return;
        }
        if worker.ending.is_none() {
            self.tell_parent("app-worker-died", None);
        }
        self.on_reload_worker_gone(now, id, &reason);
        self.on_reload_worker_left(now, id);
        if by_debugger {
            self.close(now);
        }
        self.give_up_if_hopeless(now);
    }

    /// Its outbox has been full for long: it would fill the master's memory.
    pub(super) fn kill_unresponsive(&mut self, child: ChildId) {
        if let Some((role, id, pid)) = self.identify(child) {
            self.emit(Event::Unresponsive { role, id, pid });
            self.doom(child);
            self.output(Output::Signal {
                child,
                signal: Signal::Kill,
            });
        }
    }

    /// A child that hangs or does not read gets SIGKILL, now or when its stack is known. What it
    /// says meanwhile makes it no better.
    pub(super) fn doom(&mut self, child: ChildId) {
        if let ChildId::App(id) = child
            && let Some(worker) = self.workers.get_mut(id)
        {
            worker.doomed = true;
        }
    }
}

/// What becomes of the slot of a worker that is gone.
#[derive(Debug, Clone, Copy)]
enum Refork {
    Now,
    After(Delay),
    Disabled,
    Off,
}

impl Refork {
    fn decision(self) -> ReforkDecision {
        match self {
            Self::Now => ReforkDecision::Refork,
            Self::After(_) => ReforkDecision::Later,
            Self::Disabled => ReforkDecision::Disabled,
            Self::Off => ReforkDecision::Off,
        }
    }

    fn delay_ms(self) -> Option<u64> {
        match self {
            Self::After(delay) => Some(millis(delay.time)),
            Self::Now | Self::Disabled | Self::Off => None,
        }
    }
}

/// An exit status in words, for reasons.
pub(super) fn describe(status: &ExitStatus) -> String {
    match (&status.signal, status.code) {
        (Some(signal), _) => format!("it was ended by {signal}"),
        (None, Some(code)) => format!("it exited with code {code}"),
        (None, None) => "it ended".to_owned(),
    }
}
