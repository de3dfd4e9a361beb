//! The core's timers: a table of deadlines, with one entry per timer.

use std::collections::BTreeSet;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::event::{ChildId, ListenerId};

/// Everything that the core waits for by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Fork a new agent after the last one died.
    AgentRestart,
    /// Fork a worker for this slot, whose restart was delayed.
    Refork(u32),
    /// Look whether a worker in reserve is missing.
    Spare,
    /// Look whether an agent and a worker are alive.
    Check,
    /// A retired worker has had its time to finish what it serves.
    Drain(ChildId),
    /// A terminated child has had its grace period.
    Kill(ChildId),
    /// Look again whether the descendants of an ended child are gone.
    Descendants(ChildId),
    /// A child whose channel is closed has not ended, and its place waits for that.
    Mute(ChildId),
    /// A child has not read its channel for long.
    Stall(ChildId),
    /// The parent has not read its channel for long.
    ParentStall,
    /// All children had the time to leave after a failed start.
    FailDeadline,
    /// Offer connections again to workers that refused one.
    RetryRefused(ListenerId),
    /// Connections have waited long for a worker.
    HeldTooLong(ListenerId),
    /// Accepting failed for want of descriptors; try again.
    RetryAccept(ListenerId),
    /// The first bytes of a sticky connection have not come.
    HeadTimeout,
    /// A new worker of a reload has been ready for long enough.
    Probation(u32),
    /// Connections were taken long enough ago.
    Recent,
    /// No worker has come back for a listener whose last worker died.
    Orphaned(ListenerId),
    /// Look whether the children's event loops turn.
    Watchdog,
    /// A hung worker has not told its stack.
    Stack(ChildId),
    /// The service manager wants a sign of life.
    SignOfLife,
}

/// The table. Setting a timer again moves it.
#[derive(Debug, Default)]
pub struct Timers {
    deadlines: FxHashMap<Timer, Instant>,
    order: BTreeSet<(Instant, Timer)>,
}

impl Timers {
    /// Sets or moves a timer.
    pub fn set(&mut self, timer: Timer, at: Instant) {
        self.cancel(timer);
        self.deadlines.insert(timer, at);
        self.order.insert((at, timer));
    }

    /// Sets a timer unless it runs already.
    pub fn set_if_idle(&mut self, timer: Timer, at: Instant) {
        if !self.is_set(timer) {
            self.set(timer, at);
        }
    }

    /// Sets a timer, unless it runs already and is due earlier.
    pub fn set_at_latest(&mut self, timer: Timer, at: Instant) {
        if self.due(timer).is_none_or(|due| due > at) {
            self.set(timer, at);
        }
    }

    /// When the timer is due, if it runs.
    pub fn due(&self, timer: Timer) -> Option<Instant> {
        self.deadlines.get(&timer).copied()
    }

    /// The timer runs.
    pub fn is_set(&self, timer: Timer) -> bool {
        self.deadlines.contains_key(&timer)
    }

    /// Stops a timer, if it runs.
    pub fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.deadlines.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    /// Stops the timers that `which` names.
    pub fn cancel_where(&mut self, which: impl Fn(&Timer) -> bool) {
        self.deadlines.retain(|timer, _| !which(timer));
        self.order.retain(|(_, timer)| !which(timer));
    }

    /// How many run.
    pub fn count(&self) -> usize {
        self.deadlines.len()
    }

    /// The next deadline.
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Takes the first timer that has come to its deadline.
    pub fn expired(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.order.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn timers_expire_in_order_of_their_deadlines() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set(Timer::Check, start + Duration::from_secs(2));
        timers.set(Timer::AgentRestart, start + Duration::from_secs(1));
        timers.set(Timer::Refork(1), start + Duration::from_secs(9));
        assert_eq!(timers.next(), Some(start + Duration::from_secs(1)));
        assert_eq!(timers.expired(start), None);
        let late = start + Duration::from_secs(3);
        assert_eq!(timers.expired(late), Some(Timer::AgentRestart));
        assert_eq!(timers.expired(late), Some(Timer::Check));
        assert_eq!(timers.expired(late), None);
    }

    #[test]
    fn a_moved_timer_expires_once_and_a_cancelled_one_never() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set(Timer::Check, start);
        timers.set(Timer::Check, start + Duration::from_secs(5));
        timers.set_if_idle(Timer::Check, start);
        timers.set(Timer::Refork(0), start);
        timers.cancel_where(|timer| matches!(timer, Timer::Refork(_)));
        assert_eq!(timers.expired(start + Duration::from_secs(1)), None);
        assert_eq!(
            timers.expired(start + Duration::from_secs(5)),
            Some(Timer::Check)
        );
        assert_eq!(timers.next(), None);
    }
}
