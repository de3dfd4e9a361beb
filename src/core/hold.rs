//! Connections that no worker takes: they wait for one, but not for ever.
//!
//! The limits are for connections that have no worker to wait for. Where workers are only
//! busy, a connection waits as it would in the kernel's queue.

use std::time::{Duration, Instant};

use super::Core;
use super::event::{ConnId, Event, ListenerId, Output};
use super::millis;
use super::timer::Timer;

/// At least so long passes between two reports of closed connections.
const REPORT_PAUSE: Duration = Duration::from_secs(1);

/// Those whose time is over, and when the next ones' is. A queue is not in the order of age,
/// for what comes back from a worker goes to its front.
struct Late {
    now: Instant,
    timeout: Duration,
    conns: Vec<ConnId>,
    next: Option<Instant>,
}

impl Late {
    fn new(now: Instant, timeout: Duration) -> Self {
        Self {
            now,
            timeout,
            conns: Vec::new(),
            next: None,
        }
    }

    /// Looks at one that waits since then.
    fn spares(&mut self, conn: ConnId, since: Instant) -> bool {
        let due = since + self.timeout;
        if due <= self.now {
            self.conns.push(conn);
            return false;
        }
        self.next = Some(self.next.map_or(due, |next| next.min(due)));
        true
    }
}

impl Core {
    /// The oldest connection that waits at a listener is looked at when its time is over.
    pub(super) fn limit_holding(&mut self, id: ListenerId) {
        let timeout = self.settings.hold.timeout;
        if self.timers.is_set(Timer::HeldTooLong(id)) {
            return;
        }
        // Those that came back stand in front, and are not the oldest.
        let pending = self.listeners.get_mut(id).map(|listener| &listener.pending);
        let oldest = pending.and_then(|pending| pending.iter().map(|held| held.since).min());
        if let Some(oldest) = oldest {
            self.timers.set(Timer::HeldTooLong(id), oldest + timeout);
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
            self.totals.timed_out += closed as u64;
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
        if !listener.scheduler.is_empty() {
            // Who is there is only busy, or refuses for the moment.
            let waits = !listener.pending.is_empty();
            self.look_again(now, id, waits.then_some(now + timeout));
            return 0;
        }
        let mut late = Late::new(now, timeout);
        listener
            .pending
            .retain(|held| late.spares(held.conn, held.since));
        let closed = self.close_late(now, id, late);
        self.regulate(id);
        closed
    }

    fn close_held_sticky(&mut self, now: Instant, id: ListenerId) -> usize {
        let mut late = Late::new(now, self.settings.hold.timeout);
        let workers = self
            .workers
            .iter_mut()
            .map(|worker| &mut worker.sticky.waiting);
        for queue in workers.chain([&mut self.sticky.homeless]) {
            queue.retain(|held| late.spares(held.conn, held.since));
        }
        self.sticky.held -= late.conns.len();
        let closed = self.close_late(now, id, late);
        self.regulate_sticky();
        closed
    }

    fn close_late(&mut self, now: Instant, id: ListenerId, late: Late) -> usize {
        let closed = late.conns.len();
        for conn in late.conns {
            self.output(Output::CloseConn { conn });
        }
        self.look_again(now, id, late.next);
        closed
    }

    fn look_again(&mut self, now: Instant, id: ListenerId, due: Option<Instant>) {
        if let Some(due) = due {
            let due = due.max(now + REPORT_PAUSE);
            self.timers.set(Timer::HeldTooLong(id), due);
        }
    }
}
