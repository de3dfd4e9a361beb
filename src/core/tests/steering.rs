//! What operators ask for: scale, pause, restart of a slot.

use super::*;
use crate::core::status::ProcessState;

fn steer(world: &mut World, wish: Steer) -> Result<Steered, Refusal> {
    let steered = world.core.steer(world.now, wish);
    world.perform();
    steered
}

fn slots(world: &World) -> Vec<Option<u32>> {
    let status = world.core.status(world.now);
    let id = |slot: &crate::core::status::SlotStatus| slot.process.as_ref().map(|it| it.id);
    status.slots.iter().map(id).collect()
}

#[test]
fn more_workers_are_forked_at_once_and_serve_when_they_listen() {
    let mut world = World::running(settings(2));
    assert_eq!(
        steer(&mut world, Steer::Scale { workers: 4 }),
        Ok(Steered::Done)
    );
    let last = &world.spawns[world.spawns.len() - 2..];
    assert_eq!([last[0].slot, last[1].slot], [Some(2), Some(3)]);
    assert_eq!([last[0].slots, last[1].slots], [4, 4]);
    assert_eq!(world.last_event("scaled")["to"], 4);
    assert_eq!(world.last_event("app-forked")["reason"], "scale");
    world.bring_up(3);
    world.bring_up(4);
    assert_eq!(world.ready(), 4);
    world.kill(ChildId::App(4));
    world.pass(Duration::from_secs(1));
    assert_eq!(slots(&world), [Some(1), Some(2), Some(3), Some(5)]);
}

#[test]
fn the_highest_slots_go_and_their_workers_drain() {
    let mut world = World::running(settings(3));
    let listener = world.listener();
    let conns = world.connect_all(listener);
    assert_eq!(
        steer(&mut world, Steer::Scale { workers: 1 }),
        Ok(Steered::Done)
    );
    assert_eq!(slots(&world), [Some(1)]);
    let states: Vec<_> = world
        .core
        .status(world.now)
        .others
        .iter()
        .map(|it| it.id)
        .collect();
    assert_eq!(states, [2, 3]);
    assert_eq!(world.ready(), 3, "those that leave have not ended yet");
    // What they were given before they go they still answer for.
    for id in 1..=3 {
        if world.unanswered(id) > 0 {
            world.answer(id, true);
        }
    }
    let next = world.connect(listener);
    for id in [2, 3] {
        assert!(!world.sent_to(id).contains(&next));
        world.feed(Input::Disconnected {
            child: ChildId::App(id),
        });
        assert!(
            world
                .signals
                .contains(&(ChildId::App(id), Signal::Terminate))
        );
        world.exit(ChildId::App(id), code(0));
    }
    assert!(!conns.is_empty());
    world.pass(Duration::from_secs(100));
    assert_eq!(slots(&world), [Some(1)], "nobody comes in their place");
    assert!(
        world
            .events_of("app-exited")
            .iter()
            .all(|event| event["expected"] == true)
    );
}

#[test]
fn who_is_still_booting_is_ended_and_an_awaited_restart_is_forgotten() {
    let mut world = World::running(settings(1));
    steer(&mut world, Steer::Scale { workers: 3 }).unwrap();
    for _ in 0..3 {
        let child = *world.alive.iter().next_back().unwrap();
        world.kill(child);
    }
    let waiting = |world: &World| {
        let status = world.core.status(world.now);
        status.slots.iter().filter(|slot| slot.view.waiting).count()
    };
    assert!(waiting(&world) > 0, "a restart is delayed");
    assert_eq!(
        steer(&mut world, Steer::Scale { workers: 1 }),
        Ok(Steered::Done)
    );
    assert_eq!(waiting(&world), 0);
    world.pass(Duration::from_secs(100));
    assert_eq!(slots(&world), [Some(1)]);
}

#[test]
fn those_that_serve_do_not_go_while_those_that_would_stay_do_not() {
    let mut world = World::running(settings(2));
    world.kill(ChildId::App(1));
    let refused = steer(&mut world, Steer::Scale { workers: 1 });
    assert_eq!(refused, Err(Refusal::NobodyLeft));
    assert_eq!(world.ready(), 1);
    world.bring_up(3);
    assert_eq!(
        steer(&mut world, Steer::Scale { workers: 1 }),
        Ok(Steered::Done)
    );
}

#[test]
fn a_slot_is_restarted_without_a_gap_and_alone() {
    let mut world = World::running(settings(2));
    let begun = steer(&mut world, Steer::Restart { slot: 1 });
    assert_eq!(begun, Ok(Steered::Reload { number: 1 }));
    assert_eq!(world.last_event("reload-started")["slot"], 1);
    assert_eq!(
        steer(&mut world, Steer::Restart { slot: 0 }),
        Err(Refusal::Reloading)
    );
    assert_eq!(
        steer(&mut world, Steer::Scale { workers: 5 }),
        Err(Refusal::Reloading)
    );
    assert_eq!(world.ready(), 2);
    world.bring_up_for_good(3);
    assert_eq!(slots(&world), [Some(1), Some(3)]);
    world.feed(Input::Disconnected {
        child: ChildId::App(2),
    });
    world.exit(ChildId::App(2), code(0));
    let last = world.core.status(world.now).last_reload.unwrap();
    assert_eq!((last.number, last.slot, last.result), (1, Some(1), "done"));
    assert_eq!(world.spawns.len(), 1 + 2 + 1, "no other slot was touched");
}

#[test]
fn a_reload_that_fails_says_so_and_one_asked_for_meanwhile_follows() {
    let mut world = World::running(settings(1));
    let first = steer(&mut world, Steer::Reload { agent: false });
    let second = steer(&mut world, Steer::Reload { agent: false });
    assert_eq!(first, Ok(Steered::Reload { number: 1 }));
    assert_eq!(second, Ok(Steered::Reload { number: 2 }));
    world.kill(ChildId::App(2));
    let status = world.core.status(world.now);
    let last = status.last_reload.unwrap();
    assert_eq!((last.number, last.result), (1, "failed"));
    assert!(last.reason.unwrap().contains("app_worker#2"));
    assert_eq!(status.reload.unwrap().number, 2);
    assert_eq!((status.reloads_done, status.reloads_failed), (0, 1));
}

#[test]
fn a_pause_leaves_new_connections_to_the_kernel_until_the_end_of_it() {
    for sticky in [None, Some(7002)] {
        let mut world = World::running(Settings {
            sticky_port: sticky,
            ..settings(2)
        });
        let listener = *world.accepting.iter().next().unwrap();
        assert_eq!(steer(&mut world, Steer::Pause), Ok(Steered::Done));
        assert_eq!(steer(&mut world, Steer::Pause), Ok(Steered::Unchanged));
        assert!(world.accepting.is_empty());
        assert_eq!(world.core.not_ready(), Some("paused"));
        // Neither a death nor a new worker ends it.
        world.kill(ChildId::App(1));
        world.bring_up(3);
        world.pass(Duration::from_secs(60));
        assert!(world.accepting.is_empty());
        assert_eq!(steer(&mut world, Steer::Resume), Ok(Steered::Done));
        assert!(world.accepting.contains(&listener));
        assert_eq!(world.core.not_ready(), None);
    }
}

#[test]
fn where_the_workers_accept_there_is_nothing_to_pause() {
    let mut world = World::running(Settings {
        share_listeners: true,
        ..settings(1)
    });
    assert_eq!(
        steer(&mut world, Steer::Pause),
        Err(Refusal::NothingToPause)
    );
}

#[test]
fn a_paused_master_closes_with_what_the_kernel_holds_served() {
    let mut world = World::running(settings(1));
    let hello = json!({"cmd": "NODE_EGG_CLUSTER_RS", "act": "hello"});
    world.say(ChildId::App(1), &hello);
    world.backlog = 3;
    steer(&mut world, Steer::Pause).unwrap();
    assert_eq!(steer(&mut world, Steer::Stop), Ok(Steered::Done));
    assert_eq!(world.sent_to(1).len(), 3, "what waited is handed out");
    assert_eq!(steer(&mut world, Steer::Stop), Ok(Steered::Unchanged));
    assert_eq!(
        steer(&mut world, Steer::Pause),
        Err(Refusal::NotRunning("closing"))
    );
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let mut world = World::running(settings(2));
    let spawns = world.spawns.len();
    let last = 1;
    assert_eq!(
        steer(&mut world, Steer::Restart { slot: 2 }),
        Err(Refusal::NoSlot { slot: 2, last })
    );
    for workers in [0, MAX_WORKERS + 1, u32::MAX] {
        let refused = steer(&mut world, Steer::Scale { workers });
        assert_eq!(refused, Err(Refusal::BadCount(workers)));
    }
    assert_eq!(
        steer(&mut world, Steer::Scale { workers: 2 }),
        Ok(Steered::Unchanged)
    );
    assert_eq!(world.spawns.len(), spawns);
    let mut idle = World::new(settings(1));
    idle.start_agent();
    assert_eq!(
        steer(&mut idle, Steer::Reload { agent: false }),
        Err(Refusal::NotRunning("starting"))
    );
}

#[test]
fn connections_and_messages_are_counted_where_they_go_and_outlive_the_worker() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    world.connect(listener);
    world.connect(listener);
    world.answer(1, true);
    world.answer(2, false);
    let message = json!({"action": "hi", "to": "app", "data": 1});
    world.say(ChildId::App(1), &message);
    let counters = |world: &World, slot: usize| world.core.status(world.now).slots[slot].counters;
    let (one, two) = (counters(&world, 0), counters(&world, 1));
    assert_eq!((one.taken, two.taken, two.refused), (1, 0, 1));
    assert_eq!(one.handed_over + two.handed_over, 3, "one of them twice");
    assert_eq!(one.bytes_from, message.to_string().len() as u64);
    assert_eq!((one.messages_from, two.messages_to), (1, 1));
    assert!(two.bytes_to > one.bytes_from, "it is stamped");
    world.kill(ChildId::App(1));
    assert_eq!(counters(&world, 0).messages_from, 1);
    assert!(counters(&world, 0).redistributed > 0);
    assert_eq!(world.core.status(world.now).connections.totals.accepted, 2);
}

#[test]
fn the_state_of_a_process_is_that_of_its_life() {
    let mut world = World::running(Settings {
        watchdog: Some(WatchdogSettings {
            timeout: Duration::from_secs(60),
            boot_timeout: None,
            interval: Duration::from_secs(1),
            kills: true,
            stack: false,
        }),
        ..settings(1)
    });
    let app = |world: &World| {
        let status = world.core.status(world.now);
        status.slots[0].process.clone().unwrap()
    };
    assert_eq!(app(&world).state, ProcessState::Ready);
    world.pass(Duration::from_secs(2));
    assert!(!world.pings.is_empty());
    world.pass(Duration::from_millis(250));
    world.feed(Input::Pong {
        child: ChildId::App(1),
    });
    let answered = app(&world);
    assert!(answered.ping_ms.unwrap() >= 250.0, "{answered:?}");
    world.pass(Duration::from_secs(5));
    let stuck = app(&world);
    assert_eq!(stuck.state, ProcessState::Stuck);
    assert!(stuck.silent_ms.unwrap() >= 1000);
    steer(&mut world, Steer::Restart { slot: 0 }).unwrap();
    world.say_cluster(2, json!({"act": "online"}));
    let status = world.core.status(world.now);
    assert_eq!(status.others[0].state, ProcessState::Starting);
    assert_eq!(status.reload.unwrap().incoming, [0]);
}

#[test]
fn the_status_tells_how_the_last_worker_ended_and_how_near_the_master_is_to_giving_up() {
    let mut world = World::running(settings(1));
    let status = world.core.status(world.now);
    let restarts = status.restarts;
    assert_eq!((restarts.recent, restarts.none_ready_ms), (0, None));
    assert_eq!(restarts.gives_up_in_ms, None);
    assert_eq!(status.hold.limit, settings(1).hold.connections);
    assert_eq!(status.slots[0].last_exit_ago_ms, None);
    world.kill(ChildId::App(1));
    world.pass(Duration::from_millis(300));
    let status = world.core.status(world.now);
    assert_eq!(status.slots[0].last_exit_ago_ms, Some(300));
    assert_eq!(status.restarts.recent, 1);
    assert_eq!(status.restarts.none_ready_ms, Some(300));
    assert_eq!(
        status.restarts.gives_up_in_ms, None,
        "the new worker may do better"
    );
    for _ in 0..1000 {
        let status = world.core.status(world.now);
        if status.restarts.gives_up_in_ms.is_some() {
            break;
        }
        let app = world
            .alive
            .iter()
            .find(|child| matches!(child, ChildId::App(_)));
        match app.copied() {
            Some(child) => world.kill(child),
            None => world.pass(Duration::from_millis(500)),
        }
    }
    let restarts = world.core.status(world.now).restarts;
    let limit = settings(1).restart.give_up.unwrap();
    let none_ready = restarts.none_ready_ms.unwrap();
    let left = u64::try_from(limit.as_millis())
        .unwrap()
        .saturating_sub(none_ready);
    assert_eq!(restarts.gives_up_in_ms, Some(left));
}

#[test]
fn children_are_asked_for_an_operator_but_not_too_often_and_the_watchdog_does_not_mind() {
    let mut world = World::running(settings(1));
    let hello = json!({"cmd": "NODE_EGG_CLUSTER_RS", "act": "hello"});
    world.say(ChildId::App(1), &hello);
    let look = |world: &mut World| {
        world.core.inquire(world.now);
        world.perform();
    };
    look(&mut world);
    look(&mut world);
    assert_eq!(world.pings, [AGENT, ChildId::App(1)]);
    let asked = |world: &World| {
        let lines = world.sent.iter();
        lines.filter(|(_, line, _)| line["act"] == "count").count()
    };
    assert_eq!(asked(&world), 1);
    assert!(world.core.awaits_answers());
    world.pass(Duration::from_millis(40));
    let counted = json!({"cmd": "NODE_EGG_CLUSTER_RS", "act": "counted",
        "requests": 3, "connections": 4, "upgraded": 1});
    world.say(ChildId::App(1), &counted);
    for child in [AGENT, ChildId::App(1)] {
        world.feed(Input::Pong { child });
    }
    assert!(!world.core.awaits_answers());
    let status = world.core.status(world.now);
    let app = status.slots[0].process.clone().unwrap();
    assert_eq!((app.requests, app.connections), (Some(3), Some(5)));
    assert_eq!(app.ping_ms, Some(40.0));
    // One that does not answer is not sent more and more.
    for _ in 0..5 {
        world.pass(Duration::from_secs(1));
        look(&mut world);
    }
    assert_eq!(world.pings.len(), 4);
    assert!(!world.core.awaits_answers(), "nor waited for any more");
    assert!(world.events_of("stuck").is_empty(), "nobody watches");
}
