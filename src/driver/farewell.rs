//! The end of a process whose own JavaScript does not end it any more.
//!
//! The last event asks JavaScript to end the process. Where it stands still, in an endless loop
//! perhaps, nothing of the cluster is left but the process; whoever waits for its end would wait for
//! ever. So after a time limit the core thread says so, and ends it.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, time as clock};

use super::backlog::Backlog;
use crate::sys::process;

/// How often it is looked whether JavaScript has dealt with the last event.
const PAUSE: Duration = Duration::from_millis(100);

/// What is done when the last event has been told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Farewell {
    /// How long JavaScript may take to end the process.
    pub(super) limit: Duration,
    /// Lines are JSON.
    pub(super) json: bool,
}

impl Farewell {
    /// Returns when JavaScript has dealt with the last event, and lives on, or has let go of the
    /// driver: then `released` is closed. Otherwise the process ends with the code.
    pub(super) fn wait(self, code: i32, backlog: &Backlog, released: &Receiver<()>) {
        let deadline = Instant::now() + self.limit;
        while !backlog.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                print(&self.last_words(code));
                process::exit_at_once(code);
            }
            if released.recv_timeout(left.min(PAUSE)) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    /// In the format of the other lines, but with the time in UTC: a time zone is read from the environment,
    /// which JavaScript may be changing.
    fn last_words(self, code: i32) -> String {
        let mut time = String::new();
        // To be printed, and for nothing else. Without a time the lines are still of use.
        let _ = clock().format_time(&mut Writer::new(&mut time));
        let pid = std::process::id();
        let ms = self.limit.as_millis();
        let reason = format!(
            "everything had ended, and the JavaScript of the master has not reacted for {ms}ms"
        );
        if self.json {
            let line = json!({
                "time": time, "level": "error", "master": pid, "type": "exit", "code": code, "reason": reason,
            });
            return format!("{line}\n");
        }
        format!(
            "{time} ERROR {pid} [master] the reason of the exit: {reason}\n\
             {time} ERROR {pid} [master] exit with code:{code}\n"
        )
    }
}

/// Where nobody reads, nothing is written: that would wait for ever. A pipe that has room has it for
/// more than these lines.
fn print(text: &str) {
    let stderr = io::stderr();
    let mut waiting = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut waiting, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        let _ = nix::unistd::write(stderr.as_fd(), text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const FAREWELL: Farewell = Farewell {
        limit: Duration::from_secs(600),
        json: false,
    };

    #[test]
    fn who_has_dealt_with_the_last_event_or_let_go_is_left_alone() {
        let backlog = Backlog::default();
        let (hold, released) = channel();
        FAREWELL.wait(0, &backlog, &released);
        backlog.add(7);
        drop(hold);
        FAREWELL.wait(0, &backlog, &released);
        let (_hold, released) = channel::<()>();
        let told = &backlog;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || FAREWELL.wait(0, told, &released));
            backlog.take(7);
            assert!(waiting.join().is_ok());
        });
    }

    #[test]
    fn the_last_words_are_those_of_every_exit() {
        let lines = FAREWELL.last_words(3);
        let pid = std::process::id();
        let (first, last) = lines.trim_end().split_once('\n').unwrap();
        let start =
            format!(" ERROR {pid} [master] the reason of the exit: everything had ended, and");
        assert!(
            first.contains(&start) && first.contains("600000ms"),
            "{first}"
        );
        assert!(
            last.ends_with(&format!("Z ERROR {pid} [master] exit with code:3")),
            "{last}"
        );
        let json = Farewell {
            json: true,
            ..FAREWELL
        }
        .last_words(3);
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&read["type"], &read["code"]), (&json!("exit"), &json!(3)));
        assert!(json.ends_with('\n'));
    }
}
