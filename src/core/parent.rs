//! What becomes of messages to a parent that does not read them.
//!
//! They wait in the master's memory, up to a limit. Then whoever sends more is not read until
//! most of them are gone, as with children that do not read. Other than a child, the parent
//! cannot be killed: after the same time, what children send it is dropped until it reads again.

use std::time::Instant;

use super::Core;
use super::event::{ChildId, Event, Output};
use super::timer::Timer;

/// Whether the parent reads its channel.
#[derive(Debug, Default)]
pub(super) enum Parent {
    /// It does, as far as is known.
    #[default]
    Reads,
    /// Too much waits for it: those who send to it have to wait.
    Behind,
    /// It has been so for long.
    Deaf {
        /// Messages that were dropped since.
        dropped: u64,
    },
}

impl Core {
    pub(super) fn on_parent_full(&mut self, now: Instant) {
        if matches!(self.parent, Parent::Reads) {
            self.parent = Parent::Behind;
            let limit = self.settings.limits.stall_timeout;
            self.timers.set(Timer::ParentStall, now + limit);
        }
    }

    pub(super) fn on_parent_drained(&mut self) {
        self.timers.cancel(Timer::ParentStall);
        if let Parent::Deaf { dropped } = std::mem::take(&mut self.parent) {
            self.emit(Event::ParentReads { dropped });
        }
    }

    /// The parent has not read for long.
    pub(super) fn on_parent_stalled(&mut self) {
        self.parent = Parent::Deaf { dropped: 0 };
        self.emit(Event::ParentDeaf);
        self.output(Output::ForgetParent);
    }

    /// Whether a message may go to the parent; one that may not is counted. The master's own always may.
    pub(super) fn may_tell_parent(&mut self, child: Option<ChildId>) -> bool {
        match &mut self.parent {
            Parent::Deaf { dropped } if child.is_some() => {
                *dropped += 1;
                false
            }
            _ => true,
        }
    }
}
