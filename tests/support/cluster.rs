//! The whole native side with real `node` children, without the JavaScript face.

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
pub const DEADLINE: Duration = Duration::from_secs(20);

/// A core thread with real children.
pub struct Cluster {
    pub driver: Option<Driver>,
    events: mpsc::Receiver<Value>,
    /// The events so far.
    pub seen: Vec<Value>,
    _scripts: TempDir,
}

impl Cluster {
    pub fn start(workers: u32) -> Self {
        Self::start_with(json!({ "workers": workers, "port": null }))
    }

    /// With these members of its configuration.
    pub fn start_with(members: Value) -> Self {
        let scripts = TempDir::new().unwrap();
        let write = |name: &str, text: &str| {
            let file = scripts.path().join(name);
            fs::write(&file, text).unwrap();
            file
        };
        let mut config = json!({
            "execPath": super::node(),
            "env": std::env::vars().collect::<std::collections::HashMap<_, _>>(),
            "agentWorkerFile": write("agent_worker.js", AGENT),
            "appWorkerFile": write("app_worker.js", WORKER),
            "watchdog": { "timeoutMs": 60_000, "bootTimeoutMs": null, "intervalMs": 5000,
                "kills": true }
        });
        let Value::Object(members) = members else {
            panic!("the members of a configuration are an object")
        };
        for (name, value) in members {
            config[name] = value;
        }
        let (settings, launch) = super::config(config);
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
    pub fn event(&mut self, kind: &str) -> Value {
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

    pub fn port(&mut self) -> u16 {
        let ready = self.event("ready");
        u16::try_from(ready["port"].as_u64().unwrap()).unwrap()
    }

    pub fn snapshot(&self) -> Value {
        serde_json::to_value(self.driver.as_ref().unwrap().snapshot().unwrap()).unwrap()
    }

    pub fn pids(&self) -> Vec<i32> {
        let snapshot = self.snapshot();
        let pid = |worker: &Value| i32::try_from(worker["pid"].as_i64().unwrap()).unwrap();
        let workers = snapshot["workers"].as_array().unwrap().iter();
        workers.chain([&snapshot["agent"]]).map(pid).collect()
    }

    pub fn command(&self, command: Command) {
        self.driver.as_ref().unwrap().command(command).unwrap();
    }
}

/// The body of the answer.
pub fn get(port: u16, path: &str) -> std::io::Result<String> {
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
