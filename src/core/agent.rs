//! The agent: a plain child process that must be ready before the app workers are forked.

use std::time::{Duration, Instant};

use super::counters::Counters;
use super::event::{
    ChildId, Event, ExitStatus, LastExit, Output, SpawnSpec, WorkerState, WorkerView,
};
use super::lifecycle::Phase;
use super::restart::AGENT_DELAY;
use super::timer::Timer;
use super::watchdog::Pulse;
use super::workers::describe;
use super::{Core, millis};

/// The agent's place, with or without a process in it.
#[derive(Debug, Default)]
pub(super) struct AgentSlot {
    /// The number of the newest agent process; 0 before the first.
    id: u32,
    /// Its process id while it is not reaped.
    pid: Option<i32>,
    /// It is being forked.
    pub(super) spawning: bool,
    /// Its channel is open.
    pub(super) connected: bool,
    /// It has said `agent-start`.
    started: bool,
    pub(super) forked_at: Option<Instant>,
    pub(super) started_at: Option<Instant>,
    pub(super) pulse: Pulse,
    /// Of all agents so far.
    pub(super) counters: Counters,
}

impl AgentSlot {
    /// The agent, while it has a process.
    pub(super) fn child(&self) -> Option<ChildId> {
        self.pid.map(|_| ChildId::Agent(self.id))
    }

    /// The number of the newest agent.
    pub(super) fn newest(&self) -> u32 {
        self.id
    }

    pub(super) fn pid(&self) -> Option<i32> {
        self.pid
    }

    pub(super) fn pid_of(&self, id: u32) -> Option<i32> {
        self.pid.filter(|_| id == self.id)
    }

    pub(super) fn is_started(&self) -> bool {
        self.pid.is_some() && self.started
    }

    pub(super) fn view(&self) -> Option<WorkerView> {
        let state = match (self.connected, self.started) {
            (false, _) => WorkerState::Disconnected,
            (true, false) => WorkerState::None,
            (true, true) => WorkerState::Online,
        };
        Some(WorkerView {
            id: self.id,
            pid: self.pid?,
            slot: None,
            state,
            ready: self.started,
            responsive: !self.pulse.is_stuck(),
        })
    }
}

impl Core {
    pub(super) fn fork_agent(&mut self, now: Instant) {
        self.agent.id += 1;
        self.agent.spawning = true;
        self.agent.started = false;
        self.agent.started_at = None;
        self.agent.forked_at = Some(now);
        self.agent.pulse = self.watchdog.newborn();
        self.output(Output::Spawn(SpawnSpec {
            child: ChildId::Agent(self.agent.id),
            inspect_port: self.settings.agent_inspect_port,
            slot: None,
            slots: self.workers.slot_count(),
            waits: false,
        }));
    }

    pub(super) fn on_agent_spawned(&mut self, now: Instant, pid: i32) {
        let id = self.agent.id;
        let inspect_port = self.settings.agent_inspect_port;
        self.agent.pid = Some(pid);
        self.agent.spawning = false;
        self.agent.connected = true;
        self.emit(Event::AgentForked {
            id,
            pid,
            inspect_port,
        });
        self.tell_debug_port("agent", inspect_port, pid);
        self.end_latecomer(now, ChildId::Agent(id));
    }

    /// The agent could not be forked: at start that is the end, later it is tried again.
    pub(super) fn on_agent_spawn_failed(&mut self, now: Instant, reason: String) {
        self.agent.spawning = false;
        self.emit(Event::SpawnFailed {
            role: "agent",
            id: self.agent.id,
            reason: reason.clone(),
        });
        self.restarts.agent.record_spawn_failure(reason.clone());
        if self.phase.is_ending() {
            self.finish_what_ends(now);
        } else if self.workers.all_started {
            self.timers.set(Timer::AgentRestart, now + AGENT_DELAY);
            self.on_replacing_agent_gone(now, &reason);
        } else {
            self.fail(now);
        }
    }

    /// The agent has said `agent-start`.
    pub(super) fn on_agent_started(&mut self, now: Instant) {
        let Some(pid) = self.agent.pid.filter(|_| !self.agent.started) else {
            return;
        };
        self.agent.started = true;
        self.agent.started_at = Some(now);
        let was_running = self.phase == Phase::Running;
        if self.workers.all_started {
            let ready = self.egg_ready("agent");
            self.tell_agent(&ready);
        }
        self.tell_apps_pids(&[pid]);
        if was_running {
            self.tell_agent_pids();
        }
        let started = crate::ipc::envelope::build("master", "app", "agent-start", None);
        self.tell_apps(&started);
        let elapsed = self.agent.forked_at.map_or(Duration::ZERO, |at| now - at);
        self.emit(Event::AgentStarted {
            id: self.agent.id,
            pid,
            elapsed_ms: millis(elapsed),
        });
        if self.phase == Phase::Starting && !self.workers.forked {
            self.fork_all_workers(now);
        }
        self.on_replacing_agent_started(now);
    }

    pub(super) fn on_agent_exited(&mut self, now: Instant, id: u32, status: ExitStatus) {
        let Some(pid) = self.agent.pid_of(id) else {
            return;
        };
        self.agent.pid = None;
        self.agent.started = false;
        if self.phase.is_ending() {
            return;
        }
        self.tell_apps_pids(&[]);
        if self.on_replaced_agent_exited(id, pid, &status) {
            return;
        }
        let reason = describe(&status);
        let ready = self.agent.started_at.is_some();
        let exit = LastExit::new(id, pid, status.clone(), ready);
        self.restarts.agent.record_exit(now, exit);
        let restart = (self.phase == Phase::Running).then(|| {
            let started_for = self.agent.started_at.map(|at| now - at);
            self.restarts.after_agent_death(started_for)
        });
        let restart_in_ms = restart.map(millis);
        self.emit(Event::AgentExited {
            id,
            pid,
            status,
            restart_in_ms,
        });
        if let Some(delay) = restart {
            self.timers.set(Timer::AgentRestart, now + delay);
            self.tell_parent("agent-worker-died", None);
            self.on_replacing_agent_gone(now, &reason);
        } else {
            self.fail(now);
        }
    }

    pub(super) fn restart_agent(&mut self, now: Instant) {
        self.emit(Event::AgentRestarting);
        self.fork_agent(now);
    }
}
