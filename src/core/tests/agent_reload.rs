//! A reload that replaces the agent, too: never two agents, and the apps follow.

use super::*;

const NEW_AGENT: ChildId = ChildId::Agent(2);

fn reloading(workers: u32) -> World {
    let mut world = World::running(settings(workers));
    world.forget_sent();
    world.command(Command::ReloadWithAgent);
    world
}

fn start(world: &mut World, agent: ChildId) {
    world.say(agent, &json!({"action": "agent-start", "to": "master"}));
}

#[test]
fn the_old_agent_ends_a_new_one_starts_and_the_apps_follow() {
    let mut world = reloading(1);
    assert_eq!(world.events_of("reloading-agent").len(), 1);
    assert_eq!(world.signals, [(AGENT, Signal::Terminate)]);
    assert_eq!(world.spawns.len(), 2, "the old one is still there");
    world.die(AGENT, code(0));
    assert_eq!(world.spawns.last().unwrap().child, NEW_AGENT, "at once");
    assert_eq!(world.events_of("agent-replaced").len(), 1);
    assert!(world.events_of("agent-exited").is_empty());
    assert!(world.to_parent().is_empty(), "no agent-worker-died");
    assert_eq!(world.received(ChildId::App(1))[0]["data"], json!([]));
    start(&mut world, NEW_AGENT);
    let pid = world.pids[&NEW_AGENT];
    let told = world.received(ChildId::App(1));
    assert_eq!(told[0]["data"], json!([pid]));
    assert_eq!(told[1]["action"], "agent-start");
    assert_eq!(world.spawns.last().unwrap().child, ChildId::App(2));
    world.bring_up_for_good(2);
    world.die(ChildId::App(1), code(0));
    assert_eq!(world.events_of("reload-done").len(), 1);
    assert_eq!(world.events_of("reload-started").len(), 1);
}

#[test]
fn without_the_flag_the_agent_stays() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    assert!(world.signals.is_empty());
    assert_eq!(world.spawns.last().unwrap().child, ChildId::App(2));
}

#[test]
fn a_message_can_ask_for_it() {
    for (data, wanted) in [
        (json!({"agent": true}), 1),
        (json!({"agent": 1}), 0),
        (json!("x"), 0),
    ] {
        let mut world = World::running(settings(1));
        let message = json!({"action": "reload-worker", "to": "master", "data": data});
        world.say(ChildId::App(1), &message);
        assert_eq!(world.events_of("reloading-agent").len(), wanted);
        assert_eq!(world.events_of("reload-started").len(), 1);
    }
}

#[test]
fn what_the_old_agent_left_behind_is_gone_before_the_new_one_comes() {
    let mut world = reloading(1);
    world.descendants = 1;
    world.die(AGENT, code(0));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.spawns.len(), 2);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.signals.last(), Some(&(AGENT, Signal::Kill)));
    assert_eq!(world.spawns.last().unwrap().child, NEW_AGENT);
}

#[test]
fn an_agent_that_does_not_end_is_killed_after_its_grace() {
    let mut world = reloading(1);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.signals.last(), Some(&(AGENT, Signal::Kill)));
    world.kill(AGENT);
    assert_eq!(world.spawns.last().unwrap().child, NEW_AGENT);
    assert!(world.events_of("agent-exited").is_empty());
}

#[test]
fn a_new_agent_that_fails_stops_the_reload_and_is_restarted_as_usual() {
    let mut world = reloading(1);
    world.die(AGENT, code(0));
    world.die(NEW_AGENT, code(1));
    let reason = world.last_event("reload-failed")["reason"].to_string();
    assert!(
        reason.contains("agent_worker#2") && reason.contains("code 1"),
        "{reason}"
    );
    assert_eq!(world.events_of("agent-exited").len(), 1);
    assert_eq!(world.ready(), 1);
    assert_eq!(world.spawns.len(), 3);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.spawns.last().unwrap().child, ChildId::Agent(3));
    start(&mut world, ChildId::Agent(3));
    assert_eq!(world.spawns.len(), 4, "the reload is over");
}

#[test]
fn a_new_agent_that_cannot_be_forked_stops_the_reload() {
    let mut world = reloading(1);
    world.spawn_fails = true;
    world.die(AGENT, code(0));
    assert_eq!(world.events_of("reload-failed").len(), 1);
    world.spawn_fails = false;
    world.pass(Duration::from_secs(1));
    start(&mut world, ChildId::Agent(3));
    assert!(world.core.snapshot().agent.unwrap().ready);
}

#[test]
fn an_agent_that_waits_for_its_restart_is_forked_at_once() {
    let mut world = World::running(settings(1));
    world.kill(AGENT);
    world.command(Command::ReloadWithAgent);
    assert_eq!(world.spawns.last().unwrap().child, NEW_AGENT);
    start(&mut world, NEW_AGENT);
    assert_eq!(world.spawns.last().unwrap().child, ChildId::App(2));
    world.pass(Duration::from_secs(5));
    assert_eq!(world.spawns.len(), 4, "no second agent");
}

#[test]
fn requests_during_it_are_one_more_reload_with_the_agent_if_one_wants_that() {
    let mut world = reloading(1);
    world.command(Command::ReloadWithAgent);
    world.command(Command::Reload);
    world.die(AGENT, code(0));
    start(&mut world, NEW_AGENT);
    world.bring_up_for_good(2);
    world.die(ChildId::App(1), code(0));
    assert_eq!(world.events_of("reloading-agent").len(), 2);
    assert_eq!(world.signals.last(), Some(&(NEW_AGENT, Signal::Terminate)));
}

#[test]
fn an_app_worker_that_dies_meanwhile_is_replaced_again_with_the_new_agent() {
    let mut world = reloading(1);
    world.pass(Duration::from_millis(10));
    world.kill(ChildId::App(1));
    world.bring_up(2);
    world.pass(Duration::from_millis(10));
    world.die(AGENT, code(0));
    start(&mut world, NEW_AGENT);
    assert_eq!(world.spawns.last().unwrap().child, ChildId::App(3));
}

#[test]
fn a_slow_new_agent_does_not_end_the_master() {
    let mut world = reloading(1);
    world.die(AGENT, code(0));
    world.pass(Duration::from_secs(120));
    assert!(world.events_of("check-failed").is_empty());
}

#[test]
fn closing_at_any_stage_ends_everything_once() {
    for stage in 0..3 {
        let mut world = reloading(1);
        let mut children = vec![ChildId::App(1), AGENT];
        if stage > 0 {
            world.die(AGENT, code(0));
            children[1] = NEW_AGENT;
        }
        if stage > 1 {
            start(&mut world, NEW_AGENT);
            children.insert(0, ChildId::App(2));
        }
        let spawns = world.spawns.len();
        world.command(Command::Close);
        for child in children {
            world.die(child, code(0));
        }
        assert_eq!(world.events_of("closed").len(), 1, "stage {stage}");
        assert_eq!(world.spawns.len(), spawns, "stage {stage}");
    }
}

#[test]
fn an_old_agent_that_ends_while_closing_is_not_replaced() {
    let mut world = reloading(1);
    world.command(Command::Close);
    world.die(AGENT, code(0));
    world.die(ChildId::App(1), code(0));
    assert_eq!(world.spawns.len(), 2);
    assert_eq!(world.events_of("closed").len(), 1);
}

#[test]
fn an_agent_that_is_being_forked_when_the_reload_is_asked_for_is_new_enough() {
    let mut world = World::running(settings(1));
    world.spawn_later = true;
    world.die(AGENT, code(1));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.spawns.last().unwrap().child, NEW_AGENT);
    world.command(Command::ReloadWithAgent);
    world.answer_spawn(NEW_AGENT);
    assert!(world.signals.is_empty(), "it is not ended again");
    start(&mut world, NEW_AGENT);
    assert_eq!(
        world.spawns.last().unwrap().child,
        ChildId::App(2),
        "the apps follow"
    );
}
