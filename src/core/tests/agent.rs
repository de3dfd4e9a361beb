//! The agent: first, alone, and replaced when it dies.

use super::*;

#[test]
fn the_apps_are_forked_when_the_agent_says_that_it_has_started() {
    let mut world = World::new(settings(2));
    world.command(Command::Start);
    assert_eq!(world.spawns.len(), 1);
    assert_eq!(world.spawns[0].child, AGENT);
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    let slots: Vec<_> = world.spawns[1..]
        .iter()
        .map(|spec| (spec.child, spec.slot))
        .collect();
    assert_eq!(
        slots,
        [(ChildId::App(1), Some(0)), (ChildId::App(2), Some(1))]
    );
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    assert_eq!(world.spawns.len(), 3, "a second agent-start forks nothing");
}

#[test]
fn an_app_cannot_speak_as_the_agent() {
    let mut world = World::new(settings(1));
    world.start_agent();
    world.forget_sent();
    world.say(
        ChildId::App(1),
        &json!({"action": "agent-start", "to": "master"}),
    );
    assert!(world.events_of("agent-started").is_empty());
    assert_eq!(world.last_event("message")["message"]["from"], "app");
}

#[test]
fn an_agent_that_dies_during_start_ends_the_master_with_1() {
    let mut world = World::new(settings(1));
    world.command(Command::Start);
    world.die(AGENT, code(1));
    assert!(world.last_event("agent-exited")["restartInMs"].is_null());
    assert_eq!(world.last_event("closed")["code"], 1);
    assert_eq!(world.spawns.len(), 1);
}

#[test]
fn an_agent_that_dies_while_the_apps_boot_takes_them_along() {
    let mut world = World::new(settings(2));
    world.start_agent();
    world.die(AGENT, code(1));
    assert!(
        world.events_of("closed").is_empty(),
        "the apps are still there"
    );
    world.exit(ChildId::App(1), code(0));
    world.exit(ChildId::App(2), code(0));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn a_dead_agent_is_replaced_after_a_second_and_told_who_listens() {
    let mut world = World::running(settings(2));
    let pids: Vec<i32> = [1, 2].map(|id| world.pids[&ChildId::App(id)]).into();
    world.forget_sent();
    world.kill(AGENT);
    assert_eq!(world.last_event("agent-exited")["restartInMs"], 1000);
    assert_eq!(world.to_parent()[0]["action"], "agent-worker-died");
    assert_eq!(world.received(ChildId::App(1))[0]["data"], json!([]));
    world.pass(Duration::from_millis(999));
    assert!(world.events_of("agent-forked").is_empty());
    world.pass(Duration::from_millis(1));
    let agent = ChildId::Agent(2);
    world.say(agent, &json!({"action": "agent-start", "to": "master"}));
    let told = world.received(agent);
    assert_eq!(told[0]["action"], "egg-ready");
    assert_eq!(told[0]["data"], json!({"port": 7001}));
    assert_eq!(told[1]["action"], "egg-pids");
    assert_eq!(told[1]["data"], json!(pids));
    let told = world.received(ChildId::App(2));
    assert_eq!(told[1]["data"], json!([world.pids[&agent]]));
    assert_eq!(told[2]["action"], "agent-start");
    assert_eq!(world.spawns.len(), 4, "the apps stay");
}

#[test]
fn an_agent_that_cannot_be_forked_is_fatal_at_start_and_tried_again_later() {
    let mut world = World::new(settings(1));
    world.spawn_fails = true;
    world.command(Command::Start);
    assert_eq!(world.last_event("spawn-failed")["role"], "agent");
    assert_eq!(world.last_event("closed")["code"], 1);

    let mut world = World::running(settings(1));
    world.kill(AGENT);
    world.spawn_fails = true;
    world.pass(Duration::from_secs(3));
    assert_eq!(world.events_of("spawn-failed").len(), 3);
    world.spawn_fails = false;
    world.pass(Duration::from_secs(1));
    assert_eq!(world.last_event("agent-forked")["id"], 5);
}

#[test]
fn three_bad_checks_in_a_row_end_a_production_master() {
    let mut world = World::running(settings(1));
    world.kill(AGENT);
    world.spawn_fails = true;
    world.pass(Duration::from_millis(29_999));
    assert!(world.events_of("check-failed").is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.last_event("check-failed")["agent"], 0);
    assert_eq!(world.last_event("check-failed")["worker"], 1);
    world.exit(ChildId::App(1), code(0));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn a_good_check_forgets_the_bad_ones_before_it() {
    let mut world = World::running(settings(1));
    for _ in 0..3 {
        let agent = *world.alive.first().unwrap();
        world.kill(agent);
        world.spawn_fails = true;
        world.pass(Duration::from_secs(20));
        world.spawn_fails = false;
        world.pass(Duration::from_secs(1));
        let agent = *world.alive.first().unwrap();
        world.say(agent, &json!({"action": "agent-start", "to": "master"}));
        world.pass(Duration::from_secs(9));
    }
    assert!(world.events_of("check-failed").is_empty());
}
