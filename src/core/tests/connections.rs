//! Connections in round robin: each is served once, whatever happens to the workers.

use super::*;

#[test]
fn connections_are_spread_in_turn() {
    let mut world = World::running(settings(3));
    let listener = world.listener();
    let mut takers = Vec::new();
    for _ in 0..6 {
        world.connect(listener);
        let taker = [1, 2, 3].into_iter().find(|&id| world.unanswered(id) > 0);
        world.answer(taker.unwrap(), true);
        takers.extend(taker);
    }
    assert_eq!(takers, [1, 2, 3, 1, 2, 3]);
}

#[test]
fn the_duplicate_is_kept_until_the_worker_says_accepted() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.feed(Input::HandleAcked {
        child: ChildId::App(1),
        conn,
    });
    assert!(world.conns.contains(&conn));
    assert_eq!(world.answer(1, true), conn);
    world.assert_all_closed();
}

#[test]
fn accepting_pauses_when_every_window_is_full() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    assert_eq!(
        world.connect_all(listener).len(),
        3,
        "one each, and one waits"
    );
    assert_eq!([1, 2].map(|id| world.unanswered(id)), [1, 1]);
    world.answer(2, true);
    assert_eq!(world.unanswered(2), 1);
    assert!(world.accepting.contains(&listener));
    world.crowd(listener, &[1, 2]);
    world.connect_all(listener);
    assert_eq!([1, 2].map(|id| world.unanswered(id)), [4, 4]);
}

#[test]
fn a_worker_that_stops_answering_has_one_connection_while_others_take_many() {
    let mut world = World::running(settings(3));
    let listener = world.listener();
    let stuck = world.connect(listener);
    world.crowd(listener, &[2, 3]);
    assert_eq!(world.unanswered(1), 1);
    world.kill(ChildId::App(1));
    assert_eq!(world.last_event("handed-on")["connections"], 1);
    world.answer(2, true);
    world.answer(3, true);
    let takers = [2, 3].map(|id| world.sent_to(id).contains(&stuck));
    assert!(takers.contains(&true), "it goes to another");
}

#[test]
fn what_a_dead_worker_has_not_answered_for_goes_to_another() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    world.crowd(listener, &[1, 2]);
    world.pass(Duration::from_millis(100));
    let mut conns: Vec<_> = world.conns.iter().copied().collect();
    conns.extend(world.connect_all(listener));
    assert_eq!(world.unanswered(1), 4);
    world.kill(ChildId::App(1));
    assert_eq!(world.unanswered(2), 4, "the window");
    let mut served: Vec<_> = (0..conns.len()).map(|_| world.answer(2, true)).collect();
    served.sort();
    assert_eq!(served, conns);
    world.assert_all_closed();
}

#[test]
fn what_a_dead_worker_had_read_is_not_served_twice() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    world.connect(listener);
    let conn = world.answer(1, true);
    world.touched.insert(conn);
    world.kill(ChildId::App(1));
    assert_eq!(world.unanswered(2), 0);
    world.assert_all_closed();
}

#[test]
fn what_a_dead_worker_had_taken_and_not_read_goes_to_another() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    world.connect(listener);
    let conn = world.answer(1, true);
    world.pass(Duration::from_millis(4));
    world.feed(Input::Disconnected {
        child: ChildId::App(1),
    });
    assert_eq!(world.unanswered(2), 0, "it may still read");
    world.exit(ChildId::App(1), code(0));
    assert_eq!(world.answer(2, true), conn);
    world.assert_all_closed();
}

#[test]
fn a_taken_connection_is_kept_for_a_moment_only() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    for _ in 0..2 {
        world.connect(listener);
    }
    world.answer(1, true);
    world.pass(Duration::from_millis(3));
    world.answer(2, true);
    world.pass(Duration::from_millis(3));
    assert_eq!(world.conns.len(), 1);
    world.pass(Duration::from_millis(20));
    assert!(world.conns.is_empty());
}

#[test]
fn what_a_silent_worker_took_and_did_not_touch_goes_to_another_at_its_end_however_late() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    let untouched = world.connect(listener);
    let served = world.connect(listener);
    world.answer(1, true);
    world.answer(2, true);
    world.idle.insert(untouched);
    world.pass(Duration::from_secs(10));
    assert!(world.conns.contains(&untouched), "its worker is silent");
    assert!(!world.conns.contains(&served));
    world.kill(ChildId::App(1));
    assert_eq!(world.answer(2, true), untouched);
    world.touched.insert(untouched);
    world.assert_all_closed();
}

#[test]
fn what_a_worker_touches_late_is_closed_then() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.answer(1, true);
    world.idle.insert(conn);
    world.pass(Duration::from_secs(1));
    assert!(world.conns.contains(&conn));
    world.touched.insert(conn);
    world.pass(Duration::from_millis(100));
    assert!(world.conns.is_empty());
}

#[test]
fn what_a_worker_that_turns_does_not_touch_is_closed_after_a_while() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.answer(1, true);
    world.idle.insert(conn);
    world.pings.clear();
    world.pass(Duration::from_millis(249));
    assert_eq!(world.pings, [], "there is time");
    world.pass(Duration::from_millis(101));
    let child = ChildId::App(1);
    assert_eq!(world.pings, [child], "it is asked whether it turns");
    assert!(world.conns.contains(&conn));
    world.feed(Input::Pong { child });
    world.pass(Duration::ZERO);
    assert!(world.conns.is_empty());
}

#[test]
fn idle_connections_are_not_looked_at_with_each_of_the_others() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let idle = world.connect(listener);
    world.answer(1, true);
    world.idle.insert(idle);
    for _ in 0..20 {
        world.connect(listener);
        world.answer(1, true);
        world.pass(Duration::from_millis(10));
    }
    let looks = world.looks.iter().filter(|&&conn| conn == idle).count();
    assert_eq!(looks, 2, "at once and 100 ms later");
}

#[test]
fn a_ping_that_was_sent_before_proves_nothing() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.answer(1, true);
    world.idle.insert(conn);
    world.pass(Duration::from_millis(240));
    let child = ChildId::App(1);
    world.core.inquire(world.now);
    world.pass(Duration::from_millis(100));
    world.pings.clear();
    world.feed(Input::Pong { child });
    world.pass(Duration::ZERO);
    assert!(world.conns.contains(&conn), "it may have come since");
    assert_eq!(world.pings, [child], "so it is asked again");
    world.feed(Input::Pong { child });
    world.pass(Duration::ZERO);
    assert!(world.conns.is_empty());
}

#[test]
fn without_a_worker_connections_wait_for_the_next_one() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.kill(ChildId::App(1));
    assert!(world.listens.contains_key(&listener), "the port stays open");
    let more = world.connect_all(listener).len();
    assert_eq!(more, 1023, "the kernel holds the rest");
    world.pass(Duration::from_secs(5));
    world.bring_up(2);
    assert_eq!(world.unanswered(2), 1);
    assert_eq!(world.answer(2, true), conn);
    for _ in 0..more {
        world.answer(2, true);
    }
    assert!(world.accepting.contains(&listener));
    assert!(world.events_of("held-too-long").is_empty());
}

#[test]
fn connections_wait_for_workers_that_are_only_busy() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    let conns = world.connect_all(listener);
    world.pass(Duration::from_secs(60));
    assert_eq!(world.conns.len(), conns.len());
    world.answer(1, true);
    assert_eq!(world.sent_to(1), conns[2..]);
    assert!(world.events_of("held-too-long").is_empty());
}

#[test]
fn connections_do_not_wait_for_ever() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    world.connect(listener);
    world.kill(ChildId::App(1));
    world.pass(Duration::from_secs(5));
    world.connect(listener);
    world.connect(listener);
    world.pass(Duration::from_millis(5_001));
    assert_eq!(world.conns.len(), 2, "the first only");
    assert_eq!(world.last_event("held-too-long")["connections"], 1);
    world.pass(Duration::from_secs(5));
    world.assert_all_closed();
    assert_eq!(world.last_event("held-too-long")["connections"], 2);
    assert!(world.listens.contains_key(&listener));
    world.pass(Duration::from_secs(30));
    assert!(
        !world.listens.contains_key(&listener),
        "no successor has come"
    );
}

#[test]
fn connections_wait_as_many_and_as_long_as_the_options_say() {
    let mut given = settings(1);
    given.hold.connections = 3;
    given.hold.timeout = Duration::from_secs(60);
    let mut world = World::running(given);
    let listener = world.listener();
    world.kill(ChildId::App(1));
    assert_eq!(world.connect_all(listener).len(), 3);
    world.pass(Duration::from_secs(59));
    assert!(world.listens.contains_key(&listener));
    assert_eq!(world.conns.len(), 3);
    world.pass(Duration::from_secs(1));
    world.assert_all_closed();
    assert_eq!(world.last_event("held-too-long")["connections"], 3);
}

#[test]
fn a_refused_connection_goes_to_another_worker() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.answer(1, false);
    assert!(world.conns.contains(&conn));
    assert_eq!(world.answer(2, true), conn);
}

#[test]
fn when_all_refuse_it_is_tried_again_and_closed_in_the_end() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.answer(1, false);
    world.answer(2, false);
    assert_eq!([1, 2].map(|id| world.unanswered(id)), [0, 0]);
    assert!(world.accepting.is_empty());
    let mut refusals = 2;
    for _ in 0..400 {
        world.pass(Duration::from_millis(50));
        for id in [1, 2] {
            if world.unanswered(id) > 0 {
                refusals += 1;
                world.answer(id, false);
            }
        }
    }
    assert_eq!(refusals, 201);
    assert!(!world.conns.contains(&conn));
    assert!(world.accepting.contains(&listener));
}

#[test]
fn a_descriptor_lost_on_its_way_is_sent_again() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let conn = world.connect(listener);
    world.sent.clear();
    world.feed(Input::HandleRefused {
        child: ChildId::App(1),
        conn,
    });
    assert!(world.conns.contains(&conn));
    world.pass(Duration::from_millis(50));
    assert_eq!(world.answer(1, true), conn);
}

#[test]
fn a_worker_that_says_goodbye_gets_no_new_connection() {
    let mut world = World::running(settings(2));
    let listener = world.listener();
    world.say_cluster(1, json!({"act": "exitedAfterDisconnect"}));
    assert!(world.replies(1).last().unwrap().0.get("act").is_none());
    world.crowd(listener, &[2]);
    world.connect_all(listener);
    assert_eq!([1, 2].map(|id| world.unanswered(id)), [0, 4]);
}

#[test]
fn an_answer_for_nothing_is_ignored() {
    let mut world = World::running(settings(1));
    world.say_cluster(1, json!({"ack": 4711, "accepted": true}));
    world.feed(Input::HandleAcked {
        child: ChildId::App(1),
        conn: ConnId(99),
    });
    let listener = world.listener();
    world.connect(listener);
    world.answer(1, true);
    world.assert_all_closed();
}

#[test]
fn out_of_descriptors_accepting_rests_and_goes_on() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    // EMFILE, ENFILE, ENOMEM, ENOBUFS of Linux.
    let errors = [24, 23, 12, 105];
    for errno in errors {
        world.feed(Input::AcceptFailed { listener, errno });
        assert!(world.accepting.is_empty());
        world.pass(Duration::from_millis(99));
        assert!(world.accepting.is_empty());
        world.pass(Duration::from_millis(1));
        assert!(world.accepting.contains(&listener));
    }
    world.feed(Input::AcceptFailed {
        listener,
        errno: errors[0],
    });
    assert_eq!(world.events_of("accept-failed").len(), errors.len() + 1);
    world.connect_after_pause(listener);
}

impl World {
    fn connect_after_pause(&mut self, listener: ListenerId) {
        self.pass(Duration::from_millis(100));
        self.connect(listener);
        self.answer(1, true);
        self.assert_all_closed();
    }
}

#[test]
fn thousands_of_deaths_lose_no_connection() {
    let mut world = World::running(settings(50));
    let listener = world.listener();
    let mut random = 1_u64;
    let mut made = 0;
    let mut served = BTreeSet::new();
    for step in 0..20_000 {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let workers = world.core.snapshot().workers;
        let worker = &workers[(random >> 33) as usize % workers.len()];
        match step % 4 {
            0 | 1 if world.accepting.contains(&listener) => {
                world.connect(listener);
                made += 1;
            }
            2 if world.unanswered(worker.id) > 0 => {
                let accepted = random & 1 << 40 != 0;
                let conn = world.answer(worker.id, accepted);
                if accepted {
                    world.touched.insert(conn);
                    assert!(served.insert(conn), "served twice");
                }
            }
            3 if random >> 60 == 0 => {
                // Lines to a dead worker are read by nobody.
                let child = ChildId::App(worker.id);
                world.sent.retain(|(receiver, _, _)| *receiver != child);
                world.pass(Duration::from_secs(2));
                world.kill(child);
                let new = world.last_event("app-forked")["id"].as_u64().unwrap() as u32;
                world.bring_up(new);
            }
            _ => {}
        }
    }
    while !world.conns.is_empty() {
        let workers = world.core.snapshot().workers;
        match workers.iter().find(|w| world.unanswered(w.id) > 0) {
            Some(worker) => assert!(served.insert(world.answer(worker.id, true))),
            None => world.pass(Duration::from_millis(50)),
        }
    }
    assert!(made > 2_000, "{made}");
    assert_eq!(served.len(), made);
}
