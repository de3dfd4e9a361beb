//! The native master of an Egg application.
//!
//! It forks one agent and N app workers, all ordinary `node` processes that run the
//! unmodified scripts of `egg-cluster`. It is the primary of Node's cluster protocol towards
//! them: it owns the listening sockets, hands each accepted connection to a worker, relays
//! messages, replaces what dies, and ends everything in order and in time. They can also be
//! threads of this process, which open their ports by themselves: see [`driver`].
//!
//! # Layout
//!
//! Arrows point downward only; a test reads the sources and fails where one does not.
//!
//! ```text
//! index.js, lib/*.js     the face: options, log lines, the parent's channel, signals
//!        |
//! binding                the only #[napi]: convert, pass on, return
//!        |
//! driver                 one thread, one single-threaded runtime: inputs in, outputs done
//!     /  |  \
//! core  ipc  sys         decide     speak Node's channel     call the system
//!     \_/
//! core uses the messages of ipc (not its streams); ipc and sys know nothing of the others
//! ```
//!
//! - [`core`] decides, without I/O and without a clock: [`core::Core`] takes inputs and the
//!   time, and gives outputs. The life of a cluster is played there in unit tests.
//! - [`ipc`] is Node's child channel as bytes and messages, without a socket.
//! - [`sys`] has every system call that the standard library lacks, and all `unsafe`.
//! - [`driver`] joins them.
//! - `fuzzing`, only for tests and the targets in `fuzz/`, says what holds for any input.
//!
//! # The life of a connection
//!
//! 1. A worker calls `listen`. Node in it sends `queryServer`; [`core`] has the driver bind
//!    the port, once for all workers, and answers. The worker's server now "listens" without
//!    a socket of its own.
//! 2. A client connects. The driver accepts (`accept4`), keeps the descriptor in a table and
//!    tells the core its number.
//! 3. The core picks the worker with the fewest unanswered handoffs, and sends `newconn` with
//!    the descriptor. When no worker has room it stops accepting: the kernel's queue holds
//!    what comes.
//! 4. The channel's own ack says that the worker's event loop has the descriptor; its answer
//!    `accepted` says that the server serves it. The master's duplicate is closed a moment later.
//! 5. If the worker refuses, or dies before its answer, the duplicate goes to another worker:
//!    nothing of the connection has been read yet.
//!
//! # The life of a message
//!
//! A line comes from a child. The codec cuts it out of the stream, the router reads the few
//! keys that say where it goes, and the text is shared by the outboxes of all receivers, with
//! `from` and `to` appended. JavaScript sees it only if it is for the master or the parent.
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | master | this process, as Egg's public interface calls it; Node says primary |
//! | agent | the one process for work that must be done once |
//! | worker | an app worker: a cluster worker that serves requests |
//! | slot | the place of a worker, from 0; it stays when its worker is replaced |
//! | refork | a new worker for the slot of a dead one |
//! | reload | new workers for all slots, one above the number at a time |
//! | handoff | giving an accepted connection to a worker |
//! | channel | the socket pair between master and child, descriptor 3 in the child |
//! | outbox | what waits to be written to a channel |
//! | envelope | the keys of a message that decide where it goes |
//! | drain | no new connection, and time to finish what is there, before the ending |
//! | ending | SIGTERM, a grace period, SIGKILL, descendants included |

pub mod binding;
pub mod core;
pub mod driver;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod ipc;
pub mod sys;
pub mod trace;
