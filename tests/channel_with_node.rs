//! The channel against a real, unmodified Node cluster worker: what the primary says is
//! understood, what the worker says is understood, and descriptors arrive at the right message.

#![allow(
    clippy::unwrap_used,
    reason = "a test ends at the first thing that goes wrong"
)]

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use egg_cluster_rs::ipc::codec::LineDecoder;
use egg_cluster_rs::ipc::encode;
use egg_cluster_rs::ipc::envelope::{build, stamp};
use egg_cluster_rs::ipc::message::{ChildMessage, Family, Line, QueryServer, UserMessage, parse};
use egg_cluster_rs::ipc::outbox::{Flush, Frame, Outbox, Sink};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde_json::{Value, json};
use tempfile::TempDir;

/// No step takes longer than this on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does what it is told to, and tells what it sees.
const SCRIPT: &str = r"
'use strict';
const cluster = require('cluster');
const dgram = require('dgram');
const net = require('net');

const servers = {};
const say = (action, data) => process.send({ action, data });
let bulk = 0;

const steps = {
  listen({ name, args, give }) {
    const server = servers[name] = net.createServer(socket => {
      if (give) return process.send('gift', socket);
      socket.on('error', () => {});
      socket.end(`${name}:${socket.remotePort || ''}`);
    });
    server.on('error', ({ code, errno }) => say('failed', { name, code, errno }));
    server.listen(...args, () => say('listening', { name, address: server.address() }));
  },
  bind({ args }) {
    const socket = dgram.createSocket('udp4');
    socket.on('message', (text, peer) => socket.send(text, peer.port, peer.address));
    socket.bind(...args, () => say('bound', socket.address()));
  },
  block(ms) {
    for (const end = Date.now() + ms; Date.now() < end;);
  },
  bulk(text) {
    bulk += text.length;
  },
  count() {
    say('counted', bulk);
  },
  echo(data, message) {
    process.send(message);
  },
  odd() {
    process.send('just \ud83d a string');
    process.send({ '\ud83d': '\ude00', action: 'odd', to: 'agent', n: 1e21, deep: [[[{}]]] });
    process.send([ 1 ]);
  },
  surrogates({ text }, { from, to }) {
    say('seen', { same: text === 'a\ud83d', from, to });
  },
  connections(name) {
    servers[name].getConnections((err, count) => say('connections', count));
  },
  close(name) {
    servers[name].close(() => say('closed', name));
  },
  leave() {
    cluster.worker.disconnect();
  },
};

process.on('message', (message, socket) => {
  if (message === 'sticky-session:connection') {
    socket.end('sticky:' + socket.remotePort);
  } else {
    steps[message.action](message.data, message);
  }
});
say('ready');
";

/// A worker process and the primary's end of its channel.
struct Worker {
    process: Child,
    channel: UnixStream,
    decoder: LineDecoder,
    outbox: Outbox<u32>,
    handles: Handles,
    /// What the worker has said and nobody has asked for yet.
    inbox: VecDeque<ChildMessage>,
    acks: usize,
    nacks: Vec<u32>,
    /// How many pings were answered.
    pongs: usize,
    /// How many descriptors came in.
    received: usize,
    closed: bool,
    seq: u64,
    _folder: TempDir,
}

/// The descriptors, and how they were sent.
#[derive(Default)]
struct Handles {
    table: HashMap<u32, OwnedFd>,
    /// These are gone when they should be sent.
    vanishing: Vec<u32>,
    with_newline: usize,
    with_whole_line: usize,
}

struct Channel<'a> {
    stream: &'a UnixStream,
    handles: &'a mut Handles,
}

impl Sink<u32> for Channel<'_> {
    fn has(&self, handle: u32) -> bool {
        self.handles.table.contains_key(&handle)
    }

    fn send(&mut self, parts: &[IoSlice<'_>], handle: Option<u32>) -> io::Result<usize> {
        let descriptor = match handle {
            Some(handle) if self.handles.vanishing.contains(&handle) => None,
            Some(handle) => self.handles.table.get(&handle).map(AsRawFd::as_raw_fd),
            None => None,
        };
        if handle.is_some() && descriptor.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let descriptors: Vec<RawFd> = descriptor.into_iter().collect();
        let control = [ControlMessage::ScmRights(&descriptors)];
        let control = &control[..descriptors.len()];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        let count = sendmsg::<()>(self.stream.as_raw_fd(), parts, control, flags, None)?;
        if handle.is_some() && parts[0].starts_with(b"\n") {
            self.handles.with_newline += 1;
        } else if handle.is_some() {
            self.handles.with_whole_line += 1;
        }
        Ok(count)
    }
}

impl Worker {
    /// Starts Node with one end of a socket pair as descriptor 3.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("worker.js");
        std::fs::write(&script, SCRIPT).unwrap();
        let (channel, theirs) = UnixStream::pair().unwrap();
        let process = Command::new("sh")
            .args(["-c", "exec node \"$0\" 3<&0 0</dev/null"])
            .arg(script)
            .env("NODE_CHANNEL_FD", "3")
            .env("NODE_UNIQUE_ID", "1")
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("this test needs `sh` and `node` on the PATH");
        let mut worker = Self {
            process,
            channel,
            decoder: LineDecoder::new(64 << 20),
            outbox: Outbox::new(),
            handles: Handles::default(),
            inbox: VecDeque::new(),
            acks: 0,
            nacks: Vec::new(),
            pongs: 0,
            received: 0,
            closed: false,
            seq: 0,
            _folder: folder,
        };
        worker.expect("online", |said| {
            matches!(said, ChildMessage::Online).then_some(())
        });
        worker.expect_user("ready");
        worker
    }

    /// Writes what can be written.
    fn flush(&mut self) -> Flush {
        let mut sink = Channel {
            stream: &self.channel,
            handles: &mut self.handles,
        };
        self.outbox.flush(&mut sink).unwrap()
    }

    /// One round: write what can be written, wait, read what is there.
    fn turn(&mut self) {
        let (events, wait) = match self.flush() {
            Flush::Drained => (PollFlags::POLLIN, 1000_u16),
            Flush::Blocked => (PollFlags::POLLIN | PollFlags::POLLOUT, 1000),
            Flush::Barred | Flush::Starved => (PollFlags::POLLIN, 5),
        };
        let mut fds = [PollFd::new(self.channel.as_fd(), events)];
        poll(&mut fds, PollTimeout::from(wait)).unwrap();
        self.read();
        while let Some(line) = self.decoder.next_line() {
            self.hear(&line);
        }
    }

    fn read(&mut self) {
        let mut buffer = vec![0; 64 * 1024];
        let mut control = nix::cmsg_space!([RawFd; 8]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let fd = self.channel.as_raw_fd();
        let flags = MsgFlags::MSG_DONTWAIT;
        let count = match recvmsg::<()>(fd, &mut parts, Some(&mut control), flags) {
            Ok(message) => {
                for part in message.cmsgs().unwrap() {
                    if let ControlMessageOwned::ScmRights(descriptors) = part {
                        self.received += descriptors.len();
                        descriptors
                            .into_iter()
                            .for_each(|fd| nix::unistd::close(fd).unwrap());
                    }
                }
                message.bytes
            }
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return,
            Err(nix::Error::ECONNRESET) => 0,
            Err(error) => panic!("{error}"),
        };
        self.closed = count == 0;
        self.decoder.feed(&buffer[..count]).unwrap();
    }

    fn hear(&mut self, line: &Bytes) {
        match parse(line).unwrap() {
            Line::Nack if self.outbox.take_pong() => self.pongs += 1,
            Line::Ack => {
                assert!(!self.outbox.take_pong(), "a ping took a descriptor");
                let handle = self.outbox.acked().expect("an ack that was not due");
                self.handles.table.remove(&handle);
                self.acks += 1;
            }
            Line::Nack => self
                .nacks
                .push(self.outbox.nacked().expect("a nack that was not due")),
            Line::Handle(message) => {
                self.outbox.push_ack();
                self.inbox.push_back(message);
            }
            Line::Plain(message) => self.inbox.push_back(message),
        }
    }

    /// The next line, whatever it is.
    fn next_raw_line(&mut self) -> Bytes {
        loop {
            if let Some(line) = self.decoder.next_line() {
                return line;
            }
            assert!(!self.closed, "the worker left");
            let mut fds = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(1000_u16)).unwrap();
            self.read();
        }
    }

    /// Goes on until the condition holds.
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(!self.closed, "the worker left while {what} was awaited");
            assert!(
                Instant::now() < deadline,
                "no {what}: {} acks, nacks of {:?}, {} messages unheard, the last {:?}",
                self.acks,
                self.nacks,
                self.inbox.len(),
                self.inbox.back()
            );
            self.turn();
        }
    }

    /// Takes the first message that `pick` knows.
    fn expect<T>(&mut self, what: &str, pick: impl Fn(&ChildMessage) -> Option<T>) -> T {
        let mut found = None;
        self.until(what, |worker| {
            let at = worker.inbox.iter().position(|said| pick(said).is_some());
            found = at.and_then(|at| pick(&worker.inbox.remove(at)?));
            found.is_some()
        });
        found.unwrap()
    }

    /// The message of the application with this action, and its `data`.
    fn expect_message(&mut self, action: &str) -> (UserMessage, Value) {
        let message = self.expect(action, |said| match said {
            ChildMessage::User(message) => {
                let named = message.envelope.action.as_deref() == Some(action);
                named.then(|| message.clone())
            }
            _ => None,
        });
        let value: Value = serde_json::from_slice(&message.text).unwrap_or_default();
        let data = value.get("data").cloned().unwrap_or_default();
        (message, data)
    }

    fn expect_user(&mut self, action: &str) -> Value {
        self.expect_message(action).1
    }

    fn expect_query(&mut self) -> QueryServer {
        self.until("queryServer", |worker| {
            let is_query = |said: &ChildMessage| matches!(said, ChildMessage::QueryServer(_));
            worker.inbox.iter().any(is_query)
        });
        let is_query = |said: &ChildMessage| matches!(said, ChildMessage::QueryServer(_));
        let at = self.inbox.iter().position(is_query).unwrap();
        match self.inbox.remove(at) {
            Some(ChildMessage::QueryServer(query)) => query,
            _ => unreachable!("it is there"),
        }
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    fn say(&mut self, line: impl Into<Bytes>) {
        let (head, tail) = (line.into(), Bytes::new());
        self.outbox.push(Frame::Message { head, tail });
    }

    fn tell(&mut self, action: &str, data: &Value) {
        let message = build("master", "app", action, Some(&data.to_string()));
        self.say(message.text);
    }

    /// Makes a descriptor known, and gives it a name.
    fn keep(&mut self, descriptor: impl Into<OwnedFd>) -> u32 {
        let name = u32::try_from(self.next_seq()).unwrap();
        self.handles.table.insert(name, descriptor.into());
        name
    }

    fn give(&mut self, text: impl Into<Bytes>, descriptor: impl Into<OwnedFd>) {
        let (text, handle) = (text.into(), self.keep(descriptor));
        self.outbox.push(Frame::Handle { text, handle });
    }

    fn newconn(&mut self, prefix: &Bytes, descriptor: impl Into<OwnedFd>) -> u64 {
        let (prefix, handle) = (prefix.clone(), self.keep(descriptor));
        let seq = self.next_seq();
        self.outbox.push(Frame::Newconn {
            prefix,
            seq,
            handle,
        });
        seq
    }

    /// Has the worker listen, the primary accepting for it; returns the key and the question.
    fn listen(
        &mut self,
        name: &str,
        args: &Value,
        at: Option<SocketAddr>,
    ) -> (String, QueryServer) {
        self.tell("listen", &json!({ "name": name, "args": args }));
        let query = self.expect_query();
        let (seq, key) = (self.next_seq(), query.listener_key());
        self.say(encode::reply_round_robin(seq, query.seq, &key, None, at));
        assert_eq!(self.expect_user("listening")["name"], name);
        (key, query)
    }

    /// Reads to the end of the channel; returns the exit code. The process ends with its channel.
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while !self.closed {
            assert!(Instant::now() < deadline, "the worker does not leave");
            self.turn();
        }
        self.process.wait().unwrap().code()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connected pair: the client's end, and the accepted one as it goes to a worker.
fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    (client, accepted)
}

fn answer(mut client: impl Read) -> String {
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

fn loopback() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Four thousand sockets are open in the test below.
fn raise_limit() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = hard.min(20_000);
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).unwrap();
    }
}

#[test]
fn two_thousand_connections_behind_one_another_reach_the_right_servers() {
    const CONNECTIONS: usize = 2_000;
    raise_limit();
    let listener = loopback();
    let local = Some(listener.local_addr().unwrap());
    let mut worker = Worker::start();
    let keys = ["a", "b"].map(|name| worker.listen(name, &json!([0, "127.0.0.1"]), local).0);
    assert_ne!(keys[0], keys[1]);
    let prefixes = keys.map(|key| encode::newconn_prefix(&key));

    // The worker lets everything pile up first.
    worker.tell("block", &json!(1000));
    let (mut clients, mut bulk) = (Vec::new(), 0);
    for number in 0..CONNECTIONS {
        let server = (number * number / 3) % 2;
        let (client, accepted) = connect(&listener);
        worker.newconn(&prefixes[server], accepted);
        clients.push((client, ["a", "b"][server]));
        if number % 20 == 7 {
            // Around the size of what Node reads at once: chunks end at or in the next line.
            let length = if number % 40 == 7 {
                70_000
            } else {
                65_370 + number / 10
            };
            bulk += length;
            let _ = worker.flush();
            worker.tell("bulk", &json!("x".repeat(length)));
        }
        if number % 20 < 10 {
            let _ = worker.flush();
        }
        if number == CONNECTIONS / 2 {
            // The second half comes singly, to a worker that keeps up.
            worker.until("half of the acks", |worker| {
                worker.acks == CONNECTIONS / 2 + 1
            });
        }
        if number > CONNECTIONS / 2 && number % 3 == 0 {
            worker.turn();
        }
    }
    let mut accepted = 0;
    worker.until("answers", |worker| {
        worker.inbox.retain(|said| match said {
            ChildMessage::Accepted {
                accepted: taken, ..
            } => {
                assert!(taken);
                accepted += 1;
                false
            }
            _ => true,
        });
        accepted == CONNECTIONS
    });
    assert_eq!((worker.acks, worker.outbox.in_flight()), (CONNECTIONS, 0));
    assert!(worker.nacks.is_empty());
    for (client, name) in clients {
        let port = client.local_addr().unwrap().port();
        assert_eq!(answer(client), format!("{name}:{port}"));
    }
    worker.tell("count", &Value::Null);
    assert_eq!(worker.expect_user("counted"), bulk);
    let handles = &worker.handles;
    assert_eq!(handles.with_newline + handles.with_whole_line, CONNECTIONS);
    assert!(handles.with_newline > 100 && handles.with_whole_line > 100);
}

#[test]
fn pings_among_pipelined_connections_take_none_of_their_descriptors() {
    const CONNECTIONS: usize = 1_000;
    raise_limit();
    let listener = loopback();
    let local = Some(listener.local_addr().unwrap());
    let mut worker = Worker::start();
    let keys = ["a", "b"].map(|name| worker.listen(name, &json!([0, "127.0.0.1"]), local).0);
    let prefixes = keys.map(|key| encode::newconn_prefix(&key));

    let (mut clients, mut pings) = (Vec::new(), 0);
    for number in 0..CONNECTIONS {
        if number % 100 == 0 {
            // What follows piles up unread.
            worker.tell("block", &json!(50));
        }
        let server = (number * number / 3) % 2;
        let (client, accepted) = connect(&listener);
        // Before, between and behind connections, also right behind one that is half written.
        if number % 3 == 0 {
            worker.outbox.push(Frame::Ping);
            pings += 1;
        }
        worker.newconn(&prefixes[server], accepted);
        clients.push((client, ["a", "b"][server]));
        if number % 7 == 0 {
            worker.outbox.push(Frame::Ping);
            pings += 1;
        }
        if number % 20 == 7 {
            worker.tell("bulk", &json!("x".repeat(65_370 + number / 10)));
        }
        if number % 5 < 3 {
            let _ = worker.flush();
        }
        if number % 4 == 0 {
            worker.turn();
        }
    }
    worker.until("all answers", |worker| {
        worker.acks == CONNECTIONS && worker.pongs == pings
    });
    assert!(worker.nacks.is_empty());
    assert_eq!(worker.outbox.in_flight(), 0);
    for (client, name) in clients {
        let port = client.local_addr().unwrap().port();
        assert_eq!(answer(client), format!("{name}:{port}"));
    }
}

/// Why the outbox holds descriptors back behind a ping: without that, this is what happens.
#[test]
fn a_ping_in_front_of_a_descriptor_takes_it() {
    let listener = loopback();
    let local = Some(listener.local_addr().unwrap());
    let mut worker = Worker::start();
    let key = worker.listen("a", &json!([0, "127.0.0.1"]), local).0;
    // Both are read at once: when it has counted, it does not read again before it has blocked.
    worker.tell("count", &Value::Null);
    worker.tell("block", &json!(500));
    worker.expect_user("counted");
    let (_client, accepted) = connect(&listener);
    worker.outbox.push(Frame::Message {
        head: Bytes::from_static(encode::PING),
        tail: Bytes::new(),
    });
    assert_eq!(worker.flush(), Flush::Drained);
    worker.newconn(&encode::newconn_prefix(&key), accepted);
    assert_eq!(worker.flush(), Flush::Drained);
    // The first answer is the ping's, and it is an ack; the connection's own line gets nothing.
    let answers: Vec<Line> = (0..2)
        .map(|_| parse(&worker.next_raw_line()).unwrap())
        .collect();
    assert!(
        matches!(answers[..], [Line::Ack, Line::Nack]),
        "{answers:?}"
    );
}

#[test]
fn long_lines_go_there_and_back() {
    let mut worker = Worker::start();
    let text = "Zeile é😀\u{2028}".repeat(70_000);
    assert!(text.len() > 1_000_000);
    for _ in 0..5 {
        worker.tell("echo", &json!(text));
    }
    for _ in 0..5 {
        assert_eq!(worker.expect_user("echo"), text);
    }
    assert!(worker.outbox.is_empty());
}

#[test]
fn what_a_worker_may_send_is_understood_and_comes_back_the_same() {
    let mut worker = Worker::start();
    worker.tell("odd", &Value::Null);
    let string = worker.expect_message("just \u{FFFD} a string").0;
    let text = r#""just \ud83d a string""#;
    assert_eq!(string.text, format!(r#"{{"action":{text},"data":{text}}}"#));
    let object = worker.expect_message("odd").0;
    assert_eq!(object.envelope.to.as_deref(), Some("agent"));
    worker.expect("an array", |said| {
        matches!(said, ChildMessage::NotRoutable).then_some(())
    });

    let data = r#"{"text":"a\ud83d"}"#;
    let message = build("x", "y", "surrogates", Some(data));
    let (head, tail) = stamp(&message, "agent", Some("app"));
    worker.outbox.push(Frame::Message { head, tail });
    let seen = json!({ "same": true, "from": "agent", "to": "app" });
    assert_eq!(worker.expect_user("seen"), seen);
}

#[test]
fn listening_succeeds_and_fails_as_the_primary_says() {
    let mut worker = Worker::start();
    let listener = loopback();
    let local = listener.local_addr().unwrap();

    worker.tell(
        "listen",
        &json!({ "name": "taken", "args": [local.port()] }),
    );
    let query = worker.expect_query();
    assert_eq!(
        (query.family, query.port),
        (Family::Tcp4, Some(local.port().into()))
    );
    assert_eq!(
        query.listener_key(),
        format!("null:{}:4:undefined:0", local.port())
    );
    let in_use = nix::errno::Errno::EADDRINUSE as i32;
    worker.say(encode::reply_error(0, query.seq, "k", None, in_use));
    let failed = json!({ "name": "taken", "code": "EADDRINUSE", "errno": -in_use });
    assert_eq!(worker.expect_user("failed"), failed);

    // Without a backlog, but with a callback, Node sends `"backlog":false`.
    let (key, query) = worker.listen("tcp", &json!([local.port(), "127.0.0.1"]), Some(local));
    assert_eq!(
        (query.address.as_deref(), query.backlog),
        (Some("127.0.0.1"), 0)
    );
    let address = worker.expect("listening", |said| match said {
        ChildMessage::Listening(address) => Some(address.clone()),
        _ => None,
    });
    assert_eq!(address.port, Some(local.port().into()));

    let (client, accepted) = connect(&listener);
    let port = client.local_addr().unwrap().port();
    let seq = worker.newconn(&encode::newconn_prefix(&key), accepted);
    worker.expect("accepted", |said| {
        matches!(said, ChildMessage::Accepted { ack, accepted: true } if *ack == seq).then_some(())
    });
    assert_eq!(answer(client), format!("tcp:{port}"));

    // A server that is closed, or was never there, refuses.
    worker.tell("close", &json!("tcp"));
    worker.expect("close", |said| {
        matches!(said, ChildMessage::CloseServer { key: closed } if *closed == key).then_some(())
    });
    let (_client, accepted) = connect(&listener);
    let seq = worker.newconn(&encode::newconn_prefix(&key), accepted);
    worker.expect("refusal", |said| {
        matches!(said, ChildMessage::Accepted { ack, accepted: false } if *ack == seq).then_some(())
    });
}

#[test]
fn unix_sockets_with_odd_names_are_served() {
    let mut worker = Worker::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a \"b\"\\.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (key, query) = worker.listen("pipe", &json!([path.to_str()]), None);
    assert_eq!(query.family, Family::Pipe);
    assert_eq!(query.address.as_deref(), path.to_str());
    let client = UnixStream::connect(&path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nonblocking(true).unwrap();
    worker.newconn(&encode::newconn_prefix(&key), accepted);
    worker.until("ack", |worker| worker.acks == 1);
    assert_eq!(answer(client), "pipe:");
}

#[test]
fn shared_sockets_are_served_by_the_worker_itself() {
    let mut worker = Worker::start();
    let listener = loopback();
    let local = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    worker.tell(
        "listen",
        &json!({ "name": "shared", "args": [0, "127.0.0.1"] }),
    );
    let query = worker.expect_query();
    let key = query.listener_key();
    worker.give(
        encode::reply_shared(1, query.seq, &key, None, false),
        listener,
    );
    assert_eq!(
        worker.expect_user("listening")["address"]["port"],
        local.port()
    );
    let client = TcpStream::connect(local).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = client.local_addr().unwrap().port();
    assert_eq!(answer(client), format!("shared:{port}"));

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let local = socket.local_addr().unwrap();
    worker.tell("bind", &json!({ "args": [0, "127.0.0.1"] }));
    let query = worker.expect_query();
    assert_eq!(query.family, Family::Udp4);
    let key = query.listener_key();
    worker.give(encode::reply_shared(2, query.seq, &key, None, true), socket);
    assert_eq!(worker.expect_user("bound")["port"], local.port());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"datagram", local).unwrap();
    let mut buffer = [0; 100];
    let count = client.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..count], b"datagram");
}

#[test]
fn sticky_connections_arrive() {
    let mut worker = Worker::start();
    let listener = loopback();
    let mut clients = Vec::new();
    for _ in 0..50 {
        let (client, accepted) = connect(&listener);
        worker.give(encode::STICKY_CONNECTION, accepted);
        clients.push(client);
    }
    worker.until("acks", |worker| worker.acks == 50);
    for client in clients {
        let port = client.local_addr().unwrap().port();
        assert_eq!(answer(client), format!("sticky:{port}"));
    }
}

#[test]
fn a_descriptor_lost_halfway_harms_no_other_message() {
    let mut worker = Worker::start();
    let listener = loopback();
    let local = Some(listener.local_addr().unwrap());
    let key = worker.listen("a", &json!([0]), local).0;
    let prefix = encode::newconn_prefix(&key);
    worker.tell("block", &json!(200));
    worker.tell("bulk", &json!("x".repeat(60_000)));
    let (lost, accepted) = connect(&listener);
    worker.newconn(&prefix, accepted);
    let name = u32::try_from(worker.seq - 1).unwrap();
    worker.handles.vanishing.push(name);
    let clients: Vec<TcpStream> = (0..20)
        .map(|_| {
            let (client, accepted) = connect(&listener);
            worker.newconn(&prefix, accepted);
            client
        })
        .collect();
    worker.until("acks", |worker| worker.acks == 20);
    assert_eq!(worker.nacks, [name]);
    for client in clients {
        let port = client.local_addr().unwrap().port();
        assert_eq!(answer(client), format!("a:{port}"));
    }
    worker.handles.table.remove(&name);
    assert_eq!(answer(lost), "", "nobody else holds it");
}

#[test]
fn a_socket_that_comes_up_is_acknowledged_and_accounted_for() {
    let mut worker = Worker::start();
    let listener = loopback();
    let local = listener.local_addr().unwrap();
    let args = json!([0, "127.0.0.1"]);
    worker.tell(
        "listen",
        &json!({ "name": "giver", "args": args, "give": true }),
    );
    let query = worker.expect_query();
    let key = query.listener_key();
    worker.say(encode::reply_round_robin(
        1,
        query.seq,
        &key,
        None,
        Some(local),
    ));
    worker.expect_user("listening");
    let (mut client, accepted) = connect(&listener);
    worker.newconn(&encode::newconn_prefix(&key), accepted);
    assert_eq!(worker.expect_user("gift"), "gift");
    assert_eq!(worker.received, 1);

    worker.tell("connections", &json!("giver"));
    let sockets = worker.expect("the question for the count", |said| match said {
        ChildMessage::CountSockets { key } => Some(key.clone()),
        _ => None,
    });
    worker.say(encode::socket_count(&sockets, 3));
    assert_eq!(worker.expect_user("connections"), 3);

    worker.tell("close", &json!("giver"));
    let closing = worker.expect("the question for the end", |said| match said {
        ChildMessage::NotifySocketsClosed { key } => Some(key.clone()),
        _ => None,
    });
    assert_eq!(closing, sockets);
    worker.say(encode::sockets_closed(&closing));
    assert_eq!(worker.expect_user("closed"), "giver");
    client.write_all(b"x").unwrap();
}

#[test]
fn a_worker_leaves_when_it_is_asked_to() {
    let mut worker = Worker::start();
    let local = loopback().local_addr().unwrap();
    let key = worker.listen("a", &json!([0]), Some(local)).0;
    let seq = worker.next_seq();
    worker.say(encode::disconnect(seq));
    worker.expect("close", |said| {
        matches!(said, ChildMessage::CloseServer { key: closed } if *closed == key).then_some(())
    });
    assert_eq!(worker.end(), Some(0));
}

#[test]
fn a_worker_leaves_of_its_own_will_once_that_is_acknowledged() {
    let mut worker = Worker::start();
    worker.tell("leave", &Value::Null);
    let asked = worker.expect("exitedAfterDisconnect", |said| match said {
        ChildMessage::ExitedAfterDisconnect { seq } => Some(*seq),
        _ => None,
    });
    let seq = worker.next_seq();
    worker.say(encode::acknowledge(seq, asked));
    assert_eq!(worker.end(), Some(0));
}
