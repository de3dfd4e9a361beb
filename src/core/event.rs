//! Every type that crosses the border of the core: what it is told ([`Input`]), what it
//! wants done ([`Output`]) and what it tells the JavaScript face ([`Event`]).
//!
//! Nothing here does I/O. File descriptors are named by [`ConnId`] and [`ListenerId`]; the
//! driver keeps the tables that turn them into real descriptors.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use super::client_key::ClientKey;
use crate::ipc::message::{ChildMessage, UserMessage};

/// Names one child for the life of the master; numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildId {
    /// The n-th agent process, from 1.
    Agent(u32),
    /// The app worker whose `cluster.worker.id` this is, from 1.
    App(u32),
}

/// Names one accepted connection while the master holds its duplicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Names one socket that the master bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u32);

/// A descriptor that travels with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleRef {
    /// An accepted connection.
    Conn(ConnId),
    /// A bound socket that the worker shares.
    Listener(ListenerId),
}

/// A frame on its way to a child, with the descriptor named as the core names it.
pub type Frame = crate::ipc::outbox::Frame<HandleRef>;

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// The JavaScript face asks for something.
    Command(Command),
    /// The process asked for by [`Output::Spawn`] exists. The first that is heard of a child,
    /// also of one that has ended already.
    Spawned {
        /// Which child.
        child: ChildId,
        /// Its process id.
        pid: i32,
    },
    /// The process asked for by [`Output::Spawn`] could not be made.
    SpawnFailed {
        /// Which child.
        child: ChildId,
        /// The system's reason.
        reason: String,
    },
    /// A complete message from a child. A descriptor that came with it is already closed.
    Message {
        /// The sender.
        child: ChildId,
        /// What it said.
        message: ChildMessage,
    },
    /// A line that is no message of Node's channel. The channel stays open.
    BadLine {
        /// The sender.
        child: ChildId,
        /// What was wrong with it.
        reason: String,
    },
    /// The child's event loop has taken the connection's descriptor (`NODE_HANDLE_ACK`).
    HandleAcked {
        /// The receiver.
        child: ChildId,
        /// What it took.
        conn: ConnId,
    },
    /// The child got the line without the descriptor (`NODE_HANDLE_NACK`).
    HandleRefused {
        /// The receiver.
        child: ChildId,
        /// What it did not get.
        conn: ConnId,
    },
    /// The child's event loop has answered a ping.
    Pong {
        /// Who answered.
        child: ChildId,
    },
    /// The child is not read for the time being (it sends to one that does not read): its
    /// answers wait in the channel.
    ReadingPaused {
        /// Who is not read.
        child: ChildId,
    },
    /// The child is read again.
    ReadingResumed {
        /// Who is read.
        child: ChildId,
    },
    /// Nothing can be written to the child for the time being, because the system is short of
    /// something: it does not hear what it is asked.
    WritingPaused {
        /// Who is not written to.
        child: ChildId,
    },
    /// The child is written to again.
    WritingResumed {
        /// Who is written to.
        child: ChildId,
    },
    /// The outbox of a child holds more than its high-water mark.
    OutboxFull {
        /// The slow receiver.
        child: ChildId,
    },
    /// The outbox of a child has gone below its low-water mark again.
    OutboxDrained {
        /// The receiver.
        child: ChildId,
    },
    /// More waits for the parent than may.
    ParentFull,
    /// Most of it is read, or the parent has closed its channel.
    ParentDrained,
    /// The channel is gone: read to its end, broken, or closed by [`Output::Disconnect`].
    Disconnected {
        /// Whose channel.
        child: ChildId,
    },
    /// The child has ended and is reaped. Always after its `Disconnected`.
    Exited {
        /// Which child.
        child: ChildId,
        /// How it ended.
        status: ExitStatus,
    },
    /// The listening sockets that the process was started with. Once, before the start.
    Inherited(Vec<InheritedSocket>),
    /// Answer to [`Output::Listen`].
    Listening {
        /// Which listener.
        listener: ListenerId,
        /// The address it really has; `None` for unix sockets and foreign descriptors.
        local: Option<SocketAddr>,
    },
    /// Answer to [`Output::Listen`] that failed.
    ListenFailed {
        /// Which listener. It does not exist afterwards.
        listener: ListenerId,
        /// The positive errno of the system call that failed.
        errno: i32,
    },
    /// A new connection. The core owns it until it is released or closed.
    Accepted {
        /// The listener it came in by.
        listener: ListenerId,
        /// Its name.
        conn: ConnId,
        /// The client's address; `None` for unix sockets or a client that is gone already.
        peer: Option<IpAddr>,
    },
    /// Answer to [`Output::Peek`].
    Peeked {
        /// The connection.
        conn: ConnId,
        /// What was seen.
        head: Peeked,
    },
    /// Answer to [`Output::AcceptRest`]: what waited has come as [`Input::Accepted`].
    AcceptedRest {
        /// The listener.
        listener: ListenerId,
    },
    /// `accept` failed for want of descriptors or memory; accepting pauses for a moment.
    AcceptFailed {
        /// The listener.
        listener: ListenerId,
        /// The positive errno.
        errno: i32,
    },
    /// Answer to [`Output::CheckUntouched`].
    Checked {
        /// The connection.
        conn: ConnId,
        /// Nothing of it has been read, and nothing was written to it.
        untouched: bool,
    },
    /// Answer to [`Output::FindUntouched`].
    UntouchedFound {
        /// Those of which nothing has been read and to which nothing was written, in the order in
        /// which they were asked for.
        conns: Vec<ConnId>,
    },
    /// Answer to [`Output::AskStack`].
    Stack {
        /// Who hangs.
        child: ChildId,
        /// The innermost frames, or why they are not known.
        stack: Result<Vec<StackFrame>, String>,
    },
    /// Answer to [`Output::CountDescendants`].
    Descendants {
        /// The child whose descendants were listed when it was first signalled.
        child: ChildId,
        /// How many of them are still alive.
        alive: usize,
    },
}

/// What is to be seen of a connection.
#[derive(Debug)]
pub enum Peeked {
    /// All that is there, up to [`super::head::LIMIT`], and more than was asked for.
    Bytes(Bytes),
    /// There will be no more than was seen, or it cannot be awaited.
    NoMore,
    /// The client has gone without a byte.
    Gone,
}

/// What the JavaScript face asks for.
#[derive(Debug)]
pub enum Command {
    /// Start: fork the agent, then the app workers.
    Start,
    /// Route a message of the master's own or of the parent's.
    Send {
        /// Who speaks.
        from: Origin,
        /// The message, a JSON object.
        message: UserMessage,
    },
    /// Replace the app workers.
    Reload,
    /// Replace the agent, then the app workers.
    ReloadWithAgent,
    /// End everything, in order.
    Close,
}

/// What an operator asks for while the cluster runs; see [`Core::steer`](super::Core::steer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    /// Replace the app workers, on request the agent before them.
    Reload {
        /// The agent, too.
        agent: bool,
    },
    /// Replace the worker of one slot, as a reload does it.
    Restart {
        /// The slot, from 0.
        slot: u32,
    },
    /// Change the number of app workers.
    Scale {
        /// How many there shall be, at least 1.
        workers: u32,
    },
    /// Leave new connections to the kernel's queue.
    Pause,
    /// Accept again.
    Resume,
    /// End everything, in order.
    Stop,
}

impl Steer {
    /// As the paths of the control socket call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reload { .. } => "reload",
            Self::Restart { .. } => "restart",
            Self::Scale { .. } => "scale",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Stop => "stop",
        }
    }
}

/// What comes of something that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steered {
    /// It is done, or on its way.
    Done,
    /// It was so already.
    Unchanged,
    /// The reload with this number does it; it may be waiting for another one.
    Reload {
        /// Its number, from 1.
        number: u64,
    },
}

/// Why nothing is done about what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It makes sense only while the application serves.
    #[error("the master is {0}: this needs one that is running")]
    NotRunning(&'static str),
    /// Workers are being replaced.
    #[error("a reload is under way: ask again when it is over")]
    Reloading,
    /// There is no such slot.
    #[error("there is no slot {slot}: the slots are 0 to {last}")]
    NoSlot {
        /// What was asked for.
        slot: u32,
        /// The last there is.
        last: u32,
    },
    /// A cluster of no workers, or of more than a machine has.
    #[error("the number of workers must be 1 to {MAX_WORKERS}, not {0}")]
    BadCount(u32),
    /// Threads open their ports by themselves.
    #[error("this is not possible with startMode worker_threads")]
    Threads,
    /// Those that would stay do not serve.
    #[error("none of the workers that would stay is ready: nobody would serve")]
    NobodyLeft,
    /// All listening sockets are those of the workers.
    #[error("the workers accept by themselves: the master has nothing to pause")]
    NothingToPause,
}

/// The most workers there can be.
pub const MAX_WORKERS: u32 = 65_535;

/// Who a message comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The process that started the master and holds its own channel to it.
    Parent,
    /// The master itself.
    Master,
    /// The agent.
    Agent,
    /// An app worker.
    App,
}

/// How a process ended: one of the two is set.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub struct ExitStatus {
    /// The exit code.
    pub code: Option<i32>,
    /// The name of the signal that ended it, as Node writes it (`SIGKILL`).
    pub signal: Option<String>,
}

/// Something to be done.
#[derive(Debug)]
pub enum Output {
    /// Start a child; answered by `Spawned` or `SpawnFailed`.
    Spawn(SpawnSpec),
    /// Let an app worker that waits run its script, as the worker of a slot.
    Release {
        /// Whom.
        child: ChildId,
        /// The slot, from 0 (`CFORK_WORKER_INDEX`).
        slot: u32,
        /// The number of slots (`CFORK_WORKER_COUNT`).
        slots: u32,
    },
    /// Put a frame into the child's outbox.
    Send {
        /// The receiver.
        child: ChildId,
        /// What to write.
        frame: Frame,
    },
    /// Close the master's end of the child's channel; answered by `Disconnected`.
    Disconnect {
        /// Whose channel.
        child: ChildId,
    },
    /// Signal the child and its descendants. They are listed at the first signal, before it is sent.
    Signal {
        /// Whom.
        child: ChildId,
        /// With what.
        signal: Signal,
    },
    /// Open the child's inspector and ask what JavaScript it runs; answered by `Stack`.
    AskStack {
        /// Whom.
        child: ChildId,
    },
    /// Count the descendants listed at the first signal; answered by `Descendants`.
    CountDescendants {
        /// Whose.
        child: ChildId,
    },
    /// Forget the descendants listed for a child.
    ForgetDescendants {
        /// Whose.
        child: ChildId,
    },
    /// Bind a socket (and listen on it); answered by `Listening` or `ListenFailed`.
    Listen {
        /// The name it gets.
        listener: ListenerId,
        /// What to bind.
        spec: ListenSpec,
    },
    /// Start or go on accepting.
    Accept {
        /// On which listener.
        listener: ListenerId,
    },
    /// Leave new connections to the kernel's queue.
    PauseAccept {
        /// On which listener.
        listener: ListenerId,
    },
    /// Accept all that waits in the kernel's queue; answered by `AcceptedRest`.
    AcceptRest {
        /// On which listener.
        listener: ListenerId,
    },
    /// Close a listener (and remove the file of a unix socket).
    CloseListener {
        /// Which one.
        listener: ListenerId,
    },
    /// Look whether anything of a connection was read or written; answered by `Checked`.
    CheckUntouched {
        /// Which one.
        conn: ConnId,
    },
    /// Find out of which connections nothing has been read, and to which nothing was written;
    /// answered by `UntouchedFound`.
    FindUntouched {
        /// Which ones.
        conns: Vec<ConnId>,
    },
    /// Close the master's duplicate of a connection. Where no worker took it, the client sees an end.
    CloseConn {
        /// Which one.
        conn: ConnId,
    },
    /// Look at the first bytes of a connection without taking them, as soon as there are more
    /// than `beyond`; answered by `Peeked`.
    Peek {
        /// Which one.
        conn: ConnId,
        /// How many have been seen.
        beyond: usize,
    },
    /// `Peeked` is not awaited any more.
    EndPeek {
        /// On which connection.
        conn: ConnId,
    },
    /// Take bytes that have been seen off the front of a connection.
    Skip {
        /// Which one.
        conn: ConnId,
        /// How many.
        bytes: usize,
    },
    /// Nobody has to wait for the parent any more: what is sent to it is dropped from now on.
    ForgetParent,
    /// Tell the service manager.
    Notify(Notice),
    /// Tell the JavaScript face.
    Emit(Event),
}

/// What a service manager, such as systemd, is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// How the cluster stands.
    State {
        /// The new state, if it is another one.
        change: Option<ServiceState>,
        /// In words for operators; one line.
        status: String,
        /// Do not give up on what goes on for so long from now on.
        extend: Option<Duration>,
    },
    /// A sign of life.
    Alive,
}

/// The state of the whole cluster as a service manager knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceState {
    /// It does not serve yet.
    #[default]
    Starting,
    /// It serves.
    Ready,
    /// It serves, and replaces all workers.
    Reloading {
        /// Which reload it is: one can follow the other.
        number: u64,
    },
    /// It ends.
    Stopping,
}

/// The two signals that end a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks it to end (`SIGTERM`).
    Terminate,
    /// Ends it (`SIGKILL`).
    Kill,
}

/// What is special to one child. What all children share (program, script, environment)
/// is the driver's launch configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct SpawnSpec {
    /// Which child; its kind chooses the script.
    pub child: ChildId,
    /// `--inspect-port` for this child, appended to the inherited `execArgv`.
    pub inspect_port: Option<u16>,
    /// The slot of an app worker, from 0 (`CFORK_WORKER_INDEX`).
    pub slot: Option<u32>,
    /// The number of slots (`CFORK_WORKER_COUNT`).
    pub slots: u32,
    /// It waits before it runs its script, until [`Output::Release`].
    pub waits: bool,
}

/// What to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// The kind of socket and its address.
    pub target: ListenTarget,
    /// `Some(backlog)`: listen and accept here. `None`: only bind, workers share the socket.
    pub backlog: Option<i32>,
}

/// Kinds of sockets that a worker can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenTarget {
    /// TCP. Without an address: `[::]` for both families, else `0.0.0.0`.
    Tcp {
        /// The address, or all.
        address: Option<IpAddr>,
        /// The port; 0 lets the kernel choose.
        port: u16,
        /// Do not serve IPv4 on an IPv6 socket.
        ipv6_only: bool,
    },
    /// A unix socket.
    Pipe {
        /// Its path.
        path: String,
        /// Readable by everybody.
        readable_all: bool,
        /// Writable by everybody.
        writable_all: bool,
    },
    /// A descriptor that the master process already has.
    Fd(i32),
    /// A listening socket that the process was started with, by its descriptor.
    Inherited(i32),
    /// UDP; never accepted on, always shared.
    Udp {
        /// The address.
        address: IpAddr,
        /// The port; 0 lets the kernel choose.
        port: u16,
        /// Do not serve IPv4 on an IPv6 socket.
        ipv6_only: bool,
        /// Set `SO_REUSEADDR`.
        reuse_addr: bool,
    },
}

/// A listening socket that the process was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InheritedSocket {
    /// Its descriptor.
    pub fd: i32,
    /// What whoever made it calls it.
    pub name: Option<String>,
    /// Where it listens.
    pub place: SocketPlace,
}

/// Where an inherited socket listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketPlace {
    /// TCP.
    Tcp(SocketAddr),
    /// A unix socket at this path; an abstract name has a NUL in front.
    Unix(String),
}

/// For the log: the address, and the name behind it.
impl fmt::Display for InheritedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            SocketPlace::Tcp(address) => write!(f, "{address}")?,
            SocketPlace::Unix(path) => f.write_str(&path.replace('\0', "@"))?,
        }
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// What the core is told once, at birth.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The master's own process id.
    pub master_pid: i32,
    /// The number of app workers, at least 1.
    pub workers: u32,
    /// The public port, where options name one.
    pub port: Option<u16>,
    /// `http` or `https`, until a worker reports otherwise.
    pub protocol: String,
    /// `$HOST`, used in the address when a server has no host of its own.
    pub host: Option<String>,
    /// The port that workers pretend to listen on in sticky mode; `None` without sticky mode.
    pub sticky_port: Option<u16>,
    /// What names a client in sticky mode.
    pub client_key: ClientKey,
    /// A second port that serves plain http; passed on in `egg-ready`.
    pub debug_port: Option<u16>,
    /// Replace an app worker that dies, and check that somebody is alive.
    pub production: bool,
    /// The options as the workers get them, one JSON object.
    pub options: Bytes,
    /// Workers run under the inspector: a worker ended by SIGKILL was ended by the debugger.
    pub is_debug: bool,
    /// `--inspect-port` of the agent, when `is_debug`.
    pub agent_inspect_port: Option<u16>,
    /// The master's own inspector port; workers get the next ones. `None`: no inspector.
    pub app_inspect_base: Option<u16>,
    /// Give listening sockets to the workers instead of handing over connections.
    pub share_listeners: bool,
    /// Agent and app workers are threads of the master's process. Where others have a process
    /// id they have a thread id, and app workers are numbered by their slots, from 1.
    pub threads: bool,
    /// When what has died is started again.
    pub restart: RestartSettings,
    /// Which app workers are started ahead of time.
    pub prestart: PrestartSettings,
    /// How hung children are found; `None`: not at all.
    pub watchdog: Option<WatchdogSettings>,
    /// How long app workers may take from SIGTERM to their end.
    pub app_close_timeout: Duration,
    /// The same for the agent.
    pub agent_close_timeout: Duration,
    /// How long app workers may finish what they have before they are ended. `None`: they
    /// are ended at once.
    pub drain: Option<DrainLimits>,
    /// How many connections may wait for a worker, and for how long.
    pub hold: HoldLimits,
    /// What each child may use of the master.
    pub limits: ChildLimits,
    /// Whether a service manager wants to be told how the cluster stands.
    pub service: Option<ServiceSettings>,
}

/// What a service manager wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Without a sign of life for so long it takes the master for dead; `None`: it wants none.
    pub watchdog: Option<Duration>,
}

/// What one child may use of the master's memory and descriptors, be it broken or hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildLimits {
    /// The longest line that it may send, in bytes. With a longer one it is ended.
    pub line_bytes: usize,
    /// When more bytes wait to be read by it, those who send to it are not read.
    pub outbox_bytes: usize,
    /// When so many wait for so long, it is ended.
    pub stall_timeout: Duration,
    /// How many listeners it may have.
    pub listeners: usize,
}

impl ChildLimits {
    /// When fewer bytes wait than this, those who send to the child are read again.
    pub fn low_water(&self) -> usize {
        self.outbox_bytes / 4
    }
}

impl Default for ChildLimits {
    fn default() -> Self {
        Self {
            line_bytes: 256 << 20,
            outbox_bytes: 16 << 20,
            stall_timeout: Duration::from_secs(30),
            listeners: 256,
        }
    }
}

/// Connections that no worker can take yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldLimits {
    /// How long each may wait.
    pub timeout: Duration,
    /// How many of a listener the master holds, at least 1. The kernel's queue holds more.
    pub connections: usize,
}

/// App workers that are started ahead of time, and wait until they are needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrestartSettings {
    /// Those of the start, beside the agent.
    pub at_start: bool,
    /// How many are kept in reserve: in production for workers that die, elsewhere for a reload.
    pub spares: u32,
}

/// How long a worker may drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainLimits {
    /// For requests.
    pub timeout: Duration,
    /// For connections that have left HTTP.
    pub websocket_timeout: Duration,
}

/// When what has died is started again.
#[derive(Clone, Copy, Debug)]
pub struct RestartSettings {
    /// Who has been ready for so long is stable: its next death is the first again.
    pub stable_time: Duration,
    /// The longest delay.
    pub max_delay: Duration,
    /// More restarts of workers than this within the period: all wait for the longest delay.
    pub intensity_limit: u32,
    /// The period.
    pub intensity_period: Duration,
    /// The master ends when no worker has been ready for so long and restarts do not help.
    pub give_up: Option<Duration>,
    /// Any number: where the spread of the delays begins.
    pub seed: u64,
}

/// How hung children are found, and what is done to them.
#[derive(Clone, Copy, Debug)]
pub struct WatchdogSettings {
    /// An event loop that gives no answer for so long is hung.
    pub timeout: Duration,
    /// A child that is not ready so long after its fork is hung, too; `None`: it may take any time.
    pub boot_timeout: Option<Duration>,
    /// How often a child is asked that has nothing else to answer.
    pub interval: Duration,
    /// Hung children are killed, and so replaced.
    pub kills: bool,
    /// App workers are asked for their JavaScript stack before.
    pub stack: bool,
}

/// One frame of a JavaScript stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StackFrame {
    /// The name of the function; empty if it has none.
    pub function: String,
    /// The URL of its script, or the name of a module of Node.
    pub url: String,
    /// Where in the script, from 1.
    pub line: u32,
    /// Where in the line, from 1.
    pub column: u32,
}

/// Why an app worker is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForkReason {
    /// The first worker of its slot.
    Start,
    /// Its predecessor died.
    Refork,
    /// Its predecessor is being replaced.
    Reload,
    /// An operator wants more workers.
    Scale,
}

/// What becomes of the slot of a worker whose channel has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReforkDecision {
    /// A new worker is started at once.
    Refork,
    /// It died before it was stable, or too many have died: a new worker is started later.
    Later,
    /// The master ends this worker itself, or the application has not started yet.
    Disabled,
    /// Outside production a dead worker stays dead.
    Off,
}

/// The state of an app worker, with the words of Node's `worker.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkerState {
    /// Started, nothing heard yet.
    None,
    /// Node runs in it.
    Online,
    /// It listens.
    Listening,
    /// Its channel is closed.
    Disconnected,
    /// It is reaped.
    Dead,
}

/// An address as a worker reports it in `listening`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerAddress {
    /// 4, 6, or -1 for a unix socket; a string for UDP.
    pub address_type: serde_json::Value,
    /// The host, or the path of a unix socket, or null.
    pub address: Option<String>,
    /// The port.
    pub port: Option<i64>,
    /// A descriptor number, where the worker listens on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd: Option<i64>,
}

/// What the JavaScript face is told, as JSON: `{"type": "agent-forked", …}` with the
/// fields in camelCase.
#[derive(Debug, Serialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// The agent process exists.
    AgentForked {
        /// 1 for the first agent.
        id: u32,
        /// Its process id.
        pid: i32,
        /// Its inspector port, when the master runs under the inspector.
        inspect_port: Option<u16>,
    },
    /// The agent has said `agent-start`.
    AgentStarted {
        /// 1 for the first agent.
        id: u32,
        /// Its process id.
        pid: i32,
        /// Since it was forked, in ms.
        elapsed_ms: u64,
    },
    /// The agent has ended, other than by our closing.
    AgentExited {
        /// 1 for the first agent.
        id: u32,
        /// Its process id.
        pid: i32,
        /// How it ended.
        #[serde(flatten)]
        status: ExitStatus,
        /// A new one comes after this time; null while starting, when the master gives up.
        restart_in_ms: Option<u64>,
    },
    /// A child's event loop has not answered for a moment: new connections go to others.
    Stuck {
        /// `agent` or `app`.
        role: &'static str,
        /// Its number.
        id: u32,
        /// Its process id.
        pid: i32,
        /// For how long it has not answered, in ms.
        silent_ms: u64,
    },
    /// The event loop of a child that was stuck has answered.
    Recovered {
        /// `agent` or `app`.
        role: &'static str,
        /// Its number.
        id: u32,
        /// Its process id.
        pid: i32,
        /// For how long it had not answered, in ms.
        silent_ms: u64,
    },
    /// A child is hung: it has not answered, or not become ready, in the time it has.
    Hung {
        /// `agent` or `app`.
        role: &'static str,
        /// Its number.
        id: u32,
        /// Its process id.
        pid: i32,
        /// For how long it has not answered, or has been booting, in ms.
        silent_ms: u64,
        /// It has never become ready.
        booting: bool,
        /// It is killed; otherwise it is only reported.
        killed: bool,
    },
    /// Where a hung app worker hangs. It is killed now.
    WorkerHangs {
        /// Always `app`.
        role: &'static str,
        /// Its number.
        id: u32,
        /// Its process id.
        pid: i32,
        /// The innermost frames first; empty if they are not known.
        frames: Vec<StackFrame>,
        /// Why they are not known.
        reason: Option<String>,
    },
    /// More workers had to be restarted than the limit allows: they come slower from now on.
    /// Once per stretch.
    RestartLimit {
        /// The limit.
        limit: u32,
        /// The period it is for, in ms.
        period_ms: u64,
    },
    /// No worker has been ready for long, and restarts do not help: the master ends.
    GaveUp {
        /// Since when no worker is ready, in ms.
        none_ready_ms: u64,
        /// The exit code of the master.
        code: i32,
    },
    /// A new agent is about to be forked after the last one died.
    AgentRestarting,
    /// The app workers are about to be forked.
    AppsForking,
    /// An app worker process exists.
    AppForked {
        /// `cluster.worker.id`.
        id: u32,
        /// Its process id.
        pid: i32,
        /// Its slot, from 0.
        slot: u32,
        /// Why it was started.
        reason: ForkReason,
        /// Its inspector port, when the master runs under the inspector.
        inspect_port: Option<u16>,
        /// The ids of all workers that are not gone, this one included.
        workers: Vec<u32>,
    },
    /// An app worker reports that it listens somewhere.
    AppListening {
        /// `cluster.worker.id`.
        id: u32,
        /// Its process id.
        pid: i32,
        /// Where.
        address: WorkerAddress,
        /// It bound the port by itself.
        reuse_port: bool,
    },
    /// An app worker listens on the port of the application: it is ready.
    AppStarted {
        /// `cluster.worker.id`.
        id: u32,
        /// Its process id.
        pid: i32,
        /// Where.
        address: WorkerAddress,
        /// How many workers are still awaited before the application is ready.
        remain: u32,
        /// Since the app workers were first forked, in ms.
        elapsed_ms: u64,
    },
    /// The channel of an app worker has closed.
    AppDisconnected {
        /// `cluster.worker.id`.
        id: u32,
        /// Its process id.
        pid: i32,
        /// It had said that it would leave, or was asked to.
        exited_after_disconnect: bool,
        /// Always `disconnected`.
        state: WorkerState,
        /// What becomes of its slot.
        refork: ReforkDecision,
        /// With `later`: when the new worker comes, in ms.
        refork_in_ms: Option<u64>,
        /// The ids of all workers that are not gone.
        workers: Vec<u32>,
    },
    /// An app worker has ended and is reaped.
    AppExited {
        /// `cluster.worker.id`.
        id: u32,
        /// Its process id.
        pid: i32,
        /// How it ended.
        #[serde(flatten)]
        status: ExitStatus,
        /// It had said that it would leave, or was asked to.
        exited_after_disconnect: bool,
        /// Always `dead`.
        state: WorkerState,
        /// It was replaced by a reload, or is being ended by the closing of the master.
        expected: bool,
        /// A reload ended it.
        reloaded: bool,
        /// Its slot had been given to a new worker when the channel closed.
        reforked: bool,
        /// With `reforked`: after what delay, in ms.
        refork_in_ms: Option<u64>,
        /// The process ids of all workers known at this moment, this one included.
        pids: Vec<i32>,
        /// It ended while the application was starting: the master gives up.
        while_starting: bool,
        /// It was ended by a debugger: the master closes.
        by_debugger: bool,
    },
    /// A process could not be started.
    SpawnFailed {
        /// `agent` or `app`.
        role: &'static str,
        /// Its number.
        id: u32,
        /// The system's reason.
        reason: String,
    },
    /// A worker has told the port and protocol of the application.
    Realport {
        /// The port.
        port: Option<u16>,
        /// `http` or `https`.
        protocol: Option<String>,
    },
    /// All app workers are ready and the public port is open.
    Ready {
        /// The public port.
        port: Option<u16>,
        /// `http` or `https`.
        protocol: String,
        /// A URL, or the path of a unix socket.
        address: String,
        /// Since start, in ms.
        elapsed_ms: u64,
    },
    /// The public port of sticky mode cannot be opened: the master gives up.
    ListenFailed {
        /// The port.
        port: Option<u16>,
        /// The positive errno.
        errno: i32,
    },
    /// Connections that a worker was given and had not taken when it was gone: others get them.
    HandedOn {
        /// The number of the worker that is gone.
        id: u32,
        /// Its process id.
        pid: i32,
        /// How many.
        connections: usize,
    },
    /// Connections that no worker has taken in time are closed. At most once a second.
    HeldTooLong {
        /// How many.
        connections: usize,
        /// How long each could wait, in ms.
        timeout_ms: u64,
    },
    /// `accept` fails for want of descriptors or memory (once per stretch).
    AcceptFailed {
        /// The positive errno.
        errno: i32,
    },
    /// The parent has not read its messages for long. Those of children are dropped until it does.
    ParentDeaf,
    /// The parent reads again.
    ParentReads {
        /// How many messages were dropped.
        dropped: u64,
    },
    /// A message for the master: `master.emit(action, data)`.
    Message {
        /// The message.
        message: Box<RawValue>,
    },
    /// A message for the parent process.
    ToParent {
        /// The message.
        message: Box<RawValue>,
    },
    /// The workers are being replaced.
    ReloadStarted {
        /// How many.
        workers: u32,
        /// Counts reloads and restarts of slots, from 1.
        number: u64,
        /// Only this slot is restarted.
        slot: Option<u32>,
    },
    /// A reload ends the agent; a new one follows, and then the app workers.
    ReloadingAgent,
    /// The agent has ended because a reload wanted it to.
    AgentReplaced {
        /// Its number.
        id: u32,
        /// Its process id.
        pid: i32,
        /// How it ended.
        #[serde(flatten)]
        status: ExitStatus,
    },
    /// All workers have been replaced.
    ReloadDone {
        /// Since it was asked for, in ms.
        elapsed_ms: u64,
        /// Which one.
        number: u64,
        /// Only this slot was restarted.
        slot: Option<u32>,
    },
    /// A new worker failed: the old ones go on serving.
    ReloadFailed {
        /// Why.
        reason: String,
        /// Which one.
        number: u64,
        /// Only this slot was to be restarted.
        slot: Option<u32>,
    },
    /// An operator has changed the number of app workers.
    Scaled {
        /// How many there were.
        from: u32,
        /// How many there will be.
        to: u32,
    },
    /// New connections are left to the kernel's queue.
    Paused,
    /// New connections are accepted again.
    Resumed,
    /// Operators can see and steer the master.
    ControlReady {
        /// The unix socket.
        path: Option<String>,
        /// The address for probes and metrics.
        tcp: Option<String>,
    },
    /// The application listens by a socket that the process was started with.
    SocketTaken {
        /// Its address, and its name.
        socket: String,
    },
    /// The application has started, and listens by none of these that the process was started with.
    SocketsUnused {
        /// Their addresses and names.
        sockets: Vec<String>,
    },
    /// What the process was started with is no socket that it can use.
    SocketIgnored {
        /// The descriptor.
        fd: i32,
        /// What whoever gave it calls it.
        name: Option<String>,
        /// Why.
        reason: String,
    },
    /// The service manager cannot be told anything (once per stretch).
    NotifyFailed {
        /// Where it should be.
        socket: String,
        /// Why.
        reason: String,
    },
    /// Operators cannot do so, or only in part.
    ControlFailed {
        /// What, why, and what to do.
        reason: String,
    },
    /// A worker has sent something that Node's channel does not know.
    BadMessage {
        /// `agent` or `app`.
        role: &'static str,
        /// Its number.
        id: u32,
        /// Its process id.
        pid: i32,
        /// What was wrong.
        reason: String,
    },
    /// A child that does not read its channel is ended, for its messages would fill the memory.
    Unresponsive {
        /// `agent` or `app`.
        role: &'static str,
        /// Its number.
        id: u32,
        /// Its process id.
        pid: i32,
    },
    /// In three checks in a row either no agent or no app worker was alive: the master gives up.
    CheckFailed {
        /// Agents alive.
        agent: u32,
        /// App workers alive.
        worker: u32,
    },
    /// Closing has come to the app workers.
    ClosingApps {
        /// How long they have, in ms.
        timeout_ms: u64,
    },
    /// Closing has come to the agent.
    ClosingAgent {
        /// How long it has, in ms.
        timeout_ms: u64,
        /// There is an agent to end.
        alive: bool,
    },
    /// An app worker has finished all it had; it is ended now.
    AppDrained {
        /// `cluster.worker.id`.
        id: u32,
        /// Its process id.
        pid: i32,
        /// Since it was asked to, in ms.
        elapsed_ms: u64,
    },
    /// An app worker has not finished in time; it is ended now.
    DrainTimedOut {
        /// `cluster.worker.id`.
        id: u32,
        /// Its process id.
        pid: i32,
        /// Since it was asked to, in ms.
        elapsed_ms: u64,
        /// Requests that were not answered; null when the worker has told nothing.
        requests: Option<u32>,
        /// Connections that were open, upgraded ones included; null likewise.
        connections: Option<u32>,
    },
    /// A child, or descendants that it left behind, did not end in time and were killed.
    Killed {
        /// `agent` or `app`.
        role: &'static str,
        /// Its number.
        id: u32,
        /// Its process id.
        pid: i32,
        /// The child itself had ended; only descendants were left.
        exited: bool,
    },
    /// An operator has asked for something through the control socket, and it is done.
    Asked {
        /// `stop`, `reload`, `restart`, `scale`, `pause` or `resume`.
        request: &'static str,
        /// The process that has asked; null where the system does not tell.
        pid: Option<i32>,
        /// What it runs; null likewise.
        command: Option<String>,
    },
    /// Everything has ended. The last event.
    Closed {
        /// The exit code that the master should have.
        code: i32,
    },
    /// The core has failed: a defect. All channels are closed. The last event.
    Fatal {
        /// What the panic said, and where; or why the core could not start.
        reason: String,
        /// The exit code that the master should have.
        code: i32,
        /// Of a panic: the functions that it happened in.
        backtrace: Option<String>,
    },
}

/// A worker as look-ups from JavaScript see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    /// `cluster.worker.id`, or the number of the agent.
    pub id: u32,
    /// Its process id.
    pub pid: i32,
    /// The slot of an app worker.
    pub slot: Option<u32>,
    /// The state, with Node's words.
    pub state: WorkerState,
    /// It has started: the agent said so, or the worker listens on the application's port.
    pub ready: bool,
    /// Its event loop answers, as far as it has been asked.
    pub responsive: bool,
}

/// What is kept of a slot, whoever is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotView {
    /// The slot, from 0; none for the agent's place.
    pub slot: Option<u32>,
    /// Who is in it.
    pub worker: Option<u32>,
    /// How often a new one had to take the place of a dead one.
    pub restarts: u32,
    /// Deaths in a row before it was stable.
    pub strikes: u32,
    /// It is empty, and a new one comes after a delay.
    pub waiting: bool,
    /// How the last one ended that was not ended by the master's will.
    pub last_exit: Option<LastExit>,
    /// What else the master knows of what went wrong last.
    pub last_error: Option<String>,
}

/// The end of a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// Its number.
    pub id: u32,
    /// Its process id.
    pub pid: i32,
    /// How it ended.
    #[serde(flatten)]
    pub status: ExitStatus,
    /// It had been ready.
    pub ready: bool,
}

/// The cluster as look-ups from JavaScript see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// `starting`, `running`, `closing` or `closed`.
    pub phase: &'static str,
    /// The agent, if there is one.
    pub agent: Option<WorkerView>,
    /// The app workers that are not reaped.
    pub workers: Vec<WorkerView>,
    /// The places of the app workers.
    pub slots: Vec<SlotView>,
    /// The place of the agent.
    pub agent_slot: Option<SlotView>,
    /// How many timers are set.
    pub timers: usize,
    /// What has had to wait.
    pub waits: Waits,
}

/// How often messages have had to wait, since the start. A cluster whose processes keep up with
/// each other has zeroes here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waits {
    /// An outbox got above its high-water mark: its child did not read fast enough.
    pub full_outboxes: u64,
    /// A child was no longer read, because others, or JavaScript, did not keep up with it.
    pub paused_senders: u64,
}

impl Snapshot {
    /// What is left when everything has ended.
    pub fn closed() -> Self {
        Self {
            phase: "closed",
            agent: None,
            workers: Vec::new(),
            slots: Vec::new(),
            agent_slot: None,
            waits: Waits::default(),
            timers: 0,
        }
    }
}
