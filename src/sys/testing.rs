//! Helpers of this layer's tests: waiting for descriptors with a limit, and children that
//! are always ended.

use std::ffi::CString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;

use super::process::{self, ExitStatus, Signal};
use super::{channel, spawn};

/// How long anything in a test may take, in ms. Node starts slowly on a loaded machine.
const LIMIT_MS: u16 = 30_000;

/// Waits until `fd` is readable or at its end.
pub fn wait_readable(fd: &impl AsFd) {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut fds, PollTimeout::from(LIMIT_MS)).unwrap();
    assert_eq!(ready, 1, "nothing happened within {LIMIT_MS} ms");
}

/// Is `fd` readable or at its end by now?
#[cfg(target_os = "linux")]
pub fn is_readable(fd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

/// Do both descriptors name the same socket, pipe or file?
pub fn same_file(a: &impl AsFd, b: &impl AsFd) -> bool {
    let (a, b) = (fstat(a.as_fd()).unwrap(), fstat(b.as_fd()).unwrap());
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// A list of C strings.
pub fn strings(list: &[&str]) -> Vec<CString> {
    list.iter()
        .map(|text| CString::new(*text).unwrap())
        .collect()
}

/// A child made by [`spawn::spawn`], killed and reaped when the test ends.
pub struct TestChild {
    pub pid: i32,
    pub channel: OwnedFd,
    reaped: bool,
}

impl TestChild {
    /// Starts `argv[0]`, looked up in `$PATH`, with `PATH` and `env` as its environment.
    pub fn start(argv: &[&str], env: &[&str]) -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        let path = format!("PATH={}", std::env::var("PATH").unwrap());
        let env: Vec<&str> = env.iter().copied().chain([path.as_str()]).collect();
        let argv = strings(argv);
        let pid = spawn::spawn(&spawn::SpawnRequest {
            program: &argv[0],
            argv: &argv,
            env: &strings(&env),
            channel: theirs.as_fd(),
            gate: None,
        })
        .unwrap();
        Self {
            pid,
            channel: ours,
            reaped: false,
        }
    }

    /// Starts a Node child with an IPC channel that runs `script`.
    pub fn node(script: &str, env: &[&str]) -> Self {
        let env: Vec<&str> = env.iter().copied().chain(["NODE_CHANNEL_FD=3"]).collect();
        Self::start(&["node", "-e", script], &env)
    }

    /// Lines that the child writes to its channel.
    pub fn lines(&self) -> impl Iterator<Item = String> + use<> {
        self.reader().lines().map(|line| line.unwrap())
    }

    /// Everything that the child writes until the channel ends.
    pub fn output(&self) -> String {
        let mut text = String::new();
        self.reader().read_to_string(&mut text).unwrap();
        text
    }

    fn reader(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::from(self.channel.try_clone().unwrap());
        stream.set_nonblocking(false).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_millis(LIMIT_MS.into())))
            .unwrap();
        BufReader::new(stream)
    }

    /// Waits for its end, and reaps it.
    pub fn end(&mut self) -> ExitStatus {
        if let Ok(pidfd) = process::open(self.pid) {
            wait_readable(&pidfd);
        }
        let status = process::wait(self.pid).unwrap();
        self.reaped = true;
        status
    }

    /// As [`process::try_reap`].
    pub fn try_reap(&mut self) -> io::Result<Option<ExitStatus>> {
        let result = process::try_reap(self.pid);
        self.reaped |= matches!(result, Ok(Some(_)));
        result
    }
}

impl Drop for TestChild {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = process::signal(self.pid, Signal::SIGKILL);
            let _ = process::wait(self.pid);
        }
    }
}
