//! What is counted: numbers that only grow, kept where the thing happens.

use std::ops::AddAssign;

use serde::Serialize;

use super::Core;
use super::event::ChildId;

/// What a worker, the workers of a slot, or the agents have been given and have said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Connections sent to it.
    pub handed_over: u64,
    /// Of these: it has taken them.
    pub taken: u64,
    /// Of these: it did not want or did not get them; another worker was looked for.
    pub refused: u64,
    /// Of these: it was gone before it had taken them; others got them.
    pub redistributed: u64,
    /// Messages that it has sent, to whomever.
    pub messages_from: u64,
    /// Their bytes.
    pub bytes_from: u64,
    /// Messages that were relayed to it.
    pub messages_to: u64,
    /// Their bytes.
    pub bytes_to: u64,
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.handed_over += other.handed_over;
        self.taken += other.taken;
        self.refused += other.refused;
        self.redistributed += other.redistributed;
        self.messages_from += other.messages_from;
        self.bytes_from += other.bytes_from;
        self.messages_to += other.messages_to;
        self.bytes_to += other.bytes_to;
    }
}

/// What the master as a whole has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Closed, since no worker was there to take them in time.
    pub timed_out: u64,
    /// Closed, since all workers have refused them again and again.
    pub unwanted: u64,
    /// Given to another worker, since the one that had taken them died before it read of them.
    pub retaken: u64,
}

impl Core {
    pub(super) fn counters_mut(&mut self, child: ChildId) -> Option<&mut Counters> {
        match child {
            ChildId::Agent(_) => Some(&mut self.agent.counters),
            ChildId::App(id) => self.workers.get_mut(id).map(|worker| &mut worker.counters),
        }
    }
}
