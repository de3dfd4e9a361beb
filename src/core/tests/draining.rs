//! Draining: a worker finishes what it has before it is ended, within its time.

use super::*;

const ONE: ChildId = ChildId::App(1);
const TWO: ChildId = ChildId::App(2);

impl World {
    fn hello(&mut self, id: u32) {
        self.say(
            ChildId::App(id),
            &json!({"cmd": "NODE_EGG_CLUSTER_RS", "act": "hello"}),
        );
    }

    /// A running cluster whose workers can drain.
    fn drainable(settings: Settings) -> Self {
        let workers = settings.workers;
        let mut world = Self::running(settings);
        for id in 1..=workers {
            world.hello(id);
        }
        world
    }

    fn report(&mut self, id: u32, requests: u32, connections: u32, upgraded: u32) {
        let report = json!({"cmd": "NODE_EGG_CLUSTER_RS", "act": "draining",
            "requests": requests, "connections": connections, "upgraded": upgraded});
        self.say(ChildId::App(id), &report);
    }

    fn asked_to_drain(&self, id: u32) -> bool {
        self.sent.iter().any(|(child, line, _)| {
            *child == ChildId::App(id)
                && line["cmd"] == "NODE_EGG_CLUSTER_RS"
                && line["act"] == "drain"
        })
    }

    /// The position of the request to drain among the lines to a worker, and the number of lines.
    fn drain_position(&self, id: u32) -> (usize, usize) {
        let lines: Vec<_> = self
            .sent
            .iter()
            .filter(|(child, ..)| *child == ChildId::App(id))
            .collect();
        let is_drain = |line: &Value| line["act"] == "drain";
        let at = lines.iter().position(|(_, line, _)| is_drain(line));
        (at.expect("a request to drain"), lines.len())
    }
}

fn terminated(child: ChildId) -> (ChildId, Signal) {
    (child, Signal::Terminate)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn a_worker_is_terminated_when_it_has_finished() {
    let mut world = World::drainable(settings(2));
    let listener = world.listener();
    world.command(Command::Close);
    assert_eq!(world.last_event("closing-apps")["timeoutMs"], 5000);
    assert_eq!(
        world.closed_listeners,
        [listener],
        "new clients are refused at once"
    );
    assert!(world.asked_to_drain(1) && world.asked_to_drain(2));
    assert!(world.signals.is_empty());
    world.report(1, 2, 3, 0);
    world.report(2, 0, 0, 0);
    assert_eq!(world.signals, [terminated(TWO)]);
    assert_eq!(world.last_event("app-drained")["id"], 2);
    world.pass(ms(300));
    world.report(1, 0, 1, 0);
    assert_eq!(world.signals.len(), 1, "its last connection is still open");
    world.report(1, 0, 0, 0);
    assert_eq!(world.signals, [terminated(TWO), terminated(ONE)]);
    let event = world.last_event("app-drained");
    assert_eq!(
        (&event["id"], &event["elapsedMs"]),
        (&1.into(), &300.into())
    );
    // From here on as without a drain, with a grace period of its own.
    world.pass(ms(4_999));
    assert!(!world.signals.contains(&(ONE, Signal::Kill)));
    world.pass(ms(1));
    assert!(world.signals.contains(&(ONE, Signal::Kill)));
    world.kill(ONE);
    world.kill(TWO);
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
    assert!(world.core.poll_timeout().is_none());
}

#[test]
fn a_worker_that_does_not_finish_is_terminated_in_time_and_what_it_had_is_told() {
    let mut world = World::drainable(settings(1));
    world.command(Command::Close);
    world.report(1, 2, 3, 0);
    world.pass(ms(3_999));
    assert!(world.signals.is_empty());
    world.pass(ms(1));
    assert_eq!(world.signals, [terminated(ONE)]);
    let event = world.last_event("drain-timed-out");
    assert_eq!(event["elapsedMs"], 4_000);
    assert_eq!(
        (&event["requests"], &event["connections"]),
        (&2.into(), &3.into())
    );
    assert!(world.events_of("app-drained").is_empty());
    world.report(1, 0, 0, 0);
    assert_eq!(
        world.signals.len(),
        1,
        "what it says afterwards changes nothing"
    );
}

#[test]
fn a_worker_that_does_not_react_gets_no_longer_time() {
    let mut world = World::drainable(settings(1));
    world.command(Command::Close);
    world.pass(ms(4_000));
    assert_eq!(world.signals, [terminated(ONE)]);
    assert!(world.last_event("drain-timed-out")["requests"].is_null());
}

#[test]
fn upgraded_connections_have_a_time_of_their_own() {
    let mut world = World::drainable(settings(3));
    world.command(Command::Close);
    for id in 1..=3 {
        world.report(id, 0, 0, 2);
    }
    world.pass(ms(4_000));
    assert!(world.signals.is_empty());
    world.report(1, 0, 0, 0);
    assert_eq!(world.signals, [terminated(ONE)]);
    assert_eq!(world.last_event("app-drained")["elapsedMs"], 4_000);
    // Requests are not waited for on behalf of a WebSocket that is gone.
    world.report(2, 1, 1, 1);
    world.report(2, 1, 1, 0);
    assert_eq!(world.signals.last(), Some(&terminated(TWO)));
    assert_eq!(world.last_event("drain-timed-out")["requests"], 1);
    world.pass(ms(6_000));
    assert_eq!(world.signals.last(), Some(&terminated(ChildId::App(3))));
    let event = world.last_event("drain-timed-out");
    assert_eq!(
        (&event["requests"], &event["connections"]),
        (&0.into(), &2.into())
    );
}

#[test]
fn upgraded_connections_may_have_less_time_than_requests() {
    let mut settings = settings(2);
    settings.drain = Some(DrainLimits {
        timeout: ms(4_000),
        websocket_timeout: ms(500),
    });
    let mut world = World::drainable(settings);
    world.command(Command::Close);
    world.report(1, 0, 0, 1);
    world.report(2, 1, 1, 1);
    world.pass(ms(500));
    assert_eq!(world.signals, [terminated(ONE)]);
    world.pass(ms(200));
    world.report(2, 0, 0, 1);
    assert_eq!(world.signals, [terminated(ONE), terminated(TWO)]);
    assert_eq!(world.last_event("drain-timed-out")["elapsedMs"], 700);
}

#[test]
fn without_the_preload_or_the_option_workers_end_at_once() {
    let mut other = World::running(settings(2));
    other.hello(1);
    other.command(Command::Close);
    assert_eq!(other.signals, [terminated(TWO)]);
    assert!(other.asked_to_drain(1));

    let mut settings = settings(1);
    settings.drain = None;
    let mut world = World::drainable(settings);
    world.command(Command::Close);
    assert_eq!(world.signals, [terminated(ONE)]);
    assert!(!world.asked_to_drain(1));
}

#[test]
fn a_worker_that_boots_has_nothing_to_finish() {
    let mut world = World::new(settings(1));
    world.start_agent();
    world.hello(1);
    world.say_cluster(1, json!({"act": "online"}));
    world.command(Command::Close);
    assert_eq!(world.signals, [terminated(ONE)]);
    assert!(!world.asked_to_drain(1));
}

#[test]
fn what_the_kernel_holds_is_handed_out_before_workers_drain() {
    let mut world = World::drainable(settings(2));
    let listener = world.listener();
    assert_eq!(world.connect_all(listener).len(), 3, "both have their fill");
    world.backlog = 12;
    world.command(Command::Close);
    assert_eq!(world.closed_listeners, [listener]);
    assert_eq!(world.unanswered(1) + world.unanswered(2), 15);
    for id in [1, 2] {
        let (at, count) = world.drain_position(id);
        assert_eq!(
            at,
            count - 1,
            "a worker has all its connections before it starts to count"
        );
        while world.unanswered(id) > 0 {
            world.answer(id, true);
        }
    }
    assert!(world.conns.is_empty(), "the duplicates are closed");
    assert!(world.signals.is_empty());
}

#[test]
fn workers_that_cannot_drain_get_nothing_of_the_last_connections() {
    let mut world = World::running(settings(2));
    world.hello(2);
    world.backlog = 6;
    world.command(Command::Close);
    assert_eq!((world.unanswered(1), world.unanswered(2)), (0, 6));
    assert_eq!(world.signals, [terminated(ONE)]);
}

#[test]
fn without_a_worker_to_answer_it_nothing_more_is_accepted() {
    let mut world = World::running(settings(2));
    world.backlog = 6;
    world.command(Command::Close);
    assert_eq!(world.backlog, 6);
    assert!(world.conns.is_empty());
}

#[test]
fn sticky_connections_that_wait_are_handed_out_before_workers_drain() {
    let mut settings = settings(1);
    settings.sticky_port = Some(40_001);
    let mut world = World::drainable(settings);
    let public = world.listener();
    for _ in 0..20 {
        world.connect(public);
    }
    let handed = |world: &World| {
        let is_conn = |(_, _, handle): &&(ChildId, Value, Option<HandleRef>)| handle.is_some();
        world.sent.iter().filter(is_conn).count()
    };
    assert_eq!(handed(&world), 1, "the window");
    world.backlog = 5;
    world.command(Command::Close);
    assert_eq!(handed(&world), 25);
    let (at, count) = world.drain_position(1);
    assert_eq!(at, count - 1);
    assert_eq!(world.closed_listeners, [public]);
    for conn in world.conns.clone() {
        world.feed(Input::HandleAcked { child: ONE, conn });
    }
    assert!(world.conns.is_empty());
    world.report(1, 0, 0, 0);
    assert_eq!(world.signals, [terminated(ONE)]);
}

#[test]
fn a_worker_that_dies_while_it_drains_is_not_waited_for() {
    let mut world = World::drainable(settings(2));
    world.command(Command::Close);
    world.feed(Input::Disconnected { child: ONE });
    assert_eq!(
        world.signals,
        [terminated(ONE)],
        "nothing more can be heard of it"
    );
    world.exit(ONE, code(1));
    world.kill(TWO);
    assert_eq!(world.last_event("closing-agent")["alive"], true);
    assert_eq!(world.last_event("app-exited")["expected"], true);
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
    assert!(world.events_of("drain-timed-out").is_empty());
    assert!(world.events_of("app-drained").is_empty());
    assert!(world.core.poll_timeout().is_none());
}

#[test]
fn a_reload_drains_the_old_worker_with_its_channel_open() {
    for sticky_port in [None, Some(40_001)] {
        for production in [true, false] {
            let mut settings = settings(1);
            (settings.sticky_port, settings.production) = (sticky_port, production);
            let mut world = World::drainable(settings);
            world.command(Command::Reload);
            assert!(!world.asked_to_drain(1), "it serves until another is ready");
            world.bring_up_for_good(2);
            assert!(world.asked_to_drain(1));
            let disconnects =
                |(_, line, _): &(ChildId, Value, Option<HandleRef>)| line["act"] == "disconnect";
            assert!(!world.sent.iter().any(disconnects));
            assert!(world.signals.is_empty());
            let public = *world.accepting.iter().next().expect("the port stays open");
            let conn = world.connect(public);
            let to = |(child, _, handle): &(ChildId, Value, Option<HandleRef>)| {
                (*handle == Some(HandleRef::Conn(conn))).then_some(*child)
            };
            assert_eq!(world.sent.iter().find_map(to), Some(TWO));
            world.report(1, 1, 1, 0);
            world.report(1, 0, 0, 0);
            assert_eq!(world.signals, [terminated(ONE)]);
            world.die(ONE, code(0));
            let event = world.last_event("app-exited");
            assert_eq!(event["reloaded"], true);
            assert_eq!(event["exitedAfterDisconnect"], true);
            assert_eq!(world.events_of("reload-done").len(), 1);
        }
    }
}

#[test]
fn a_retired_worker_answers_what_it_was_given_before() {
    let mut world = World::drainable(settings(1));
    let listener = world.listener();
    world.crowd(listener, &[1]);
    world.pass(ms(100));
    world.connect_all(listener);
    while world.unanswered(1) > 2 {
        world.answer(1, true);
    }
    let [taken, refused] = world.sent_to(1)[..] else {
        panic!("two are on their way")
    };
    world.pass(ms(100));
    world.command(Command::Reload);
    world.bring_up_for_good(2);
    assert_eq!(world.answer(1, true), taken);
    assert_eq!(world.answer(1, false), refused);
    assert_eq!(world.answer(2, true), refused);
    world.assert_all_closed();
    world.pass(ms(4_000));
    assert_eq!(world.signals, [terminated(ONE)]);
}

#[test]
fn a_retired_worker_cannot_listen_anew() {
    let mut world = World::drainable(settings(1));
    world.command(Command::Reload);
    world.bring_up_for_good(2);
    world.replies(1);
    world.listen_on(1, None, 7001);
    assert!(world.replies(1).is_empty());
}

#[test]
fn a_retired_worker_that_dies_is_not_replaced() {
    let mut world = World::drainable(settings(1));
    world.command(Command::Reload);
    world.bring_up_for_good(2);
    world.kill(ONE);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.spawns.len(), 3);
    assert!(world.events_of("drain-timed-out").is_empty());
}

#[test]
fn closing_leaves_a_retired_worker_the_rest_of_its_time() {
    let mut world = World::drainable(settings(2));
    world.command(Command::Reload);
    world.bring_up_for_good(3);
    world.report(1, 1, 1, 0);
    world.pass(ms(3_000));
    let asked = |world: &World| {
        let is_drain = |(child, line, _): &&(ChildId, Value, Option<HandleRef>)| {
            *child == ONE && line["act"] == "drain"
        };
        world.sent.iter().filter(is_drain).count()
    };
    world.command(Command::Close);
    assert_eq!(asked(&world), 1);
    assert!(world.asked_to_drain(2));
    // 3 could drain but has not said so: it ends at once.
    assert_eq!(world.signals, [terminated(ChildId::App(3))]);
    world.pass(ms(1_000));
    assert_eq!(world.signals.last(), Some(&terminated(ONE)));
    assert_eq!(world.last_event("drain-timed-out")["elapsedMs"], 4_000);
    world.pass(ms(3_000));
    assert_eq!(world.signals.last(), Some(&terminated(TWO)));
}

#[test]
fn closing_twice_drains_once() {
    let mut world = World::drainable(settings(1));
    world.command(Command::Close);
    world.forget_sent();
    world.command(Command::Close);
    assert!(!world.asked_to_drain(1));
    assert!(world.signals.is_empty());
}

#[test]
fn with_no_time_nothing_is_waited_for() {
    let mut settings = settings(1);
    settings.drain = Some(DrainLimits {
        timeout: Duration::ZERO,
        websocket_timeout: Duration::ZERO,
    });
    let mut world = World::drainable(settings);
    world.command(Command::Close);
    world.pass(Duration::ZERO);
    assert_eq!(world.signals, [terminated(ONE)]);
}
