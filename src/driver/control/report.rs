//! What operators see: the status of the core, and what only the driver can know.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::engine::Engine;
use crate::core::status::{ProcessStatus, Status};
use crate::sys::usage;

/// Processes that are looked at before others on this thread have their turn.
const LOOKS_PER_TURN: usize = 16;

/// How long children may take to say how they are before the last that is known has to do.
const ANSWER_TIME: Duration = Duration::from_millis(20);
/// How long passes between two looks for their answers.
const ANSWER_PAUSE: Duration = Duration::from_millis(2);

/// The answer to `GET /status`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) pid: u32,
    pub(super) base_dir: String,
    /// Where this is told.
    pub(super) control: Addresses,
    /// What the master's own process uses.
    pub(super) master: Option<MasterUsage>,
    /// So many processors may be used at the same time; null where the system does not tell.
    pub(super) processors: Option<usize>,
    /// Events that readers have lost.
    pub(super) events_skipped: u64,
    #[serde(flatten)]
    pub(super) status: Status,
}

/// Where operators can reach the master.
#[derive(Debug, Clone, Default, Serialize)]
pub(in crate::driver) struct Addresses {
    /// The unix socket.
    pub(super) path: Option<String>,
    /// The address for probes and metrics.
    pub(super) tcp: Option<String>,
}

/// What the master's own process uses, with Node and the application's master code in it.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MasterUsage {
    pub(super) rss_bytes: u64,
    pub(super) cpu_ms: u64,
}

/// The report as of now; none when the master has ended. Looking at many processes takes some
/// time, in which connections and messages go on.
pub(super) async fn make(engine: &Weak<RefCell<Engine>>) -> Option<Report> {
    ask_children(engine).await;
    let mut report = engine.upgrade()?.borrow().report();
    let master = i32::try_from(report.pid).ok().and_then(usage::of);
    report.master = master.map(|usage| MasterUsage {
        rss_bytes: usage.resident,
        cpu_ms: millis(usage.cpu),
    });
    for (looks, process) in processes(&mut report.status).enumerate() {
        if looks % LOOKS_PER_TURN == LOOKS_PER_TURN - 1 {
            tokio::task::yield_now().await;
        }
        if let Some(usage) = process.pid.and_then(usage::of) {
            process.rss_bytes = Some(usage.resident);
            process.cpu_ms = Some(millis(usage.cpu));
        }
    }
    Some(report)
}

/// Those that answer at once tell how they are now; for the others it is the last that they told.
async fn ask_children(engine: &Weak<RefCell<Engine>>) {
    if let Some(engine) = engine.upgrade() {
        engine.borrow_mut().inquire();
    }
    let deadline = Instant::now() + ANSWER_TIME;
    let awaits_answers = |engine: Rc<RefCell<Engine>>| engine.borrow().core.awaits_answers();
    while engine.upgrade().is_some_and(awaits_answers) && Instant::now() < deadline {
        tokio::time::sleep(ANSWER_PAUSE).await;
    }
}

fn processes(status: &mut Status) -> impl Iterator<Item = &mut ProcessStatus> {
    let agent = status.agent.process.iter_mut();
    let slots = status
        .slots
        .iter_mut()
        .filter_map(|slot| slot.process.as_mut());
    agent.chain(slots).chain(&mut status.others)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Engine {
    fn inquire(&mut self) {
        self.core.inquire(Instant::now());
        self.perform();
        self.settle();
    }

    fn report(&self) -> Report {
        let now = Instant::now();
        let mut status = self.core.status(now);
        for process in processes(&mut status) {
            if self.threads.is_some() {
                // What would be a process id is the number of a thread.
                process.pid = None;
            }
            if let Some(entry) = self.children.get(&process.child) {
                process.outbox_bytes = Some(entry.outbox.queued_bytes());
                process.outbox_messages = Some(entry.outbox.queued_frames());
                let silence = now.saturating_duration_since(entry.heard_at);
                process.heard_ago_ms = Some(millis(silence));
            }
        }
        Report {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            base_dir: self.control.base_dir.clone(),
            control: self.control.addresses.clone(),
            master: None,
            processors: usage::processors(),
            events_skipped: self.control.readers.skipped,
            status,
        }
    }
}
