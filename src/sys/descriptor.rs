//! Flags of descriptors, for the modules of this layer.

use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

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
