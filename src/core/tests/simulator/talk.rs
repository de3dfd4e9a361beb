//! Messages among parent, master, agent and apps: every one is numbered, and who must get it
//! is known before it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::world::{Happening, Sim};
use crate::core::event::{ChildId, Command, Input, Origin, ServiceState};
use crate::core::tests::MASTER;
use crate::ipc::envelope::Envelope;
use crate::ipc::message::{ChildMessage, UserMessage};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receiver {
    Master,
    Parent,
    Child(ChildId),
}

#[derive(Default)]
pub struct Talk {
    /// What the service manager knows.
    pub told: ServiceState,
    last: u64,
    /// Who still has to get the newest message; false: may get it.
    awaited: BTreeMap<Receiver, bool>,
    pub delivered: u64,
    /// Since when more waits for the parent than may.
    pub parent_full_since: Option<Duration>,
    /// What children say to the parent is dropped.
    pub parent_is_deaf: bool,
}

const HEAD: &str = r#"{"n":"#;

impl Sim {
    /// Somebody sends a message to somebody.
    pub fn talk(&mut self) {
        let speaker = match self.random.below(4) {
            0 => Speaker::Outside(Origin::Parent),
            1 => Speaker::Outside(Origin::Master),
            _ => match self.any_heard() {
                Some(child) => Speaker::Child(child),
                None => return,
            },
        };
        self.talk.last += 1;
        let receiver_pid = self.draw_receiver_pid();
        let to = self.random.pick(&[
            None,
            Some("app"),
            Some("agent"),
            Some("master"),
            Some("parent"),
            Some("nobody"),
        ]);
        self.talk.awaited = self.receivers(speaker, receiver_pid.as_deref(), to);
        let message = UserMessage {
            text: Bytes::from(format!(r#"{HEAD}{},"action":"sim"}}"#, self.talk.last)),
            envelope: Envelope {
                action: Some("sim".into()),
                to: to.map(String::from),
                receiver_pid,
                ..Envelope::default()
            },
        };
        self.feed(match speaker {
            Speaker::Outside(from) => Input::Command(Command::Send { from, message }),
            Speaker::Child(child) => Input::Message {
                child,
                message: ChildMessage::User(message),
            },
        });
        let missed = self.talk.awaited.iter().find(|&(_, &must)| must);
        assert!(
            missed.is_none(),
            "message {} never went to {missed:?}",
            self.talk.last
        );
        self.talk.awaited.clear();
    }

    fn draw_receiver_pid(&mut self) -> Option<String> {
        match self.random.below(8) {
            0 => {
                let place = self.random.index(self.procs.len().max(1));
                self.procs
                    .values()
                    .nth(place)
                    .map(|proc| proc.pid.to_string())
            }
            1 => Some("1".into()),
            2 => Some("not a number".into()),
            3 => Some(MASTER.to_string()),
            _ => None,
        }
    }

    fn receivers(
        &self,
        speaker: Speaker,
        pid: Option<&str>,
        to: Option<&str>,
    ) -> BTreeMap<Receiver, bool> {
        let default = match speaker {
            Speaker::Outside(Origin::Parent) => "master",
            Speaker::Outside(_) => "nobody",
            Speaker::Child(ChildId::Agent(_)) => "app",
            Speaker::Child(ChildId::App(_)) => "agent",
        };
        let children = self.procs.iter().filter(|(_, proc)| proc.reported);
        let apps = children
            .clone()
            .filter(|(child, proc)| {
                matches!(child, ChildId::App(_)) && proc.connected && !proc.waits
            })
            .map(|(&child, proc)| (child, proc.pid, true));
        // To an agent whose channel is closed anything may be sent: nothing arrives.
        let agents = children
            .filter(|(child, _)| matches!(child, ChildId::Agent(_)))
            .map(|(&child, proc)| (child, proc.pid, proc.connected));
        let entry = |(child, _, must)| (Receiver::Child(child), must);
        match (pid.map(str::parse::<i32>), to.unwrap_or(default)) {
            (Some(Err(_)), _) => BTreeMap::new(),
            (Some(Ok(MASTER)), _) | (None, "master") => [(Receiver::Master, true)].into(),
            (Some(Ok(pid)), _) => apps
                .chain(agents)
                .filter(|it| it.1 == pid)
                .map(entry)
                .collect(),
            (None, "parent")
                if self.talk.parent_is_deaf && matches!(speaker, Speaker::Child(_)) =>
            {
                BTreeMap::new()
            }
            (None, "parent") => [(Receiver::Parent, true)].into(),
            (None, "agent") => agents.map(entry).collect(),
            (None, "app") => apps.map(entry).collect(),
            (None, _) => BTreeMap::new(),
        }
    }

    /// The parent stops to read for a while.
    pub fn fill_parent(&mut self) {
        if self.talk.parent_full_since.is_none() {
            self.talk.parent_full_since = Some(self.clock);
            let time = self.random.pick(&[100, 10_000, 90_000]);
            let after = self.random.millis(0..time);
            self.plan(after, Happening::ParentReads);
            self.feed(Input::ParentFull);
        }
    }

    pub fn drain_parent(&mut self) {
        if self.talk.parent_full_since.take().is_some() {
            self.feed(Input::ParentDrained);
            assert!(!self.talk.parent_is_deaf, "the parent reads again");
        }
    }

    /// The core has given the parent up for the time being.
    pub fn note_deaf_parent(&mut self) {
        let since = self.talk.parent_full_since.expect("the parent reads");
        let limit = self.scenario.settings.limits.stall_timeout;
        assert!(self.clock - since >= limit, "the parent had no time");
        assert!(!self.talk.parent_is_deaf, "told twice");
        self.talk.parent_is_deaf = true;
    }

    /// Something has been sent; if it is one of these messages, it must be the newest, and due.
    pub fn check_delivery(&mut self, receiver: Receiver, text: &[u8]) {
        let Some(rest) = text.strip_prefix(HEAD.as_bytes()) else {
            return;
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        assert_eq!(
            number, self.talk.last,
            "an old message came again, to {receiver:?}"
        );
        let was_awaited = self.talk.awaited.remove(&receiver);
        assert!(
            was_awaited.is_some(),
            "message {number} went to {receiver:?}"
        );
        self.talk.delivered += 1;
    }

    /// A child that can be heard at this moment.
    fn any_heard(&mut self) -> Option<ChildId> {
        let place = self.random.index(self.procs.len().max(1));
        let (&child, proc) = self.procs.iter().nth(place)?;
        proc.can_speak().then_some(child)
    }
}

#[derive(Clone, Copy)]
enum Speaker {
    Outside(Origin),
    Child(ChildId),
}
