//! What a service manager such as systemd is told: whether the cluster is ready, reloads or
//! ends, in a few words how it stands, how much longer something may take, and that it lives.
//!
//! The state is derived from the cluster after each input that has emitted an event, so that no
//! other part has to think of it. A sign of life comes every half of the time that the service manager
//! allows between two. It says that this core turns, and that requests are served or are not to be:
//! when no worker that answers is left it is held back, and comes as soon as there is one again.

use std::time::{Duration, Instant};

use super::Core;
use super::event::{Event, Notice, Output, ServiceSettings, ServiceState};
use super::lifecycle::Phase;
use super::reload::Reload;
use super::timer::Timer;
use super::workers::Worker;

/// Added to every time that is asked for: what reaping and the last events may take.
const MARGIN: Duration = Duration::from_secs(5);
/// How long the next step of a reload may take, beside the end of the old worker.
const BOOT_TIME: Duration = Duration::from_secs(60);

/// What the service manager knows.
#[derive(Debug, Default)]
pub(super) struct Service {
    told: ServiceState,
    status: String,
    /// Something has happened since the last look.
    stirred: bool,
    /// A sign of life was due while nobody served.
    owes_sign: bool,
}

impl Service {
    /// Takes note that something has happened. Messages change nothing, and are many.
    pub(super) fn note(&mut self, event: &Event) {
        self.stirred |= !matches!(event, Event::Message { .. } | Event::ToParent { .. });
    }
}

impl Core {
    /// A sign of life is due.
    pub(super) fn give_sign_of_life(&mut self, now: Instant) {
        let settings = self.settings.service;
        let Some(interval) = settings.and_then(ServiceSettings::sign_interval) else {
            return;
        };
        self.timers.set(Timer::SignOfLife, now + interval);
        self.service.owes_sign = !self.is_in_order();
        if !self.service.owes_sign {
            self.output(Output::Notify(Notice::Alive));
        }
    }

    /// After each input: tells what has changed.
    pub(super) fn inform_service_manager(&mut self, now: Instant) {
        if self.settings.service.is_none() || !std::mem::take(&mut self.service.stirred) {
            return;
        }
        if matches!(self.phase, Phase::Idle | Phase::Closed) {
            return;
        }
        let (state, status) = (self.service_state(), self.service_status());
        let has_changed = state != self.service.told;
        if has_changed || status != self.service.status {
            self.service.told = state;
            self.service.status.clone_from(&status);
            self.output(Output::Notify(Notice::State {
                change: has_changed.then_some(state),
                status,
                extend: self.time_for_the_next_step(),
            }));
        }
        if self.service.owes_sign && self.is_in_order() {
            self.give_sign_of_life(now);
        }
    }

    fn service_state(&self) -> ServiceState {
        match self.phase {
            Phase::Idle | Phase::Starting | Phase::Opening => ServiceState::Starting,
            Phase::Running => match &self.reload {
                Some(Reload {
                    slot: None, number, ..
                }) => ServiceState::Reloading { number: *number },
                _ => ServiceState::Ready,
            },
            _ => ServiceState::Stopping,
        }
    }

    fn service_status(&self) -> String {
        let slots = self.workers.slot_count();
        let ready = (0..slots)
            .filter(|&slot| self.workers.serves_in_slot(slot))
            .count();
        let workers = format!("{ready} of {slots} workers ready");
        match self.phase {
            Phase::Idle | Phase::Starting if !self.agent.is_started() => {
                "starting: waiting for the agent".to_owned()
            }
            Phase::Idle | Phase::Starting => format!("starting: {workers}"),
            Phase::Opening => "starting: opening the public port".to_owned(),
            Phase::Running => self.running_status(&workers),
            Phase::ClosingApps => {
                let left = self.workers.ids().count();
                format!("closing: {left} of the app workers left")
            }
            Phase::ClosingAgent => "closing: waiting for the agent".to_owned(),
            Phase::Failing { code } => format!("failed, exiting with code {code}"),
            Phase::Closed => "closed".to_owned(),
        }
    }

    fn running_status(&self, workers: &str) -> String {
        let doing = match &self.reload {
            Some(Reload {
                slot: Some(slot), ..
            }) => Some(format!("restarting slot {slot}")),
            Some(reload) if reload.agent.is_some() => Some("reloading: the agent".to_owned()),
            Some(reload) => {
                let slots = self.workers.slot_count() as usize;
                let replaced = slots.saturating_sub(reload.todo.len() + reload.incoming.len());
                Some(format!("reloading: {replaced} of {slots} replaced"))
            }
            None if self.paused => Some("paused".to_owned()),
            None => None,
        };
        let last = self.reloads.last.as_ref().filter(|_| doing.is_none());
        let failure = last.and_then(|over| over.failure.as_ref());
        match (doing, failure) {
            (Some(doing), _) => format!("{doing}, {workers}"),
            (None, Some(failure)) => format!("{workers}, the last reload failed: {failure}"),
            (None, None) => workers.to_owned(),
        }
    }

    /// How long the service manager should wait for what comes next. What ends has a limit of its
    /// own; a reload is asked for at each of its steps.
    fn time_for_the_next_step(&self) -> Option<Duration> {
        let apps = || self.longest_drain() + self.settings.app_close_timeout;
        let agent = self.settings.agent_close_timeout;
        let step = match (self.phase, &self.reload) {
            (Phase::Running, Some(_)) => BOOT_TIME + apps() + agent,
            // The agent's time is asked for together with that of the apps: nothing may be told in between.
            (Phase::ClosingApps, _) => apps() + agent,
            (Phase::ClosingAgent, _) => agent,
            (Phase::Failing { .. }, _) => agent.max(self.settings.app_close_timeout),
            _ => return None,
        };
        Some(step + MARGIN)
    }

    fn longest_drain(&self) -> Duration {
        let drain = self.settings.drain;
        drain.map_or(Duration::ZERO, |it| it.timeout.max(it.websocket_timeout))
    }

    /// Requests are served, or nobody expects them to be.
    fn is_in_order(&self) -> bool {
        let answers = |worker: &Worker| worker.serves() && !worker.pulse.is_stuck();
        self.phase != Phase::Running
            || self.paused
            || self.workers.iter().any(|(_, worker)| answers(worker))
    }
}

impl ServiceSettings {
    /// Half of the time that may pass between two signs of life, as is the custom.
    fn sign_interval(self) -> Option<Duration> {
        let half = self.watchdog? / 2;
        Some(half.max(Duration::from_millis(1)))
    }
}
