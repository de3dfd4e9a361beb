//! Ending children: SIGTERM, a grace period, SIGKILL, descendants included; and closing
//! the whole cluster in order, the app workers first, then the agent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Core;
use super::event::{ChildId, Event, Output, Signal};
use super::lifecycle::Phase;
use super::millis;
use super::timer::Timer;
use super::workers::EndReason;

/// How often the descendants of an ended child are looked for.
const DESCENDANTS_INTERVAL: Duration = Duration::from_millis(50);

/// The children that are being ended, by the master's will.
#[derive(Debug, Default)]
pub(super) struct Endings {
    by_child: BTreeMap<ChildId, Ending>,
}

#[derive(Debug)]
struct Ending {
    since: Instant,
    role: &'static str,
    id: u32,
    pid: i32,
    /// The child is reaped; its descendants may live.
    exited: bool,
    /// SIGKILL has been sent.
    killed: bool,
}

impl Core {
    /// Sends SIGTERM; SIGKILL follows after `grace`.
    pub(super) fn begin_ending(&mut self, now: Instant, child: ChildId, grace: Duration) {
        let Some((role, id, pid)) = self.identify(child) else {
            return;
        };
        if self.is_ending(child) {
            return;
        }
        let ending = Ending {
            since: now,
            role,
            id,
            pid,
            exited: false,
            killed: false,
        };
        self.endings.by_child.insert(child, ending);
        self.output(Output::Signal {
            child,
            signal: Signal::Terminate,
        });
        self.timers.set(Timer::Kill(child), now + grace);
    }

    /// The channel of a child has closed. Usually it ends now. But if it lives on, and the agent's
    /// place, the start or a reload waits for it, it will never say that it is ready.
    pub(super) fn await_end_of_mute(&mut self, now: Instant, child: ChildId) {
        let grace = match child {
            ChildId::Agent(_) => self.settings.agent_close_timeout,
            ChildId::App(id) if self.is_awaited(id) => self.settings.app_close_timeout,
            ChildId::App(_) => return,
        };
        if !self.phase.is_ending() && !self.is_ending(child) {
            self.timers.set(Timer::Mute(child), now + grace);
        }
    }

    /// It has had the time to end by itself.
    pub(super) fn end_mute(&mut self, now: Instant, child: ChildId) {
        let grace = match child {
            ChildId::Agent(_) => self.settings.agent_close_timeout,
            ChildId::App(_) => self.settings.app_close_timeout,
        };
        self.begin_ending(now, child, grace);
    }

    /// Ends an app worker now, for the reason given.
    pub(super) fn end_worker(&mut self, now: Instant, id: u32, reason: EndReason) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.ending.get_or_insert(reason);
            self.begin_ending(now, ChildId::App(id), self.settings.app_close_timeout);
        }
    }

    /// The master has sent SIGTERM to this child.
    pub(super) fn is_ending(&self, child: ChildId) -> bool {
        self.endings.by_child.contains_key(&child)
    }

    /// Since when that is so.
    pub(super) fn ending_since(&self, child: ChildId) -> Option<Instant> {
        let ending = self.endings.by_child.get(&child)?;
        (!ending.exited).then_some(ending.since)
    }

    /// The grace period is over.
    pub(super) fn kill_ending(&mut self, now: Instant, child: ChildId) {
        let Some(ending) = self.endings.by_child.get_mut(&child) else {
            return;
        };
        ending.killed = true;
        let Ending {
            role,
            id,
            pid,
            exited,
            ..
        } = *ending;
        self.output(Output::Signal {
            child,
            signal: Signal::Kill,
        });
        self.emit(Event::Killed {
            role,
            id,
            pid,
            exited,
        });
        if exited {
            self.finish_ending(now, child);
        }
    }

    /// The child is reaped; what it started may still be there.
    pub(super) fn on_ending_exited(&mut self, now: Instant, child: ChildId) {
        let Some(ending) = self.endings.by_child.get_mut(&child) else {
            return;
        };
        ending.exited = true;
        if ending.killed {
            self.finish_ending(now, child);
        } else {
            self.output(Output::CountDescendants { child });
        }
    }

    pub(super) fn on_descendants(&mut self, now: Instant, child: ChildId, alive: usize) {
        if !self.is_ending(child) {
            return;
        }
        if alive == 0 {
            self.finish_ending(now, child);
        } else {
            self.timers
                .set(Timer::Descendants(child), now + DESCENDANTS_INTERVAL);
        }
    }

    fn finish_ending(&mut self, now: Instant, child: ChildId) {
        self.endings.by_child.remove(&child);
        self.timers.cancel(Timer::Kill(child));
        self.timers.cancel(Timer::Descendants(child));
        self.output(Output::ForgetDescendants { child });
        self.on_replaced_agent_ended(now, child);
        self.finish_what_ends(now);
    }

    /// Nothing that had to be awaited may be left.
    pub(super) fn finish_what_ends(&mut self, now: Instant) {
        self.advance_closing(now);
        self.finish_failing();
    }

    pub(super) fn any_ending(&self) -> bool {
        !self.endings.by_child.is_empty()
    }

    /// Ends everything: the app workers, then the agent.
    pub(super) fn close(&mut self, now: Instant) {
        if self.phase.is_ending() {
            return;
        }
        if self.phase == Phase::Idle {
            self.finish(0);
            return;
        }
        self.phase = Phase::ClosingApps;
        self.reload = None;
        let drains = &self.drains;
        self.timers.cancel_where(|timer| match timer {
            Timer::Kill(_) | Timer::Descendants(_) | Timer::ParentStall | Timer::SignOfLife => {
                false
            }
            Timer::Drain(child) => !drains.has(*child),
            _ => true,
        });
        self.release_all_recent();
        let timeout_ms = millis(self.settings.app_close_timeout);
        self.emit(Event::ClosingApps { timeout_ms });
        self.end_all_waiting(now);
        self.close_apps(now);
        self.advance_closing(now);
    }

    pub(super) fn advance_closing(&mut self, now: Instant) {
        let is_app = |child: &ChildId| matches!(child, ChildId::App(_));
        if self.phase == Phase::ClosingApps
            && self.workers.iter().next().is_none()
            && self.waiting.is_empty()
            && !self.endings.by_child.keys().any(is_app)
        {
            self.phase = Phase::ClosingAgent;
            let agent = self.agent.child();
            let timeout = self.settings.agent_close_timeout;
            let timeout_ms = millis(timeout);
            self.emit(Event::ClosingAgent {
                timeout_ms,
                alive: agent.is_some(),
            });
            if let Some(agent) = agent {
                self.begin_ending(now, agent, timeout);
            }
        }
        if self.phase == Phase::ClosingAgent
            && self.agent.child().is_none()
            && !self.agent.spawning
            && self.workers.iter().next().is_none()
            && self.waiting.is_empty()
            && self.endings.by_child.is_empty()
        {
            self.finish(0);
        }
    }

    /// A child whose process was made when the end had begun already, or when it was not
    /// wanted any more.
    pub(super) fn end_latecomer(&mut self, now: Instant, child: ChildId) {
        if let ChildId::App(id) = child
            && let Some(reason) = self.workers.get(id).and_then(|worker| worker.ending)
        {
            return self.end_worker(now, id, reason);
        }
        match (self.phase, child) {
            (Phase::ClosingApps | Phase::ClosingAgent, ChildId::App(id)) => {
                self.end_worker(now, id, EndReason::Close);
            }
            (Phase::ClosingAgent, ChildId::Agent(_)) => {
                self.begin_ending(now, child, self.settings.agent_close_timeout);
            }
            (Phase::Failing { .. }, _) => {
                self.output(Output::Disconnect { child });
                if !self.timers.is_set(Timer::FailDeadline) {
                    let signal = Signal::Kill;
                    self.output(Output::Signal { child, signal });
                }
            }
            _ => {}
        }
    }
}
