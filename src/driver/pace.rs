//! Fewer wake-ups under load, as network drivers do it with interrupts.
//!
//! Each time the core thread sleeps and is woken costs more than the work of one
//! connection. While work keeps coming faster than the thread can fall asleep, it therefore
//! rests for a moment before it looks again, and finds several connections and answers at
//! once. The rest grows while something is there after it, and ends as soon as nothing is,
//! so a master with little to do is not slowed down at all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest rest, and so the most that is added to the way of a connection or message.
const LONGEST: Duration = Duration::from_micros(200);
/// The first rest.
const SHORTEST: Duration = Duration::from_micros(25);
/// Whoever waits for less than this need not have waited: work was there.
const AT_ONCE: Duration = Duration::from_micros(20);

/// Shared by the two hooks around the sleep of the runtime.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    rest: AtomicU64,
    asleep_since: AtomicU64,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            rest: AtomicU64::new(0),
            asleep_since: AtomicU64::new(0),
        }
    }

    /// Before the thread waits for events.
    pub(super) fn before_wait(&self) {
        let rest = self.rest.load(Ordering::Relaxed);
        if rest > 0 {
            std::thread::sleep(Duration::from_nanos(rest));
        }
        self.asleep_since.store(self.elapsed(), Ordering::Relaxed);
    }

    /// When events have come.
    pub(super) fn after_wait(&self) {
        let waited = self
            .elapsed()
            .saturating_sub(self.asleep_since.load(Ordering::Relaxed));
        let rest = self.rest.load(Ordering::Relaxed);
        self.rest.store(next_rest(rest, waited), Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        nanos(self.start.elapsed())
    }
}

/// The next rest after one of `rest` and a wait of `waited`, in nanoseconds.
fn next_rest(rest: u64, waited: u64) -> u64 {
    if waited < nanos(AT_ONCE) {
        (rest * 2).clamp(nanos(SHORTEST), nanos(LONGEST))
    } else if waited > nanos(LONGEST) {
        0
    } else {
        rest / 2
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(count: u64) -> u64 {
        count * 1000
    }

    #[test]
    fn the_rest_grows_while_work_is_waiting_and_has_a_limit() {
        let mut rest = 0;
        for expected in [25, 50, 100, 200, 200] {
            rest = next_rest(rest, micros(1));
            assert_eq!(rest, micros(expected));
        }
    }

    #[test]
    fn it_shrinks_when_work_comes_slower_and_ends_when_none_comes() {
        assert_eq!(next_rest(micros(200), micros(100)), micros(100));
        assert_eq!(next_rest(micros(200), micros(201)), 0);
        assert_eq!(next_rest(0, micros(100)), 0);
    }
}
