//! Reload: slot by slot, and never fewer ready workers than before.

use super::*;

#[test]
fn in_production_one_slot_after_the_other_is_replaced() {
    let mut world = World::running(settings(3));
    world.command(Command::Reload);
    for (old, new) in [(1, 4), (2, 5), (3, 6)] {
        assert_eq!(world.spawns.last().unwrap().child, ChildId::App(new));
        assert_eq!(
            world.alive.len(),
            5,
            "agent, three workers, one above the number"
        );
        world.bring_up_for_good(new);
        assert!(world.ready() >= 3);
        world.feed(Input::Disconnected {
            child: ChildId::App(old),
        });
        assert_eq!(
            world.signals.last(),
            Some(&(ChildId::App(old), Signal::Terminate))
        );
        world.exit(ChildId::App(old), code(0));
        assert_eq!(world.last_event("app-exited")["reloaded"], true);
    }
    assert_eq!(world.events_of("reload-done").len(), 1);
    let slots: Vec<_> = world
        .core
        .snapshot()
        .workers
        .iter()
        .map(|w| (w.id, w.slot))
        .collect();
    assert_eq!(slots, [(4, Some(0)), (5, Some(1)), (6, Some(2))]);
    assert_eq!(world.ready(), 3);
}

#[test]
fn an_old_worker_finishes_what_it_has_and_gets_nothing_new() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let taken = world.connect(listener);
    world.command(Command::Reload);
    world.bring_up_for_good(2);
    let asked = world
        .sent
        .iter()
        .any(|(child, line, _)| *child == ChildId::App(1) && line["act"] == "disconnect");
    assert!(asked);
    assert!(world.signals.is_empty());
    let next = world.connect(listener);
    assert_eq!(world.answer(2, true), next);
    assert_eq!(world.answer(1, true), taken);
    world.pass(Duration::from_secs(5));
    assert_eq!(
        world.signals,
        [(ChildId::App(1), Signal::Terminate)],
        "its time is over"
    );
    world.pass(Duration::from_secs(5));
    assert_eq!(world.signals[1], (ChildId::App(1), Signal::Kill));
    world.kill(ChildId::App(1));
    assert_eq!(world.ready(), 1);
}

#[test]
fn what_an_old_worker_refuses_is_served_by_the_new_one() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.command(Command::Reload);
    world.bring_up_for_good(2);
    world.answer(1, false);
    assert_eq!(world.answer(2, true), conn);
}

#[test]
fn the_port_stays_open_throughout() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    world.command(Command::Reload);
    world.bring_up_for_good(2);
    world.die(ChildId::App(1), code(0));
    assert!(world.closed_listeners.is_empty());
    assert!(world.accepting.contains(&listener));
}

#[test]
fn a_new_worker_that_fails_stops_the_reload_and_the_old_ones_serve_on() {
    let mut world = World::running(settings(2));
    world.command(Command::Reload);
    world.die(ChildId::App(3), code(1));
    let reason = world.last_event("reload-failed")["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        reason.contains("app_worker#3") && reason.contains("code 1"),
        "{reason}"
    );
    assert_eq!(world.ready(), 2);
    assert!(world.signals.is_empty());
    assert_eq!(world.spawns.len(), 4, "nothing more is forked");
    world.command(Command::Reload);
    assert_eq!(world.spawns.len(), 5, "another try is possible");
}

#[test]
fn an_old_worker_that_dies_during_the_reload_is_replaced_by_the_new_one() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.kill(ChildId::App(1));
    assert_eq!(world.spawns.len(), 3, "its successor boots already");
    world.bring_up(2);
    assert_eq!(world.ready(), 1);
    assert_eq!(world.events_of("reload-done").len(), 1);
}

#[test]
fn when_both_die_the_slot_is_filled_again() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.kill(ChildId::App(1));
    world.kill(ChildId::App(2));
    world.pass(Duration::from_millis(1));
    world.bring_up(3);
    assert_eq!(world.ready(), 1);
}

#[test]
fn a_worker_reforked_during_the_reload_is_new_enough() {
    let mut world = World::running(settings(2));
    world.command(Command::Reload);
    world.pass(Duration::from_millis(10));
    world.kill(ChildId::App(2));
    world.bring_up(4);
    world.bring_up_for_good(3);
    world.die(ChildId::App(1), code(0));
    assert_eq!(world.events_of("reload-done").len(), 1);
    assert_eq!(world.spawns.len(), 5);
}

#[test]
fn requests_during_a_reload_are_one_more_reload() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.command(Command::Reload);
    world.command(Command::Reload);
    world.bring_up_for_good(2);
    world.die(ChildId::App(1), code(0));
    assert_eq!(world.events_of("reload-started").len(), 2);
    world.bring_up_for_good(3);
    world.die(ChildId::App(2), code(0));
    assert_eq!(world.events_of("reload-done").len(), 2);
    assert_eq!(world.events_of("reload-started").len(), 2);
}

#[test]
fn in_local_mode_all_are_replaced_at_once() {
    let mut given = settings(3);
    given.production = false;
    let mut world = World::running(given);
    world.kill(ChildId::App(2));
    world.command(Command::Reload);
    assert_eq!(world.spawns.len(), 7);
    for id in 4..=6 {
        world.bring_up(id);
    }
    assert_eq!(world.ready(), 5, "two old ones drain");
    assert!(world.events_of("reload-done").is_empty());
    world.die(ChildId::App(1), code(0));
    world.die(ChildId::App(3), code(0));
    assert_eq!(world.events_of("reload-done").len(), 1);
}

#[test]
fn in_local_mode_a_failing_reload_leaves_the_old_ones() {
    let mut given = settings(2);
    given.production = false;
    let mut world = World::running(given);
    world.command(Command::Reload);
    world.die(ChildId::App(3), code(1));
    assert_eq!(world.events_of("reload-failed").len(), 1);
    assert_eq!(world.signals, [(ChildId::App(4), Signal::Terminate)]);
    world.die(ChildId::App(4), code(0));
    assert_eq!(world.ready(), 2);
}

#[test]
fn before_it_is_ready_a_master_does_not_reload() {
    let mut world = World::new(settings(1));
    world.start_agent();
    world.command(Command::Reload);
    assert!(world.events_of("reload-started").is_empty());
}

#[test]
fn closing_during_a_reload_ends_old_and_new() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.command(Command::Close);
    assert_eq!(world.signals.len(), 2);
    for child in [ChildId::App(2), ChildId::App(1), AGENT] {
        world.die(child, code(0));
    }
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn a_new_worker_that_does_not_last_is_a_failure() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.bring_up(2);
    assert_eq!(world.ready(), 2, "both serve meanwhile");
    world.pass(Duration::from_millis(999));
    world.kill(ChildId::App(2));
    assert_eq!(world.events_of("reload-failed").len(), 1);
    world.pass(Duration::from_secs(5));
    assert!(world.signals.is_empty());
    assert_eq!(world.ready(), 1);
}

#[test]
fn an_empty_slot_does_not_wait() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.kill(ChildId::App(1));
    world.bring_up(2);
    assert_eq!(world.events_of("reload-done").len(), 1);
}

#[test]
fn the_next_slot_waits_for_the_old_worker_to_end() {
    let mut world = World::running(settings(2));
    world.command(Command::Reload);
    world.bring_up_for_good(3);
    assert_eq!(world.spawns.len(), 4);
    world.die(ChildId::App(1), code(0));
    assert_eq!(world.spawns.len(), 5);
}
