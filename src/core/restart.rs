//! When the worker of a slot, or the agent, is started again.
//!
//! What had been ready for a stable time is replaced at once. What dies before is replaced
//! at once a few times, for somebody may have killed it, and then with delays that double
//! up to a cap. The delays are spread, so that workers that died together do not boot
//! together for ever.

use std::time::{Duration, Instant};

use super::event::{ChildId, Event, ExitStatus, LastExit, RestartSettings, SlotView};
use super::intensity::{Level, RestartIntensity};
use super::status::RestartStatus;
use super::timer::Timer;
use super::{Core, millis};

/// The exit code of a master that gives up: `EX_UNAVAILABLE` of `sysexits.h`. Node uses
/// neither it nor anything near it.
pub(super) const GAVE_UP_CODE: i32 = 69;

/// Deaths in a row that are not slowed down, of a worker that had been ready each time.
const QUICK_AFTER_READY: u32 = 3;
/// The same for one that had not been ready: it will hardly do better at once.
const QUICK_AFTER_BOOT: u32 = 1;
/// The first delay of a worker; each further one is twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// Delays are longer or shorter by up to this part of them.
const SPREAD: f64 = 0.2;
/// How long the agent's place stays empty at the least, as egg-cluster has it.
pub(super) const AGENT_DELAY: Duration = Duration::from_secs(1);

/// What is remembered of a slot when its worker dies.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// Deaths in a row before the worker was stable.
    strikes: u32,
    /// New workers in place of dead ones.
    restarts: u32,
    last_exit: Option<LastExit>,
    last_exit_at: Option<Instant>,
    last_error: Option<String>,
    /// The last delay was as long as they get.
    at_cap: bool,
    /// The last attempt had come so far as to be ready.
    was_ready: bool,
    /// The last attempt did not even come to a process.
    spawn_failed: bool,
}

impl Backoff {
    /// Counts a death; `None`: no reason to wait.
    fn strike(&mut self, ready_for: Option<Duration>, stable_time: Duration) -> Option<u32> {
        self.restarts += 1;
        self.was_ready = ready_for.is_some();
        self.spawn_failed = false;
        if ready_for.is_some_and(|time| time >= stable_time) {
            self.strikes = 0;
            return None;
        }
        self.strikes += 1;
        let quick = if self.was_ready {
            QUICK_AFTER_READY
        } else {
            QUICK_AFTER_BOOT
        };
        self.strikes.checked_sub(quick + 1)
    }

    pub(super) fn record_exit(&mut self, now: Instant, exit: LastExit) {
        self.last_exit = Some(exit);
        self.last_exit_at = Some(now);
    }

    pub(super) fn record_error(&mut self, error: String) {
        self.last_error = Some(error);
    }

    pub(super) fn record_spawn_failure(&mut self, reason: String) {
        self.spawn_failed = true;
        self.record_error(reason);
    }

    /// When the last one ended that was not ended by the master's will.
    pub(super) fn last_exit_at(&self) -> Option<Instant> {
        self.last_exit_at
    }

    pub(super) fn view(&self, slot: Option<u32>, worker: Option<u32>, waiting: bool) -> SlotView {
        SlotView {
            slot,
            worker,
            restarts: self.restarts,
            strikes: self.strikes,
            waiting,
            last_exit: self.last_exit.clone(),
            last_error: self.last_error.clone(),
        }
    }
}

/// The state of all restarts.
#[derive(Debug)]
pub(super) struct Restarts {
    settings: RestartSettings,
    intensity: RestartIntensity,
    jitter: Jitter,
    slots: Vec<Backoff>,
    pub(super) agent: Backoff,
    /// Since when no app worker is ready.
    none_ready_since: Option<Instant>,
    /// The last restart was beyond the limit of all slots together.
    exceeded: bool,
}

/// When the next worker of a slot comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay {
    pub(super) time: Duration,
    /// The limit of all slots together has just been passed.
    pub(super) just_exceeded: bool,
}

impl Restarts {
    pub(super) fn new(settings: RestartSettings, slots: u32) -> Self {
        Self {
            settings,
            intensity: RestartIntensity::new(settings.intensity_limit, settings.intensity_period),
            jitter: Jitter(settings.seed),
            slots: (0..slots).map(|_| Backoff::default()).collect(),
            agent: Backoff::default(),
            none_ready_since: None,
            exceeded: false,
        }
    }

    /// Changes the number of slots. New ones have no past.
    pub(super) fn resize(&mut self, slots: u32) {
        self.slots.resize_with(slots as usize, Backoff::default);
    }

    /// More workers die than the limit allows: restarts are as slow as they get.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded
    }

    /// What operators see of it: see [`RestartStatus`].
    pub(super) fn status(&self, now: Instant) -> RestartStatus {
        let none_ready = self
            .none_ready_since
            .map(|since| now.saturating_duration_since(since));
        let gives_up_in = self
            .settings
            .give_up
            .zip(none_ready)
            .filter(|_| self.is_hopeless())
            .map(|(limit, time)| limit.saturating_sub(time));
        RestartStatus {
            recent: self.intensity.recent(now),
            limit: self.intensity.limit(),
            period_ms: millis(self.intensity.period()),
            none_ready_ms: none_ready.map(millis),
            gives_up_in_ms: gives_up_in.map(millis),
        }
    }

    pub(super) fn slot(&self, slot: u32) -> Option<&Backoff> {
        self.slots.get(slot as usize)
    }

    pub(super) fn slot_mut(&mut self, slot: u32) -> Option<&mut Backoff> {
        self.slots.get_mut(slot as usize)
    }

    /// The worker of a slot has died, `ready_for` so long after it became ready.
    pub(super) fn after_death(
        &mut self,
        now: Instant,
        slot: u32,
        ready_for: Option<Duration>,
    ) -> Delay {
        let cap = self.settings.max_delay;
        let level = self.intensity.count(now);
        self.exceeded = level != Level::Within;
        let stable_time = self.settings.stable_time;
        let strikes = self
            .slots
            .get_mut(slot as usize)
            .and_then(|backoff| backoff.strike(ready_for, stable_time));
        let base = match (level, strikes) {
            (Level::Within, None) => Duration::ZERO,
            (Level::Within, Some(doublings)) => doubled(FIRST_DELAY, doublings, cap),
            (Level::JustExceeded | Level::Exceeded, _) => cap,
        };
        if let Some(backoff) = self.slots.get_mut(slot as usize) {
            backoff.at_cap = base >= cap;
        }
        Delay {
            time: self.jitter.spread(base, cap),
            just_exceeded: level == Level::JustExceeded,
        }
    }

    /// The agent has died, `started_for` so long after it had started.
    pub(super) fn after_agent_death(&mut self, started_for: Option<Duration>) -> Duration {
        let cap = self.settings.max_delay.max(AGENT_DELAY);
        match self.agent.strike(started_for, self.settings.stable_time) {
            None => AGENT_DELAY,
            Some(doublings) => self
                .jitter
                .spread(doubled(AGENT_DELAY * 2, doublings, cap), cap),
        }
    }

    /// Restarts go on and on, as slowly as they may: the application does not come up.
    fn is_hopeless(&self) -> bool {
        self.exceeded || self.slots.iter().all(|backoff| backoff.at_cap)
    }
}

impl Core {
    /// Keeps the time since when no app worker is ready.
    pub(super) fn note_readiness(&mut self, now: Instant) {
        if self.workers.any_ready() {
            self.restarts.none_ready_since = None;
        } else {
            self.restarts.none_ready_since.get_or_insert(now);
        }
    }

    /// How long nothing has been ready, if that is too long while nothing helps.
    fn has_to_give_up(&self, now: Instant) -> Option<Duration> {
        let limit = self.restarts.settings.give_up?;
        let time = now.saturating_duration_since(self.restarts.none_ready_since?);
        (time >= limit && self.restarts.is_hopeless()).then_some(time)
    }

    /// Looked at when a worker has died in vain: ends the master rather than to try for ever.
    pub(super) fn give_up_if_hopeless(&mut self, now: Instant) {
        if self.phase.is_ending() || self.reload.is_some() {
            return;
        }
        if let Some(time) = self.has_to_give_up(now) {
            self.emit(Event::GaveUp {
                none_ready_ms: millis(time),
                code: GAVE_UP_CODE,
            });
            self.fail_with(now, GAVE_UP_CODE);
        }
    }

    /// A worker would be there by now but for the delay of its restart. Whether that goes on
    /// for too long is decided here, and not by the check for life.
    pub(super) fn is_worker_delayed(&self) -> bool {
        (0..)
            .zip(&self.restarts.slots)
            .any(|(slot, backoff)| self.timers.is_set(Timer::Refork(slot)) && !backoff.spawn_failed)
    }

    /// The same for the agent; one that has not come up again is not merely delayed.
    pub(super) fn is_agent_delayed(&self) -> bool {
        let backoff = &self.restarts.agent;
        self.timers.is_set(Timer::AgentRestart) && backoff.was_ready && !backoff.spawn_failed
    }

    /// The slots as look-ups see them.
    pub(super) fn slot_views(&self) -> Vec<SlotView> {
        let view = |(slot, backoff): (u32, &Backoff)| {
            let waiting = self.timers.is_set(Timer::Refork(slot));
            let worker = self.workers.in_slot(slot);
            let number = worker.map(|id| self.workers.number(id, slot));
            backoff.view(Some(slot), number, waiting)
        };
        (0..).zip(&self.restarts.slots).map(view).collect()
    }

    pub(super) fn agent_slot_view(&self) -> SlotView {
        let worker = match self.agent.child() {
            Some(ChildId::Agent(id)) => Some(id),
            _ => None,
        };
        let waiting = self.timers.is_set(Timer::AgentRestart);
        self.restarts.agent.view(None, worker, waiting)
    }
}

impl LastExit {
    pub(super) fn new(id: u32, pid: i32, status: ExitStatus, ready: bool) -> Self {
        Self {
            id,
            pid,
            status,
            ready,
        }
    }
}

/// `first`, doubled so often, at most `cap`.
fn doubled(first: Duration, doublings: u32, cap: Duration) -> Duration {
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(cap)
}

/// A generator of numbers (splitmix64). The seed is given from outside.
#[derive(Debug)]
struct Jitter(u64);

impl Jitter {
    /// Evenly from 0 to below 1.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        f64::from(u32::try_from((number ^ (number >> 31)) >> 32).unwrap_or(0))
            / (f64::from(u32::MAX) + 1.0)
    }

    /// A time near `base`, at most `cap`, in whole milliseconds, as it is told to others.
    fn spread(&mut self, base: Duration, cap: Duration) -> Duration {
        let factor = 1.0 - SPREAD + 2.0 * SPREAD * self.fraction();
        Duration::from_millis(millis(base.mul_f64(factor).min(cap)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_never_overflow() {
        let cap = Duration::from_secs(30);
        let delay = |doublings| doubled(FIRST_DELAY, doublings, cap).as_millis();
        let delays: Vec<_> = (0..8).map(delay).collect();
        assert_eq!(
            delays,
            [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]
        );
        assert_eq!(delay(u32::MAX), 30_000);
    }

    #[test]
    fn the_spread_stays_within_its_bounds_and_uses_them() {
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut jitter = Jitter(7);
        let times: Vec<_> = (0..1000).map(|_| jitter.spread(base, cap)).collect();
        let least = times.iter().min().unwrap().as_millis();
        let most = times.iter().max().unwrap().as_millis();
        assert!((800..820).contains(&least), "{least}");
        assert!((1180..=1200).contains(&most), "{most}");
        assert_eq!(Jitter(1).spread(base, base).max(base), base);
        assert_ne!(Jitter(1).spread(base, cap), Jitter(2).spread(base, cap));
        assert_eq!(jitter.spread(Duration::ZERO, cap), Duration::ZERO);
    }
}
