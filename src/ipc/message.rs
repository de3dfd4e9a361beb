//! What a child says: one parsed line.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::envelope::Envelope;
use super::json;

/// One line of the channel.
#[derive(Debug)]
pub enum Line {
    /// The child has taken the oldest descriptor that it had not answered for.
    Ack,
    /// The child got the oldest line of a descriptor, but no descriptor.
    Nack,
    /// A message that brings a descriptor; must be answered with exactly one ack, whatever it
    /// says. What makes no sense inside is [`ChildMessage::Ignored`], never an error.
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
    /// `lib/worker_preload.js` runs in the worker: it can be drained.
    CanDrain,
    /// What a worker that drains has left.
    Draining(InUse),
    /// What a worker serves at this moment, since it was asked.
    Counted(InUse),
    /// A message of the application.
    User(UserMessage),
    /// A JSON value that no route exists for: neither an object nor a string.
    NotRoutable,
    /// Internal to Node and of no interest.
    Ignored,
}

/// What a worker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InUse {
    /// Requests that are not answered to the end.
    pub requests: u32,
    /// Connections of HTTP, with or without such a request.
    pub connections: u32,
    /// Connections that have left HTTP: WebSockets, tunnels.
    pub upgraded: u32,
}

/// A message of the application, kept as text.
#[derive(Debug, Clone)]
pub struct UserMessage {
    /// One JSON object in valid UTF-8, without surrounding white space.
    pub text: Bytes,
    /// What routing needs of it.
    pub envelope: Envelope,
}

impl UserMessage {
    /// The text of its `data`.
    #[must_use]
    pub fn data(&self) -> Option<&RawValue> {
        let text = std::str::from_utf8(&self.text).ok()?;
        let [data] = json::pick(text, &["data"]).ok()?;
        data
    }
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

impl Family {
    /// As Node prints it in the keys of listeners.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp4 => "4",
            Self::Tcp6 => "6",
            Self::Pipe => "-1",
            Self::Udp4 => "udp4",
            Self::Udp6 => "udp6",
            Self::Fd => "null",
        }
    }

    fn read(raw: Option<&RawValue>) -> Result<Self, String> {
        match raw.map_or("null", RawValue::get) {
            "4" => Ok(Self::Tcp4),
            "6" => Ok(Self::Tcp6),
            "-1" => Ok(Self::Pipe),
            "\"udp4\"" => Ok(Self::Udp4),
            "\"udp6\"" => Ok(Self::Udp6),
            "null" => Ok(Self::Fd),
            _ => Err("\"addressType\" is none of 4, 6, -1, udp4, udp6 and null".to_owned()),
        }
    }
}

impl QueryServer {
    /// The key of the listener that is asked for, as a Node primary forms it:
    /// `address:port:addressType:fd:index`, e.g. `null:8080:4:undefined:0`.
    #[must_use]
    pub fn listener_key(&self) -> String {
        let address = self.address.as_deref().unwrap_or("null");
        let port = self.port.map_or("null".to_owned(), |port| port.to_string());
        let fd = self.fd.map_or("undefined".to_owned(), |fd| fd.to_string());
        let (family, index) = (self.family.as_str(), self.index);
        format!("{address}:{port}:{family}:{fd}:{index}")
    }
}

/// Node takes objects whose `cmd` is longer than this and begins with it for its own.
const INTERNAL: &str = "NODE_";

/// How often a message with a descriptor may be wrapped. Node wraps once more when it sends one
/// again after a nack.
const MAX_WRAPS: usize = 4;

/// Reads one line.
///
/// # Errors
/// A text of the reason when the line is not JSON or not what its `cmd` and `act` promise.
pub fn parse(line: &Bytes) -> Result<Line, String> {
    match &line[..] {
        br#"{"cmd":"NODE_HANDLE_ACK"}"# => return Ok(Line::Ack),
        br#"{"cmd":"NODE_HANDLE_NACK"}"# => return Ok(Line::Nack),
        bytes => {
            if let Some((ack, accepted)) = accepted(bytes) {
                return Ok(Line::Plain(ChildMessage::Accepted { ack, accepted }));
            }
        }
    }
    let text = simdutf8::compat::from_utf8(line).map_err(|error| format!("not UTF-8: {error}"))?;
    Ok(match read(line, text)? {
        Reading::Ack => Line::Ack,
        Reading::Nack => Line::Nack,
        Reading::Handle(inner) => Line::Handle(unwrap(line, inner)),
        Reading::Message(message) => Line::Plain(message),
    })
}

/// What one JSON value says; a wrapped message is not looked at yet.
enum Reading<'a> {
    Ack,
    Nack,
    Handle(Option<&'a RawValue>),
    Message(ChildMessage),
}

/// The answer to a `newconn` in exactly the bytes that Node writes: one comes for every connection.
fn accepted(line: &[u8]) -> Option<(u64, bool)> {
    let rest = line.strip_prefix(br#"{"cmd":"NODE_CLUSTER","ack":"#)?;
    let (ack, rest) = number(rest)?;
    let rest = rest.strip_prefix(br#","accepted":"#)?;
    let (accepted, rest) = match rest.strip_prefix(b"true") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix(b"false")?),
    };
    let (_, rest) = number(rest.strip_prefix(br#","seq":"#)?)?;
    (rest == b"}").then_some((ack, accepted))
}

/// The number that `text` begins with, as JSON writes it, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at(end);
    if end > 1 && digits.starts_with(b"0") {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some((digits.parse().ok()?, rest))
}

/// `text` is a part of `line`.
fn read<'a>(line: &Bytes, text: &'a str) -> Result<Reading<'a>, String> {
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    match text.as_bytes().first() {
        None => Err("an empty line".to_owned()),
        Some(b'{') => read_object(line, text),
        Some(first) => {
            json::check(text).map_err(not_json)?;
            Ok(Reading::Message(if *first == b'"' {
                ChildMessage::User(from_string(text))
            } else {
                ChildMessage::NotRoutable
            }))
        }
    }
}

fn not_json(error: serde_json::Error) -> String {
    format!("not JSON: {error}")
}

fn read_object<'a>(line: &Bytes, text: &'a str) -> Result<Reading<'a>, String> {
    const NAMES: [&str; 8] = {
        let [action, from, to, pid, worker_id] = Envelope::KEYS;
        ["cmd", "msg", "key", action, from, to, pid, worker_id]
    };
    let [cmd, msg, key, envelope @ ..] = json::pick(text, &NAMES).map_err(not_json)?;
    let cmd = cmd.and_then(json::string).unwrap_or_default();
    if !cmd.starts_with(INTERNAL) || cmd.len() == INTERNAL.len() {
        return Ok(Reading::Message(ChildMessage::User(UserMessage {
            text: line.slice_ref(text.as_bytes()),
            envelope: Envelope::read(envelope),
        })));
    }
    let key = || required(&cmd, "key", key, string);
    Ok(match &*cmd {
        "NODE_HANDLE" => Reading::Handle(msg),
        "NODE_HANDLE_ACK" => Reading::Ack,
        "NODE_HANDLE_NACK" => Reading::Nack,
        "NODE_CLUSTER" => Reading::Message(read_cluster(text)?),
        "NODE_EGG_CLUSTER_RS" => Reading::Message(read_own(text)?),
        "NODE_SOCKET_NOTIFY_CLOSE" => {
            Reading::Message(ChildMessage::NotifySocketsClosed { key: key()? })
        }
        "NODE_SOCKET_GET_COUNT" => Reading::Message(ChildMessage::CountSockets { key: key()? }),
        _ => Reading::Message(ChildMessage::Ignored),
    })
}

/// A worker may send a mere string; it becomes the `action` and the `data` of a message, with the
/// very text it had.
fn from_string(text: &str) -> UserMessage {
    let action = serde_json::from_str::<&RawValue>(text).ok();
    UserMessage {
        text: Bytes::from(format!(r#"{{"action":{text},"data":{text}}}"#)),
        envelope: Envelope {
            action: action.and_then(json::string).map(Into::into),
            ..Envelope::default()
        },
    }
}

/// The message that came with a descriptor. It must be acknowledged in any case, so that there are
/// no errors here.
fn unwrap(line: &Bytes, mut inner: Option<&RawValue>) -> ChildMessage {
    for _ in 0..MAX_WRAPS {
        let Some(text) = inner else { break };
        match read(line, text.get()) {
            Ok(Reading::Message(message)) => return message,
            Ok(Reading::Handle(wrapped)) => inner = wrapped,
            Ok(Reading::Ack | Reading::Nack) | Err(_) => break,
        }
    }
    ChildMessage::Ignored
}

fn read_cluster(text: &str) -> Result<ChildMessage, String> {
    const NAMES: [&str; 5] = ["act", "ack", "seq", "accepted", "key"];
    let [act, ack, seq, accepted, key] = json::pick(text, &NAMES).map_err(not_json)?;
    let act = act.and_then(json::string).unwrap_or_default();
    Ok(match &*act {
        "" => match optional("reply", "ack", ack, json::integer)? {
            Some(ack) => ChildMessage::Accepted {
                ack,
                accepted: accepted.is_some_and(json::truthy),
            },
            None => ChildMessage::Ignored,
        },
        "online" => ChildMessage::Online,
        "queryServer" => ChildMessage::QueryServer(read_query(text)?),
        "listening" => ChildMessage::Listening(read_address(text)?),
        "close" => ChildMessage::CloseServer {
            key: required(&act, "key", key, string)?,
        },
        "exitedAfterDisconnect" => ChildMessage::ExitedAfterDisconnect {
            seq: required(&act, "seq", seq, json::integer)?,
        },
        _ => ChildMessage::Ignored,
    })
}

/// What `lib/worker_preload.js` says.
fn read_own(text: &str) -> Result<ChildMessage, String> {
    const NAMES: [&str; 4] = ["act", "requests", "connections", "upgraded"];
    let [act, requests, connections, upgraded] = json::pick(text, &NAMES).map_err(not_json)?;
    let act = act.and_then(json::string).unwrap_or_default();
    if act == "hello" {
        return Ok(ChildMessage::CanDrain);
    }
    if act != "draining" && act != "counted" {
        return Ok(ChildMessage::Ignored);
    }
    let in_use = InUse {
        requests: required(&act, "requests", requests, json::integer)?,
        connections: required(&act, "connections", connections, json::integer)?,
        upgraded: required(&act, "upgraded", upgraded, json::integer)?,
    };
    Ok(if act == "draining" {
        ChildMessage::Draining(in_use)
    } else {
        ChildMessage::Counted(in_use)
    })
}

fn read_address(text: &str) -> Result<Address, String> {
    const ACT: &str = "listening";
    const NAMES: [&str; 4] = ["addressType", "address", "port", "fd"];
    let [family, address, port, fd] = json::pick(text, &NAMES).map_err(not_json)?;
    Ok(Address {
        family: Family::read(family).map_err(|reason| format!("{ACT}: {reason}"))?,
        address: optional(ACT, "address", address, string)?,
        port: optional(ACT, "port", port, json::integer)?,
        fd: optional(ACT, "fd", fd, json::integer)?,
    })
}

fn read_query(text: &str) -> Result<QueryServer, String> {
    const ACT: &str = "queryServer";
    const NAMES: [&str; 11] = [
        "seq",
        "index",
        "addressType",
        "address",
        "port",
        "fd",
        "flags",
        "backlog",
        "readableAll",
        "writableAll",
        "data",
    ];
    let [
        seq,
        index,
        family,
        address,
        port,
        fd,
        flags,
        backlog,
        readable,
        writable,
        data,
    ] = json::pick(text, &NAMES).map_err(not_json)?;
    let query = QueryServer {
        seq: required(ACT, "seq", seq, json::integer)?,
        index: required(ACT, "index", index, json::integer)?,
        family: Family::read(family).map_err(|reason| format!("{ACT}: {reason}"))?,
        address: optional(ACT, "address", address, string)?,
        port: optional(ACT, "port", port, json::integer)?,
        fd: optional(ACT, "fd", fd, json::integer)?,
        flags: optional(ACT, "flags", flags, json::integer)?.unwrap_or(0),
        // `listen(port, host, callback)` sends false here: the default is meant.
        backlog: backlog.and_then(json::integer).unwrap_or(0),
        readable_all: readable.is_some_and(json::truthy),
        writable_all: writable.is_some_and(json::truthy),
        data: data
            .filter(|data| data.get() != "null")
            .map(ToOwned::to_owned),
    };
    let has_fd = query.fd.is_some_and(|fd| fd >= 0);
    let missing = match query.family {
        Family::Tcp4 | Family::Tcp6 => query.port.is_none().then_some("port"),
        Family::Pipe => query.address.is_none().then_some("address"),
        Family::Udp4 | Family::Udp6 => (query.port.is_none() && !has_fd).then_some("port"),
        Family::Fd => (!has_fd).then_some("fd"),
    };
    missing.map_or(Ok(query), |name| {
        Err(format!("{ACT}: \"{name}\" is missing"))
    })
}

fn string(raw: &RawValue) -> Option<String> {
    json::string(raw).map(Into::into)
}

/// A field that may be absent or null.
fn optional<'a, T>(
    act: &str,
    name: &str,
    raw: Option<&'a RawValue>,
    read: impl FnOnce(&'a RawValue) -> Option<T>,
) -> Result<Option<T>, String> {
    match raw.filter(|raw| raw.get() != "null") {
        None => Ok(None),
        Some(raw) => match read(raw) {
            None => Err(format!("{act}: \"{name}\" has a wrong type")),
            some => Ok(some),
        },
    }
}

/// A field that must be there.
fn required<'a, T>(
    act: &str,
    name: &str,
    raw: Option<&'a RawValue>,
    read: impl FnOnce(&'a RawValue) -> Option<T>,
) -> Result<T, String> {
    optional(act, name, raw, read)?.ok_or_else(|| format!("{act}: \"{name}\" is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, String> {
        parse(&Bytes::from(text.to_owned()))
    }

    fn plain(text: &str) -> ChildMessage {
        match line(text) {
            Ok(Line::Plain(message)) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn handle(text: &str) -> ChildMessage {
        match line(text) {
            Ok(Line::Handle(message)) => message,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn user(message: ChildMessage) -> UserMessage {
        match message {
            ChildMessage::User(message) => message,
            other => panic!("{other:?}"),
        }
    }

    fn query(fields: &str) -> Result<QueryServer, String> {
        let text = format!(
            r#"{{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,{fields},"seq":1}}"#
        );
        match line(&text)? {
            Line::Plain(ChildMessage::QueryServer(query)) => Ok(query),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn acks_are_known_in_nodes_bytes_and_in_any_others() {
        for text in [
            r#"{"cmd":"NODE_HANDLE_ACK"}"#,
            r#" { "cmd" : "NODE_HANDLE_ACK", "x": 1 } "#,
            r#"{"cmd":"NODE\u005fHANDLE_ACK"}"#,
            r#"{"cmd":"x","cmd":"NODE_HANDLE_ACK"}"#,
        ] {
            assert!(matches!(line(text), Ok(Line::Ack)), "{text}");
            let nack = text.replace("_ACK", "_NACK");
            assert!(matches!(line(&nack), Ok(Line::Nack)), "{nack}");
        }
    }

    #[test]
    fn replies_to_newconn() {
        for (text, expected) in [
            (
                r#"{"cmd":"NODE_CLUSTER","ack":12,"accepted":true,"seq":3}"#,
                (12, true),
            ),
            (
                r#"{"cmd":"NODE_CLUSTER","ack":0,"accepted":false,"seq":18446744073709551615}"#,
                (0, false),
            ),
            (
                r#"{"seq":3,"accepted":true,"ack":12,"cmd":"NODE_CLUSTER"}"#,
                (12, true),
            ),
            (
                r#"{"cmd":"NODE_CLUSTER","ack":12,"accepted":true,"seq":3,"ack":13}"#,
                (13, true),
            ),
            (r#"{"cmd":"NODE_CLUSTER","ack":5,"seq":3}"#, (5, false)),
            (
                r#"{"cmd":"NODE_CLUSTER","ack":5,"accepted":null}"#,
                (5, false),
            ),
            (r#"{"cmd":"NODE_CLUSTER","ack":5,"accepted":1}"#, (5, true)),
        ] {
            match plain(text) {
                ChildMessage::Accepted { ack, accepted } => {
                    assert_eq!((ack, accepted), expected, "{text}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in [
            r#"{"cmd":"NODE_CLUSTER","ack":-1,"accepted":true,"seq":3}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":"x","accepted":true}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":18446744073709551616,"accepted":true,"seq":0}"#,
        ] {
            assert_eq!(line(text).unwrap_err(), "reply: \"ack\" has a wrong type");
        }
        for text in [
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":}"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":true,"seq":3}x"#,
            r#"{"cmd":"NODE_CLUSTER","ack":01,"accepted":true,"seq":3"#,
            r#"{"cmd":"NODE_CLUSTER","ack":1,"accepted":trueish,"seq":3}"#,
        ] {
            assert!(line(text).unwrap_err().starts_with("not JSON"), "{text}");
        }
    }

    #[test]
    fn small_cluster_messages() {
        assert!(matches!(
            plain(r#"{"cmd":"NODE_CLUSTER","act":"online","seq":0}"#),
            ChildMessage::Online
        ));
        assert!(matches!(
            plain(r#"{"cmd":"NODE_CLUSTER","act":"close","key":"null:0:4:undefined:0","seq":4}"#),
            ChildMessage::CloseServer { key } if key == "null:0:4:undefined:0"
        ));
        assert!(matches!(
            plain(r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":4}"#),
            ChildMessage::ExitedAfterDisconnect { seq: 4 }
        ));
        for text in [
            r#"{"cmd":"NODE_CLUSTER","act":"unheardOf","seq":4}"#,
            r#"{"cmd":"NODE_CLUSTER","act":7}"#,
            r#"{"cmd":"NODE_CLUSTER"}"#,
            r#"{"cmd":"NODE_CLUSTER","act":"\ud83d"}"#,
            r#"{"cmd":"NODE_DEBUG_ENABLED"}"#,
            r#"{"cmd":"NODE_SOCKET_COUNT","key":"k","count":1}"#,
            r#"{"cmd":"NODE_x"}"#,
            r#"{"cmd":"NODE_\ud83d"}"#,
        ] {
            assert!(matches!(plain(text), ChildMessage::Ignored), "{text}");
        }
    }

    #[test]
    fn ill_typed_cluster_fields_are_named() {
        for (fields, reason) in [
            (r#""act":"close""#, "close: \"key\" is missing"),
            (
                r#""act":"close","key":1"#,
                "close: \"key\" has a wrong type",
            ),
            (
                r#""act":"exitedAfterDisconnect""#,
                "exitedAfterDisconnect: \"seq\" is missing",
            ),
            (
                r#""act":"exitedAfterDisconnect","seq":1.5"#,
                "exitedAfterDisconnect: \"seq\" has a wrong type",
            ),
            (
                r#""act":"listening","addressType":5"#,
                "listening: \"addressType\" is none of 4, 6, -1, udp4, udp6 and null",
            ),
            (
                r#""act":"listening","addressType":4,"address":5"#,
                "listening: \"address\" has a wrong type",
            ),
            (
                r#""act":"listening","addressType":4,"port":{}"#,
                "listening: \"port\" has a wrong type",
            ),
            (
                r#""act":"listening","addressType":4,"fd":"x""#,
                "listening: \"fd\" has a wrong type",
            ),
        ] {
            let text = format!(r#"{{"cmd":"NODE_CLUSTER",{fields}}}"#);
            assert_eq!(line(&text).unwrap_err(), reason, "{text}");
        }
        for cmd in ["NODE_SOCKET_NOTIFY_CLOSE", "NODE_SOCKET_GET_COUNT"] {
            let text = format!(r#"{{"cmd":"{cmd}"}}"#);
            let reason = format!("{cmd}: \"key\" is missing");
            assert_eq!(line(&text).unwrap_err(), reason);
        }
    }

    #[test]
    fn what_the_preload_of_a_worker_says() {
        assert!(matches!(
            plain(r#"{"cmd":"NODE_EGG_CLUSTER_RS","act":"hello"}"#),
            ChildMessage::CanDrain
        ));
        let text = r#"{"cmd":"NODE_EGG_CLUSTER_RS","act":"draining","requests":3,"connections":4,"upgraded":1}"#;
        let in_use = InUse {
            requests: 3,
            connections: 4,
            upgraded: 1,
        };
        assert!(matches!(plain(text), ChildMessage::Draining(is) if is == in_use));
        let text = text.replace("draining", "counted");
        assert!(matches!(plain(&text), ChildMessage::Counted(is) if is == in_use));
        for text in [
            r#"{"cmd":"NODE_EGG_CLUSTER_RS","act":"unheardOf"}"#,
            r#"{"cmd":"NODE_EGG_CLUSTER_RS"}"#,
        ] {
            assert!(matches!(plain(text), ChildMessage::Ignored), "{text}");
        }
        let text =
            r#"{"cmd":"NODE_EGG_CLUSTER_RS","act":"draining","requests":-1,"connections":4}"#;
        assert_eq!(
            line(text).unwrap_err(),
            "draining: \"requests\" has a wrong type"
        );
    }

    #[test]
    fn questions_about_sockets() {
        assert!(matches!(
            plain(r#"{"cmd":"NODE_SOCKET_NOTIFY_CLOSE","key":"4:127.0.0.1:80"}"#),
            ChildMessage::NotifySocketsClosed { key } if key == "4:127.0.0.1:80"
        ));
        assert!(matches!(
            plain(r#"{"cmd":"NODE_SOCKET_GET_COUNT","key":"k"}"#),
            ChildMessage::CountSockets { key } if key == "k"
        ));
    }

    #[test]
    fn query_server_over_tcp() {
        let q = query(r#""address":null,"port":8080,"addressType":4,"backlog":0"#).unwrap();
        assert_eq!((q.seq, q.index, q.family), (1, 0, Family::Tcp4));
        assert_eq!(
            (q.address.as_deref(), q.port, q.fd),
            (None, Some(8080), None)
        );
        assert_eq!((q.flags, q.backlog, q.readable_all), (0, 0, false));
        assert!(q.data.is_none());
        assert_eq!(q.listener_key(), "null:8080:4:undefined:0");

        let q = query(r#""address":"::1","port":0,"addressType":6,"flags":1,"backlog":7"#).unwrap();
        assert_eq!((q.family, q.flags, q.backlog), (Family::Tcp6, 1, 7));
        assert_eq!(q.listener_key(), "::1:0:6:undefined:0");
    }

    #[test]
    fn query_server_of_other_kinds() {
        let pipe = query(
            r#""address":"/a/\u0062.sock","port":-1,"addressType":-1,"backlog":0,"readableAll":true"#,
        )
        .unwrap();
        assert_eq!(pipe.family, Family::Pipe);
        assert_eq!((pipe.readable_all, pipe.writable_all), (true, false));
        assert_eq!(pipe.listener_key(), "/a/b.sock:-1:-1:undefined:0");

        let fd = query(r#""address":null,"port":null,"addressType":null,"fd":40,"backlog":0"#);
        assert_eq!(fd.unwrap().listener_key(), "null:null:null:40:0");

        let udp = query(r#""address":"0.0.0.0","port":53,"addressType":"udp4","fd":-1,"flags":0"#);
        assert_eq!(udp.unwrap().listener_key(), "0.0.0.0:53:udp4:-1:0");

        let udp6 = query(r#""address":"::1","port":0,"addressType":"udp6","fd":-1,"flags":5"#);
        assert_eq!(udp6.unwrap().flags, 5);

        let fd = query(r#""address":null,"port":null,"addressType":"udp4","fd":9,"flags":null"#);
        assert_eq!(fd.unwrap().listener_key(), "null:null:udp4:9:0");
    }

    #[test]
    fn query_server_keeps_its_data_as_text() {
        let keys = r#"{"ticketKeys":"\ud83d", "n":1e400}"#;
        let tcp = r#""address":null,"port":443,"addressType":4"#;
        let q = query(&format!(r#"{tcp},"data":{keys}"#)).unwrap();
        assert_eq!(q.data.unwrap().get(), keys);
    }

    #[test]
    fn query_server_takes_the_backlogs_that_node_sends() {
        for (backlog, expected) in [("false", 0), ("\"64\"", 64), ("null", 0), ("511", 511)] {
            let fields = format!(r#""port":1,"addressType":4,"backlog":{backlog}"#);
            assert_eq!(query(&fields).unwrap().backlog, expected, "{backlog}");
        }
    }

    #[test]
    fn query_server_names_the_field_at_fault() {
        for (fields, name) in [
            (r#""addressType":4"#, "port"),
            (r#""addressType":4,"port":true"#, "port"),
            (r#""addressType":6,"port":null"#, "port"),
            (r#""addressType":-1,"port":-1"#, "address"),
            (r#""addressType":-1,"address":["a"]"#, "address"),
            (r#""addressType":"udp4","fd":-1"#, "port"),
            (r#""address":null"#, "fd"),
            (r#""addressType":null,"fd":-1"#, "fd"),
            (r#""addressType":null,"fd":"x""#, "fd"),
            (r#""addressType":"tcp","port":1"#, "addressType"),
            (r#""addressType":4,"port":1,"flags":-1"#, "flags"),
            (r#""addressType":4,"port":1,"index":{}"#, "index"),
            (r#""addressType":4,"port":1,"index":null"#, "index"),
        ] {
            let reason = query(fields).unwrap_err();
            assert!(reason.starts_with("queryServer: "), "{reason}");
            assert!(
                reason.contains(&format!("\"{name}\"")),
                "{fields}: {reason}"
            );
        }
        let no_seq = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"addressType":4}"#;
        assert_eq!(line(no_seq).unwrap_err(), "queryServer: \"seq\" is missing");
    }

    #[test]
    fn listening_tells_the_address() {
        let text = r#"{"cmd":"NODE_CLUSTER","act":"listening","index":0,"data":null,"address":null,"port":7001,"addressType":4,"backlog":0,"seq":2}"#;
        let expected = Address {
            family: Family::Tcp4,
            address: None,
            port: Some(7001),
            fd: None,
        };
        match plain(text) {
            ChildMessage::Listening(address) => assert_eq!(address, expected),
            other => panic!("{other:?}"),
        }
        let fd =
            r#"{"cmd":"NODE_CLUSTER","act":"listening","address":null,"addressType":null,"fd":40}"#;
        match plain(fd) {
            ChildMessage::Listening(address) => {
                assert_eq!((address.family, address.fd), (Family::Fd, Some(40)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_object_is_a_user_message_and_shares_the_line() {
        let bytes =
            Bytes::from_static(b" {\"action\":\"a\",\"to\":\"agent\",\"data\":{\"to\":\"app\"}}\r");
        let Ok(Line::Plain(message)) = parse(&bytes) else {
            panic!("no message");
        };
        let message = user(message);
        assert_eq!(message.text, bytes.slice(1..bytes.len() - 1));
        assert_eq!(message.text.as_ptr(), bytes[1..].as_ptr());
        let expected = Envelope {
            action: Some("a".to_owned()),
            to: Some("agent".to_owned()),
            ..Envelope::default()
        };
        assert_eq!(message.envelope, expected);
    }

    #[test]
    fn what_only_looks_internal_is_a_user_message() {
        for text in [
            "{}",
            r#"{"cmd":"NODE_"}"#,
            r#"{"cmd":["NODE_CLUSTER"]}"#,
            r#"{"cmd":null,"act":"online"}"#,
            r#"{"cmd":" NODE_CLUSTER"}"#,
            r#"{"cmd":"node_cluster"}"#,
            r#"{"cmd":"NODE_CLUSTER","cmd":1}"#,
            r#"{"CMD":"NODE_CLUSTER"}"#,
            r#"{"data":{"cmd":"NODE_CLUSTER"}}"#,
        ] {
            assert_eq!(user(plain(text)).text, text);
        }
    }

    #[test]
    fn a_string_becomes_action_and_data() {
        for (text, action) in [
            (r#""reload""#, "reload"),
            (r#""a\"\\\u00e9""#, "a\"\\é"),
            (r#""x\ud83d""#, "x\u{FFFD}"),
            ("\"\"", ""),
        ] {
            let message = user(plain(&format!(" {text}\t")));
            let expected = format!(r#"{{"action":{text},"data":{text}}}"#);
            assert_eq!(message.text, expected);
            assert_eq!(message.envelope.action.as_deref(), Some(action));
            assert_eq!(message.envelope.to, None);
        }
    }

    #[test]
    fn other_values_have_no_route() {
        for text in [
            "1",
            "-0.5e+400",
            "true",
            "false",
            "null",
            "[]",
            "[{\"to\":\"app\"}]",
        ] {
            assert!(matches!(plain(text), ChildMessage::NotRoutable), "{text}");
            let wrapped = format!(r#"{{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{text}}}"#);
            assert!(matches!(handle(&wrapped), ChildMessage::NotRoutable));
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for text in [
            "",
            " ",
            "\t\r",
            "x",
            "{",
            "{}}",
            "[1",
            "nul",
            "\"open",
            "\"\\ud8\"",
            "01",
            "1 2",
            "{}{}",
            "\u{feff}{}",
            "{\"cmd\":\"NODE_HANDLE_ACK\"",
            "undefined",
            "'a'",
            "\"a\"\"b\"",
            "\u{a0}1",
            "{\"a\u{1}\":1}",
            "{\"cmd\":\"NODE_CLUSTER\",\"ack\":007,\"accepted\":true,\"seq\":1}",
            "{\"cmd\":\"NODE_CLUSTER\",\"ack\":7,\"accepted\":true,\"seq\":01}",
        ] {
            assert!(line(text).is_err(), "{text}");
        }
        assert_eq!(line("").unwrap_err(), "an empty line");
        let error = parse(&Bytes::from_static(b"{\"a\":\"\xff\"}")).unwrap_err();
        assert!(error.starts_with("not UTF-8"), "{error}");
    }

    #[test]
    fn wrapped_messages_are_unwrapped() {
        let socket = r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{"action":"x","to":"app"},"key":"4:a:1"}"#;
        let message = user(handle(socket));
        assert_eq!(message.text, r#"{"action":"x","to":"app"}"#);
        assert_eq!(message.envelope.to.as_deref(), Some("app"));

        let string = r#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"hi\ud83d"}"#;
        let expected = r#"{"action":"hi\ud83d","data":"hi\ud83d"}"#;
        assert_eq!(user(handle(string)).text, expected);

        let resent = format!(r#"{{"cmd":"NODE_HANDLE","type":"net.Native","msg":{socket}}}"#);
        assert_eq!(user(handle(&resent)).text, r#"{"action":"x","to":"app"}"#);

        let cluster = r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"online"}}"#;
        assert!(matches!(handle(cluster), ChildMessage::Online));
    }

    #[test]
    fn the_data_of_a_message_is_what_json_parse_takes() {
        for (text, data) in [
            (r#"{"data":1}"#, Some("1")),
            (r#"{"data":1,"\ud83d":0,"d\u0061ta":[2]}"#, Some("[2]")),
            (r#"{"x":{"data":1}}"#, None),
        ] {
            let message = user(plain(text));
            assert_eq!(message.data().map(RawValue::get), data, "{text}");
        }
    }

    #[test]
    fn what_brings_a_descriptor_is_never_an_error() {
        for inner in [
            r#""msg":{"cmd":"NODE_CLUSTER","act":"queryServer"}"#,
            r#""msg":{"cmd":"NODE_CLUSTER","act":"close"}"#,
            r#""msg":{"cmd":"NODE_HANDLE_ACK"}"#,
            r#""msg":{"cmd":"NODE_HANDLE"}"#,
            r#""msg":{"cmd":"NODE_UNKNOWN"}"#,
            r#""type":"net.Socket""#,
        ] {
            let text = format!(r#"{{"cmd":"NODE_HANDLE",{inner}}}"#);
            assert!(matches!(handle(&text), ChildMessage::Ignored), "{text}");
        }
        let mut nested = "1".to_owned();
        for _ in 0..10_000 {
            nested = format!(r#"{{"cmd":"NODE_HANDLE","msg":{nested}}}"#);
        }
        assert!(matches!(handle(&nested), ChildMessage::Ignored));
    }

    #[test]
    fn depth_surrogates_and_numbers_pass_through() {
        let deep = format!("{}1{}", r#"{"a":["#.repeat(10_000), "]}".repeat(10_000));
        for data in [
            deep.as_str(),
            r#""\ud83d""#,
            r#"{"\udead":"\ud83d\ud83d"}"#,
            "123456789012345678901234567890.5e-999",
            "-1e99999",
            r#"["\u0000",{"":[[],{}]}]"#,
        ] {
            let text = format!(r#"{{"\ud83d":0,"data":{data},"action":"a","\u0074o":"app"}}"#);
            let message = user(plain(&text));
            assert_eq!(message.text, text);
            assert_eq!(message.envelope.action.as_deref(), Some("a"));
            assert_eq!(message.envelope.to.as_deref(), Some("app"));
            let wrapped = format!(r#"{{"cmd":"NODE_HANDLE","type":"net.Socket","msg":{text}}}"#);
            assert_eq!(user(handle(&wrapped)).text, text);
        }
    }
}
