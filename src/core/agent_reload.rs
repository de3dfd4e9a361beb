//! A reload that replaces the agent, too: the old one ends, then a new one starts, then the
//! app workers follow. There is never more than one agent, for it owns what exists once.

use std::time::Instant;

use super::Core;
use super::event::{ChildId, Event, ExitStatus};
use super::timer::Timer;

/// How far the agent's part of a reload is. While there is one, the app workers wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AgentStage {
    /// The old agent, with this number, is being ended.
    Leaving(u32),
    /// The new agent, with this number, has not started yet.
    Booting(u32),
}

impl Core {
    fn agent_stage(&self) -> Option<AgentStage> {
        self.reload.as_ref()?.agent
    }

    fn set_agent_stage(&mut self, stage: Option<AgentStage>) {
        if let Some(reload) = &mut self.reload {
            reload.agent = stage;
        }
    }

    /// A reload ends the agent, or waits for the next one: its absence is planned.
    pub(super) fn is_agent_being_replaced(&self) -> bool {
        self.agent_stage().is_some()
    }

    /// Ends the agent for a reload; where there is none, the next one is new enough.
    pub(super) fn replace_agent(&mut self, now: Instant) {
        self.emit(Event::ReloadingAgent);
        if let Some(child @ ChildId::Agent(id)) = self.agent.child() {
            self.set_agent_stage(Some(AgentStage::Leaving(id)));
            self.begin_ending(now, child, self.settings.agent_close_timeout);
        } else if self.timers.is_set(Timer::AgentRestart) {
            self.timers.cancel(Timer::AgentRestart);
            self.fork_replacing_agent(now);
        } else {
            // It is being forked at this moment.
            self.set_agent_stage(Some(AgentStage::Booting(self.agent.newest())));
        }
    }

    fn fork_replacing_agent(&mut self, now: Instant) {
        self.fork_agent(now);
        self.set_agent_stage(Some(AgentStage::Booting(self.agent.newest())));
    }

    /// Says whether the agent ended because a reload wanted it to.
    pub(super) fn on_replaced_agent_exited(
        &mut self,
        id: u32,
        pid: i32,
        status: &ExitStatus,
    ) -> bool {
        let planned = self.agent_stage() == Some(AgentStage::Leaving(id));
        if planned {
            self.emit(Event::AgentReplaced {
                id,
                pid,
                status: status.clone(),
            });
        }
        planned
    }

    /// A child and its descendants are gone: if it was the agent of a reload, the next may come.
    pub(super) fn on_replaced_agent_ended(&mut self, now: Instant, child: ChildId) {
        if let (ChildId::Agent(id), Some(AgentStage::Leaving(leaving))) =
            (child, self.agent_stage())
            && id == leaving
        {
            self.fork_replacing_agent(now);
        }
    }

    /// The new agent has started: now the app workers.
    pub(super) fn on_replacing_agent_started(&mut self, now: Instant) {
        if self.agent_stage() == Some(AgentStage::Booting(self.agent.newest())) {
            self.set_agent_stage(None);
            self.reload_apps(now);
        }
    }

    /// The new agent has failed: the app workers serve on, and the usual restart brings an agent.
    pub(super) fn on_replacing_agent_gone(&mut self, now: Instant, reason: &str) {
        let id = self.agent.newest();
        let booting = Some(AgentStage::Booting(id));
        let Some(reload) = self.reload.take_if(|reload| reload.agent == booting) else {
            return;
        };
        let failure = format!("the new agent agent_worker#{id} failed: {reason}");
        self.report_reload(now, &reload, Some(failure));
        self.reload_again(now, &reload);
        self.await_spare(now);
    }
}
