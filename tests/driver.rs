//! The whole native side with real `node` children, without the JavaScript face.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use egg_cluster_rs::core::event::Command;
use egg_cluster_rs::driver::Driver;
use serde_json::{Value, json};
use tempfile::TempDir;

const AGENT: &str = "process.on('message', () => {});
process.send({ action: 'agent-start', to: 'master' });";

/// Listens where the kernel likes, and tells the port as an Egg worker does.
const WORKER: &str = "const server = require('http').createServer((req, res) => {
  if (req.url === '/exit') process.exit(3);
  res.end(String(process.pid));
});
process.on('message', () => {});
server.listen(0, '127.0.0.1', () => {});
server.prependListener('listening', () => {
  const { port } = server.address();
  process.send({ action: 'realport', to: 'master', data: { port, protocol: 'http' } });
});";

/// The longest wait for anything; a test that needs it has failed.
const DEADLINE: Duration = Duration::from_secs(20);

struct Cluster {
    driver: Option<Driver>,
    events: mpsc::Receiver<Value>,
    seen: Vec<Value>,
    _scripts: TempDir,
}

impl Cluster {
    fn start(workers: u32) -> Self {
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
            "workers": workers, "port": null,
            "watchdog": { "timeoutMs": 60_000, "bootTimeoutMs": null, "intervalMs": 5000,
                "kills": true }
        }));
        let (send, events) = mpsc::channel();
        let sink = move |event: String| {
            // The receiver is gone when the test is over.
            let _ = send.send(serde_json::from_str(&event).unwrap());
        };
        let driver = Driver::launch(settings, launch, Arc::new(sink), Arc::default()).unwrap();
        driver.command(Command::Start).unwrap();
        Self {
            driver: Some(driver),
            events,
            seen: Vec::new(),
            _scripts: scripts,
        }
    }

    /// The next event of a kind.
    fn event(&mut self, kind: &str) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if event["type"] == kind {
                        return event;
                    }
                }
                Err(error) => panic!("no {kind}: {error}; seen {:#?}", self.seen),
            }
        }
    }

    fn port(&mut self) -> u16 {
        let ready = self.event("ready");
        u16::try_from(ready["port"].as_u64().unwrap()).unwrap()
    }

    fn snapshot(&self) -> Value {
        serde_json::to_value(self.driver.as_ref().unwrap().snapshot().unwrap()).unwrap()
    }

    fn pids(&self) -> Vec<i32> {
        let snapshot = self.snapshot();
        let pid = |worker: &Value| i32::try_from(worker["pid"].as_i64().unwrap()).unwrap();
        let workers = snapshot["workers"].as_array().unwrap().iter();
        workers.chain([&snapshot["agent"]]).map(pid).collect()
    }

    fn command(&self, command: Command) {
        self.driver.as_ref().unwrap().command(command).unwrap();
    }
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer
        .rsplit("\r\n\r\n")
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// Waits until a process has ended. It is no child of ours to wait for, so only looking helps.
fn assert_ended(pid: i32, reaped: bool) {
    let end = Instant::now() + DEADLINE;
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || (!reaped && stat.contains(") Z ")) {
            return;
        }
        assert!(Instant::now() < end, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_cluster_starts_serves_heals_and_closes() {
    let mut cluster = Cluster::start(2);
    let port = cluster.port();
    let pids = cluster.pids();
    let served: Vec<_> = (0..2).map(|_| get(port, "/").unwrap()).collect();
    assert_ne!(served[0], served[1], "in turn");
    assert!(
        served
            .iter()
            .all(|pid| pids.contains(&pid.parse().unwrap()))
    );

    assert!(get(port, "/exit").unwrap_or_default().is_empty());
    let exited = cluster.event("app-exited");
    assert_eq!(exited["code"], 3);
    cluster.event("app-started");
    for _ in 0..10 {
        let pid: i32 = get(port, "/").unwrap().parse().unwrap();
        assert_ne!(i64::from(pid), exited["pid"].as_i64().unwrap());
    }

    let pids = cluster.pids();
    cluster.command(Command::Close);
    assert_eq!(cluster.event("closed")["code"], 0);
    pids.into_iter().for_each(|pid| assert_ended(pid, true));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(cluster.snapshot()["phase"], "closed");
}

#[test]
fn dropping_the_driver_leaves_no_child() {
    let mut cluster = Cluster::start(2);
    cluster.port();
    let pids = cluster.pids();
    assert_eq!(pids.len(), 3);
    drop(cluster.driver.take());
    // Nobody reaps them after the driver.
    pids.into_iter().for_each(|pid| assert_ended(pid, false));
}
