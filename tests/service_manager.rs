//! What a service manager is told, at a real socket.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use std::collections::HashMap;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use egg_cluster_rs::core::event::Command;
use serde_json::json;
use support::cluster::{Cluster, DEADLINE, get};
use tempfile::TempDir;

/// What systemd sets for the process that it starts.
const VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

struct ServiceManager {
    socket: UnixDatagram,
    /// The messages that it has had.
    told: Vec<String>,
}

impl ServiceManager {
    fn new(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let told = Vec::new();
        Self { socket, told }
    }

    fn at(path: &Path) -> Self {
        Self::new(UnixDatagram::bind(path).unwrap())
    }

    /// The next message that has this line.
    fn message(&mut self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let Ok(length) = self.socket.recv(&mut buffer) else {
                panic!("not told {line}, but {:#?}", self.told);
            };
            let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
            self.told.push(text.clone());
            if text.lines().any(|it| it == line) {
                return text;
            }
        }
    }
}

fn cluster(socket: &str, watchdog_us: Option<u64>) -> Cluster {
    let mut env: HashMap<String, String> = std::env::vars().collect();
    for name in VARIABLES {
        env.insert(name.to_owned(), socket.to_owned());
    }
    Cluster::start_with(json!({
        "workers": 2, "port": null, "env": env,
        "service": { "socket": socket, "watchdogUs": watchdog_us }
    }))
}

/// The value of a line such as `MONOTONIC_USEC=1`.
fn number(message: &str, name: &str) -> Option<u64> {
    let mut lines = message.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    value.parse().ok()
}

#[test]
fn start_reload_and_end_are_told() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let mut manager = ServiceManager::at(&path);
    let mut cluster = cluster(path.to_str().unwrap(), None);
    manager.message("STATUS=starting: 1 of 2 workers ready");
    let ready = manager.message("READY=1");
    assert!(ready.contains("STATUS=2 of 2 workers ready\n"), "{ready}");
    assert_eq!(number(&ready, "MAINPID"), Some(std::process::id().into()));
    cluster.port();

    let before = egg_cluster_rs::sys::notify_socket::monotonic_us().unwrap();
    cluster.command(Command::Reload);
    let reloading = manager.message("RELOADING=1");
    let time = number(&reloading, "MONOTONIC_USEC").unwrap();
    assert!(time >= u64::try_from(before).unwrap(), "{reloading}");
    assert!(number(&reloading, "EXTEND_TIMEOUT_USEC").is_some());
    cluster.event("reload-done");
    manager.message("READY=1");

    cluster.command(Command::Close);
    let stopping = manager.message("STOPPING=1");
    assert!(number(&stopping, "EXTEND_TIMEOUT_USEC").unwrap() >= 10_000_000);
    manager.message("STATUS=closing: waiting for the agent");
    cluster.event("closed");
    assert!(!manager.told.iter().any(|it| it.contains("WATCHDOG")));
}

#[cfg(target_os = "linux")]
#[test]
fn signs_of_life_come_at_an_abstract_socket_too() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let name = format!("egg-cluster-rs-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut manager = ServiceManager::new(UnixDatagram::bind_addr(&address).unwrap());
    let mut cluster = cluster(&format!("@{name}"), Some(100_000));
    manager.message("READY=1");
    for _ in 0..3 {
        manager.message("WATCHDOG=1");
    }
    cluster.port();
}

#[test]
fn a_service_manager_that_is_not_there_holds_up_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("nobody");
    let mut lost = cluster(path.to_str().unwrap(), Some(100_000));
    let failed = lost.event("notify-failed");
    assert_eq!(failed["socket"], path.to_str().unwrap());
    let port = lost.port();
    assert!(get(port, "/").is_ok());
    lost.command(Command::Close);
    lost.event("closed");
    let again = lost.seen.iter().filter(|it| it["type"] == "notify-failed");
    assert_eq!(again.count(), 1, "told once");

    let mut wrong = cluster("vsock:2:1234", None);
    assert_eq!(wrong.event("notify-failed")["socket"], "vsock:2:1234");
    wrong.port();
}

#[cfg(target_os = "linux")]
#[test]
fn children_do_not_know_of_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("notify");
    let _manager = ServiceManager::at(&path);
    let mut cluster = cluster(path.to_str().unwrap(), None);
    cluster.port();
    for pid in cluster.pids() {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
        let environ = String::from_utf8_lossy(&environ);
        let known = VARIABLES
            .iter()
            .find(|&&name| environ.contains(&format!("{name}=")));
        assert_eq!(known, None, "in process {pid}");
    }
}
