//! What differs where agent and app workers are threads of the master's process.
//!
//! A thread opens its port by itself, so nothing is bound or handed over here. Each slot has
//! a port of its own, unless the system spreads the connections of one port (`reusePort`).
//! So a thread cannot serve beside its successor, as a process can.

use std::time::{Duration, Instant};

use super::Core;

/// How long the slot of a dead thread stays empty at the least, as egg-cluster has it.
const REFORK_DELAY: Duration = Duration::from_secs(1);

impl Core {
    /// Dead app workers are replaced. Outside production, only threads are.
    pub(super) fn reforks(&self) -> bool {
        self.settings.production || self.settings.threads
    }

    pub(super) fn least_refork_delay(&self) -> Duration {
        if self.settings.threads {
            REFORK_DELAY
        } else {
            Duration::ZERO
        }
    }

    /// The application is known by the address of the worker in this slot. All processes have
    /// the same; of threads, the first speaks for all.
    pub(super) fn is_known_by(&self, slot: u32) -> bool {
        !self.settings.threads || slot == 0
    }

    /// Ends a worker that was to be ended before it existed: threads take their time to be made.
    pub(super) fn end_if_unwanted(&mut self, now: Instant, id: u32) {
        if let Some(reason) = self.workers.get(id).and_then(|worker| worker.ending) {
            self.end_worker(now, id, reason);
        }
    }
}
