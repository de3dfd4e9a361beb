//! Connections: which worker gets one, and where it goes when that fails.
//!
//! The master keeps its duplicate of a connection until a worker has answered for it: with
//! `accepted` in round robin, with the channel's own ack in sticky mode. Until then the
//! worker has not read a byte of it, so it can be given to another. For a moment after that
//! see [`recent`](super::recent).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Core;
use super::affinity::{choose_slot, hash_address};
use super::cluster::Held;
use super::event::{
    ChildId, ConnId, Event, Frame, HandleRef, ListenSpec, ListenTarget, ListenerId, Output,
};
use super::recent::Way;
use super::scheduler::Scheduler;
use super::timer::Timer;
use super::window::Window;
use super::workers::Newconn;
use crate::ipc::encode;

/// A worker that has refused a connection (it leaves, or has reached its
/// `maxConnections`) is offered the next one after this time.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// A connection that has been refused this often is closed: nobody wants it.
const REFUSAL_LIMIT: u32 = 200;
/// Pause after `accept` has failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Sticky connections in flight to one worker. More than in round robin, for they can go
/// to nobody else, and the ack comes from Node itself.
const STICKY_WINDOW: u32 = 16;

/// The public listener of sticky mode.
#[derive(Debug)]
pub(super) struct Sticky {
    pub(super) listener: Option<ListenerId>,
    pub(super) slots: u32,
    /// The listener is bound.
    pub(super) is_open: bool,
    pub(super) accepting: bool,
    /// Accepting failed; it is tried again later.
    starved: bool,
    /// No slot has a ready worker.
    pub(super) homeless: VecDeque<StickyConn>,
    /// Connections that wait, in `homeless` and in the queues of workers.
    pub(super) held: usize,
}

/// A connection of sticky mode.
#[derive(Debug, Clone, Copy)]
pub(super) struct StickyConn {
    pub(super) conn: ConnId,
    /// Names the client.
    hash: u64,
    pub(super) since: Instant,
}

/// What one worker has of sticky mode.
#[derive(Debug)]
pub(super) struct StickyQueue {
    /// Sent; its event loop has not taken them yet. Oldest first.
    pub(super) sent: VecDeque<StickyConn>,
    /// Waiting until it has taken others.
    pub(super) waiting: VecDeque<StickyConn>,
    window: Window,
}

impl StickyQueue {
    pub(super) fn new() -> Self {
        Self {
            sent: VecDeque::new(),
            waiting: VecDeque::new(),
            window: Window::new(STICKY_WINDOW),
        }
    }

    fn has_room(&self) -> bool {
        u32::try_from(self.sent.len()).is_ok_and(|sent| self.window.has_room(sent))
    }

    /// The worker has taken a connection, or cannot.
    fn settle(&mut self, conn: ConnId) -> Option<StickyConn> {
        let at = self.sent.iter().position(|sticky| sticky.conn == conn)?;
        let sticky = self.sent.remove(at)?;
        let left = u32::try_from(self.sent.len()).unwrap_or(u32::MAX);
        self.window.answered(left, !self.waiting.is_empty());
        Some(sticky)
    }
}

impl StickyConn {
    /// The same, waiting anew.
    pub(super) fn held_since(self, since: Instant) -> Self {
        Self { since, ..self }
    }
}

impl Sticky {
    pub(super) fn new(slots: u32) -> Self {
        Self {
            listener: None,
            slots,
            is_open: false,
            accepting: false,
            starved: false,
            homeless: VecDeque::new(),
            held: 0,
        }
    }
}

impl Core {
    pub(super) fn on_accepted(
        &mut self,
        now: Instant,
        id: ListenerId,
        conn: ConnId,
        peer: Option<IpAddr>,
    ) {
        self.totals.accepted += 1;
        if self.sticky.listener == Some(id) {
            match peer {
                Some(peer) if self.settings.client_key.wants_head(peer) => {
                    self.begin_peek(now, conn, peer);
                }
                Some(peer) => self.place_sticky(
                    now,
                    StickyConn {
                        conn,
                        hash: hash_address(peer),
                        since: now,
                    },
                ),
                // The client has reset the connection already.
                None => self.output(Output::CloseConn { conn }),
            }
            self.regulate_sticky();
        } else if let Some(listener) = self.listeners.get_mut(id) {
            listener.pending.push_back(Held {
                conn,
                since: now,
                refusals: 0,
            });
            self.dispatch(id);
        } else {
            self.output(Output::CloseConn { conn });
        }
    }

    /// Hands pending connections to workers with room.
    pub(super) fn dispatch(&mut self, id: ListenerId) {
        while let Some((worker, frame)) = self.next_handoff(id, Scheduler::pick) {
            self.send(ChildId::App(worker), frame);
        }
        if let Some(listener) = self.listeners.get_mut(id)
            && !listener.pending.is_empty()
        {
            listener.scheduler.note_wait();
        }
        self.regulate(id);
        self.limit_holding(id);
    }

    fn next_handoff(
        &mut self,
        id: ListenerId,
        pick: fn(&mut Scheduler) -> Option<u32>,
    ) -> Option<(u32, Frame)> {
        let listener = self.listeners.get_mut(id)?;
        let &Held { conn, refusals, .. } = listener.pending.front()?;
        let worker_id = pick(&mut listener.scheduler)?;
        let prefix = listener.newconn.clone();
        let worker = self.workers.get_mut(worker_id)?;
        listener.pending.pop_front();
        let seq = worker.take_seq();
        worker.counters.handed_over += 1;
        worker.newconns.push_back(Newconn {
            seq,
            conn,
            listener: id,
            refusals,
        });
        Some((
            worker_id,
            Frame::Newconn {
                prefix,
                seq,
                handle: HandleRef::Conn(conn),
            },
        ))
    }

    /// Accepts until one connection finds no worker with room, which shows the windows that
    /// there is demand: the kernel's queue holds the rest. While no worker is there at all,
    /// the master holds them, for the kernel would do it without a limit of time.
    pub(super) fn regulate(&mut self, id: ListenerId) {
        let most_held = self.settings.hold.connections;
        let (is_ending, paused) = (self.phase.is_ending(), self.paused);
        let Some(listener) = self.listeners.get_mut(id).filter(|it| it.is_accepted_on()) else {
            return;
        };
        let limit = if listener.scheduler.is_empty() {
            if is_ending { 0 } else { most_held }
        } else {
            1
        };
        let wanted = listener.pending.len() < limit && !listener.starved && !paused;
        if wanted != listener.accepting {
            listener.accepting = wanted;
            self.output(if wanted {
                Output::Accept { listener: id }
            } else {
                Output::PauseAccept { listener: id }
            });
        }
    }

    /// The worker has answered for a connection.
    pub(super) fn on_newconn_answer(&mut self, now: Instant, id: u32, ack: u64, accepted: bool) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        // Answers come in order, so it is the first; anything else is looked for.
        let Some(at) = worker
            .newconns
            .iter()
            .position(|newconn| newconn.seq == ack)
        else {
            return;
        };
        let Some(newconn) = worker.newconns.remove(at) else {
            return;
        };
        if accepted {
            worker.counters.taken += 1;
            let Newconn { conn, listener, .. } = newconn;
            self.keep_for_a_moment(now, id, conn, Way::RoundRobin(listener));
            self.settle(id, listener);
        } else {
            self.take_back_refused(now, id, newconn);
        }
    }

    fn settle(&mut self, worker: u32, listener: ListenerId) {
        if let Some(entry) = self.listeners.get_mut(listener) {
            entry.scheduler.settle(worker);
            self.dispatch(listener);
        }
    }

    /// A worker does not want a connection: another gets it.
    fn take_back_refused(&mut self, now: Instant, worker: u32, newconn: Newconn) {
        let id = newconn.listener;
        let Newconn { conn, refusals, .. } = newconn;
        if let Some(worker) = self.workers.get_mut(worker) {
            worker.counters.refused += 1;
        }
        let Some(listener) = self.listeners.get_mut(id) else {
            self.output(Output::CloseConn { conn });
            return;
        };
        listener.scheduler.settle(worker);
        listener.scheduler.suspend(worker);
        if refusals < REFUSAL_LIMIT {
            listener.pending.push_front(Held {
                conn,
                since: now,
                refusals: refusals + 1,
            });
        } else {
            self.totals.unwanted += 1;
            self.output(Output::CloseConn { conn });
        }
        self.timers
            .set_if_idle(Timer::RetryRefused(id), now + REFUSED_PAUSE);
        self.dispatch(id);
    }

    pub(super) fn retry_refused(&mut self, now: Instant, id: ListenerId) {
        if self.sticky.listener == Some(id) {
            self.offer_held_sticky(now);
            // What was refused may have gone elsewhere, and others wait behind it.
            for worker in self.workers.ids().collect::<Vec<_>>() {
                self.send_sticky_queue(worker);
            }
            self.regulate_sticky();
        } else if let Some(listener) = self.listeners.get_mut(id) {
            listener.scheduler.resume_all();
            self.dispatch(id);
        }
    }

    /// The child's event loop has the descriptor. That settles a sticky connection; one of
    /// round robin waits for its `accepted`.
    pub(super) fn on_handle_acked(&mut self, now: Instant, child: ChildId, conn: ConnId) {
        let ChildId::App(id) = child else { return };
        self.note_answer(child);
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if let Some(sticky) = worker.sticky.settle(conn) {
            worker.counters.taken += 1;
            self.keep_for_a_moment(now, id, conn, Way::Sticky(sticky));
            self.send_sticky_queue(id);
            self.regulate_sticky();
        }
    }

    /// The descriptor was lost on its way (the child is out of descriptors).
    pub(super) fn on_handle_refused(&mut self, now: Instant, child: ChildId, conn: ConnId) {
        let ChildId::App(id) = child else { return };
        self.note_answer(child);
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        if let Some(at) = worker
            .newconns
            .iter()
            .position(|newconn| newconn.conn == conn)
        {
            if let Some(newconn) = worker.newconns.remove(at) {
                self.take_back_refused(now, id, newconn);
            }
        } else if let Some(sticky) = worker.sticky.settle(conn) {
            worker.counters.refused += 1;
            if self.sticky.listener.is_none() {
                return self.output(Output::CloseConn { conn });
            }
            // Its worker cannot take it now: it waits for the next chance.
            self.sticky.homeless.push_back(sticky.held_since(now));
            self.sticky.held += 1;
            self.limit_sticky_holding(now);
            self.regulate_sticky();
            if let Some(listener) = self.sticky.listener {
                self.timers
                    .set_if_idle(Timer::RetryRefused(listener), now + REFUSED_PAUSE);
            }
        }
    }

    /// A worker is gone: what it has not answered for goes to others.
    pub(super) fn take_back_connections(&mut self, now: Instant, id: u32) {
        self.leave_listeners(now, id);
        self.report_handing_on(id);
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let newconns = std::mem::take(&mut worker.newconns);
        for Newconn {
            conn,
            listener,
            refusals,
            ..
        } in newconns.into_iter().rev()
        {
            match self.listeners.get_mut(listener) {
                Some(entry) => {
                    entry.pending.push_front(Held {
                        conn,
                        since: now,
                        refusals,
                    });
                    self.dispatch(listener);
                }
                None => self.output(Output::CloseConn { conn }),
            }
        }
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let sent = std::mem::take(&mut worker.sticky.sent);
        // It has not waited for a worker until now.
        let sent = sent.into_iter().map(|sticky| sticky.held_since(now));
        self.place_all_sticky(now, sent.collect());
        self.take_back_sticky_queue(now, id);
    }

    fn report_handing_on(&mut self, id: u32) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let connections = worker.newconns.len() + worker.sticky.sent.len();
        worker.counters.redistributed += connections as u64;
        let pid = worker.pid.unwrap_or_default();
        if connections > 0 && !self.phase.is_ending() {
            self.emit(Event::HandedOn {
                id,
                pid,
                connections,
            });
        }
    }

    pub(super) fn take_back_sticky_queue(&mut self, now: Instant, id: u32) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        let queue = std::mem::take(&mut worker.sticky.waiting);
        self.sticky.held -= queue.len();
        self.place_all_sticky(now, queue);
    }

    fn place_all_sticky(&mut self, now: Instant, conns: VecDeque<StickyConn>) {
        for sticky in conns {
            if self.sticky.listener.is_some() {
                self.place_sticky(now, sticky);
            } else {
                self.output(Output::CloseConn { conn: sticky.conn });
            }
        }
        self.regulate_sticky();
    }

    /// A connection whose client has become known.
    pub(super) fn place_peeked(&mut self, now: Instant, conn: ConnId, hash: u64) {
        // The time in which a worker should take it begins now.
        let since = now;
        self.place_sticky(now, StickyConn { conn, hash, since });
        self.regulate_sticky();
    }

    /// Gives a connection to the worker of its client's slot.
    pub(super) fn place_sticky(&mut self, now: Instant, sticky: StickyConn) {
        let workers = &self.workers;
        let is_ready = |slot| workers.ready_in_slot(slot).is_some();
        let slot = choose_slot(sticky.hash, self.sticky.slots, is_ready);
        let worker = slot.and_then(|slot| self.workers.ready_in_slot(slot));
        self.sticky.held += 1;
        match worker.and_then(|id| Some((id, self.workers.get_mut(id)?))) {
            Some((id, worker)) => {
                worker.sticky.waiting.push_back(sticky);
                self.send_sticky_queue(id);
            }
            None => self.sticky.homeless.push_back(sticky),
        }
        self.limit_sticky_holding(now);
    }

    fn send_sticky_queue(&mut self, id: u32) {
        self.send_sticky_while(id, StickyQueue::has_room);
    }

    fn send_sticky_while(&mut self, id: u32, may_send: fn(&StickyQueue) -> bool) {
        while let Some(worker) = self.workers.get_mut(id)
            && may_send(&worker.sticky)
            && let Some(sticky) = worker.sticky.waiting.pop_front()
        {
            worker.sticky.sent.push_back(sticky);
            worker.counters.handed_over += 1;
            self.sticky.held -= 1;
            let text = Bytes::from_static(encode::STICKY_CONNECTION);
            let handle = HandleRef::Conn(sticky.conn);
            self.send(ChildId::App(id), Frame::Handle { text, handle });
        }
    }

    /// A worker has become ready, or may take again what it refused.
    pub(super) fn offer_held_sticky(&mut self, now: Instant) {
        let homeless = std::mem::take(&mut self.sticky.homeless);
        self.sticky.held -= homeless.len();
        self.place_all_sticky(now, homeless);
    }

    pub(super) fn regulate_sticky(&mut self) {
        let Some(listener) = self.sticky.listener.filter(|_| self.sticky.is_open) else {
            return;
        };
        let most_held = self.settings.hold.connections;
        let limit = if self.sticky.accepting {
            most_held
        } else {
            most_held.div_ceil(2)
        };
        let wanted = self.sticky.held < limit && !self.sticky.starved && !self.paused;
        if wanted != self.sticky.accepting {
            self.sticky.accepting = wanted;
            self.output(if wanted {
                Output::Accept { listener }
            } else {
                Output::PauseAccept { listener }
            });
        }
    }

    pub(super) fn open_sticky_listener(&mut self) {
        let listener = self.listeners.next_id();
        self.sticky.listener = Some(listener);
        let port = self.public.port.unwrap_or(0);
        let target = ListenTarget::Tcp {
            address: None,
            port,
            ipv6_only: false,
        };
        let spec = ListenSpec {
            target,
            backlog: Some(511),
        };
        self.listen(listener, spec);
    }

    pub(super) fn on_sticky_listening(&mut self, now: Instant) {
        self.sticky.is_open = true;
        if self.phase.is_ending() {
            return self.close_sticky();
        }
        self.regulate_sticky();
        self.become_ready(now);
    }

    pub(super) fn close_sticky(&mut self) {
        let Some(listener) = self.sticky.listener.take() else {
            return;
        };
        self.timers.cancel(Timer::HeldTooLong(listener));
        self.timers.cancel(Timer::RetryRefused(listener));
        self.timers.cancel(Timer::RetryAccept(listener));
        // One that is being bound is closed when the answer comes.
        if self.sticky.is_open {
            self.output(Output::CloseListener { listener });
        }
        self.close_peeking();
        let queues = self.workers.iter_mut().map(|it| &mut it.sticky.waiting);
        let mut held = VecDeque::new();
        for queue in queues.chain([&mut self.sticky.homeless]) {
            held.append(queue);
        }
        self.sticky.held -= held.len();
        for sticky in held {
            self.output(Output::CloseConn { conn: sticky.conn });
        }
    }

    /// The last hand-out of a listener, or of sticky mode: a worker that is about to drain
    /// takes any number.
    pub(super) fn hand_out_all(&mut self, now: Instant, id: ListenerId) {
        if self.sticky.listener == Some(id) {
            // There is no time left to wait for what they would send first.
            self.give_up_all(now);
            self.offer_held_sticky(now);
            for worker in self.workers.ids().collect::<Vec<_>>() {
                self.send_sticky_while(worker, |_| true);
            }
        } else {
            while let Some((worker, frame)) = self.next_handoff(id, Scheduler::pick_over) {
                self.send(ChildId::App(worker), frame);
            }
        }
    }

    /// No descriptor is left for a new connection: the kernel's queue holds it meanwhile.
    pub(super) fn on_accept_failed(&mut self, now: Instant, id: ListenerId, errno: i32) {
        self.release_all_recent();
        let first = !self.timers.is_set(Timer::RetryAccept(id));
        self.timers
            .set_if_idle(Timer::RetryAccept(id), now + ACCEPT_PAUSE);
        if let Some(listener) = self.listeners.get_mut(id) {
            listener.starved = true;
            self.regulate(id);
        } else if self.sticky.listener == Some(id) {
            self.sticky.starved = true;
            self.regulate_sticky();
        }
        self.give_up_all(now);
        if first {
            self.emit(Event::AcceptFailed { errno });
        }
    }

    pub(super) fn retry_accept(&mut self, id: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(id) {
            listener.starved = false;
            self.regulate(id);
        } else if self.sticky.listener == Some(id) {
            self.sticky.starved = false;
            self.regulate_sticky();
        }
    }
}
