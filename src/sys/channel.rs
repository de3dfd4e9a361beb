//! The channel between the master and one child: a pair of connected unix stream sockets
//! over which bytes and descriptors travel.
//!
//! Sending and receiving run once per message and per connection, so they call `libc`
//! directly: control messages live in fixed buffers on the stack and nothing is allocated
//! unless a descriptor arrives.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};
use nix::sys::stat::fstat;

use super::descriptor;

/// The child's end gets a number from here on, above any number a child's descriptors are
/// moved to: a `dup2` onto itself would leave `FD_CLOEXEC` set, and the channel would be
/// gone after `exec`.
const CHILD_END_MIN: RawFd = 10;

/// The most buffers one `sendmsg` takes (`IOV_MAX`); what is beyond waits for the next call.
const MAX_PARTS: usize = 1024;

/// The most descriptors that one `sendmsg` can carry: `SCM_MAX_FD` of Linux,
/// `UIPC_MAX_CMSG_FD` of XNU.
const MAX_FDS: usize = if cfg!(target_os = "macos") { 512 } else { 253 };

#[cfg(target_os = "linux")]
const SEND_FLAGS: libc::c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
#[cfg(target_os = "linux")]
const RECEIVE_FLAGS: libc::c_int = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
// macOS knows neither flag: `pair` sets SO_NOSIGPIPE, `take_fds` sets FD_CLOEXEC.
#[cfg(not(target_os = "linux"))]
const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT;
#[cfg(not(target_os = "linux"))]
const RECEIVE_FLAGS: libc::c_int = libc::MSG_DONTWAIT;

const fn control_space(fds: usize) -> usize {
    // SAFETY: CMSG_SPACE only computes a size; it reads no memory.
    unsafe { libc::CMSG_SPACE((fds * size_of::<RawFd>()) as libc::c_uint) as usize }
}

/// Room for control messages, aligned as their header asks.
#[repr(C)]
struct ControlBuffer<const N: usize> {
    align: [libc::cmsghdr; 0],
    bytes: [MaybeUninit<u8>; N],
}

impl<const N: usize> ControlBuffer<N> {
    const fn new() -> Self {
        Self {
            align: [],
            bytes: [MaybeUninit::uninit(); N],
        }
    }
}

/// Makes a channel and returns `(the master's end, the child's end)`.
///
/// Both ends have `FD_CLOEXEC`. The master's end is non-blocking. The child's end blocks,
/// as the one that Node gives to its own children (the child changes it itself), and its
/// number is at least 10. Close it in the master once the child runs, or the master never
/// sees the end of the channel.
///
/// # Errors
///
/// `EMFILE`, `ENFILE` and `ENOMEM` of the system.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(target_os = "linux")]
    let flags = SockFlag::SOCK_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = SockFlag::empty();
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, flags)?;
    #[cfg(not(target_os = "linux"))]
    for end in [&ours, &theirs] {
        descriptor::set_cloexec(end)?;
        set_nosigpipe(end)?;
    }
    descriptor::set_nonblocking(&ours)?;
    let number = fcntl(&theirs, FcntlArg::F_DUPFD_CLOEXEC(CHILD_END_MIN))?;
    // SAFETY: fcntl has just made this descriptor and nobody else knows its number.
    let theirs = unsafe { OwnedFd::from_raw_fd(number) };
    Ok((ours, theirs))
}

/// Lets the other end see the end of the channel, whoever else has a copy of this one.
pub fn end(fd: &OwnedFd) {
    // An error means that it is at its end already.
    let _ = shutdown(fd.as_raw_fd(), Shutdown::Both);
}

/// The number of a socket in lists of open files, such as `/proc/PID/fd`.
///
/// # Errors
///
/// None that is known for an open descriptor.
pub fn inode(fd: &OwnedFd) -> io::Result<u64> {
    Ok(fstat(fd)?.st_ino)
}

/// Lets a write to a closed channel fail with `EPIPE` instead of raising `SIGPIPE`.
#[cfg(not(target_os = "linux"))]
fn set_nosigpipe(fd: &OwnedFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the pointer and length describe `on`.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NOSIGPIPE,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Writes `parts`, one after the other, and `handle` with the first byte, in one `sendmsg`.
/// Returns how many bytes were taken, which may be fewer than given: where the result is not
/// an error the handle is on its way and must not be sent again with the rest.
///
/// Never blocks and never raises `SIGPIPE`. At most 1024 parts are looked at. The caller keeps
/// its own descriptor of `handle`.
///
/// # Errors
///
/// - [`WouldBlock`](io::ErrorKind::WouldBlock): the receiver's buffer is full; try again when writable.
/// - `ETOOMANYREFS`: too many descriptors lie unread in channels (`RLIMIT_NOFILE` of the user, on
///   Linux); try again after a while, as no event tells when.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): a handle without a byte to carry it.
/// - `EPIPE` or `ECONNRESET`: the other end is closed.
pub fn send(
    fd: BorrowedFd<'_>,
    parts: &[IoSlice<'_>],
    handle: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let parts = &parts[..parts.len().min(MAX_PARTS)];
    let mut control = ControlBuffer::<{ control_space(1) }>::new();
    // SAFETY: msghdr is plain data for which all zeroes (no name, no buffers) is valid.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // IoSlice is documented to have the layout of iovec, and sendmsg does not write through it.
    message.msg_iov = parts.as_ptr().cast_mut().cast::<libc::iovec>();
    message.msg_iovlen = parts.len() as _;
    if let Some(handle) = handle {
        if parts.iter().all(|part| part.is_empty()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a descriptor needs at least one byte to travel with",
            ));
        }
        put_fd(&mut message, &mut control, handle);
    }
    loop {
        // SAFETY: `message` points to `parts` and `control`, both of which outlive the call.
        let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, SEND_FLAGS) };
        if let Ok(sent) = usize::try_from(sent) {
            return Ok(sent);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Writes a control message that carries `handle` and points `message` to it.
fn put_fd<const N: usize>(
    message: &mut libc::msghdr,
    control: &mut ControlBuffer<N>,
    handle: BorrowedFd<'_>,
) {
    // Padding behind the descriptor goes to the kernel too.
    control.bytes.fill(MaybeUninit::new(0));
    message.msg_control = control.bytes.as_mut_ptr().cast();
    message.msg_controllen = N as _;
    // SAFETY: the buffer has CMSG_SPACE of one descriptor and is aligned for cmsghdr, so the
    // first header and the data behind it lie inside of it.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as libc::c_uint) as _;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast(), handle.as_raw_fd());
    }
}

/// What one [`receive`] brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes put into the buffer; 0 means that the other end is closed.
    pub bytes: usize,
    /// Descriptors were sent that did not arrive: this process has no free descriptor left.
    pub truncated: bool,
}

/// Reads once, with one `recvmsg`, and appends the descriptors that arrive to `fds`, in the
/// order in which they were sent and with `FD_CLOEXEC`. Never blocks.
///
/// There is room for as many descriptors as one message can carry, so a sender cannot make
/// this process lose track of any. How many to keep is the caller's decision: those it drops
/// are closed.
///
/// # Errors
///
/// [`WouldBlock`](io::ErrorKind::WouldBlock) where nothing is there to read; `ECONNRESET` where
/// the other end was closed with bytes unread.
pub fn receive(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    fds: &mut VecDeque<OwnedFd>,
) -> io::Result<Received> {
    let mut control = ControlBuffer::<{ control_space(MAX_FDS) }>::new();
    receive_with(fd, buf, fds, &mut control)
}

fn receive_with<const N: usize>(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    fds: &mut VecDeque<OwnedFd>,
    control: &mut ControlBuffer<N>,
) -> io::Result<Received> {
    let mut part = libc::iovec {
        iov_base: buf.as_mut_ptr().cast(),
        iov_len: buf.len(),
    };
    // SAFETY: msghdr is plain data for which all zeroes (no name, no buffers) is valid.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    let bytes = loop {
        // Set anew for each attempt, as the kernel overwrites the length.
        message.msg_control = control.bytes.as_mut_ptr().cast();
        message.msg_controllen = N as _;
        // SAFETY: `message` points to `part` (that is `buf`) and `control`, with their lengths;
        // both are borrowed exclusively for the call.
        let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, RECEIVE_FLAGS) };
        if let Ok(got) = usize::try_from(got) {
            break got;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    take_fds(&message, fds);
    Ok(Received {
        bytes,
        truncated: message.msg_flags & libc::MSG_CTRUNC != 0,
    })
}

/// Takes ownership of every descriptor that a successful `recvmsg` described in `message`.
#[allow(
    clippy::unnecessary_cast,
    reason = "the types of the lengths differ between systems"
)]
fn take_fds(message: &libc::msghdr, fds: &mut VecDeque<OwnedFd>) {
    let end = message.msg_control as usize + message.msg_controllen as usize;
    // SAFETY: the kernel has set msg_control and msg_controllen to whole, aligned headers.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return only headers inside the buffer.
        let (level, kind, length) = unsafe {
            (
                (*header).cmsg_level,
                (*header).cmsg_type,
                (*header).cmsg_len as usize,
            )
        };
        if level == libc::SOL_SOCKET && kind == libc::SCM_RIGHTS {
            // SAFETY: only computes the address behind the header.
            let data = unsafe { libc::CMSG_DATA(header) };
            // Never beyond the buffer, even if the length names more than had room.
            let length = (header as usize).saturating_add(length).min(end);
            let count = length.saturating_sub(data as usize) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: `count` descriptors lie between `data` and the end of the buffer.
                let number = unsafe { ptr::read_unaligned(data.cast::<RawFd>().add(index)) };
                // SAFETY: the kernel has just put this descriptor into our table for us alone.
                let received = unsafe { OwnedFd::from_raw_fd(number) };
                #[cfg(not(target_os = "linux"))]
                let _ = descriptor::set_cloexec(&received);
                fds.push_back(received);
            }
        }
        // SAFETY: `message` is unchanged and `header` is one of its headers.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::fcntl::{FdFlag, OFlag};

    use super::*;
    use crate::sys::testing::{same_file, wait_readable};

    fn has_cloexec(fd: &OwnedFd) -> bool {
        let flags = fcntl(fd, FcntlArg::F_GETFD).unwrap();
        FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC)
    }

    fn is_nonblocking(fd: &OwnedFd) -> bool {
        let flags = fcntl(fd, FcntlArg::F_GETFL).unwrap();
        OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK)
    }

    /// Sends many descriptors in one message, as no function of this module does.
    fn send_many(to: &OwnedFd, handles: &[RawFd]) {
        use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
        let sent = sendmsg::<()>(
            to.as_raw_fd(),
            &[IoSlice::new(b"x")],
            &[ControlMessage::ScmRights(handles)],
            MsgFlags::empty(),
            None,
        );
        assert_eq!(sent, Ok(1));
    }

    #[test]
    fn a_pair_has_the_flags_that_each_side_needs() {
        let (ours, theirs) = pair().unwrap();
        assert!(is_nonblocking(&ours));
        assert!(!is_nonblocking(&theirs));
        assert!(has_cloexec(&ours));
        assert!(has_cloexec(&theirs));
        assert!(theirs.as_raw_fd() >= CHILD_END_MIN);
    }

    #[test]
    fn dropping_the_child_end_ends_the_channel() {
        // It would not end if pair() had kept the descriptor that it moved.
        let (ours, theirs) = pair().unwrap();
        drop(theirs);
        let mut fds = VecDeque::new();
        let got = receive(ours.as_fd(), &mut [0; 8], &mut fds).unwrap();
        assert_eq!(got.bytes, 0);
        let error = send(ours.as_fd(), &[IoSlice::new(b"x")], None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    }

    #[test]
    fn parts_arrive_in_order_and_as_one() {
        let (ours, theirs) = pair().unwrap();
        let parts = [
            IoSlice::new(b"one "),
            IoSlice::new(b""),
            IoSlice::new(b"two"),
        ];
        assert_eq!(send(ours.as_fd(), &parts, None).unwrap(), 7);
        let mut buf = [0; 64];
        let mut fds = VecDeque::new();
        let got = receive(theirs.as_fd(), &mut buf, &mut fds).unwrap();
        assert_eq!(&buf[..got.bytes], b"one two");
        assert!(!got.truncated);
        assert_eq!(
            fds.capacity(),
            0,
            "nothing is allocated without a descriptor"
        );
    }

    #[test]
    fn an_empty_channel_would_block_on_both_ends() {
        let (ours, theirs) = pair().unwrap();
        for end in [&ours, &theirs] {
            let error = receive(end.as_fd(), &mut [0; 8], &mut VecDeque::new()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        }
    }

    #[test]
    fn a_full_channel_would_block_and_goes_on_when_read() {
        let (ours, theirs) = pair().unwrap();
        let chunk = vec![7; 60_000];
        let mut sent = 0;
        let error = loop {
            match send(ours.as_fd(), &[IoSlice::new(&chunk)], None) {
                Ok(bytes) => sent += bytes,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let mut peer = UnixStream::from(theirs);
        peer.read_exact(&mut vec![0; sent]).unwrap();
        assert!(send(ours.as_fd(), &[IoSlice::new(&chunk)], None).unwrap() > 0);
    }

    #[test]
    fn more_parts_than_the_system_takes_are_sent_in_turns() {
        let (ours, theirs) = pair().unwrap();
        let parts = vec![IoSlice::new(b"a"); MAX_PARTS + 5];
        assert_eq!(send(ours.as_fd(), &parts, None).unwrap(), MAX_PARTS);
        assert_eq!(send(ours.as_fd(), &parts[MAX_PARTS..], None).unwrap(), 5);
        drop(theirs);
    }

    #[test]
    fn a_descriptor_travels_with_its_byte() {
        let (ours, theirs) = pair().unwrap();
        let (reader, writer) = io::pipe().unwrap();
        assert_eq!(
            send(ours.as_fd(), &[IoSlice::new(b"body")], None).unwrap(),
            4
        );
        let sent = send(ours.as_fd(), &[IoSlice::new(b"\n")], Some(writer.as_fd())).unwrap();
        assert_eq!(sent, 1);
        let mut bytes = 0;
        let mut fds = VecDeque::new();
        while bytes < 5 {
            bytes += receive(theirs.as_fd(), &mut [0; 64], &mut fds)
                .unwrap()
                .bytes;
        }
        assert_eq!(fds.len(), 1);
        let arrived = fds.pop_front().unwrap();
        assert!(has_cloexec(&arrived));
        assert!(same_file(&arrived, &writer));
        drop(writer);
        File::from(arrived).write_all(b"through").unwrap();
        let mut text = String::new();
        (&reader).read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn descriptors_keep_their_order() {
        let (ours, theirs) = pair().unwrap();
        let pipes: Vec<_> = (0..5).map(|_| io::pipe().unwrap()).collect();
        for (_, writer) in &pipes {
            send(ours.as_fd(), &[IoSlice::new(b"\n")], Some(writer.as_fd())).unwrap();
        }
        let mut fds = VecDeque::new();
        let mut bytes = 0;
        while bytes < 5 {
            bytes += receive(theirs.as_fd(), &mut [0; 64], &mut fds)
                .unwrap()
                .bytes;
        }
        assert_eq!(fds.len(), 5);
        for ((_, writer), arrived) in pipes.iter().zip(&fds) {
            assert!(same_file(arrived, writer));
        }
    }

    #[test]
    fn a_descriptor_without_a_byte_is_refused() {
        let (ours, _theirs) = pair().unwrap();
        let (_reader, writer) = io::pipe().unwrap();
        for parts in [&[][..], &[IoSlice::new(b"")][..]] {
            let error = send(ours.as_fd(), parts, Some(writer.as_fd())).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn none_of_the_descriptors_of_a_hostile_sender_leaks() {
        for count in [9, 200, 253] {
            let (ours, theirs) = pair().unwrap();
            let (mut reader, writer) = io::pipe().unwrap();
            send_many(&theirs, &vec![writer.as_raw_fd(); count]);
            drop(writer);
            let mut fds = VecDeque::new();
            let got = receive(ours.as_fd(), &mut [0; 8], &mut fds).unwrap();
            assert_eq!((got.bytes, got.truncated), (1, false));
            assert_eq!(fds.len(), count);
            assert!(fds.iter().all(has_cloexec));
            drop(fds);
            // The pipe ends only when the very last descriptor of its other end is closed.
            wait_readable(&reader);
            assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn descriptors_without_room_are_reported_and_closed() {
        let (ours, theirs) = pair().unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        send_many(&theirs, &[writer.as_raw_fd(); 20]);
        drop(writer);
        let mut fds = VecDeque::new();
        let mut control = ControlBuffer::<{ control_space(4) }>::new();
        let got = receive_with(ours.as_fd(), &mut [0; 8], &mut fds, &mut control).unwrap();
        assert_eq!((got.bytes, got.truncated), (1, true));
        assert_eq!(fds.len(), 4);
        drop(fds);
        wait_readable(&reader);
        assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
    }
}
