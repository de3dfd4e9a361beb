//! A core that panics: it is told, the process lives on, and no child is left, not even one that
//! spins. What panics is the sink of the events, which the core thread calls.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use std::fs;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use egg_cluster_rs::core::event::Command;
use egg_cluster_rs::driver::Driver;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Ready, and then busy for ever: it never sees the end of its channel.
const AGENT: &str = "process.on('message', () => {});
process.send({ action: 'agent-start', to: 'master' }, () => { for (;;); });";
const WORKER: &str = "process.on('message', () => {}); process.send('up');";
/// The longest wait for anything; a test that needs it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

struct Cluster {
    driver: Driver,
    events: mpsc::Receiver<Value>,
    pids: Vec<i32>,
    _scripts: TempDir,
}

/// A cluster whose core panics when it tells an event of this kind.
fn start(panics_at: &'static str) -> Cluster {
    let scripts = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let file = scripts.path().join(name);
        fs::write(&file, text).unwrap();
        file
    };
    let (settings, launch) = support::config(json!({
        "execPath": support::node(),
        "env": std::env::vars().collect::<std::collections::HashMap<_, _>>(),
        "agentWorkerFile": write("agent_worker.js", AGENT),
        "appWorkerFile": write("app_worker.js", WORKER),
        "workers": 2, "appCloseTimeoutMs": 500, "agentCloseTimeoutMs": 500
    }));
    let (send, events) = mpsc::channel();
    let sink = move |event: String| {
        let event: Value = serde_json::from_str(&event).unwrap();
        let kind = event["type"].clone();
        // The receiver is gone when the test is over.
        let _ = send.send(event);
        assert!(kind != panics_at, "injected");
    };
    let driver = Driver::launch(settings, launch, Arc::new(sink), Arc::default()).unwrap();
    driver.command(Command::Start).unwrap();
    Cluster {
        driver,
        events,
        pids: Vec::new(),
        _scripts: scripts,
    }
}

impl Cluster {
    /// The next event of a kind. Remembers the children that it hears of.
    fn event(&mut self, kind: &str) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).unwrap();
            if event["type"] == "agent-forked" || event["type"] == "app-forked" {
                let pid = event["pid"].as_i64().unwrap();
                self.pids.push(i32::try_from(pid).unwrap());
            }
            if event["type"] == kind {
                return event;
            }
        }
    }

    fn assert_has_failed(mut self, children: usize) {
        let fatal = self.event("fatal");
        let reason = fatal["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("injected at tests/panics.rs:"),
            "{reason}"
        );
        assert_eq!(fatal["code"], 70);
        let backtrace = fatal["backtrace"].as_str().unwrap();
        assert!(
            backtrace.contains("egg_cluster_rs::driver::engine"),
            "{backtrace}"
        );
        assert_eq!(self.pids.len(), children);
        for pid in &self.pids {
            assert_reaped(*pid);
        }
        assert!(self.driver.release());
        assert!(self.driver.command(Command::Close).is_err());
        let snapshot = serde_json::to_value(self.driver.snapshot().unwrap()).unwrap();
        assert_eq!(snapshot["phase"], "closed");
    }
}

/// Waits until a child is reaped: its process is not to be found any more, not even as a zombie.
fn assert_reaped(pid: i32) {
    let end = Instant::now() + DEADLINE;
    while nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None).is_ok() {
        assert!(Instant::now() < end, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_panic_in_the_main_loop_is_told_and_no_child_is_left() {
    let cluster = start("agent-forked");
    cluster.assert_has_failed(1);
}

#[test]
fn a_panic_in_a_task_is_not_swallowed_by_the_runtime() {
    let mut cluster = start("app-exited");
    cluster.event("app-forked");
    cluster.event("app-forked");
    let victim = nix::unistd::Pid::from_raw(*cluster.pids.last().unwrap());
    // The end of a child is noticed by a task.
    nix::sys::signal::kill(victim, nix::sys::signal::Signal::SIGKILL).unwrap();
    cluster.event("app-exited");
    cluster.assert_has_failed(3);
}
