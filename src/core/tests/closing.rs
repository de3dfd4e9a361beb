//! Closing: the apps, then the agent; SIGTERM, grace, SIGKILL; descendants included.

use super::*;

#[test]
fn the_apps_end_first_then_the_agent() {
    let mut world = World::running(settings(2));
    world.command(Command::Close);
    assert_eq!(world.last_event("closing-apps")["timeoutMs"], 5000);
    assert_eq!(
        world.signals,
        [
            (ChildId::App(1), Signal::Terminate),
            (ChildId::App(2), Signal::Terminate)
        ]
    );
    world.die(ChildId::App(1), code(0));
    assert!(world.events_of("closing-agent").is_empty());
    world.die(ChildId::App(2), code(0));
    assert_eq!(world.last_event("closing-agent")["timeoutMs"], 3000);
    assert_eq!(world.signals.last(), Some(&(AGENT, Signal::Terminate)));
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
    assert_eq!(world.spawns.len(), 3);
    assert!(world.core.poll_timeout().is_none());
    assert_eq!(world.last_event("app-exited")["expected"], true);
    assert!(world.events_of("agent-exited").is_empty());
}

#[test]
fn whoever_does_not_end_in_time_is_killed() {
    let mut world = World::running(settings(2));
    world.command(Command::Close);
    world.die(ChildId::App(1), code(0));
    world.pass(Duration::from_millis(5_000));
    assert_eq!(world.signals.last(), Some(&(ChildId::App(2), Signal::Kill)));
    assert_eq!(world.last_event("killed")["exited"], false);
    world.kill(ChildId::App(2));
    world.pass(Duration::from_millis(3_000));
    assert_eq!(world.signals.last(), Some(&(AGENT, Signal::Kill)));
    world.kill(AGENT);
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn descendants_that_stay_are_awaited_and_then_killed() {
    let mut world = World::running(settings(1));
    world.descendants = 2;
    world.command(Command::Close);
    world.die(ChildId::App(1), code(0));
    world.pass(Duration::from_millis(4_999));
    assert!(world.events_of("closing-agent").is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.signals[1], (ChildId::App(1), Signal::Kill));
    assert_eq!(world.last_event("killed")["exited"], true);
    world.descendants = 0;
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn descendants_that_leave_are_not_waited_for() {
    let mut world = World::running(settings(1));
    world.descendants = 1;
    world.command(Command::Close);
    world.die(ChildId::App(1), code(0));
    world.descendants = 0;
    world.pass(Duration::from_millis(50));
    assert_eq!(world.events_of("closing-agent").len(), 1);
    assert_eq!(
        world
            .signals
            .iter()
            .filter(|(_, signal)| *signal == Signal::Kill)
            .count(),
        0
    );
}

#[test]
fn closing_twice_is_closing_once() {
    let mut world = World::running(settings(1));
    world.command(Command::Close);
    world.command(Command::Close);
    world.die(ChildId::App(1), code(0));
    world.command(Command::Close);
    world.die(AGENT, code(0));
    world.command(Command::Close);
    assert_eq!(world.events_of("closed").len(), 1);
    assert_eq!(world.signals.len(), 2);
}

#[test]
fn closing_works_in_every_phase() {
    let mut world = World::new(settings(1));
    world.command(Command::Close);
    assert_eq!(world.last_event("closed")["code"], 0);

    let mut world = World::new(settings(1));
    world.command(Command::Start);
    world.command(Command::Close);
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);

    let mut world = World::new(settings(2));
    world.start_agent();
    world.command(Command::Close);
    for child in [ChildId::App(1), ChildId::App(2), AGENT] {
        world.die(child, code(0));
    }
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn closing_while_the_agent_is_being_replaced_needs_no_agent() {
    let mut world = World::running(settings(1));
    world.kill(AGENT);
    world.command(Command::Close);
    world.pass(Duration::from_secs(2));
    world.die(ChildId::App(1), code(0));
    assert_eq!(world.last_event("closing-agent")["alive"], false);
    assert_eq!(world.last_event("closed")["code"], 0);
    assert_eq!(world.spawns.len(), 2);
}

#[test]
fn nothing_is_accepted_or_forked_any_more() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.command(Command::Close);
    assert_eq!(world.closed_listeners, [listener]);
    assert!(world.conns.contains(&conn), "its worker may still answer");
    world.kill(ChildId::App(1));
    world.kill(ChildId::App(2));
    world.assert_all_closed();
    assert_eq!(world.spawns.len(), 3);
    world.kill(AGENT);
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn a_message_after_the_end_does_no_harm() {
    let mut world = World::running(settings(1));
    world.command(Command::Close);
    world.kill(ChildId::App(1));
    world.kill(AGENT);
    let message = user(&json!({"action": "late", "to": "app"}));
    world.command(Command::Send {
        from: Origin::Master,
        message,
    });
    world.command(Command::Reload);
    world.command(Command::Start);
    assert_eq!(world.spawns.len(), 2);
}
