//! What the guardian does: it takes notes, and when they end, it ends who is left.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{MARK, Note};
use crate::sys::channel;
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
    let mut roster = Roster {
        master: std::os::unix::process::parent_id(),
        mark: std::env::var(MARK).ok(),
        ..Roster::default()
    };
    // Without the master there is nobody to be told.
    let _ = channel::send(channel.as_fd(), &[IoSlice::new(b"up\n")], None);
    while wait_readable(&channel) && roster.read(channel.as_fd()) {}
    let grace = roster.grace.unwrap_or(DEFAULT_GRACE);
    Remains::of(roster).end(grace);
}

/// Waits as long as it takes. False where that is not possible.
fn wait_readable(channel: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::NONE), Ok(_) | Err(Errno::EINTR))
}

/// Everybody there is.
#[derive(Debug, Default)]
struct Roster {
    /// Has the child's end of the channel, too, while it starts one.
    master: u32,
    mark: Option<String>,
    grace: Option<Duration>,
    starting: Option<u64>,
    children: Vec<Identity>,
    descendants: Vec<Identity>,
    /// The master's ends of channels, by process id. They are never read.
    channels: HashMap<i32, OwnedFd>,
    /// Descriptors that came before the end of their line.
    received: VecDeque<OwnedFd>,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl Roster {
    /// Reads once; false at the end.
    fn read(&mut self, channel: BorrowedFd<'_>) -> bool {
        let mut buffer = [0; 4096];
        match channel::receive(channel, &mut buffer, &mut self.received) {
            Ok(got) if got.bytes > 0 => self.line.extend_from_slice(&buffer[..got.bytes]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
            // An end is an end.
            Ok(_) | Err(_) => return false,
        }
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            if let Some(note) = str::from_utf8(&line)
                .ok()
                .and_then(|line| line.parse().ok())
            {
                self.take(note);
            }
        }
        true
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Grace(grace) => self.grace = Some(grace),
            Note::Starting(inode) => self.starting = Some(inode),
            Note::NotStarted => self.starting = None,
            Note::Child(child) => {
                self.starting = None;
                self.children.push(child);
            }
            Note::Channel(pid) => {
                if let Some(channel) = self.received.pop_front() {
                    self.channels.insert(pid, channel);
                }
            }
            Note::Descendant(descendant) => self.descendants.push(descendant),
            Note::Gone(pid) => {
                self.children.retain(|child| child.pid != pid);
                self.descendants.retain(|descendant| descendant.pid != pid);
                self.channels.remove(&pid);
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
    /// When the master has died, and what whoever is born since then has in its environment.
    born: Option<(u64, String)>,
    looks: u32,
}

impl Remains {
    fn of(roster: Roster) -> Self {
        let mut remains = Self {
            children: roster.children,
            descendants: roster.descendants,
            starting: roster.starting,
            master: roster.master,
            born: process_tree::now()
                .ok()
                .zip(roster.mark.map(|mark| format!("{MARK}={mark}"))),
            looks: 0,
        };
        // Before the children know: whoever leaves, leaves its children to others.
        remains.look();
        drop(roster.channels);
        remains
    }

    fn end(mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
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
        // First: who is not there any more has started nobody who is not found below.
        self.children.retain(process_tree::is_alive);
        self.descendants.retain(process_tree::is_alive);
        let mut found = process_tree::descendants_of(self.children.iter().chain(&self.descendants));
        // Whoever has started them may be gone already.
        if let Some((moment, variable)) = &self.born {
            found.extend(process_tree::born_since_with(*moment, variable));
            found.retain(|it| it.pid.unsigned_abs() != std::process::id());
        }
        for descendant in found {
            if !self.children.contains(&descendant) && !self.descendants.contains(&descendant) {
                self.descendants.push(descendant);
            }
        }
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
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::guardian::{self, dismiss, hear, tell};
    use crate::sys::testing::{TestChild, wait_readable};

    /// Lives until it is killed, whatever becomes of its channel.
    const STAYS: &str = "trap '' TERM; echo up >&3; exec sleep 600";
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
                tell(watching.channel.as_fd(), *note, None).unwrap();
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
        staying_with(&[])
    }

    fn staying_with(env: &[&str]) -> (TestChild, Identity) {
        let child = TestChild::start(&["sh", "-c", STAYS], env);
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
            Note::Channel(77),
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
    fn a_child_that_leaves_at_once_is_seen_with_what_it_has_started() {
        let mut child = TestChild::start(&["sh", "-c", PARENT], &[]);
        let pid = child.lines().next().unwrap().parse().unwrap();
        let grandchild = process_tree::identify(pid).unwrap();
        let parent = process_tree::identify(child.pid).unwrap();
        let watching = Watching::told(&[grace(100), Note::Child(parent)]);
        let (guardian, note) = (watching.channel.as_fd(), Note::Channel(child.pid));
        tell(guardian, note, Some(child.channel.as_fd())).unwrap();
        // From here on the guardian alone holds the channel.
        let (other, _) = UnixStream::pair().unwrap();
        drop(std::mem::replace(&mut child.channel, other.into()));
        watching.lose_master();
        assert_eq!(child.end().signal, None);
        assert!(!process_tree::is_alive(&grandchild));
    }

    #[test]
    fn whoever_is_born_later_is_known_by_its_environment() {
        let before = process_tree::now().unwrap();
        // Other runs of this test may be on the same machine.
        let shorter = format!("EGG_CLUSTER_RS_TEST={}", std::process::id());
        let variable = format!("{shorter}-one");
        let (child, identity) = staying_with(&[&variable]);
        let found = |variable: &str| process_tree::born_since_with(before, variable);
        assert_eq!(found(&variable), [identity]);
        assert_eq!(found(&shorter), []);
        let later = identity.start_time() + 1;
        assert_eq!(process_tree::born_since_with(later, &variable), []);
        drop(child);
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
