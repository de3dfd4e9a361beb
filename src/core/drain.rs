//! Letting app workers finish what they have before they are ended.
//!
//! A worker in which `lib/worker_preload.js` runs says so when it starts. To drain it, the
//! master takes it out of all schedulers and then asks it, on the same channel that brings
//! connections: so whatever it was given before, it has before it starts to count. It tells
//! how much it still serves, and the master decides when it is enough. Then it ends in the
//! usual way: SIGTERM, a grace period, SIGKILL.
//!
//! Closing first hands out all that the kernel has accepted on the public listeners, then
//! closes them, so that new clients are refused, and then drains all workers at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::event::{ChildId, DrainLimits, Event, Frame, ListenerId, Output, WorkerState};
use super::lifecycle::Phase;
use super::timer::Timer;
use super::workers::EndReason;
use super::{Core, millis};
use crate::ipc::encode;
use crate::ipc::message::InUse;

/// How often a listener is emptied again while the newest clients have not been looked at. More may come
/// each time.
const LAST_LOOKS: u32 = 4;

/// The workers that drain, and what has to be done before all of them do.
#[derive(Debug, Default)]
pub(super) struct Drains {
    by_worker: BTreeMap<u32, Drain>,
    /// Closing waits for what the kernel holds at these listeners, which has been asked for again so
    /// many times.
    emptying: BTreeMap<ListenerId, u32>,
}

/// A worker that drains.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drain {
    pub(super) since: Instant,
    /// What it has told last.
    pub(super) in_use: Option<InUse>,
}

impl Drains {
    pub(super) fn has(&self, child: ChildId) -> bool {
        matches!(child, ChildId::App(id) if self.by_worker.contains_key(&id))
    }

    pub(super) fn of(&self, id: u32) -> Option<&Drain> {
        self.by_worker.get(&id)
    }
}

impl Drain {
    /// It has finished, or has had its time.
    fn is_over(&self, limits: DrainLimits, elapsed: Duration) -> bool {
        match self.in_use {
            // It does not even react: there is nothing to wait longer for.
            None => elapsed >= limits.timeout,
            Some(in_use) => {
                let is_served = in_use.requests == 0 && in_use.connections == 0;
                (is_served || elapsed >= limits.timeout)
                    && (in_use.upgraded == 0 || elapsed >= limits.websocket_timeout)
            }
        }
    }
}

impl Core {
    pub(super) fn on_can_drain(&mut self, id: u32) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.can_drain = true;
        }
    }

    /// It knows how to, it may, and it could have something to finish.
    pub(super) fn can_drain(&self, id: u32) -> bool {
        self.settings.drain.is_some()
            && self.workers.get(id).is_some_and(|worker| {
                worker.can_drain && worker.state == WorkerState::Listening && worker.pid.is_some()
            })
    }

    /// Asks a worker to finish. The caller has seen to it that it gets no more connections,
    /// and has said why it ends.
    pub(super) fn begin_drain(&mut self, now: Instant, id: u32) {
        let Some(limits) = self.settings.drain else {
            return;
        };
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        // It must not be given a listener any more, as if it had been asked to disconnect.
        worker.exited_after_disconnect |= worker.ending.is_some_and(EndReason::drains);
        let child = ChildId::App(id);
        self.send(
            child,
            Frame::Message {
                head: Bytes::from_static(encode::DRAIN),
                tail: Bytes::new(),
            },
        );
        let drain = Drain {
            since: now,
            in_use: None,
        };
        self.drains.by_worker.insert(id, drain);
        let first = limits.timeout.min(limits.websocket_timeout);
        self.timers.set(Timer::Drain(child), now + first);
    }

    /// The worker tells what it still serves.
    pub(super) fn on_draining(&mut self, now: Instant, id: u32, in_use: InUse) {
        if let Some(drain) = self.drains.by_worker.get_mut(&id) {
            drain.in_use = Some(in_use);
            self.advance_drain(now, id);
        }
    }

    /// A limit has been reached: of a drain, or of a worker that was retired without one.
    pub(super) fn on_drain_time(&mut self, now: Instant, child: ChildId) {
        match child {
            ChildId::App(id) if self.drains.has(child) => self.advance_drain(now, id),
            _ => self.terminate_retired(now, child),
        }
    }

    fn advance_drain(&mut self, now: Instant, id: u32) {
        let Some(limits) = self.settings.drain else {
            return;
        };
        let Some(drain) = self.drains.by_worker.get(&id).copied() else {
            return;
        };
        let elapsed = now - drain.since;
        if drain.is_over(limits, elapsed) {
            self.report_drain(id, drain, elapsed);
            self.finish_drain(now, id);
            return;
        }
        let limits = [limits.timeout, limits.websocket_timeout];
        if let Some(next) = limits.into_iter().filter(|&limit| limit > elapsed).min() {
            self.timers
                .set(Timer::Drain(ChildId::App(id)), drain.since + next);
        }
    }

    fn report_drain(&mut self, id: u32, drain: Drain, elapsed: Duration) {
        let Some(pid) = self.workers.get(id).and_then(|worker| worker.pid) else {
            return;
        };
        let elapsed_ms = millis(elapsed);
        self.emit(if drain.in_use == Some(InUse::default()) {
            Event::AppDrained {
                id,
                pid,
                elapsed_ms,
            }
        } else {
            let open = |in_use: InUse| in_use.connections.saturating_add(in_use.upgraded);
            Event::DrainTimedOut {
                id,
                pid,
                elapsed_ms,
                requests: drain.in_use.map(|in_use| in_use.requests),
                connections: drain.in_use.map(open),
            }
        });
    }

    fn finish_drain(&mut self, now: Instant, id: u32) {
        self.drains.by_worker.remove(&id);
        let child = ChildId::App(id);
        self.timers.cancel(Timer::Drain(child));
        self.begin_ending(now, child, self.settings.app_close_timeout);
    }

    /// The channel of a worker has closed: if it was draining, nothing more can be heard of it.
    pub(super) fn on_drain_disconnected(&mut self, now: Instant, id: u32) {
        if self.drains.has(ChildId::App(id)) {
            self.finish_drain(now, id);
        }
    }

    /// The apps' part of closing. Workers that cannot drain end at once. The others first
    /// get what the kernel has accepted already.
    pub(super) fn close_apps(&mut self, now: Instant) {
        let (draining, ending): (Vec<u32>, Vec<u32>) = self
            .workers
            .ids()
            .filter(|&id| !self.drains.has(ChildId::App(id)))
            .partition(|&id| self.may_drain_at_close(id));
        for id in ending {
            self.stop_offering(id);
            self.end_worker(now, id, EndReason::Close);
            self.take_back_sticky_queue(now, id);
        }
        if !draining.is_empty() {
            self.drains.emptying = self.accepted_on().map(|id| (id, 0)).collect();
        }
        for listener in self.drains.emptying.keys().copied().collect::<Vec<_>>() {
            self.output(Output::AcceptRest { listener });
        }
        self.drain_apps_if_emptied(now);
    }

    /// Retired workers that do not drain are on their way out already.
    fn may_drain_at_close(&self, id: u32) -> bool {
        let is_retired = |worker: &super::workers::Worker| worker.ending.is_some();
        self.can_drain(id) && !self.workers.get(id).is_none_or(is_retired)
    }

    /// The driver has accepted all that waited.
    pub(super) fn on_accepted_rest(&mut self, now: Instant, listener: ListenerId) {
        let unseen = self.sticky.listener == Some(listener) && self.peeking.has_unseen();
        match self.drains.emptying.get_mut(&listener) {
            Some(rounds) if unseen && *rounds < LAST_LOOKS => {
                // What the newest have sent already is told before this is answered.
                *rounds += 1;
                self.output(Output::AcceptRest { listener });
            }
            Some(_) => {
                self.drains.emptying.remove(&listener);
                self.drain_apps_if_emptied(now);
            }
            None => {}
        }
    }

    fn accepted_on(&self) -> impl Iterator<Item = ListenerId> + use<> {
        let listeners = self.listeners.accepted_on();
        listeners.into_iter().chain(self.sticky.listener)
    }

    fn drain_apps_if_emptied(&mut self, now: Instant) {
        if self.phase != Phase::ClosingApps || !self.drains.emptying.is_empty() {
            return;
        }
        // All at the end: while one was emptied, others went on to accept.
        for listener in self.accepted_on() {
            self.hand_out_all(now, listener);
        }
        self.close_all_listeners();
        for id in self.workers.ids().collect::<Vec<_>>() {
            if self.may_drain_at_close(id) {
                if let Some(worker) = self.workers.get_mut(id) {
                    worker.ending = Some(EndReason::Close);
                }
                self.begin_drain(now, id);
            } else if !self.drains.has(ChildId::App(id)) {
                // Its channel has closed since.
                self.end_worker(now, id, EndReason::Close);
            }
        }
    }
}
