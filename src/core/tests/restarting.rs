//! Crash loops: delays that grow, the limit of all together, giving up.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Who is in a slot now, by its view.
fn in_slot(world: &World, slot: usize) -> Option<u32> {
    world.core.snapshot().slots[slot].worker
}

/// The worker of slot 0 dies; says in how many ms the next one comes.
fn kill_first(world: &mut World, ready: bool) -> u64 {
    let id = in_slot(world, 0).expect("a worker in slot 0");
    if ready {
        world.bring_up(id);
    }
    world.die(ChildId::App(id), code(1));
    let event = world.last_event("app-disconnected");
    match event["refork"].as_str() {
        Some("refork") => 0,
        Some("later") => event["reforkInMs"].as_u64().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Waits until slot 0 has a worker again.
fn await_refork(world: &mut World) {
    while in_slot(world, 0).is_none() {
        let next = world.core.poll_timeout().expect("a refork to wait for");
        let time = next.saturating_duration_since(world.now);
        world.pass(time);
    }
}

fn assert_near(delay: u64, wanted: u64) {
    assert!(
        delay * 10 >= wanted * 8 && delay * 10 <= wanted * 12,
        "{delay} is not near {wanted}"
    );
}

#[test]
fn a_worker_that_dies_while_it_boots_comes_again_with_growing_delays() {
    let mut world = World::running(settings(2));
    world.pass(10 * SECOND);
    let delays = [0, 0, 500, 1000, 2000, 4000, 8000, 16_000];
    for (death, wanted) in delays.into_iter().enumerate() {
        let delay = kill_first(&mut world, false);
        assert_near(delay, wanted);
        let slot = world.core.snapshot().slots[0].clone();
        assert_eq!(slot.waiting, delay > 0);
        assert_eq!(slot.restarts as usize, death + 1);
        assert_eq!(slot.strikes as usize, death);
        await_refork(&mut world);
    }
    let delay = kill_first(&mut world, false);
    assert!((24_000..=30_000).contains(&delay), "{delay}");
    assert!(world.events_of("closed").is_empty(), "the other one serves");
}

#[test]
fn a_worker_that_had_been_ready_is_replaced_at_once_a_few_times() {
    let mut world = World::running(settings(2));
    for wanted in [0, 0, 0, 500, 1000] {
        assert_near(kill_first(&mut world, true), wanted);
        await_refork(&mut world);
    }
}

#[test]
fn a_stable_time_makes_the_next_death_the_first_again() {
    let mut world = World::running(settings(2));
    for _ in 0..6 {
        kill_first(&mut world, false);
        await_refork(&mut world);
    }
    let id = in_slot(&world, 0).unwrap();
    world.bring_up(id);
    world.pass(10 * SECOND);
    assert_eq!(kill_first(&mut world, false), 0);
    assert_eq!(world.core.snapshot().slots[0].strikes, 0);
    // Not stable by a millisecond.
    for _ in 0..6 {
        kill_first(&mut world, false);
        await_refork(&mut world);
    }
    let id = in_slot(&world, 0).unwrap();
    world.bring_up(id);
    world.pass(10 * SECOND - Duration::from_millis(1));
    assert!(kill_first(&mut world, false) > 0);
}

#[test]
fn slots_that_fail_together_do_not_come_again_together() {
    let mut given = settings(8);
    given.restart.seed = 42;
    let mut world = World::running(given);
    let mut delays = BTreeSet::new();
    for id in 1..=8 {
        world.core.restarts.slot_mut(id - 1).unwrap();
        for _ in 0..4 {
            let id = in_slot(&world, id as usize - 1).unwrap();
            world.kill(ChildId::App(id));
            if let Some(delay) = world.last_event("app-disconnected")["reforkInMs"].as_u64() {
                delays.insert(delay);
                break;
            }
        }
    }
    assert_eq!(delays.len(), 8, "{delays:?}");
}

#[test]
fn the_last_exit_of_a_slot_is_kept() {
    let mut world = World::running(settings(1));
    let pid = world.pids[&ChildId::App(1)];
    world.die(ChildId::App(1), code(7));
    let slot = serde_json::to_value(&world.core.snapshot().slots[0]).unwrap();
    assert_eq!(
        slot["lastExit"],
        json!({"id": 1, "pid": pid, "code": 7, "signal": null, "ready": true})
    );
    world.kill(AGENT);
    let agent = serde_json::to_value(world.core.snapshot().agent_slot).unwrap();
    assert_eq!(agent["lastExit"]["signal"], "SIGKILL");
    assert_eq!(agent["waiting"], true);
}

#[test]
fn beyond_the_limit_of_all_together_every_restart_waits_for_the_longest_delay() {
    let mut given = settings(4);
    given.restart.intensity_limit = 3;
    let mut world = World::running(given);
    for id in 1..=3 {
        world.kill(ChildId::App(id));
        assert_eq!(world.last_event("app-disconnected")["refork"], "refork");
    }
    assert!(world.events_of("restart-limit").is_empty());
    for id in 4..=6 {
        world.kill(ChildId::App(id));
        let delay = world.last_event("app-disconnected")["reforkInMs"].as_u64();
        assert!((24_000..=30_000).contains(&delay.unwrap()), "{delay:?}");
    }
    assert_eq!(world.events_of("restart-limit").len(), 1, "told once");
    world.bring_up(7);
    world.pass(60 * SECOND);
    world.kill(ChildId::App(7));
    assert_eq!(world.last_event("app-disconnected")["refork"], "refork");
}

/// Workers die as soon as they are forked, until the master ends or `limit` is over.
fn crash_until_closed(world: &mut World, limit: Duration) {
    let end = world.now + limit;
    while world.now < end && world.core.snapshot().phase == "running" {
        let apps: Vec<_> = world.core.workers.ids().collect();
        for id in apps {
            if world.core.snapshot().phase == "running" {
                world.die(ChildId::App(id), code(1));
            }
        }
        world.pass(Duration::from_millis(500));
    }
    for child in std::mem::take(&mut world.alive) {
        world.alive.insert(child);
        world.exit(child, code(0));
    }
}

#[test]
fn a_master_that_cannot_bring_its_application_up_gives_up_with_a_code_of_its_own() {
    for workers in [1, 3, 20] {
        let mut world = World::running(settings(workers));
        let start = world.now;
        crash_until_closed(&mut world, 600 * SECOND);
        let gave_up = world.last_event("gave-up");
        assert_eq!(gave_up["code"], 69, "{workers}");
        assert!(gave_up["noneReadyMs"].as_u64().unwrap() >= 60_000);
        assert!(world.now - start <= 100 * SECOND);
        assert_eq!(world.last_event("closed")["code"], 69);
        assert!(world.events_of("check-failed").is_empty());
    }
}

#[test]
fn it_does_not_give_up_while_one_worker_serves_nor_when_it_must_not() {
    let mut world = World::running(settings(2));
    for _ in 0..30 {
        kill_first(&mut world, false);
        await_refork(&mut world);
    }
    assert_eq!(world.core.snapshot().phase, "running");

    let mut given = settings(1);
    given.restart.give_up = None;
    let mut world = World::running(given);
    let end = world.now + 600 * SECOND;
    while world.now < end {
        kill_first(&mut world, false);
        await_refork(&mut world);
    }
    assert_eq!(world.core.snapshot().phase, "running");
    assert!(world.events_of("check-failed").is_empty());
}

#[test]
fn an_application_that_comes_up_again_in_time_is_not_given_up() {
    let mut world = World::running(settings(1));
    let start = world.now;
    while world.now < start + 59 * SECOND {
        kill_first(&mut world, false);
        await_refork(&mut world);
    }
    let id = in_slot(&world, 0).unwrap();
    world.bring_up(id);
    world.pass(SECOND);
    kill_first(&mut world, false);
    assert_eq!(world.core.snapshot().phase, "running");
    assert!(world.events_of("gave-up").is_empty());
}

#[test]
fn an_application_that_boots_slowly_is_not_given_up_after_two_or_three_tries() {
    let mut world = World::running(settings(1));
    world.pass(10 * SECOND);
    for _ in 0..3 {
        kill_first(&mut world, false);
        await_refork(&mut world);
        world.pass(40 * SECOND);
    }
    kill_first(&mut world, false);
    assert!(world.events_of("gave-up").is_empty());
    assert_eq!(world.core.snapshot().phase, "running");
}

#[test]
fn workers_that_the_system_does_not_start_are_the_check_s_business() {
    let mut world = World::running(settings(1));
    world.spawn_fails = true;
    world.kill(ChildId::App(1));
    let slot = world.core.snapshot().slots[0].clone();
    assert_eq!(slot.last_error.as_deref(), Some("no more processes"));
    world.pass(30 * SECOND);
    assert_eq!(world.last_event("check-failed")["worker"], 0);
    world.exit(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 1);
}

/// The agent dies; says in how many ms the next one comes.
fn kill_agent(world: &mut World, id: u32, started: bool) -> u64 {
    let agent = ChildId::Agent(id);
    if started {
        world.say(agent, &json!({"action": "agent-start", "to": "master"}));
    }
    world.kill(agent);
    let delay = world.last_event("agent-exited")["restartInMs"].as_u64();
    let delay = delay.unwrap();
    world.pass(Duration::from_millis(delay));
    delay
}

#[test]
fn an_agent_that_dies_again_and_again_is_restarted_ever_slower() {
    let mut given = settings(1);
    given.production = false;
    let mut world = World::running(given);
    world.pass(10 * SECOND);
    assert_eq!(kill_agent(&mut world, 1, true), 1000);
    for (id, wanted) in [
        (2, 1000),
        (3, 1000),
        (4, 1000),
        (5, 2000),
        (6, 4000),
        (7, 8000),
    ] {
        assert_near(kill_agent(&mut world, id, true), wanted);
    }
    for id in 8..12 {
        kill_agent(&mut world, id, true);
    }
    let delay = kill_agent(&mut world, 12, true);
    assert!((24_000..=30_000).contains(&delay), "{delay}");
    let started = json!({"action": "agent-start", "to": "master"});
    world.say(ChildId::Agent(13), &started);
    world.pass(10 * SECOND);
    assert_eq!(kill_agent(&mut world, 13, true), 1000);
}

#[test]
fn an_agent_that_starts_and_dies_does_not_end_the_master_while_it_is_merely_delayed() {
    let mut world = World::running(settings(1));
    for id in 1..30 {
        kill_agent(&mut world, id, true);
    }
    assert!(world.events_of("check-failed").is_empty());
}

#[test]
fn an_agent_that_does_not_start_again_ends_the_master_after_three_checks() {
    let mut world = World::running(settings(1));
    let start = world.now;
    let mut id = 1;
    while world.core.snapshot().phase == "running" && world.now < start + 60 * SECOND {
        kill_agent(&mut world, id, false);
        id += 1;
    }
    assert_eq!(world.last_event("check-failed")["agent"], 0);
}
