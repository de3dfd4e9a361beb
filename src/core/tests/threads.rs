//! Children that are threads: numbered by slots, each with a port of its own, started again
//! after a second.

use super::*;

fn threads(workers: u32) -> Settings {
    Settings {
        threads: true,
        production: false,
        drain: None,
        ..settings(workers)
    }
}

/// A thread listens, as `app_worker.js` says it.
fn listens(world: &mut World, id: u32, port: u16) {
    let app = ChildId::App(id);
    let real =
        json!({"action": "realport", "to": "master", "data": {"port": port, "protocol": "http"}});
    world.say(app, &real);
    let address = json!({"address": "::", "family": "IPv6", "port": port});
    world.say(
        app,
        &json!({"action": "listening", "to": "master", "data": address}),
    );
}

/// Threads on the ports 7001, 7002 and so on.
fn running(workers: u32) -> World {
    let mut world = World::new(threads(workers));
    world.start_agent();
    for id in 1..=workers {
        listens(&mut world, id, port_of(id));
    }
    assert_eq!(world.last_event("ready")["type"], "ready");
    world
}

fn port_of(id: u32) -> u16 {
    7000 + u16::try_from(id).unwrap()
}

fn die(world: &mut World, id: u32) {
    world.die(ChildId::App(id), code(1));
}

#[test]
fn a_thread_is_ready_when_it_listens_on_whatever_port() {
    let mut world = World::new(threads(2));
    world.start_agent();
    listens(&mut world, 2, 7002);
    assert!(world.events_of("ready").is_empty());
    listens(&mut world, 1, 7001);
    assert_eq!(world.events_of("ready").len(), 1);
    assert_eq!(world.ready(), 2);
    assert!(world.listens.is_empty(), "nothing is bound here");
}

#[test]
fn the_address_is_that_of_the_first_whichever_order_they_come_in() {
    for order in [[1, 2], [2, 1]] {
        let mut world = World::new(threads(2));
        world.start_agent();
        for id in order {
            listens(&mut world, id, port_of(id));
        }
        let ready = world.last_event("ready");
        assert_eq!(ready["address"], "http://127.0.0.1:7001", "{order:?}");
        assert_eq!(ready["port"], 7001, "{order:?}");
    }
}

#[test]
fn a_unix_socket_is_an_address_too() {
    let mut world = World::new(threads(1));
    world.start_agent();
    let line = json!({"action": "listening", "to": "master", "data": "/run/app.sock"});
    world.say(ChildId::App(1), &line);
    assert_eq!(world.last_event("ready")["address"], "/run/app.sock");
}

#[test]
fn what_a_process_says_of_listening_does_not_count() {
    let mut world = World::new(settings(1));
    world.start_agent();
    listens(&mut world, 1, 7001);
    assert!(world.events_of("ready").is_empty());
    world.bring_up(1);
    assert_eq!(world.events_of("ready").len(), 1);
}

#[test]
fn a_dead_thread_starts_again_after_a_second_outside_production_too() {
    let mut world = running(2);
    world.forget_sent();
    die(&mut world, 2);
    let exited = world.last_event("app-exited").clone();
    assert_eq!(exited["reforkInMs"], 1000);
    assert_eq!(world.to_parent()[0]["action"], "app-worker-died");
    world.pass(Duration::from_millis(999));
    assert_eq!(world.spawns.len(), 3);
    world.pass(Duration::from_millis(1));
    let spec = world.spawns.last().unwrap();
    assert_eq!((spec.child, spec.slot), (ChildId::App(3), Some(1)));
    listens(&mut world, 3, 7002);
    let started = world.last_event("app-started");
    assert_eq!(started["id"], 2, "it has the number of its slot");
    assert_eq!(started["remain"], 0);
    assert_eq!(world.ready(), 2);
}

#[test]
fn threads_that_keep_dying_are_slowed_down() {
    let mut world = running(1);
    let mut delays = Vec::new();
    for id in 1..=6 {
        die(&mut world, id);
        delays.push(world.last_event("app-exited")["reforkInMs"].as_u64());
        world.pass(Duration::from_secs(40));
    }
    assert_eq!(delays[..2], [Some(1000), Some(1000)], "{delays:?}");
    assert!(delays[5] > Some(2000), "{delays:?}");
}

#[test]
fn a_thread_that_ends_while_starting_ends_the_start() {
    let mut world = World::new(threads(2));
    world.start_agent();
    listens(&mut world, 1, 7001);
    die(&mut world, 2);
    assert_eq!(world.last_event("app-exited")["whileStarting"], true);
    assert!(world.events_of("closed").is_empty(), "others are awaited");
    world.exit(ChildId::App(1), code(1));
    world.exit(AGENT, code(1));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn pids_are_thread_ids_and_go_before_the_id_of_the_process() {
    let mut world = running(2);
    // As in a container, where the master may well be process 1.
    let (agent, second) = (world.pids[&AGENT], world.pids[&ChildId::App(2)]);
    for (pid, child) in [(agent, AGENT), (second, ChildId::App(2))] {
        world.core.settings.master_pid = pid;
        world.forget_sent();
        let line = json!({"action": "x", "receiverPid": pid.to_string()});
        world.say(ChildId::App(1), &line);
        assert_eq!(world.actions(child), ["x"]);
        assert!(world.events_of("message").is_empty());
    }
    world.core.settings.master_pid = MASTER;
    world.say(
        ChildId::App(1),
        &json!({"action": "y", "receiverPid": MASTER.to_string()}),
    );
    assert_eq!(world.last_event("message")["message"]["action"], "y");
}

#[test]
fn look_ups_name_threads_by_their_slots() {
    let mut world = running(2);
    die(&mut world, 1);
    world.pass(Duration::from_secs(1));
    listens(&mut world, 3, 7001);
    let snapshot = world.core.snapshot();
    let ids: Vec<_> = snapshot.workers.iter().map(|worker| worker.id).collect();
    assert_eq!(ids, [2, 1]);
    let [first, second] = &snapshot.slots[..] else {
        panic!("two slots")
    };
    assert_eq!((first.worker, second.worker), (Some(1), Some(2)));
    assert_eq!(first.last_exit.as_ref().unwrap().id, 1);
}

#[test]
fn a_close_ends_the_apps_then_the_agent() {
    let mut world = running(2);
    world.command(Command::Close);
    let apps = [1, 2].map(|id| (ChildId::App(id), Signal::Terminate));
    assert_eq!(world.signals, apps);
    die(&mut world, 1);
    assert_eq!(world.signals.len(), 2);
    die(&mut world, 2);
    assert_eq!(world.signals[2..], [(AGENT, Signal::Terminate)]);
    world.die(AGENT, code(1));
    assert_eq!(world.last_event("closed")["code"], 0);
    assert!(world.stray_frames().is_empty());
}

#[test]
fn a_thread_that_does_not_end_is_given_up_after_its_grace() {
    let mut world = running(1);
    world.command(Command::Close);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.signals.last(), Some(&(ChildId::App(1), Signal::Kill)));
    assert_eq!(world.events_of("killed").len(), 1);
}

#[test]
fn a_reload_ends_a_thread_before_its_successor_comes() {
    let mut world = running(2);
    world.forget_sent();
    world.command(Command::Reload);
    for (old, new) in [(1, 3), (2, 4)] {
        let app = ChildId::App(old);
        assert_eq!(world.signals.last(), Some(&(app, Signal::Terminate)));
        assert_eq!(
            world.spawns.len(),
            old as usize + 2,
            "the port is not free yet"
        );
        die(&mut world, old);
        let spec = world.spawns.last().unwrap();
        assert_eq!((spec.child, spec.slot), (ChildId::App(new), Some(old - 1)));
        assert!(world.events_of("reload-done").is_empty());
        listens(&mut world, new, port_of(old));
    }
    assert_eq!(world.events_of("reload-done").len(), 1);
    assert!(world.to_parent().is_empty(), "no app-worker-died");
    assert_eq!(world.signals.len(), 2);
    assert!(world.stray_frames().is_empty());
}

#[test]
fn a_reload_whose_thread_fails_leaves_the_rest_and_tries_the_slot_again() {
    let mut world = running(2);
    world.command(Command::Reload);
    die(&mut world, 1);
    die(&mut world, 3);
    let reason = world.last_event("reload-failed")["reason"].clone();
    assert_eq!(
        reason,
        "the new worker app_worker#1 failed: it exited with code 1"
    );
    assert!(world.alive.contains(&ChildId::App(2)));
    world.pass(Duration::from_secs(1));
    listens(&mut world, 4, 7001);
    assert_eq!(world.ready(), 2);
}

#[test]
fn a_reload_reaches_a_thread_that_is_still_being_made() {
    let mut world = running(1);
    die(&mut world, 1);
    world.spawn_later = true;
    world.pass(Duration::from_secs(1));
    world.command(Command::Reload);
    assert!(world.signals.is_empty(), "there is nobody to end yet");
    world.answer_spawn(ChildId::App(2));
    assert_eq!(world.signals, [(ChildId::App(2), Signal::Terminate)]);
    die(&mut world, 2);
    world.answer_spawn(ChildId::App(3));
    listens(&mut world, 3, 7001);
    assert_eq!(world.events_of("reload-done").len(), 1);
}

#[test]
fn a_thread_that_could_not_be_made_does_not_hold_up_the_reload_that_wants_it_gone() {
    let mut world = running(1);
    die(&mut world, 1);
    world.spawn_later = true;
    world.pass(Duration::from_secs(1));
    world.command(Command::Reload);
    let (child, reason) = (ChildId::App(2), "no more threads".to_owned());
    world.feed(Input::SpawnFailed { child, reason });
    world.answer_spawn(ChildId::App(3));
    listens(&mut world, 3, 7001);
    assert_eq!(world.events_of("reload-done").len(), 1);
}

#[test]
fn the_agent_can_be_reloaded_first() {
    let mut world = running(1);
    world.command(Command::ReloadWithAgent);
    assert_eq!(world.signals, [(AGENT, Signal::Terminate)]);
    world.die(AGENT, code(1));
    let start = json!({"action": "agent-start", "to": "master"});
    world.say(ChildId::Agent(2), &start);
    die(&mut world, 1);
    listens(&mut world, 2, 7001);
    assert_eq!(world.events_of("reload-done").len(), 1);
}

impl World {
    /// What a thread could not do anything with: only messages of the application reach it.
    fn stray_frames(&self) -> Vec<&Value> {
        let is_stray = |line: &&Value| line.get("action").is_none();
        self.sent
            .iter()
            .map(|(_, line, _)| line)
            .filter(is_stray)
            .collect()
    }
}
