//! What one worker may ask for.

use super::*;

fn query(address: Value, port: i64, index: i64) -> Value {
    json!({"act": "queryServer", "index": index, "data": null, "address": address,
        "port": port, "addressType": 4, "backlog": 0})
}

/// The errno of the newest answer to a query of this worker; null where it was granted.
fn answer(world: &World, id: u32) -> Value {
    let to_worker = |(child, line, _): &&(ChildId, Value, Option<HandleRef>)| {
        *child == ChildId::App(id) && line.get("errno").is_some()
    };
    let (_, line, _) = world.sent.iter().rev().find(to_worker).unwrap();
    line["errno"].clone()
}

fn reports(world: &World) -> usize {
    let is_report = |event: &&Value| event["type"] == "bad-message";
    world.events.iter().filter(is_report).count()
}

fn limited(listeners: usize) -> World {
    let limits = ChildLimits {
        listeners,
        ..ChildLimits::default()
    };
    World::running(Settings {
        limits,
        ..settings(2)
    })
}

#[test]
fn a_worker_gets_as_many_listeners_as_the_limit_says() {
    let mut world = limited(3);
    for index in 0..2 {
        world.say_cluster(1, query(Value::Null, 9000, index));
        assert_eq!(answer(&world, 1), Value::Null);
    }
    world.say_cluster(1, query(Value::Null, 9000, 2));
    assert_eq!((answer(&world, 1), reports(&world)), (json!(-24), 1));
    // What it has it may ask for again, and others have their own.
    world.say_cluster(1, query(Value::Null, 9000, 1));
    assert_eq!(answer(&world, 1), Value::Null);
    world.say_cluster(2, query(Value::Null, 9000, 1));
    assert_eq!(answer(&world, 2), Value::Null);
    // It may not share that of another either.
    world.say_cluster(2, query(Value::Null, 9100, 0));
    world.say_cluster(1, query(Value::Null, 9100, 0));
    assert_eq!((answer(&world, 1), reports(&world)), (json!(-24), 2));
    world.say_cluster(1, json!({"act": "close", "key": "null:9000:4:undefined:0"}));
    world.say_cluster(1, query(Value::Null, 9100, 0));
    assert_eq!(answer(&world, 1), Value::Null);
}

#[test]
fn generations_of_workers_do_not_pile_up_listeners() {
    let mut with_limit = settings(2);
    with_limit.limits.listeners = 3;
    with_limit.restart.max_delay = Duration::from_millis(1);
    let mut world = World::running(with_limit);
    let mut id = 1;
    let mut refused = 0;
    for generation in 0..6 {
        for index in 0..2 {
            world.say_cluster(id, query(Value::Null, 9000 + generation, index));
            refused += usize::from(answer(&world, id) != Value::Null);
        }
        world.kill(ChildId::App(id));
        world.pass(Duration::from_secs(1));
        let ChildId::App(next) = world.spawns.last().unwrap().child else {
            panic!("no app worker")
        };
        id = next;
        world.say_cluster(id, json!({"act": "online"}));
    }
    assert!(refused > 0);
    assert!(world.listens.len() <= 8, "{:?}", world.listens);
}

#[test]
fn long_addresses_and_data_are_refused() {
    let mut world = limited(100);
    world.say_cluster(1, query("x".repeat(4097).into(), 9000, 0));
    assert_eq!((answer(&world, 1), reports(&world)), (json!(-22), 1));
    let mut with_data = query(Value::Null, 9000, 0);
    with_data["data"] = "x".repeat(65_535).into();
    world.say_cluster(1, with_data);
    assert_eq!((answer(&world, 1), reports(&world)), (json!(-22), 2));
}

#[test]
fn the_listener_of_others_cannot_be_closed() {
    let mut world = World::running(settings(2));
    world.say_cluster(2, query(Value::Null, 9000, 0));
    world.kill(ChildId::App(2));
    // It waits for the successor.
    let close = json!({"act": "close", "key": "null:9000:4:undefined:0"});
    world.say_cluster(1, close.clone());
    assert!(world.closed_listeners.is_empty());
    world.pass(Duration::from_secs(31));
    assert_eq!(world.closed_listeners.len(), 1);
}

#[test]
fn ports_that_are_never_told_are_forgotten() {
    let mut world = limited(5);
    for _ in 0..1000 {
        world.say_cluster(1, query(Value::Null, 9000, 0));
    }
    assert!(world.core.workers.get(1).unwrap().untold_ports.len() <= 5);
}

#[test]
fn who_does_not_read_is_ended_after_the_stall_timeout() {
    let mut world = World::running(Settings {
        limits: ChildLimits {
            stall_timeout: Duration::from_secs(2),
            ..ChildLimits::default()
        },
        ..settings(2)
    });
    let child = ChildId::App(1);
    world.feed(Input::OutboxFull { child });
    world.pass(Duration::from_millis(1999));
    assert!(world.signals.is_empty());
    world.pass(Duration::from_millis(1));
    assert_eq!(world.signals, [(child, Signal::Kill)]);
}

#[test]
fn what_has_to_wait_is_counted() {
    let mut world = World::running(settings(2));
    assert_eq!(world.core.snapshot().waits, Waits::default());
    world.feed(Input::OutboxFull {
        child: ChildId::App(1),
    });
    world.feed(Input::ReadingPaused {
        child: ChildId::Agent(1),
    });
    world.feed(Input::OutboxDrained {
        child: ChildId::App(1),
    });
    world.feed(Input::ReadingResumed {
        child: ChildId::Agent(1),
    });
    world.feed(Input::OutboxFull {
        child: ChildId::App(2),
    });
    let expected = Waits {
        full_outboxes: 2,
        paused_senders: 1,
    };
    assert_eq!(world.core.snapshot().waits, expected);
}
