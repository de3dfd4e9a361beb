//! How many workers have been restarted lately: so many within a period, as Erlang's
//! supervisors count. Beyond the limit restarts are slowed down, all of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Remembers the restarts of the last period.
#[derive(Debug)]
pub struct RestartIntensity {
    limit: usize,
    period: Duration,
    restarts: VecDeque<Instant>,
    /// The limit has been passed, and that is reported.
    exceeded: bool,
}

/// What one more restart means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Within the limit.
    Within,
    /// The first beyond it: to be reported.
    JustExceeded,
    /// Beyond it, as others before.
    Exceeded,
}

impl RestartIntensity {
    /// Nothing has been restarted yet.
    pub fn new(limit: u32, period: Duration) -> Self {
        Self {
            limit: limit as usize,
            period,
            restarts: VecDeque::new(),
            exceeded: false,
        }
    }

    /// Counts a restart.
    pub fn count(&mut self, now: Instant) -> Level {
        self.forget_old(now);
        self.restarts.push_back(now);
        let was_exceeded = self.exceeded;
        self.exceeded = self.restarts.len() > self.limit;
        match (was_exceeded, self.exceeded) {
            (_, false) => Level::Within,
            (false, true) => Level::JustExceeded,
            (true, true) => {
                // One more than the limit is all that need be known.
                self.restarts.pop_front();
                Level::Exceeded
            }
        }
    }

    /// How many restarts there were within the last period; not more than one beyond the limit.
    pub fn recent(&self, now: Instant) -> usize {
        let is_recent = |&&at: &&Instant| at + self.period > now;
        self.restarts.iter().filter(is_recent).count()
    }

    /// How many there may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// In which time.
    pub fn period(&self) -> Duration {
        self.period
    }

    fn forget_old(&mut self, now: Instant) {
        while self
            .restarts
            .front()
            .is_some_and(|&at| at + self.period <= now)
        {
            self.restarts.pop_front();
        }
        if self.restarts.len() < self.limit {
            self.exceeded = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(60);

    #[test]
    fn the_sixty_first_restart_within_a_minute_exceeds_the_limit_and_is_told_once() {
        let start = Instant::now();
        let mut intensity = RestartIntensity::new(60, PERIOD);
        for number in 0..60 {
            let now = start + Duration::from_millis(number);
            assert_eq!(intensity.count(now), Level::Within);
        }
        assert_eq!(intensity.recent(start + Duration::from_secs(1)), 60);
        assert_eq!(intensity.recent(start + PERIOD), 59, "the first is too old");
        let now = start + Duration::from_secs(1);
        assert_eq!(intensity.count(now), Level::JustExceeded);
        for _ in 0..1000 {
            assert_eq!(intensity.count(now), Level::Exceeded);
        }
        assert_eq!(intensity.restarts.len(), 61);
    }

    #[test]
    fn old_restarts_do_not_count_and_a_new_stretch_is_told_again() {
        let start = Instant::now();
        let mut intensity = RestartIntensity::new(2, PERIOD);
        for _ in 0..2 {
            assert_eq!(intensity.count(start), Level::Within);
        }
        assert_eq!(intensity.count(start), Level::JustExceeded);
        let later = start + PERIOD;
        for _ in 0..2 {
            assert_eq!(intensity.count(later), Level::Within);
        }
        assert_eq!(intensity.count(later), Level::JustExceeded);
    }
}
