//! Tells a service manager what the core wants it to know, by the protocol of `sd_notify`.
//!
//! Nobody waits for it: what its queue has no room for is sent a moment later, in order; what
//! cannot be sent at all is dropped, and told once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::rc::Weak;
use std::time::Duration;

use tokio::task::spawn_local;

use super::engine::Engine;
use crate::core::event::{Event, Notice, ServiceState};
use crate::sys::notify_socket::{NotifySocket, monotonic_us};

/// How long the service manager is given to read before it is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How much may wait for it. What is more goes for the oldest.
const MOST_WAITING: usize = 64;

/// The engine's way to the service manager.
#[derive(Debug, Default)]
pub(super) struct Service {
    socket: Option<NotifySocket>,
    name: String,
    waiting: VecDeque<String>,
    /// It has been told that the service manager is out of reach.
    is_failing: bool,
}

impl Engine {
    /// The service manager is at this socket. One that cannot be reached holds up nothing.
    pub(super) fn meet_service_manager(&mut self, name: String) {
        match NotifySocket::new(&name) {
            Ok(socket) => self.service.socket = Some(socket),
            Err(error) => self.emit(&Event::NotifyFailed {
                socket: name.clone(),
                reason: error.to_string(),
            }),
        }
        self.service.name = name;
    }

    pub(super) fn notify(&mut self, notice: &Notice) {
        if self.service.socket.is_none() {
            return;
        }
        let is_retried = !self.service.waiting.is_empty();
        if is_retried && *notice == Notice::Alive {
            // An old sign of life would lie.
            return;
        }
        if self.service.waiting.len() == MOST_WAITING {
            self.service.waiting.pop_front();
        }
        self.service.waiting.push_back(encode(notice));
        if !is_retried && !self.send_notices() {
            spawn_local(retry(self.me.clone()));
        }
    }

    /// Sends what waits; false if some of it still does.
    fn send_notices(&mut self) -> bool {
        let Some(socket) = &self.service.socket else {
            return true;
        };
        let mut failure = None;
        while let Some(text) = self.service.waiting.front() {
            match socket.send(text) {
                Ok(()) => self.service.is_failing = false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) => failure = Some(error),
            }
            self.service.waiting.pop_front();
        }
        if let Some(error) = failure
            && !std::mem::replace(&mut self.service.is_failing, true)
        {
            self.emit(&Event::NotifyFailed {
                socket: self.service.name.clone(),
                reason: error.to_string(),
            });
        }
        true
    }
}

async fn retry(engine: Weak<RefCell<Engine>>) {
    loop {
        tokio::time::sleep(RETRY).await;
        let Some(engine) = engine.upgrade() else {
            return;
        };
        if engine.borrow_mut().send_notices() {
            return;
        }
    }
}

/// A notice as the datagram that says it.
fn encode(notice: &Notice) -> String {
    let (change, status, extend) = match notice {
        Notice::Alive => return "WATCHDOG=1\n".to_owned(),
        Notice::State {
            change,
            status,
            extend,
        } => (change, status, extend),
    };
    let mut text = match change {
        // Whoever started the master, the service manager is to follow this process.
        Some(ServiceState::Ready) => format!("READY=1\nMAINPID={}\n", std::process::id()),
        Some(ServiceState::Reloading { .. }) => reloading(),
        Some(ServiceState::Stopping) => "STOPPING=1\n".to_owned(),
        Some(ServiceState::Starting) | None => String::new(),
    };
    let status = status.replace('\n', " ");
    // Writing to a String cannot fail.
    let _ = writeln!(text, "STATUS={status}");
    if let Some(time) = extend {
        let _ = writeln!(text, "EXTEND_TIMEOUT_USEC={}", time.as_micros());
    }
    text
}

/// The time tells the service manager whether this is the reload that it has asked for.
fn reloading() -> String {
    match monotonic_us() {
        Ok(time) => format!("RELOADING=1\nMONOTONIC_USEC={time}\n"),
        Err(_) => "RELOADING=1\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(change: Option<ServiceState>, status: &str, extend: Option<u64>) -> String {
        encode(&Notice::State {
            change,
            status: status.to_owned(),
            extend: extend.map(Duration::from_secs),
        })
    }

    #[test]
    fn each_notice_is_one_datagram_of_assignments() {
        let pid = std::process::id();
        assert_eq!(encode(&Notice::Alive), "WATCHDOG=1\n");
        assert_eq!(
            state(Some(ServiceState::Ready), "2 of 2", None),
            format!("READY=1\nMAINPID={pid}\nSTATUS=2 of 2\n")
        );
        assert_eq!(
            state(Some(ServiceState::Stopping), "closing", Some(15)),
            "STOPPING=1\nSTATUS=closing\nEXTEND_TIMEOUT_USEC=15000000\n"
        );
        assert_eq!(state(None, "0 of 2", None), "STATUS=0 of 2\n");
    }

    #[test]
    fn a_reload_carries_the_time_at_which_it_began() {
        let before = monotonic_us().unwrap();
        let text = state(Some(ServiceState::Reloading { number: 1 }), "x", None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines[0], lines[2]), ("RELOADING=1", "STATUS=x"));
        let time = lines[1].strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(time.parse::<i64>().unwrap() >= before);
    }

    #[test]
    fn no_text_can_say_more_than_a_status() {
        assert_eq!(state(None, "a\nREADY=1", None), "STATUS=a READY=1\n");
    }
}
