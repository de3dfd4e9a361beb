//! The descendants of a child, so that what a worker has spawned ends with it.
//!
//! Their ids are remembered for seconds while the worker is given time to end. A process id
//! alone would be a risk: the kernel may have given it to a stranger by then. So each is
//! remembered with its start time, and both are compared before anything is sent.

use std::io;

use nix::libc;

use super::process::{self, Signal};

/// One process, told apart from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The process id.
    pub pid: i32,
    /// Clock ticks since boot on Linux, microseconds since the epoch on macOS; only compared.
    start_time: u64,
}

impl Identity {
    /// From what another process of this system knew: see [`start_time`](Self::start_time).
    #[must_use]
    pub const fn new(pid: i32, start_time: u64) -> Self {
        Self { pid, start_time }
    }

    /// Of no meaning but for [`new`](Self::new), on the same system.
    #[must_use]
    pub const fn start_time(&self) -> u64 {
        self.start_time
    }
}

/// What the system tells of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcessInfo {
    identity: Identity,
    parent: i32,
    is_zombie: bool,
}

/// The living descendants of a process, without itself: children, their children, and so on,
/// the deepest first. Empty if there is no such process.
///
/// Call it before the first signal: once a process between has ended, those below it belong to
/// init and cannot be found any more. A process that is started meanwhile may be missed.
#[must_use]
pub fn descendants(pid: i32) -> Vec<Identity> {
    identify(pid).map_or_else(Vec::new, |root| below(vec![root]))
}

/// The same below several processes at once; those that have ended count for nothing.
#[must_use]
pub fn descendants_of<'a>(roots: impl Iterator<Item = &'a Identity>) -> Vec<Identity> {
    below(roots.filter(|root| is_alive(root)).copied().collect())
}

fn below(roots: Vec<Identity>) -> Vec<Identity> {
    if roots.is_empty() {
        return roots;
    }
    let above = roots.len();
    let mut found = roots;
    let mut children = system::Children::snapshot();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        // A child older than its parent is the child of an earlier process with that id.
        let born_later = |child: &Identity| child.start_time >= parent.start_time;
        for child in children.take(parent.pid).into_iter().filter(born_later) {
            if !found.iter().any(|known| known.pid == child.pid) {
                found.push(child);
            }
        }
    }
    // Parents come before their children here.
    found.drain(..above);
    found.reverse();
    found
}

/// The process that has this id now; none if there is none, or if it cannot be looked at.
#[must_use]
pub fn identify(pid: i32) -> Option<Identity> {
    system::process_info(pid).ok().map(|info| info.identity)
}

#[cfg(target_os = "linux")]
pub use system::{born_since_with, holders_of_socket, now, zombie_children};

/// Does this very process still run? One that has ended and only waits to be reaped does not,
/// nor does another one that was given its id. If the system cannot tell, for want of a free
/// descriptor, the process counts as running.
#[must_use]
pub fn is_alive(identity: &Identity) -> bool {
    is_same_and_running(identity).unwrap_or(true)
}

fn is_same_and_running(identity: &Identity) -> io::Result<bool> {
    match system::process_info(identity.pid) {
        Ok(info) => Ok(info.identity == *identity && !info.is_zombie),
        Err(error) if means_gone(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// `/proc` has no such file, or the process ended while it was read.
fn means_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// Signals this very process, and no other: returns `false` without sending anything if it
/// has ended or if its id now belongs to somebody else.
///
/// On Linux 5.3 and later the signal goes through a pidfd that is opened before the start time
/// is compared, which leaves no gap. Elsewhere an id could be reused between the comparison
/// and the signal, within microseconds.
///
/// # Errors
///
/// `EPERM` if the process has taken another user's identity; `EMFILE` if there is no free
/// descriptor to look with. Nothing is sent then.
pub fn signal(identity: &Identity, signal: Signal) -> io::Result<bool> {
    let pidfd = match process::open(identity.pid) {
        Ok(pidfd) => Some(pidfd),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => None,
        Err(error) if means_gone(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    if !is_same_and_running(identity)? {
        return Ok(false);
    }
    match pidfd {
        Some(pidfd) => system::send_signal(&pidfd, signal),
        None => process::signal(identity.pid, signal).map(|()| true),
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::HashMap;
    use std::fs::{self, File};
    use std::io::{self, Read};
    use std::os::fd::{AsRawFd, OwnedFd};

    use nix::libc;

    use super::{Identity, ProcessInfo, Signal};

    /// A look at all processes at once. (`/proc/PID/task/TID/children` would be quicker, but
    /// not every kernel has it, and it may leave out children while processes end.)
    pub struct Children(HashMap<i32, Vec<Identity>>);

    impl Children {
        pub fn snapshot() -> Self {
            let mut by_parent = HashMap::<i32, Vec<Identity>>::new();
            for pid in all_pids() {
                if let Ok(info) = process_info(pid)
                    && !info.is_zombie
                {
                    let siblings = by_parent.entry(info.parent).or_default();
                    siblings.push(info.identity);
                }
            }
            Self(by_parent)
        }

        pub fn take(&mut self, parent: i32) -> Vec<Identity> {
            self.0.remove(&parent).unwrap_or_default()
        }
    }

    /// The present moment, to be compared with start times: clock ticks since boot.
    ///
    /// # Errors
    /// None that is known.
    pub fn now() -> io::Result<u64> {
        // Rounding may make it a tick earlier, never later.
        let uptime = fs::read_to_string("/proc/uptime")?;
        let seconds = uptime
            .split_ascii_whitespace()
            .next()
            .and_then(|text| text.parse().ok());
        let seconds: f64 =
            seconds.ok_or_else(|| io::Error::other("/proc/uptime is not as proc(5) has it"))?;
        // SAFETY: it takes an integer and touches no memory.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Ok((seconds * per_second as f64) as u64)
    }

    /// Processes that were started at `moment` or later and have inherited this environment variable,
    /// given as `NAME=value`. Those of other users are seen by root alone.
    #[must_use]
    pub fn born_since_with(moment: u64, variable: &str) -> Vec<Identity> {
        let has = |pid: i32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|&byte| byte == 0)
                .any(|entry| entry == variable.as_bytes())
        };
        all_pids()
            .filter_map(|pid| process_info(pid).ok())
            .filter(|info| info.identity.start_time >= moment && !info.is_zombie)
            .map(|info| info.identity)
            .filter(|it| has(it.pid))
            .collect()
    }

    /// The children of a process that have ended and are not reaped.
    #[must_use]
    pub fn zombie_children(parent: u32) -> Vec<Identity> {
        let parent = i32::try_from(parent).unwrap_or_default();
        let infos = all_pids().filter_map(|pid| process_info(pid).ok());
        infos
            .filter(|info| info.parent == parent && info.is_zombie)
            .map(|info| info.identity)
            .collect()
    }

    fn all_pids() -> impl Iterator<Item = i32> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// Processes that hold a socket with this inode, by any descriptor. Those of other users are
    /// seen by root alone.
    #[must_use]
    pub fn holders_of_socket(inode: u64) -> Vec<Identity> {
        let wanted = format!("socket:[{inode}]");
        let holds = |pid: &i32| {
            let fds = fs::read_dir(format!("/proc/{pid}/fd"));
            let mut links = fds.into_iter().flatten().flatten();
            links.any(|fd| fs::read_link(fd.path()).is_ok_and(|to| *to.as_os_str() == *wanted))
        };
        all_pids()
            .filter(holds)
            .filter_map(|pid| process_info(pid).ok())
            .map(|info| info.identity)
            .collect()
    }

    pub fn process_info(pid: i32) -> io::Result<ProcessInfo> {
        // One read gives the whole line: 52 fields, of which only the name (at most 64 bytes) is text.
        let mut line = [0; 2048];
        let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut line)?;
        parse_stat(pid, &line[..length])
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not as proc(5) has it")))
    }

    /// Reads `pid (name) state ppid … starttime …`; the numbers of the fields are in proc(5). The name may
    /// hold spaces and parentheses, so the fields are counted from the last parenthesis.
    pub fn parse_stat(pid: i32, line: &[u8]) -> Option<ProcessInfo> {
        let name_end = line.iter().rposition(|byte| *byte == b')')?;
        let mut fields = str::from_utf8(&line[name_end + 1..])
            .ok()?
            .split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // Field 22; the next one is field 5.
        let start_time = fields.nth(22 - 5)?.parse().ok()?;
        Some(ProcessInfo {
            identity: Identity { pid, start_time },
            parent,
            is_zombie: matches!(state, "Z" | "X" | "x"),
        })
    }

    /// Sends through the pidfd; `false` if the process has been reaped meanwhile.
    pub fn send_signal(pidfd: &OwnedFd, signal: Signal) -> io::Result<bool> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        let (fd, signal) = (pidfd.as_raw_fd(), signal as libc::c_int);
        // SAFETY: the descriptor is open for the call, and a null siginfo asks for the default one.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) };
        if result == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Ok(false);
        }
        Err(error)
    }
}

#[cfg(target_os = "macos")]
mod system {
    use std::ffi::c_int;
    use std::io;
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;

    use nix::libc;

    use super::{Identity, ProcessInfo, Signal};

    /// Asks the system for the children of one process at a time.
    pub struct Children;

    impl Children {
        pub fn snapshot() -> Self {
            Self
        }

        pub fn take(&mut self, parent: i32) -> Vec<Identity> {
            let mut pids = vec![0; 64];
            loop {
                let size = c_int::try_from(size_of_val(pids.as_slice())).unwrap_or(c_int::MAX);
                // SAFETY: the pointer and the size describe `pids`.
                unsafe { libc::proc_listchildpids(parent, pids.as_mut_ptr().cast(), size) };
                // What it returns differs between versions; but it fills from the start, and
                // what it leaves is 0.
                if pids.last() == Some(&0) || pids.len() > 1 << 20 {
                    break;
                }
                pids = vec![0; pids.len() * 2];
            }
            let identify = |pid| {
                let info = process_info(pid).ok()?;
                (info.parent == parent && !info.is_zombie).then_some(info.identity)
            };
            pids.into_iter()
                .filter(|pid| *pid > 0)
                .filter_map(identify)
                .collect()
        }
    }

    pub fn process_info(pid: i32) -> io::Result<ProcessInfo> {
        let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
        let size = size_of::<libc::proc_bsdinfo>() as c_int;
        let place = info.as_mut_ptr().cast();
        // SAFETY: `place` and `size` describe `info`.
        let got = unsafe { libc::proc_pidinfo(pid, libc::PROC_PIDTBSDINFO, 0, place, size) };
        if got != size {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the system has filled all of it, and every field is a plain number.
        let info = unsafe { info.assume_init() };
        Ok(ProcessInfo {
            identity: Identity {
                pid,
                start_time: info.pbi_start_tvsec * 1_000_000 + info.pbi_start_tvusec,
            },
            parent: i32::try_from(info.pbi_ppid).unwrap_or(0),
            is_zombie: info.pbi_status == libc::SZOMB,
        })
    }

    /// Never called: no pidfd can be opened here.
    pub fn send_signal(_pidfd: &OwnedFd, _signal: Signal) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::channel;
    use crate::sys::testing::TestChild;

    /// A shell, its child shell and that one's child, which prints its id when all exist. All
    /// end when the channel does.
    const THREE: &str = "sh -c '(echo $PPID >&3; read -r line <&3; exit 0) & wait' & wait";

    fn identify(pid: i32) -> Identity {
        super::identify(pid).unwrap()
    }

    /// Kills what a test has started below a child, before the child itself is killed.
    struct EndTree(Vec<Identity>);

    impl Drop for EndTree {
        fn drop(&mut self) {
            for identity in &self.0 {
                let _ = signal(identity, Signal::SIGKILL);
            }
        }
    }

    #[test]
    fn grandchildren_are_found_the_deepest_first() {
        let child = TestChild::start(&["sh", "-c", THREE], &[]);
        child.lines().next().unwrap();
        let tree = EndTree(descendants(child.pid));
        assert_eq!(tree.0.len(), 2, "{:?}", tree.0);
        let parents: Vec<i32> = tree
            .0
            .iter()
            .map(|it| system::process_info(it.pid).unwrap().parent)
            .collect();
        assert_eq!(parents, [tree.0[1].pid, child.pid]);
        assert!(tree.0.iter().all(is_alive));
        assert!(
            descendants(std::process::id() as i32)
                .iter()
                .any(|it| *it == tree.0[0])
        );
    }

    #[test]
    fn a_process_without_children_has_no_descendants() {
        let child = TestChild::start(&["sh", "-c", "echo up >&3; read -r line <&3"], &[]);
        child.lines().next().unwrap();
        assert_eq!(descendants(child.pid), []);
    }

    #[test]
    fn a_descendant_is_signalled_and_dead_afterwards() {
        let mut child = TestChild::start(&["sh", "-c", THREE], &[]);
        child.lines().next().unwrap();
        let tree = EndTree(descendants(child.pid));
        // The deepest dies, so the shells above return from their `wait` and end too.
        assert!(signal(&tree.0[0], Signal::SIGKILL).unwrap());
        child.end();
        assert!(!is_alive(&tree.0[0]));
        assert!(!is_alive(&tree.0[1]));
        assert!(!signal(&tree.0[0], Signal::SIGKILL).unwrap());
    }

    #[test]
    fn a_zombie_is_dead() {
        let mut child = TestChild::start(&["sh", "-c", "read -r line <&3"], &[]);
        let identity = identify(child.pid);
        assert!(is_alive(&identity));
        process::signal(child.pid, Signal::SIGKILL).unwrap();
        process::wait_until_ended(child.pid).unwrap();
        assert!(!is_alive(&identity));
        assert!(!signal(&identity, Signal::SIGKILL).unwrap());
        child.end();
        assert!(!is_alive(&identity));
        assert!(!signal(&identity, Signal::SIGKILL).unwrap());
    }

    #[test]
    fn a_process_with_another_start_time_is_never_signalled() {
        let child = TestChild::start(
            &[
                "sh",
                "-c",
                "read -r line <&3; echo $line >&3; read -r line <&3",
            ],
            &[],
        );
        let genuine = identify(child.pid);
        for start_time in [genuine.start_time - 1, genuine.start_time + 1] {
            let stranger = Identity {
                start_time,
                ..genuine
            };
            assert!(!is_alive(&stranger));
            assert!(!signal(&stranger, Signal::SIGKILL).unwrap());
        }
        // It answers, so it got no SIGKILL.
        channel::send(
            child.channel.as_fd(),
            &[IoSlice::new(b"still here\n")],
            None,
        )
        .unwrap();
        assert_eq!(child.lines().next().unwrap(), "still here");
        assert!(is_alive(&genuine));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_name_with_spaces_and_parentheses_is_no_field() {
        let tail = "1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 10 11\n";
        for name in ["cat", "a) R 1 (b", ") Z 2 (", "tmux: server"] {
            let info =
                system::parse_stat(321, format!("321 ({name}) S 77 {tail}").as_bytes()).unwrap();
            let expected = ProcessInfo {
                identity: Identity {
                    pid: 321,
                    start_time: 98765,
                },
                parent: 77,
                is_zombie: false,
            };
            assert_eq!(info, expected, "{name}");
        }
        let zombie = system::parse_stat(321, format!("321 (x) Z 77 {tail}").as_bytes()).unwrap();
        assert!(zombie.is_zombie);
        for broken in [
            "",
            "321 (x",
            "321 (x)",
            "321 (x) S",
            "321 (x) S 77 1 1 0",
            "321 (x) S y",
        ] {
            assert_eq!(
                system::parse_stat(321, broken.as_bytes()),
                None,
                "{broken:?}"
            );
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_real_process_with_such_a_name_is_found() {
        let script = "printf 'a) Z 1 (b' >/proc/self/comm; echo up >&3; read -r line <&3";
        let child = TestChild::start(&["sh", "-c", script], &[]);
        child.lines().next().unwrap();
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", child.pid)).unwrap();
        assert_eq!(comm, "a) Z 1 (b\n");
        let identity = identify(child.pid);
        assert!(is_alive(&identity));
        assert!(descendants(std::process::id() as i32).contains(&identity));
    }

    #[test]
    fn a_process_that_does_not_exist_has_no_descendants() {
        for pid in [0, -1, i32::MAX] {
            assert_eq!(descendants(pid), []);
            assert!(!is_alive(&Identity { pid, start_time: 1 }));
        }
    }
}
