//! What operators ask for while the cluster runs.
//!
//! *Scaling.* More slots are forked at once. Fewer: the highest slots go, their workers drain
//! as those that a reload replaces. Of sticky mode the slots of most clients change with
//! their number.
//!
//! *Pausing.* Nothing is accepted any more: the kernel's queue holds what comes, and refuses or
//! drops what it has no room for. What has been accepted is served.

use std::time::Instant;

use super::Core;
use super::event::{Event, ForkReason, MAX_WORKERS, Refusal, Steer, Steered};
use super::lifecycle::Phase;
use super::timer::Timer;
use super::workers::{EndReason, Worker};

impl Core {
    /// Does what an operator asks for, or says why not. What follows are outputs, as ever.
    ///
    /// # Errors
    /// Where it cannot be done, or would leave nobody to serve. Nothing has changed then.
    pub fn steer(&mut self, now: Instant, wish: Steer) -> Result<Steered, Refusal> {
        let steered = self.obey(now, wish);
        self.inform_service_manager(now);
        steered
    }

    fn obey(&mut self, now: Instant, wish: Steer) -> Result<Steered, Refusal> {
        if wish == Steer::Stop {
            return Ok(self.stop(now));
        }
        if self.phase != Phase::Running {
            return Err(Refusal::NotRunning(self.phase.name()));
        }
        match wish {
            Steer::Reload { agent } => Ok(self.steer_reload(now, agent)),
            Steer::Restart { slot } => self.steer_restart(now, slot),
            Steer::Scale { workers } => self.scale(now, workers),
            Steer::Pause => self.pause(true),
            Steer::Resume => self.pause(false),
            Steer::Stop => Ok(self.stop(now)),
        }
    }

    /// An operator wants no new connections to be accepted.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    fn stop(&mut self, now: Instant) -> Steered {
        if self.phase.is_ending() {
            return Steered::Unchanged;
        }
        self.close(now);
        Steered::Done
    }

    /// During a reload, one more is done after it.
    fn steer_reload(&mut self, now: Instant, agent: bool) -> Steered {
        let number = self.reloads.newest + 1;
        self.request_reload(now, agent);
        Steered::Reload { number }
    }

    fn steer_restart(&mut self, now: Instant, slot: u32) -> Result<Steered, Refusal> {
        self.refuse_for_threads_and_reloads()?;
        let slots = self.workers.slot_count();
        if slot >= slots {
            let last = slots.saturating_sub(1);
            return Err(Refusal::NoSlot { slot, last });
        }
        let number = self.reloads.newest + 1;
        self.restart_slot(now, slot);
        Ok(Steered::Reload { number })
    }

    fn refuse_for_threads_and_reloads(&self) -> Result<(), Refusal> {
        if self.settings.threads {
            Err(Refusal::Threads)
        } else if self.reload.is_some() {
            Err(Refusal::Reloading)
        } else {
            Ok(())
        }
    }

    fn scale(&mut self, now: Instant, workers: u32) -> Result<Steered, Refusal> {
        if !(1..=MAX_WORKERS).contains(&workers) {
            return Err(Refusal::BadCount(workers));
        }
        self.refuse_for_threads_and_reloads()?;
        let before = self.workers.slot_count();
        if workers == before {
            return Ok(Steered::Unchanged);
        }
        if workers < before && self.would_serve_nobody(workers) {
            return Err(Refusal::NobodyLeft);
        }
        let gone = self.workers.resize(workers);
        self.restarts.resize(workers);
        self.sticky.slots = workers;
        self.emit(Event::Scaled {
            from: before,
            to: workers,
        });
        for slot in before..workers {
            let id = self.fork_worker(now, slot, ForkReason::Scale);
            self.workers.put_in_slot(slot, Some(id));
        }
        for slot in workers..before {
            self.timers.cancel(Timer::Refork(slot));
        }
        for id in gone {
            self.dismiss(now, id);
        }
        // Clients of slots that are empty or no more may have another one now.
        self.offer_held_sticky(now);
        self.note_readiness(now);
        Ok(Steered::Done)
    }

    /// Somebody serves, but none of the first slots does.
    fn would_serve_nobody(&self, slots: u32) -> bool {
        self.workers.any_ready() && !(0..slots).any(|slot| self.workers.serves_in_slot(slot))
    }

    /// The slot of this worker is no more.
    fn dismiss(&mut self, now: Instant, id: u32) {
        if self.workers.get(id).is_some_and(Worker::serves) {
            self.retire(now, id, EndReason::Scale);
        } else {
            self.leave_listeners(now, id);
            self.take_back_sticky_queue(now, id);
            self.end_worker(now, id, EndReason::Scale);
        }
    }

    fn pause(&mut self, paused: bool) -> Result<Steered, Refusal> {
        let accepts = self.sticky.listener.is_some() || !self.listeners.accepted_on().is_empty();
        if paused && !accepts {
            return Err(Refusal::NothingToPause);
        }
        if self.paused == paused {
            return Ok(Steered::Unchanged);
        }
        self.paused = paused;
        for listener in self.listeners.accepted_on() {
            self.regulate(listener);
        }
        self.regulate_sticky();
        self.emit(if paused {
            Event::Paused
        } else {
            Event::Resumed
        });
        Ok(Steered::Done)
    }
}
