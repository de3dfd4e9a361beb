//! What the primary of a cluster says: whole lines, without the newline.
//!
//! `seq` numbers the primary's own messages, `ack` repeats the `seq` of the request. The shapes
//! are those of Node's `lib/internal/cluster/primary.js` and `lib/internal/child_process.js`.

use std::net::SocketAddr;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::json::quote;

/// The answer to every line of a child that brings a descriptor: exactly one, never more.
pub const HANDLE_ACK: &[u8] = br#"{"cmd":"NODE_HANDLE_ACK"}"#;

/// The line that brings a worker a connection in sticky mode. It has no `key`: with one, the
/// child would count the socket and ask about it.
pub const STICKY_CONNECTION: &[u8] =
    br#"{"cmd":"NODE_HANDLE","type":"net.Socket","msg":"sticky-session:connection"}"#;

/// A handle line that brings no descriptor: Node itself answers it with `NODE_HANDLE_NACK` from its
/// event loop, and drops it.
pub const PING: &[u8] = br#"{"cmd":"NODE_HANDLE","type":"net.Native"}"#;
/// Asks `lib/worker_preload.js` how much the worker serves.
pub const COUNT: &[u8] = br#"{"cmd":"NODE_EGG_CLUSTER_RS","act":"count"}"#;
/// Asks `lib/worker_preload.js` to let the worker finish what it has.
pub const DRAIN: &[u8] = br#"{"cmd":"NODE_EGG_CLUSTER_RS","act":"drain"}"#;

/// Answers `queryServer`: the primary listens and hands connections over. `local` is the address
/// really bound; a unix socket has none.
#[must_use]
pub fn reply_round_robin(
    seq: u64,
    ack: u64,
    key: &str,
    data: Option<&RawValue>,
    local: Option<SocketAddr>,
) -> Bytes {
    let sockname = local.map(|local| {
        let family = if local.is_ipv4() { "IPv4" } else { "IPv6" };
        let (address, port) = (local.ip(), local.port());
        format!(r#","sockname":{{"address":"{address}","family":"{family}","port":{port}}}"#)
    });
    let mut line = reply("null", seq, ack, key, data);
    line.push_str(sockname.as_deref().unwrap_or_default());
    line.push('}');
    Bytes::from(line)
}

/// Answers `queryServer`: the worker shares the bound socket that goes with this line.
#[must_use]
pub fn reply_shared(seq: u64, ack: u64, key: &str, data: Option<&RawValue>, dgram: bool) -> Bytes {
    let kind = if dgram { "dgram.Native" } else { "net.Native" };
    let reply = reply("0", seq, ack, key, data);
    Bytes::from(format!(
        r#"{{"cmd":"NODE_HANDLE","type":"{kind}","msg":{reply}}}}}"#
    ))
}

/// Answers `queryServer`: it failed. `errno` is positive, as the system gives it; Node wants it
/// negative on the wire.
#[must_use]
pub fn reply_error(seq: u64, ack: u64, key: &str, data: Option<&RawValue>, errno: i32) -> Bytes {
    let errno = -i64::from(errno.unsigned_abs());
    let mut line = reply(&errno.to_string(), seq, ack, key, data);
    line.push('}');
    Bytes::from(line)
}

/// What all replies to `queryServer` begin with; the closing brace is still to come.
fn reply(errno: &str, seq: u64, ack: u64, key: &str, data: Option<&RawValue>) -> String {
    let (key, data) = (quote(key), data.map_or("null", RawValue::get));
    format!(
        r#"{{"cmd":"NODE_CLUSTER","errno":{errno},"key":{key},"ack":{ack},"data":{data},"seq":{seq}"#
    )
}

/// The beginning of every `newconn` for the listener `key`; the `seq` and `}}` complete it.
#[must_use]
pub fn newconn_prefix(key: &str) -> Bytes {
    let key = quote(key);
    Bytes::from(format!(
        r#"{{"cmd":"NODE_HANDLE","type":"net.Native","msg":{{"cmd":"NODE_CLUSTER","act":"newconn","key":{key},"seq":"#
    ))
}

/// Asks a worker to close its servers and to disconnect.
#[must_use]
pub fn disconnect(seq: u64) -> Bytes {
    Bytes::from(format!(
        r#"{{"cmd":"NODE_CLUSTER","act":"disconnect","seq":{seq}}}"#
    ))
}

/// Answers `exitedAfterDisconnect`: the worker may go.
#[must_use]
pub fn acknowledge(seq: u64, ack: u64) -> Bytes {
    Bytes::from(format!(
        r#"{{"cmd":"NODE_CLUSTER","ack":{ack},"seq":{seq}}}"#
    ))
}

/// Answers `NODE_SOCKET_NOTIFY_CLOSE`: no socket with this key is open here.
#[must_use]
pub fn sockets_closed(key: &str) -> Bytes {
    let key = quote(key);
    Bytes::from(format!(r#"{{"cmd":"NODE_SOCKET_ALL_CLOSED","key":{key}}}"#))
}

/// Answers `NODE_SOCKET_GET_COUNT`: so many sockets with this key are open here.
#[must_use]
pub fn socket_count(key: &str, count: u64) -> Bytes {
    let key = quote(key);
    Bytes::from(format!(
        r#"{{"cmd":"NODE_SOCKET_COUNT","key":{key},"count":{count}}}"#
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value(line: &[u8]) -> Value {
        assert!(!line.contains(&b'\n'));
        serde_json::from_slice(line).unwrap()
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn round_robin_replies() {
        let key = "null:8080:4:undefined:0";
        let v4 = reply_round_robin(7, 3, key, None, Some("127.0.0.1:8080".parse().unwrap()));
        assert_eq!(
            value(&v4),
            json!({
                "cmd": "NODE_CLUSTER", "errno": null, "key": key, "ack": 3, "data": null, "seq": 7,
                "sockname": { "address": "127.0.0.1", "family": "IPv4", "port": 8080 },
            })
        );
        let data = raw(r#"{"ticketKeys":"00ff"}"#);
        let v6 = reply_round_robin(0, 0, key, Some(&data), Some("[::]:1".parse().unwrap()));
        assert_eq!(
            value(&v6),
            json!({
                "cmd": "NODE_CLUSTER", "errno": null, "key": key, "ack": 0, "seq": 0,
                "data": { "ticketKeys": "00ff" },
                "sockname": { "address": "::", "family": "IPv6", "port": 1 },
            })
        );
    }

    #[test]
    fn a_unix_socket_has_no_sockname_and_its_path_is_escaped() {
        let key = "/tmp/a \"b\"\\\n.sock:-1:-1:undefined:0";
        let reply = value(&reply_round_robin(1, 2, key, None, None));
        assert!(reply.get("sockname").is_none());
        assert_eq!(reply["key"], key);
        assert_eq!(reply["errno"], Value::Null);
    }

    #[test]
    fn shared_replies_are_wrapped() {
        for (dgram, kind) in [(false, "net.Native"), (true, "dgram.Native")] {
            assert_eq!(
                value(&reply_shared(9, 8, "k\"", None, dgram)),
                json!({
                    "cmd": "NODE_HANDLE", "type": kind,
                    "msg": {
                        "cmd": "NODE_CLUSTER", "errno": 0, "key": "k\"", "ack": 8, "data": null,
                        "seq": 9,
                    },
                })
            );
        }
    }

    #[test]
    fn error_numbers_are_negative_on_the_wire() {
        assert_eq!(
            value(&reply_error(1, 2, "k", Some(&raw("[1]")), 98)),
            json!({
                "cmd": "NODE_CLUSTER", "errno": -98, "key": "k", "ack": 2, "data": [1], "seq": 1,
            })
        );
        assert_eq!(value(&reply_error(1, 2, "k", None, -98))["errno"], -98);
    }

    #[test]
    fn a_newconn_is_its_prefix_a_number_and_two_braces() {
        let line = [&newconn_prefix("a\"b")[..], b"12}}"].concat();
        assert_eq!(
            value(&line),
            json!({
                "cmd": "NODE_HANDLE", "type": "net.Native",
                "msg": { "cmd": "NODE_CLUSTER", "act": "newconn", "key": "a\"b", "seq": 12 },
            })
        );
    }

    #[test]
    fn the_small_ones() {
        let cases = [
            (
                disconnect(5),
                json!({ "cmd": "NODE_CLUSTER", "act": "disconnect", "seq": 5 }),
            ),
            (
                acknowledge(6, 2),
                json!({ "cmd": "NODE_CLUSTER", "ack": 2, "seq": 6 }),
            ),
            (
                sockets_closed("4:\"x\":1"),
                json!({ "cmd": "NODE_SOCKET_ALL_CLOSED", "key": "4:\"x\":1" }),
            ),
            (
                socket_count("k", 3),
                json!({ "cmd": "NODE_SOCKET_COUNT", "key": "k", "count": 3 }),
            ),
            (
                Bytes::from_static(COUNT),
                json!({ "cmd": "NODE_EGG_CLUSTER_RS", "act": "count" }),
            ),
            (
                Bytes::from_static(DRAIN),
                json!({ "cmd": "NODE_EGG_CLUSTER_RS", "act": "drain" }),
            ),
            (
                Bytes::from_static(HANDLE_ACK),
                json!({ "cmd": "NODE_HANDLE_ACK" }),
            ),
            (
                Bytes::from_static(STICKY_CONNECTION),
                json!({
                    "cmd": "NODE_HANDLE", "type": "net.Socket",
                    "msg": "sticky-session:connection",
                }),
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(value(&line), expected);
        }
    }
}
