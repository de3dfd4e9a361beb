//! Flags of descriptors, for the modules of this layer.

use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

/// A duplicate, with `FD_CLOEXEC`, of a descriptor of which only the number is known.
///
/// # Errors
/// `EBADF` if it is not open, `EMFILE` for want of descriptors.
pub fn duplicate(fd: i32) -> nix::Result<OwnedFd> {
    // SAFETY: fcntl takes any number; for one that is not open it fails with EBADF.
    let number = Errno::result(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: fcntl has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Sets `FD_CLOEXEC` of a descriptor of which only the number is known, so that no child has it.
///
/// # Errors
/// `EBADF` if it is not open.
pub fn keep_from_children(fd: i32) -> nix::Result<()> {
    // SAFETY: as above. Whoever has opened it keeps it as it is for this process.
    Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    Ok(())
}

/// Sets `O_NONBLOCK` and keeps the other flags. Every holder of the same socket sees it.
pub fn set_nonblocking(fd: &OwnedFd) -> nix::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Sets `FD_CLOEXEC`, where the system cannot do so in the call that makes the descriptor.
///
/// A process started by another thread in between inherits the descriptor. On macOS libuv
/// closes everything unasked for in its children, and this crate spawns on the thread that
/// makes the descriptors.
#[cfg(not(target_os = "linux"))]
pub fn set_cloexec(fd: &OwnedFd) -> nix::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(())
}
