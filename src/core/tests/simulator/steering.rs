//! An operator, who scales, pauses and restarts at any moment. It has numbers of its own, so that
//! runs without one stay what they were.

use super::children::Proc;
use super::random::Random;
use super::world::Sim;
use crate::core::event::*;

/// In so many of a thousand steps the operator does something.
const WISHES: u64 = 15;
/// Tells the operator's numbers from those of the world.
const MARK: u64 = 0x5745_4552;

/// The operator of a run; half of all runs have one.
pub fn operator(seed: u64) -> Option<Random> {
    let mut random = Random::new(seed ^ MARK);
    random.chance(500).then_some(random)
}

impl Sim {
    pub fn steer_at_times(&mut self) {
        let workers = self.scenario.settings.workers;
        let Some(operator) = self.operator.as_mut().filter(|_| !self.kind) else {
            return;
        };
        if operator.chance(WISHES) {
            let now = self.now();
            self.core.inquire(now);
            return self.perform_all();
        }
        let operator = self.operator.as_mut();
        let Some(operator) = operator.filter(|_| !self.kind) else {
            return;
        };
        if !operator.chance(WISHES) {
            return;
        }
        let wish = match operator.below(12) {
            0 => Steer::Reload {
                agent: operator.chance(300),
            },
            1..4 => Steer::Restart {
                slot: u32::try_from(operator.below(u64::from(workers) + 1)).unwrap(),
            },
            4..9 => Steer::Scale {
                // A crowd stays one, and a few stay few.
                workers: (workers + 2)
                    .saturating_sub(u32::try_from(operator.below(5)).unwrap())
                    .min(workers.max(6)),
            },
            9..11 => Steer::Pause,
            _ => Steer::Resume,
        };
        self.steer(wish);
    }

    pub fn steer(&mut self, wish: Steer) {
        self.tell(|| format!("<- {wish:?}"));
        let now = self.now();
        let before = self.scenario.settings.workers;
        let steered = self.core.steer(now, wish);
        self.tell(|| format!("   {steered:?}"));
        let silent = steered.is_err() || steered == Ok(Steered::Unchanged);
        assert!(
            !silent || self.core.poll_output().is_none(),
            "{wish:?} has done something"
        );
        self.perform_all();
        if let (Ok(_), Steer::Scale { workers }) = (&steered, wish) {
            assert_eq!(self.scenario.settings.workers, workers, "from {before}");
        }
    }

    /// The number of slots changes. Whoever was in those that go may go.
    pub fn note_scaling(&mut self, from: u32, to: u32) {
        assert_eq!(self.scenario.settings.workers, from);
        let offered = |slots: std::ops::Range<u32>| {
            let of = |slot: &u32| {
                let id = self.occupants.get(slot).copied()?;
                self.procs.get(&ChildId::App(id))
            };
            let mut procs = slots.filter_map(|slot| of(&slot));
            procs.any(|proc| proc.serves() && !proc.left)
        };
        assert!(
            !offered(to..from.max(to)) || offered(0..to.min(from)),
            "nobody serves after {from} have become {to}"
        );
        self.scenario.settings.workers = to;
        self.homes.clear();
        self.occupants.retain(|&slot, _| slot < to);
        self.ready_slots.retain(|&slot, _| slot < to);
        let has_to_go = |(&child, proc): (&ChildId, &Proc)| {
            let goes = proc.slot.is_some_and(|slot| slot >= to);
            goes.then_some(child)
        };
        // One that has no way to drain is taken out of service without a word.
        for child in self.procs.iter().filter_map(has_to_go).collect::<Vec<_>>() {
            self.check_retirement(child);
        }
    }
}
