//! What the guardian does: it takes notes, and when they end, it ends who is left.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::Note;
use crate::sys::process::Signal;
use crate::sys::process_tree::{self, Identity};

/// Time between two looks. It looks only after the death of a master that has left somebody.
const TICK: Duration = Duration::from_millis(50);
/// How often it kills who is left: who is killed may just have started another one. Who is still
/// there then waits for a device, and goes with its answer.
const KILLS: u32 = 100;
/// Where a process was about to be started and none is found in so many looks, there is none.
const LOOKS_FOR_STARTING: u32 = 3;
/// The grace period until the master has told it: that of egg-cluster.
const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// Watches until the other end of `channel` is closed, and everybody is gone then.
pub(super) fn watch(channel: OwnedFd) {
    let mut channel = UnixStream::from(channel);
    // Without the master there is nobody to be told.
    let _ = channel.write_all(b"up\n");
    let mut roster = Roster {
        master: std::os::unix::process::parent_id(),
        ..Roster::default()
    };
    for line in BufReader::new(channel).lines() {
        let Ok(line) = line else { break };
        if let Ok(note) = line.parse() {
            roster.take(note);
        }
    }
    let grace = roster.grace.unwrap_or(DEFAULT_GRACE);
    Remains::of(roster).end(grace);
}

/// Everybody there is.
#[derive(Debug, Default)]
struct Roster {
    /// Has the child's end of the channel, too, while it starts one.
    master: u32,
    grace: Option<Duration>,
    starting: Option<u64>,
    children: Vec<Identity>,
    descendants: Vec<Identity>,
}

impl Roster {
    fn take(&mut self, note: Note) {
        match note {
            Note::Grace(grace) => self.grace = Some(grace),
            Note::Starting(inode) => self.starting = Some(inode),
            Note::NotStarted => self.starting = None,
            Note::Child(child) => {
                self.starting = None;
                self.children.push(child);
            }
            Note::Descendant(descendant) => self.descendants.push(descendant),
            Note::Gone(pid) => {
                self.children.retain(|child| child.pid != pid);
                self.descendants.retain(|descendant| descendant.pid != pid);
            }
        }
    }
}

/// Who is left of a master that has died.
struct Remains {
    /// They know by the end of their channels.
    children: Vec<Identity>,
    descendants: Vec<Identity>,
    starting: Option<u64>,
    master: u32,
    looks: u32,
}

impl Remains {
    fn of(roster: Roster) -> Self {
        let mut remains = Self {
            children: roster.children,
            descendants: roster.descendants,
            starting: roster.starting,
            master: roster.master,
            looks: 0,
        };
        // The quick look comes first: a worker that leaves at once leaves its children to others.
        for child in &remains.children {
            for descendant in process_tree::children_now(child) {
                if !remains.descendants.contains(&descendant) {
                    remains.descendants.push(descendant);
                }
            }
        }
        remains
    }

    fn end(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.look();
        // As at a close. The children are not signalled: they leave in their own way.
        signal_all(&self.descendants, Signal::SIGTERM);
        while !self.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.kill();
            }
            thread::sleep(left.min(TICK));
            self.look();
        }
    }

    fn kill(mut self) {
        for _ in 0..KILLS {
            signal_all(&self.children, Signal::SIGKILL);
            signal_all(&self.descendants, Signal::SIGKILL);
            thread::sleep(TICK);
            self.look();
            if self.is_empty() {
                return;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.starting.is_none() && self.children.is_empty() && self.descendants.is_empty()
    }

    /// Forgets who has gone, and finds who has come.
    fn look(&mut self) {
        self.look_for_starting();
        let found = process_tree::descendants_of(self.children.iter().chain(&self.descendants));
        for descendant in found {
            if !self.children.contains(&descendant) && !self.descendants.contains(&descendant) {
                self.descendants.push(descendant);
            }
        }
        self.children.retain(process_tree::is_alive);
        self.descendants.retain(process_tree::is_alive);
    }

    fn look_for_starting(&mut self) {
        let Some(inode) = self.starting else { return };
        self.looks += 1;
        let mut holders = process_tree::holders_of_socket(inode);
        holders.retain(|holder| holder.pid.unsigned_abs() != self.master);
        if !holders.is_empty() || self.looks >= LOOKS_FOR_STARTING {
            self.starting = None;
            self.children.extend(holders);
        }
    }
}

fn signal_all(targets: &[Identity], signal: Signal) {
    for target in targets {
        // Who has gone meanwhile needs none, and whom we may not signal is not ours.
        let _ = process_tree::signal(target, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::sys::guardian::{self, dismiss, hear, tell};
    use crate::sys::testing::{TestChild, wait_readable};

    /// Lives until it is killed, whatever becomes of its channel.
    const STAYS: &str = "trap '' TERM; echo up >&3; while :; do sleep 60; done";
    /// Has a child that stays, too; prints its id.
    const PARENT: &str = "(trap '' TERM; exec sleep 600) & echo $! >&3; read -r line <&3";

    struct Watching {
        channel: UnixStream,
        thread: thread::JoinHandle<()>,
    }

    impl Watching {
        fn start() -> Self {
            let (channel, theirs) = UnixStream::pair().unwrap();
            let thread = thread::spawn(move || watch(theirs.into()));
            wait_readable(&channel);
            hear(channel.as_fd()).unwrap();
            Self { channel, thread }
        }

        fn told(notes: &[Note]) -> Self {
            let watching = Self::start();
            for note in notes {
                tell(watching.channel.as_fd(), *note).unwrap();
            }
            watching
        }

        /// The master dies; returns when the guardian would end.
        fn lose_master(self) {
            dismiss(self.channel.as_fd());
            self.thread.join().unwrap();
        }
    }

    fn staying() -> (TestChild, Identity) {
        let child = TestChild::start(&["sh", "-c", STAYS], &[]);
        assert_eq!(child.lines().next().unwrap(), "up");
        let identity = process_tree::identify(child.pid).unwrap();
        (child, identity)
    }

    fn grace(ms: u64) -> Note {
        Note::Grace(Duration::from_millis(ms))
    }

    #[test]
    fn notes_are_read_as_they_were_written() {
        let identity = Identity::new(4_000_000, u64::MAX);
        for note in [
            grace(5000),
            Note::Starting(u64::MAX),
            Note::NotStarted,
            Note::Child(identity),
            Note::Descendant(identity),
            Note::Gone(77),
        ] {
            assert_eq!(note.to_string().trim_end().parse(), Ok(note));
        }
        for line in [
            "",
            "child 1",
            "child x 2",
            "gone -1",
            "gone 4294967296",
            "else 1",
        ] {
            assert_eq!(line.parse::<Note>(), Err(()), "{line:?}");
        }
    }

    #[test]
    fn who_stays_is_killed_with_what_it_has_started_and_who_is_gone_is_not() {
        let (mut child, identity) = staying();
        let (mut spared, other) = staying();
        let notes = [
            grace(100),
            Note::Child(identity),
            Note::Child(other),
            Note::Gone(spared.pid),
        ];
        Watching::told(&notes).lose_master();
        assert_eq!(child.end().signal, Some(9));
        assert_eq!(spared.try_reap().unwrap(), None);
    }

    #[test]
    fn a_child_that_is_being_started_is_found_by_its_channel() {
        let (mut child, _) = staying();
        let link = format!("/proc/{}/fd/3", child.pid);
        let inode = std::fs::metadata(link).unwrap().ino();
        Watching::told(&[grace(100), Note::Starting(inode)]).lose_master();
        assert_eq!(child.end().signal, Some(9));
    }

    #[test]
    fn where_nothing_was_started_it_ends_all_the_same() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let inode = crate::sys::channel::inode(&theirs.into()).unwrap();
        drop(ours);
        Watching::told(&[grace(60_000), Note::Starting(inode)]).lose_master();
    }

    #[test]
    fn a_grandchild_that_ignores_sigterm_is_killed() {
        let mut child = TestChild::start(&["sh", "-c", PARENT], &[]);
        let pid = child.lines().next().unwrap().parse().unwrap();
        let grandchild = process_tree::identify(pid).unwrap();
        let parent = process_tree::identify(child.pid).unwrap();
        Watching::told(&[grace(100), Note::Child(parent)]).lose_master();
        assert_eq!(child.end().signal, Some(9));
        assert!(!process_tree::is_alive(&grandchild));
    }

    #[test]
    fn a_descendant_of_a_child_that_has_gone_is_remembered() {
        let (mut child, identity) = staying();
        Watching::told(&[grace(100), Note::Descendant(identity)]).lose_master();
        assert_eq!(child.end().signal, Some(9));
    }

    #[test]
    fn a_test_program_is_not_started_as_a_guardian() {
        let error = guardian::launch(&[]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    }
}
