//! How often workers may be restarted: so many within a window of time, as Erlang's
//! supervisors count. Beyond that a restart waits; it is never given up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Restarts per window; cfork's numbers.
const LIMIT: usize = 60;
const WINDOW: Duration = Duration::from_secs(60);

/// Remembers the restarts of the last window.
#[derive(Debug, Default)]
pub struct RestartIntensity {
    restarts: VecDeque<Instant>,
}

impl RestartIntensity {
    /// Counts a restart and says when it may happen: now, or at the instant returned.
    ///
    /// # Errors
    /// The moment before which no further restart is allowed; nothing is counted then.
    pub fn allow(&mut self, now: Instant) -> Result<(), Instant> {
        while self.restarts.front().is_some_and(|&at| at + WINDOW <= now) {
            self.restarts.pop_front();
        }
        match self.restarts.front() {
            Some(&oldest) if self.restarts.len() >= LIMIT => Err(oldest + WINDOW),
            _ => {
                self.restarts.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixty_first_restart_waits_for_the_first_to_be_a_minute_old() {
        let start = Instant::now();
        let mut intensity = RestartIntensity::default();
        for second in 0..60 {
            let now = start + Duration::from_millis(second);
            assert_eq!(intensity.allow(now), Ok(()));
        }
        let now = start + Duration::from_secs(1);
        assert_eq!(intensity.allow(now), Err(start + WINDOW));
        assert_eq!(intensity.allow(start + WINDOW), Ok(()));
        assert!(intensity.allow(start + WINDOW).is_err());
    }
}
