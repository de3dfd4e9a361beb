//! Descriptors whose readiness is awaited.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor registered with the event loop of the current runtime.
pub type Watched = AsyncFd<OwnedFd>;

/// Registers a descriptor with the current runtime.
///
/// # Errors
/// Where the kernel refuses to watch it (epoll's limit, or a kind that cannot be watched).
pub fn watch(fd: OwnedFd, interest: Interest) -> io::Result<Watched> {
    // SAFETY: an `OwnedFd` is open, and it is moved into the registration, which only lends
    // it out: it stays the same open descriptor until the registration is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
