//! The engine's part of children that are threads. Only JavaScript can make them, send to
//! them and end them: it is asked to by an [`Order`], and tells by a [`ThreadReport`] what has
//! become of it. Both name a thread by the key that it was asked for with.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::engine::Engine;
use crate::core::event::{ChildId, ExitStatus, Frame, Input, Output, Signal, SpawnSpec};
use crate::ipc::message::{self, ChildMessage, Line};

/// What JavaScript is asked to do. It travels among the events, as one of them.
#[derive(Debug, Serialize)]
#[serde(tag = "type")]
enum Order<'a> {
    /// Make a thread; answered by [`ThreadReport::Started`] or [`ThreadReport::Failed`].
    #[serde(rename = "thread-spawn")]
    Spawn {
        key: u32,
        /// `agent` or `app`.
        role: &'static str,
        /// The slot of an app worker, from 0.
        slot: Option<u32>,
        /// The number that it is shown with.
        id: u32,
    },
    /// Post a message.
    #[serde(rename = "thread-post")]
    Post { key: u32, message: &'a RawValue },
    /// End a thread; answered by [`ThreadReport::Exited`].
    #[serde(rename = "thread-terminate")]
    Terminate { key: u32 },
    /// The thread has not ended in time. It is nobody's from now on.
    #[serde(rename = "thread-abandon")]
    Abandon { key: u32 },
}

/// What has become of a thread.
#[derive(Debug)]
pub enum ThreadReport {
    /// It exists.
    Started {
        /// Node's number of it.
        thread_id: i32,
    },
    /// It could not be made.
    Failed {
        /// Why.
        reason: String,
    },
    /// It has posted a message.
    Message {
        /// As JSON.
        message: Bytes,
    },
    /// It has ended.
    Exited {
        /// Its exit code.
        code: i32,
    },
}

/// The threads that have not ended.
#[derive(Debug, Default)]
pub(super) struct Threads {
    by_key: HashMap<u32, ChildId>,
    by_child: HashMap<ChildId, Thread>,
    last_key: u32,
}

#[derive(Debug)]
struct Thread {
    key: u32,
    /// JavaScript has been asked to end it.
    terminated: bool,
}

impl Threads {
    fn insert(&mut self, child: ChildId) -> u32 {
        self.last_key += 1;
        let key = self.last_key;
        self.by_key.insert(key, child);
        let terminated = false;
        self.by_child.insert(child, Thread { key, terminated });
        key
    }

    fn remove(&mut self, child: ChildId) {
        if let Some(thread) = self.by_child.remove(&child) {
            self.by_key.remove(&thread.key);
        }
    }
}

impl Engine {
    /// Does what is to be done to children, where they are threads; gives back everything else.
    pub(super) fn perform_on_threads(&mut self, output: Output) -> Option<Output> {
        if self.threads.is_none() {
            return Some(output);
        }
        match output {
            Output::Spawn(spec) => self.spawn_thread(&spec),
            Output::Send { child, frame } => self.post(child, frame),
            Output::Disconnect { child } => {
                // A thread would not notice, other than a process.
                self.terminate(child);
                self.feed(Input::Disconnected { child });
            }
            Output::Signal { child, signal } => self.end_thread(child, signal),
            other => return Some(other),
        }
        None
    }

    /// Takes note of what has become of a thread. What comes from one that is given up is
    /// of no interest.
    pub(super) fn on_thread(&mut self, key: u32, report: ThreadReport) {
        let child = self.threads.as_ref().and_then(|it| it.by_key.get(&key));
        let Some(&child) = child else {
            return;
        };
        match report {
            ThreadReport::Started { thread_id } => {
                let pid = thread_id;
                self.feed(Input::Spawned { child, pid });
            }
            ThreadReport::Failed { reason } => {
                self.forget_thread(child);
                self.feed(Input::SpawnFailed { child, reason });
            }
            ThreadReport::Message { message } => self.on_posted(child, &message),
            ThreadReport::Exited { code } => {
                let (code, signal) = (Some(code), None);
                self.on_thread_gone(child, ExitStatus { code, signal });
            }
        }
        self.settle();
    }

    /// A thread has no part in Node's cluster protocol, whatever it posts.
    fn on_posted(&mut self, child: ChildId, line: &Bytes) {
        match message::parse(line) {
            Ok(Line::Plain(message @ (ChildMessage::User(_) | ChildMessage::NotRoutable))) => {
                self.feed(Input::Message { child, message });
            }
            Ok(_) => {}
            Err(reason) => self.feed(Input::BadLine { child, reason }),
        }
    }

    fn on_thread_gone(&mut self, child: ChildId, status: ExitStatus) {
        self.forget_thread(child);
        self.feed(Input::Disconnected { child });
        self.feed(Input::Exited { child, status });
    }

    fn spawn_thread(&mut self, spec: &SpawnSpec) {
        let (child, slot) = (spec.child, spec.slot);
        let (role, id) = match (child, slot) {
            (ChildId::Agent(id), _) => ("agent", id),
            (ChildId::App(id), slot) => ("app", slot.map_or(id, |slot| slot + 1)),
        };
        if let Some(threads) = &mut self.threads {
            let key = threads.insert(child);
            self.order(&Order::Spawn {
                key,
                role,
                slot,
                id,
            });
        }
    }

    fn post(&mut self, child: ChildId, frame: Frame) {
        let Frame::Message { head, tail } = frame else {
            return;
        };
        let Some(key) = self.thread_key(child) else {
            return;
        };
        let text = String::from_utf8([head, tail].concat());
        let message = text.ok().and_then(|text| RawValue::from_string(text).ok());
        if let Some(message) = message {
            let message = &message;
            self.order(&Order::Post { key, message });
        }
    }

    /// There are no signals for threads: one is terminated, and if that does not help, as
    /// where it waits outside of JavaScript, given up.
    fn end_thread(&mut self, child: ChildId, signal: Signal) {
        if self.terminate(child) || signal == Signal::Terminate {
            return;
        }
        if let Some(key) = self.thread_key(child) {
            self.order(&Order::Abandon { key });
            self.on_thread_gone(child, ExitStatus::default());
        }
    }

    /// Asks for the end of a thread, once; false if that has been done already.
    fn terminate(&mut self, child: ChildId) -> bool {
        let thread = self.threads.as_mut();
        let Some(thread) = thread.and_then(|it| it.by_child.get_mut(&child)) else {
            return false;
        };
        if std::mem::replace(&mut thread.terminated, true) {
            return false;
        }
        let key = thread.key;
        self.order(&Order::Terminate { key });
        true
    }

    fn thread_key(&self, child: ChildId) -> Option<u32> {
        Some(self.threads.as_ref()?.by_child.get(&child)?.key)
    }

    fn forget_thread(&mut self, child: ChildId) {
        if let Some(threads) = &mut self.threads {
            threads.remove(child);
        }
    }

    fn order(&self, order: &Order<'_>) {
        // Every field is a number, a text or JSON already, so this cannot fail.
        let json = serde_json::to_string(order).unwrap_or_default();
        tracing::debug!(order = json);
        (self.sink)(json);
    }
}
