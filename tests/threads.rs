//! The native side with threads, whose part, and that of the JavaScript that makes them, is
//! played by the test.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod support;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use egg_cluster_rs::core::event::Command;
use egg_cluster_rs::driver::{Driver, ThreadReport};
use serde_json::{Value, json};

/// The longest wait for anything; a test that needs it has failed.
const DEADLINE: Duration = Duration::from_secs(20);
const AGENT: u32 = 1;
const APP: u32 = 2;

struct Cluster {
    driver: Driver,
    events: mpsc::Receiver<Value>,
    seen: Vec<Value>,
}

impl Cluster {
    fn start(close_timeout_ms: u64) -> Self {
        let file = std::env::current_exe().unwrap();
        let (settings, launch) = support::config(json!({
            "execPath": file, "threads": true, "agentWorkerFile": file, "appWorkerFile": file,
            "production": false, "appCloseTimeoutMs": close_timeout_ms,
            "agentCloseTimeoutMs": close_timeout_ms
        }));
        let (send, events) = mpsc::channel();
        let sink = move |event: String| {
            // The receiver is gone when the test is over.
            let _ = send.send(serde_json::from_str(&event).unwrap());
        };
        let driver = Driver::launch(settings, launch, Arc::new(sink), Arc::default()).unwrap();
        driver.command(Command::Start).unwrap();
        let seen = Vec::new();
        Self {
            driver,
            events,
            seen,
        }
    }

    /// A cluster that serves: the agent is thread 1, the app thread is thread 2.
    fn running(close_timeout_ms: u64) -> Self {
        let mut cluster = Self::start(close_timeout_ms);
        let order = cluster.event("thread-spawn");
        let expected =
            json!({"type": "thread-spawn", "key": AGENT, "role": "agent", "slot": null, "id": 1});
        assert_eq!(order, expected);
        cluster.report(AGENT, ThreadReport::Started { thread_id: 1 });
        cluster.say(
            AGENT,
            &json!({"action": "agent-start", "to": "master"}).to_string(),
        );
        let order = cluster.event("thread-spawn");
        let expected =
            json!({"type": "thread-spawn", "key": APP, "role": "app", "slot": 0, "id": 1});
        assert_eq!(order, expected);
        cluster.report(APP, ThreadReport::Started { thread_id: 2 });
        cluster.listens(APP);
        cluster.event("ready");
        cluster
    }

    fn listens(&self, key: u32) {
        let address = json!({"address": "::", "family": "IPv6", "port": 7001});
        let line = json!({"action": "listening", "to": "master", "data": address});
        self.say(key, &line.to_string());
    }

    fn report(&self, key: u32, report: ThreadReport) {
        self.driver.report_thread(key, report);
    }

    fn say(&self, key: u32, message: &str) {
        let message = message.to_owned().into();
        self.report(key, ThreadReport::Message { message });
    }

    /// The next event or order of a kind.
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

    fn pids(&self) -> Vec<Value> {
        let snapshot = serde_json::to_value(self.driver.snapshot().unwrap()).unwrap();
        let workers = snapshot["workers"].as_array().unwrap().iter();
        workers.map(|worker| worker["pid"].clone()).collect()
    }
}

#[test]
fn messages_are_posted_and_a_close_ends_one_after_the_other() {
    let mut cluster = Cluster::running(5000);
    assert_eq!(cluster.pids(), [json!(2)]);
    cluster.say(APP, r#"{"action":"hello","data":[1]}"#);
    let post = loop {
        let post = cluster.event("thread-post");
        if post["message"]["action"] == "hello" {
            break post;
        }
    };
    let message = json!({"action": "hello", "data": [1], "from": "app", "to": "agent"});
    let expected = json!({"type": "thread-post", "key": AGENT, "message": message});
    assert_eq!(post, expected);
    cluster.driver.command(Command::Close).unwrap();
    for key in [APP, AGENT] {
        assert_eq!(cluster.event("thread-terminate")["key"], key);
        cluster.report(key, ThreadReport::Exited { code: 1 });
    }
    assert_eq!(cluster.event("closed")["code"], 0);
}

#[test]
fn a_thread_that_does_not_end_is_given_up_and_not_heard_any_more() {
    let mut cluster = Cluster::running(50);
    cluster.driver.command(Command::Close).unwrap();
    for key in [APP, AGENT] {
        assert_eq!(cluster.event("thread-terminate")["key"], key);
        assert_eq!(cluster.event("thread-abandon")["key"], key);
        cluster.say(key, r#"{"action":"late","to":"parent"}"#);
        cluster.report(key, ThreadReport::Exited { code: 1 });
    }
    assert_eq!(cluster.event("closed")["code"], 0);
    let is_late =
        |event: &&Value| event["type"] == "to-parent" && event["message"]["action"] == "late";
    assert_eq!(cluster.seen.iter().find(is_late), None);
}

#[test]
fn a_dead_thread_has_a_successor_with_another_key() {
    let mut cluster = Cluster::running(5000);
    cluster.report(APP, ThreadReport::Exited { code: 7 });
    let exited = cluster.event("app-exited");
    assert_eq!(
        (&exited["code"], &exited["reforkInMs"]),
        (&json!(7), &json!(1000))
    );
    let spawn = cluster.event("thread-spawn");
    assert_eq!((&spawn["key"], &spawn["slot"]), (&json!(3), &json!(0)));
    let reason = "no more threads".to_owned();
    cluster.report(3, ThreadReport::Failed { reason });
    assert_eq!(cluster.event("spawn-failed")["reason"], "no more threads");
    assert_eq!(cluster.event("thread-spawn")["key"], 4);
    cluster.report(4, ThreadReport::Started { thread_id: 9 });
    cluster.listens(4);
    assert_eq!(cluster.event("app-started")["pid"], 9);
}

#[test]
fn what_nobody_asked_for_or_what_makes_no_sense_does_no_harm() {
    let mut cluster = Cluster::running(5000);
    cluster.report(77, ThreadReport::Started { thread_id: 5 });
    cluster.report(77, ThreadReport::Exited { code: 0 });
    for line in [
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","seq":0,"index":0,"addressType":4,"port":0}"#,
        r#"{"cmd":"NODE_HANDLE_ACK"}"#,
        r#"{"cmd":"NODE_EGG_CLUSTER_RS","act":"can-drain"}"#,
    ] {
        cluster.say(APP, line);
    }
    cluster.say(APP, "7");
    let bad = cluster.event("bad-message");
    assert_eq!(bad["reason"], "neither an object nor a string");
    cluster.say(APP, "{");
    cluster.event("bad-message");
    assert_eq!(cluster.pids(), [json!(2)]);
}
