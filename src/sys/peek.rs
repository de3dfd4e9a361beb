//! The first bytes of a connection, seen before whoever serves it reads them.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

/// Copies what has arrived and not been read into `buffer`, and leaves it there. Returns how many
/// bytes; 0 when the other side has ended without sending any.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) when nothing is there yet, and what ended the
/// connection (`ECONNRESET`).
pub fn peek(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, MsgFlags::MSG_PEEK)
}

/// Takes `count` bytes that [`peek`] has shown, through `buffer`, and not one more.
///
/// # Errors
///
/// As those of [`peek`], when fewer are there; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) at
/// the end.
pub fn skip(socket: BorrowedFd<'_>, buffer: &mut [u8], mut count: usize) -> io::Result<()> {
    while count > 0 {
        let part = count.min(buffer.len());
        match receive(socket, &mut buffer[..part], MsgFlags::empty())? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            taken => count -= taken,
        }
    }
    Ok(())
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: MsgFlags) -> io::Result<usize> {
    loop {
        // Never waits, whatever the socket says.
        match recv(socket.as_raw_fd(), buffer, flags | MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EINTR) => {}
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::testing::wait_readable;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn peeking_takes_nothing_and_skipping_what_it_was_told() {
        let (mut client, mut server) = pair();
        let mut buffer = [0; 4];
        let nothing = peek(server.as_fd(), &mut buffer).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"0123456789").unwrap();
        wait_readable(&server);
        for _ in 0..2 {
            assert_eq!(peek(server.as_fd(), &mut buffer).unwrap(), 4);
            assert_eq!(&buffer, b"0123");
        }
        skip(server.as_fd(), &mut buffer, 7).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut rest = String::new();
        server.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "789");
        assert_eq!(peek(server.as_fd(), &mut buffer).unwrap(), 0);
        let end = skip(server.as_fd(), &mut buffer, 1).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
    }
}
