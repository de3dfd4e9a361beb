//! JSON as ECMAScript's `JSON.parse` has it: strings are UTF-16 with or without pairs, the last
//! of repeated keys counts, any depth, numbers of any size. Written anew and without recursion, to
//! be compared with what the channel's own reader makes of a text.

/// The members of an object: key, and the text of the value. The last of repeated keys only, in the order
/// of the first. None where `text` is not one JSON object.
pub(super) fn members(text: &str) -> Option<Vec<(Vec<u16>, &str)>> {
    let bytes = text.as_bytes();
    let mut found: Vec<(Vec<u16>, &str)> = Vec::new();
    let mut at = skip_space(bytes, 0);
    (bytes.get(at) == Some(&b'{')).then_some(())?;
    at = skip_space(bytes, at + 1);
    if bytes.get(at) == Some(&b'}') {
        return ends(bytes, at + 1).then_some(found);
    }
    loop {
        let key_end = skip_string(bytes, at)?;
        let key = string(&text[at..key_end])?;
        at = skip_space(bytes, skip_colon(bytes, key_end)?);
        let end = skip_value(bytes, at)?;
        let value = &text[at..end];
        match found.iter_mut().find(|(name, _)| *name == key) {
            Some(member) => member.1 = value,
            None => found.push((key, value)),
        }
        at = skip_space(bytes, end);
        match bytes.get(at)? {
            b',' => at = skip_space(bytes, at + 1),
            b'}' => return ends(bytes, at + 1).then_some(found),
            _ => return None,
        }
    }
}

/// Whether `text` is one JSON value.
pub(super) fn is_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    skip_value(bytes, skip_space(bytes, 0)).is_some_and(|end| ends(bytes, end))
}

/// The value of a JSON string; none where `text` is something else.
pub(super) fn string(text: &str) -> Option<Vec<u16>> {
    if skip_string(text.as_bytes(), 0) != Some(text.len()) {
        return None;
    }
    let mut units = Vec::new();
    let mut chars = text[1..text.len() - 1].chars();
    while let Some(char) = chars.next() {
        let unit = match char {
            '\\' => match chars.next()? {
                'b' => 8,
                'f' => 12,
                'n' => 10,
                'r' => 13,
                't' => 9,
                'u' => {
                    let digits = chars.as_str().get(..4)?;
                    chars = chars.as_str()[4..].chars();
                    u16::from_str_radix(digits, 16).ok()?
                }
                other => u16::try_from(u32::from(other)).ok()?,
            },
            char => {
                units.extend_from_slice(char.encode_utf16(&mut [0; 2]));
                continue;
            }
        };
        units.push(unit);
    }
    Some(units)
}

fn ends(bytes: &[u8], at: usize) -> bool {
    skip_space(bytes, at) == bytes.len()
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

fn skip_colon(bytes: &[u8], at: usize) -> Option<usize> {
    let at = skip_space(bytes, at);
    (bytes.get(at) == Some(&b':')).then_some(at + 1)
}

fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = (bytes.get(at) == Some(&b'"')).then_some(at + 1)?;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match bytes.get(at + 1)? {
                b'u' => {
                    let digits = bytes.get(at + 2..at + 6)?;
                    digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                    at += 6;
                }
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                _ => return None,
            },
            0..0x20 => return None,
            _ => at += 1,
        }
    }
}

fn skip_digits(bytes: &[u8], at: usize) -> Option<usize> {
    let count = bytes[at.min(bytes.len())..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    (count > 0).then_some(at + count)
}

fn skip_number(bytes: &[u8], at: usize) -> Option<usize> {
    let start = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut at = skip_digits(bytes, start)?;
    if bytes[start] == b'0' && at > start + 1 {
        return None;
    }
    if bytes.get(at) == Some(&b'.') {
        at = skip_digits(bytes, at + 1)?;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(at + 1), Some(b'+' | b'-'));
        at = skip_digits(bytes, at + 1 + usize::from(signed))?;
    }
    Some(at)
}

fn skip_word(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let word = [&b"null"[..], b"true", b"false"]
        .into_iter()
        .find(|word| rest.starts_with(word))?;
    Some(at + word.len())
}

fn skip_key(bytes: &[u8], at: usize) -> Option<usize> {
    skip_colon(bytes, skip_string(bytes, skip_space(bytes, at))?)
}

/// `at` is where a value begins, or white space before it.
fn skip_value(bytes: &[u8], mut at: usize) -> Option<usize> {
    // What ends the objects and arrays that are open.
    let mut open = Vec::new();
    loop {
        at = skip_space(bytes, at);
        let closer = match bytes.get(at)? {
            b'{' => Some(b'}'),
            b'[' => Some(b']'),
            b'"' => {
                at = skip_string(bytes, at)?;
                None
            }
            b'-' | b'0'..=b'9' => {
                at = skip_number(bytes, at)?;
                None
            }
            _ => {
                at = skip_word(bytes, at)?;
                None
            }
        };
        if let Some(closer) = closer {
            at = skip_space(bytes, at + 1);
            if bytes.get(at) == Some(&closer) {
                at += 1;
            } else {
                if closer == b'}' {
                    at = skip_key(bytes, at)?;
                }
                open.push(closer);
                continue;
            }
        }
        // A value has ended: what is open goes on, or ends, too.
        loop {
            let Some(&closer) = open.last() else {
                return Some(at);
            };
            at = skip_space(bytes, at);
            match bytes.get(at)? {
                b',' => {
                    at += 1;
                    if closer == b'}' {
                        at = skip_key(bytes, at)?;
                    }
                    break;
                }
                byte if *byte == closer => {
                    at += 1;
                    open.pop();
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_takes_what_json_parse_takes() {
        for text in [
            "1",
            " -0.5e+400 ",
            "\"\\ud83d\"",
            "[]",
            "[1,[2,{\"a\":{}}]]",
            "{}",
            "null",
            "{\"\":\t0}",
        ] {
            assert!(is_value(text), "{text}");
        }
        for text in [
            "",
            "01",
            "1.",
            ".5",
            "+1",
            "[1,]",
            "{,}",
            "{\"a\"}",
            "\"\\x\"",
            "\"\t\"",
            "nul",
            "1 2",
            "[}",
            "{\"a\":1,}",
            "\u{feff}1",
            "\"\\ud83\"",
            "NaN",
            "-",
            "1e",
        ] {
            assert!(!is_value(text), "{text}");
        }
        let text = r#"{"a":1,"b":"\u0061\ud83d","\u0061" : [2] }"#;
        let a = "a".encode_utf16().collect::<Vec<_>>();
        let b = "b".encode_utf16().collect::<Vec<_>>();
        assert_eq!(
            members(text).unwrap(),
            [(a, "[2]"), (b, r#""\u0061\ud83d""#)]
        );
        assert_eq!(string(r#""\u0061\ud83d""#).unwrap(), [0x61, 0xd83d]);
    }
}
