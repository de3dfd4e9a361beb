//! The few keys of a user message that decide where it goes.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::json;
use super::message::UserMessage;

/// Who a message is for, and what it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// `action`, where it is a string.
    pub action: Option<String>,
    /// `from`, where it is a non-empty string.
    pub from: Option<String>,
    /// `to`, where it is a non-empty string.
    pub to: Option<String>,
    /// `receiverPid`, a string (or number) that is not empty, as text.
    pub receiver_pid: Option<String>,
    /// `receiverWorkerId`, likewise.
    pub receiver_worker_id: Option<String>,
}

impl Envelope {
    /// The keys that [`Envelope::read`] takes the values of, in its order.
    pub(super) const KEYS: [&'static str; 5] =
        ["action", "from", "to", "receiverPid", "receiverWorkerId"];

    /// Decodes the values of [`Envelope::KEYS`]. What has another type counts as absent.
    pub(super) fn read([action, from, to, pid, worker_id]: [Option<&RawValue>; 5]) -> Self {
        Self {
            action: action.and_then(json::string).map(Into::into),
            from: from.and_then(word),
            to: to.and_then(word),
            receiver_pid: pid.and_then(id),
            receiver_worker_id: worker_id.and_then(id),
        }
    }
}

/// A string that JavaScript takes for true.
fn word(raw: &RawValue) -> Option<String> {
    json::string(raw)
        .filter(|text| !text.is_empty())
        .map(Into::into)
}

/// An id that JavaScript takes for true: a string, or a number as it is written.
fn id(raw: &RawValue) -> Option<String> {
    let is_number = raw
        .get()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if is_number && json::truthy(raw) {
        return Some(raw.get().to_owned());
    }
    word(raw)
}

/// The text of `message` with `from`, and `to` where given, as they are to be read: what the
/// message says itself is overridden, for `JSON.parse` lets the last of repeated keys win.
///
/// Gives two parts that make one JSON object. The first is a slice of the message, the second is
/// static for the usual names, so that nothing is copied and all receivers share both.
#[must_use]
pub fn stamp(message: &UserMessage, from: &str, to: Option<&str>) -> (Bytes, Bytes) {
    let open = message.text.len().saturating_sub(1);
    let head = message.text.slice(..open);
    let mut tail = static_tail(from, to).unwrap_or_else(|| Bytes::from(spelled_tail(from, to)));
    if head.trim_ascii() == b"{" {
        tail = tail.slice(1..);
    }
    (head, tail)
}

/// The tails of the usual names, with a comma in front.
fn static_tail(from: &str, to: Option<&str>) -> Option<Bytes> {
    macro_rules! tails {
        ($($from:literal: $($to:literal)*;)*) => {
            match (from, to) {
                $(
                    ($from, None) => concat!(",\"from\":\"", $from, "\"}"),
                    $(($from, Some($to)) => {
                        concat!(",\"from\":\"", $from, "\",\"to\":\"", $to, "\"}")
                    })*
                )*
                _ => return None,
            }
        };
    }
    let tail = tails! {
        "app": "app" "agent" "master" "parent";
        "agent": "app" "agent" "master" "parent";
        "master": "app" "agent" "master" "parent";
        "parent": "app" "agent" "master" "parent";
    };
    Some(Bytes::from_static(tail.as_bytes()))
}

fn spelled_tail(from: &str, to: Option<&str>) -> String {
    let from = json::quote(from);
    match to.map(json::quote) {
        Some(to) => format!(",\"from\":{from},\"to\":{to}}}"),
        None => format!(",\"from\":{from}}}"),
    }
}

/// A message of the master's own. `data` is JSON text and must be valid; without it the message
/// has no `data`.
#[must_use]
pub fn build(from: &str, to: &str, action: &str, data: Option<&str>) -> UserMessage {
    let mut text = format!(
        "{{\"action\":{},\"to\":{},\"from\":{}",
        json::quote(action),
        json::quote(to),
        json::quote(from)
    );
    if let Some(data) = data {
        text.push_str(",\"data\":");
        text.push_str(data);
    }
    text.push('}');
    UserMessage {
        text: Bytes::from(text),
        envelope: Envelope {
            action: Some(action.to_owned()),
            from: Some(from.to_owned()),
            to: Some(to.to_owned()),
            ..Envelope::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> UserMessage {
        UserMessage {
            text: Bytes::from(text.to_owned()),
            envelope: Envelope::default(),
        }
    }

    fn stamped(text: &str, from: &str, to: Option<&str>) -> String {
        let (head, tail) = stamp(&message(text), from, to);
        String::from_utf8([head, tail].concat()).unwrap()
    }

    fn read(text: &str) -> Envelope {
        Envelope::read(json::pick(text, &Envelope::KEYS).unwrap())
    }

    #[test]
    fn from_and_to_are_appended() {
        assert_eq!(
            stamped(r#"{"action":"x"}"#, "app", Some("agent")),
            r#"{"action":"x","from":"app","to":"agent"}"#
        );
        assert_eq!(
            stamped(r#"{"action":"x" }"#, "agent", None),
            r#"{"action":"x" ,"from":"agent"}"#
        );
    }

    #[test]
    fn an_empty_object_gets_no_comma() {
        assert_eq!(stamped("{}", "app", None), r#"{"from":"app"}"#);
        assert_eq!(
            stamped("{ \t }", "master", Some("parent")),
            "{ \t \"from\":\"master\",\"to\":\"parent\"}"
        );
        assert_eq!(stamped("{}", "x", None), r#"{"from":"x"}"#);
    }

    #[test]
    fn unusual_names_are_escaped() {
        assert_eq!(
            stamped(r#"{"a":{}}"#, "a\"b", Some("é\n")),
            r#"{"a":{},"from":"a\"b","to":"é\n"}"#
        );
    }

    #[test]
    fn usual_names_are_static_and_equal_to_the_spelled_ones() {
        let names = ["app", "agent", "master", "parent"];
        for from in names {
            for to in names.map(Some).into_iter().chain([None]) {
                let tail = static_tail(from, to).unwrap();
                assert_eq!(tail, spelled_tail(from, to));
            }
        }
        assert!(static_tail("app", Some("other")).is_none());
        assert!(static_tail("other", None).is_none());
    }

    #[test]
    fn the_payload_is_shared_not_copied() {
        let message = message(r#"{"data":"long"}"#);
        let (head, _) = stamp(&message, "app", Some("agent"));
        assert_eq!(head.as_ptr(), message.text.as_ptr());
    }

    #[test]
    fn a_stamp_overrides_what_the_message_says() {
        let text = stamped(r#"{"from":"parent","to":"app"}"#, "agent", Some("master"));
        let envelope = read(&text);
        assert_eq!(envelope.from.as_deref(), Some("agent"));
        assert_eq!(envelope.to.as_deref(), Some("master"));
    }

    #[test]
    fn the_envelope_is_read_leniently() {
        let text =
            r#"{"action":"","from":"","to":["app"],"receiverPid":123,"receiverWorkerId":"7"}"#;
        let expected = Envelope {
            action: Some(String::new()),
            receiver_pid: Some("123".to_owned()),
            receiver_worker_id: Some("7".to_owned()),
            ..Envelope::default()
        };
        assert_eq!(read(text), expected);
        let nothing = r#"{"action":1,"from":null,"to":true,"receiverPid":0,"receiverWorkerId":""}"#;
        assert_eq!(read(nothing), Envelope::default());
        assert_eq!(
            read(r#"{"action":"a\ud83d","to":"\u0061pp"}"#),
            Envelope {
                action: Some("a\u{FFFD}".to_owned()),
                to: Some("app".to_owned()),
                ..Envelope::default()
            }
        );
    }

    #[test]
    fn messages_of_the_master_are_built_with_their_envelope() {
        let message = build("master", "app", "egg-pids", Some("[1,2]"));
        assert_eq!(
            message.text,
            r#"{"action":"egg-pids","to":"app","from":"master","data":[1,2]}"#
        );
        let text = std::str::from_utf8(&message.text).unwrap();
        assert_eq!(read(text), message.envelope);
        let odd = build("m\"", "t\\", "a\n", None);
        let text = std::str::from_utf8(&odd.text).unwrap();
        assert_eq!(read(text), odd.envelope);
        assert_eq!(text, r#"{"action":"a\n","to":"t\\","from":"m\""}"#);
    }
}
