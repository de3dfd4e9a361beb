//! Messages among parent, master, agent and apps.

use super::*;

const ONE: ChildId = ChildId::App(1);
const TWO: ChildId = ChildId::App(2);

fn world() -> World {
    let mut world = World::running(settings(2));
    world.forget_sent();
    world
}

fn send(world: &mut World, from: Origin, message: &Value) {
    world.command(Command::Send {
        from,
        message: user(message),
    });
}

#[test]
fn the_default_receiver_depends_on_the_sender() {
    let mut world = world();
    world.say(AGENT, &json!({"action": "a"}));
    assert_eq!(
        world.received(ONE),
        [json!({"action": "a", "from": "agent", "to": "app"})]
    );
    assert_eq!(world.received(TWO).len(), 1);
    world.say(ONE, &json!({"action": "b"}));
    assert_eq!(
        world.received(AGENT),
        [json!({"action": "b", "from": "app", "to": "agent"})]
    );
    send(&mut world, Origin::Parent, &json!({"action": "c"}));
    assert_eq!(
        world.last_event("message")["message"],
        json!({"action": "c", "from": "parent", "to": "master"})
    );
}

#[test]
fn to_names_the_receiver_and_other_fields_stay() {
    let mut world = world();
    world.say(
        ONE,
        &json!({"action": "a", "to": "app", "x": [1, {"y": null}]}),
    );
    let expected = json!({"action": "a", "to": "app", "x": [1, {"y": null}], "from": "app"});
    // Also the sender itself.
    for child in [ONE, TWO] {
        assert_eq!(world.received(child), std::slice::from_ref(&expected));
    }
    world.say(ONE, &json!({"action": "a", "to": "parent", "data": 1}));
    assert_eq!(
        world.to_parent(),
        [&json!({"action": "a", "to": "parent", "data": 1, "from": "app"})]
    );
    send(
        &mut world,
        Origin::Parent,
        &json!({"action": "p", "to": "agent"}),
    );
    assert_eq!(world.received(AGENT)[0]["from"], "parent");
    world.say(ONE, &json!({"action": "a", "to": "nobody"}));
    assert!(world.sent.is_empty());
}

#[test]
fn a_sender_cannot_lie_about_itself() {
    let mut world = world();
    world.say(ONE, &json!({"action": "a", "from": "agent"}));
    assert_eq!(world.received(AGENT)[0]["from"], "app");
}

#[test]
fn the_master_may_speak_for_another() {
    let mut world = world();
    send(
        &mut world,
        Origin::Master,
        &json!({"action": "a", "to": "app"}),
    );
    assert_eq!(world.received(ONE)[0]["from"], "master");
    send(
        &mut world,
        Origin::Master,
        &json!({"action": "a", "from": "agent"}),
    );
    assert_eq!(world.received(ONE)[0]["from"], "agent");
    world.forget_sent();
    send(&mut world, Origin::Master, &json!({"action": "a"}));
    assert!(world.sent.is_empty(), "without a receiver there is none");
}

#[test]
fn a_pid_names_one_receiver_whatever_to_says() {
    for key in ["receiverPid", "receiverWorkerId"] {
        let mut world = world();
        let pid = |world: &World, child| world.pids[&child].to_string();
        let two = pid(&world, TWO);
        world.say(ONE, &json!({"action": "a", "to": "agent", key: two}));
        assert_eq!(world.received(TWO)[0]["to"], "app");
        assert!(world.received(ONE).is_empty());
        assert!(world.received(AGENT).is_empty());
        let agent = pid(&world, AGENT);
        world.say(ONE, &json!({"action": "a", "to": "app", key: agent}));
        assert_eq!(world.received(AGENT)[0]["to"], "agent");
        world.say(ONE, &json!({"action": "a", key: MASTER.to_string()}));
        assert_eq!(world.last_event("message")["message"]["to"], "master");
        for nobody in ["1", "no pid", "99999999999999"] {
            world.say(ONE, &json!({"action": "a", "to": "app", key: nobody}));
        }
        assert!(world.sent.is_empty());
    }
}

#[test]
fn a_bare_string_is_action_and_data() {
    let mut world = world();
    world.say(AGENT, &json!("hello"));
    assert_eq!(
        world.received(ONE),
        [json!({"action": "hello", "data": "hello", "from": "agent", "to": "app"})]
    );
}

#[test]
fn what_is_no_message_is_reported_and_ignored() {
    let mut world = world();
    for value in [json!(1), json!(null), json!([1]), json!(true)] {
        world.say(ONE, &value);
    }
    assert_eq!(world.events_of("bad-message").len(), 4);
    assert!(world.sent.is_empty());
}

#[test]
fn nobody_writes_to_the_dead() {
    let mut world = world();
    world.feed(Input::Disconnected { child: ONE });
    world.kill(AGENT);
    world.forget_sent();
    send(
        &mut world,
        Origin::Parent,
        &json!({"action": "a", "to": "app"}),
    );
    send(
        &mut world,
        Origin::Parent,
        &json!({"action": "a", "to": "agent"}),
    );
    world.say(TWO, &json!({"action": "a"}));
    let receivers: Vec<_> = world.sent.iter().map(|(child, _, _)| *child).collect();
    assert_eq!(receivers, [TWO, ChildId::App(3)]);
}

#[test]
fn a_message_is_shared_by_its_receivers() {
    let mut core = world().core;
    let message = json!({"action": "a", "data": "x".repeat(1000)});
    let Line::Plain(message) = parse(&Bytes::from(message.to_string())).unwrap() else {
        panic!("not plain");
    };
    core.handle_input(
        Instant::now(),
        Input::Message {
            child: AGENT,
            message,
        },
    );
    let mut heads = Vec::new();
    while let Some(output) = core.poll_output() {
        if let Output::Send {
            frame: Frame::Message { head, .. },
            ..
        } = output
        {
            heads.push(head.as_ptr());
        }
    }
    assert_eq!(heads.len(), 2);
    assert_eq!(heads[0], heads[1]);
}

#[test]
fn text_that_only_javascript_understands_passes_unchanged() {
    let mut world = world();
    let line = r#"{"action":"a","data":"\ud83d","n":12345678901234567890.10}"#;
    let Line::Plain(message) = parse(&Bytes::from(line)).unwrap() else {
        panic!("not plain")
    };
    world.core.handle_input(
        world.now,
        Input::Message {
            child: AGENT,
            message,
        },
    );
    let Some(Output::Send {
        frame: Frame::Message { head, tail },
        ..
    }) = world.core.poll_output()
    else {
        panic!("nothing sent");
    };
    let text = String::from_utf8([head, tail].concat()).unwrap();
    assert_eq!(
        text,
        r#"{"action":"a","data":"\ud83d","n":12345678901234567890.10,"from":"agent","to":"app"}"#
    );
}

#[test]
fn reload_worker_reloads_whoever_asks() {
    let mut world = world();
    world.say(AGENT, &json!({"action": "reload-worker", "to": "master"}));
    assert_eq!(world.events_of("reload-started").len(), 1);
    assert_eq!(
        world.events_of("message").len(),
        1,
        "JavaScript hears of it too"
    );
}

#[test]
fn what_children_say_to_a_parent_that_does_not_read_is_dropped_after_a_time() {
    let mut world = world();
    let news = json!({"action": "news", "to": "parent"});
    world.feed(Input::ParentFull);
    world.pass(Duration::from_secs(29));
    // Until then whoever sends is not read, and nothing is lost.
    world.say(ONE, &news);
    assert_eq!(world.to_parent().len(), 1);
    assert_eq!(world.parent_forgotten, 0);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.events_of("parent-deaf").len(), 1);
    assert_eq!(world.parent_forgotten, 1);
    world.say(ONE, &news);
    world.say(AGENT, &news);
    assert_eq!(world.to_parent().len(), 1);
    send(&mut world, Origin::Master, &news);
    assert_eq!(world.to_parent().len(), 2, "the master's own are few");
    world.feed(Input::ParentDrained);
    assert_eq!(world.last_event("parent-reads")["dropped"], 2);
    world.say(ONE, &news);
    assert_eq!(world.to_parent().len(), 3);
}

#[test]
fn a_parent_that_is_slow_for_a_while_misses_nothing() {
    let mut world = world();
    for _ in 0..3 {
        world.feed(Input::ParentFull);
        world.pass(Duration::from_secs(20));
        world.feed(Input::ParentDrained);
    }
    world.pass(Duration::from_secs(60));
    assert!(world.events_of("parent-deaf").is_empty());
    assert!(world.events_of("parent-reads").is_empty());
}

#[test]
fn a_parent_is_given_up_during_a_close_too_so_that_workers_are_heard() {
    let mut world = world();
    world.feed(Input::ParentFull);
    world.command(Command::Close);
    world.pass(Duration::from_secs(31));
    assert_eq!(world.parent_forgotten, 1);
}
