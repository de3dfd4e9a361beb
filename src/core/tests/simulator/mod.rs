//! A simulation of whole clusters: a fake system, fake children and fake clients answer the
//! core with random but repeatable behaviour, and after every step it is looked at whether all
//! promises hold. See `docs/reliability.md`.
//!
//! | file | has |
//! |---|---|
//! | `random.rs` | numbers |
//! | `scenario.rs` | what a run is like |
//! | `world.rs` | the clock, the agenda, the answers to outputs |
//! | `children.rs` | processes |
//! | `connections.rs` | clients and connections |
//! | `talk.rs` | messages |
//! | `steering.rs` | an operator |
//! | `checks.rs` | the promises |
//! | `seeds.rs` | runs that have found something |
//!
//! A run is named by its seed. `EGG_CLUSTER_RS_SIM_SEED` chooses the first,
//! `EGG_CLUSTER_RS_SIM_STEPS` how many steps are played: as many runs as that needs, with the
//! seed, the seed + 1, and so on. With a seed alone its run is the only one.

mod checks;
mod children;
mod connections;
mod random;
mod scenario;
mod seeds;
mod steering;
mod talk;
mod world;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use serde_json::json;

use crate::core::event::{ChildId, Command, Input, Origin, Steer};
use random::Random;
use world::Sim;

/// Steps of the runs of `cargo test`.
const STEPS: u64 = 1_000_000;
/// One of so many runs has hundreds of workers.
const CROWD_EVERY: u64 = 400;
/// Seeds that leave one of these when they are divided by 5 name a wide run. The older ones of
/// `seeds.rs` do not: what was added for wide runs has not changed theirs.
const WIDE: [u64; 2] = [0, 2];
/// The longest step of the clock.
const PAUSE: Duration = Duration::from_millis(700);
/// How long a world without dangers has to come right: the longest delay of a restart, a boot,
/// reloads of all slots.
const RECOVERY: Duration = Duration::from_secs(400);

impl Sim {
    fn step(&mut self) {
        self.steer_at_times();
        if self.random.chance(550) {
            self.go_on(PAUSE);
        } else {
            self.act();
        }
        self.after_step();
    }

    fn after_step(&mut self) {
        self.steps += 1;
        self.check();
    }

    /// Somebody does something.
    fn act(&mut self) {
        match self.random.below(20) {
            0..7 => self.connect(),
            7..13 => self.accept(),
            13..15 => self.talk(),
            15..18 => self.endanger_child(),
            _ => self.endanger_all(),
        }
    }

    fn any_child(&mut self) -> Option<ChildId> {
        let place = self.random.index(self.procs.len().max(1));
        let (&child, proc) = self.procs.iter().nth(place)?;
        proc.reported.then_some(child)
    }

    fn endanger_child(&mut self) {
        let Some(child) = self.any_child() else {
            return;
        };
        let hazards = &self.scenario.hazards;
        let (kill, cut, hang, leave) = (hazards.crash, hazards.cut, hazards.hang, hazards.leave);
        let garbage = hazards.garbage;
        let (crash, agent_crash) = (5 * kill, 5 * hazards.agent_crash);
        let is_agent = matches!(child, ChildId::Agent(_));
        match self.random.below(if self.scenario.is_wide { 8 } else { 7 }) {
            0 if self.strikes(if is_agent { agent_crash } else { crash }) => {
                let status = self.random.pick(&[0, 1]);
                self.die(child, super::code(status));
            }
            1 if self.strikes(5 * cut) => self.disconnect(child),
            2 if self.strikes(5 * hang) => self.hang(child),
            3 if self.strikes(5 * leave) && !is_agent => self.leave_by_itself(child),
            4 if self.strikes(5 * garbage) => self.pause(child),
            5 if self.strikes(5 * garbage) => self.fill_outbox(child),
            6 if self.strikes(5 * garbage) => self.babble(child),
            7 if self.strikes(5 * self.scenario.hazards.short) => self.shorten(child),
            _ => {}
        }
    }

    fn endanger_all(&mut self) {
        let hazards = &self.scenario.hazards;
        let (reload, starve, stall, close) =
            (hazards.reload, hazards.starve, hazards.stall, hazards.close);
        match self.random.below(if self.scenario.is_wide { 5 } else { 4 }) {
            0 if self.strikes(10 * reload) => {
                let wish =
                    json!({"action": "reload-worker", "data": {"agent": self.random.chance(500)}});
                let command = match self.random.below(3) {
                    0 => Command::Reload,
                    1 => Command::ReloadWithAgent,
                    _ => Command::Send {
                        from: Origin::Parent,
                        message: super::user(&wish),
                    },
                };
                self.feed(Input::Command(command));
            }
            1 if self.strikes(10 * starve) => self.starve(),
            2 if self.strikes(5 * stall) => self.stall(),
            3 if self.strikes(5 * close) => self.feed(Input::Command(Command::Close)),
            4 if self.strikes(10 * self.scenario.hazards.garbage) => self.fill_parent(),
            _ => {}
        }
    }

    fn play(&mut self) {
        self.feed(Input::Command(Command::Start));
        for _ in 0..self.scenario.steps {
            // The start itself may have failed already.
            if self.closed {
                return;
            }
            self.step();
        }
        if self.closed {
            return;
        }
        if self.scenario.is_kind_at_the_end {
            self.recover();
        }
        self.feed(Input::Command(Command::Close));
        self.after_step();
        while !self.closed {
            self.step();
        }
    }

    fn recover(&mut self) {
        self.kind = true;
        self.steer(Steer::Resume);
        let end = self.clock + RECOVERY;
        let mut reformed = 0;
        while self.clock < end && !self.closed {
            self.go_on(PAUSE);
            self.accept();
            if self.steps >= reformed {
                reformed = self.steps + 50;
                for child in self.procs.keys().copied().collect::<Vec<_>>() {
                    self.reform(child);
                }
            }
            self.after_step();
        }
        self.check_recovery();
    }
}

/// Plays the run of a seed; gives the number of its steps.
fn play(seed: u64) -> u64 {
    play_with(seed, || steering::operator(seed))
}

fn play_with(seed: u64, operator: impl Fn() -> Option<Random>) -> u64 {
    let steps = Cell::new(0);
    let attempt = |told: bool| {
        let is_wide = WIDE.contains(&(seed % 5));
        let mut sim = Sim::new(seed, seed.is_multiple_of(CROWD_EVERY), is_wide, told);
        sim.operator = operator();
        let result = catch_unwind(AssertUnwindSafe(|| sim.play()));
        steps.set(sim.steps);
        (sim, result)
    };
    let (_, result) = attempt(false);
    let Err(panic) = result else {
        return steps.get();
    };
    // The same once more, and this time it is written down.
    let (sim, _) = attempt(true);
    eprintln!(
        "\nthe last of seed {seed}, which fails at step {}:",
        sim.steps
    );
    for line in sim.told() {
        eprintln!("  {line}");
    }
    eprintln!("once more: npm run simulate -- --seed {seed}\n");
    resume_unwind(panic)
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is no whole number: {text}")))
}

#[test]
fn all_promises_hold_whatever_happens() {
    let seed = number_of("EGG_CLUSTER_RS_SIM_SEED");
    let default = if seed.is_some() { 1 } else { STEPS };
    let wanted = number_of("EGG_CLUSTER_RS_SIM_STEPS").unwrap_or(default);
    let first = seed.unwrap_or(1);
    let (mut steps, mut runs) = (0, 0);
    while steps < wanted {
        steps += play(first.wrapping_add(runs));
        runs += 1;
    }
    println!("{steps} steps in {runs} runs from seed {first}");
}

#[test]
fn runs_that_have_found_something_pass() {
    for &(seed, _) in seeds::FOUND {
        play_with(seed, || None);
        play(seed);
    }
}
