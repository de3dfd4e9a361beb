//! App workers that are started ahead of time. Such a process loads what it can load without
//! the agent (`lib/worker_preload.js`) and then *waits*: it is no worker yet, nobody speaks
//! with it, and it runs no code of the application. When a slot wants a worker, a waiting
//! process is released for it instead of a new one being made.
//!
//! At the start there is one for each slot, beside the agent that boots. Later there may be
//! some in reserve (*spares*): in production for the places of workers that die; elsewhere,
//! where nobody takes their place, for the workers of a reload. In production a reload does
//! without them: it is how a new version is brought in, and they have loaded the old one.
//!
//! All this only saves time. Where a waiting process is missing, or has died, a worker is
//! made as ever; and if it fails for the same reason, it is that worker's failure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Core;
use super::event::{ChildId, ForkReason, Output, Signal, SpawnSpec};
use super::lifecycle::Phase;
use super::timer::Timer;

/// A spare boots so long after the last worker has become ready: it shall not take the
/// processor from those that are needed now.
const SPARE_DELAY: Duration = Duration::from_secs(1);
/// The same after one that has died while it waited.
const SPARE_RETRY: Duration = Duration::from_secs(30);

/// The processes that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    by_id: BTreeMap<u32, Waiter>,
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    /// The slot that it was made for; a spare is for any.
    slot: Option<u32>,
    /// None while it is being made.
    pid: Option<i32>,
    /// It is ended, or its channel has closed: it becomes no worker any more.
    lost: bool,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn has(&self, id: u32) -> bool {
        self.by_id.contains_key(&id)
    }

    pub(super) fn any_spawning(&self) -> bool {
        self.by_id.values().any(|waiter| waiter.pid.is_none())
    }

    /// Those that have a process.
    pub(super) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        let made = self.by_id.iter().filter(|(_, it)| it.pid.is_some());
        made.map(|(&id, _)| id)
    }

    pub(super) fn pid_of(&self, id: u32) -> Option<i32> {
        self.by_id.get(&id)?.pid
    }

    /// Takes out one that can become the worker of this slot, with its process id.
    fn take(&mut self, slot: u32) -> Option<(u32, Option<i32>)> {
        let fits = |it: &Waiter| !it.lost && it.slot.is_none_or(|own| own == slot);
        let (&id, waiter) = self.by_id.iter().find(|(_, it)| fits(it))?;
        let pid = waiter.pid;
        self.by_id.remove(&id);
        Some((id, pid))
    }

    fn usable(&self) -> usize {
        self.by_id.values().filter(|it| !it.lost).count()
    }
}

impl Core {
    /// The agent is being started: so is a process for each slot.
    pub(super) fn prestart_workers(&mut self) {
        if self.settings.prestart.at_start {
            for slot in 0..self.workers.slot_count() {
                self.start_waiting(Some(slot));
            }
        }
    }

    fn start_waiting(&mut self, slot: Option<u32>) {
        let id = self.workers.take_id();
        let waiter = Waiter {
            slot,
            pid: None,
            lost: false,
        };
        self.waiting.by_id.insert(id, waiter);
        self.output(Output::Spawn(SpawnSpec {
            child: ChildId::App(id),
            inspect_port: None,
            slot,
            slots: self.workers.slot_count(),
            waits: true,
        }));
    }

    /// A waiting process for a new worker of this slot, with its process id if it has one yet.
    pub(super) fn take_waiting(
        &mut self,
        now: Instant,
        slot: u32,
        reason: ForkReason,
    ) -> Option<(u32, Option<i32>)> {
        if reason == ForkReason::Reload && self.settings.production {
            return None;
        }
        let taken = self.waiting.take(slot)?;
        self.await_spare(now);
        Some(taken)
    }

    pub(super) fn on_waiting_spawned(&mut self, now: Instant, id: u32, pid: i32) {
        let Some(waiter) = self.waiting.by_id.get_mut(&id) else {
            return;
        };
        waiter.pid = Some(pid);
        let child = ChildId::App(id);
        match self.phase {
            Phase::Failing { .. } => {
                self.output(Output::Disconnect { child });
                if !self.timers.is_set(Timer::FailDeadline) {
                    let signal = Signal::Kill;
                    self.output(Output::Signal { child, signal });
                }
            }
            phase if phase.is_ending() || waiter.lost => self.end_waiting(now, id),
            _ => {}
        }
    }

    pub(super) fn on_waiting_spawn_failed(&mut self, now: Instant, id: u32) {
        self.waiting.by_id.remove(&id);
        self.miss_spare(now);
        self.finish_what_ends(now);
    }

    /// Its channel has closed. It ends by itself, or is ended.
    pub(super) fn on_waiting_disconnected(&mut self, id: u32) {
        if let Some(waiter) = self.waiting.by_id.get_mut(&id) {
            waiter.lost = true;
        }
    }

    pub(super) fn on_waiting_exited(&mut self, now: Instant, id: u32) {
        self.waiting.by_id.remove(&id);
        self.miss_spare(now);
    }

    /// Ends one. A signal may not reach its JavaScript, for it stands still: it leaves when
    /// what it waits for is closed.
    fn end_waiting(&mut self, now: Instant, id: u32) {
        let Some(waiter) = self.waiting.by_id.get_mut(&id) else {
            return;
        };
        waiter.lost = true;
        if waiter.pid.is_some() {
            let child = ChildId::App(id);
            self.begin_ending(now, child, self.settings.app_close_timeout);
            self.output(Output::Disconnect { child });
        }
    }

    /// Nobody will need them: the end, or a reload, has come.
    pub(super) fn end_all_waiting(&mut self, now: Instant) {
        self.timers.cancel(Timer::Spare);
        for id in self.waiting.by_id.keys().copied().collect::<Vec<_>>() {
            self.end_waiting(now, id);
        }
    }

    /// Nobody needs those that were made for the start any more; from now on there are spares.
    pub(super) fn begin_spares(&mut self, now: Instant) {
        self.end_all_waiting(now);
        self.await_spare(now);
    }

    /// Something has changed: looks whether a spare is missing, a little later.
    pub(super) fn await_spare(&mut self, now: Instant) {
        if self.wants_spares() {
            self.timers.set(Timer::Spare, now + SPARE_DELAY);
        }
    }

    /// One has gone without having been of use.
    fn miss_spare(&mut self, now: Instant) {
        if self.wants_spares() {
            self.timers.set_if_idle(Timer::Spare, now + SPARE_RETRY);
        }
    }

    fn wants_spares(&self) -> bool {
        self.settings.prestart.spares > 0 && self.phase == Phase::Running
    }

    /// One at a time, and not while workers boot.
    pub(super) fn add_spare(&mut self, now: Instant) {
        if !self.wants_spares() || self.reload.is_some() {
            return;
        }
        let wanted = self.settings.prestart.spares as usize;
        if self.waiting.usable() < wanted && self.workers.all_ready() {
            self.start_waiting(None);
        }
        if self.waiting.usable() < wanted {
            self.await_spare(now);
        }
    }
}
