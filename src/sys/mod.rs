//! System calls: the one place of the crate where `unsafe` stands.
//!
//! A leaf: it knows nothing of workers, messages or scheduling, and nothing above it knows
//! of raw descriptors. Whatever it opens is an [`OwnedFd`](std::os::fd::OwnedFd) with
//! `FD_CLOEXEC`, so that no child inherits what it was not given. No function panics. None
//! blocks but those whose name says `wait`, and `spawn` until the child's `exec`.
//!
//! | module | holds |
//! |---|---|
//! | [`activation`] | listening sockets that the process was started with |
//! | [`adopted`] | zombies that nobody else will reap |
//! | [`channel`] | the socket pair between master and child; messages with a descriptor (`SCM_RIGHTS`) |
//! | [`spawn`] | starting a child with its channel as descriptor 3 |
//! | [`process`] | the end of a child: pidfd, reaping, signals and their names |
//! | [`process_tree`] | the descendants of a child, safe against reused process ids |
//! | [`guardian`] | a small process that ends what a killed master leaves |
//! | [`reactor`] | descriptors whose readiness is awaited |
//! | [`listener`] | TCP, unix, UDP and inherited sockets bound as Node's primary binds them; accepting |
//! | [`inspector`] | finding the port that a process has just opened at 127.0.0.1 |
//! | [`peek`] | the first bytes of a connection, looked at or taken |
//! | [`tcp`] | whether anybody has read from or written to a connection |
//! | [`port`] | finding a TCP port and keeping it while workers bind it |
//! | [`control_socket`] | a unix socket for the owner only |
//! | [`command`] | the command line of a process, fit to be printed |
//! | [`signal_sender`] | who has sent a signal to this process |
//! | [`notify_socket`] | datagrams to a service manager |
//! | [`usage`] | memory and processor time of a process; how many processors it may use |
//! | [`callback`] | a JavaScript function that any thread can call |

pub mod activation;
#[cfg(target_os = "linux")]
pub mod adopted;
pub mod callback;
pub mod channel;
pub mod command;
pub mod control_socket;
pub mod guardian;
pub mod inspector;
pub mod listener;
pub mod notify_socket;
pub mod peek;
pub mod port;
pub mod process;
pub mod process_tree;
pub mod reactor;
pub mod signal_sender;
pub mod spawn;
pub mod tcp;
pub mod usage;

mod descriptor;
#[cfg(test)]
mod testing;
