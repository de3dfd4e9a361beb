//! The cluster protocol: who listens where.

use super::*;

fn query(world: &mut World, id: u32, fields: Value) -> Vec<(Value, Option<HandleRef>)> {
    let mut message = json!({"act": "queryServer", "index": 0, "data": null, "address": null,
        "port": 0, "addressType": 4, "backlog": 0});
    for (key, value) in fields.as_object().unwrap() {
        message[key] = value.clone();
    }
    world.say_cluster(id, message);
    world.replies(id)
}

fn started(workers: u32) -> World {
    let mut world = World::new(settings(workers));
    world.start_agent();
    world
}

#[test]
fn workers_share_one_listener_and_its_data() {
    let mut world = started(2);
    let tls = json!({"port": 8443, "data": {"ticketKeys": "aa"}});
    let (first, handle) = query(&mut world, 1, tls).remove(0);
    assert!(handle.is_none(), "round robin passes no socket");
    assert_eq!(first["errno"], Value::Null);
    assert_eq!(first["sockname"]["port"], 8443);
    let (second, _) = query(
        &mut world,
        2,
        json!({"port": 8443, "data": {"ticketKeys": "bb"}}),
    )
    .remove(0);
    assert_eq!(second["data"]["ticketKeys"], "aa");
    assert_eq!(second["key"], first["key"]);
    assert_eq!(world.listens.len(), 1);
}

#[test]
fn the_nth_port_0_of_every_worker_is_the_same_port() {
    let mut world = started(2);
    let key = |replies: Vec<(Value, _)>| replies[0].0["key"].clone();
    let first = key(query(&mut world, 1, json!({"index": 0})));
    let second = key(query(&mut world, 1, json!({"index": 1})));
    assert_ne!(first, second);
    assert_eq!(key(query(&mut world, 2, json!({"index": 0}))), first);
    assert_eq!(world.listens.len(), 2);
}

#[test]
fn workers_that_ask_while_it_is_being_bound_all_get_the_answer() {
    let mut world = started(2);
    world.listen_later = true;
    assert!(query(&mut world, 1, json!({"port": 80})).is_empty());
    assert!(query(&mut world, 2, json!({"port": 80})).is_empty());
    let listener = world.listener();
    world.answer_listen(listener);
    assert_eq!(world.replies(1).len(), 1);
    assert_eq!(world.replies(2).len(), 1);
}

#[test]
fn an_error_is_answered_with_its_negative_number_and_may_be_tried_again() {
    let mut world = started(2);
    world.listen_errno = Some(98);
    let (reply, _) = query(&mut world, 1, json!({"port": 80})).remove(0);
    assert_eq!(reply["errno"], -98);
    assert_eq!(world.ready(), 0);
    world.listen_errno = None;
    let (reply, _) = query(&mut world, 2, json!({"port": 80})).remove(0);
    assert_eq!(reply["errno"], Value::Null);
}

#[test]
fn an_address_that_is_none_is_an_error_too() {
    let mut world = started(1);
    for fields in [
        json!({"address": "no address"}),
        json!({"address": "fe80::1%eth0", "addressType": 6}),
        json!({"port": 70_000}),
    ] {
        let (reply, _) = query(&mut world, 1, fields).remove(0);
        assert_eq!(reply["errno"], -22);
    }
    assert!(world.listens.is_empty());
}

#[test]
fn every_kind_of_address_is_bound_as_asked() {
    let mut world = started(1);
    let cases = [
        (
            json!({"port": 1, "addressType": 6, "address": "::1", "flags": 1, "backlog": 7}),
            ListenSpec {
                target: ListenTarget::Tcp {
                    address: Some("::1".parse().unwrap()),
                    port: 1,
                    ipv6_only: true,
                },
                backlog: Some(7),
            },
        ),
        (
            json!({"port": -1, "addressType": -1, "address": "/tmp/a.sock", "readableAll": true}),
            ListenSpec {
                target: ListenTarget::Pipe {
                    path: "/tmp/a.sock".into(),
                    readable_all: true,
                    writable_all: false,
                },
                backlog: Some(511),
            },
        ),
        (
            json!({"port": null, "addressType": null, "fd": 40}),
            ListenSpec {
                target: ListenTarget::Fd(40),
                backlog: Some(511),
            },
        ),
        (
            json!({"port": 53, "addressType": "udp6", "address": "::1", "fd": -1, "flags": 5}),
            ListenSpec {
                target: ListenTarget::Udp {
                    address: "::1".parse().unwrap(),
                    port: 53,
                    ipv6_only: true,
                    reuse_addr: true,
                },
                backlog: None,
            },
        ),
    ];
    for (fields, spec) in cases {
        query(&mut world, 1, fields);
        assert_eq!(world.listens.last_key_value().unwrap().1, &spec);
    }
}

#[test]
fn without_round_robin_the_worker_gets_the_socket() {
    let mut given = settings(1);
    given.share_listeners = true;
    let mut world = World::new(given);
    world.start_agent();
    let (reply, handle) = query(&mut world, 1, json!({"port": 80})).remove(0);
    assert_eq!(reply["errno"], 0);
    assert_eq!(handle, Some(HandleRef::Listener(world.listener())));
    assert_eq!(world.listens[&world.listener()].backlog, None);
    assert!(world.accepting.is_empty());
}

#[test]
fn udp_is_always_shared() {
    let mut world = started(1);
    let udp = json!({"port": 53, "addressType": "udp4", "address": "127.0.0.1", "fd": -1});
    let (_, handle) = query(&mut world, 1, udp).remove(0);
    assert!(handle.is_some());
}

#[test]
fn a_listener_closes_with_its_last_server() {
    let mut world = started(2);
    let (reply, _) = query(&mut world, 1, json!({"port": 80})).remove(0);
    query(&mut world, 2, json!({"port": 80}));
    let listener = world.listener();
    world.say_cluster(1, json!({"act": "close", "key": reply["key"]}));
    assert!(world.closed_listeners.is_empty());
    world.say_cluster(2, json!({"act": "close", "key": reply["key"]}));
    assert_eq!(world.closed_listeners, [listener]);
    world.say_cluster(2, json!({"act": "close", "key": reply["key"]}));
    let (reply, _) = query(&mut world, 1, json!({"port": 80})).remove(0);
    assert_eq!(reply["errno"], Value::Null, "it can be opened again");
}

#[test]
fn a_listener_whose_only_server_closed_while_it_was_bound_is_not_left_open() {
    let mut world = started(2);
    world.listen_later = true;
    query(&mut world, 1, json!({"port": 80}));
    let listener = world.listener();
    world.die(ChildId::App(1), code(1));
    world.answer_listen(listener);
    assert_eq!(world.closed_listeners, [listener]);
}

#[test]
fn in_local_mode_the_port_closes_with_the_last_worker() {
    let mut given = settings(1);
    given.production = false;
    let mut world = World::running(given);
    let listener = world.listener();
    world.kill(ChildId::App(1));
    assert_eq!(world.closed_listeners, [listener]);
}

#[test]
fn a_leaving_worker_gets_no_listener() {
    let mut world = started(1);
    world.say_cluster(1, json!({"act": "exitedAfterDisconnect"}));
    world.replies(1);
    assert!(query(&mut world, 1, json!({"port": 80})).is_empty());
}

#[test]
fn questions_about_sockets_are_answered() {
    let mut world = started(1);
    world.say(
        ChildId::App(1),
        &json!({"cmd": "NODE_SOCKET_NOTIFY_CLOSE", "key": "k"}),
    );
    world.say(AGENT, &json!({"cmd": "NODE_SOCKET_GET_COUNT", "key": "k"}));
    let lines: Vec<_> = world
        .sent
        .iter()
        .map(|(child, line, _)| (*child, line.clone()))
        .collect();
    assert!(lines.contains(&(
        ChildId::App(1),
        json!({"cmd": "NODE_SOCKET_ALL_CLOSED", "key": "k"})
    )));
    assert!(lines.contains(&(
        AGENT,
        json!({"cmd": "NODE_SOCKET_COUNT", "key": "k", "count": 0})
    )));
}

#[test]
fn a_server_that_tells_its_second_port_twice_means_the_first_as_well() {
    let mut world = started(1);
    query(&mut world, 1, json!({"port": 7001}));
    query(&mut world, 1, json!({"port": 9000}));
    for _ in 0..2 {
        let listening = json!({"act": "listening", "index": 0, "data": null, "address": null,
            "port": 9000, "addressType": 4});
        world.say_cluster(1, listening);
    }
    let ports: Vec<_> = world
        .events_of("app-listening")
        .iter()
        .map(|event| event["address"]["port"].clone())
        .collect();
    assert_eq!(ports, [9000, 7001]);
    assert_eq!(world.events_of("ready").len(), 1);
}
