//! Connections that a worker took a moment ago.
//!
//! A worker says that it serves a connection before it reads from it; on a busy machine the two
//! are some milliseconds apart, and in a worker that has begun an endless loop they never meet.
//! If it dies in between, the connection is as good as new. So the master keeps its duplicate
//! for longer, and when the worker has ended it asks the system whether a byte was
//! read or written: if not, another worker gets the connection.
//!
//! After a moment the system is asked which ones nobody has touched; the duplicates of
//! all others are closed. A client may be slow to send, and a worker to read, so these are kept
//! for a while, and then until the worker's event loop has turned once more.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::Core;
use super::cluster::Held;
use super::event::{ChildId, ConnId, ListenerId, Output};
use super::handoff::StickyConn;
use super::timer::Timer;

/// When it is looked whether a connection has been touched. Most have been by then; the longer
/// the others are waited for, the more descriptors are in use, and the colder are sockets when they are
/// closed: with 30 ms a connection cost a twelfth more CPU.
const KEEP: Duration = Duration::from_millis(5);
/// Those whose time is over are closed together, so often at most: each look costs a wake-up.
const RELEASE_EVERY: Duration = Duration::from_millis(5);

/// How long the duplicate of an untouched connection is kept, at the least.
const KEEP_UNTOUCHED: Duration = Duration::from_millis(250);
/// How often it is looked whether they have been touched.
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
    /// Those whose time is over; the driver finds out which are untouched.
    looked_at: Vec<Taken>,
    /// Those that were untouched when they were looked at, and when they are again. Idle clients may
    /// be many, so not as often as the others.
    untouched: Vec<Taken>,
    look_again_at: Option<Instant>,
    /// Those of dead workers that the driver looks at.
    checked: BTreeMap<ConnId, Way>,
}

impl Recent {
    fn take_all(&mut self) -> Vec<Taken> {
        self.look_again_at = None;
        let mut all = std::mem::take(&mut self.untouched);
        all.append(&mut self.looked_at);
        all.extend(self.taken.drain(..));
        all
    }

    fn take_of(&mut self, worker: u32) -> Vec<Taken> {
        let is_theirs = |taken: &mut Taken| taken.worker == worker;
        let mut theirs: Vec<Taken> = self.untouched.extract_if(.., is_theirs).collect();
        theirs.extend(self.looked_at.extract_if(.., is_theirs));
        for taken in std::mem::take(&mut self.taken) {
            if taken.worker == worker {
                theirs.push(taken);
            } else {
                self.taken.push_back(taken);
            }
        }
        theirs
    }
}

impl Core {
    /// A worker serves this connection.
    pub(super) fn keep_for_a_moment(&mut self, now: Instant, worker: u32, conn: ConnId, way: Way) {
        if self.phase.is_ending() {
            self.output(Output::CloseConn { conn });
            return;
        }
        if self.recent.taken.is_empty() {
            self.timers.set_at_latest(Timer::Recent, now + KEEP);
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
        let recent = &mut self.recent;
        if recent.look_again_at.take_if(|at| *at <= now).is_some() {
            recent.looked_at.append(&mut recent.untouched);
        }
        let due = recent.taken.partition_point(|taken| taken.at + KEEP <= now);
        recent.looked_at.extend(recent.taken.drain(..due));
        let conns: Vec<ConnId> = recent.looked_at.iter().map(|taken| taken.conn).collect();
        let next = recent.taken.front();
        let next = next.map(|taken| (taken.at + KEEP).max(now + RELEASE_EVERY));
        if let Some(at) = next.into_iter().chain(recent.look_again_at).min() {
            self.timers.set(Timer::Recent, at);
        }
        if !conns.is_empty() {
            self.output(Output::FindUntouched { conns });
        }
    }

    /// The system has been asked which of them are untouched; these are in the same order.
    pub(super) fn on_untouched_found(&mut self, now: Instant, conns: &[ConnId]) {
        let mut untouched = conns.iter().peekable();
        for taken in std::mem::take(&mut self.recent.looked_at) {
            let is_untouched = untouched.next_if(|&&conn| conn == taken.conn).is_some();
            if is_untouched && self.may_yet_read(now, taken) {
                self.recent.untouched.push(taken);
            } else {
                self.output(Output::CloseConn { conn: taken.conn });
            }
        }
        if !self.recent.untouched.is_empty() {
            let again = &mut self.recent.look_again_at;
            let at = *again.get_or_insert(now + LOOK_AGAIN);
            self.timers.set_at_latest(Timer::Recent, at);
        }
    }

    /// The worker's event loop has not turned since the time of an untouched connection was over.
    /// It is asked to; one that cannot be asked any more is about to end.
    fn may_yet_read(&mut self, now: Instant, taken: Taken) -> bool {
        let until = taken.at + KEEP_UNTOUCHED;
        let Some(worker) = self.workers.get(taken.worker) else {
            return false;
        };
        if worker.pulse.has_turned_since(until) {
            return false;
        }
        if now >= until && worker.is_connected() {
            self.send_ping(now, ChildId::App(taken.worker));
        }
        true
    }

    /// The worker has answered a ping: what is untouched may not be wanted.
    pub(super) fn look_at_untouched_of(&mut self, now: Instant, worker: u32) {
        let mut untouched = self.recent.untouched.iter();
        if untouched.any(|taken| taken.worker == worker && taken.at + KEEP_UNTOUCHED <= now) {
            self.recent.look_again_at = Some(now);
            self.timers.set(Timer::Recent, now);
        }
    }

    /// At the end, or when descriptors are wanted elsewhere.
    pub(super) fn release_all_recent(&mut self) {
        self.timers.cancel(Timer::Recent);
        for taken in self.recent.take_all() {
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
        let of_worker = self.recent.take_of(worker);
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
