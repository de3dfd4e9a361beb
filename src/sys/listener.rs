//! Sockets of the master: bound as libuv and Node's cluster primary bind them, so that a
//! worker sees the same addresses and the same errors as under Node.
//!
//! Every socket made here is non-blocking and has `FD_CLOEXEC`. With a `backlog` it listens
//! and the master accepts; without one it is only bound, and the workers that it is passed to
//! call `listen` themselves. Errors carry the errno that a worker is answered with.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind, getsockname,
    getsockopt, setsockopt, socket, sockopt,
};

use super::descriptor;

/// What Node passes to `listen` when a program names no backlog.
const DEFAULT_BACKLOG: i32 = 511;

/// How often `accept` is tried again when a client has gone before it was accepted.
const ACCEPT_ATTEMPTS: usize = 16;

/// A TCP socket at `address`, or at all addresses: then `[::]` for both families, or `0.0.0.0`
/// where that cannot be bound. Port 0 lets the kernel choose ([`local_address`] tells which).
///
/// `ipv6_only` keeps an IPv6 socket from serving IPv4. `backlog` is the length of the kernel's
/// queue, 0 meaning Node's default of 511; `None` only binds. `SO_REUSEADDR` is always set.
/// Scoped (link-local) IPv6 addresses cannot be given.
///
/// # Errors
///
/// `EADDRINUSE`, `EACCES` (privileged port), `EADDRNOTAVAIL`, `EAFNOSUPPORT`, `EMFILE`.
pub fn tcp(
    address: Option<IpAddr>,
    port: u16,
    ipv6_only: bool,
    backlog: Option<i32>,
) -> io::Result<OwnedFd> {
    let bind = |address| bind_tcp(address, port, ipv6_only);
    let bound = match address {
        Some(address) => bind(address),
        None => bind_unspecified(bind),
    }?;
    listen_if(&bound, backlog)?;
    Ok(bound)
}

/// A port that is taken for IPv6 is not served for IPv4 alone; any other failure means that the
/// machine has no use for IPv6.
fn bind_unspecified<T>(bind: impl Fn(IpAddr) -> nix::Result<T>) -> nix::Result<T> {
    match bind(Ipv6Addr::UNSPECIFIED.into()) {
        Err(error) if error != Errno::EADDRINUSE => bind(Ipv4Addr::UNSPECIFIED.into()),
        bound => bound,
    }
}

fn bind_tcp(address: IpAddr, port: u16, ipv6_only: bool) -> nix::Result<OwnedFd> {
    let fd = open(family(address), SockType::Stream)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        // Either way, as the system's default can be changed (net.ipv6.bindv6only).
        setsockopt(&fd, sockopt::Ipv6V6Only, &ipv6_only)?;
    }
    bind(
        fd.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(address, port)),
    )?;
    Ok(fd)
}

/// A UDP socket at `address`. `reuse_addr` lets several sockets share it, for multicast, as
/// `reuseAddr` of Node's `dgram` does.
///
/// # Errors
///
/// `EADDRINUSE`, `EACCES` (privileged port), `EADDRNOTAVAIL`, `EAFNOSUPPORT`, `EMFILE`.
pub fn udp(address: IpAddr, port: u16, ipv6_only: bool, reuse_addr: bool) -> io::Result<OwnedFd> {
    let fd = open(family(address), SockType::Datagram)?;
    if reuse_addr {
        // BSDs share a UDP port only so; libuv does the same.
        #[cfg(not(target_os = "linux"))]
        setsockopt(&fd, sockopt::ReusePort, &true)?;
        #[cfg(target_os = "linux")]
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    if ipv6_only && address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(
        fd.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::new(address, port)),
    )?;
    Ok(fd)
}

/// A unix stream socket at `path`. On Linux a path that starts with a NUL is an abstract name.
///
/// `readable_all` and `writable_all` add permissions for everybody, before anyone can connect.
/// A file that exists at the path is left alone. The caller removes the file when it closes
/// the socket; where this function fails, it leaves none behind.
///
/// # Errors
///
/// `EADDRINUSE` if the path exists, `EACCES` if its directory does not (as libuv reports it) or
/// may not be written, `ENAMETOOLONG` beyond the 100-odd bytes that the system allows, `EINVAL`
/// for an empty path or one with a NUL inside.
pub fn pipe(
    path: &str,
    readable_all: bool,
    writable_all: bool,
    backlog: Option<i32>,
) -> io::Result<OwnedFd> {
    let address = unix_address(path)?;
    let fd = open(AddressFamily::Unix, SockType::Stream)?;
    bind(fd.as_raw_fd(), &address).map_err(|error| match error {
        Errno::ENOENT => Errno::EACCES,
        error => error,
    })?;
    if address.path().is_none() {
        listen_if(&fd, backlog)?;
        return Ok(fd);
    }
    let result =
        open_to_all(path, readable_all, writable_all).and_then(|()| listen_if(&fd, backlog));
    if let Err(error) = result {
        // Ours: bind has just made it.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(fd)
}

fn unix_address(path: &str) -> nix::Result<UnixAddr> {
    if path.is_empty() {
        return Err(Errno::EINVAL);
    }
    #[cfg(target_os = "linux")]
    if let Some(name) = path.strip_prefix('\0') {
        return UnixAddr::new_abstract(name.as_bytes());
    }
    UnixAddr::new(path)
}

fn open_to_all(path: &str, readable: bool, writable: bool) -> io::Result<()> {
    let added = if readable { 0o444 } else { 0 } | if writable { 0o222 } else { 0 };
    if added == 0 {
        return Ok(());
    }
    let mut permissions = fs::metadata(path)?.permissions();
    permissions.set_mode(permissions.mode() | added);
    fs::set_permissions(path, permissions)
}

/// A duplicate of a socket that this process was started with or holds already, for
/// `listen({ fd })`. `O_NONBLOCK` is set, which every holder of the socket sees.
///
/// # Errors
///
/// `EBADF` if `fd` is not open, `ENOTSOCK` if it is no socket, `EINVAL` if a worker could not
/// use it: Node knows TCP, UDP and unix stream sockets only, and UDP cannot listen.
pub fn inherited(fd: i32, backlog: Option<i32>) -> io::Result<OwnedFd> {
    let socket = descriptor::duplicate(fd)?;
    let kind = getsockopt(&socket, sockopt::SockType)?;
    let family = getsockname::<SockaddrStorage>(socket.as_raw_fd())?.family();
    let usable = match (kind, family) {
        (
            SockType::Stream,
            Some(AddressFamily::Inet | AddressFamily::Inet6 | AddressFamily::Unix),
        ) => true,
        (SockType::Datagram, Some(AddressFamily::Inet | AddressFamily::Inet6)) => backlog.is_none(),
        _ => false,
    };
    if !usable {
        return Err(Errno::EINVAL.into());
    }
    descriptor::set_nonblocking(&socket)?;
    listen_if(&socket, backlog)?;
    Ok(socket)
}

/// Makes a listening socket refuse connections at once, though other descriptors of this
/// process may keep it open for a moment. Not for a socket that others share.
///
/// Where the system has no such thing (macOS) closing has to do.
pub fn refuse(fd: BorrowedFd<'_>) {
    let _ = nix::sys::socket::shutdown(fd.as_raw_fd(), nix::sys::socket::Shutdown::Both);
}

/// The address a socket is bound to; `None` for unix sockets.
#[must_use]
pub fn local_address(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    let storage = getsockname::<SockaddrStorage>(fd.as_raw_fd()).ok()?;
    let v4 = storage
        .as_sockaddr_in()
        .map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| {
        storage
            .as_sockaddr_in6()
            .map(|address| SocketAddr::V6((*address).into()))
    })
}

/// Accepts one connection of a listening TCP or unix socket: a descriptor that is non-blocking
/// and has `FD_CLOEXEC`, and the client's address as `accept` itself reports it. That is `None` for unix
/// sockets, and an IPv4-mapped address (`::ffff:1.2.3.4`) for IPv4 on a socket for both families.
///
/// Connections that their client has already given up are skipped, within bounds.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when no connection waits; `EMFILE`, `ENFILE`,
/// `ENOBUFS`, `ENOMEM` for want of descriptors or memory: the connection stays in the queue, so
/// pause before the next attempt. `ECONNABORTED` only if many in a row were given up.
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<IpAddr>)> {
    let mut result = accept_once(listener);
    for _ in 1..ACCEPT_ATTEMPTS {
        match &result {
            Err(error) if concerns_one_client(error) => result = accept_once(listener),
            _ => break,
        }
    }
    result
}

/// Linux reports network errors that wait on the new connection here; accept(2) asks to go on.
fn concerns_one_client(error: &io::Error) -> bool {
    let Some(errno) = error.raw_os_error() else {
        return false;
    };
    matches!(
        errno,
        libc::EINTR
            | libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
    )
}

fn accept_once(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Option<IpAddr>)> {
    let mut storage = MaybeUninit::<libc::sockaddr_storage>::zeroed();
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let (fd, place) = (listener.as_raw_fd(), storage.as_mut_ptr().cast());
    #[cfg(target_os = "linux")]
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `place` and `length` describe `storage`, and the descriptor is open for the call.
    #[cfg(target_os = "linux")]
    let number = Errno::result(unsafe { libc::accept4(fd, place, &raw mut length, flags) })?;
    // SAFETY: as above.
    #[cfg(not(target_os = "linux"))]
    let number = Errno::result(unsafe { libc::accept(fd, place, &raw mut length) })?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    let connection = unsafe { OwnedFd::from_raw_fd(number) };
    #[cfg(not(target_os = "linux"))]
    {
        descriptor::set_cloexec(&connection)?;
        descriptor::set_nonblocking(&connection)?;
    }
    // SAFETY: zeroed first, so all of it is initialised whatever the kernel wrote, and every
    // field is a plain number.
    let storage = unsafe { storage.assume_init() };
    Ok((connection, ip_address(&storage, length as usize)))
}

/// The address in what `accept` wrote; `length` bytes of it are valid.
fn ip_address(storage: &libc::sockaddr_storage, length: usize) -> Option<IpAddr> {
    let place: *const libc::sockaddr_storage = storage;
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: sockaddr_storage is larger than and aligned for sockaddr_in, which the family says it is.
            let address = unsafe { &*place.cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: as above, for sockaddr_in6.
            let address = unsafe { &*place.cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn open(family: AddressFamily, kind: SockType) -> nix::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    return socket(
        family,
        kind,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        None,
    );
    #[cfg(not(target_os = "linux"))]
    {
        let fd = socket(family, kind, SockFlag::empty(), None)?;
        descriptor::set_cloexec(&fd)?;
        descriptor::set_nonblocking(&fd)?;
        Ok(fd)
    }
}

// Not nix's listen: it refuses a backlog above the SOMAXCONN of the headers, while the kernel
// has its own limit and cuts down what is too much.
fn listen_if(fd: &OwnedFd, backlog: Option<i32>) -> io::Result<()> {
    let Some(backlog) = backlog else {
        return Ok(());
    };
    let backlog = if backlog == 0 {
        DEFAULT_BACKLOG
    } else {
        backlog
    };
    // SAFETY: listen takes two integers, and the descriptor is open.
    Errno::result(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

    use super::*;
    use crate::sys::testing::{same_file, wait_readable};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn assert_flags(fd: &OwnedFd) {
        let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL).unwrap());
        assert!(flags.contains(OFlag::O_NONBLOCK));
        let flags = FdFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFD).unwrap());
        assert!(flags.contains(FdFlag::FD_CLOEXEC));
    }

    fn errno<T>(result: io::Result<T>) -> i32 {
        result.map(drop).unwrap_err().raw_os_error().unwrap()
    }

    fn port(fd: &OwnedFd) -> u16 {
        local_address(fd.as_fd()).unwrap().port()
    }

    fn has_ipv6() -> bool {
        bind_tcp(V6, 0, false).is_ok()
    }

    /// Connects and accepts, and checks that both ends belong together.
    fn assert_serves(listener: &OwnedFd, address: IpAddr) -> Option<IpAddr> {
        let mut client = TcpStream::connect((address, port(listener))).unwrap();
        wait_readable(listener);
        let (connection, peer) = accept(listener.as_fd()).unwrap();
        assert_flags(&connection);
        TcpStream::from(connection).write_all(b"hi").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
        peer
    }

    #[test]
    fn an_address_is_served_and_named() {
        let listener = tcp(Some(V4), 0, false, Some(0)).unwrap();
        assert_flags(&listener);
        assert_ne!(port(&listener), 0);
        assert_eq!(local_address(listener.as_fd()).unwrap().ip(), V4);
        assert_eq!(assert_serves(&listener, V4), Some(V4));
        if has_ipv6() {
            let listener = tcp(Some(V6), 0, false, Some(10)).unwrap();
            assert_eq!(assert_serves(&listener, V6), Some(V6));
        }
    }

    #[test]
    fn without_an_address_both_families_are_served() {
        let listener = tcp(None, 0, false, Some(0)).unwrap();
        let peer = assert_serves(&listener, V4).unwrap();
        assert_eq!(peer.to_canonical(), V4);
        if has_ipv6() {
            assert_eq!(assert_serves(&listener, V6), Some(V6));
        }
    }

    #[test]
    fn without_ipv6_all_addresses_are_those_of_ipv4() {
        let refuse_ipv6 = |errno| {
            bind_unspecified(move |address| {
                if address.is_ipv6() {
                    Err(errno)
                } else {
                    Ok(address)
                }
            })
        };
        let all = Ok(Ipv4Addr::UNSPECIFIED.into());
        assert_eq!(refuse_ipv6(Errno::EAFNOSUPPORT), all);
        assert_eq!(refuse_ipv6(Errno::EADDRNOTAVAIL), all);
        assert_eq!(refuse_ipv6(Errno::EADDRINUSE), Err(Errno::EADDRINUSE));
        assert_eq!(bind_unspecified(Ok), Ok(Ipv6Addr::UNSPECIFIED.into()));
    }

    #[test]
    fn ipv6_only_leaves_ipv4_alone() {
        let listener = tcp(None, 0, true, Some(0)).unwrap();
        if has_ipv6() {
            assert!(getsockopt(&listener, sockopt::Ipv6V6Only).unwrap());
            // Whoever else has the port for IPv4 may take it; this listener must not.
            drop(TcpStream::connect((V4, port(&listener))));
            let error = accept(listener.as_fd()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            assert_eq!(assert_serves(&listener, V6), Some(V6));
        }
    }

    #[test]
    fn a_taken_port_is_reported_and_not_evaded() {
        for address in [None, Some(V4)] {
            let first = tcp(address, 0, false, Some(0)).unwrap();
            for backlog in [Some(0), None] {
                // Bind-only conflicts with a listening socket as well.
                let second = tcp(address, port(&first), false, backlog);
                assert_eq!(errno(second), libc::EADDRINUSE);
            }
        }
    }

    #[test]
    fn a_socket_that_is_only_bound_takes_no_connections() {
        let bound = tcp(Some(V4), 0, false, None).unwrap();
        assert_flags(&bound);
        assert_eq!(errno(accept(bound.as_fd())), libc::EINVAL);
        // The worker calls listen on it, possibly more than one of them.
        listen_if(&bound, Some(0)).unwrap();
        listen_if(&bound, Some(7)).unwrap();
        assert_eq!(assert_serves(&bound, V4), Some(V4));
    }

    #[test]
    fn a_backlog_beyond_the_limit_is_cut_down() {
        for backlog in [i32::MAX, -1, 1] {
            let listener = tcp(Some(V4), 0, false, Some(backlog)).unwrap();
            assert_eq!(assert_serves(&listener, V4), Some(V4));
        }
    }

    #[test]
    fn a_foreign_address_is_not_available() {
        // TEST-NET-1 of RFC 5737.
        let foreign = Some([192, 0, 2, 1].into());
        assert_eq!(errno(tcp(foreign, 0, false, Some(0))), libc::EADDRNOTAVAIL);
    }

    #[test]
    fn nothing_to_accept_would_block() {
        let listener = tcp(Some(V4), 0, false, Some(0)).unwrap();
        let error = accept(listener.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_client_that_has_gone_keeps_its_address() {
        let listener = tcp(Some(V4), 0, false, Some(0)).unwrap();
        drop(TcpStream::connect((V4, port(&listener))).unwrap());
        wait_readable(&listener);
        assert_eq!(accept(listener.as_fd()).unwrap().1, Some(V4));
    }

    #[test]
    fn a_pipe_is_served_and_its_file_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let path = path.to_str().unwrap();
        let listener = pipe(path, false, false, Some(0)).unwrap();
        assert_flags(&listener);
        assert_eq!(local_address(listener.as_fd()), None);
        assert_eq!(errno(pipe(path, false, false, Some(0))), libc::EADDRINUSE);
        let mut client = UnixStream::connect(path).unwrap();
        wait_readable(&listener);
        let (connection, peer) = accept(listener.as_fd()).unwrap();
        assert_flags(&connection);
        assert_eq!(peer, None);
        UnixStream::from(connection).write_all(b"hi").unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hi");
        // A stale file is an obstacle too.
        drop(listener);
        assert_eq!(errno(pipe(path, false, false, Some(0))), libc::EADDRINUSE);
        assert!(fs::exists(path).unwrap());
    }

    #[test]
    fn a_pipe_is_opened_to_whom_it_should_be() {
        let directory = tempfile::tempdir().unwrap();
        let mode = |name: &str, readable, writable| {
            let path = directory.path().join(name);
            let _listener = pipe(path.to_str().unwrap(), readable, writable, Some(0)).unwrap();
            fs::metadata(&path).unwrap().permissions().mode() & 0o777
        };
        let plain = mode("plain", false, false);
        assert_eq!(mode("readable", true, false), plain | 0o444);
        assert_eq!(mode("writable", false, true), plain | 0o222);
        assert_eq!(mode("both", true, true), plain | 0o666);
    }

    #[test]
    fn pipe_paths_that_cannot_be_bound() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("no/such/socket");
        assert_eq!(
            errno(pipe(missing.to_str().unwrap(), true, true, Some(0))),
            libc::EACCES
        );
        let long = format!("/tmp/{}", "x".repeat(200));
        assert_eq!(errno(pipe(&long, true, true, Some(0))), libc::ENAMETOOLONG);
        assert_eq!(errno(pipe("", true, true, Some(0))), libc::EINVAL);
        assert_eq!(errno(pipe("/tmp/a\0b", true, true, Some(0))), libc::EINVAL);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_abstract_pipe_has_no_file() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("egg-cluster-rs-test-{}", std::process::id());
        let listener = pipe(&format!("\0{name}"), true, true, Some(0)).unwrap();
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let _client = UnixStream::connect_addr(&address).unwrap();
        wait_readable(&listener);
        assert_eq!(accept(listener.as_fd()).unwrap().1, None);
    }

    #[test]
    fn an_inherited_socket_is_duplicated() {
        let original = std::net::TcpListener::bind((V4, 0)).unwrap();
        let listener = inherited(original.as_raw_fd(), Some(0)).unwrap();
        assert_flags(&listener);
        assert!(same_file(&listener, &original));
        assert_ne!(listener.as_raw_fd(), original.as_raw_fd());
        drop(original);
        assert_eq!(assert_serves(&listener, V4), Some(V4));
    }

    #[test]
    fn an_inherited_socket_starts_to_listen() {
        let bound = tcp(Some(V4), 0, false, None).unwrap();
        let listener = inherited(bound.as_raw_fd(), Some(0)).unwrap();
        assert_eq!(assert_serves(&listener, V4), Some(V4));
    }

    #[test]
    fn what_is_no_socket_is_not_inherited() {
        let (reader, _writer) = io::pipe().unwrap();
        assert_eq!(
            errno(inherited(reader.as_raw_fd(), Some(0))),
            libc::ENOTSOCK
        );
        assert_eq!(errno(inherited(-1, Some(0))), libc::EBADF);
        assert_eq!(errno(inherited(i32::MAX, None)), libc::EBADF);
    }

    #[test]
    fn sockets_that_a_worker_could_not_use_are_not_inherited() {
        let (datagrams, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        assert_eq!(errno(inherited(datagrams.as_raw_fd(), None)), libc::EINVAL);
        let udp_socket = udp(V4, 0, false, false).unwrap();
        assert_eq!(
            errno(inherited(udp_socket.as_raw_fd(), Some(0))),
            libc::EINVAL
        );
        assert!(same_file(
            &inherited(udp_socket.as_raw_fd(), None).unwrap(),
            &udp_socket
        ));
    }

    #[test]
    fn a_udp_socket_receives() {
        for address in [V4, V6] {
            if address == V6 && !has_ipv6() {
                continue;
            }
            let socket = udp(address, 0, true, false).unwrap();
            assert_flags(&socket);
            let client = UdpSocket::bind((address, 0)).unwrap();
            client.send_to(b"hi", (address, port(&socket))).unwrap();
            wait_readable(&socket);
            let mut buf = [0; 8];
            assert_eq!(UdpSocket::from(socket).recv(&mut buf).unwrap(), 2);
        }
    }

    #[test]
    fn a_udp_port_is_shared_only_on_request() {
        let shared = udp(V4, 0, false, true).unwrap();
        udp(V4, port(&shared), false, true).unwrap();
        assert_eq!(
            errno(udp(V4, port(&shared), false, false)),
            libc::EADDRINUSE
        );
        let alone = udp(V4, 0, false, false).unwrap();
        assert_eq!(errno(udp(V4, port(&alone), false, true)), libc::EADDRINUSE);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_socket_that_refuses_lets_nobody_in_though_it_is_open() {
        let address = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let listener = tcp(address, 0, false, Some(0)).unwrap();
        let port = local_address(listener.as_fd()).unwrap().port();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        refuse(listener.as_fd());
        let error = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
