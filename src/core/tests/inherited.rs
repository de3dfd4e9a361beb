//! Listening by sockets that the process was started with.

use super::*;

fn socket(fd: i32, name: &str, address: &str) -> InheritedSocket {
    InheritedSocket {
        fd,
        name: Some(name.to_owned()),
        place: SocketPlace::Tcp(address.parse().unwrap()),
    }
}

/// A started agent in a process with these sockets.
fn with(sockets: Vec<InheritedSocket>, settings: Settings) -> World {
    let mut world = World::new(settings);
    world.feed(Input::Inherited(sockets));
    world.start_agent();
    world
}

impl World {
    fn targets(&self) -> Vec<&ListenTarget> {
        self.listens.values().map(|spec| &spec.target).collect()
    }
}

#[test]
fn the_socket_with_the_wanted_port_is_used_and_the_others_are_reported() {
    let sockets = vec![
        socket(3, "metrics", "127.0.0.1:9100"),
        socket(4, "web", "[::]:7001"),
    ];
    let mut world = with(sockets, settings(2));
    world.bring_up(1);
    assert_eq!(world.targets(), [&ListenTarget::Inherited(4)]);
    assert_eq!(
        world.last_event("socket-taken")["socket"],
        "[::]:7001 (web)"
    );
    assert!(
        world.events_of("sockets-unused").is_empty(),
        "not started yet"
    );
    world.bring_up(2);
    assert_eq!(
        world.last_event("sockets-unused")["sockets"],
        json!(["127.0.0.1:9100 (metrics)"])
    );
    assert_eq!(
        world.events_of("socket-taken").len(),
        1,
        "once for all workers"
    );
}

#[test]
fn the_public_port_of_sticky_mode_is_an_inherited_one_too() {
    let settings = Settings {
        sticky_port: Some(40_001),
        ..settings(1)
    };
    let mut world = with(vec![socket(3, "web", "0.0.0.0:7001")], settings);
    world.bring_up(1);
    assert_eq!(world.targets(), [&ListenTarget::Inherited(3)]);
    assert_eq!(world.last_event("ready")["type"], "ready");
    assert!(world.events_of("sockets-unused").is_empty());
}

#[test]
fn a_socket_that_is_in_use_is_not_given_to_another_listener() {
    let mut world = with(vec![socket(3, "web", "[::]:7001")], settings(1));
    world.bring_up(1);
    world.listen_on(1, Some("::"), 7001);
    let bound = ListenTarget::Tcp {
        address: Some("::".parse().unwrap()),
        port: 7001,
        ipv6_only: false,
    };
    assert_eq!(world.targets(), [&ListenTarget::Inherited(3), &bound]);
}

#[test]
fn a_socket_whose_listener_was_closed_serves_again() {
    let development = Settings {
        production: false,
        ..settings(1)
    };
    let mut world = with(vec![socket(3, "web", "[::]:7001")], development);
    world.bring_up(1);
    world.kill(ChildId::App(1));
    assert_eq!(world.targets(), [] as [&ListenTarget; 0]);
    world.command(Command::Reload);
    world.bring_up(2);
    assert_eq!(world.targets(), [&ListenTarget::Inherited(3)]);
}

#[test]
fn without_one_that_fits_the_port_is_bound_as_ever() {
    let mut world = with(vec![socket(3, "web", "[::]:7002")], settings(1));
    world.bring_up(1);
    assert!(matches!(
        world.targets()[..],
        [ListenTarget::Tcp { port: 7001, .. }]
    ));
    let unused = &world.last_event("sockets-unused")["sockets"];
    assert_eq!(*unused, json!(["[::]:7002 (web)"]));
}
