//! A line of a child is read as `JSON.parse` and Node would read it, or refused with a reason.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::json_model;
use crate::ipc::encode;
use crate::ipc::message::{ChildMessage, Line, QueryServer, parse};

/// A reason goes into the log as it is.
const LONGEST_REASON: usize = 200;

/// A line.
pub(super) fn check(data: &[u8]) {
    let parsed = parse(&Bytes::copy_from_slice(data));
    let text = std::str::from_utf8(data).ok();
    let is_json = text.is_some_and(json_model::is_value);
    match &parsed {
        Ok(_) => assert!(is_json),
        Err(reason) => {
            assert!(reason.len() <= LONGEST_REASON, "{reason}");
            // JSON is refused only where it should be a message of Node and is not.
            let cmd = member(data, "cmd").and_then(|cmd| json_model::string(&cmd));
            let internal =
                cmd.is_some_and(|cmd| cmd.starts_with(&"NODE_".encode_utf16().collect::<Vec<_>>()));
            assert!(!is_json || internal, "refused: {reason}");
        }
    }
    // The two lines of every connection are known by their bytes: no other reading may differ.
    let spaced = parse(&Bytes::from([b" ", data, b"\t"].concat()));
    assert_eq!(described(&parsed), described(&spaced));
    match parsed {
        Ok(Line::Plain(message) | Line::Handle(message)) => check_message(&message),
        Ok(Line::Ack | Line::Nack) | Err(_) => {}
    }
}

/// How a line was read; reasons tell columns, which differ.
fn described(parsed: &Result<Line, String>) -> String {
    parsed
        .as_ref()
        .map_or_else(|_| "refused".to_owned(), |line| format!("{line:?}"))
}

fn check_message(message: &ChildMessage) {
    match message {
        ChildMessage::QueryServer(query) => check_answers(query),
        ChildMessage::NotifySocketsClosed { key } => {
            check_key(&encode::sockets_closed(key), key);
        }
        ChildMessage::CountSockets { key } => check_key(&encode::socket_count(key, 0), key),
        _ => {}
    }
}

/// What a worker is answered is one line of JSON with its key and its data.
fn check_answers(query: &QueryServer) {
    let (key, data) = (query.listener_key(), query.data.as_deref());
    let local = Some(([127, 0, 0, 1], 80).into());
    for answer in [
        encode::reply_round_robin(0, query.seq, &key, data, local),
        encode::reply_error(1, query.seq, &key, data, i32::MIN),
    ] {
        check_key(&answer, &key);
        let data = data.map_or("null", RawValue::get);
        assert!(member(&answer, "data").as_deref() == Some(data));
        assert_eq!(member(&answer, "ack").unwrap(), query.seq.to_string());
    }
    let shared = encode::reply_shared(2, query.seq, &key, data, true);
    check_key(member(&shared, "msg").unwrap().as_bytes(), &key);
    let newconn = [&encode::newconn_prefix(&key)[..], b"1}}"].concat();
    check_key(member(&newconn, "msg").unwrap().as_bytes(), &key);
}

fn check_key(line: &[u8], key: &str) {
    assert!(!line.contains(&b'\n'));
    let written = json_model::string(&member(line, "key").unwrap()).unwrap();
    assert_eq!(String::from_utf16(&written).unwrap(), key);
}

fn member(line: &[u8], name: &str) -> Option<String> {
    let members = json_model::members(std::str::from_utf8(line).ok()?)?;
    let name: Vec<_> = name.encode_utf16().collect();
    let found = members.into_iter().find(|(key, _)| *key == name);
    found.map(|(_, value)| value.to_owned())
}
