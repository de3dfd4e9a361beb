//! Listening sockets that the process was started with, as systemd gives them (`LISTEN_FDS`).
//!
//! The descriptors themselves are left alone and stay open: only duplicates are used and closed, so
//! the sockets go on listening, and whoever else holds them does not notice.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, UnixAddr, getsockname, getsockopt,
    sockopt,
};

use super::{descriptor, listener};

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket at this path; an abstract name has a NUL in front.
    Unix(String),
}

/// Why a descriptor is no socket to listen by. Fits behind "descriptor 3 is ignored: ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Nothing is there.
    #[error("it is not open")]
    NotOpen,
    /// It is something else.
    #[error("it is no socket")]
    NoSocket,
    /// Datagrams, or a kind that Node does not know.
    #[error("it is no TCP or unix stream socket")]
    OtherKind,
    /// A connection, or a socket that is only bound.
    #[error("it does not listen; a socket unit needs Accept=no")]
    NotListening,
    /// Nobody could find it.
    #[error("its address cannot be read")]
    NoAddress,
    /// The system refuses to look at it.
    #[error("{0}")]
    System(Errno),
}

impl From<Errno> for Unusable {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::EBADF => Self::NotOpen,
            Errno::ENOTSOCK => Self::NoSocket,
            errno => Self::System(errno),
        }
    }
}

/// Where a descriptor listens. From then on no child inherits it.
///
/// # Errors
/// Where it is not a socket that listens for connections.
pub fn look_at(fd: i32) -> Result<Place, Unusable> {
    let socket = descriptor::duplicate(fd)?;
    let kind = getsockopt(&socket, sockopt::SockType)?;
    let storage = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    let family = storage.family();
    let is_known = matches!(
        family,
        Some(AddressFamily::Inet | AddressFamily::Inet6 | AddressFamily::Unix)
    );
    if kind != SockType::Stream || !is_known {
        return Err(Unusable::OtherKind);
    }
    if !getsockopt(&socket, sockopt::AcceptConn)? {
        return Err(Unusable::NotListening);
    }
    let place = match listener::local_address(socket.as_fd()) {
        Some(address) => Place::Tcp(address),
        None => Place::Unix(unix_path(&storage).ok_or(Unusable::NoAddress)?),
    };
    descriptor::keep_from_children(fd)?;
    Ok(place)
}

fn unix_path(storage: &SockaddrStorage) -> Option<String> {
    let address: &UnixAddr = storage.as_unix_addr()?;
    if let Some(path) = address.path() {
        return path.to_str().map(str::to_owned);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract() {
        return std::str::from_utf8(name)
            .ok()
            .map(|name| format!("\0{name}"));
    }
    None
}

/// A duplicate to accept on. `O_NONBLOCK` is set, which every holder of the socket sees; the length of its
/// queue stays what it is.
///
/// # Errors
/// `EBADF` if it is not open, `EMFILE` for want of descriptors.
pub fn duplicate(fd: i32) -> std::io::Result<OwnedFd> {
    let socket = descriptor::duplicate(fd)?;
    descriptor::set_nonblocking(&socket)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::UnixListener;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;

    #[test]
    fn sockets_that_listen_are_known_by_their_address() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let expected = Place::Tcp(tcp.local_addr().unwrap());
        assert_eq!(look_at(tcp.as_raw_fd()), Ok(expected));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.sock");
        let unix = UnixListener::bind(&path).unwrap();
        let expected = Place::Unix(path.to_str().unwrap().to_owned());
        assert_eq!(look_at(unix.as_raw_fd()), Ok(expected));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_has_a_nul_in_front() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("egg-cluster-rs-activation-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let unix = UnixListener::bind_addr(&address).unwrap();
        assert_eq!(
            look_at(unix.as_raw_fd()),
            Ok(Place::Unix(format!("\0{name}")))
        );
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        assert_eq!(look_at(1_000_000), Err(Unusable::NotOpen));
        assert_eq!(look_at(-1), Err(Unusable::NotOpen));
        let file = tempfile::tempfile().unwrap();
        assert_eq!(look_at(file.as_raw_fd()), Err(Unusable::NoSocket));
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(look_at(udp.as_raw_fd()), Err(Unusable::OtherKind));
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert_eq!(look_at(connection.as_raw_fd()), Err(Unusable::NotListening));
        let bound = listener::tcp(Some("127.0.0.1".parse().unwrap()), 0, false, None).unwrap();
        assert_eq!(look_at(bound.as_raw_fd()), Err(Unusable::NotListening));
    }

    #[test]
    fn no_child_gets_it_and_closing_the_duplicate_leaves_it_listening() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        fcntl(&tcp, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        look_at(tcp.as_raw_fd()).unwrap();
        let flags = FdFlag::from_bits_retain(fcntl(&tcp, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
        drop(duplicate(tcp.as_raw_fd()).unwrap());
        assert!(TcpStream::connect(tcp.local_addr().unwrap()).is_ok());
    }
}
