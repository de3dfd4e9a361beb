//! What the kernel knows of a TCP connection.

use std::os::fd::BorrowedFd;

/// Whether nobody has read a byte from this connection, written one to it, or ended a side of
/// it. `false` also where the system cannot tell (macOS, unix sockets, Linux before 4.19).
#[must_use]
pub fn is_untouched(fd: BorrowedFd<'_>) -> bool {
    imp::is_untouched(fd)
}

#[cfg(target_os = "linux")]
mod imp {
    use std::mem::size_of_val;
    use std::os::fd::{AsRawFd, BorrowedFd};

    use nix::libc;

    /// Places in the kernel's `struct tcp_info` (linux/tcp.h), which only grows at its end.
    const STATE: usize = 0;
    const BYTES_RECEIVED: usize = 128;
    const BYTES_SENT: usize = 200;
    const NEEDED: usize = BYTES_SENT + 8;

    const TCP_ESTABLISHED: u8 = 1;
    /// The client has ended its side.
    const TCP_CLOSE_WAIT: u8 = 8;

    pub fn is_untouched(fd: BorrowedFd<'_>) -> bool {
        // What has been answered, as most, needs no second look.
        let Some(info) = info(fd).filter(|info| number(info, BYTES_SENT) == 0) else {
            return false;
        };
        let Some(unread) = unread(fd) else {
            return false;
        };
        let received = number(&info, BYTES_RECEIVED);
        match info[STATE] {
            TCP_ESTABLISHED => received == unread,
            // The end of the client's side counts as a byte received, but not as one to read.
            TCP_CLOSE_WAIT => received == unread || received == unread + 1,
            _ => false,
        }
    }

    fn number(info: &[u8; NEEDED], at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&info[at..at + 8]);
        u64::from_ne_bytes(bytes)
    }

    fn info(fd: BorrowedFd<'_>) -> Option<[u8; NEEDED]> {
        let mut info = [0_u8; NEEDED];
        let mut length = libc::socklen_t::try_from(size_of_val(&info)).ok()?;
        // SAFETY: `info` has room for `length` bytes, and the kernel writes no more than that.
        let result = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        (result == 0 && usize::try_from(length) == Ok(NEEDED)).then_some(info)
    }

    fn unread(fd: BorrowedFd<'_>) -> Option<u64> {
        let mut count: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int to the address given.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &raw mut count) };
        (result == 0).then(|| u64::try_from(count).ok()).flatten()
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::os::fd::BorrowedFd;

    pub fn is_untouched(_fd: BorrowedFd<'_>) -> bool {
        false
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    /// Waits until something can be read.
    fn arrived(socket: &TcpStream) {
        assert!(socket.peek(&mut [0]).is_ok());
    }

    #[test]
    fn a_connection_is_untouched_until_a_byte_is_read_or_written() {
        let (mut client, mut server) = pair();
        assert!(is_untouched(server.as_fd()));
        client.write_all(b"hello").unwrap();
        arrived(&server);
        assert!(is_untouched(server.as_fd()));
        server.read_exact(&mut [0; 1]).unwrap();
        assert!(!is_untouched(server.as_fd()));

        let (_client, mut server) = pair();
        server.write_all(b"x").unwrap();
        assert!(!is_untouched(server.as_fd()));
    }

    #[test]
    fn a_client_that_has_ended_its_side_may_still_want_an_answer() {
        let (mut client, server) = pair();
        client.write_all(b"GET").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        arrived(&server);
        assert!(is_untouched(server.as_fd()));
    }

    #[test]
    fn an_ended_side_or_another_kind_of_socket_is_not_untouched() {
        let (_client, server) = pair();
        server.shutdown(Shutdown::Write).unwrap();
        assert!(!is_untouched(server.as_fd()));
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(!is_untouched(one.as_fd()));
    }
}
