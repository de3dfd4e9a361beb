//! App workers: ready, dead, forked anew.

use super::*;

#[test]
fn the_master_is_ready_when_every_worker_listens_on_the_port() {
    let mut world = World::new(settings(2));
    world.start_agent();
    world.bring_up(1);
    assert_eq!(world.last_event("app-started")["remain"], 1);
    assert!(world.events_of("ready").is_empty());
    world.bring_up(2);
    assert_eq!(world.last_event("app-started")["remain"], 0);
    let ready = world.last_event("ready");
    assert_eq!(ready["address"], "http://127.0.0.1:7001");
    let message = world.to_parent()[0].clone();
    assert_eq!(
        message,
        json!({"action": "egg-ready", "to": "parent", "from": "master",
            "data": {"port": 7001, "address": "http://127.0.0.1:7001", "protocol": "http"}})
    );
    assert_eq!(world.actions(ChildId::App(2)), ["egg-ready"]);
    assert_eq!(world.actions(AGENT), ["egg-pids", "egg-pids", "egg-ready"]);
}

#[test]
fn another_port_does_not_make_a_worker_ready_and_none_counts_twice() {
    let mut world = World::new(settings(2));
    world.start_agent();
    world.listen_on(1, None, 9999);
    assert!(world.events_of("app-started").is_empty());
    world.bring_up(1);
    world.bring_up(1);
    assert!(world.events_of("ready").is_empty());
    assert_eq!(world.events_of("app-started").len(), 1);
}

#[test]
fn the_port_that_a_worker_reports_wins_over_the_options() {
    let mut given = settings(1);
    given.port = None;
    given.host = Some("example.test".into());
    let mut world = World::new(given);
    world.start_agent();
    let realport = json!({"port": 8443, "protocol": "https"});
    world.say(
        ChildId::App(1),
        &json!({"action": "realport", "to": "master", "data": realport}),
    );
    world.listen_on(1, None, 8443);
    assert_eq!(
        world.last_event("ready")["address"],
        "https://example.test:8443"
    );
    assert_eq!(world.last_event("ready")["port"], 8443);
}

#[test]
fn addresses_are_urls_for_every_kind_of_host() {
    for (host, expected) in [
        ("127.0.0.2", "http://127.0.0.2:7001"),
        ("::1", "http://[::1]:7001"),
    ] {
        let mut world = World::new(settings(1));
        world.start_agent();
        world.listen_on(1, Some(host), 7001);
        assert_eq!(world.last_event("ready")["address"], expected);
    }
}

#[test]
fn a_unix_socket_is_its_path() {
    let mut world = World::new(settings(1));
    world.start_agent();
    world.say_cluster(
        1,
        json!({"act": "listening", "index": 0, "address": "/tmp/x.sock", "port": -1,
            "addressType": -1}),
    );
    assert_eq!(world.last_event("ready")["address"], "/tmp/x.sock");
}

#[test]
fn a_worker_that_binds_by_itself_counts_once() {
    let mut world = World::new(settings(1));
    world.start_agent();
    let data = json!({"address": "::", "family": "IPv6", "port": 7001});
    let message = json!({"action": "reuse-port-listening", "to": "master", "data": data});
    world.say(ChildId::App(1), &message);
    assert_eq!(
        world.last_event("ready")["address"],
        "http://127.0.0.1:7001"
    );
    assert_eq!(world.last_event("app-listening")["reusePort"], true);
    world.bring_up(1);
    assert_eq!(world.events_of("app-started").len(), 1);
}

#[test]
fn the_listening_of_egg_4_counts_once_and_also_alone() {
    let said = |reuse_port: bool| {
        let address = json!({"address": "::", "family": "IPv6", "port": 7001});
        json!({"action": "app-start", "to": "master", "reusePort": reuse_port,
            "senderWorkerId": "101", "data": {"address": address, "workerId": 101}})
    };
    let mut world = World::new(settings(2));
    world.start_agent();
    world.bring_up(1);
    world.say(ChildId::App(1), &said(false));
    assert_eq!(world.events_of("app-started").len(), 1);
    // Node's cluster hears nothing of a worker that binds by itself.
    world.say(ChildId::App(2), &said(false));
    assert_eq!(world.events_of("app-started").len(), 1);
    world.say(ChildId::App(2), &said(true));
    assert_eq!(world.events_of("app-started").len(), 2);
    assert_eq!(world.last_event("app-listening")["reusePort"], true);
    let heard = |world: &World| {
        let messages = world.events_of("message");
        let is_start = |event: &&&Value| event["message"]["action"] == "app-start";
        messages.iter().filter(is_start).count()
    };
    assert_eq!(heard(&world), 0, "JavaScript has it from app-listening");
    let own = json!({"action": "app-start", "to": "master", "data": {"mine": 1}});
    world.say(ChildId::App(1), &own);
    assert_eq!(heard(&world), 1);
}

#[test]
fn a_worker_that_dies_during_start_ends_the_master_with_1() {
    let mut world = World::new(settings(2));
    world.start_agent();
    world.bring_up(1);
    world.die(ChildId::App(2), code(1));
    assert_eq!(world.last_event("app-exited")["whileStarting"], true);
    assert_eq!(world.spawns.len(), 3, "no refork during start");
    assert!(world.events_of("closed").is_empty());
    world.exit(ChildId::App(1), code(0));
    world.exit(AGENT, code(110));
    assert_eq!(world.last_event("closed")["code"], 1);
    assert!(world.signals.is_empty());
}

#[test]
fn children_that_stay_after_a_failed_start_are_killed() {
    let mut world = World::new(settings(2));
    world.start_agent();
    world.die(ChildId::App(2), code(1));
    world.pass(Duration::from_millis(4_999));
    assert!(world.signals.is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(
        world.signals,
        [(AGENT, Signal::Kill), (ChildId::App(1), Signal::Kill)]
    );
    world.exit(AGENT, code(0));
    world.exit(ChildId::App(1), code(0));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn in_production_the_slot_gets_a_new_worker_when_the_channel_closes() {
    let mut world = World::running(settings(2));
    world.forget_sent();
    world.feed(Input::Disconnected {
        child: ChildId::App(1),
    });
    assert_eq!(world.last_event("app-disconnected")["refork"], "refork");
    let spec = world.spawns.last().unwrap();
    assert_eq!(
        (spec.child, spec.slot, spec.slots),
        (ChildId::App(3), Some(0), 2)
    );
    let forked = world.last_event("app-forked");
    assert_eq!(forked["reason"], "refork");
    assert_eq!(forked["workers"], json!([1, 2, 3]));
    world.exit(ChildId::App(1), code(0));
    let exited = world.last_event("app-exited");
    assert_eq!(exited["reforked"], true);
    assert_eq!(exited["expected"], false);
    assert_eq!(world.to_parent()[0]["action"], "app-worker-died");
    assert_eq!(world.spawns.len(), 4);
    world.bring_up(3);
    assert_eq!(world.last_event("app-started")["remain"], 0);
    assert_eq!(world.actions(ChildId::App(2)), ["egg-ready"]);
}

#[test]
fn outside_production_a_dead_worker_stays_dead() {
    let mut given = settings(2);
    given.production = false;
    let mut world = World::running(given);
    world.kill(ChildId::App(1));
    assert_eq!(world.last_event("app-disconnected")["refork"], "off");
    assert_eq!(world.spawns.len(), 3);
    world.pass(Duration::from_secs(600));
    assert_eq!(world.spawns.len(), 3);
    assert!(world.events_of("closed").is_empty());
}

#[test]
fn a_worker_that_cannot_be_forked_at_run_time_is_tried_again() {
    let mut world = World::running(settings(1));
    world.spawn_fails = true;
    world.kill(ChildId::App(1));
    assert_eq!(world.last_event("spawn-failed")["role"], "app");
    world.spawn_fails = false;
    world.pass(Duration::from_secs(1));
    assert_eq!(world.last_event("app-forked")["slot"], 0);
    world.bring_up(3);
    assert_eq!(world.ready(), 1);
}

#[test]
fn inspector_ports_count_on_from_the_masters_and_wrap() {
    let mut given = settings(3);
    given.app_inspect_base = Some(65_534);
    given.agent_inspect_port = Some(5800);
    given.is_debug = true;
    let mut world = World::new(given);
    world.start_agent();
    let ports: Vec<_> = world
        .spawns
        .iter()
        .filter_map(|spec| spec.inspect_port)
        .collect();
    assert_eq!(ports, [5800, 65_535, 1024, 1025]);
    let told: Vec<_> = world.to_parent().into_iter().cloned().collect();
    assert_eq!(
        told[1],
        json!({"action": "debug", "to": "parent", "from": "app",
            "data": {"debugPort": 65_535, "pid": world.pids[&ChildId::App(1)]}})
    );
}

#[test]
fn under_the_inspector_a_killed_worker_closes_the_master() {
    let mut given = settings(1);
    given.is_debug = true;
    let mut world = World::running(given);
    world.kill(ChildId::App(1));
    assert_eq!(world.last_event("app-exited")["byDebugger"], true);
    assert_eq!(world.core.snapshot().phase, "closing");
}

#[test]
fn a_child_that_does_not_read_is_ended() {
    let mut world = World::running(settings(1));
    let child = ChildId::App(1);
    world.feed(Input::OutboxFull { child });
    world.pass(Duration::from_secs(20));
    world.feed(Input::OutboxDrained { child });
    world.pass(Duration::from_secs(60));
    assert!(world.signals.is_empty());
    world.feed(Input::OutboxFull { child });
    world.pass(Duration::from_secs(30));
    assert_eq!(world.signals, [(child, Signal::Kill)]);
    assert_eq!(world.last_event("unresponsive")["id"], 1);
}

#[test]
fn garbage_is_reported_a_few_times_and_harms_nobody() {
    let mut world = World::running(settings(1));
    for _ in 0..100 {
        world.feed(Input::BadLine {
            child: ChildId::App(1),
            reason: "not JSON".into(),
        });
    }
    assert_eq!(world.events_of("bad-message").len(), 5);
    assert_eq!(world.ready(), 1);
}
