//! Replacing the app workers without a gap: a new worker is started above the number, and
//! when it has been ready for a while the old one of its slot drains and ends. In production
//! one slot at a time; elsewhere all at once and without waiting, for there speed matters
//! more than memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::agent_reload::AgentStage;
use super::event::{ChildId, Event, ForkReason, Frame};
use super::lifecycle::Phase;
use super::timer::Timer;
use super::workers::{EndReason, Worker};
use super::{Core, millis};
use crate::ipc::encode;

/// How long a new worker must be ready in production before the old one of its slot goes.
const PROBATION: Duration = Duration::from_secs(1);

/// The reloads so far, restarts of single slots among them.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    /// The number of the newest.
    pub(super) newest: u64,
    pub(super) done: u64,
    pub(super) failed: u64,
    pub(super) last: Option<Over>,
}

/// How the last reload ended.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) number: u64,
    pub(super) slot: Option<u32>,
    /// Why the old workers go on serving, if they do.
    pub(super) failure: Option<String>,
    pub(super) took: Duration,
    pub(super) at: Instant,
}

/// A reload under way.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) number: u64,
    /// Only this slot is replaced.
    pub(super) slot: Option<u32>,
    pub(super) started_at: Instant,
    /// Slots still to be replaced.
    pub(super) todo: VecDeque<u32>,
    /// New workers that are not ready yet, or not for long enough, with their slots.
    pub(super) incoming: BTreeMap<u32, u32>,
    /// Old workers on their way out.
    pub(super) outgoing: BTreeSet<u32>,
    /// The agent is replaced first.
    pub(super) agent: Option<AgentStage>,
    /// Workers that were forked since then need not be replaced.
    apps_since: Instant,
    /// Another reload was asked for meanwhile.
    pub(super) again: bool,
    /// One of those who asked wants the agent to be replaced, too.
    again_with_agent: bool,
}

impl Core {
    /// Replaces all app workers, on request the agent before them; a request during a reload is queued once.
    pub(super) fn request_reload(&mut self, now: Instant, with_agent: bool) {
        if self.phase != Phase::Running {
            return;
        }
        if let Some(reload) = &mut self.reload {
            reload.again = true;
            reload.again_with_agent |= with_agent;
            return;
        }
        self.start_reload(now, None);
        if with_agent {
            self.replace_agent(now);
        } else {
            self.advance_reload(now);
        }
    }

    /// Replaces the worker of one slot. Nothing else is being replaced.
    pub(super) fn restart_slot(&mut self, now: Instant, slot: u32) {
        self.start_reload(now, Some(slot));
        self.advance_reload(now);
    }

    fn start_reload(&mut self, now: Instant, slot: Option<u32>) {
        self.reloads.newest += 1;
        let number = self.reloads.newest;
        let todo: VecDeque<u32> = match slot {
            Some(slot) => [slot].into(),
            None => (0..self.workers.slot_count()).collect(),
        };
        let workers = u32::try_from(todo.len()).unwrap_or(u32::MAX);
        self.reload = Some(Reload {
            number,
            slot,
            started_at: now,
            todo,
            incoming: BTreeMap::new(),
            outgoing: BTreeSet::new(),
            agent: None,
            apps_since: now,
            again: false,
            again_with_agent: false,
        });
        if self.settings.production {
            self.end_all_waiting(now);
        }
        self.emit(Event::ReloadStarted {
            workers,
            number,
            slot,
        });
    }

    /// Takes note of how a reload has ended, and tells it.
    pub(super) fn report_reload(&mut self, now: Instant, over: &Reload, failure: Option<String>) {
        let (number, slot, took) = (over.number, over.slot, now - over.started_at);
        self.reloads.last = Some(Over {
            number,
            slot,
            failure: failure.clone(),
            took,
            at: now,
        });
        self.emit(match failure {
            None => Event::ReloadDone {
                elapsed_ms: millis(took),
                number,
                slot,
            },
            Some(reason) => Event::ReloadFailed {
                reason,
                number,
                slot,
            },
        });
        match &self.reloads.last {
            Some(Over { failure: None, .. }) => self.reloads.done += 1,
            _ => self.reloads.failed += 1,
        }
    }

    /// The new agent has started: replaces the app workers that were forked before.
    pub(super) fn reload_apps(&mut self, now: Instant) {
        if let Some(reload) = &mut self.reload {
            reload.apps_since = now;
        }
        self.advance_reload(now);
    }

    /// A reload is over: does the next one, if one was asked for.
    pub(super) fn reload_again(&mut self, now: Instant, over: &Reload) {
        if over.again {
            self.request_reload(now, over.again_with_agent);
        }
    }

    /// A new worker for this slot is on its way.
    pub(super) fn is_replacing(&self, slot: u32) -> bool {
        let has_slot = |reload: &Reload| reload.incoming.values().any(|&incoming| incoming == slot);
        self.reload.as_ref().is_some_and(has_slot)
    }

    /// The start or a reload cannot go on before this worker is ready, or gone.
    pub(super) fn is_awaited(&self, id: u32) -> bool {
        let is_incoming = |reload: &Reload| reload.incoming.contains_key(&id);
        let is_ready = |worker: &Worker| worker.ready;
        !self.workers.get(id).is_some_and(is_ready) || self.reload.as_ref().is_some_and(is_incoming)
    }

    fn advance_reload(&mut self, now: Instant) {
        let surge = if self.settings.production || self.settings.threads {
            1
        } else {
            self.workers.slot_count() as usize
        };
        while let Some((slot, started_at)) = self.next_slot(surge) {
            let current = self
                .workers
                .in_slot(slot)
                .and_then(|id| self.workers.get(id));
            if current.is_some_and(|worker| worker.forked_at > started_at) {
                // Its worker died and was forked anew since: it runs the new code already.
                continue;
            }
            let is_empty = current.is_none();
            if self.settings.threads && !is_empty {
                self.vacate(now, slot);
                continue;
            }
            self.timers.cancel(Timer::Refork(slot));
            let id = self.fork_worker(now, slot, ForkReason::Reload);
            if is_empty {
                self.workers.put_in_slot(slot, Some(id));
            }
            if let Some(reload) = &mut self.reload {
                reload.incoming.insert(id, slot);
            }
        }
        self.finish_reload(now);
    }

    /// Ends the thread of a slot, which comes again when it is empty: two threads of one slot
    /// cannot have its port at the same time.
    fn vacate(&mut self, now: Instant, slot: u32) {
        let Some(old) = self.workers.in_slot(slot) else {
            return;
        };
        if let Some(reload) = &mut self.reload {
            reload.todo.push_front(slot);
            reload.outgoing.insert(old);
        }
        self.workers.put_in_slot(slot, None);
        self.end_worker(now, old, EndReason::Reload);
    }

    fn next_slot(&mut self, surge: usize) -> Option<(u32, Instant)> {
        let reload = self
            .reload
            .as_mut()
            .filter(|reload| reload.incoming.len() + reload.outgoing.len() < surge)?;
        Some((reload.todo.pop_front()?, reload.apps_since))
    }

    fn finish_reload(&mut self, now: Instant) {
        let done = |reload: &mut Reload| {
            reload.todo.is_empty() && reload.incoming.is_empty() && reload.outgoing.is_empty()
        };
        if let Some(reload) = self.reload.take_if(done) {
            self.report_reload(now, &reload, None);
            self.reload_again(now, &reload);
            self.await_spare(now);
        }
    }

    /// A new worker is ready. It serves already; whether it lasts is seen before the old one
    /// of its slot goes.
    pub(super) fn on_reload_worker_ready(&mut self, now: Instant, id: u32) {
        let reload = self.reload.as_ref();
        let Some(&slot) = reload.and_then(|reload| reload.incoming.get(&id)) else {
            return;
        };
        let serves = |id| self.workers.get(id).is_some_and(Worker::serves);
        let replaces = self
            .workers
            .in_slot(slot)
            .is_some_and(|old| old != id && serves(old));
        let is_doomed = self.workers.get(id).is_some_and(|worker| worker.doomed);
        if replaces && (self.settings.production || is_doomed) {
            self.ping_newcomer(now, id);
            self.timers.set(Timer::Probation(id), now + PROBATION);
        } else {
            self.promote(now, id);
        }
    }

    /// The new worker has been ready for long enough. One that leaves already, or does not
    /// answer, does not replace one that serves: it is waited for, and the watchdog ends it if
    /// it hangs. One that has lost its channel never serves: the reload fails when it ends.
    pub(super) fn end_probation(&mut self, now: Instant, id: u32) {
        let slot = self
            .reload
            .as_ref()
            .and_then(|reload| reload.incoming.get(&id));
        let (Some(&slot), Some(new)) = (slot, self.workers.get(id)) else {
            return;
        };
        let old = self
            .workers
            .in_slot(slot)
            .and_then(|id| self.workers.get(id));
        let may_replace = if old.is_some_and(Worker::serves) {
            new.serves() && new.pulse.answers() && !new.doomed
        } else {
            new.is_connected()
        };
        if may_replace {
            self.promote(now, id);
        } else {
            self.timers.set(Timer::Probation(id), now + PROBATION);
        }
    }

    /// A new worker takes its slot, and the old one drains.
    fn promote(&mut self, now: Instant, id: u32) {
        let Some(reload) = &mut self.reload else {
            return;
        };
        let Some(slot) = reload.incoming.remove(&id) else {
            return;
        };
        let old = self.workers.in_slot(slot).filter(|&old| old != id);
        self.workers.put_in_slot(slot, Some(id));
        if let Some(old) = old {
            reload.outgoing.insert(old);
            self.retire(now, old, EndReason::Reload);
        }
        self.offer_held_sticky(now);
        self.advance_reload(now);
    }

    /// A worker is reaped: the next slot may have been waiting for it.
    pub(super) fn on_reload_worker_left(&mut self, now: Instant, id: u32) {
        if let Some(reload) = &mut self.reload
            && reload.outgoing.remove(&id)
        {
            self.advance_reload(now);
        }
    }

    /// A new worker has ended before it was ready: the reload stops, the old set serves on.
    /// Says whether it was one of a reload.
    pub(super) fn on_reload_worker_gone(&mut self, now: Instant, id: u32, reason: &str) -> bool {
        let Some(reload) = self
            .reload
            .take_if(|reload| reload.incoming.contains_key(&id))
        else {
            return false;
        };
        let slot = reload.incoming.get(&id).copied().unwrap_or_default();
        let number = self.workers.number(id, slot);
        let failure = format!("the new worker app_worker#{number} failed: {reason}");
        self.report_reload(now, &reload, Some(failure));
        for (&other, &slot) in &reload.incoming {
            if self.workers.get(other).is_some() && self.workers.in_slot(slot) != Some(other) {
                self.leave_listeners(now, other);
                self.end_worker(now, other, EndReason::Reload);
            }
            if self.reforks() && self.workers.in_slot(slot).is_none() {
                // Its old worker died meanwhile, or had to make room.
                self.timers.set_if_idle(Timer::Refork(slot), now);
            }
        }
        self.reload_again(now, &reload);
        self.await_spare(now);
        true
    }

    /// Takes a worker out of service: no new connection, time to finish what it has, then
    /// the usual end.
    pub(super) fn retire(&mut self, now: Instant, id: u32, reason: EndReason) {
        let sticky = self.settings.sticky_port.is_some();
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.ending = Some(reason);
        let child = ChildId::App(id);
        self.leave_listeners(now, id);
        self.take_back_sticky_queue(now, id);
        if self.can_drain(id) {
            self.begin_drain(now, id);
            return;
        }
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if !worker.is_connected() || (sticky && !self.settings.production) {
            self.terminate_retired(now, child);
            return;
        }
        if !sticky {
            // Node closes the servers, waits for their connections and disconnects. With
            // sticky connections, which belong to no server, it would not wait.
            worker.exited_after_disconnect = true;
            let head = encode::disconnect(worker.take_seq());
            self.send(
                child,
                Frame::Message {
                    head,
                    tail: bytes::Bytes::new(),
                },
            );
        }
        self.timers
            .set(Timer::Drain(child), now + self.settings.app_close_timeout);
    }

    /// A retired worker has closed its channel: it has nothing left to finish.
    pub(super) fn on_retired_disconnected(&mut self, now: Instant, id: u32) {
        let ending = self.workers.get(id).and_then(|worker| worker.ending);
        if ending.is_some_and(EndReason::drains) {
            self.terminate_retired(now, ChildId::App(id));
        }
    }

    pub(super) fn terminate_retired(&mut self, now: Instant, child: ChildId) {
        self.timers.cancel(Timer::Drain(child));
        self.begin_ending(now, child, self.settings.app_close_timeout);
    }
}
