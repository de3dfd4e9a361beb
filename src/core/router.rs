//! Messages among parent, master, agent and apps.
//!
//! ```text
//!            parent
//!              |
//!            master
//!           /      \
//!        agent --- apps
//! ```
//! A message is relayed as the text it came in; only its envelope is read.

use std::time::Instant;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Core;
use super::event::{ChildId, Event, Frame, Origin, WorkerAddress};
use super::workers::Worker;
use crate::ipc::envelope::{self, Envelope};
use crate::ipc::message::UserMessage;

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Destination {
    Master,
    Parent,
    Agent,
    /// All app workers, or the one with this process id.
    App(Option<i32>),
    Nobody,
}

/// `data` of `realport`, as far as it is understood.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Realport {
    port: serde_json::Value,
    protocol: serde_json::Value,
}

/// `data` of `reuse-port-listening`, and of a thread's `listening`: the result of Node's
/// `server.address()`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ServerAddress {
    /// Of a unix socket.
    Path(String),
    /// The same, as Egg 4 tells it.
    NamedPath {
        address: String,
        /// Always -1: what tells the two forms apart.
        #[serde(rename = "addressType")]
        _address_type: i8,
    },
    Tcp {
        address: Option<String>,
        family: Option<serde_json::Value>,
        port: Option<i64>,
    },
}

/// `app-start`, by which the workers of Egg 4 say that they listen, also where Node's cluster
/// has said so before. Threads, and workers that bind by themselves, say it in this way only.
#[derive(Deserialize)]
struct AppStart {
    data: AppStartData,
    #[serde(default, rename = "reusePort")]
    reuse_port: bool,
}

#[derive(Deserialize)]
struct AppStartData {
    address: ServerAddress,
}

/// `data` of `reload-worker`.
#[derive(Deserialize)]
struct ReloadData {
    #[serde(default)]
    agent: bool,
}

impl Core {
    /// Routes a message of a worker, of the parent or of the master itself.
    pub(super) fn route(&mut self, now: Instant, origin: Origin, message: UserMessage) {
        self.route_as(now, origin, None, message);
    }

    pub(super) fn route_from_child(&mut self, now: Instant, child: ChildId, message: UserMessage) {
        let origin = match child {
            ChildId::Agent(_) => Origin::Agent,
            ChildId::App(_) => Origin::App,
        };
        if let Some(counters) = self.counters_mut(child) {
            counters.messages_from += 1;
            counters.bytes_from += message.text.len() as u64;
        }
        self.route_as(now, origin, Some(child), message);
    }

    fn route_as(
        &mut self,
        now: Instant,
        origin: Origin,
        child: Option<ChildId>,
        message: UserMessage,
    ) {
        let from = match origin {
            Origin::Agent => "agent",
            Origin::App => "app",
            Origin::Parent => "parent",
            Origin::Master => "master",
        };
        // Only the master may speak for somebody else.
        let given = message
            .envelope
            .from
            .clone()
            .filter(|_| origin == Origin::Master);
        let from = given.as_deref().unwrap_or(from);
        match self.destination(from, &message.envelope) {
            Destination::Master => self.deliver_to_master(now, child, from, &message),
            Destination::Parent => {
                if self.may_tell_parent(child)
                    && let Some(message) = stamped(&message, from, "parent")
                {
                    self.emit(Event::ToParent { message });
                }
            }
            Destination::Agent => {
                let (head, tail) = envelope::stamp(&message, from, Some("agent"));
                if let Some(agent) = self.agent.child() {
                    self.relay(agent, head, tail);
                }
            }
            Destination::App(pid) => {
                let (head, tail) = envelope::stamp(&message, from, Some("app"));
                for child in self.connected_apps(pid) {
                    self.relay(child, head.clone(), tail.clone());
                }
            }
            Destination::Nobody => {}
        }
    }

    fn relay(&mut self, child: ChildId, head: Bytes, tail: Bytes) {
        if let Some(counters) = self.counters_mut(child) {
            counters.messages_to += 1;
            counters.bytes_to += (head.len() + tail.len()) as u64;
        }
        self.send(child, Frame::Message { head, tail });
    }

    fn destination(&self, from: &str, envelope: &Envelope) -> Destination {
        let receiver = envelope
            .receiver_pid
            .as_ref()
            .or(envelope.receiver_worker_id.as_ref());
        if let Some(receiver) = receiver {
            return match receiver.parse::<i32>() {
                // Ids of threads are small: the master may have the same as its process id.
                Ok(pid) if Some(pid) == self.agent.pid() => Destination::Agent,
                Ok(pid) if self.workers.with_pid(pid).is_some() => Destination::App(Some(pid)),
                Ok(pid) if pid == self.settings.master_pid => Destination::Master,
                Ok(_) => Destination::Nobody,
                Err(_) => Destination::Nobody,
            };
        }
        let default = match from {
            "agent" => "app",
            "app" => "agent",
            "parent" => "master",
            _ => "",
        };
        match envelope.to.as_deref().unwrap_or(default) {
            "master" => Destination::Master,
            "parent" => Destination::Parent,
            "agent" => Destination::Agent,
            "app" => Destination::App(None),
            _ => Destination::Nobody,
        }
    }

    /// The workers that can be told something, or the one with this process id.
    fn connected_apps(&self, pid: Option<i32>) -> Vec<ChildId> {
        let can_be_told = |worker: &Worker| worker.pid.is_some() && worker.is_connected();
        match pid {
            Some(pid) => {
                let id = self.workers.with_pid(pid);
                let id = id.filter(|&id| self.workers.get(id).is_some_and(can_be_told));
                id.map(ChildId::App).into_iter().collect()
            }
            None => {
                let all = self.workers.iter();
                all.filter(|(_, worker)| can_be_told(worker))
                    .map(|(id, _)| ChildId::App(id))
                    .collect()
            }
        }
    }

    /// The master acts on what it knows; JavaScript hears everything.
    fn deliver_to_master(
        &mut self,
        now: Instant,
        child: Option<ChildId>,
        from: &str,
        message: &UserMessage,
    ) {
        match (message.envelope.action.as_deref(), child) {
            (Some("agent-start"), Some(ChildId::Agent(_))) => self.on_agent_started(now),
            (Some("realport"), Some(ChildId::App(id))) => self.on_realport(id, message),
            (Some("listening"), Some(ChildId::App(id))) if self.settings.threads => {
                if let Some(address) = server_address(message) {
                    self.on_worker_listening(now, id, address, false);
                }
            }
            (Some("reuse-port-listening"), Some(ChildId::App(id))) => {
                if let Some(address) = server_address(message) {
                    self.on_worker_listening(now, id, address, true);
                }
            }
            (Some("app-start"), Some(ChildId::App(id))) => {
                if let Ok(start) = serde_json::from_slice::<AppStart>(&message.text) {
                    // Elsewhere Node's cluster has told it.
                    if start.reuse_port || self.settings.threads {
                        let address = worker_address(start.data.address);
                        self.on_worker_listening(now, id, address, start.reuse_port);
                    }
                    // JavaScript has its `app-start` from the listening that stands behind it.
                    return;
                }
            }
            (Some("reload-worker"), _) => {
                self.request_reload(now, wants_agent(message));
            }
            _ => {}
        }
        if let Some(message) = stamped(message, from, "master") {
            self.emit(Event::Message { message });
        }
    }

    fn on_realport(&mut self, id: u32, message: &UserMessage) {
        let Some(data) = message.data() else {
            return;
        };
        let Ok(realport) = serde_json::from_str::<Realport>(data.get()) else {
            return;
        };
        let port = match &realport.port {
            serde_json::Value::Number(port) => port.as_u64(),
            serde_json::Value::String(port) => port.parse().ok(),
            _ => None,
        };
        let port = port
            .and_then(|port| u16::try_from(port).ok())
            .filter(|&port| port > 0);
        let protocol = realport
            .protocol
            .as_str()
            .filter(|text| !text.is_empty())
            .map(String::from);
        let slot = self.workers.get(id).map(|worker| worker.slot);
        if port.is_some() && slot.is_some_and(|slot| self.is_known_by(slot)) {
            self.public.port = port;
        }
        if let Some(protocol) = &protocol {
            self.public.protocol.clone_from(protocol);
        }
        self.emit(Event::Realport { port, protocol });
    }

    pub(super) fn tell_agent(&mut self, message: &UserMessage) {
        if let Some(agent) = self.agent.child() {
            let head = message.text.clone();
            self.send(
                agent,
                Frame::Message {
                    head,
                    tail: bytes::Bytes::new(),
                },
            );
        }
    }

    pub(super) fn tell_apps(&mut self, message: &UserMessage) {
        for child in self.connected_apps(None) {
            let head = message.text.clone();
            self.send(
                child,
                Frame::Message {
                    head,
                    tail: bytes::Bytes::new(),
                },
            );
        }
    }

    pub(super) fn tell_parent(&mut self, action: &str, data: Option<&str>) {
        self.tell_parent_as("master", action, data);
    }

    fn tell_parent_as(&mut self, from: &str, action: &str, data: Option<&str>) {
        let message = envelope::build(from, "parent", action, data);
        if let Some(message) = raw(&[&message.text]) {
            self.emit(Event::ToParent { message });
        }
    }

    /// The agent learns which app workers listen.
    pub(super) fn tell_agent_pids(&mut self) {
        let pids = format!("{:?}", self.workers.listening_pids());
        self.tell_agent(&envelope::build("master", "agent", "egg-pids", Some(&pids)));
    }

    /// The apps learn the process id of the agent, or that there is none.
    pub(super) fn tell_apps_pids(&mut self, pids: &[i32]) {
        let pids = format!("{pids:?}");
        self.tell_apps(&envelope::build("master", "app", "egg-pids", Some(&pids)));
    }

    /// The parent (egg-bin) learns where the inspector of a child listens.
    pub(super) fn tell_debug_port(&mut self, from: &str, port: Option<u16>, pid: i32) {
        if let Some(port) = port.filter(|_| self.settings.is_debug) {
            let data = format!(r#"{{"debugPort":{port},"pid":{pid}}}"#);
            self.tell_parent_as(from, "debug", Some(&data));
        }
    }
}

/// The message with `from` and `to` as JavaScript gets it. None where its text is no JSON
/// after all, which a child of Node never sends.
fn stamped(message: &UserMessage, from: &str, to: &str) -> Option<Box<RawValue>> {
    let (head, tail) = envelope::stamp(message, from, Some(to));
    raw(&[&head, &tail])
}

fn raw(parts: &[&[u8]]) -> Option<Box<RawValue>> {
    RawValue::from_string(String::from_utf8(parts.concat()).ok()?).ok()
}

/// A `reload-worker` that wants the agent to be replaced, too.
fn wants_agent(message: &UserMessage) -> bool {
    let data = message
        .data()
        .and_then(|data| serde_json::from_str::<ReloadData>(data.get()).ok());
    data.is_some_and(|data| data.agent)
}

fn server_address(message: &UserMessage) -> Option<WorkerAddress> {
    let address = serde_json::from_str(message.data()?.get()).ok()?;
    Some(worker_address(address))
}

fn worker_address(address: ServerAddress) -> WorkerAddress {
    let (address, family, port) = match address {
        ServerAddress::Path(address) | ServerAddress::NamedPath { address, .. } => {
            return WorkerAddress {
                address_type: (-1).into(),
                address: Some(address),
                port: None,
                fd: None,
            };
        }
        ServerAddress::Tcp {
            address,
            family,
            port,
        } => (address, family, port),
    };
    let is_v6 = family.is_some_and(|family| family == "IPv6" || family == 6);
    WorkerAddress {
        address_type: if is_v6 { 6.into() } else { 4.into() },
        // The wildcard is what `listening` calls null: no host of its own.
        address: address.filter(|host| host != "::" && host != "0.0.0.0"),
        port,
        fd: None,
    }
}
