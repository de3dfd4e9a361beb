//! The phases of a master: start, ready, and what to do when a start fails or nobody lives.

use std::time::{Duration, Instant};

use super::event::{ChildId, Event, Output, Signal, WorkerAddress};
use super::timer::Timer;
use super::{Core, millis};
use crate::ipc::envelope;

/// Where the master is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has been started.
    Idle,
    /// The agent, or the app workers, are not ready yet.
    Starting,
    /// In sticky mode: all workers are ready, the public port is being opened.
    Opening,
    /// Serving.
    Running,
    /// The app workers are being ended.
    ClosingApps,
    /// The agent is being ended.
    ClosingAgent,
    /// All channels are closed, the children are leaving; then the master exits.
    Failing {
        /// With this code.
        code: i32,
    },
    /// Nothing is left.
    Closed,
}

impl Phase {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Idle | Self::Starting | Self::Opening => "starting",
            Self::Running => "running",
            Self::ClosingApps | Self::ClosingAgent | Self::Failing { .. } => "closing",
            Self::Closed => "closed",
        }
    }

    /// The end has begun: nothing is started any more.
    pub(super) fn is_ending(self) -> bool {
        matches!(
            self,
            Self::ClosingApps | Self::ClosingAgent | Self::Failing { .. } | Self::Closed
        )
    }
}

const CHECK_INTERVAL: Duration = Duration::from_secs(10);
const CHECK_STRIKES: u32 = 3;

impl Core {
    /// Forks the agent; the app workers follow when it is ready.
    pub(super) fn start(&mut self, now: Instant) {
        if self.phase == Phase::Idle {
            self.phase = Phase::Starting;
            self.started_at = Some(now);
            self.start_watchdog(now);
            self.give_sign_of_life(now);
            self.fork_agent(now);
            self.prestart_workers();
        }
    }

    /// All app workers listen: open the public port of sticky mode, or be ready at once.
    pub(super) fn on_all_started(&mut self, now: Instant) {
        self.workers.all_started = true;
        self.refill_slots(now);
        if self.settings.sticky_port.is_some() {
            self.phase = Phase::Opening;
            self.open_sticky_listener();
        } else {
            self.become_ready(now);
        }
    }

    /// The address of the application is that of a worker, which has just become ready.
    pub(super) fn set_public_address(&mut self, address: &WorkerAddress) {
        let port = if self.settings.sticky_port.is_some() {
            self.public.port
        } else {
            address.port.and_then(|port| u16::try_from(port).ok())
        };
        self.public.address = if address.address_type == -1 {
            address.address.clone().unwrap_or_default()
        } else {
            let host = address
                .address
                .as_deref()
                .or_else(|| {
                    self.settings
                        .host
                        .as_deref()
                        .filter(|&host| host != "0.0.0.0")
                })
                .filter(|host| !host.is_empty())
                .unwrap_or("127.0.0.1");
            let port = port.map_or_else(String::new, |port| format!(":{port}"));
            if host.contains(':') {
                format!("{}://[{host}]{port}", self.public.protocol)
            } else {
                format!("{}://{host}{port}", self.public.protocol)
            }
        };
    }

    /// The application serves: tell everybody.
    pub(super) fn become_ready(&mut self, now: Instant) {
        self.phase = Phase::Running;
        let elapsed = self.started_at.map_or(Duration::ZERO, |at| now - at);
        self.emit(Event::Ready {
            port: self.public.port,
            protocol: self.public.protocol.clone(),
            address: self.public.address.clone(),
            elapsed_ms: millis(elapsed),
        });
        self.report_unused_sockets();
        let data = self.ready_data();
        self.tell_parent("egg-ready", Some(&data));
        let ready = self.egg_ready("app");
        self.tell_apps(&ready);
        let ready = self.egg_ready("agent");
        self.tell_agent(&ready);
        if self.settings.production {
            self.timers.set(Timer::Check, now + CHECK_INTERVAL);
        }
        self.begin_spares(now);
    }

    /// `data` of the `egg-ready` that the parent gets, as JSON. Absent keys are left out.
    fn ready_data(&self) -> String {
        let mut data = serde_json::Map::new();
        if let Some(port) = self.public.port {
            data.insert("port".into(), port.into());
        }
        if let Some(port) = self.settings.debug_port {
            data.insert("debugPort".into(), port.into());
        }
        data.insert("address".into(), self.public.address.clone().into());
        data.insert("protocol".into(), self.public.protocol.clone().into());
        serde_json::Value::Object(data).to_string()
    }

    /// The `egg-ready` of a worker: its data are the options.
    pub(super) fn egg_ready(&self, to: &str) -> crate::ipc::message::UserMessage {
        let options = std::str::from_utf8(&self.settings.options).ok();
        envelope::build("master", to, "egg-ready", options)
    }

    /// Gives up: all channels are closed, so that the children leave as they do when a
    /// master exits; those that stay are killed.
    pub(super) fn fail(&mut self, now: Instant) {
        self.fail_with(now, 1);
    }

    /// Gives up with an exit code.
    pub(super) fn fail_with(&mut self, now: Instant, code: i32) {
        if self.phase.is_ending() {
            return;
        }
        self.phase = Phase::Failing { code };
        self.reload = None;
        let stays = |timer: &Timer| {
            matches!(
                timer,
                Timer::Kill(_) | Timer::Descendants(_) | Timer::SignOfLife
            )
        };
        self.timers.cancel_where(|timer| !stays(timer));
        self.close_all_listeners();
        self.release_all_recent();
        let grace = self
            .settings
            .app_close_timeout
            .max(self.settings.agent_close_timeout);
        self.timers.set(Timer::FailDeadline, now + grace);
        for child in self.living_children() {
            self.output(Output::Disconnect { child });
        }
        self.finish_failing();
    }

    /// The children had their time.
    pub(super) fn kill_all(&mut self) {
        for child in self.living_children() {
            self.output(Output::Signal {
                child,
                signal: Signal::Kill,
            });
        }
    }

    /// Ends a failed start when the last child is reaped.
    pub(super) fn finish_failing(&mut self) {
        if let Phase::Failing { code } = self.phase
            && self.living_children().is_empty()
            && !self.agent.spawning
            && !self.workers.any_spawning()
            && !self.waiting.any_spawning()
            && !self.any_ending()
        {
            self.finish(code);
        }
    }

    /// Nothing is left: the last event.
    pub(super) fn finish(&mut self, code: i32) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.timers.cancel_where(|_| true);
            self.close_all_listeners();
            self.close_checked();
            self.emit(Event::Closed { code });
        }
    }

    /// Every child that has a process.
    pub(super) fn living_children(&self) -> Vec<ChildId> {
        let agent = self.agent.child();
        agent
            .into_iter()
            .chain(self.workers.ids().map(ChildId::App))
            .chain(self.waiting.ids().map(ChildId::App))
            .collect()
    }

    /// Three bad rounds in a row, and the master gives up rather than half live. Who is
    /// absent only because its restart is delayed counts as there.
    pub(super) fn check_alive(&mut self, now: Instant) {
        let agent = u32::from(self.agent.is_started());
        let worker = u32::try_from(self.workers.ids().count()).unwrap_or(u32::MAX);
        let has_agent = agent > 0 || self.is_agent_delayed() || self.is_agent_being_replaced();
        if has_agent && (worker > 0 || self.is_worker_delayed()) {
            self.failed_checks = 0;
        } else {
            self.failed_checks += 1;
            if self.failed_checks >= CHECK_STRIKES {
                self.emit(Event::CheckFailed { agent, worker });
                self.fail(now);
                return;
            }
        }
        self.timers.set(Timer::Check, now + CHECK_INTERVAL);
    }
}
