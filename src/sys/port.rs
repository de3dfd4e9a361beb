//! Finding a TCP port that is free, for servers of which every worker must bind the same one.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::listener;

/// A TCP port that was free on all addresses when it was reserved.
///
/// On Linux it stays reserved as long as this value lives, by a socket that is bound and does
/// not listen. Sockets with `SO_REUSEADDR`, which libuv and Node always set, can bind the port
/// and listen on it all the same; sockets without it cannot, and the kernel gives the port
/// neither to those who ask for any port nor to outgoing connections.
///
/// On macOS a bound socket would keep even those with `SO_REUSEADDR` from binding the same
/// address, so there the port is released at once, and somebody else may take it first.
#[derive(Debug)]
pub struct PortReservation {
    port: u16,
    _held: Option<OwnedFd>,
}

impl PortReservation {
    /// Lets the kernel choose a port that is free for IPv4 and IPv6 (or for IPv4, where the
    /// machine has no IPv6).
    ///
    /// # Errors
    ///
    /// `EADDRINUSE` if no port is free; `EMFILE` without a free descriptor.
    pub fn reserve() -> io::Result<Self> {
        let socket = listener::tcp(None, 0, false, None)?;
        let port = listener::local_address(socket.as_fd())
            .ok_or_else(|| io::Error::other("a bound TCP socket has no address"))?
            .port();
        Ok(Self {
            port,
            _held: cfg!(target_os = "linux").then_some(socket),
        })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_reserved_port_can_be_served_again_and_again() {
        let reservation = PortReservation::reserve().unwrap();
        let port = reservation.port();
        assert_ne!(port, 0);
        for _ in 0..3 {
            // TcpListener sets SO_REUSEADDR, as libuv does.
            let server = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            let _client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            server.accept().unwrap();
        }
        for address in [
            None,
            Some(Ipv4Addr::UNSPECIFIED.into()),
            Some(Ipv6Addr::LOCALHOST.into()),
        ] {
            match listener::tcp(address, port, false, Some(0)) {
                Ok(server) => drop(server),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "{address:?}")
                }
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_reserved_port_is_not_given_to_others() {
        use std::os::fd::AsRawFd;

        use nix::errno::Errno;
        use nix::libc;
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
        };

        /// `IP_LOCAL_PORT_RANGE` of linux/in.h, from 6.3 on: the ports the kernel may choose from.
        const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

        /// Asks for any port out of the one.
        fn ask_for_any(port: u16) -> Option<nix::Result<()>> {
            let fd = socket(
                AddressFamily::Inet,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
            .unwrap();
            setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
            let range = u32::from(port) << 16 | u32::from(port);
            // SAFETY: the pointer and the size describe `range`.
            let result = unsafe {
                let (place, size) = (
                    (&raw const range).cast(),
                    size_of::<u32>() as libc::socklen_t,
                );
                libc::setsockopt(
                    fd.as_raw_fd(),
                    libc::IPPROTO_IP,
                    IP_LOCAL_PORT_RANGE,
                    place,
                    size,
                )
            };
            (result == 0).then(|| bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)))
        }

        let reservation = PortReservation::reserve().unwrap();
        let Some(result) = ask_for_any(reservation.port()) else {
            return; // An older kernel: the question cannot be asked.
        };
        assert_eq!(result, Err(Errno::EADDRINUSE));
    }

    #[test]
    fn reservations_differ() {
        let all: Vec<_> = (0..50)
            .map(|_| PortReservation::reserve().unwrap())
            .collect();
        let ports: std::collections::BTreeSet<_> = all.iter().map(PortReservation::port).collect();
        assert_eq!(
            ports.len(),
            if cfg!(target_os = "linux") {
                all.len()
            } else {
                ports.len()
            }
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn dropping_a_reservation_releases_the_port() {
        use std::os::fd::AsRawFd;

        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, socket};

        let bind_alone = |port| {
            // Without SO_REUSEADDR, so it fails as long as another socket is bound.
            let fd = socket(
                AddressFamily::Inet,
                SockType::Stream,
                SockFlag::SOCK_CLOEXEC,
                None,
            )
            .unwrap();
            bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, port)).is_ok()
        };
        let was_released = |()| {
            let reservation = PortReservation::reserve().unwrap();
            let port = reservation.port();
            assert!(!bind_alone(port));
            drop(reservation);
            bind_alone(port)
        };
        // Somebody else may be quicker to take a port that is free again, but not every time.
        assert!([(); 5].into_iter().any(was_released));
    }
}
