//! Handshake with the workers, then the loop.

use std::collections::VecDeque;
use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, IoSlice, IoSliceMut, Write};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, SockaddrIn6, accept4,
    bind, listen, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use serde_json::{Value, json};

use super::pace::Pace;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Answers of a worker to one connection: that the descriptor came, and that it is accepted.
const LINES_PER_CONNECTION: usize = 2;
const BACKLOG: i32 = 511;
/// As much as libuv reads at once.
const CHUNK: usize = 64 * 1024;
const EVENTS: usize = 64;

/// What epoll calls the listener and the parent's channel; workers go by their index.
const LISTENER: u64 = u64::MAX;
const PARENT: u64 = u64::MAX - 1;

/// A worker's channel, and the connections that it has not taken yet.
struct Worker {
    channel: UnixStream,
    handed: VecDeque<OwnedFd>,
    lines: usize,
}

pub(super) fn run() -> Outcome<()> {
    let args: Vec<String> = env::args().collect();
    let [_, port, count, script, rest @ ..] = args.as_slice() else {
        return Err("usage: floor PORT WORKERS SCRIPT [paced]".into());
    };
    let pace = rest.iter().any(|arg| arg == "paced").then(Pace::new);
    let mut parent = parent_channel()?;
    let port: u16 = port.parse()?;
    let listener = bind_port(port)?;
    let mut workers = Vec::new();
    for id in 1..=count.parse()? {
        workers.push(start_worker(id, script, port)?);
    }
    listen(&listener, Backlog::new(BACKLOG)?)?;
    parent.write_all(b"{\"action\":\"egg-ready\"}\n")?;
    serve(&listener, &parent, &mut workers, pace.as_ref())
}

/// The channel to whoever started this: Node tells its number.
fn parent_channel() -> Outcome<UnixStream> {
    let number = env::var("NODE_CHANNEL_FD")?.parse()?;
    // SAFETY: the parent opened this descriptor for this process, and nothing else here uses it.
    let channel = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&channel, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(channel.into())
}

/// For both families, as Node binds a port.
fn bind_port(port: u16) -> Outcome<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet6, SockType::Stream, flags, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    let address = SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0));
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}

/// Starts a worker of Node's cluster and waits until it listens.
fn start_worker(id: u32, script: &str, port: u16) -> Outcome<Worker> {
    let (channel, theirs) = UnixStream::pair()?;
    fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Command::new(env::var("NODE")?)
        .args([script, &port.to_string()])
        .env("NODE_CHANNEL_FD", theirs.as_raw_fd().to_string())
        .env("NODE_UNIQUE_ID", id.to_string())
        .spawn()?;
    drop(theirs);
    let mut lines = BufReader::new(channel.try_clone()?).lines();
    loop {
        let message: Value =
            serde_json::from_str(&lines.next().ok_or("a worker ended while it started")??)?;
        match message["act"].as_str() {
            Some("queryServer") => answer_query(&channel, &message, port)?,
            Some("listening") => break,
            _ => {}
        }
    }
    channel.set_nonblocking(true)?;
    Ok(Worker {
        channel,
        handed: VecDeque::new(),
        lines: 0,
    })
}

fn answer_query(mut channel: &UnixStream, query: &Value, port: u16) -> Outcome<()> {
    let sockname = json!({ "address": "::", "family": "IPv6", "port": port });
    let answer = json!({
        "cmd": "NODE_CLUSTER", "ack": query["seq"], "seq": 0,
        "errno": null, "key": "floor", "data": null, "sockname": sockname,
    });
    Ok(channel.write_all(format!("{answer}\n").as_bytes())?)
}

fn serve(
    listener: &OwnedFd,
    parent: &UnixStream,
    workers: &mut [Worker],
    pace: Option<&Pace>,
) -> Outcome<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let watch = |name| EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, name);
    epoll.add(listener, watch(LISTENER))?;
    epoll.add(parent, watch(PARENT))?;
    for (index, worker) in workers.iter().enumerate() {
        epoll.add(&worker.channel, watch(index as u64))?;
    }
    let mut events = [EpollEvent::empty(); EVENTS];
    let mut chunk = vec![0; CHUNK];
    let mut handoff = Handoff::default();
    loop {
        if let Some(pace) = pace {
            pace.before_wait();
        }
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            // A tool that attaches, such as strace, interrupts it.
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        if let Some(pace) = pace {
            pace.after_wait();
        }
        for event in &events[..count] {
            match event.data() {
                LISTENER => handoff.accept(listener, workers)?,
                // It says nothing, so this is its end.
                PARENT => return Ok(()),
                index => workers[index as usize].read(&mut chunk)?,
            }
        }
    }
}

/// Whose turn it is, and the line that goes with each connection.
#[derive(Default)]
struct Handoff {
    seq: usize,
    line: Vec<u8>,
}

impl Handoff {
    fn accept(&mut self, listener: &OwnedFd, workers: &mut [Worker]) -> Outcome<()> {
        loop {
            match accept4(listener, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
                Ok(connection) => self.send(connection, workers)?,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The line is short, and few are unread at a time: whole lines with their descriptors are safe.
    fn send(&mut self, connection: OwnedFd, workers: &mut [Worker]) -> Outcome<()> {
        self.seq += 1;
        self.line.clear();
        writeln!(
            self.line,
            "{{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":{{\"cmd\":\"NODE_CLUSTER\",\
             \"act\":\"newconn\",\"key\":\"floor\",\"seq\":{}}}}}",
            self.seq
        )?;
        let worker = &mut workers[self.seq % workers.len()];
        let sent = sendmsg::<()>(
            worker.channel.as_raw_fd(),
            &[IoSlice::new(&self.line)],
            &[ControlMessage::ScmRights(&[connection.as_raw_fd()])],
            MsgFlags::MSG_NOSIGNAL,
            None,
        )?;
        if sent != self.line.len() {
            return Err("the channel of a worker is full".into());
        }
        worker.handed.push_back(connection);
        Ok(())
    }
}

impl Worker {
    /// A read that returns less than asked for has emptied the channel.
    fn read(&mut self, chunk: &mut [u8]) -> Outcome<()> {
        loop {
            let mut control = cmsg_space!([std::os::fd::RawFd; 1]);
            let mut parts = [IoSliceMut::new(chunk)];
            let fd = self.channel.as_raw_fd();
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let bytes = match recvmsg::<()>(fd, &mut parts, Some(&mut control), flags) {
                Ok(message) => message.bytes,
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if bytes == 0 {
                return Err("a worker ended".into());
            }
            self.lines += memchr::memchr_iter(b'\n', &chunk[..bytes]).count();
            while self.lines >= LINES_PER_CONNECTION {
                self.lines -= LINES_PER_CONNECTION;
                self.handed.pop_front();
            }
            if bytes < chunk.len() {
                return Ok(());
            }
        }
    }
}
