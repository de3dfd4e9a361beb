//! Reading a few keys of a JSON object without building the rest.
//!
//! Skipped values cost no memory and no stack, whatever their depth. Nothing here refuses what
//! `JSON.parse` takes: repeated keys (the last one counts), half surrogate pairs, long numbers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of the values of the keys `names` in the JSON object `text`.
///
/// # Errors
/// `text` is not one JSON object.
pub(super) fn pick<'a, const N: usize>(
    text: &'a str,
    names: &[&str; N],
) -> serde_json::Result<[Option<&'a RawValue>; N]> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let values = deserializer.deserialize_map(Pick(names))?;
    deserializer.end()?;
    Ok(values)
}

/// Whether `text` is one JSON value.
///
/// # Errors
/// It is not.
pub(super) fn check(text: &str) -> serde_json::Result<()> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ())
}

/// The value of a JSON string, half surrogate pairs as U+FFFD; `None` for other types.
pub(super) fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    deserializer
        .deserialize_bytes(Unescape)
        .ok()
        .map(Cow::Owned)
}

/// The value of an integer, also when it stands in a string; `None` for everything else.
pub(super) fn integer<T: std::str::FromStr>(raw: &RawValue) -> Option<T> {
    raw.get().trim_matches('"').parse().ok()
}

/// Whether JavaScript takes the value for true.
pub(super) fn truthy(raw: &RawValue) -> bool {
    match raw.get() {
        "null" | "false" | "\"\"" => false,
        text => text.parse::<f64>().ok() != Some(0.0),
    }
}

/// `text` as a JSON string.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

struct Pick<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut values = [None; N];
        // As raw text: a key that is read as bytes may hold control characters, which `JSON.parse`
        // of the receiver refuses, and as a string no half of a surrogate pair.
        while let Some(key) = map.next_key::<&RawValue>()? {
            let index = string(key).and_then(|key| self.0.iter().position(|name| *name == key));
            match index {
                Some(index) => values[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(values)
    }
}

struct Unescape;

impl Visitor<'_> for Unescape {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<String, E> {
        let mut bytes = bytes.to_vec();
        replace_surrogates(&mut bytes);
        String::from_utf8(bytes).map_err(E::custom)
    }
}

/// serde_json gives a lone surrogate as the three bytes ED A0..BF xx, which no valid UTF-8
/// contains. U+FFFD has three bytes too.
fn replace_surrogates(bytes: &mut [u8]) {
    for start in 0..bytes.len().saturating_sub(2) {
        if bytes[start] == 0xED && bytes[start + 1] >= 0xA0 {
            bytes[start..start + 3].copy_from_slice("\u{FFFD}".as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn the_last_of_repeated_keys_counts() {
        let [a, b] = pick(r#"{"a":1,"b":2,"a":[3]}"#, &["a", "b"]).unwrap();
        assert_eq!(a.unwrap().get(), "[3]");
        assert_eq!(b.unwrap().get(), "2");
    }

    #[test]
    fn keys_may_hold_escapes_and_half_surrogate_pairs() {
        let text = r#"{"\ud83d":1,"\ud83dx\ude00":2,"\u0061":3,"\"\\":4,"\ud83d\ude00":5}"#;
        let [a, emoji] = pick(text, &["a", "😀"]).unwrap();
        assert_eq!(a.unwrap().get(), "3");
        assert_eq!(emoji.unwrap().get(), "5");
    }

    #[test]
    fn depth_costs_no_stack() {
        const LEVELS: usize = 1_000_000;
        let deep = format!(
            r#"{{"x":{}1{},"a":{}{}}}"#,
            r#"[{"y":"#.repeat(LEVELS),
            "}]".repeat(LEVELS),
            "[".repeat(LEVELS),
            "]".repeat(LEVELS)
        );
        let [a] = pick(&deep, &["a"]).unwrap();
        assert_eq!(a.unwrap().get().len(), 2 * LEVELS);
        check(&format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS))).unwrap();
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in [
            "",
            "{",
            "}",
            "[]",
            "{}x",
            "{} {}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":01}",
            "{\"a\":\"\\ud83\"}",
            "{\"a\":\"\\x\"}",
            "{,}",
            "{\"x\":[1}",
            "{\"x\":nul}",
            "{\"\\ud8zz\":1}",
            "{\"x\u{1}\":1}",
            "{\"\\n\t\":1}",
        ] {
            assert!(pick(text, &["a"]).is_err(), "{text}");
        }
    }

    #[test]
    fn strings_are_decoded_with_replacement() {
        for (text, expected) in [
            (r#""""#, ""),
            (r#""plain é""#, "plain é"),
            (r#""\"\\\/\b\f\n\r\t\u00e9""#, "\"\\/\u{8}\u{c}\n\r\té"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""a\ud83d""#, "a\u{FFFD}"),
            (r#""\ude00b""#, "\u{FFFD}b"),
            (r#""\ud83d\ud83d\ude00""#, "\u{FFFD}😀"),
            (r#""\ud83d\n""#, "\u{FFFD}\n"),
            (r#""\ud7ff\ue000""#, "\u{d7ff}\u{e000}"),
        ] {
            assert_eq!(string(&raw(text)).unwrap(), expected, "{text}");
        }
        for text in ["1", "null", "[\"a\"]", "{\"a\":\"b\"}", "true"] {
            assert!(string(&raw(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn integers() {
        assert_eq!(integer(&raw("-1")), Some(-1_i64));
        assert_eq!(integer(&raw("\"80\"")), Some(80_i64));
        for text in [
            "1.5",
            "1e3",
            "null",
            "true",
            "\"x\"",
            "\"\"",
            "[]",
            "99999999999999999999",
        ] {
            assert_eq!(integer::<i64>(&raw(text)), None, "{text}");
        }
        assert_eq!(integer::<u64>(&raw("-1")), None);
    }

    #[test]
    fn truth() {
        for text in ["null", "false", "0", "-0", "0.0", "0e5", "\"\""] {
            assert!(!truthy(&raw(text)), "{text}");
        }
        for text in ["true", "1", "\"0\"", "\" \"", "[]", "{}", "1e999"] {
            assert!(truthy(&raw(text)), "{text}");
        }
    }

    #[test]
    fn quoting() {
        assert_eq!(quote("a\"\\\n\u{1}é😀"), "\"a\\\"\\\\\\n\\u0001é😀\"");
    }
}
