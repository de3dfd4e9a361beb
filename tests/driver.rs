//! The whole native side with real `node` children, without the JavaScript face.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use egg_cluster_rs::core::event::Command;
use support::cluster::{Cluster, DEADLINE, get};

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
