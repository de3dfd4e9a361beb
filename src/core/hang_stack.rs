//! Where a hung app worker hangs: it is asked for its JavaScript stack before it is killed.
//!
//! The worker is doomed when it is asked. The answer, the lack of one or a failure only
//! decides what the log says, and none of them holds the kill up for longer than [`LIMIT`].

use std::time::{Duration, Instant};

use super::event::{ChildId, Event, Output, Signal, StackFrame};
use super::timer::Timer;
use super::{Core, millis};

/// How long the kill waits for the stack.
pub const LIMIT: Duration = Duration::from_secs(2);

impl Core {
    /// Kills a hung child; an app worker is asked for its stack before, where that is wanted.
    pub(super) fn end_hung(&mut self, now: Instant, child: ChildId) {
        self.doom(child);
        if self.wants_stack(child) {
            self.set_stack_asked(child, true);
            self.timers.set(Timer::Stack(child), now + LIMIT);
            self.output(Output::AskStack { child });
        } else {
            self.kill_hung(child);
        }
    }

    /// The answer, or why there is none. One that comes too late is of no interest.
    pub(super) fn on_stack(&mut self, child: ChildId, stack: Result<Vec<StackFrame>, String>) {
        if !self.is_stack_asked(child) {
            return;
        }
        self.timers.cancel(Timer::Stack(child));
        self.set_stack_asked(child, false);
        if let Some((role, id, pid)) = self.identify(child) {
            let (frames, reason) = match stack {
                Ok(frames) => (frames, None),
                Err(reason) => (Vec::new(), Some(reason)),
            };
            self.emit(Event::WorkerHangs {
                role,
                id,
                pid,
                frames,
                reason,
            });
        }
        self.kill_hung(child);
    }

    /// No answer has come in time.
    pub(super) fn on_stack_time(&mut self, child: ChildId) {
        let limit_ms = millis(LIMIT);
        self.on_stack(child, Err(format!("no answer within {limit_ms}ms")));
    }

    fn kill_hung(&mut self, child: ChildId) {
        self.output(Output::Signal {
            child,
            signal: Signal::Kill,
        });
    }
}
