//! Starting a child process whose channel is its descriptor 3.
//!
//! `posix_spawn` does not copy the master's page tables, so its cost does not grow with the
//! master's memory, and no code of ours runs between fork and exec.
//!
//! The child gets descriptors 0 to 2 of the master, its channel, and whatever else in this
//! process lacks `FD_CLOEXEC`. Nothing that this crate opens lacks it, and neither does
//! anything that Node opens; a descriptor that another addon or the process' own parent left
//! open for inheritance is passed on, as `child_process` of Node passes it on too on Linux.
//! (glibc 2.34 could close those with `posix_spawn_file_actions_addclosefrom_np`; older
//! versions and musl lack that symbol, and an addon that names it would not load there.)

use std::ffi::{CStr, CString};
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal};

/// The number of the channel in the child; what `NODE_CHANNEL_FD` must say.
pub const CHANNEL_FD: RawFd = 3;

/// The number in the child of the pipe at which it waits, if it does.
pub const GATE_FD: RawFd = 4;

/// Copies of descriptors 0 to 2 stay clear of all numbers that a child uses.
const LOWEST_COPY: RawFd = 10;

/// Where a program without a slash is sought if the environment has no `PATH`, as `execvp` has it.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// What to start.
#[derive(Clone, Copy, Debug)]
pub struct SpawnRequest<'a> {
    /// The program. A name without a slash is sought in the `PATH` of [`env`](Self::env).
    pub program: &'a CStr,
    /// The arguments; by custom the first is the program.
    pub argv: &'a [CString],
    /// The whole environment, as `NAME=value`.
    pub env: &'a [CString],
    /// The child's end of its channel, as [`channel::pair`](super::channel::pair) makes it:
    /// any number but 3.
    pub channel: BorrowedFd<'a>,
    /// What becomes descriptor 4 of the child, if anything does.
    pub gate: Option<BorrowedFd<'a>>,
}

/// Starts a child and returns its process id. The caller reaps it
/// ([`process::try_reap`](super::process::try_reap)) and closes its own descriptor of `channel`.
///
/// The calling thread is held until the child's `exec`, and so knows whether that worked.
///
/// The child starts with an empty signal mask and default actions for all signals, whatever
/// the calling thread blocks or the process ignores.
///
/// # Errors
///
/// The errno of the system: `ENOENT` and `EACCES` for the program, `EAGAIN` and `ENOMEM` for
/// want of processes or memory, `E2BIG` for the environment.
/// [`InvalidInput`](io::ErrorKind::InvalidInput) if `channel` is descriptor 3 itself.
pub fn spawn(request: &SpawnRequest<'_>) -> io::Result<i32> {
    start(request, &standard_descriptors()?, &SigSet::empty())
}

/// The same for a process that is no part of the application: it has `/dev/null` for its
/// standard descriptors, so that nobody waits for their end, and blocks all signals, so that
/// those for the process group do not concern it.
///
/// # Errors
///
/// As of [`spawn`], and where `/dev/null` cannot be opened.
pub fn spawn_aside(request: &SpawnRequest<'_>) -> io::Result<i32> {
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    let stdio = (0..3).map(|number| Ok((number, copy_high(null.as_fd())?)));
    start(
        request,
        &stdio.collect::<nix::Result<Vec<_>>>()?,
        &SigSet::all(),
    )
}

fn start(request: &SpawnRequest<'_>, stdio: &[(RawFd, OwnedFd)], mask: &SigSet) -> io::Result<i32> {
    if request.channel.as_raw_fd() == CHANNEL_FD {
        // Not every libc clears FD_CLOEXEC for a dup2 of a descriptor onto itself.
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the child's end of the channel must not be descriptor 3 in the master",
        ));
    }
    let mut actions = PosixSpawnFileActions::init()?;
    // A copy: its number is that of no target.
    let gate = request.gate.map(copy_high).transpose()?;
    actions.add_dup2(request.channel.as_raw_fd(), CHANNEL_FD)?;
    if let Some(gate) = &gate {
        // After the channel, whose own number may be that of the gate.
        actions.add_dup2(gate.as_raw_fd(), GATE_FD)?;
    }
    for (number, fd) in stdio {
        actions.add_dup2(fd.as_raw_fd(), *number)?;
    }
    let attributes = attributes(mask)?;
    let start = |program: &CStr| {
        posix_spawn(program, &actions, &attributes, request.argv, request.env)
            .map(|pid| pid.as_raw())
    };
    let pid = if request.program.to_bytes().contains(&b'/') {
        start(request.program)?
    } else {
        search(request.program, request.env, start)?
    };
    #[cfg(target_os = "linux")]
    super::adopted::exempt(pid);
    Ok(pid)
}

/// Copies of descriptors 0 to 2, as far as they are open. Node sets `FD_CLOEXEC` on its own at
/// its start, so a child gets them only by a `dup2`, and of another number: not every libc
/// clears the flag for a `dup2` of a descriptor onto itself.
fn standard_descriptors() -> nix::Result<Vec<(RawFd, OwnedFd)>> {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());
    let mut copies = Vec::with_capacity(3);
    for fd in [input.as_fd(), output.as_fd(), error.as_fd()] {
        match copy_high(fd) {
            Ok(copy) => copies.push((fd.as_raw_fd(), copy)),
            Err(Errno::EBADF) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(copies)
}

fn copy_high(fd: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let copy = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(LOWEST_COPY))?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn attributes(mask: &SigSet) -> nix::Result<PosixSpawnAttr> {
    let mut defaults = SigSet::all();
    defaults.remove(Signal::SIGKILL);
    defaults.remove(Signal::SIGSTOP);
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&defaults)?;
    attributes.set_sigmask(mask)?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    Ok(attributes)
}

/// Tries `name` in each directory of the child's `PATH`. `posix_spawnp` would read the `PATH`
/// of this process instead, while JavaScript may be changing it on another thread.
fn search(
    name: &CStr,
    env: &[CString],
    start: impl Fn(&CStr) -> nix::Result<i32>,
) -> io::Result<i32> {
    if name.is_empty() {
        return Err(Errno::ENOENT.into());
    }
    let path = env
        .iter()
        .find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="))
        .unwrap_or(DEFAULT_PATH);
    let mut failure = Errno::ENOENT;
    for directory in path.split(|byte| *byte == b':') {
        // An empty entry stands for the working directory.
        let directory = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        let program = CString::new([directory, b"/", name.to_bytes()].concat())?;
        match start(&program) {
            Ok(pid) => return Ok(pid),
            // As execvp: a file that may not be run is the answer only if no other is found.
            Err(Errno::EACCES) => failure = Errno::EACCES,
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(failure.into())
}

#[cfg(test)]
mod tests {
    use nix::libc;
    use std::collections::VecDeque;
    use std::io::{IoSlice, Read};
    use std::net::TcpStream;

    use super::*;
    use crate::sys::process::ExitStatus;
    use crate::sys::testing::{TestChild, strings, wait_readable};
    use crate::sys::{channel, listener};

    fn try_spawn(program: &str, env: &[&str]) -> io::Error {
        let (_ours, theirs) = channel::pair().unwrap();
        let argv = strings(&[program]);
        let request = SpawnRequest {
            program: &argv[0],
            argv: &argv,
            env: &strings(env),
            channel: theirs.as_fd(),
            gate: None,
        };
        spawn(&request).unwrap_err()
    }

    #[test]
    fn a_program_that_is_not_there_fails_with_its_errno() {
        for (program, errno) in [
            ("/no/such/program", libc::ENOENT),
            ("no-such-program-anywhere", libc::ENOENT),
            ("", libc::ENOENT),
            ("/etc/passwd", libc::EACCES),
        ] {
            let error = try_spawn(program, &["PATH=/bin:/usr/bin"]);
            assert_eq!(error.raw_os_error(), Some(errno), "{program:?}");
        }
    }

    #[test]
    fn a_name_is_sought_in_the_path_of_the_child() {
        let error = try_spawn("sh", &["PATH=/no/such/directory:/etc/passwd"]);
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
        let error = try_spawn("passwd", &["PATH=/etc"]);
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
        let mut child = TestChild::start(&["sh", "-c", "exit 7"], &["PATH=/none::/bin:/usr/bin"]);
        assert_eq!(child.end().code, Some(7));
    }

    #[test]
    fn the_channel_must_not_be_the_target_already() {
        // SAFETY: only the number is looked at.
        let channel = unsafe { BorrowedFd::borrow_raw(CHANNEL_FD) };
        let argv = strings(&["/bin/sh"]);
        let request = SpawnRequest {
            program: &argv[0],
            argv: &argv,
            env: &[],
            channel,
            gate: None,
        };
        assert_eq!(
            spawn(&request).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[test]
    fn the_child_writes_to_its_channel() {
        let mut child = TestChild::start(
            &["sh", "-c", "echo \"$A $0 $1\" >&3", "zero", "one"],
            &["A=b c"],
        );
        assert_eq!(child.output(), "b c zero one\n");
        assert_eq!(child.end().code, Some(0));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_child_waits_at_its_gate_and_sees_it_closed() {
        let (_ours, theirs) = channel::pair().unwrap();
        let (gate, mut opener) = io::pipe().unwrap();
        let (mut output, writer) = io::pipe().unwrap();
        let number = writer.as_raw_fd();
        let script = format!(
            "read first <&4; read rest <&4; echo \"$first|$rest\" >/proc/$PPID/fd/{number}"
        );
        let argv = strings(&["/bin/sh", "-c", &script]);
        let pid = spawn(&SpawnRequest {
            program: &argv[0],
            argv: &argv,
            env: &[],
            channel: theirs.as_fd(),
            gate: Some(gate.as_fd()),
        })
        .unwrap();
        drop(gate);
        assert_eq!(
            crate::sys::process::try_reap(pid).unwrap(),
            None,
            "it waits"
        );
        io::Write::write_all(&mut opener, b"7\n").unwrap();
        drop(opener);
        crate::sys::process::wait(pid).unwrap();
        drop(writer);
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        assert_eq!(text, "7|\n");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn signals_of_the_child_are_at_their_defaults() {
        use nix::sys::signal::{SigmaskHow, pthread_sigmask};

        // The test harness ignores SIGPIPE, and this thread blocks two more.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.add(Signal::SIGUSR2);
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&blocked), Some(&mut before)).unwrap();
        // Not a shell, nor Node: they reset some of it themselves.
        let child = TestChild::start(&["sleep", "60"], &[]);
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid)).unwrap();
        let mut seen = 0;
        for line in status.lines() {
            let Some((name @ ("SigBlk:" | "SigIgn:"), set)) = line.split_once('\t') else {
                continue;
            };
            seen += 1;
            let set = u64::from_str_radix(set, 16).unwrap();
            // The libc keeps signals 32 to 34 for its threads, and glibc ignores them here.
            assert_eq!(set & !(0b111 << 31), 0, "{name}");
        }
        assert_eq!(seen, 2, "{status}");
    }

    #[test]
    fn a_later_sibling_does_not_hold_a_channel_open() {
        // Only builtins, so that a failure leaves no process behind.
        let script = "read -r line <&3; exit 4";
        let mut first = TestChild::start(&["sh", "-c", script], &[]);
        let mut second = TestChild::start(&["sh", "-c", script], &[]);
        // `first` sees the end of its channel only if `second` inherited no copy of it.
        let (ours, _) = channel::pair().unwrap();
        drop(std::mem::replace(&mut first.channel, ours));
        assert_eq!(first.end().code, Some(4));
        assert_eq!(second.try_reap().unwrap(), None);
    }

    #[test]
    fn node_speaks_over_its_channel() {
        let mut child = TestChild::node(
            "process.send({ env: Object.keys(process.env), a: process.env.A, pid: process.pid })",
            &["A=ü b"],
        );
        let line = child.lines().next().unwrap();
        let message: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["pid"], child.pid);
        assert_eq!(message["a"], "ü b");
        assert_eq!(message["env"], serde_json::json!(["A", "PATH"]));
        assert_eq!(
            child.end(),
            ExitStatus {
                code: Some(0),
                signal: None
            }
        );
    }

    #[test]
    fn node_ends_when_its_channel_does() {
        let mut child = TestChild::node("process.on('message', () => {}); process.send('up')", &[]);
        assert_eq!(child.lines().next().unwrap(), "\"up\"");
        let (ours, _) = channel::pair().unwrap();
        drop(std::mem::replace(&mut child.channel, ours));
        assert_eq!(child.end().code, Some(0));
    }

    #[test]
    fn node_takes_a_connection_and_answers_it() {
        let child = TestChild::node(
            "process.on('message', (message, socket) => socket.end(message + ' from ' + process.pid))",
            &[],
        );
        let server = listener::tcp(Some([127, 0, 0, 1].into()), 0, false, Some(0)).unwrap();
        let address = listener::local_address(server.as_fd()).unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        wait_readable(&server);
        let (connection, _) = listener::accept(server.as_fd()).unwrap();

        let body = br#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"hello"}"#;
        let channel = child.channel.as_fd();
        assert_eq!(
            channel::send(channel, &[IoSlice::new(body)], None).unwrap(),
            body.len()
        );
        let handle = Some(connection.as_fd());
        assert_eq!(
            channel::send(channel, &[IoSlice::new(b"\n")], handle).unwrap(),
            1
        );

        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, format!("hello from {}", child.pid));
        wait_readable(&child.channel);
        let mut buf = [0; 256];
        let got = channel::receive(channel, &mut buf, &mut VecDeque::new()).unwrap();
        assert_eq!(&buf[..got.bytes], b"{\"cmd\":\"NODE_HANDLE_ACK\"}\n");
    }

    #[test]
    fn a_connection_of_node_comes_with_its_line() {
        let child = TestChild::node(
            "const net = require('net'); const server = net.createServer();
             server.listen(0, '127.0.0.1', () => {
               const client = net.connect(server.address().port);
               client.on('data', () => process.exit(9));
               server.on('connection', socket => process.send('conn', socket));
             })",
            &[],
        );
        let mut fds = VecDeque::new();
        let mut buf = [0; 1024];
        wait_readable(&child.channel);
        let got = channel::receive(child.channel.as_fd(), &mut buf, &mut fds).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&buf[..got.bytes]).unwrap();
        assert_eq!(line["cmd"], "NODE_HANDLE");
        assert_eq!(fds.len(), 1);
        let socket = TcpStream::from(fds.pop_front().unwrap());
        std::io::Write::write_all(&mut &socket, b"answer").unwrap();
        let mut child = child;
        assert_eq!(child.end().code, Some(9));
    }
}
