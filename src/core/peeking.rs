//! Sticky connections whose first bytes are awaited.
//!
//! They are looked at and stay where they are, for the worker. A client that is slow, silent
//! or hostile holds up nobody: each has a deadline and a number of looks, all together a
//! limit, and nothing of what was seen is kept.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Instant;

use super::Core;
use super::affinity::hash_address;
use super::client_key::Found;
use super::event::{ConnId, Output, Peeked};
use super::timer::Timer;

/// Connections that are awaited at a time. One more, and the oldest goes by its address: those
/// who mean well have sent their head long before.
const LIMIT: usize = 1024;
/// How often a connection is looked at. The longest head comes in a dozen segments; one that
/// comes in crumbs would be read anew for every one.
const MAX_LOOKS: u32 = 32;

/// The connections whose first bytes are awaited, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Peeking {
    by_age: BTreeMap<u64, Awaited>,
    ages: HashMap<ConnId, u64>,
    last_age: u64,
}

#[derive(Debug)]
struct Awaited {
    conn: ConnId,
    peer: IpAddr,
    since: Instant,
    looks: u32,
}

impl Peeking {
    pub(super) fn count(&self) -> usize {
        self.by_age.len()
    }

    fn add(&mut self, awaited: Awaited) {
        self.last_age += 1;
        self.ages.insert(awaited.conn, self.last_age);
        self.by_age.insert(self.last_age, awaited);
    }

    fn get_mut(&mut self, conn: ConnId) -> Option<&mut Awaited> {
        self.by_age.get_mut(self.ages.get(&conn)?)
    }

    fn remove(&mut self, conn: ConnId) {
        if let Some(age) = self.ages.remove(&conn) {
            self.by_age.remove(&age);
        }
    }

    /// There are connections of whose first bytes nothing has been told yet.
    pub(super) fn has_unseen(&self) -> bool {
        self.by_age.values().any(|awaited| awaited.looks == 0)
    }

    fn oldest(&self) -> Option<&Awaited> {
        self.by_age.values().next()
    }

    fn take_oldest(&mut self) -> Option<Awaited> {
        let (_, awaited) = self.by_age.pop_first()?;
        self.ages.remove(&awaited.conn);
        Some(awaited)
    }
}

impl Core {
    /// A connection has come whose client is named by its first bytes.
    pub(super) fn begin_peek(&mut self, now: Instant, conn: ConnId, peer: IpAddr) {
        if self.peeking.by_age.len() >= LIMIT {
            self.give_up_oldest(now);
        }
        self.peeking.add(Awaited {
            conn,
            peer,
            since: now,
            looks: 0,
        });
        self.timers.set_if_idle(
            Timer::HeadTimeout,
            now + self.settings.client_key.head_timeout,
        );
        self.output(Output::Peek { conn, beyond: 0 });
    }

    /// The first bytes of a connection, or the reason why there will be none.
    pub(super) fn on_peeked(&mut self, now: Instant, conn: ConnId, peeked: Peeked) {
        let Some(awaited) = self.peeking.get_mut(conn) else {
            return;
        };
        let peer = awaited.peer;
        awaited.looks += 1;
        let found = match peeked {
            Peeked::Gone => {
                self.peeking.remove(conn);
                self.output(Output::CloseConn { conn });
                return;
            }
            Peeked::NoMore => Found::More,
            Peeked::Bytes(bytes) => {
                let may_go_on = awaited.looks < MAX_LOOKS;
                let found = self.settings.client_key.find(peer, &bytes);
                if found == Found::More && may_go_on {
                    let beyond = bytes.len();
                    self.output(Output::Peek { conn, beyond });
                    return;
                }
                found
            }
        };
        self.peeking.remove(conn);
        let hash = match found {
            Found::Key { hash, skip } => {
                if skip > 0 {
                    self.output(Output::Skip { conn, bytes: skip });
                }
                hash
            }
            Found::More => hash_address(peer),
        };
        self.place_peeked(now, conn, hash);
    }

    /// The time of the oldest is over.
    pub(super) fn give_up_late(&mut self, now: Instant) {
        let limit = self.settings.client_key.head_timeout;
        while let Some(oldest) = self.peeking.oldest() {
            let due = oldest.since + limit;
            if due > now {
                self.timers.set(Timer::HeadTimeout, due);
                return;
            }
            self.give_up_oldest(now);
        }
    }

    /// Each goes by its address, at once: waiting costs descriptors, and there are none left.
    pub(super) fn give_up_all(&mut self, now: Instant) {
        while self.give_up_oldest(now) {}
    }

    fn give_up_oldest(&mut self, now: Instant) -> bool {
        let Some(Awaited { conn, peer, .. }) = self.peeking.take_oldest() else {
            return false;
        };
        self.output(Output::EndPeek { conn });
        self.place_peeked(now, conn, hash_address(peer));
        true
    }

    /// Nobody is let in any more.
    pub(super) fn close_peeking(&mut self) {
        self.timers.cancel(Timer::HeadTimeout);
        while let Some(Awaited { conn, .. }) = self.peeking.take_oldest() {
            self.output(Output::EndPeek { conn });
            self.output(Output::CloseConn { conn });
        }
    }
}
