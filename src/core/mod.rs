//! The decisions of the master, without I/O and without a clock.
//!
//! The driver tells the core what has happened ([`Core::handle_input`]) and what time it
//! is, and does what the core asks for ([`Core::poll_output`]). So the whole life of a
//! cluster can be played in a unit test.
//!
//! | module | decides |
//! |---|---|
//! | [`lifecycle`] | start, ready, failed start, the check for life |
//! | [`agent`] | the agent: ready, died, forked anew |
//! | [`workers`] | the app workers: fork, ready, death, refork |
//! | [`prestart`] | app workers that are started ahead of time, and wait |
//! | [`restart`] | when what has died is started again, and when that is given up |
//! | [`intensity`] | how many have been restarted lately |
//! | [`watchdog`] | whether event loops turn, and what becomes of those that do not |
//! | [`hang_stack`] | asking a hung worker where it hangs, before it is killed |
//! | [`reload`] | replacing the workers, slot by slot |
//! | [`agent_reload`] | replacing the agent before them |
//! | [`drain`] | letting workers finish what they have before they are ended |
//! | [`steer`] | what operators ask for: scale, pause, restart of a slot |
//! | [`status`], [`counters`], [`inquiry`] | what operators see |
//! | [`threads`] | what differs where children are threads |
//! | [`service`] | what a service manager is told |
//! | [`shutdown`] | ending a child and its descendants, and closing everything in order |
//! | [`cluster`] | the primary's side of Node's cluster protocol, and its listeners |
//! | [`inherited`] | which sockets that the process was started with serve them |
//! | [`bounds`] | what one worker may ask for |
//! | [`handoff`] | connections: who gets one, and what happens to it when that fails |
//! | [`window`] | how many connections may be on their way to one worker |
//! | [`hold`] | connections that no worker takes: how many, how long |
//! | [`recent`] | connections that a worker took a moment before it died |
//! | [`scheduler`] | the choice of a worker, round robin |
//! | [`affinity`] | the choice of a slot, sticky mode |
//! | [`client_key`] | what names a client in sticky mode |
//! | [`parent`] | messages to a parent that does not read them |
//! | [`peeking`] | connections whose first bytes are awaited, for that |
//! | [`head`], [`proxy_header`], [`trust`] | reading those bytes, and whom to believe |
//! | [`router`] | messages among parent, master, agent and apps |
//! | [`timer`] | the table of deadlines |
//! | [`event`] | all types that cross the border |

pub mod affinity;
mod agent;
mod agent_reload;
mod bounds;
pub mod client_key;
mod cluster;
pub mod counters;
mod drain;
pub mod event;
mod handoff;
pub mod hang_stack;
pub mod head;
mod hold;
mod inherited;
mod inquiry;
mod intensity;
mod lifecycle;
mod parent;
mod peeking;
mod prestart;
pub(crate) mod proxy_header;
mod recent;
mod reload;
mod restart;
mod router;
mod scheduler;
mod service;
mod shutdown;
pub mod status;
mod steer;
#[cfg(test)]
mod tests;
mod threads;
mod timer;
pub mod trust;
mod watchdog;
mod window;
mod workers;

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use agent::AgentSlot;
use cluster::Listeners;
use counters::Totals;
use drain::Drains;
use event::{ChildId, Command, Event, Frame, Input, Output, Settings, Snapshot, Waits};
use handoff::Sticky;
use inherited::Inherited;
use lifecycle::Phase;
use parent::Parent;
use peeking::Peeking;
use prestart::Waiting;
use recent::Recent;
use reload::{Reload, Reloads};
use restart::Restarts;
use service::Service;
use shutdown::Endings;
use timer::{Timer, Timers};
use watchdog::Watchdog;
use workers::Workers;

/// The state of one cluster.
#[derive(Debug)]
pub struct Core {
    settings: Settings,
    phase: Phase,
    started_at: Option<Instant>,
    public: Public,
    agent: AgentSlot,
    workers: Workers,
    /// Processes that are no workers yet.
    waiting: Waiting,
    reload: Option<Reload>,
    /// The reloads so far.
    reloads: Reloads,
    /// An operator wants no new connections to be accepted.
    paused: bool,
    totals: Totals,
    /// When the children were last asked for an operator.
    inquired_at: Option<Instant>,
    drains: Drains,
    endings: Endings,
    listeners: Listeners,
    inherited: Inherited,
    sticky: Sticky,
    recent: Recent,
    restarts: Restarts,
    watchdog: Watchdog,
    peeking: Peeking,
    parent: Parent,
    service: Service,
    failed_checks: u32,
    bad_messages: HashMap<ChildId, u32>,
    waits: Waits,
    timers: Timers,
    outputs: VecDeque<Output>,
}

/// What the application has told of its public server.
#[derive(Debug)]
struct Public {
    port: Option<u16>,
    protocol: String,
    /// The URL, or the path of a unix socket, once all workers are ready.
    address: String,
}

impl Core {
    /// A cluster that has not been started.
    pub fn new(settings: Settings) -> Self {
        let public = Public {
            port: settings.port,
            protocol: settings.protocol.clone(),
            address: String::new(),
        };
        Self {
            workers: Workers::new(&settings),
            sticky: Sticky::new(settings.workers),
            restarts: Restarts::new(settings.restart, settings.workers),
            watchdog: Watchdog::new(&settings),
            settings,
            phase: Phase::Idle,
            started_at: None,
            public,
            agent: AgentSlot::default(),
            waiting: Waiting::default(),
            reload: None,
            reloads: Reloads::default(),
            paused: false,
            totals: Totals::default(),
            inquired_at: None,
            drains: Drains::default(),
            endings: Endings::default(),
            listeners: Listeners::default(),
            inherited: Inherited::default(),
            recent: Recent::default(),
            peeking: Peeking::default(),
            parent: Parent::default(),
            service: Service::default(),
            failed_checks: 0,
            bad_messages: HashMap::new(),
            waits: Waits::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes note of something that has happened.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.take_input(now, input);
        self.inform_service_manager(now);
    }

    fn take_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Command(command) => self.on_command(now, command),
            Input::Spawned { child, pid } => self.on_spawned(now, child, pid),
            Input::SpawnFailed { child, reason } => self.on_spawn_failed(now, child, reason),
            Input::Message { child, message } => self.on_message(now, child, message),
            Input::BadLine { child, reason } => self.report_bad_message(child, reason),
            Input::HandleAcked { child, conn } => self.on_handle_acked(now, child, conn),
            Input::HandleRefused { child, conn } => self.on_handle_refused(now, child, conn),
            Input::Pong { child } => self.on_pong(now, child),
            Input::ReadingPaused { child } => {
                self.waits.paused_senders += 1;
                self.set_unheard(child, true);
            }
            Input::ReadingResumed { child } => self.set_unheard(child, false),
            Input::WritingPaused { child } => self.set_unasked(now, child, true),
            Input::WritingResumed { child } => self.set_unasked(now, child, false),
            Input::ParentFull => self.on_parent_full(now),
            Input::ParentDrained => self.on_parent_drained(),
            Input::OutboxFull { child } => {
                self.waits.full_outboxes += 1;
                let limit = self.settings.limits.stall_timeout;
                self.timers.set_if_idle(Timer::Stall(child), now + limit);
            }
            Input::OutboxDrained { child } => self.timers.cancel(Timer::Stall(child)),
            Input::Disconnected { child } => self.on_disconnected(now, child),
            Input::Exited { child, status } => self.on_exited(now, child, status),
            Input::Inherited(sockets) => self.on_inherited(sockets),
            Input::Listening { listener, local } => self.on_listening(now, listener, local),
            Input::ListenFailed { listener, errno } => self.on_listen_failed(now, listener, errno),
            Input::Accepted {
                listener,
                conn,
                peer,
            } => self.on_accepted(now, listener, conn, peer),
            Input::Peeked { conn, head } => self.on_peeked(now, conn, head),
            Input::AcceptedRest { listener } => self.on_accepted_rest(now, listener),
            Input::AcceptFailed { listener, errno } => self.on_accept_failed(now, listener, errno),
            Input::Checked { conn, untouched } => self.on_checked(now, conn, untouched),
            Input::UntouchedFound { conns } => self.on_untouched_found(now, &conns),
            Input::Stack { child, stack } => self.on_stack(child, stack),
            Input::Descendants { child, alive } => self.on_descendants(now, child, alive),
        }
    }

    /// Does what has come due by `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::AgentRestart => self.restart_agent(now),
                Timer::Refork(slot) => self.refork_slot(now, slot),
                Timer::Spare => self.add_spare(now),
                Timer::Check => self.check_alive(now),
                Timer::Drain(child) => self.on_drain_time(now, child),
                Timer::Kill(child) => self.kill_ending(now, child),
                Timer::Mute(child) => self.end_mute(now, child),
                Timer::Descendants(child) => {
                    self.output(Output::CountDescendants { child });
                }
                Timer::Probation(id) => self.end_probation(now, id),
                Timer::Recent => self.release_recent(now),
                Timer::ParentStall => self.on_parent_stalled(),
                Timer::Stall(child) => self.on_stalled(now, child),
                Timer::FailDeadline => self.kill_all(),
                Timer::RetryRefused(listener) => self.retry_refused(now, listener),
                Timer::HeldTooLong(listener) => self.close_held_too_long(now, listener),
                Timer::RetryAccept(listener) => self.retry_accept(listener),
                Timer::HeadTimeout => self.give_up_late(now),
                Timer::Orphaned(listener) => self.close_orphaned(listener),
                Timer::Watchdog => self.watch(now),
                Timer::Stack(child) => self.on_stack_time(child),
                Timer::SignOfLife => self.give_sign_of_life(now),
            }
        }
        self.inform_service_manager(now);
    }

    /// When [`Core::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The cluster as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            phase: self.phase.name(),
            agent: self.agent.view(),
            workers: self.workers.views(),
            slots: self.slot_views(),
            agent_slot: Some(self.agent_slot_view()),
            waits: self.waits,
            timers: self.timers.count(),
        }
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Start => self.start(now),
            Command::Send { from, message } => self.route(now, from, message),
            Command::Reload => self.request_reload(now, false),
            Command::ReloadWithAgent => self.request_reload(now, true),
            Command::Close => self.close(now),
        }
    }

    fn on_spawned(&mut self, now: Instant, child: ChildId, pid: i32) {
        match child {
            ChildId::Agent(_) => self.on_agent_spawned(now, pid),
            ChildId::App(id) if self.waiting.has(id) => self.on_waiting_spawned(now, id, pid),
            ChildId::App(id) => self.on_worker_spawned(now, id, pid),
        }
    }

    fn on_disconnected(&mut self, now: Instant, child: ChildId) {
        self.timers.cancel(Timer::Stall(child));
        match child {
            ChildId::Agent(_) if self.agent.child() != Some(child) => return,
            ChildId::Agent(_) => self.agent.connected = false,
            ChildId::App(id) if self.waiting.has(id) => self.on_waiting_disconnected(id),
            ChildId::App(id) => self.on_worker_disconnected(now, id),
        }
        self.await_end_of_mute(now, child);
    }

    fn on_exited(&mut self, now: Instant, child: ChildId, status: event::ExitStatus) {
        self.timers.cancel(Timer::Drain(child));
        self.timers.cancel(Timer::Stack(child));
        self.timers.cancel(Timer::Mute(child));
        self.bad_messages.remove(&child);
        let is_ending = self.is_ending(child);
        if !is_ending {
            self.output(Output::ForgetDescendants { child });
        }
        match child {
            ChildId::Agent(id) => self.on_agent_exited(now, id, status),
            ChildId::App(id) if self.waiting.has(id) => self.on_waiting_exited(now, id),
            ChildId::App(id) => self.on_worker_exited(now, id, status),
        }
        if is_ending {
            self.on_ending_exited(now, child);
        } else {
            self.finish_what_ends(now);
        }
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn emit(&mut self, event: Event) {
        self.service.note(&event);
        self.outputs.push_back(Output::Emit(event));
    }

    fn send(&mut self, child: ChildId, frame: Frame) {
        self.outputs.push_back(Output::Send { child, frame });
    }

    /// A child that goes on sending garbage shall not fill the log.
    fn report_bad_message(&mut self, child: ChildId, mut reason: String) {
        let Some((role, id, pid)) = self.identify(child) else {
            return;
        };
        let count = self.bad_messages.entry(child).or_default();
        *count += 1;
        if *count == BAD_MESSAGES_REPORTED {
            reason.push_str(" (further ones are not reported)");
        }
        if *count <= BAD_MESSAGES_REPORTED {
            self.emit(Event::BadMessage {
                role,
                id,
                pid,
                reason,
            });
        }
    }

    /// The role, number (as it is shown) and process id of a child that is not reaped.
    fn identify(&self, child: ChildId) -> Option<(&'static str, u32, i32)> {
        match child {
            ChildId::Agent(id) => Some(("agent", id, self.agent.pid_of(id)?)),
            ChildId::App(id) if self.waiting.has(id) => Some(("app", id, self.waiting.pid_of(id)?)),
            ChildId::App(id) => {
                let worker = self.workers.get(id)?;
                Some(("app", self.workers.number(id, worker.slot), worker.pid?))
            }
        }
    }
}

/// Bad messages of one child that are reported.
const BAD_MESSAGES_REPORTED: u32 = 5;

/// A duration in whole milliseconds, for events.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
