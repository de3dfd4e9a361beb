//! What an event costs the core, with ten workers and with ten thousand, with a thousand
//! connections and with a million: `cargo bench --bench core`.
//!
//! The cost may grow with the logarithm of these numbers, not with the numbers.

use std::collections::VecDeque;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use egg_cluster_rs::core::Core;
use egg_cluster_rs::core::event::{
    ChildId, ChildLimits, Command, ConnId, ExitStatus, Frame, HandleRef, HoldLimits, Input,
    ListenerId, Output, RestartSettings, Settings,
};
use egg_cluster_rs::ipc::message::{Address, ChildMessage, Family, Line, QueryServer, parse};

const WORKERS: [u32; 4] = [10, 100, 1_000, 10_000];
const CONNECTIONS: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Workers where their number does not matter.
const SOME: u32 = 10;
const FIRST_PID: i32 = 1_000;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn settings(workers: u32) -> Settings {
    Settings {
        master_pid: 500,
        workers,
        port: Some(7001),
        protocol: "http".into(),
        host: None,
        sticky_port: None,
        client_key: Default::default(),
        debug_port: None,
        production: true,
        options: Bytes::from_static(br#"{"port":7001}"#),
        is_debug: false,
        agent_inspect_port: None,
        app_inspect_base: None,
        share_listeners: false,
        threads: false,
        restart: RestartSettings {
            stable_time: Duration::from_secs(10),
            max_delay: Duration::from_secs(30),
            intensity_limit: 60,
            intensity_period: Duration::from_secs(60),
            give_up: None,
            seed: 1,
        },
        watchdog: None,
        app_close_timeout: Duration::from_secs(5),
        agent_close_timeout: Duration::from_secs(3),
        drain: None,
        hold: HoldLimits {
            timeout: Duration::from_secs(10),
            connections: 1024,
        },
        limits: ChildLimits::default(),
        service: None,
        prestart: Default::default(),
    }
}

/// A running cluster whose workers do at once what they are asked for.
struct Cluster {
    core: Core,
    now: Instant,
    listener: Option<ListenerId>,
    next_conn: u64,
    next_pid: i32,
    /// App workers that live, the oldest first.
    workers: VecDeque<u32>,
    /// Forked, and not ready.
    booting: Vec<u32>,
    /// Handed over, and not answered for.
    handed: VecDeque<(u32, u64, ConnId)>,
}

impl Cluster {
    fn start(workers: u32) -> Self {
        let mut cluster = Self {
            core: Core::new(settings(workers)),
            now: Instant::now(),
            listener: None,
            next_conn: 0,
            next_pid: FIRST_PID,
            workers: VecDeque::new(),
            booting: Vec::new(),
            handed: VecDeque::new(),
        };
        cluster.feed(Input::Command(Command::Start));
        let started = br#"{"action":"agent-start","to":"master"}"#;
        cluster.say(ChildId::Agent(1), started);
        cluster.bring_up();
        assert_eq!(cluster.core.snapshot().phase, "running");
        cluster
    }

    fn feed(&mut self, input: Input) {
        self.core.handle_input(self.now, input);
        self.perform();
    }

    fn perform(&mut self) {
        while let Some(output) = self.core.poll_output() {
            let input = match output {
                Output::Spawn(spec) => {
                    self.next_pid += 1;
                    if let ChildId::App(id) = spec.child {
                        self.workers.push_back(id);
                        self.booting.push(id);
                    }
                    let (child, pid) = (spec.child, self.next_pid);
                    Input::Spawned { child, pid }
                }
                Output::Listen { listener, .. } => {
                    self.listener = Some(listener);
                    let local = None;
                    Input::Listening { listener, local }
                }
                // All have been touched, as most have.
                Output::FindUntouched { .. } => Input::UntouchedFound { conns: Vec::new() },
                Output::Send {
                    child: ChildId::App(id),
                    frame:
                        Frame::Newconn {
                            seq,
                            handle: HandleRef::Conn(conn),
                            ..
                        },
                } => {
                    self.handed.push_back((id, seq, conn));
                    continue;
                }
                other => {
                    black_box(other);
                    continue;
                }
            };
            self.core.handle_input(self.now, input);
        }
    }

    fn say(&mut self, child: ChildId, line: &'static [u8]) {
        match parse(&Bytes::from_static(line)) {
            Ok(Line::Plain(message)) => self.feed(Input::Message { child, message }),
            other => panic!("no message of an application: {other:?}"),
        }
    }

    fn bring_up(&mut self) {
        for id in std::mem::take(&mut self.booting) {
            let child = ChildId::App(id);
            let query = QueryServer {
                seq: 0,
                index: 0,
                family: Family::Tcp4,
                address: None,
                port: Some(7001),
                fd: None,
                flags: 0,
                backlog: 0,
                readable_all: false,
                writable_all: false,
                data: None,
            };
            let address = Address {
                family: Family::Tcp4,
                address: None,
                port: Some(7001),
                fd: None,
            };
            for message in [
                ChildMessage::QueryServer(query),
                ChildMessage::Listening(address),
            ] {
                self.feed(Input::Message { child, message });
            }
        }
    }

    /// One connection from the accepting to the worker's answer.
    fn connection(&mut self) {
        self.next_conn += 1;
        let conn = ConnId(self.next_conn);
        let listener = self.listener.expect("a worker listens");
        let peer = Some(PEER);
        self.feed(Input::Accepted {
            listener,
            conn,
            peer,
        });
        let (id, ack, conn) = self.handed.pop_front().expect("a worker has room");
        let child = ChildId::App(id);
        self.feed(Input::HandleAcked { child, conn });
        let accepted = true;
        let message = ChildMessage::Accepted { ack, accepted };
        self.feed(Input::Message { child, message });
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        while self.core.poll_timeout().is_some_and(|at| at <= self.now) {
            self.core.handle_timeout(self.now);
            self.perform();
        }
    }

    /// The oldest worker dies, and another takes its place.
    fn death(&mut self) {
        let id = self.workers.pop_front().expect("somebody lives");
        let child = ChildId::App(id);
        self.feed(Input::Disconnected { child });
        let status = ExitStatus {
            code: Some(1),
            signal: None,
        };
        self.feed(Input::Exited { child, status });
        // Deaths that come too fast would be slowed down.
        self.pass(Duration::from_secs(60));
        self.bring_up();
    }
}

/// Connections at the pace of one in 0.1 ms, among so many workers.
fn connections_by_workers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connection, by workers");
    for workers in WORKERS {
        let mut cluster = Cluster::start(workers);
        group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
            bencher.iter(|| {
                cluster.connection();
                cluster.pass(Duration::from_micros(100));
            });
        });
    }
    group.finish();
}

/// A connection while so many others are kept.
fn connections_by_connections(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("connection, by connections");
    for connections in CONNECTIONS {
        let mut cluster = Cluster::start(SOME);
        // They are kept for 5 ms: so many are in the table, and as many leave as come.
        let apart = Duration::from_millis(5) / u32::try_from(connections).unwrap_or(u32::MAX);
        for _ in 0..connections {
            cluster.connection();
            cluster.now += apart;
        }
        group.bench_function(BenchmarkId::from_parameter(connections), |bencher| {
            bencher.iter(|| {
                cluster.connection();
                cluster.pass(apart);
            });
        });
    }
    group.finish();
}

fn deaths(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("death and replacement, by workers");
    for workers in WORKERS {
        let mut cluster = Cluster::start(workers);
        group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
            bencher.iter(|| cluster.death());
        });
    }
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message app to agent, by workers");
    for workers in WORKERS {
        let mut cluster = Cluster::start(workers);
        let sender = ChildId::App(cluster.workers[0]);
        group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
            bencher.iter(|| cluster.say(sender, br#"{"action":"tell","data":1,"to":"agent"}"#));
        });
    }
    group.finish();
    let mut group = criterion.benchmark_group("message app to one app, by workers");
    for workers in WORKERS {
        let mut cluster = Cluster::start(workers);
        let sender = ChildId::App(cluster.workers[0]);
        // The agent has the first process id, the first worker the next.
        let line = br#"{"action":"tell","data":1,"receiverPid":1002,"to":"app"}"#;
        group.bench_function(BenchmarkId::from_parameter(workers), |bencher| {
            bencher.iter(|| cluster.say(sender, line));
        });
    }
    group.finish();
}

criterion_group! {
    name = core;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = connections_by_workers, connections_by_connections, deaths, messages
}
criterion_main!(core);
