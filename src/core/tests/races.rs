//! Stories that the simulator has found: things that happen at a bad moment.

use super::*;
use crate::core::client_key::{ClientKey, KeyBy};

const STICKY_PORT: u16 = 40_123;
const SECOND: Duration = Duration::from_secs(1);

fn app(id: u32) -> ChildId {
    ChildId::App(id)
}

fn sticky(workers: u32) -> Settings {
    Settings {
        sticky_port: Some(STICKY_PORT),
        ..settings(workers)
    }
}

fn watched(given: Settings) -> Settings {
    Settings {
        watchdog: Some(WatchdogSettings {
            timeout: 60 * SECOND,
            boot_timeout: None,
            interval: 5 * SECOND,
            kills: true,
            stack: false,
        }),
        ..given
    }
}

fn client(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

impl World {
    /// The connections that a worker was sent, in order.
    fn conns_of(&self, id: u32) -> Vec<ConnId> {
        let of_worker = |(child, _, handle): &(ChildId, Value, Option<HandleRef>)| match handle {
            Some(HandleRef::Conn(conn)) if *child == app(id) => Some(*conn),
            _ => None,
        };
        self.sent.iter().filter_map(of_worker).collect()
    }

    fn is_terminated(&self, child: ChildId) -> bool {
        self.signals.contains(&(child, Signal::Terminate))
    }

    /// The channel of a child closes, and it lives on.
    fn cut(&mut self, child: ChildId) {
        self.feed(Input::Disconnected { child });
    }

    /// A worker answers that it serves the oldest connection that it has taken.
    fn answer_only(&mut self, id: u32) {
        let is_newconn = |(child, line, _): &(ChildId, Value, Option<HandleRef>)| {
            *child == app(id) && line["act"] == "newconn"
        };
        let at = self.sent.iter().position(is_newconn).expect("no newconn");
        let (_, line, _) = self.sent.remove(at);
        self.say_cluster(id, json!({"ack": line["seq"], "accepted": true}));
    }

    /// The public listener.
    fn sticky_listener(&self) -> ListenerId {
        *self.listens.keys().last().expect("a listener")
    }

    fn say_can_drain(&mut self, id: u32) {
        self.say(
            app(id),
            &json!({"cmd": "NODE_EGG_CLUSTER_RS", "act": "hello"}),
        );
    }
}

#[test]
fn nothing_is_asked_for_after_the_last_event() {
    let mut world = World::new(settings(1));
    world.command(Command::Start);
    world.die(AGENT, code(1));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn a_worker_that_says_that_it_leaves_gets_no_more_sticky_connections() {
    let mut world = World::running(sticky(2));
    let listener = world.sticky_listener();
    world.say_cluster(1, json!({"act": "exitedAfterDisconnect"}));
    for n in 0..8 {
        world.connect_from(listener, client(n));
    }
    assert_eq!(world.conns_of(1), []);
    assert_eq!(world.conns_of(2).len(), 1, "the others wait for it");
}

#[test]
fn sticky_connections_that_wait_for_a_worker_leave_it_when_it_says_that_it_leaves() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    for n in 0..40 {
        world.connect_from(listener, client(n));
    }
    let sent = world.conns_of(1).len();
    assert!(sent < 40);
    world.say_cluster(1, json!({"act": "exitedAfterDisconnect"}));
    for conn in world.conns_of(1) {
        world.feed(Input::HandleAcked {
            child: app(1),
            conn,
        });
    }
    assert_eq!(world.conns_of(1).len(), sent);
}

#[test]
fn an_answer_for_a_connection_shows_that_the_event_loop_turns() {
    let mut world = World::running(watched(settings(1)));
    let listener = world.listener();
    world.crowd(listener, &[1]);
    world.connect_all(listener);
    for conn in world.conns_of(1) {
        world.feed(Input::HandleAcked {
            child: app(1),
            conn,
        });
    }
    for _ in 0..2 {
        world.pass(Duration::from_millis(900));
        world.answer_only(1);
    }
    world.pass(Duration::from_millis(900));
    assert_eq!(world.last_event("stuck"), &Value::Null);
}

#[test]
fn a_sticky_connection_of_a_dead_worker_begins_to_wait_when_it_dies() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    for n in 0..40 {
        world.connect_from(listener, client(n));
    }
    let handed = world.conns_of(1);
    world.pass(Duration::from_millis(9_500));
    world.forget_sent();
    world.kill(app(1));
    // What waited all the time is closed now, and nothing else.
    world.pass(SECOND);
    assert_eq!(world.conns, handed.iter().copied().collect());
    world.bring_up(2);
    assert!(world.conns_of(2).contains(&handed[0]));
}

#[test]
fn a_sticky_connection_that_was_not_taken_begins_to_wait_then() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    for n in 0..40 {
        world.connect_from(listener, client(n));
    }
    let refused = world.conns_of(1)[0];
    world.pass(Duration::from_millis(9_990));
    world.feed(Input::HandleRefused {
        child: app(1),
        conn: refused,
    });
    world.pass(Duration::from_millis(20));
    assert!(world.conns.contains(&refused));
}

#[test]
fn whose_key_is_awaited_at_a_close_is_served_by_its_address() {
    let mut world = World::running(Settings {
        client_key: ClientKey {
            by: KeyBy::Cookie("id".into()),
            head_timeout: 2 * SECOND,
            ..ClientKey::default()
        },
        ..sticky(1)
    });
    world.say_can_drain(1);
    world.backlog = 2;
    world.command(Command::Close);
    assert_eq!(world.conns_of(1).len(), 2);
    assert_eq!(world.conns.len(), 2);
    assert!(world.peeks.is_empty());
}

#[test]
fn a_retired_worker_of_sticky_mode_gets_nothing_from_its_other_ports() {
    let mut world = World::running(Settings {
        production: false,
        ..sticky(1)
    });
    world.listen_on(1, None, 7005);
    let other = *world.listens.keys().last().unwrap();
    world.command(Command::Reload);
    world.bring_up(2);
    assert!(world.is_terminated(app(1)));
    world.connect(other);
    assert_eq!(world.conns_of(1), []);
}

#[test]
fn a_new_worker_does_not_wait_to_replace_one_that_never_served() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    world.kill(app(1));
    let conn = world.connect_from(listener, client(1));
    world.command(Command::Reload);
    world.bring_up(3);
    assert_eq!(world.conns_of(3), [conn]);
}

#[test]
fn what_waits_is_offered_to_a_new_worker_that_takes_its_slot_later() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    world.command(Command::Reload);
    world.bring_up(2);
    world.kill(app(1));
    let conn = world.connect_from(listener, client(1));
    world.pass(SECOND);
    assert_eq!(world.conns_of(2), [conn]);
}

#[test]
fn a_worker_that_ends_at_a_close_gets_no_more_sticky_connections() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    for n in 0..40 {
        world.connect_from(listener, client(n));
    }
    let sent = world.conns_of(1);
    world.command(Command::Close);
    assert!(world.is_terminated(app(1)));
    assert_eq!(world.conns, sent.iter().copied().collect());
    for conn in &sent {
        let (child, conn) = (app(1), *conn);
        world.feed(Input::HandleAcked { child, conn });
    }
    assert_eq!(world.conns_of(1), sent);
}

#[test]
fn a_sticky_connection_that_is_not_taken_at_the_end_is_closed() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    let conn = world.connect_from(listener, client(1));
    world.command(Command::Close);
    world.feed(Input::HandleRefused {
        child: app(1),
        conn,
    });
    assert!(world.conns.is_empty());
}

#[test]
fn nothing_is_accepted_before_the_public_port_of_sticky_mode_is_bound() {
    let mut world = World::new(sticky(2));
    world.start_agent();
    world.bring_up(1);
    world.listen_later = true;
    world.bring_up(2);
    let listener = world.sticky_listener();
    world.kill(app(1));
    assert!(world.accepting.is_empty());
    world.answer_listen(listener);
    assert!(world.accepting.contains(&listener));
}

#[test]
fn a_public_port_that_is_being_bound_at_a_close_is_closed_afterwards() {
    let mut world = World::new(sticky(1));
    world.start_agent();
    world.listen_later = true;
    world.bring_up(1);
    let listener = world.sticky_listener();
    world.command(Command::Close);
    assert!(world.closed_listeners.is_empty());
    world.answer_listen(listener);
    assert_eq!(world.closed_listeners, [listener]);
}

#[test]
fn the_slot_of_a_worker_that_lost_its_channel_while_others_booted_is_filled() {
    let mut world = World::new(settings(2));
    world.start_agent();
    world.bring_up(1);
    world.cut(app(1));
    world.bring_up(2);
    assert_eq!(world.last_event("ready")["type"], "ready");
    world.pass(Duration::ZERO);
    assert_eq!(world.spawns.last().unwrap().slot, Some(0));
    world.exit(app(1), code(0));
    world.bring_up(3);
    assert_eq!(world.ready(), 2);
}

#[test]
fn a_new_worker_that_leaves_replaces_nobody() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.bring_up(2);
    world.say_cluster(2, json!({"act": "exitedAfterDisconnect"}));
    world.forget_sent();
    world.pass(3 * SECOND);
    assert_eq!(world.sent, [], "the old one is asked to go");
    world.die(app(2), code(0));
    assert_eq!(world.events_of("reload-failed").len(), 1);
}

#[test]
fn a_reload_does_not_wait_for_a_worker_that_has_lost_its_channel_and_lives_on() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.cut(app(2));
    world.pass(5 * SECOND);
    assert!(world.is_terminated(app(2)));
    world.exit(app(2), code(0));
    assert_eq!(world.events_of("reload-failed").len(), 1);
}

#[test]
fn a_start_does_not_wait_for_a_worker_that_has_lost_its_channel_and_lives_on() {
    let mut world = World::new(settings(1));
    world.start_agent();
    world.cut(app(1));
    world.pass(5 * SECOND);
    assert!(world.is_terminated(app(1)));
    world.exit(app(1), code(0));
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn an_agent_that_has_lost_its_channel_and_lives_on_is_replaced() {
    let mut world = World::running(settings(1));
    world.cut(AGENT);
    world.pass(3 * SECOND);
    assert!(world.is_terminated(AGENT));
    world.exit(AGENT, code(0));
    world.pass(SECOND);
    assert_eq!(world.spawns.last().unwrap().child, ChildId::Agent(2));
}

#[test]
fn a_close_waits_for_the_agent_that_is_being_forked() {
    let mut world = World::new(settings(1));
    world.spawn_later = true;
    world.command(Command::Start);
    world.command(Command::Close);
    assert_eq!(world.last_event("closed"), &Value::Null);
    world.answer_spawn(AGENT);
    assert!(world.is_terminated(AGENT));
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn a_close_waits_for_workers_that_are_being_forked() {
    let mut world = World::running(settings(1));
    world.spawn_later = true;
    world.kill(app(1));
    world.command(Command::Close);
    assert!(world.events_of("closing-agent").is_empty());
    world.answer_spawn(app(2));
    assert!(world.is_terminated(app(2)));
    world.die(app(2), code(0));
    assert_eq!(world.events_of("closing-agent").len(), 1);
}

#[test]
fn a_close_goes_on_when_a_fork_fails() {
    let mut world = World::running(settings(1));
    world.spawn_later = true;
    world.kill(app(1));
    world.command(Command::Close);
    let reason = "no more processes".to_owned();
    world.feed(Input::SpawnFailed {
        child: app(2),
        reason,
    });
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed")["code"], 0);
    assert!(world.core.poll_timeout().is_none());
}

#[test]
fn a_failed_start_waits_for_workers_that_are_being_forked_and_kills_those_that_come_too_late() {
    let mut world = World::new(settings(2));
    world.command(Command::Start);
    world.spawn_later = true;
    world.say(AGENT, &json!({"action": "agent-start", "to": "master"}));
    world.answer_spawn(app(1));
    world.die(app(1), code(1));
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed"), &Value::Null);
    world.pass(6 * SECOND);
    world.answer_spawn(app(2));
    assert_eq!(world.signals.last(), Some(&(app(2), Signal::Kill)));
    world.exit(app(2), code(0));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn a_failed_start_waits_for_the_descendants_of_a_child_that_was_being_ended() {
    let mut world = World::new(settings(1));
    world.start_agent();
    world.cut(app(1));
    world.pass(5 * SECOND);
    world.descendants = 1;
    world.exit(app(1), code(0));
    world.die(AGENT, code(0));
    assert_eq!(world.last_event("closed"), &Value::Null);
    world.pass(5 * SECOND);
    assert_eq!(world.signals.last(), Some(&(app(1), Signal::Kill)));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn a_worker_that_is_being_forked_when_its_reload_fails_is_ended() {
    let mut world = World::running(Settings {
        production: false,
        ..settings(2)
    });
    world.spawn_later = true;
    world.command(Command::Reload);
    world.answer_spawn(app(3));
    world.die(app(3), code(1));
    assert_eq!(world.events_of("reload-failed").len(), 1);
    world.answer_spawn(app(4));
    assert!(world.is_terminated(app(4)));
}

#[test]
fn a_worker_that_is_being_ended_is_not_given_a_port() {
    let mut world = World::running(Settings {
        production: false,
        ..settings(2)
    });
    world.command(Command::Reload);
    world.die(app(3), code(1));
    assert!(world.is_terminated(app(4)));
    world.forget_sent();
    world.bring_up(4);
    assert_eq!(world.replies(4), []);
}

#[test]
fn a_worker_that_boots_is_offered_nothing_when_its_reload_has_failed() {
    let mut world = World::running(Settings {
        production: false,
        ..settings(2)
    });
    let query = json!({"act": "queryServer", "index": 0, "data": null, "address": null,
        "port": 7001, "addressType": 4, "backlog": 0});
    world.command(Command::Reload);
    world.say_cluster(4, query);
    world.die(app(3), code(1));
    world.forget_sent();
    let listener = world.listener();
    world.crowd(listener, &[1, 2]);
    assert_eq!(world.conns_of(4), []);
}

#[test]
fn a_worker_that_loses_its_channel_while_a_close_empties_the_ports_is_ended() {
    let mut world = World::running(settings(1));
    world.say_can_drain(1);
    world.rest_later = true;
    let listener = world.listener();
    world.command(Command::Close);
    world.cut(app(1));
    world.feed(Input::AcceptedRest { listener });
    assert!(world.is_terminated(app(1)));
}

#[test]
fn a_connection_that_has_waited_long_does_not_wait_for_one_that_came_back() {
    let mut world = World::running(settings(1));
    let listener = world.listener();
    let [given, waiting] = world.connect_all(listener)[..] else {
        panic!("one is sent, one waits")
    };
    world.pass(9 * SECOND);
    world.kill(app(1));
    world.pass(SECOND);
    assert!(!world.conns.contains(&waiting), "it has had its time");
    assert!(world.conns.contains(&given), "it has waited for a second");
}

#[test]
fn a_connection_that_is_being_looked_at_is_closed_before_the_last_event() {
    let mut world = World::running(settings(1));
    world.check_later = true;
    let conn = world.connect(world.listener());
    world.answer(1, true);
    world.kill(app(1));
    world.command(Command::Close);
    world.die(app(2), code(0));
    assert!(world.conns.contains(&conn));
    world.die(AGENT, code(0));
    assert!(world.conns.is_empty());
    assert_eq!(world.last_event("closed")["code"], 0);
}

#[test]
fn what_comes_to_one_port_while_another_is_emptied_is_handed_out_at_a_close() {
    let mut world = World::running(sticky(1));
    world.say_can_drain(1);
    world.rest_later = true;
    let listener = world.sticky_listener();
    world.listen_on(1, None, 7005);
    let other = *world.listens.keys().last().unwrap();
    world.command(Command::Close);
    world.feed(Input::AcceptedRest { listener });
    for n in 0..40 {
        world.connect_from(listener, client(n));
    }
    world.feed(Input::AcceptedRest { listener: other });
    assert_eq!(world.conns_of(1).len(), 40);
    assert_eq!(world.conns.len(), 40);
}

#[test]
fn a_close_while_the_public_port_of_sticky_mode_is_being_bound_stays_a_close() {
    let mut world = World::new(sticky(1));
    world.start_agent();
    world.listen_on(1, None, 7005);
    world.listen_later = true;
    world.bring_up(1);
    world.say_can_drain(1);
    let public = *world.listens.keys().last().unwrap();
    world.rest_later = true;
    world.command(Command::Close);
    world.answer_listen(public);
    assert!(world.events_of("ready").is_empty());
    assert_eq!(world.closed_listeners, [public]);
    world.command(Command::Reload);
    assert!(world.events_of("reload-started").is_empty());
}

#[test]
fn a_new_worker_that_hangs_in_its_probation_replaces_nobody() {
    let mut world = World::running(watched(settings(1)));
    world.command(Command::Reload);
    world.pings.clear();
    world.bring_up(2);
    assert_eq!(world.pings, [app(2)]);
    world.pass(3 * SECOND);
    assert_eq!(world.core.workers.in_slot(0), Some(1));
    world.feed(Input::Pong { child: app(2) });
    world.pass(SECOND);
    assert_eq!(world.core.workers.in_slot(0), Some(2));
}

#[test]
fn a_reload_whose_new_worker_hangs_for_ever_fails_and_the_old_one_serves() {
    let mut world = World::running(watched(settings(1)));
    world.command(Command::Reload);
    world.bring_up(2);
    while !world.signals.contains(&(app(2), Signal::Kill)) {
        world.pass(SECOND);
        world.feed(Input::Pong { child: app(1) });
    }
    world.kill(app(2));
    assert_eq!(world.events_of("reload-failed").len(), 1);
    let listener = world.listener();
    let conn = world.connect(listener);
    assert_eq!(world.conns_of(1), [conn]);
}

#[test]
fn a_new_worker_that_has_been_killed_replaces_nobody() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.feed(Input::OutboxFull { child: app(2) });
    world.pass(Duration::from_millis(29_500));
    world.bring_up_for_good(2);
    assert_eq!(world.signals, [(app(2), Signal::Kill)]);
    assert_eq!(world.core.workers.in_slot(0), Some(1));
}

#[test]
fn a_new_worker_that_becomes_ready_after_it_was_killed_replaces_nobody() {
    let mut world = World::running(Settings {
        production: false,
        ..settings(1)
    });
    world.command(Command::Reload);
    world.feed(Input::OutboxFull { child: app(2) });
    world.pass(30 * SECOND);
    assert_eq!(world.signals, [(app(2), Signal::Kill)]);
    world.bring_up_for_good(2);
    assert_eq!(world.core.workers.in_slot(0), Some(1));
}

#[test]
fn a_new_worker_that_has_lost_its_channel_replaces_nobody() {
    let mut world = World::running(settings(1));
    world.command(Command::Reload);
    world.bring_up(2);
    world.cut(app(2));
    world.cut(app(1));
    world.pass(2 * SECOND);
    world.exit(app(1), code(0));
    world.exit(app(2), code(0));
    assert_eq!(world.events_of("reload-done").len(), 0);
    assert_eq!(world.events_of("reload-failed").len(), 1);
    world.pass(SECOND);
    world.bring_up(3);
    world.command(Command::Reload);
    world.bring_up_for_good(4);
    world.die(app(3), code(0));
    assert_eq!(world.events_of("reload-done").len(), 1);
}

#[test]
fn sticky_connections_that_wait_for_a_worker_are_closed_with_the_port_when_all_fails() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    world.spawn_fails = true;
    world.kill(AGENT);
    world.pass(29 * SECOND);
    let conns = [1, 2, 3].map(|n| world.connect_from(listener, client(n)));
    world.disconnect_later = true;
    world.pass(SECOND);
    assert_eq!(world.events_of("check-failed").len(), 1);
    assert_eq!(world.conns, [conns[0]].into());
    world.feed(Input::HandleAcked {
        child: app(1),
        conn: conns[0],
    });
    assert_eq!(world.conns_of(1), [conns[0]]);
}

#[test]
fn accepting_rests_on_the_sticky_port_until_descriptors_are_to_be_had() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    let conn = world.connect_from(listener, client(1));
    let errno = 24;
    world.feed(Input::AcceptFailed { listener, errno });
    world.feed(Input::HandleAcked {
        child: app(1),
        conn,
    });
    assert!(!world.accepting.contains(&listener));
    world.pass(Duration::from_millis(100));
    assert!(world.accepting.contains(&listener));
}

fn holding(connections: usize, given: Settings) -> Settings {
    let timeout = given.hold.timeout;
    Settings {
        hold: HoldLimits {
            timeout,
            connections,
        },
        ..given
    }
}

#[test]
fn a_sticky_port_that_rested_does_not_accept_more_than_may_be_held() {
    let mut world = World::running(holding(1, sticky(1)));
    let listener = world.sticky_listener();
    world.connect_from(listener, client(1));
    let errno = 24;
    world.feed(Input::AcceptFailed { listener, errno });
    world.kill(app(1));
    world.pass(Duration::from_millis(100));
    assert!(!world.accepting.contains(&listener));
}

#[test]
fn an_untouched_sticky_connection_that_comes_back_counts_as_held() {
    let mut world = World::running(holding(1, sticky(1)));
    let listener = world.sticky_listener();
    let conn = world.connect_from(listener, client(1));
    world.feed(Input::HandleAcked {
        child: app(1),
        conn,
    });
    world.kill(app(1));
    assert!(world.conns.contains(&conn));
    assert!(!world.accepting.contains(&listener));
}

/// Clients of the two slots, one of each.
fn clients_of_two_slots(world: &mut World) -> [IpAddr; 2] {
    let listener = world.sticky_listener();
    [1, 2].map(|worker| {
        let at_worker = |n: &u8| {
            let conn = world.connect_from(listener, client(*n));
            let is_there = world.conns_of(worker).contains(&conn);
            let child = app(if is_there { worker } else { 3 - worker });
            world.feed(Input::HandleAcked { child, conn });
            is_there
        };
        client((0..100).find(at_worker).expect("a client of the slot"))
    })
}

#[test]
fn sticky_connections_do_not_wait_behind_a_refused_one_that_went_elsewhere() {
    let mut world = World::running(sticky(2));
    let listener = world.sticky_listener();
    let [first, second] = clients_of_two_slots(&mut world);
    world.assert_all_closed();
    world.kill(app(2));
    world.forget_sent();
    let guest = world.connect_from(listener, second);
    let waiting = world.connect_from(listener, first);
    assert_eq!(world.conns_of(1), [guest]);
    world.feed(Input::HandleRefused {
        child: app(1),
        conn: guest,
    });
    world.bring_up(3);
    assert_eq!(world.conns_of(3), [guest]);
    world.pass(Duration::from_millis(50));
    assert_eq!(world.conns_of(1), [guest, waiting]);
}

#[test]
fn the_time_of_a_refused_sticky_connection_begins_at_once() {
    let mut world = World::running(sticky(1));
    let listener = world.sticky_listener();
    let refused = world.connect_from(listener, client(1));
    world.feed(Input::HandleRefused {
        child: app(1),
        conn: refused,
    });
    // Nothing runs meanwhile.
    world.now += 20 * SECOND;
    world.kill(app(1));
    world.pass(Duration::ZERO);
    assert!(!world.conns.contains(&refused));
}
