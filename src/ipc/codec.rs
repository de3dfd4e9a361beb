//! Bytes to lines.
//!
//! A line is what stands before a `\n`; there is no length and no escape, since `JSON.stringify`
//! never writes a raw newline.

use std::collections::VecDeque;

use bytes::Bytes;

/// A line that came in several parts, up to this length, is copied out of the buffer where they were put
/// together; a longer one takes the buffer along.
const COPY_UP_TO: usize = 16 * 1024;

/// As many lines as there is room for without giving memory back.
const KEEP_LINES: usize = 1024;

/// A child has sent a line that is longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a line of the channel is longer than the limit of {limit} bytes")]
pub struct LineTooLong {
    /// The limit in bytes, without the newline.
    pub limit: usize,
}

/// Cuts a stream of bytes into lines. Each byte is looked at once.
///
/// Every line has memory of its own: a slow receiver that has one in its outbox keeps alive nothing else.
#[derive(Debug)]
pub struct LineDecoder {
    /// The beginning of a line whose end has not come.
    unfinished: Vec<u8>,
    /// Complete lines, without their newlines.
    lines: VecDeque<Bytes>,
    max_line: usize,
    failed: bool,
}

impl LineDecoder {
    /// Lines of more than `max_line` bytes (without the newline) are an error.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self {
            unfinished: Vec::new(),
            lines: VecDeque::new(),
            max_line,
            failed: false,
        }
    }

    /// Takes what was read from the channel.
    ///
    /// # Errors
    /// [`LineTooLong`] when a line exceeds the limit. The lines before it can still be taken;
    /// the rest of the stream is lost, and every later call fails likewise.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), LineTooLong> {
        if self.failed {
            return Err(self.too_long());
        }
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', chunk) {
            let line = self.complete(&chunk[start..newline])?;
            self.lines.push_back(line);
            start = newline + 1;
        }
        let rest = &chunk[start..];
        self.check_length(rest)?;
        self.unfinished.extend_from_slice(rest);
        Ok(())
    }

    /// The next complete line, without its newline. An empty line is an empty `Bytes`.
    pub fn next_line(&mut self) -> Option<Bytes> {
        let line = self.lines.pop_front()?;
        if self.lines.is_empty() && self.lines.capacity() > KEEP_LINES {
            self.lines.shrink_to(KEEP_LINES);
        }
        Some(line)
    }

    /// How many bytes of an unfinished line are held. At the end of the stream they are garbage:
    /// a child that exits may leave half a line.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.unfinished.len()
    }

    /// The line that ends with `part`.
    fn complete(&mut self, part: &[u8]) -> Result<Bytes, LineTooLong> {
        self.check_length(part)?;
        if self.unfinished.is_empty() {
            return Ok(Bytes::copy_from_slice(part));
        }
        // The end is here: no room for more is needed.
        self.unfinished.reserve_exact(part.len());
        self.unfinished.extend_from_slice(part);
        let length = self.unfinished.len();
        if length > COPY_UP_TO {
            let mut line = std::mem::take(&mut self.unfinished);
            if line.capacity() - length > length / 4 {
                line.shrink_to_fit();
            }
            return Ok(Bytes::from(line));
        }
        let line = Bytes::copy_from_slice(&self.unfinished);
        self.unfinished.clear();
        Ok(line)
    }

    /// Fails for ever where the line would be too long with `part`.
    fn check_length(&mut self, part: &[u8]) -> Result<(), LineTooLong> {
        if self.unfinished.len() + part.len() <= self.max_line {
            return Ok(());
        }
        self.failed = true;
        self.unfinished = Vec::new();
        Err(self.too_long())
    }

    fn too_long(&self) -> LineTooLong {
        LineTooLong {
            limit: self.max_line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(decoder: &mut LineDecoder) -> Vec<Bytes> {
        std::iter::from_fn(|| decoder.next_line()).collect()
    }

    #[test]
    fn lines_come_out_without_their_newlines() {
        let mut decoder = LineDecoder::new(100);
        decoder.feed(b"one\ntwo\n\nthr").unwrap();
        assert_eq!(drain(&mut decoder), ["one", "two", ""]);
        assert_eq!(decoder.buffered(), 3);
        decoder.feed(b"ee\n").unwrap();
        assert_eq!(drain(&mut decoder), ["three"]);
        assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn every_way_to_cut_the_stream_gives_the_same_lines() {
        let long = "é".repeat(COPY_UP_TO);
        let text = format!("a\n\n{long}\nb{long}c\nd\n{long}");
        let expected: Vec<&str> = text.split('\n').collect();
        for size in [1, 2, 3, 1000, 16 * 1024, 65_536, text.len()] {
            let mut decoder = LineDecoder::new(1 << 20);
            let mut lines = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                decoder.feed(chunk).unwrap();
                lines.extend(drain(&mut decoder));
            }
            assert_eq!(lines, expected[..5], "chunks of {size}");
            assert_eq!(decoder.buffered(), expected[5].len());
        }
    }

    #[test]
    fn undrained_lines_are_kept_in_order() {
        let mut decoder = LineDecoder::new(1 << 20);
        let big = "x".repeat(50_000);
        for n in 0..100 {
            decoder.feed(format!("{n}{big}\n{n}\n").as_bytes()).unwrap();
        }
        let lines = drain(&mut decoder);
        assert_eq!(lines.len(), 200);
        for n in 0..100 {
            assert_eq!(lines[2 * n], format!("{n}{big}"));
            assert_eq!(lines[2 * n + 1], n.to_string());
        }
        assert!(decoder.lines.capacity() <= KEEP_LINES);
    }

    #[test]
    fn the_limit_is_exact() {
        for cut in 1..=6 {
            let mut decoder = LineDecoder::new(5);
            let text = b"12345\n1234";
            for chunk in text.chunks(cut) {
                decoder.feed(chunk).unwrap();
            }
            assert_eq!(drain(&mut decoder), ["12345"]);
            decoder.feed(b"5").unwrap();
            assert_eq!(decoder.feed(b"6\n"), Err(LineTooLong { limit: 5 }));
        }
    }

    #[test]
    fn a_long_line_hidden_in_one_chunk_is_found() {
        let mut decoder = LineDecoder::new(5);
        assert!(decoder.feed(b"ok\n123456\nlater\n").is_err());
        assert_eq!(drain(&mut decoder), ["ok"]);
        assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn after_a_long_line_nothing_is_taken_any_more() {
        let mut decoder = LineDecoder::new(5);
        decoder.feed(b"good\n123").unwrap();
        assert!(decoder.feed(b"456").is_err());
        assert!(decoder.feed(b"ok\n").is_err());
        assert_eq!(drain(&mut decoder), ["good"]);
        assert_eq!(
            decoder.feed(b"x").unwrap_err().to_string(),
            "a line of the channel is longer than the limit of 5 bytes"
        );
        let mut split = LineDecoder::new(5);
        split.feed(b"good\nab").unwrap();
        assert!(split.feed(b"c\n1234567").is_err());
        assert_eq!(drain(&mut split), ["good", "abc"]);
    }

    #[test]
    fn memory_of_a_huge_line_is_given_back() {
        let mut decoder = LineDecoder::new(usize::MAX);
        let chunk = vec![b'a'; 64 * 1024];
        for _ in 0..1024 {
            decoder.feed(&chunk).unwrap();
            assert!(decoder.next_line().is_none());
        }
        assert_eq!(decoder.buffered(), 64 << 20);
        decoder.feed(b"\nrest").unwrap();
        let line = decoder.next_line().unwrap();
        assert_eq!(line.len(), 64 << 20);
        assert!(line.iter().all(|byte| *byte == b'a'));
        assert!(decoder.unfinished.capacity() <= COPY_UP_TO);
        decoder.feed(b" of it\n").unwrap();
        assert_eq!(drain(&mut decoder), ["rest of it"]);
    }

    #[test]
    fn the_read_buffer_is_reused_for_small_lines() {
        let mut decoder = LineDecoder::new(1 << 20);
        let mut capacity = 0;
        for round in 0..10_000 {
            decoder
                .feed(b"{\"cmd\":\"NODE_HANDLE_ACK\"}\nhalf")
                .unwrap();
            decoder.feed(b"\n").unwrap();
            assert_eq!(drain(&mut decoder).len(), 2);
            if round == 100 {
                capacity = decoder.unfinished.capacity();
            }
        }
        assert!(decoder.unfinished.capacity() <= capacity.max(1024));
    }

    #[test]
    fn a_small_line_does_not_pin_the_buffer() {
        let mut decoder = LineDecoder::new(1 << 20);
        decoder.feed(b"small\n").unwrap();
        let line = decoder.next_line().unwrap();
        assert!(line.is_unique());
    }
}
