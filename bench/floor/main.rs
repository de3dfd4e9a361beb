//! The floor of the handoff benchmark: the system calls that a master makes for a connection,
//! and no logic around them. What a real master costs beyond it is its own.
//!
//! It starts Node's cluster workers as a primary does and then, for ever: `epoll_wait`
//! (edge-triggered), `accept4` until nothing waits, for each connection one `sendmsg` of a
//! `newconn` line with the descriptor to the next worker in turn, `recvmsg` of what workers
//! answer, and `close` once a worker has taken its connection. Answers are counted, not read;
//! a worker that dies or falls behind ends the program.
//!
//! `floor PORT WORKERS SCRIPT [paced]`; `NODE` names the program that runs `SCRIPT PORT`.
//! `paced` rests under load as the driver of egg-cluster-rs does, by the same code.

#[cfg(target_os = "linux")]
#[path = "../../src/driver/pace.rs"]
mod pace;

#[cfg(target_os = "linux")]
mod floor;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    floor::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {}
