//! What operators see of the cluster: more than the [`Snapshot`](super::event::Snapshot) that
//! JavaScript's look-ups get. Times are in ms, and durations up to now.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::cluster::Listener;
use super::counters::{Counters, Totals};
use super::event::{ChildId, ListenerId, SlotView, Waits};
use super::lifecycle::Phase;
use super::reload::{Over, Reload};
use super::restart::Backoff;
use super::timer::Timer;
use super::watchdog::Pulse;
use super::workers::Worker;
use super::{Core, millis};

/// The whole cluster.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `starting`, `running`, `closing` or `closed`.
    pub phase: &'static str,
    /// Requests are served: see `not_ready`.
    pub ready: bool,
    /// Why not.
    pub not_ready: Option<&'static str>,
    /// An operator wants no new connections to be accepted.
    pub paused: bool,
    /// Since the start.
    pub uptime_ms: u64,
    /// How the application is reached, once it has started.
    pub address: Option<String>,
    /// The sockets that the master has bound.
    pub listeners: Vec<ListenerStatus>,
    /// Connections of all workers.
    pub connections: ConnectionStatus,
    /// How often messages have had to wait.
    pub waits: Waits,
    /// Workers are being replaced.
    pub reload: Option<ReloadStatus>,
    /// How the last replacement ended.
    pub last_reload: Option<LastReload>,
    /// Reloads, and restarts of slots, that were done.
    pub reloads_done: u64,
    /// Those that failed.
    pub reloads_failed: u64,
    /// More workers have died than the limit allows: all wait for the longest delay.
    pub restart_limit_exceeded: bool,
    /// How near that is, and the end of the master.
    pub restarts: RestartStatus,
    /// How many connections may wait for workers, and how long.
    pub hold: HoldStatus,
    /// The agent's place.
    pub agent: SlotStatus,
    /// The places of the app workers.
    pub slots: Vec<SlotStatus>,
    /// Workers that have left their slots, or have not taken them yet.
    pub others: Vec<ProcessStatus>,
}

/// A socket that the master has bound.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    /// `round-robin`, `sticky`, or `shared` and `shared-datagram`, of which the workers accept by themselves.
    pub kind: &'static str,
    /// Where.
    pub address: String,
    /// The process was started with it: it goes on listening when the master has ended.
    pub inherited: bool,
    /// The master accepts on it at this moment.
    pub accepting: bool,
    /// How many workers it is for.
    pub workers: usize,
    /// Accepted, and no worker has them.
    pub waiting: usize,
}

/// Connections of all workers together.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionStatus {
    /// What has been counted.
    #[serde(flatten)]
    pub totals: Totals,
    /// Accepted, and no worker has them.
    pub waiting: usize,
    /// Of sticky mode: their first bytes are awaited.
    pub peeking: usize,
}

/// Restarts of all slots together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartStatus {
    /// So many within the last period, or one more than the limit.
    pub recent: usize,
    /// Beyond it all wait for the longest delay.
    pub limit: usize,
    /// The period.
    pub period_ms: u64,
    /// For how long no app worker has been ready.
    pub none_ready_ms: Option<u64>,
    /// In how long the next death in vain ends the master, where restarts have become as slow as they get.
    pub gives_up_in_ms: Option<u64>,
}

/// What connections may wait for, that have no worker to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldStatus {
    /// So many for each port.
    pub limit: usize,
    /// So long.
    pub timeout_ms: u64,
}

/// Workers are being replaced.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReloadStatus {
    /// Counts reloads and restarts of slots, from 1.
    pub number: u64,
    /// Only this slot is restarted.
    pub slot: Option<u32>,
    /// For how long it has been going on.
    pub for_ms: u64,
    /// The agent is replaced first, and is not there yet.
    pub replacing_agent: bool,
    /// Slots whose turn comes.
    pub todo: Vec<u32>,
    /// Slots whose new workers are not ready yet, or not for long enough.
    pub incoming: Vec<u32>,
    /// Old workers that have not ended yet.
    pub outgoing: usize,
    /// One more reload follows.
    pub again: bool,
}

/// How a reload ended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastReload {
    /// Counts reloads and restarts of slots, from 1.
    pub number: u64,
    /// Only this slot was restarted.
    pub slot: Option<u32>,
    /// `done` or `failed`.
    pub result: &'static str,
    /// Why the old workers go on serving.
    pub reason: Option<String>,
    /// How long it took.
    pub took_ms: u64,
    /// How long ago it ended.
    pub ago_ms: u64,
}

/// A place for the agent or an app worker, and who is in it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotStatus {
    /// What is kept of it, whoever is in it.
    #[serde(flatten)]
    pub view: SlotView,
    /// When it is empty and a new one comes: in how long.
    pub restart_in_ms: Option<u64>,
    /// How long ago the last one ended that was not ended by the master's will.
    pub last_exit_ago_ms: Option<u64>,
    /// What all who were in it have done.
    pub counters: Counters,
    /// Who is in it.
    pub process: Option<ProcessStatus>,
}

/// One child.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessStatus {
    /// Names it for the driver.
    #[serde(skip)]
    pub child: ChildId,
    /// `agent` or `app`.
    pub role: &'static str,
    /// Its number.
    pub id: u32,
    /// Its slot; none of the agent.
    pub slot: Option<u32>,
    /// Its process id; none while it is being forked.
    pub pid: Option<i32>,
    /// What it does.
    pub state: ProcessState,
    /// For how long it has been in that state.
    pub state_for_ms: u64,
    /// Since it was forked.
    pub uptime_ms: u64,
    /// Connections that it has not answered for.
    pub unanswered: usize,
    /// Of sticky mode: connections that wait for it.
    pub waiting: usize,
    /// Requests in flight, as it has told last.
    pub requests: Option<u32>,
    /// Connections that it has open, upgraded ones included, as it has told last.
    pub connections: Option<u32>,
    /// How long ago that was; null of what it tells while it drains, which is always the newest.
    pub counted_ago_ms: Option<u64>,
    /// For how long it has owed an answer.
    pub silent_ms: Option<u64>,
    /// How long the answer to the last ping took, in ms.
    pub ping_ms: Option<f64>,
    /// How long ago that was.
    pub ping_ago_ms: Option<u64>,
    /// How long ago it said anything. This and what follows is the driver's to know.
    pub heard_ago_ms: Option<u64>,
    /// Bytes that wait to be read by it.
    pub outbox_bytes: Option<usize>,
    /// Messages that wait for it and of which no byte is written yet, connections included.
    pub outbox_messages: Option<usize>,
    /// Memory that is in RAM.
    pub rss_bytes: Option<u64>,
    /// Processor time.
    pub cpu_ms: Option<u64>,
}

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProcessState {
    /// It is not ready yet.
    Starting,
    /// It serves; the agent has started.
    Ready,
    /// Its event loop does not answer: new connections go to others.
    Stuck,
    /// It finishes what it has.
    Draining,
    /// It has been told to end, or leaves by itself.
    Ending,
}

impl Core {
    /// The cluster as it is now, as operators see it.
    pub fn status(&self, now: Instant) -> Status {
        let not_ready = self.not_ready();
        Status {
            phase: self.phase.name(),
            ready: not_ready.is_none(),
            not_ready,
            paused: self.paused,
            uptime_ms: self.started_at.map_or(0, |at| since(now, at)),
            address: Some(self.public.address.clone()).filter(|address| !address.is_empty()),
            listeners: self.listener_statuses(),
            connections: self.connection_status(),
            waits: self.waits,
            reload: self.reload.as_ref().map(|reload| reload.status(now)),
            last_reload: self.reloads.last.as_ref().map(|over| over.status(now)),
            reloads_done: self.reloads.done,
            reloads_failed: self.reloads.failed,
            restart_limit_exceeded: self.restarts.is_exceeded(),
            restarts: self.restarts.status(now),
            hold: HoldStatus {
                limit: self.settings.hold.connections,
                timeout_ms: millis(self.settings.hold.timeout),
            },
            agent: self.agent_status(now),
            slots: self.slot_statuses(now),
            others: self.other_processes(now),
        }
    }

    /// Why no request would be served; none where one would.
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.phase != Phase::Running {
            Some(self.phase.name())
        } else if self.paused {
            Some("paused")
        } else if !self.workers.any_ready() {
            Some("no worker is ready")
        } else {
            None
        }
    }

    fn listener_statuses(&self) -> Vec<ListenerStatus> {
        let sticky = self.sticky.listener.filter(|_| self.sticky.is_open);
        let sticky = sticky.map(|id| ListenerStatus {
            kind: "sticky",
            address: format!("port {}", self.public.port.unwrap_or(0)),
            inherited: self.inherited.is_of(id),
            accepting: self.sticky.accepting,
            workers: self.workers.iter().filter(|(_, it)| it.ready).count(),
            waiting: self.sticky.held,
        });
        let view = |(id, listener): (ListenerId, &Listener)| {
            let view = listener.view()?;
            let inherited = self.inherited.is_of(id);
            Some(ListenerStatus { inherited, ..view })
        };
        let others = self.listeners.entries().filter_map(view);
        sticky.into_iter().chain(others).collect()
    }

    fn connection_status(&self) -> ConnectionStatus {
        let pending = self
            .listeners
            .entries()
            .map(|(_, listener)| listener.pending.len());
        ConnectionStatus {
            totals: self.totals,
            waiting: pending.sum::<usize>() + self.sticky.held,
            peeking: self.peeking.count(),
        }
    }

    fn slot_statuses(&self, now: Instant) -> Vec<SlotStatus> {
        let status = |(slot, view): (u32, SlotView)| SlotStatus {
            view,
            restart_in_ms: self.due_in(now, Timer::Refork(slot)),
            last_exit_ago_ms: self
                .restarts
                .slot(slot)
                .and_then(|backoff| ago(now, backoff)),
            counters: self.workers.counters_of(slot),
            process: self
                .workers
                .in_slot(slot)
                .and_then(|id| self.worker_status(now, id)),
        };
        (0..).zip(self.slot_views()).map(status).collect()
    }

    fn agent_status(&self, now: Instant) -> SlotStatus {
        SlotStatus {
            view: self.agent_slot_view(),
            restart_in_ms: self.due_in(now, Timer::AgentRestart),
            last_exit_ago_ms: ago(now, &self.restarts.agent),
            counters: self.agent.counters,
            process: self.agent_process(now),
        }
    }

    fn due_in(&self, now: Instant, timer: Timer) -> Option<u64> {
        let due = self.timers.due(timer)?;
        Some(millis(due.saturating_duration_since(now)))
    }

    fn other_processes(&self, now: Instant) -> Vec<ProcessStatus> {
        let has_slot = |id, worker: &Worker| self.workers.in_slot(worker.slot) == Some(id);
        let others = self
            .workers
            .iter()
            .filter(|&(id, worker)| !has_slot(id, worker));
        others
            .filter_map(|(id, _)| self.worker_status(now, id))
            .collect()
    }

    fn worker_status(&self, now: Instant, id: u32) -> Option<ProcessStatus> {
        let worker = self.workers.get(id)?;
        let drain = self.drains.of(id);
        let (told, served) = (drain.and_then(|it| it.in_use), worker.served);
        let in_use = told.or(served.map(|it| it.in_use));
        let (state, at) = if let Some(at) = self.ending_since(ChildId::App(id)) {
            (ProcessState::Ending, Some(at))
        } else if let Some(drain) = drain {
            (ProcessState::Draining, Some(drain.since))
        } else if worker.ending.is_some()
            || worker.exited_after_disconnect
            || !worker.is_connected()
        {
            (ProcessState::Ending, None)
        } else if worker.ready {
            (ProcessState::Ready, worker.ready_at)
        } else {
            (ProcessState::Starting, Some(worker.forked_at))
        };
        let status = ProcessStatus {
            child: ChildId::App(id),
            role: "app",
            id: self.workers.number(id, worker.slot),
            slot: Some(worker.slot),
            pid: worker.pid,
            state,
            state_for_ms: at.map_or(0, |at| since(now, at)),
            uptime_ms: since(now, worker.forked_at),
            unanswered: worker.newconns.len() + worker.sticky.sent.len(),
            waiting: worker.sticky.waiting.len(),
            requests: in_use.map(|it| it.requests),
            connections: in_use.map(|it| it.connections.saturating_add(it.upgraded)),
            counted_ago_ms: served
                .filter(|_| told.is_none())
                .map(|it| since(now, it.at)),
            silent_ms: None,
            ping_ms: None,
            ping_ago_ms: None,
            heard_ago_ms: None,
            outbox_bytes: None,
            outbox_messages: None,
            rss_bytes: None,
            cpu_ms: None,
        };
        Some(self.with_pulse(now, status, &worker.pulse))
    }

    fn agent_process(&self, now: Instant) -> Option<ProcessStatus> {
        let child = self.agent.child()?;
        let (state, at) = match (self.ending_since(child), self.agent.started_at) {
            (Some(at), _) => (ProcessState::Ending, Some(at)),
            (None, _) if !self.agent.connected => (ProcessState::Ending, None),
            (None, Some(at)) => (ProcessState::Ready, Some(at)),
            (None, None) => (ProcessState::Starting, self.agent.forked_at),
        };
        let status = ProcessStatus {
            child,
            role: "agent",
            id: self.agent.newest(),
            slot: None,
            pid: self.agent.pid(),
            state,
            state_for_ms: at.map_or(0, |at| since(now, at)),
            uptime_ms: self.agent.forked_at.map_or(0, |at| since(now, at)),
            unanswered: 0,
            waiting: 0,
            requests: None,
            connections: None,
            counted_ago_ms: None,
            silent_ms: None,
            ping_ms: None,
            ping_ago_ms: None,
            heard_ago_ms: None,
            outbox_bytes: None,
            outbox_messages: None,
            rss_bytes: None,
            cpu_ms: None,
        };
        Some(self.with_pulse(now, status, &self.agent.pulse))
    }

    /// Adds what is known of its event loop.
    fn with_pulse(&self, now: Instant, mut status: ProcessStatus, pulse: &Pulse) -> ProcessStatus {
        status.silent_ms = self.silence(pulse).map(millis);
        if status.state == ProcessState::Ready && pulse.is_stuck() {
            status.state = ProcessState::Stuck;
            status.state_for_ms = status.silent_ms.unwrap_or_default();
        }
        if let Some(trip) = pulse.round_trip() {
            status.ping_ms = Some(fine_millis(trip.took));
            status.ping_ago_ms = Some(since(now, trip.at));
        }
        status
    }
}

impl Reload {
    fn status(&self, now: Instant) -> ReloadStatus {
        ReloadStatus {
            number: self.number,
            slot: self.slot,
            for_ms: since(now, self.started_at),
            replacing_agent: self.agent.is_some(),
            todo: self.todo.iter().copied().collect(),
            incoming: self.incoming.values().copied().collect(),
            outgoing: self.outgoing.len(),
            again: self.again,
        }
    }
}

impl Over {
    fn status(&self, now: Instant) -> LastReload {
        LastReload {
            number: self.number,
            slot: self.slot,
            result: if self.failure.is_some() {
                "failed"
            } else {
                "done"
            },
            reason: self.failure.clone(),
            took_ms: millis(self.took),
            ago_ms: since(now, self.at),
        }
    }
}

fn ago(now: Instant, backoff: &Backoff) -> Option<u64> {
    backoff.last_exit_at().map(|at| since(now, at))
}

fn since(now: Instant, at: Instant) -> u64 {
    millis(now.saturating_duration_since(at))
}

/// With three decimals.
fn fine_millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
