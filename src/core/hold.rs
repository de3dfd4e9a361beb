//! Connections that no worker takes: they wait for one, but not for ever.
//!
//! The limits are for connections that have no worker to wait for. Where workers are only
//! busy, a connection waits as it would in the kernel's queue.

use std::time::{Duration, Instant};

use super::Core;
use super::event::{Event, ListenerId, Output};
use super::millis;
use super::timer::Timer;

/// At least so long passes between two reports of closed connections.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

impl Core {
    /// The oldest connection that waits at a listener is looked at when its time is over.
    pub(super) fn limit_holding(&mut self, id: ListenerId) {
        let timeout = self.settings.hold.timeout;
        if let Some(first) = self.listeners.get_mut(id).and_then(|l| l.pending.front()) {
            let due = first.since + timeout;
            self.timers.set_if_idle(Timer::HeldTooLong(id), due);
        }
    }

    pub(super) fn limit_sticky_holding(&mut self, now: Instant) {
        if let Some(listener) = self.sticky.listener.filter(|_| self.sticky.held > 0) {
            let due = now + self.settings.hold.timeout;
            self.timers.set_if_idle(Timer::HeldTooLong(listener), due);
        }
    }

    /// Connections have waited long: those that nobody took are closed.
    pub(super) fn close_held_too_long(&mut self, now: Instant, id: ListenerId) {
        let closed = if self.sticky.listener == Some(id) {
            self.close_held_sticky(now, id)
        } else {
            self.close_held_at_listener(now, id)
        };
        if closed > 0 {
            self.emit(Event::HeldTooLong {
                connections: closed,
                timeout_ms: millis(self.settings.hold.timeout),
            });
        }
    }

    fn close_held_at_listener(&mut self, now: Instant, id: ListenerId) -> usize {
        let timeout = self.settings.hold.timeout;
        let Some(listener) = self.listeners.get_mut(id) else {
            return 0;
        };
        if listener.scheduler.is_empty() {
            let is_late = |held: &&super::cluster::Held| held.since + timeout <= now;
            let late = listener.pending.iter().take_while(is_late).count();
            let late: Vec<_> = listener.pending.drain(..late).collect();
            let next = listener.pending.front().map(|held| held.since + timeout);
            let closed = late.len();
            for held in late {
                self.output(Output::CloseConn { conn: held.conn });
            }
            self.look_again(now, id, next);
            self.regulate(id);
            return closed;
        }
        // Who is there is only busy, or refuses for the moment.
        let waits = !listener.pending.is_empty();
        self.look_again(now, id, waits.then_some(now + timeout));
        0
    }

    fn close_held_sticky(&mut self, now: Instant, id: ListenerId) -> usize {
        let timeout = self.settings.hold.timeout;
        let mut late = Vec::new();
        let mut next: Option<Instant> = None;
        let workers = self
            .workers
            .iter_mut()
            .map(|worker| &mut worker.sticky.waiting);
        for queue in workers.chain([&mut self.sticky.homeless]) {
            while let Some(&held) = queue.front()
                && held.since + timeout <= now
            {
                queue.pop_front();
                late.push(held.conn);
            }
            let due = queue.front().map(|held| held.since + timeout);
            next = [next, due].into_iter().flatten().min();
        }
        self.sticky.held -= late.len();
        let closed = late.len();
        for conn in late {
            self.output(Output::CloseConn { conn });
        }
        self.look_again(now, id, next);
        self.regulate_sticky();
        closed
    }

    fn look_again(&mut self, now: Instant, id: ListenerId, due: Option<Instant>) {
        if let Some(due) = due {
            let due = due.max(now + REPORT_PAUSE);
            self.timers.set(Timer::HeldTooLong(id), due);
        }
    }
}
