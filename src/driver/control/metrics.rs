//! The status as text for Prometheus (exposition format 0.0.4). Every family is in docs/metrics.md.

use std::fmt::{Display, Write};

use super::report::Report;
use crate::core::counters::Counters;
use crate::core::status::{ProcessState, ProcessStatus, SlotStatus, Status};

/// The type of the answer.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

#[derive(Debug, Default)]
struct Text(String);

impl Text {
    /// The head of a family; its samples follow.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{}\"", escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// A family with a sample for each place that has a value.
    fn of_places<T: Display>(
        &mut self,
        places: &[Place<'_>],
        name: &str,
        kind: &str,
        help: &str,
        value: impl Fn(&SlotStatus) -> Option<T>,
    ) {
        self.family(name, kind, help);
        for place in places {
            if let Some(value) = value(place.status) {
                let labels = [("role", place.role), ("slot", place.slot.as_str())];
                self.sample(name, &labels, value);
            }
        }
    }

    fn of_processes<T: Display>(
        &mut self,
        places: &[Place<'_>],
        name: &str,
        kind: &str,
        help: &str,
        value: impl Fn(&ProcessStatus) -> Option<T>,
    ) {
        let of = |place: &SlotStatus| place.process.as_ref().and_then(&value);
        self.of_places(places, name, kind, help, of);
    }
}

/// The place of the agent, or a slot.
struct Place<'a> {
    role: &'static str,
    slot: String,
    status: &'a SlotStatus,
}

/// The whole text.
pub(super) fn text(report: &Report) -> String {
    let status = &report.status;
    let slots = status.slots.iter().enumerate();
    let mut places = vec![Place {
        role: "agent",
        slot: String::new(),
        status: &status.agent,
    }];
    places.extend(slots.map(|(slot, status)| Place {
        role: "app",
        slot: slot.to_string(),
        status,
    }));
    let mut text = Text::default();
    master(&mut text, report);
    machine(&mut text, report);
    connections(&mut text, status);
    reloads(&mut text, status);
    of_places(&mut text, &places);
    of_processes(&mut text, &places);
    counters(&mut text, &places);
    waits(&mut text, status);
    text.0
}

fn master(text: &mut Text, report: &Report) {
    let status = &report.status;
    let name = "egg_cluster_build_info";
    text.family(name, GAUGE, "Always 1; the version is a label.");
    text.sample(name, &[("version", report.version)], 1);
    let name = "egg_cluster_phase";
    text.family(
        name,
        GAUGE,
        "1 for the phase that the master is in, 0 for the others.",
    );
    for phase in ["starting", "running", "closing"] {
        text.sample(name, &[("phase", phase)], u8::from(status.phase == phase));
    }
    text.one(
        "egg_cluster_ready",
        GAUGE,
        "1 while requests are served, as /readyz says it.",
        u8::from(status.ready),
    );
    text.one(
        "egg_cluster_paused",
        GAUGE,
        "1 while new connections are left to the kernel's queue.",
        u8::from(status.paused),
    );
    text.one(
        "egg_cluster_uptime_seconds",
        GAUGE,
        "Time since the start of the master.",
        seconds(status.uptime_ms),
    );
    text.one(
        "egg_cluster_workers_wanted",
        GAUGE,
        "App workers there should be.",
        status.slots.len(),
    );
    let is_ready = |slot: &&SlotStatus| slot.process.as_ref().is_some_and(serves);
    text.one(
        "egg_cluster_workers_ready",
        GAUGE,
        "App workers that are ready and answer.",
        status.slots.iter().filter(is_ready).count(),
    );
    text.one(
        "egg_cluster_restart_limit_exceeded",
        GAUGE,
        "1 while so many workers die that all restarts wait for the longest delay.",
        u8::from(status.restart_limit_exceeded),
    );
    if let Some(usage) = report.master {
        text.one(
            "egg_cluster_master_resident_memory_bytes",
            GAUGE,
            "Memory of the master's process that is in RAM.",
            usage.rss_bytes,
        );
        text.one(
            "egg_cluster_master_cpu_seconds_total",
            COUNTER,
            "Processor time of the master's process.",
            seconds(usage.cpu_ms),
        );
    }
    text.one(
        "egg_cluster_control_events_skipped_total",
        COUNTER,
        "Events that readers of /events have lost, since they were too slow.",
        report.events_skipped,
    );
}

fn connections(text: &mut Text, status: &Status) {
    let connections = &status.connections;
    text.one(
        "egg_cluster_connections_accepted_total",
        COUNTER,
        "Connections that the master has accepted.",
        connections.totals.accepted,
    );
    text.one(
        "egg_cluster_connections_waiting",
        GAUGE,
        "Connections that are accepted and that no worker has.",
        connections.waiting + connections.peeking,
    );
    let name = "egg_cluster_connections_closed_total";
    text.family(
        name,
        COUNTER,
        "Connections that the master has closed unserved: no worker came in time, or all refused.",
    );
    text.sample(name, &[("reason", "timeout")], connections.totals.timed_out);
    text.sample(name, &[("reason", "refused")], connections.totals.unwanted);
    text.one(
        "egg_cluster_connections_retaken_total",
        COUNTER,
        "Connections given to another worker, since the first died before it had read of them.",
        connections.totals.retaken,
    );
}

fn reloads(text: &mut Text, status: &Status) {
    let name = "egg_cluster_reloads_total";
    text.family(
        name,
        COUNTER,
        "Reloads, and restarts of single slots, by their end.",
    );
    text.sample(name, &[("result", "done")], status.reloads_done);
    text.sample(name, &[("result", "failed")], status.reloads_failed);
    text.one(
        "egg_cluster_reload_in_progress",
        GAUGE,
        "1 while workers are being replaced.",
        u8::from(status.reload.is_some()),
    );
}

fn of_places(text: &mut Text, places: &[Place<'_>]) {
    text.of_places(
        places,
        "egg_cluster_process_ready",
        GAUGE,
        "1 while the process of this place is ready and answers.",
        |place| Some(u8::from(place.process.as_ref().is_some_and(serves))),
    );
    text.of_places(
        places,
        "egg_cluster_process_restarts_total",
        COUNTER,
        "New processes in this place after a death.",
        |place| Some(place.view.restarts),
    );
    text.of_places(
        places,
        "egg_cluster_process_restart_delay_seconds",
        GAUGE,
        "Time until the next process of this empty place is started.",
        |place| place.restart_in_ms.map(seconds),
    );
}

fn of_processes(text: &mut Text, places: &[Place<'_>]) {
    text.of_processes(
        places,
        "egg_cluster_process_uptime_seconds",
        GAUGE,
        "Time since the process was started.",
        |process| Some(seconds(process.uptime_ms)),
    );
    text.of_processes(
        places,
        "egg_cluster_process_resident_memory_bytes",
        GAUGE,
        "Memory of the process that is in RAM.",
        |process| process.rss_bytes,
    );
    text.of_processes(
        places,
        "egg_cluster_process_cpu_seconds_total",
        COUNTER,
        "Processor time of the process; begins anew with each process.",
        |process| process.cpu_ms.map(seconds),
    );
    text.of_processes(
        places,
        "egg_cluster_process_silence_seconds",
        GAUGE,
        "Time for which the process has owed the master an answer; 0 if it owes none.",
        |process| Some(seconds(process.silent_ms.unwrap_or(0))),
    );
    text.of_processes(
        places,
        "egg_cluster_process_ping_seconds",
        GAUGE,
        "Round trip of the last ping through the event loop of the process.",
        |process| process.ping_ms.map(|ms| ms / 1000.0),
    );
    text.of_processes(
        places,
        "egg_cluster_process_requests",
        GAUGE,
        "HTTP requests in flight, as the process has told last.",
        |process| process.requests,
    );
    text.of_processes(
        places,
        "egg_cluster_process_connections",
        GAUGE,
        "HTTP connections open, upgraded ones included, as the process has told last.",
        |process| process.connections,
    );
    text.of_processes(
        places,
        "egg_cluster_process_outbox_bytes",
        GAUGE,
        "Bytes of messages that wait to be read by the process.",
        |process| process.outbox_bytes,
    );
    text.of_processes(
        places,
        "egg_cluster_process_connections_unanswered",
        GAUGE,
        "Connections that the process was given and has not taken yet.",
        |process| (process.role == "app").then_some(process.unanswered),
    );
}

/// What an operator reads of one counter.
type Count = fn(&Counters) -> u64;

fn counters(text: &mut Text, places: &[Place<'_>]) {
    let of_connections: [(&str, &str, Count); 4] = [
        (
            "egg_cluster_connections_handed_over_total",
            "Connections given to the worker of this slot.",
            |it| it.handed_over,
        ),
        (
            "egg_cluster_connections_taken_total",
            "Connections that the worker of this slot has taken.",
            |it| it.taken,
        ),
        (
            "egg_cluster_connections_refused_total",
            "Connections that the worker of this slot has not wanted or not got.",
            |it| it.refused,
        ),
        (
            "egg_cluster_connections_redistributed_total",
            "Connections that went to others, since the worker of this slot was gone first.",
            |it| it.redistributed,
        ),
    ];
    for (name, help, count) in of_connections {
        text.of_places(&places[1..], name, COUNTER, help, |place| {
            Some(count(&place.counters))
        });
    }
    let of_messages: [(&str, &str, Count); 4] = [
        (
            "egg_cluster_messages_received_total",
            "Messages that the process has sent to the master, for whomever.",
            |it| it.messages_from,
        ),
        (
            "egg_cluster_messages_received_bytes_total",
            "Bytes of these messages.",
            |it| it.bytes_from,
        ),
        (
            "egg_cluster_messages_relayed_total",
            "Messages that the master has relayed to the process.",
            |it| it.messages_to,
        ),
        (
            "egg_cluster_messages_relayed_bytes_total",
            "Bytes of these messages.",
            |it| it.bytes_to,
        ),
    ];
    for (name, help, count) in of_messages {
        text.of_places(places, name, COUNTER, help, |place| {
            Some(count(&place.counters))
        });
    }
}

fn machine(text: &mut Text, report: &Report) {
    if let Some(processors) = report.processors {
        text.one(
            "egg_cluster_processors",
            GAUGE,
            "Processors that the master and its processes may use at the same time.",
            processors,
        );
    }
}

fn waits(text: &mut Text, status: &Status) {
    text.one(
        "egg_cluster_messages_full_outboxes_total",
        COUNTER,
        "How often more messages than may have waited for a process that did not read them.",
        status.waits.full_outboxes,
    );
    text.one(
        "egg_cluster_messages_paused_senders_total",
        COUNTER,
        "How often a process was not read, since others did not keep up with it.",
        status.waits.paused_senders,
    );
}

fn serves(process: &ProcessStatus) -> bool {
    process.state == ProcessState::Ready
}

#[allow(
    clippy::cast_precision_loss,
    reason = "of times below thousands of years nothing is lost"
)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// A label's value as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.sample("a", &[("b", "1\\2\"3\n4"), ("c", "")], 5);
        assert_eq!(text.0, "a{b=\"1\\\\2\\\"3\\n4\",c=\"\"} 5\n");
    }
}
