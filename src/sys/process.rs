//! The end of a child process: noticing it, reaping it, and causing it.
//!
//! Everything works on one process id. Waiting for any child (`waitpid(-1)`) would steal the
//! exit status of processes that JavaScript has spawned, whose `exit` event would then never
//! come; so would a `SIGCHLD` handler of our own, which libuv replaces as it likes.
//!
//! A process id stays taken until its process is reaped. So the one who reaps must be the one
//! who signals: after [`try_reap`] gave a status, the id may belong to a stranger.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::kill;
use nix::unistd::Pid;

pub use nix::sys::signal::Signal;

/// How a process ended: exactly one of the two is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// The exit code, 0 to 255.
    pub code: Option<i32>,
    /// The number of the signal that ended it; [`signal_name`] tells its name.
    pub signal: Option<i32>,
}

impl ExitStatus {
    fn from_raw(raw: libc::c_int) -> Self {
        let status = std::process::ExitStatus::from_raw(raw);
        Self {
            code: status.code(),
            signal: status.signal(),
        }
    }
}

/// This is the thread that the process has begun with, which is that of Node's main program. (By
/// `worker_threads` Node would load a good deal of its library for the same.)
#[cfg(target_os = "linux")]
pub fn is_main_thread() -> bool {
    nix::unistd::gettid() == nix::unistd::getpid()
}

/// This is the thread that the process has begun with.
#[cfg(target_os = "macos")]
pub fn is_main_thread() -> bool {
    // SAFETY: the call has no arguments and touches nothing.
    unsafe { libc::pthread_main_np() == 1 }
}

/// Ends this process at once: no handler runs, and no other thread is waited for.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: it takes no pointer, may be called at any time and on any thread, and does not
    // return.
    unsafe { libc::_exit(code) }
}

/// Opens a pidfd, a descriptor that becomes readable when the process has ended. It does not
/// reap: call [`try_reap`] then. The caller guarantees that the process is not reaped yet.
///
/// # Errors
///
/// [`Unsupported`](io::ErrorKind::Unsupported) on Linux before 5.3, under a seccomp filter that
/// does not know the call, and on macOS: let a thread call [`wait_until_ended`] instead.
/// `ESRCH` if there is no such process; `EMFILE` without a free descriptor.
#[cfg(target_os = "linux")]
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    use std::os::fd::{FromRawFd, RawFd};

    check(pid)?;
    // SAFETY: pidfd_open takes two integers and touches no memory. It always sets FD_CLOEXEC.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if result >= 0 {
        // SAFETY: the kernel has just made this descriptor for us alone.
        return Ok(unsafe { OwnedFd::from_raw_fd(result as RawFd) });
    }
    match Errno::last() {
        // pidfd_open itself never gives EPERM; older seccomp filters do for calls they do not know.
        Errno::ENOSYS | Errno::EPERM => Err(unsupported()),
        error => Err(error.into()),
    }
}

/// Not available here: always fails with [`Unsupported`](io::ErrorKind::Unsupported), so that
/// the caller lets a thread call [`wait_until_ended`].
#[cfg(not(target_os = "linux"))]
pub fn open(pid: i32) -> io::Result<OwnedFd> {
    check(pid)?;
    Err(unsupported())
}

fn unsupported() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "this system has no pidfd_open: wait for the process on a thread",
    )
}

/// Refuses the ids with which the system means groups or all processes.
fn check(pid: i32) -> io::Result<()> {
    if pid > 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{pid} is not the id of one process"),
    ))
}

/// Blocks until the child has ended, reaps it and tells how it ended.
///
/// On a thread of its own prefer [`wait_until_ended`]: from the moment this function reaps,
/// another thread that signals the child may hit a stranger.
///
/// # Errors
///
/// `ECHILD` if the process is not a child of this one or is reaped already.
pub fn wait(pid: i32) -> io::Result<ExitStatus> {
    loop {
        if let Some(status) = waitpid(pid, 0)? {
            return Ok(status);
        }
    }
}

/// Blocks until the child has ended, and leaves it to [`try_reap`] to reap it, so that its id
/// stays taken until then. For a waiting thread where [`open`] is not supported.
///
/// # Errors
///
/// `ECHILD` if the process is not a child of this one or is reaped already.
pub fn wait_until_ended(pid: i32) -> io::Result<()> {
    check(pid)?;
    loop {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
        let flags = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: `info` has room for the siginfo_t that waitid writes.
        let result =
            unsafe { libc::waitid(libc::P_PID, pid as libc::id_t, info.as_mut_ptr(), flags) };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Reaps the child if it has ended; `None` while it runs. Never blocks.
///
/// # Errors
///
/// `ECHILD` if the process is not a child of this one or is reaped already: a second call after
/// a status was given fails.
pub fn try_reap(pid: i32) -> io::Result<Option<ExitStatus>> {
    waitpid(pid, libc::WNOHANG)
}

// Not nix's waitpid: that one fails for a child ended by a real-time signal, after reaping it.
fn waitpid(pid: i32, flags: libc::c_int) -> io::Result<Option<ExitStatus>> {
    check(pid)?;
    loop {
        let mut raw = 0;
        // SAFETY: `raw` is a valid place for the status.
        let result = unsafe { libc::waitpid(pid, &raw mut raw, flags) };
        if result == pid {
            #[cfg(target_os = "linux")]
            super::adopted::forget(pid);
            return Ok(Some(ExitStatus::from_raw(raw)));
        }
        if result == 0 {
            return Ok(None);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends a signal to one process. The caller guarantees that it has not reaped it yet.
///
/// A process that has ended but is not reaped takes any signal without effect, and one that
/// does not exist any more (`ESRCH`) counts as success too: what was asked for has come about.
///
/// # Errors
///
/// `EPERM` if the process has taken another user's identity;
/// [`InvalidInput`](io::ErrorKind::InvalidInput) for an id that means more than one process.
pub fn signal(pid: i32, signal: Signal) -> io::Result<()> {
    check(pid)?;
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The name of a signal as Node gives it (`SIGKILL`). Real-time signals, for which Node has no
/// name, are `SIG` and their number.
#[must_use]
pub fn signal_name(number: i32) -> String {
    Signal::try_from(number).map_or_else(
        |_| format!("SIG{number}"),
        |signal| signal.as_str().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::TestChild;
    #[cfg(target_os = "linux")]
    use crate::sys::testing::{is_readable, wait_readable};

    const FOREVER: &[&str] = &["sh", "-c", "echo up >&3; read -r line <&3"];

    #[test]
    fn a_child_is_reaped_once() {
        let mut child = TestChild::start(&["sh", "-c", "exit 5"], &[]);
        wait_until_ended(child.pid).unwrap();
        let status = child.try_reap().unwrap();
        assert_eq!(
            status,
            Some(ExitStatus {
                code: Some(5),
                signal: None
            })
        );
        let error = try_reap(child.pid).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
        let error = wait(child.pid).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn a_running_child_is_not_reaped() {
        let mut child = TestChild::start(FOREVER, &[]);
        assert_eq!(child.lines().next().unwrap(), "up");
        assert_eq!(child.try_reap().unwrap(), None);
        signal(child.pid, Signal::SIGKILL).unwrap();
        let killed = ExitStatus {
            code: None,
            signal: Some(9),
        };
        assert_eq!(child.end(), killed);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_pidfd_is_readable_when_the_child_has_ended() {
        let mut child = TestChild::start(FOREVER, &[]);
        let pidfd = open(child.pid).unwrap();
        assert!(!is_readable(&pidfd));
        signal(child.pid, Signal::SIGTERM).unwrap();
        wait_readable(&pidfd);
        assert_eq!(child.try_reap().unwrap().unwrap().signal, Some(15));
        let flags = nix::fcntl::fcntl(&pidfd, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, libc::FD_CLOEXEC);
    }

    #[test]
    fn a_process_that_does_not_exist_needs_no_signal() {
        // Above the highest id that a kernel gives.
        signal(i32::MAX, Signal::SIGKILL).unwrap();
        #[cfg(target_os = "linux")]
        assert_eq!(
            open(i32::MAX).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
    }

    #[test]
    fn waiting_without_reaping_keeps_the_status() {
        let mut child = TestChild::start(&["sh", "-c", "exit 0"], &[]);
        wait_until_ended(child.pid).unwrap();
        wait_until_ended(child.pid).unwrap();
        // Not reaped, so its id is still its own, and a signal goes nowhere.
        signal(child.pid, Signal::SIGKILL).unwrap();
        assert_eq!(
            child.end(),
            ExitStatus {
                code: Some(0),
                signal: None
            }
        );
        assert!(wait_until_ended(child.pid).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_ended_by_a_real_time_signal_has_a_status() {
        let mut child = TestChild::start(&["sh", "-c", "kill -40 $$"], &[]);
        assert_eq!(
            child.end(),
            ExitStatus {
                code: None,
                signal: Some(40)
            }
        );
        assert_eq!(signal_name(40), "SIG40");
    }

    #[test]
    fn ids_of_groups_are_refused() {
        for pid in [0, -1, -500] {
            let kinds = [
                open(pid).map(drop).unwrap_err().kind(),
                wait(pid).map(drop).unwrap_err().kind(),
                wait_until_ended(pid).unwrap_err().kind(),
                try_reap(pid).map(drop).unwrap_err().kind(),
                signal(pid, Signal::SIGCONT).unwrap_err().kind(),
            ];
            assert_eq!(kinds, [io::ErrorKind::InvalidInput; 5]);
        }
    }

    #[test]
    fn somebody_elses_process_is_not_waited_for() {
        let error = try_reap(1).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
    }

    #[test]
    fn signals_are_named_as_node_names_them() {
        let child = TestChild::node("process.send(require('os').constants.signals)", &[]);
        let line = child.lines().next().unwrap();
        let names: std::collections::BTreeMap<String, i32> = serde_json::from_str(&line).unwrap();
        assert!(names.len() > 25);
        for (name, number) in names {
            // Second names, which Node does not use for the end of a child.
            if !["SIGIOT", "SIGPOLL", "SIGUNUSED"].contains(&name.as_str()) {
                assert_eq!(signal_name(number), name);
            }
        }
    }
}
