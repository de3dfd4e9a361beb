//! Asking the children how they are, for an operator who wants to know.
//!
//! Each is sent a ping, and app workers are asked how much they serve. The answers come as soon
//! as their event loops turn, so how long that takes is worth knowing as well. An operator who
//! looks often makes no more work than one who looks twice a second.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Core;
use super::event::{ChildId, Frame};
use super::watchdog::Pulse;
use crate::ipc::encode;
use crate::ipc::message::InUse;

/// The children are asked at most this often.
const PAUSE: Duration = Duration::from_millis(500);

/// What a worker said that it serves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served {
    pub(super) in_use: InUse,
    pub(super) at: Instant,
}

impl Core {
    /// Asks all children, if that has not been done just now.
    pub fn inquire(&mut self, now: Instant) {
        let is_due = self.inquired_at.is_none_or(|at| now - at >= PAUSE);
        if !is_due || self.settings.threads || self.phase.is_ending() {
            return;
        }
        self.inquired_at = Some(now);
        for child in self.living_children() {
            if !self.is_ending(child) && self.can_be_asked(child) {
                self.send_ping(now, child);
                self.ask_for_count(child);
            }
        }
    }

    /// Some child that was asked just now has not answered yet. One that has owed an answer before
    /// is not waited for.
    pub fn awaits_answers(&self) -> bool {
        let is_new = |pulse: &Pulse| {
            let at = pulse.pinged_at();
            at.is_some() && at == self.inquired_at
        };
        let agent = self.agent.connected && is_new(&self.agent.pulse);
        let mut workers = self.workers.iter();
        agent || workers.any(|(_, worker)| worker.is_watched() && is_new(&worker.pulse))
    }

    /// It would answer, and what it says would be read.
    fn can_be_asked(&self, child: ChildId) -> bool {
        match child {
            ChildId::Agent(_) => self.agent.connected && self.agent.is_started(),
            ChildId::App(id) => self
                .workers
                .get(id)
                .is_some_and(|worker| worker.is_watched() && worker.ready),
        }
    }

    fn ask_for_count(&mut self, child: ChildId) {
        let ChildId::App(id) = child else { return };
        if self.workers.get(id).is_some_and(|worker| worker.can_drain) {
            let (head, tail) = (Bytes::from_static(encode::COUNT), Bytes::new());
            self.send(child, Frame::Message { head, tail });
        }
    }

    pub(super) fn on_counted(&mut self, now: Instant, id: u32, in_use: InUse) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.served = Some(Served { in_use, at: now });
        }
    }
}
