//! Sticky mode: the same client, the same slot.

use super::*;

const STICKY_PORT: u16 = 40_123;

fn world(workers: u32) -> World {
    let mut given = settings(workers);
    given.sticky_port = Some(STICKY_PORT);
    World::running(given)
}

fn client(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

impl World {
    /// The worker that a sticky connection was sent to last.
    fn sticky_worker(&self, conn: ConnId) -> Option<u32> {
        self.sent
            .iter()
            .rev()
            .find_map(|(child, line, handle)| match (child, handle) {
                (ChildId::App(id), Some(HandleRef::Conn(sent)))
                    if *sent == conn && line == "sticky-session:connection" =>
                {
                    Some(*id)
                }
                _ => None,
            })
    }

    fn ack_sticky(&mut self, id: u32, conn: ConnId) {
        self.feed(Input::HandleAcked {
            child: ChildId::App(id),
            conn,
        });
    }
}

#[test]
fn the_listen_of_a_worker_binds_nothing_and_the_public_port_opens_at_ready() {
    let mut given = settings(2);
    given.sticky_port = Some(STICKY_PORT);
    let mut world = World::new(given);
    world.start_agent();
    world.bring_up(1);
    let (reply, _) = world.replies(1).remove(0);
    assert_eq!(reply["sockname"]["port"], STICKY_PORT);
    assert!(world.listens.is_empty());
    world.bring_up(2);
    let spec = &world.listens[&world.listener()];
    let target = ListenTarget::Tcp {
        address: None,
        port: 7001,
        ipv6_only: false,
    };
    assert_eq!(spec.target, target);
    assert_eq!(
        world.last_event("ready")["address"],
        "http://127.0.0.1:7001"
    );
}

#[test]
fn a_taken_public_port_ends_the_start_with_1() {
    let mut given = settings(1);
    given.sticky_port = Some(STICKY_PORT);
    let mut world = World::new(given);
    world.start_agent();
    world.listen_errno = Some(98);
    world.bring_up(1);
    assert_eq!(world.last_event("listen-failed")["errno"], 98);
    world.exit(ChildId::App(1), code(0));
    world.exit(AGENT, code(110));
    assert_eq!(world.last_event("closed")["code"], 1);
}

#[test]
fn the_same_client_gets_the_same_worker() {
    let mut world = world(4);
    let listener = world.listener();
    let mut workers = BTreeSet::new();
    for n in 0..20 {
        let first = world.connect_from(listener, client(n));
        let second = world.connect_from(listener, client(n));
        let worker = world.sticky_worker(first).unwrap();
        world.ack_sticky(worker, first);
        assert_eq!(world.sticky_worker(second), Some(worker));
        world.ack_sticky(worker, second);
        workers.insert(worker);
    }
    assert_eq!(workers.len(), 4);
    world.assert_all_closed();
}

#[test]
fn the_slot_stays_when_its_worker_is_replaced() {
    let mut world = world(2);
    let listener = world.listener();
    let conn = world.connect_from(listener, client(1));
    let old = world.sticky_worker(conn).unwrap();
    world.ack_sticky(old, conn);
    world.pass(Duration::from_millis(100));
    world.kill(ChildId::App(old));
    let conn = world.connect_from(listener, client(1));
    let other = world.sticky_worker(conn).unwrap();
    assert_ne!(other, old, "meanwhile the other one serves");
    world.ack_sticky(other, conn);
    world.bring_up(3);
    let conn = world.connect_from(listener, client(1));
    assert_eq!(world.sticky_worker(conn), Some(3));
}

#[test]
fn what_a_dead_worker_has_not_taken_goes_to_another() {
    let mut world = world(2);
    let listener = world.listener();
    let conn = world.connect_from(listener, client(1));
    let old = world.sticky_worker(conn).unwrap();
    world.kill(ChildId::App(old));
    let other = world.sticky_worker(conn).unwrap();
    assert_ne!(other, old);
    world.ack_sticky(other, conn);
    world.assert_all_closed();
}

#[test]
fn without_a_ready_worker_connections_wait_and_then_end() {
    let mut world = world(1);
    let listener = world.listener();
    world.kill(ChildId::App(1));
    let kept = world.connect_from(listener, client(1));
    world.pass(Duration::from_secs(9));
    world.bring_up(2);
    assert_eq!(world.sticky_worker(kept), Some(2));
    world.ack_sticky(2, kept);
    world.kill(ChildId::App(2));
    world.connect_from(listener, client(1));
    world.pass(Duration::from_secs(10));
    world.assert_all_closed();
}

#[test]
fn a_slow_worker_gets_a_window_and_the_rest_waits() {
    let mut world = world(1);
    let listener = world.listener();
    let conns: Vec<_> = (0..20)
        .map(|_| world.connect_from(listener, client(1)))
        .collect();
    let sent = |world: &World, n: usize| world.sticky_worker(conns[n]) == Some(1);
    assert!(sent(&world, 0) && !sent(&world, 1), "one until it answers");
    world.ack_sticky(1, conns[0]);
    assert!(sent(&world, 1) && !sent(&world, 2));
    for &conn in &conns[1..10] {
        world.ack_sticky(1, conn);
    }
    assert!(sent(&world, 11) && !sent(&world, 12), "two while more wait");
}

#[test]
fn accepting_pauses_when_too_many_wait() {
    let mut world = world(1);
    let listener = world.listener();
    let mut conns = Vec::new();
    while world.accepting.contains(&listener) {
        conns.push(world.connect_from(listener, client(1)));
    }
    assert_eq!(conns.len(), 1024 + 1);
    for &conn in &conns[..600] {
        world.ack_sticky(1, conn);
    }
    assert!(world.accepting.contains(&listener));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.conns.len(), 16, "the rest was not taken in time");
    assert_eq!(world.last_event("held-too-long")["connections"], 409);
}

#[test]
fn a_lost_descriptor_is_sent_again_and_a_gone_client_is_closed() {
    let mut world = world(1);
    let listener = world.listener();
    let conn = world.connect_from(listener, client(1));
    world.sent.clear();
    world.feed(Input::HandleRefused {
        child: ChildId::App(1),
        conn,
    });
    assert_eq!(world.sticky_worker(conn), None);
    world.pass(Duration::from_millis(50));
    assert_eq!(world.sticky_worker(conn), Some(1));
    world.ack_sticky(1, conn);
    world.conns.insert(ConnId(77));
    world.feed(Input::Accepted {
        listener,
        conn: ConnId(77),
        peer: None,
    });
    world.assert_all_closed();
}

#[test]
fn a_reload_moves_nobody_but_to_the_successor() {
    let mut world = world(2);
    let listener = world.listener();
    let slot_of = |world: &mut World, n| {
        let conn = world.connect_from(listener, client(n));
        let id = world.sticky_worker(conn).unwrap();
        world.ack_sticky(id, conn);
        let workers = world.core.snapshot().workers;
        workers.iter().find(|worker| worker.id == id).unwrap().slot
    };
    let before: Vec<_> = (0..10).map(|n| slot_of(&mut world, n)).collect();
    world.command(Command::Reload);
    for (old, new) in [(1, 3), (2, 4)] {
        world.bring_up_for_good(new);
        let during: Vec<_> = (0..10).map(|n| slot_of(&mut world, n)).collect();
        assert_eq!(during, before);
        let ended = (ChildId::App(old), Signal::Terminate);
        assert!(!world.signals.contains(&ended));
        world.pass(Duration::from_secs(5));
        assert!(world.signals.contains(&ended), "it had its time to answer");
        world.die(ChildId::App(old), code(0));
    }
}

#[test]
fn closing_lets_nobody_in() {
    let mut world = world(1);
    let listener = world.listener();
    world.kill(ChildId::App(1));
    world.connect_from(listener, client(1));
    world.command(Command::Close);
    world.assert_all_closed();
    assert_eq!(world.closed_listeners, [listener]);
}

#[test]
fn what_a_dead_worker_had_taken_and_not_read_goes_to_another() {
    let mut world = world(2);
    let listener = world.listener();
    let (fresh, read) = (
        world.connect_from(listener, client(1)),
        world.connect_from(listener, client(1)),
    );
    let old = world.sticky_worker(fresh).unwrap();
    world.ack_sticky(old, fresh);
    world.ack_sticky(old, read);
    world.touched.insert(read);
    world.kill(ChildId::App(old));
    let other = world.sticky_worker(fresh).unwrap();
    assert_ne!(other, old);
    assert_eq!(world.sticky_worker(read), Some(old));
    assert!(!world.conns.contains(&read));
    world.ack_sticky(other, fresh);
    world.assert_all_closed();
}
