//! Listening sockets that the process was started with (socket activation): which of them
//! serves what a worker, or sticky mode, wants to listen on.
//!
//! A socket is chosen by its address. It is not closed for others when its listener is closed, so a later
//! listener with that address gets it again, and clients wait in its queue meanwhile.

use std::net::{IpAddr, SocketAddr};

use super::Core;
use super::event::{
    Event, InheritedSocket, ListenSpec, ListenTarget, ListenerId, Output, SocketPlace,
};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    sockets: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    socket: InheritedSocket,
    /// The last listener that was given it.
    listener: Option<ListenerId>,
}

impl Inherited {
    /// This listener has one of them.
    pub(super) fn is_of(&self, listener: ListenerId) -> bool {
        let has = |entry: &Entry| entry.listener == Some(listener);
        self.sockets.iter().any(has)
    }
}

impl Core {
    /// The driver has looked at what there is.
    pub(super) fn on_inherited(&mut self, sockets: Vec<InheritedSocket>) {
        let entry = |socket| Entry {
            socket,
            listener: None,
        };
        self.inherited.sockets = sockets.into_iter().map(entry).collect();
    }

    /// Has a listener made: from an inherited socket if one fits that no other listener has.
    pub(super) fn listen(&mut self, listener: ListenerId, mut spec: ListenSpec) {
        if let Some(at) = self.fitting_socket(&spec.target)
            && let Some(entry) = self.inherited.sockets.get_mut(at)
        {
            let is_new = entry.listener.replace(listener).is_none();
            spec.target = ListenTarget::Inherited(entry.socket.fd);
            let socket = entry.socket.to_string();
            if is_new {
                self.emit(Event::SocketTaken { socket });
            }
        }
        self.output(Output::Listen { listener, spec });
    }

    /// The application has started: those that nobody wanted are likely to be a mistake.
    pub(super) fn report_unused_sockets(&mut self) {
        let unused = |entry: &&Entry| entry.listener.is_none();
        let sockets = self.inherited.sockets.iter().filter(unused);
        let sockets: Vec<_> = sockets.map(|entry| entry.socket.to_string()).collect();
        if !sockets.is_empty() {
            self.emit(Event::SocketsUnused { sockets });
        }
    }

    fn fitting_socket(&self, target: &ListenTarget) -> Option<usize> {
        let free = |entry: &Entry| entry.listener.is_none_or(|id| !self.has_listener(id));
        let fitting = self.inherited.sockets.iter().enumerate();
        fitting
            .filter(|(_, entry)| free(entry))
            .filter_map(|(at, entry)| Some((fit(target, &entry.socket.place)?, at)))
            .min()
            .map(|(_, at)| at)
    }

    fn has_listener(&self, id: ListenerId) -> bool {
        self.sticky.listener == Some(id) || self.listeners.has(id)
    }
}

/// How well a socket serves what is wanted; less is better. One that would be reached from more
/// places than the application wants does not serve.
fn fit(target: &ListenTarget, place: &SocketPlace) -> Option<u8> {
    match (target, place) {
        (ListenTarget::Tcp { address, port, .. }, SocketPlace::Tcp(local)) if *port != 0 => {
            (*port == local.port()).then(|| fit_address(*address, *local))?
        }
        (ListenTarget::Pipe { path, .. }, SocketPlace::Unix(local)) => (path == local).then_some(0),
        _ => None,
    }
}

fn fit_address(wanted: Option<IpAddr>, local: SocketAddr) -> Option<u8> {
    let local = local.ip();
    match wanted.filter(|wanted| !wanted.is_unspecified()) {
        Some(wanted) => (wanted.to_canonical() == local.to_canonical()).then_some(0),
        // Without an address Node's own choice is both families.
        None if wanted.unwrap_or(std::net::Ipv6Addr::UNSPECIFIED.into()) == local => Some(0),
        None if local.is_unspecified() => Some(1),
        // Whoever has made the socket has chosen fewer addresses.
        None => Some(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: Option<&str>, port: u16) -> ListenTarget {
        ListenTarget::Tcp {
            address: address.map(|text| text.parse().unwrap()),
            port,
            ipv6_only: false,
        }
    }

    #[test]
    fn a_socket_serves_its_own_address_and_no_wider_one() {
        let cases = [
            (None, "[::]:80", Some(0)),
            (None, "0.0.0.0:80", Some(1)),
            (None, "10.0.0.1:80", Some(2)),
            (Some("0.0.0.0"), "0.0.0.0:80", Some(0)),
            (Some("0.0.0.0"), "[::]:80", Some(1)),
            (Some("::"), "127.0.0.1:80", Some(2)),
            (Some("127.0.0.1"), "127.0.0.1:80", Some(0)),
            (Some("127.0.0.1"), "[::ffff:127.0.0.1]:80", Some(0)),
            (Some("127.0.0.1"), "0.0.0.0:80", None),
            (Some("127.0.0.1"), "[::]:80", None),
            (Some("127.0.0.1"), "10.0.0.1:80", None),
            (None, "[::]:81", None),
        ];
        for (wanted, local, expected) in cases {
            let place = SocketPlace::Tcp(local.parse().unwrap());
            let found = fit(&tcp(wanted, 80), &place);
            assert_eq!(found, expected, "{wanted:?} by {local}");
        }
        let place = SocketPlace::Tcp("[::]:0".parse().unwrap());
        assert_eq!(fit(&tcp(None, 0), &place), None, "any port is no port");
    }

    #[test]
    fn a_unix_socket_serves_its_path() {
        let pipe = |path: &str| ListenTarget::Pipe {
            path: path.to_owned(),
            readable_all: false,
            writable_all: false,
        };
        let place = SocketPlace::Unix("/run/app.sock".to_owned());
        assert_eq!(fit(&pipe("/run/app.sock"), &place), Some(0));
        assert_eq!(fit(&pipe("/run/other.sock"), &place), None);
        assert_eq!(fit(&tcp(None, 80), &place), None);
    }
}
