//! Which worker gets the next connection of a listener: the one with the fewest
//! unanswered handoffs, ties in turn.
//!
//! A worker whose [`Window`] is full comes after those that have room. One whose event loop
//! does not answer comes after all others, however busy they are.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use super::window::Window;

/// Handoffs that a worker may leave unanswered per listener, by measurement: 1 starves it
/// between answers, 64 cut throughput by a third.
pub const WINDOW: u32 = 4;

/// Where a worker stands in the order: the least comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    stuck: bool,
    full: bool,
    in_flight: u32,
    turn: u64,
    worker: u32,
}

/// The workers of one listener, ordered by load.
#[derive(Debug, Default)]
pub struct Scheduler {
    members: FxHashMap<u32, Member>,
    /// Offerable workers: those that answer and have room, fewest in flight first, then whose
    /// turn is longest ago.
    order: BTreeSet<Place>,
    turn: u64,
    /// How often a connection has found no worker with room.
    waits: u64,
}

#[derive(Debug)]
struct Member {
    in_flight: u32,
    window: Window,
    /// The value of [`Scheduler::waits`] at its last answer.
    waits_seen: u64,
    turn: u64,
    suspended: bool,
    stuck: bool,
}

impl Member {
    fn place(&self, worker: u32) -> Place {
        Place {
            stuck: self.stuck,
            full: !self.window.has_room(self.in_flight),
            in_flight: self.in_flight,
            turn: self.turn,
            worker,
        }
    }
}

impl Scheduler {
    /// Adds a worker; it is offered the next connection among its equals.
    pub fn add(&mut self, worker: u32) {
        self.remove(worker);
        self.turn += 1;
        let member = Member {
            in_flight: 0,
            window: Window::new(WINDOW),
            waits_seen: self.waits,
            turn: self.turn,
            suspended: false,
            stuck: false,
        };
        self.order.insert(member.place(worker));
        self.members.insert(worker, member);
    }

    /// Removes a worker; its unanswered handoffs are the caller's.
    pub fn remove(&mut self, worker: u32) {
        if let Some(member) = self.members.remove(&worker) {
            self.order.remove(&member.place(worker));
        }
    }

    /// No worker is there to take a connection, now or later.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Chooses the worker for a connection and counts the handoff.
    pub fn pick(&mut self) -> Option<u32> {
        self.order
            .first()
            .is_some_and(|place| !place.full)
            .then(|| self.pick_over())
            .flatten()
    }

    /// As [`Scheduler::pick`], however many handoffs are unanswered.
    pub fn pick_over(&mut self) -> Option<u32> {
        let place = self.order.pop_first()?;
        self.turn += 1;
        let member = self.members.get_mut(&place.worker)?;
        member.in_flight += 1;
        member.turn = self.turn;
        self.order.insert(member.place(place.worker));
        Some(place.worker)
    }

    /// A connection has found no worker with room.
    pub fn note_wait(&mut self) {
        self.waits += 1;
    }

    /// A handoff to this worker has been answered. If a connection had to wait since its last
    /// answer, that counts for its window.
    pub fn settle(&mut self, worker: u32) {
        let waits = self.waits;
        self.reorder(worker, |member| {
            member.in_flight = member.in_flight.saturating_sub(1);
            let waited = std::mem::replace(&mut member.waits_seen, waits) != waits;
            member.window.answered(member.in_flight, waited);
        });
    }

    /// Offers nothing to this worker until [`Scheduler::resume_all`]: it has refused a connection.
    pub fn suspend(&mut self, worker: u32) {
        self.reorder(worker, |member| member.suspended = true);
    }

    /// Ends all suspensions.
    pub fn resume_all(&mut self) {
        let suspended: Vec<u32> = self
            .members
            .iter()
            .filter_map(|(&worker, member)| member.suspended.then_some(worker))
            .collect();
        for worker in suspended {
            self.reorder(worker, |member| member.suspended = false);
        }
    }

    /// The worker's event loop does not answer, or does again.
    pub fn set_stuck(&mut self, worker: u32, stuck: bool) {
        self.reorder(worker, |member| member.stuck = stuck);
    }

    fn reorder(&mut self, worker: u32, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get_mut(&worker) {
            self.order.remove(&member.place(worker));
            change(member);
            if !member.suspended {
                self.order.insert(member.place(worker));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(workers: &[u32]) -> Scheduler {
        let mut scheduler = Scheduler::default();
        for &worker in workers {
            scheduler.add(worker);
        }
        scheduler
    }

    /// Connections waited while this worker answered, until its window was as wide as it gets.
    fn widen(scheduler: &mut Scheduler, worker: u32) {
        for _ in 0..100 {
            scheduler.note_wait();
            scheduler.settle(worker);
        }
    }

    #[test]
    fn equals_take_turns() {
        let mut scheduler = with(&[1, 2, 3]);
        let mut taken = Vec::new();
        for _ in 0..6 {
            let worker = scheduler.pick().unwrap();
            scheduler.settle(worker);
            taken.push(worker);
        }
        assert_eq!(taken, [1, 2, 3, 1, 2, 3]);
    }

    #[test]
    fn the_least_loaded_worker_is_chosen() {
        let mut scheduler = with(&[1, 2]);
        assert_eq!(scheduler.pick(), Some(1));
        assert_eq!(scheduler.pick(), Some(2));
        scheduler.settle(2);
        assert_eq!(scheduler.pick(), Some(2));
    }

    #[test]
    fn nobody_is_chosen_when_all_windows_are_full() {
        let mut scheduler = with(&[1, 2]);
        widen(&mut scheduler, 1);
        widen(&mut scheduler, 2);
        for _ in 0..2 * WINDOW {
            assert!(scheduler.pick().is_some());
        }
        assert_eq!(scheduler.pick(), None);
        scheduler.settle(1);
        assert_eq!(scheduler.pick(), Some(1));
    }

    #[test]
    fn who_does_not_answer_has_one_however_many_the_others_have() {
        let mut scheduler = with(&[1, 2]);
        assert_eq!(scheduler.pick(), Some(1));
        for _ in 0..100 {
            assert_eq!(scheduler.pick(), Some(2));
            scheduler.note_wait();
            scheduler.settle(2);
        }
        for _ in 0..WINDOW {
            assert_eq!(scheduler.pick(), Some(2));
        }
        assert_eq!(scheduler.pick(), None);
    }

    #[test]
    fn a_suspended_worker_is_passed_over_until_it_is_resumed() {
        let mut scheduler = with(&[1, 2]);
        scheduler.suspend(1);
        assert_eq!(scheduler.pick(), Some(2));
        scheduler.suspend(2);
        scheduler.settle(2);
        assert_eq!(scheduler.pick(), None);
        assert!(!scheduler.is_empty());
        scheduler.resume_all();
        assert_eq!(scheduler.pick(), Some(1));
    }

    #[test]
    fn a_stuck_worker_gets_nothing_while_another_answers_and_its_share_afterwards() {
        let mut scheduler = with(&[1, 2]);
        scheduler.set_stuck(1, true);
        assert_eq!(scheduler.pick(), Some(2));
        assert_eq!(scheduler.pick(), None, "the busy one is waited for");
        scheduler.set_stuck(1, false);
        assert_eq!(scheduler.pick(), Some(1));
    }

    #[test]
    fn when_all_are_stuck_all_are_offered() {
        let mut scheduler = with(&[1, 2]);
        scheduler.set_stuck(1, true);
        scheduler.set_stuck(2, true);
        assert_eq!(scheduler.pick(), Some(1));
        assert_eq!(scheduler.pick(), Some(2));
    }

    #[test]
    fn a_removed_worker_leaves_nothing_behind() {
        let mut scheduler = with(&[1]);
        scheduler.pick();
        scheduler.remove(1);
        scheduler.settle(1);
        assert_eq!(scheduler.pick(), None);
        assert!(scheduler.is_empty());
        scheduler.add(1);
        assert_eq!(scheduler.pick(), Some(1));
    }
}
