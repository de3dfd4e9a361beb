//! What a child says: one parsed line.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::envelope::Envelope;

/// One line of the channel.
#[derive(Debug)]
pub enum Line {
    /// The child has taken the oldest descriptor that it had not answered for.
    Ack,
    /// The child got the oldest line of a descriptor, but no descriptor.
    Nack,
    /// A message that brings a descriptor; must be answered with exactly one ack.
    Handle(ChildMessage),
    /// A message without a descriptor.
    Plain(ChildMessage),
}

/// What a child says.
#[derive(Debug)]
pub enum ChildMessage {
    /// Node runs in the worker.
    Online,
    /// The worker wants to listen.
    QueryServer(QueryServer),
    /// A server of the worker listens now.
    Listening(Address),
    /// A server of the worker has closed.
    CloseServer {
        /// The key we gave it.
        key: String,
    },
    /// The worker leaves of its own will and waits for our answer.
    ExitedAfterDisconnect {
        /// To be acknowledged.
        seq: u64,
    },
    /// The answer to a `newconn`.
    Accepted {
        /// The `seq` of the `newconn`.
        ack: u64,
        /// It serves the connection; otherwise it has closed its copy.
        accepted: bool,
    },
    /// It asks when all sockets with this key are closed.
    NotifySocketsClosed {
        /// Its key.
        key: String,
    },
    /// It asks how many sockets with this key are open.
    CountSockets {
        /// Its key.
        key: String,
    },
    /// A message of the application.
    User(UserMessage),
    /// A JSON value that no route exists for: neither an object nor a string.
    NotRoutable,
    /// Internal to Node and of no interest.
    Ignored,
}

/// A message of the application, kept as text.
#[derive(Debug, Clone)]
pub struct UserMessage {
    /// One JSON object, without surrounding white space.
    pub text: Bytes,
    /// What routing needs of it.
    pub envelope: Envelope,
}

/// `queryServer`: a worker wants a listener.
#[derive(Debug)]
pub struct QueryServer {
    /// To be acknowledged.
    pub seq: u64,
    /// The n-th server of this worker at this address.
    pub index: i64,
    /// The address family.
    pub family: Family,
    /// A resolved host, or the path of a unix socket.
    pub address: Option<String>,
    /// The port, -1 for a unix socket.
    pub port: Option<i64>,
    /// A descriptor number in the primary.
    pub fd: Option<i64>,
    /// 1: IPv6 only. 2: reuse port (TCP). 4: reuse address (UDP).
    pub flags: u32,
    /// 0: the default of 511.
    pub backlog: i64,
    /// Everybody may read the unix socket.
    pub readable_all: bool,
    /// Everybody may write to the unix socket.
    pub writable_all: bool,
    /// Data that the first worker gives and all get (TLS ticket keys).
    pub data: Option<Box<RawValue>>,
}

/// The `addressType` of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// 4.
    Tcp4,
    /// 6.
    Tcp6,
    /// -1.
    Pipe,
    /// `"udp4"`.
    Udp4,
    /// `"udp6"`.
    Udp6,
    /// null: the address is a descriptor number.
    Fd,
}

/// `listening`: where a server of a worker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address family.
    pub family: Family,
    /// A host, or the path of a unix socket.
    pub address: Option<String>,
    /// The port really bound; -1 for a unix socket.
    pub port: Option<i64>,
    /// A descriptor number in the primary.
    pub fd: Option<i64>,
}

/// Reads one line.
///
/// # Errors
/// A text of the reason when the line is not JSON or not what its `cmd` and `act` promise.
pub fn parse(line: &Bytes) -> Result<Line, String> {
    todo!("{line:?}")
}
