//! The engine's part of the processes: starting, signalling and reaping children.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Instant;

use tokio::io::Interest;
use tokio::task::spawn_local;

use super::child::{Channel, Child};
use super::engine::{Engine, Progress};
use super::hang_stack;
use super::tasks::{self, Gate};
use crate::core::event::{ChildId, ExitStatus, Input, Signal, SpawnSpec, StackFrame};
use crate::sys;
use crate::sys::guardian::Note;
use crate::sys::process_tree::identify;
use crate::sys::reactor::watch;

impl Engine {
    /// Looks whether a child has ended; true when there is nothing to wait for any more.
    pub(super) fn reap(&mut self, child: ChildId) -> bool {
        let Some(pid) = self.children.get(&child).map(|entry| entry.pid) else {
            return true;
        };
        let status = match sys::process::try_reap(pid) {
            Ok(None) => return false,
            Ok(Some(status)) => ExitStatus {
                code: status.code,
                signal: status.signal.map(sys::process::signal_name),
            },
            // Somebody else has reaped it: how it ended is not known.
            Err(error) => {
                tracing::error!(?child, pid, %error, "a child cannot be reaped");
                ExitStatus::default()
            }
        };
        // From here on its process id may be anybody's.
        if let Some(entry) = self.children.get_mut(&child) {
            entry.pid = 0;
        }
        self.guard.tell(Note::Gone(pid));
        // All that it said before it ended counts.
        while self.read_once(child) == Progress::More {}
        self.close_channel(child);
        self.children.remove(&child);
        self.feed(Input::Exited { child, status });
        self.settle();
        true
    }

    pub(super) fn spawn(&mut self, spec: &SpawnSpec) {
        let child = spec.child;
        let now = Instant::now();
        match self.try_spawn(spec) {
            Ok(pid) => self.core.handle_input(now, Input::Spawned { child, pid }),
            Err(error) => {
                let program = self.launch.program().to_string_lossy();
                let reason = format!("cannot start {program}: {error}");
                self.core
                    .handle_input(now, Input::SpawnFailed { child, reason });
            }
        }
    }

    pub(super) fn try_spawn(&mut self, spec: &SpawnSpec) -> io::Result<i32> {
        let (ours, theirs) = sys::channel::pair()?;
        let fd = watch(ours, Interest::READABLE)?;
        let (theirs_gate, gate) = spec.waits.then(io::pipe).transpose()?.unzip();
        let line = self.launch.command_line(spec);
        self.ensure_guardian();
        self.guard
            .tell(Note::Starting(sys::channel::inode(&theirs)?));
        let spawned = sys::spawn::spawn(&sys::spawn::SpawnRequest {
            program: self.launch.program(),
            argv: &line.argv,
            env: &line.env,
            channel: theirs.as_fd(),
            gate: theirs_gate.as_ref().map(AsFd::as_fd),
        });
        match spawned.as_ref().ok().copied().and_then(identify) {
            Some(child) => self.guard.tell_child(child, Some(fd.get_ref().as_fd())),
            None => self.guard.tell(Note::NotStarted),
        }
        let pid = spawned?;
        let channel = Channel {
            fd: Rc::new(fd),
            read_gate: Gate::new(!spec.waits),
            write_gate: Gate::new(false),
        };
        self.start_tasks(spec.child, pid, &channel);
        let mut entry = Child::new(pid, channel, self.limits);
        entry.gate = gate;
        self.children.insert(spec.child, entry);
        Ok(pid)
    }

    /// Lets a child that waits go on, and hears what it has said meanwhile.
    pub(super) fn release(&mut self, child: ChildId, slot: u32, slots: u32) {
        let Some(entry) = self.children.get_mut(&child) else {
            return;
        };
        // In one write: the child reads once, and may be awake before a second one.
        let place = format!("{slot} {slots}\n");
        if let Some(mut gate) = entry.gate.take()
            && let Err(error) = gate.write_all(place.as_bytes())
        {
            // It has ended, which is about to be seen.
            tracing::warn!(?child, %error, "a child that waits cannot be told to go on");
        }
        entry.regulate();
    }

    pub(super) fn start_tasks(&self, child: ChildId, pid: i32, channel: &Channel) {
        let Channel {
            fd,
            read_gate,
            write_gate,
        } = channel;
        spawn_local(tasks::read(
            self.me.clone(),
            child,
            Rc::clone(fd),
            Rc::clone(read_gate),
        ));
        spawn_local(tasks::write(
            self.me.clone(),
            child,
            Rc::clone(fd),
            Rc::clone(write_gate),
        ));
        spawn_local(tasks::reap(self.me.clone(), child, pid));
    }

    /// Signals a child and what it has started. The list is made before the first signal:
    /// afterwards the descendants of a dead parent are nobody's.
    pub(super) fn signal(&mut self, child: ChildId, signal: Signal) {
        let signal = match signal {
            Signal::Terminate => nix::sys::signal::Signal::SIGTERM,
            Signal::Kill => nix::sys::signal::Signal::SIGKILL,
        };
        let pid = self
            .children
            .get(&child)
            .map(|entry| entry.pid)
            .filter(|&pid| pid > 0);
        if let Some(pid) = pid {
            self.descendants.entry(child).or_insert_with(|| {
                let listed = sys::process_tree::descendants(pid);
                for &descendant in &listed {
                    self.guard.tell(Note::Descendant(descendant));
                }
                listed
            });
            if let Err(error) = sys::process::signal(pid, signal) {
                tracing::warn!(?child, pid, %error, "cannot signal");
            }
        }
        for identity in self.descendants.get(&child).into_iter().flatten() {
            if let Err(error) = sys::process_tree::signal(identity, signal) {
                tracing::warn!(?child, ?identity, %error, "cannot signal a descendant");
            }
        }
    }

    pub(super) fn forget_descendants(&mut self, child: ChildId) {
        let listed = self.descendants.remove(&child).unwrap_or_default();
        self.tell_gone(&listed);
    }

    pub(super) fn ask_stack(&self, child: ChildId) {
        // One that is reaped already needs no answer.
        if let Some(pid) = self.pid_of(child) {
            spawn_local(hang_stack::ask(self.me.clone(), child, pid));
        }
    }

    /// Has Node open its inspector: that is what SIGUSR1 is for.
    pub(super) fn open_inspector(&self, child: ChildId) -> io::Result<()> {
        let pid = self.pid_of(child).ok_or(io::ErrorKind::NotFound)?;
        sys::process::signal(pid, nix::sys::signal::Signal::SIGUSR1)
    }

    pub(super) fn tell_stack(&mut self, child: ChildId, stack: Result<Vec<StackFrame>, String>) {
        self.feed(Input::Stack { child, stack });
        self.settle();
    }

    /// The process id of a child that is not reaped.
    pub(super) fn pid_of(&self, child: ChildId) -> Option<i32> {
        let pid = self.children.get(&child).map(|entry| entry.pid);
        pid.filter(|&pid| pid > 0)
    }

    pub(super) fn count_descendants(&mut self, child: ChildId) {
        let listed = self.descendants.get(&child).map_or(&[][..], Vec::as_slice);
        let alive = listed
            .iter()
            .filter(|identity| sys::process_tree::is_alive(identity))
            .count();
        self.core
            .handle_input(Instant::now(), Input::Descendants { child, alive });
    }
}
