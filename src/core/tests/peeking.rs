//! Sticky mode by the first bytes of a connection.

use super::*;
use crate::core::client_key::{ClientKey, Found, KeyBy};
use crate::core::head;
use crate::core::trust::Trust;

const STICKY_PORT: u16 = 40_123;
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);
/// As `LIMIT` in peeking.rs.
const AWAITED_LIMIT: usize = 1024;

/// A trusted proxy.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn client_key(by: KeyBy) -> ClientKey {
    ClientKey {
        by,
        trust: Trust::new(vec!["127.0.0.0/8".parse().unwrap()]),
        head_timeout: HEAD_TIMEOUT,
    }
}

fn world(workers: u32, by: KeyBy) -> World {
    let mut given = settings(workers);
    given.sticky_port = Some(STICKY_PORT);
    given.client_key = client_key(by);
    World::running(given)
}

fn forwarded(workers: u32) -> World {
    world(workers, KeyBy::Forwarded(None))
}

fn request(forwarded_for: &str) -> String {
    format!("GET / HTTP/1.1\r\nX-Forwarded-For: {forwarded_for}\r\n\r\n")
}

fn client(n: usize) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + u32::try_from(n).unwrap()).into()
}

impl World {
    /// The driver has seen something of a connection that it was asked to look at.
    fn show(&mut self, conn: ConnId, head: Peeked) {
        assert!(
            self.peeks.remove(&conn).is_some(),
            "{conn:?} is not asked for"
        );
        self.feed(Input::Peeked { conn, head });
    }

    fn show_bytes(&mut self, conn: ConnId, bytes: impl AsRef<[u8]>) {
        self.show(conn, Peeked::Bytes(Bytes::copy_from_slice(bytes.as_ref())));
    }

    /// The worker that got a connection; it takes it.
    fn taken_by(&mut self, conn: ConnId) -> Option<u32> {
        let is_it = |(_, _, handle): &(ChildId, Value, Option<HandleRef>)| {
            *handle == Some(HandleRef::Conn(conn))
        };
        let at = self.sent.iter().position(is_it)?;
        let (child, _, _) = self.sent.remove(at);
        self.feed(Input::HandleAcked { child, conn });
        match child {
            ChildId::App(id) => Some(id),
            ChildId::Agent(_) => None,
        }
    }

    /// A whole request from a peer, and the worker that serves it.
    fn serve(&mut self, peer: IpAddr, bytes: impl AsRef<[u8]>) -> u32 {
        let conn = self.connect_from(self.listener(), peer);
        if self.peeks.contains_key(&conn) {
            self.show_bytes(conn, bytes);
        }
        assert!(!self.peeks.contains_key(&conn), "more is asked for");
        self.taken_by(conn).expect("no worker has got it")
    }

    /// Who serves a client that is known by its address alone.
    fn by_address(&mut self, peer: IpAddr) -> u32 {
        let conn = self.connect_from(self.listener(), peer);
        if self.peeks.contains_key(&conn) {
            self.show_bytes(conn, b"\x16\x03\x01");
        }
        self.taken_by(conn).unwrap()
    }
}

#[test]
fn clients_of_one_proxy_are_told_apart_and_keep_their_worker() {
    let mut world = forwarded(4);
    let mut workers = BTreeSet::new();
    for n in 1..40 {
        let bytes = request(&client(n).to_string());
        let worker = world.serve(PROXY, &bytes);
        assert_eq!(world.serve(PROXY, &bytes), worker);
        assert_eq!(world.by_address(client(n)), worker, "as without the proxy");
        workers.insert(worker);
    }
    assert_eq!(workers.len(), 4);
    world.assert_all_closed();
}

#[test]
fn a_peer_that_is_not_trusted_is_not_even_looked_at() {
    let mut world = forwarded(2);
    let stranger: IpAddr = Ipv4Addr::new(203, 0, 113, 9).into();
    let conn = world.connect_from(world.listener(), stranger);
    assert!(world.peeks.is_empty());
    assert!(world.taken_by(conn).is_some());
}

#[test]
fn a_head_may_come_in_pieces() {
    let mut world = forwarded(4);
    let bytes = request("198.51.100.7");
    let home = world.serve(PROXY, &bytes);
    let conn = world.connect_from(world.listener(), PROXY);
    assert_eq!(world.peeks[&conn], 0);
    for end in [1, 3, 20, bytes.len() - 1] {
        world.show_bytes(conn, &bytes[..end]);
        assert_eq!(world.peeks[&conn], end, "more is asked for");
    }
    world.show_bytes(conn, &bytes);
    assert_eq!(world.taken_by(conn), Some(home));
}

#[test]
fn what_names_nobody_goes_by_the_address() {
    let mut world = forwarded(4);
    let home = world.by_address(PROXY);
    let too_long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(head::LIMIT));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\x00\xff garbage",
        b"GET / HTTP/1.1\r\n\r\n",
        &too_long.as_bytes()[..head::LIMIT],
    ] {
        assert_eq!(world.serve(PROXY, bytes), home);
    }
    // Half a head, and then the client's end.
    let conn = world.connect_from(world.listener(), PROXY);
    world.show_bytes(conn, b"GET / HT");
    world.show(conn, Peeked::NoMore);
    assert_eq!(world.taken_by(conn), Some(home));
}

#[test]
fn a_head_in_crumbs_is_not_read_for_ever() {
    let mut world = forwarded(2);
    let conn = world.connect_from(world.listener(), PROXY);
    let bytes = request("198.51.100.7");
    let mut seen = 0;
    while world.peeks.contains_key(&conn) {
        seen += 1;
        world.show_bytes(conn, &bytes[..seen]);
    }
    assert_eq!(seen, 32);
    assert!(world.taken_by(conn).is_some());
}

#[test]
fn a_slow_client_has_its_time_and_holds_up_nobody() {
    let mut world = forwarded(2);
    let home = world.by_address(PROXY);
    let slow = world.connect_from(world.listener(), PROXY);
    world.show_bytes(slow, b"GET / HTTP/1.1\r\n");
    world.pass(Duration::from_secs(1));
    let second = world.connect_from(world.listener(), PROXY);
    for n in 1..2000 {
        world.serve(PROXY, request(&client(n).to_string()));
    }
    world.pass(HEAD_TIMEOUT - Duration::from_secs(1));
    assert_eq!(world.taken_by(slow), Some(home));
    assert_eq!(world.peeks.keys().copied().collect::<Vec<_>>(), [second]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.taken_by(second), Some(home));
    world.assert_all_closed();
    assert!(world.peeks.is_empty());
}

#[test]
fn beyond_the_limit_the_oldest_gives_way() {
    let mut world = forwarded(2);
    let mut idle = Vec::new();
    for _ in 0..AWAITED_LIMIT + 10 {
        idle.push(world.connect_from(world.listener(), PROXY));
        assert!(world.peeks.len() <= AWAITED_LIMIT);
    }
    for conn in idle.drain(..10) {
        assert!(world.taken_by(conn).is_some());
    }
    assert_eq!(world.peeks.len(), AWAITED_LIMIT);
    let bytes = request("198.51.100.7");
    let worker = world.serve(PROXY, &bytes);
    assert_eq!(world.peeks.len(), AWAITED_LIMIT - 1);
    assert_eq!(
        world.serve(PROXY, &bytes),
        worker,
        "there is room for who speaks"
    );
    world.pass(HEAD_TIMEOUT);
    assert!(world.peeks.is_empty());
}

#[test]
fn without_descriptors_nobody_is_waited_for() {
    let mut world = forwarded(1);
    let listener = world.listener();
    let conn = world.connect_from(listener, PROXY);
    world.feed(Input::AcceptFailed {
        listener,
        errno: 24,
    });
    assert!(world.peeks.is_empty());
    assert_eq!(world.taken_by(conn), Some(1));
}

#[test]
fn a_client_that_has_gone_is_closed() {
    let mut world = forwarded(1);
    let conn = world.connect_from(world.listener(), PROXY);
    world.show(conn, Peeked::Gone);
    world.assert_all_closed();
    world.pass(HEAD_TIMEOUT * 2);
    assert_eq!(world.taken_by(conn), None);
}

#[test]
fn closing_lets_nobody_in_who_has_said_nothing() {
    let mut world = forwarded(1);
    world.connect_from(world.listener(), PROXY);
    world.command(Command::Close);
    world.assert_all_closed();
    assert!(world.peeks.is_empty());
}

#[test]
fn a_cookie_or_a_query_parameter_names_the_client_wherever_it_comes_from() {
    let cookie = |value: usize| format!("GET / HTTP/1.1\r\nCookie: a=b; id={value}\r\n\r\n");
    let query = |value: usize| format!("GET /?sid={value} HTTP/1.1\r\n\r\n");
    let by_cookie = world(4, KeyBy::Cookie("id".into()));
    let by_query = world(4, KeyBy::Query("sid".into()));
    let both: [(World, &dyn Fn(usize) -> String); 2] = [(by_cookie, &cookie), (by_query, &query)];
    for (mut world, request_of) in both {
        let mut workers = BTreeSet::new();
        for n in 1..40 {
            let worker = world.serve(client(n), request_of(n));
            assert_eq!(world.serve(client(n + 100), request_of(n)), worker);
            workers.insert(worker);
        }
        assert_eq!(workers.len(), 4);
        // Without it the client's address counts, through a trusted proxy too.
        let home = world.by_address(client(7));
        assert_eq!(world.serve(PROXY, request("10.0.0.7")), home);
        assert_eq!(world.serve(client(7), request("9.9.9.9")), home);
    }
}

#[test]
fn the_header_of_the_proxy_protocol_is_taken_off() {
    let mut world = world(4, KeyBy::ProxyProtocol);
    let home = world.by_address(client(5));
    let line = "PROXY TCP4 10.0.0.5 127.0.0.1 4000 80\r\n";
    let conn = world.connect_from(world.listener(), PROXY);
    world.show_bytes(conn, &line[..10]);
    world.show_bytes(conn, format!("{line}GET / HTTP/1.1\r\n"));
    assert_eq!(world.skips[&conn], line.len());
    assert_eq!(world.taken_by(conn), Some(home));
    // The proxy's own.
    let own = world.by_address(PROXY);
    assert_eq!(world.serve(PROXY, "PROXY UNKNOWN\r\n"), own);
    world.skips.clear();
    assert_eq!(world.serve(PROXY, "GET / HTTP/1.1\r\n\r\n"), own);
    world.serve(client(1), line);
    assert!(world.skips.is_empty(), "nothing is taken from others");
}

#[test]
fn the_slot_stays_through_death_and_reload() {
    let mut world = forwarded(2);
    let bytes = request("198.51.100.7");
    let old = world.serve(PROXY, &bytes);
    // Taken too long ago to be handed over again.
    world.pass(Duration::from_millis(100));
    world.kill(ChildId::App(old));
    assert_ne!(world.serve(PROXY, &bytes), old);
    world.bring_up(3);
    assert_eq!(world.serve(PROXY, &bytes), 3);
    world.command(Command::Reload);
    let slot_of = |world: &World, id| {
        let workers = world.core.snapshot().workers;
        workers.iter().find(|worker| worker.id == id).unwrap().slot
    };
    for new in [4, 5] {
        world.bring_up_for_good(new);
        let replaced = [1, 2, 3].map(ChildId::App).into_iter().find(|&child| {
            let ChildId::App(id) = child else {
                return false;
            };
            world.alive.contains(&child) && slot_of(&world, id) == slot_of(&world, new)
        });
        world.die(replaced.unwrap(), code(0));
    }
    let new = world.serve(PROXY, &bytes);
    assert!(new >= 4);
    assert_eq!(slot_of(&world, new), Some(old - 1));
}

#[test]
fn while_no_worker_is_ready_a_connection_waits_with_its_key() {
    let mut world = forwarded(1);
    world.kill(ChildId::App(1));
    let conn = world.connect_from(world.listener(), PROXY);
    world.pass(Duration::from_secs(1));
    world.show_bytes(conn, request("198.51.100.7"));
    world.pass(Duration::from_secs(5));
    world.bring_up(2);
    assert_eq!(world.taken_by(conn), Some(2));
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

/// Heads that are cut off, overwritten, spliced and made up: whatever comes, an answer is
/// found without a panic, and nothing is asked for or taken that is not there.
#[test]
fn no_bytes_do_harm() {
    let long = format!(
        "GET / HTTP/1.1\r\nForwarded: {}\r\n\r\n",
        "for=\"[::1]:1\";x,".repeat(900)
    );
    let seeds: Vec<&[u8]> = vec![
        b"GET /?sid=a&b#c HTTP/1.1\r\nCookie: id=a; b\r\nX-Forwarded-For: 127.0.0.1, [::1]:1, unknown\r\n\r\n",
        b"POST http://h/?sid HTTP/1.0\nForwarded: for=\"_x\";by=\"[::1]\", for=127.0.0.1\n\nbody",
        b"PROXY TCP6 2001:db8::1 ::1 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x01\x02\x03\x04\0\x01\0\x02rest",
        b"\x16\x03\x01\x02\0",
        long.as_bytes(),
    ];
    let keys = [
        KeyBy::Forwarded(None),
        KeyBy::Forwarded(Some("forwarded".into())),
        KeyBy::Cookie("id".into()),
        KeyBy::Query("sid".into()),
        KeyBy::ProxyProtocol,
    ]
    .map(client_key);
    let mut numbers = Numbers(0x5eed_1234_abcd_0001);
    let mut counts = [0; 3];
    for round in 0..60_000 {
        let mut bytes = seeds[numbers.below(seeds.len())].to_vec();
        for _ in 0..numbers.below(6) {
            let at = numbers.below(bytes.len());
            match numbers.below(4) {
                0 => bytes.truncate(at + 1),
                1 => bytes[at] = u8::try_from(numbers.below(256)).unwrap(),
                2 => bytes[at] = b"\r\n :;,=\"[]%\0"[numbers.below(12)],
                _ => {
                    let other = seeds[numbers.below(seeds.len())];
                    bytes.splice(at..at, other[numbers.below(other.len())..].iter().copied());
                }
            }
        }
        bytes.truncate(head::LIMIT);
        match keys[round % keys.len()].find(PROXY, &bytes) {
            Found::More => {
                assert!(bytes.len() < head::LIMIT);
                counts[0] += 1;
            }
            Found::Key { skip: 0, .. } => counts[1] += 1,
            Found::Key { skip, .. } => {
                assert!(skip <= bytes.len());
                counts[2] += 1;
            }
        }
    }
    assert!(counts.iter().all(|&count| count > 1000), "{counts:?}");
}

#[test]
fn clients_that_come_last_before_a_close_are_looked_at_before_they_are_handed_out() {
    let mut world = world(1, KeyBy::ProxyProtocol);
    let hello = json!({"cmd": "NODE_EGG_CLUSTER_RS", "act": "hello"});
    world.say(ChildId::App(1), &hello);
    world.rest_later = true;
    let listener = world.listener();
    world.command(Command::Close);
    let [whole, silent] = [(), ()].map(|()| world.accept_from(listener, PROXY));
    world.feed(Input::AcceptedRest { listener });
    assert!(world.taken_by(whole).is_none(), "nobody has looked at it");
    let header = "PROXY TCP4 192.0.2.1 198.51.100.1 4000 80\r\n";
    world.show_bytes(whole, format!("{header}GET / HTTP/1.1\r\n\r\n"));
    assert_eq!(world.skips.get(&whole), Some(&header.len()));
    for _ in 0..10 {
        world.feed(Input::AcceptedRest { listener });
    }
    for conn in [whole, silent] {
        assert_eq!(world.taken_by(conn), Some(1), "{conn:?}");
    }
}
