//! Connections that a worker took a moment ago.
//!
//! A worker says that it serves a connection before it reads from it; under load the two are
//! some milliseconds apart. If it dies in between, the connection is as good as new. So the
//! master keeps its duplicate for a moment longer, and when the worker has ended it asks the
//! system whether a byte was read or written: if not, another worker gets the connection.
//!
//! A worker that fell silent in that moment may never have read the connection, however long
//! ago it took it: its duplicates are kept until it gives some answer, or ends.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Core;
use super::cluster::Held;
use super::event::{ConnId, ListenerId, Output};
use super::handoff::StickyConn;
use super::timer::Timer;

/// How long a duplicate is kept. Longer than a busy event loop needs from one end of a turn
/// to the other; the number of descriptors in use grows by so many milliseconds of accepting.
const KEEP: Duration = Duration::from_millis(30);
/// Those whose time is over are closed together, so often at most: each look costs a wake-up.
const RELEASE_EVERY: Duration = Duration::from_millis(10);

/// How often it is looked whether those who fell silent have answered.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How a connection would be handed over again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    RoundRobin(ListenerId),
    Sticky(StickyConn),
}

#[derive(Debug, Clone, Copy)]
struct Taken {
    conn: ConnId,
    worker: u32,
    way: Way,
    at: Instant,
}

/// The duplicates, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    taken: VecDeque<Taken>,
    /// Those whose time is over, of workers that have fallen silent.
    silent: Vec<Taken>,
    /// Those of dead workers that the driver looks at.
    checked: BTreeMap<ConnId, Way>,
}

impl Core {
    /// A worker serves this connection.
    pub(super) fn keep_for_a_moment(&mut self, now: Instant, worker: u32, conn: ConnId, way: Way) {
        if self.phase.is_ending() {
            self.output(Output::CloseConn { conn });
            return;
        }
        if self.recent.taken.is_empty() {
            self.timers.set(Timer::Recent, now + KEEP);
        }
        self.recent.taken.push_back(Taken {
            conn,
            worker,
            way,
            at: now,
        });
    }

    /// Their time is over.
    pub(super) fn release_recent(&mut self, now: Instant) {
        let due = self
            .recent
            .taken
            .partition_point(|taken| taken.at + KEEP <= now);
        let due: Vec<Taken> = self.recent.taken.drain(..due).collect();
        let silent = std::mem::take(&mut self.recent.silent);
        for taken in silent.into_iter().chain(due) {
            if self.has_fallen_silent(taken) {
                self.recent.silent.push(taken);
            } else {
                self.output(Output::CloseConn { conn: taken.conn });
            }
        }
        let next = self.recent.taken.front();
        let next = next.map(|taken| (taken.at + KEEP).max(now + RELEASE_EVERY));
        let again = (!self.recent.silent.is_empty()).then_some(now + LOOK_AGAIN);
        if let Some(at) = next.or(again) {
            self.timers.set(Timer::Recent, at);
        }
    }

    /// The worker owes an answer for another connection, and has given none since this one's
    /// time was over.
    fn has_fallen_silent(&self, taken: Taken) -> bool {
        self.workers.get(taken.worker).is_some_and(|worker| {
            let owes = !worker.newconns.is_empty() || !worker.sticky.sent.is_empty();
            owes && worker.answered_at.is_none_or(|at| at < taken.at + KEEP)
        })
    }

    /// At the end, or when descriptors are wanted elsewhere.
    pub(super) fn release_all_recent(&mut self) {
        self.timers.cancel(Timer::Recent);
        let silent = std::mem::take(&mut self.recent.silent);
        let taken = std::mem::take(&mut self.recent.taken);
        for taken in silent.into_iter().chain(taken) {
            self.output(Output::CloseConn { conn: taken.conn });
        }
    }

    /// The end has come before the driver has looked at them.
    pub(super) fn close_checked(&mut self) {
        for conn in std::mem::take(&mut self.recent.checked).into_keys() {
            self.output(Output::CloseConn { conn });
        }
    }

    /// The worker has ended, so it reads nothing any more.
    pub(super) fn check_recent_of(&mut self, worker: u32) {
        let is_theirs = |taken: &mut Taken| taken.worker == worker;
        let mut of_worker: Vec<Taken> = self.recent.silent.extract_if(.., is_theirs).collect();
        let taken = std::mem::take(&mut self.recent.taken);
        for taken in taken {
            if taken.worker == worker {
                of_worker.push(taken);
            } else {
                self.recent.taken.push_back(taken);
            }
        }
        for Taken { conn, way, .. } in of_worker {
            self.recent.checked.insert(conn, way);
            self.output(Output::CheckUntouched { conn });
        }
    }

    /// The system has been asked.
    pub(super) fn on_checked(&mut self, now: Instant, conn: ConnId, untouched: bool) {
        let Some(way) = self.recent.checked.remove(&conn) else {
            return;
        };
        self.totals.retaken += u64::from(untouched);
        match Some(way).filter(|_| untouched) {
            Some(Way::RoundRobin(listener)) => match self.listeners.get_mut(listener) {
                Some(entry) => {
                    entry.pending.push_front(Held {
                        conn,
                        since: now,
                        refusals: 0,
                    });
                    self.dispatch(listener);
                }
                None => self.output(Output::CloseConn { conn }),
            },
            Some(Way::Sticky(sticky)) if self.sticky.listener.is_some() => {
                self.place_sticky(now, sticky.held_since(now));
                self.regulate_sticky();
            }
            _ => self.output(Output::CloseConn { conn }),
        }
    }
}
