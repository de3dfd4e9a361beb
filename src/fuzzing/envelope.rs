//! A message of the application arrives as `JSON.stringify` of the parsed one with `from` and `to`
//! set would: no key, no value, no half of a surrogate pair is lost on the way.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::bytes::Choices;
use super::json_model::{members, string};
use crate::ipc::envelope::{self, Envelope};
use crate::ipc::message::{ChildMessage, Line, UserMessage, parse};

const NAMES: [&str; 6] = ["app", "agent", "master", "parent", "", "a\"\\\n\u{7f}é😀"];

/// Who speaks, to whom, and the line.
pub(super) fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let from = NAMES[choices.below(NAMES.len())];
    let to = [None, Some(NAMES[choices.below(NAMES.len())])][choices.below(2)];
    let line = Bytes::copy_from_slice(choices.rest());
    let Ok(Line::Plain(ChildMessage::User(message)) | Line::Handle(ChildMessage::User(message))) =
        parse(&line)
    else {
        return;
    };
    let text = std::str::from_utf8(&message.text).unwrap();
    let before = members(text).unwrap();
    assert_eq!(message.envelope, envelope_of(&before));
    assert_eq!(message.data().map(RawValue::get), value(&before, "data"));

    let (head, tail) = envelope::stamp(&message, from, to);
    let stamped = String::from_utf8([head, tail].concat()).unwrap();
    // As it is written to a channel, and as JavaScript is told of it.
    assert!(message.text.contains(&b'\n') || !stamped.contains('\n'));
    RawValue::from_string(stamped.clone()).unwrap();
    let mut after = members(&stamped).unwrap();
    assert_eq!(text_of(value(&after, "from")).as_deref(), Some(from));
    if let Some(to) = to {
        assert_eq!(text_of(value(&after, "to")).as_deref(), Some(to));
    }
    let is_stamp = |key: &[u16]| is(key, "from") || to.is_some() && is(key, "to");
    after.retain(|(key, _)| !is_stamp(key));
    let expected: Vec<_> = before
        .into_iter()
        .filter(|(key, _)| !is_stamp(key))
        .collect();
    assert_eq!(after, expected);
    check_again(&stamped, from, to);
}

/// What is relayed once more says the same.
fn check_again(stamped: &str, from: &str, to: Option<&str>) {
    let line = Bytes::from(stamped.to_owned());
    match parse(&line) {
        Ok(Line::Plain(ChildMessage::User(UserMessage { envelope, .. }))) => {
            assert_eq!(
                envelope.from.as_deref(),
                Some(from).filter(|name| !name.is_empty())
            );
            if to.is_some() {
                assert_eq!(envelope.to.as_deref(), to.filter(|name| !name.is_empty()));
            }
        }
        other => panic!("{other:?}"),
    }
}

fn is(key: &[u16], name: &str) -> bool {
    name.encode_utf16().eq(key.iter().copied())
}

fn value<'a>(members: &[(Vec<u16>, &'a str)], name: &str) -> Option<&'a str> {
    let found = members.iter().find(|(key, _)| is(key, name));
    found.map(|(_, value)| *value)
}

/// A string, with U+FFFD for each half of a pair.
fn text_of(raw: Option<&str>) -> Option<String> {
    string(raw?).map(|units| String::from_utf16_lossy(&units))
}

fn envelope_of(members: &[(Vec<u16>, &str)]) -> Envelope {
    let text = |name| text_of(value(members, name));
    let word = |name| text(name).filter(|text| !text.is_empty());
    let id = |name| {
        let number = value(members, name)
            .filter(|raw| raw.parse::<f64>().is_ok_and(|number| number != 0.0))
            .map(str::to_owned);
        number.or_else(|| word(name))
    };
    Envelope {
        action: text("action"),
        from: word("from"),
        to: word("to"),
        receiver_pid: id("receiverPid"),
        receiver_worker_id: id("receiverWorkerId"),
    }
}
