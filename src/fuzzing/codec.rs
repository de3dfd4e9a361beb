//! The stream of a channel is cut into the same lines, however it arrives.

use super::bytes::Choices;
use crate::ipc::codec::LineDecoder;

/// In the inputs, a byte that stands for many: lines of 16 KiB and more are handled apart.
const MANY: u8 = 0xff;
const HOW_MANY: usize = 17_000;

/// A limit, the sizes of the chunks, whether lines are taken between them, and the stream.
pub(super) fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let limit = match choices.byte() {
        0 => 60_000,
        limit => usize::from(limit),
    };
    let count = 1 + choices.below(16);
    let cuts = choices.take(count);
    let stream = spell_out(choices.rest());
    // A long stream comes in longer chunks, and is looked at as a whole at its end.
    let unit = 1 + stream.len() / 256;
    let mut decoder = LineDecoder::new(limit);
    let (mut lines, mut fed) = (Vec::new(), 0);
    for &cut in cuts.iter().cycle() {
        if fed == stream.len() || cuts.is_empty() {
            break;
        }
        // The upper bits make long chunks, the lowest says whether the lines are taken now.
        let size = (unit + (usize::from(cut >> 1) << (cut >> 5))).min(stream.len() - fed);
        let fits = decoder.feed(&stream[fed..fed + size]).is_ok();
        fed += size;
        if cut & 1 == 0 {
            lines.extend(std::iter::from_fn(|| decoder.next_line()));
        }
        if fed < 4096 || fed == stream.len() {
            let (expected, unfinished) = cut_up(&stream[..fed], limit);
            assert_eq!(fits, unfinished.is_some());
            assert_eq!(decoder.buffered(), unfinished.unwrap_or(0));
            assert!(lines.len() <= expected.len());
        }
    }
    lines.extend(std::iter::from_fn(|| decoder.next_line()));
    assert!(lines == cut_up(&stream[..fed], limit).0);
}

fn spell_out(text: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut many = 0;
    for &byte in text.iter().take(400) {
        let is_many = byte == MANY && many < 3;
        many += usize::from(is_many);
        stream.resize(stream.len() + if is_many { HOW_MANY } else { 1 }, byte);
    }
    stream
}

/// The lines before the first that is too long, and how much of an unfinished one follows;
/// none where one is too long.
fn cut_up(stream: &[u8], limit: usize) -> (Vec<&[u8]>, Option<usize>) {
    let mut lines = Vec::new();
    let mut pieces = stream.split(|&byte| byte == b'\n').peekable();
    while let Some(piece) = pieces.next() {
        if piece.len() > limit {
            return (lines, None);
        }
        if pieces.peek().is_none() {
            return (lines, Some(piece.len()));
        }
        lines.push(piece);
    }
    (lines, Some(0))
}
