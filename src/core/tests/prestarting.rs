//! App workers that are started ahead of time: they wait, and are of use or in nobody's way.

use super::*;

fn at_start(workers: u32) -> Settings {
    let prestart = PrestartSettings {
        at_start: true,
        spares: 0,
    };
    Settings {
        prestart,
        ..settings(workers)
    }
}

fn with_spare(workers: u32) -> Settings {
    let prestart = PrestartSettings {
        at_start: false,
        spares: 1,
    };
    Settings {
        prestart,
        ..settings(workers)
    }
}

/// A cluster that has a spare, with this number.
fn with_waiting_spare(workers: u32) -> (World, ChildId) {
    let mut world = World::running(with_spare(workers));
    world.pass(Duration::from_secs(3));
    let spare = ChildId::App(workers + 1);
    assert_eq!(world.waiting, BTreeSet::from([spare]));
    (world, spare)
}

#[test]
fn workers_are_started_beside_the_agent_and_released_when_it_has_started() {
    let mut world = World::new(at_start(2));
    world.command(Command::Start);
    let started: Vec<_> = world
        .spawns
        .iter()
        .map(|it| (it.child, it.waits, it.slot))
        .collect();
    assert_eq!(
        started,
        [
            (AGENT, false, None),
            (ChildId::App(1), true, Some(0)),
            (ChildId::App(2), true, Some(1))
        ]
    );
    assert!(world.events_of("app-forked").is_empty());
    assert!(world.core.snapshot().workers.is_empty());
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    assert_eq!(world.releases, [(ChildId::App(1), 0), (ChildId::App(2), 1)]);
    assert_eq!(world.spawns.len(), 3, "nobody else is started");
    let kinds: Vec<_> = world.events.iter().map(|it| it["type"].clone()).collect();
    let at = |kind: &str| kinds.iter().position(|it| it == kind);
    assert!(at("agent-started") < at("apps-forking"));
    assert!(at("apps-forking") < at("app-forked"));
    world.bring_up(1);
    world.bring_up(2);
    assert_eq!(world.last_event("ready")["type"], "ready");
}

#[test]
fn what_is_for_all_apps_is_not_for_those_that_wait() {
    let mut world = World::new(at_start(1));
    world.command(Command::Start);
    // The world refuses to send to them.
    for message in [
        json!({"action": "x", "to": "app"}),
        json!({"action": "x", "receiverPid": world.pids[&ChildId::App(1)].to_string()}),
    ] {
        let from = Origin::Parent;
        let message = user(&message);
        world.command(Command::Send { from, message });
    }
    world.pass(Duration::from_secs(100));
    assert!(world.sent.is_empty());
}

#[test]
fn nothing_that_one_says_while_it_waits_counts() {
    let mut world = World::new(at_start(1));
    world.command(Command::Start);
    world.say(
        ChildId::App(1),
        &json!({"action": "agent-start", "to": "master"}),
    );
    world.listen_on(1, None, 7001);
    assert!(world.events_of("message").is_empty());
    assert!(world.listens.is_empty());
}

#[test]
fn one_that_has_died_waiting_is_replaced_by_one_that_does_not_wait() {
    let mut world = World::new(at_start(2));
    world.command(Command::Start);
    world.die(ChildId::App(1), code(7));
    assert!(world.events_of("app-exited").is_empty());
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    assert_eq!(world.releases, [(ChildId::App(2), 1)]);
    let last = world.spawns.last().unwrap();
    assert_eq!(
        (last.child, last.waits, last.slot),
        (ChildId::App(3), false, Some(0))
    );
    world.bring_up(2);
    world.bring_up(3);
    assert_eq!(world.last_event("ready")["type"], "ready");
}

#[test]
fn one_that_has_lost_its_channel_is_not_released_and_is_ended() {
    let mut world = World::new(at_start(1));
    world.command(Command::Start);
    let child = ChildId::App(1);
    world.feed(Input::Disconnected { child });
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    assert!(world.releases.is_empty());
    world.bring_up(2);
    world.pass(Duration::from_secs(20));
    assert!(world.signals.contains(&(child, Signal::Kill)));
    world.exit(child, code(0));
    world.command(Command::Close);
    world.exit(ChildId::App(2), code(0));
    world.exit(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn where_none_can_be_started_ahead_of_time_the_start_goes_on_without() {
    let mut world = World::new(at_start(1));
    world.spawn_later = true;
    world.command(Command::Start);
    world.answer_spawn(AGENT);
    let child = ChildId::App(1);
    let reason = "no more processes".to_owned();
    world.feed(Input::SpawnFailed { child, reason });
    assert!(world.events_of("spawn-failed").is_empty());
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    world.answer_spawn(ChildId::App(2));
    world.bring_up(2);
    assert_eq!(world.last_event("ready")["type"], "ready");
}

#[test]
fn one_that_is_being_made_when_the_agent_starts_is_released_when_it_exists() {
    let mut world = World::new(at_start(1));
    world.spawn_later = true;
    world.command(Command::Start);
    world.answer_spawn(AGENT);
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    assert!(world.releases.is_empty());
    assert_eq!(world.spawns.len(), 2);
    world.answer_spawn(ChildId::App(1));
    assert_eq!(world.releases, [(ChildId::App(1), 0)]);
    world.bring_up(1);
    assert_eq!(world.last_event("ready")["type"], "ready");
}

#[test]
fn an_agent_that_fails_takes_those_along_that_wait() {
    let mut world = World::new(at_start(2));
    world.command(Command::Start);
    world.disconnect_later = true;
    world.die(AGENT, code(1));
    assert!(world.events_of("closed").is_empty(), "they are still there");
    for id in [1, 2] {
        world.die(ChildId::App(id), code(0));
    }
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn a_close_ends_those_that_wait_before_the_agent() {
    let mut world = World::new(at_start(2));
    world.command(Command::Start);
    world.command(Command::Close);
    let apps = [1, 2].map(|id| (ChildId::App(id), Signal::Terminate));
    assert_eq!(world.signals, apps);
    world.exit(ChildId::App(1), code(0));
    world.pass(Duration::from_secs(5));
    assert!(world.signals.contains(&(ChildId::App(2), Signal::Kill)));
    world.exit(ChildId::App(2), code(0));
    assert_eq!(world.signals.last(), Some(&(AGENT, Signal::Terminate)));
    world.exit(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn one_that_comes_to_exist_when_the_end_has_begun_is_ended() {
    let mut world = World::new(at_start(1));
    world.spawn_later = true;
    world.command(Command::Start);
    world.answer_spawn(AGENT);
    world.command(Command::Close);
    assert!(world.signals.is_empty(), "an app is still to come");
    world.answer_spawn(ChildId::App(1));
    assert_eq!(world.signals, [(ChildId::App(1), Signal::Terminate)]);
    world.exit(ChildId::App(1), code(0));
    world.exit(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn a_spare_takes_the_place_of_a_worker_that_dies_and_is_replaced() {
    let (mut world, spare) = with_waiting_spare(2);
    let pid = world.pids[&spare];
    world.kill(ChildId::App(2));
    assert_eq!(world.releases, [(spare, 1)]);
    let forked = world.last_event("app-forked");
    assert_eq!(
        (&forked["id"], &forked["pid"], &forked["reason"]),
        (&json!(3), &json!(pid), &json!("refork"))
    );
    world.pass(Duration::from_secs(10));
    assert!(world.waiting.is_empty(), "not before its worker is ready");
    world.bring_up(3);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.waiting, BTreeSet::from([ChildId::App(4)]));
    world.pass(Duration::from_secs(100));
    assert_eq!(world.spawns.len(), 5, "one is enough");
}

#[test]
fn the_workers_of_a_reload_are_new_and_so_is_the_spare_after_it() {
    let (mut world, spare) = with_waiting_spare(1);
    world.command(Command::Reload);
    assert_eq!(world.signals, [(spare, Signal::Terminate)]);
    assert!(world.releases.is_empty());
    world.exit(spare, code(0));
    world.bring_up_for_good(3);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.waiting.len(), 1, "none while the reload lasts");
    world.exit(ChildId::App(1), code(0));
    world.pass(Duration::from_secs(3));
    assert!(world.waiting.contains(&ChildId::App(4)));
}

#[test]
fn a_spare_that_dies_is_replaced_after_a_while() {
    let (mut world, spare) = with_waiting_spare(1);
    world.waiting.remove(&spare);
    world.die(spare, code(1));
    world.pass(Duration::from_secs(29));
    assert!(world.waiting.is_empty());
    world.pass(Duration::from_secs(1));
    assert_eq!(world.waiting, BTreeSet::from([ChildId::App(3)]));
    assert!(world.events_of("app-exited").is_empty());
    assert!(
        world
            .to_parent()
            .iter()
            .all(|it| it["action"] != "app-worker-died")
    );
}

#[test]
fn outside_production_a_spare_becomes_the_worker_of_a_reload() {
    let mut world = World::running(Settings {
        production: false,
        ..with_spare(1)
    });
    world.pass(Duration::from_secs(3));
    let spare = ChildId::App(2);
    world.command(Command::Reload);
    assert_eq!(world.releases, [(spare, 0)]);
    assert_eq!(world.last_event("app-forked")["reason"], "reload");
    world.bring_up(2);
    world.pass(Duration::from_secs(60));
    assert!(world.waiting.is_empty(), "none while the reload lasts");
    world.exit(ChildId::App(1), code(0));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.waiting, BTreeSet::from([ChildId::App(3)]));
}

fn steer(world: &mut World, wish: Steer) {
    assert!(world.core.steer(world.now, wish).is_ok());
    world.perform();
}

#[test]
fn a_slot_that_an_operator_adds_gets_the_spare_which_is_told_of_the_new_number() {
    let (mut world, spare) = with_waiting_spare(1);
    steer(&mut world, Steer::Scale { workers: 3 });
    assert_eq!(world.releases, [(spare, 1)]);
    assert_eq!(world.released_of, 3);
    let last = world.spawns.last().unwrap();
    assert_eq!((last.slot, last.slots, last.waits), (Some(2), 3, false));
    world.bring_up(2);
    world.pass(Duration::from_secs(3));
    assert!(world.waiting.is_empty(), "no spare while a worker boots");
    world.bring_up(3);
    world.pass(Duration::from_secs(3));
    assert_eq!(world.waiting, BTreeSet::from([ChildId::App(4)]));
}

#[test]
fn a_spare_stays_when_slots_go_and_is_told_of_the_new_number_later() {
    let (mut world, spare) = with_waiting_spare(2);
    steer(&mut world, Steer::Scale { workers: 1 });
    world.feed(Input::Disconnected {
        child: ChildId::App(2),
    });
    world.exit(ChildId::App(2), code(0));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.waiting, BTreeSet::from([spare]));
    world.kill(ChildId::App(1));
    assert_eq!(world.releases, [(spare, 0)]);
    assert_eq!(world.released_of, 1);
}

#[test]
fn operators_see_no_worker_in_a_process_that_waits_and_do_not_ask_it() {
    let (mut world, spare) = with_waiting_spare(1);
    // The world refuses to send to it.
    world.core.inquire(world.now);
    world.perform();
    let status = world.core.status(world.now);
    let shown: Vec<_> = status
        .slots
        .iter()
        .filter_map(|it| it.process.as_ref())
        .map(|it| it.child)
        .collect();
    assert_eq!(shown, [ChildId::App(1)]);
    assert!(status.others.is_empty());
    assert_eq!(status.agent.process.unwrap().child, AGENT);
    assert_eq!(world.waiting, BTreeSet::from([spare]));
}

#[test]
fn in_production_the_restart_of_a_slot_does_without_a_spare_and_another_one_follows() {
    let mut world = World::running(Settings {
        production: true,
        ..with_spare(2)
    });
    world.pass(Duration::from_secs(3));
    let spare = ChildId::App(3);
    assert_eq!(world.waiting, BTreeSet::from([spare]));
    steer(&mut world, Steer::Restart { slot: 1 });
    assert!(world.releases.is_empty());
    world.exit(spare, code(0));
    let last = world.spawns.last().unwrap();
    assert_eq!(
        (last.child, last.slot, last.waits),
        (ChildId::App(4), Some(1), false)
    );
    world.bring_up(4);
    world.pass(Duration::from_secs(2));
    world.feed(Input::Disconnected {
        child: ChildId::App(2),
    });
    world.exit(ChildId::App(2), code(0));
    assert_eq!(world.last_event("reload-done")["slot"], 1);
    world.waiting.clear();
    world.pass(Duration::from_secs(3));
    assert_eq!(world.waiting, BTreeSet::from([ChildId::App(5)]));
}

#[test]
fn outside_production_the_restart_of_a_slot_takes_the_spare() {
    let settings = Settings {
        production: false,
        ..with_spare(2)
    };
    let mut world = World::running(settings);
    world.pass(Duration::from_secs(3));
    steer(&mut world, Steer::Restart { slot: 0 });
    assert_eq!(world.releases, [(ChildId::App(3), 0)]);
}

#[test]
fn a_spare_of_a_slot_that_is_gone_before_its_process_is_made_is_ended() {
    let mut world = World::running(with_spare(1));
    world.spawn_later = true;
    world.pass(Duration::from_secs(3));
    let spare = ChildId::App(2);
    assert_eq!(world.waiting, BTreeSet::from([spare]));
    steer(&mut world, Steer::Scale { workers: 2 });
    steer(&mut world, Steer::Scale { workers: 1 });
    world.answer_spawn(spare);
    assert!(world.signals.contains(&(spare, Signal::Terminate)));
    world.exit(spare, code(0));
    assert!(world.core.status(world.now).others.is_empty());
}
