//! Plays outboxes against a model of the kernel's socket and of Node's reading, as measured on
//! Linux: see the documentation of [`super`].
#![allow(
    clippy::unwrap_used,
    reason = "a broken promise is reported by a panic"
)]

use std::collections::HashMap;

use super::*;

/// The longest piece that Linux makes of a write.
const PIECE: usize = 36_544;

/// What libuv reads at once.
const CHUNK: usize = 64 * 1024;

/// A small generator of numbers (xorshift64*), so that a failing seed can be played again.
struct Dice {
    seed: u64,
    /// Throws that are given, each of two bytes; they come first.
    given: VecDeque<u8>,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            given: VecDeque::new(),
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        if let (Some(low), high) = (self.given.pop_front(), self.given.pop_front()) {
            return usize::from(u16::from_le_bytes([low, high.unwrap_or_default()])) % limit;
        }
        self.seed ^= self.seed >> 12;
        self.seed ^= self.seed << 25;
        self.seed ^= self.seed >> 27;
        let number = self.seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % limit
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A piece of the stream as the kernel keeps it.
struct Piece {
    bytes: Bytes,
    handle: Option<u32>,
}

/// The socket, written to in fits and starts.
struct Socket {
    dice: Dice,
    pieces: VecDeque<Piece>,
    unread: usize,
    /// How much may be unread.
    room: usize,
    /// All that was ever written.
    stream: Vec<u8>,
    /// Where which handle was attached, and up to where the child had answered then.
    passed: Vec<(usize, u32, usize)>,
    /// The end of the newest line that was answered for.
    answered: usize,
}

/// Its frame is dropped.
fn is_absent(handle: u32) -> bool {
    handle % 17 == 5
}

/// It is there when its line is begun, and gone when it should be sent.
fn vanishes(handle: u32) -> bool {
    handle % 19 == 7
}

impl Sink<u32> for Socket {
    fn has(&self, handle: u32) -> bool {
        !is_absent(handle)
    }

    fn send(&mut self, parts: &[IoSlice<'_>], handle: Option<u32>) -> io::Result<usize> {
        match self.dice.below(40) {
            0 => return Err(io::ErrorKind::Interrupted.into()),
            1 => return Err(io::ErrorKind::WouldBlock.into()),
            2 => return Err(io::ErrorKind::OutOfMemory.into()),
            _ if self.unread >= self.room => return Err(io::ErrorKind::WouldBlock.into()),
            _ => {}
        }
        if handle.is_some_and(vanishes) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut bytes = Vec::new();
        for part in parts {
            bytes.extend_from_slice(part);
        }
        assert!(parts.len() <= MAX_PARTS && parts.iter().all(|part| !part.is_empty()));
        bytes.truncate(self.room - self.unread);
        if self.dice.once_in(3) {
            let count = 1 + self.dice.below(bytes.len());
            bytes.truncate(count);
        }
        self.put(&bytes, handle);
        Ok(bytes.len())
    }
}

impl Socket {
    fn new(dice: Dice, room: usize) -> Self {
        Self {
            dice,
            pieces: VecDeque::new(),
            unread: 0,
            room,
            stream: Vec::new(),
            passed: Vec::new(),
            answered: 0,
        }
    }

    /// One `sendmsg`: the handle goes with the first piece.
    fn put(&mut self, bytes: &[u8], handle: Option<u32>) {
        if let Some(handle) = handle {
            self.passed.push((self.stream.len(), handle, self.answered));
        }
        self.stream.extend_from_slice(bytes);
        self.unread += bytes.len();
        for (index, piece) in bytes.chunks(PIECE).enumerate() {
            self.pieces.push_back(Piece {
                bytes: Bytes::copy_from_slice(piece),
                handle: handle.filter(|_| index == 0),
            });
        }
    }

    /// One `recvmsg`: it goes on over pieces, but ends behind one that brought a handle.
    fn receive(&mut self) -> (Vec<u8>, Option<u32>) {
        let (mut chunk, mut handle) = (Vec::new(), None);
        while let Some(piece) = self.pieces.front_mut() {
            if chunk.len() == CHUNK {
                break;
            }
            handle = piece.handle.take().or(handle);
            let count = piece.bytes.len().min(CHUNK - chunk.len());
            chunk.extend_from_slice(&piece.bytes.split_to(count));
            if piece.bytes.is_empty() {
                self.pieces.pop_front();
                if handle.is_some() {
                    break;
                }
            }
        }
        self.unread -= chunk.len();
        (chunk, handle)
    }
}

/// The child: Node keeps one handle, for the next handle line that is complete.
#[derive(Default)]
struct Child {
    line: Vec<u8>,
    position: usize,
    pending: Option<u32>,
    lines: Vec<Vec<u8>>,
    /// Which handle's line was answered (none: a ping), how, and where it ended.
    answers: VecDeque<(Option<u32>, bool, usize)>,
}

impl Child {
    fn read(&mut self, socket: &mut Socket) {
        let (chunk, handle) = socket.receive();
        if handle.is_some() {
            assert_eq!(
                self.pending, None,
                "a handle is replaced before it was used"
            );
            self.pending = handle;
        }
        let mut rest = &chunk[..];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.position += end + 1;
            self.line.extend_from_slice(&rest[..end]);
            self.complete();
            rest = &rest[end + 1..];
        }
        self.position += rest.len();
        self.line.extend_from_slice(rest);
    }

    fn complete(&mut self) {
        let line = std::mem::take(&mut self.line);
        if let Some(expected) = handle_of(&line) {
            let got = self.pending.take();
            assert!(got.is_none() || got == Some(expected), "the wrong handle");
            let taken = got.is_some();
            self.answers
                .push_back((Some(expected), taken, self.position));
        } else if line == PING {
            assert_eq!(self.pending, None, "a ping takes a handle");
            self.answers.push_back((None, false, self.position));
        }
        self.lines.push(line);
    }
}

/// Handle lines of the model are `H`, the number, `}}` and any padding.
fn handle_of(line: &[u8]) -> Option<u32> {
    let digits = line.strip_prefix(b"H")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

fn padding(dice: &mut Dice) -> Bytes {
    let length = match dice.below(20) {
        0 => 60_000 + dice.below(12_000),
        1..5 => dice.below(6_000),
        _ => dice.below(60),
    };
    Bytes::from(vec![b'.'; length])
}

/// A frame, and its line.
fn frame(dice: &mut Dice, number: u32) -> (Frame<u32>, Vec<u8>) {
    match dice.below(11) {
        10 => (Frame::Ping, PING.to_vec()),
        0..5 => {
            let frame = Frame::Newconn {
                prefix: Bytes::from_static(b"H"),
                seq: u64::from(number),
                handle: number,
            };
            (frame, format!("H{number}}}}}").into_bytes())
        }
        5 => {
            let text = [format!("H{number}}}}}").as_bytes(), &padding(dice)].concat();
            let line = text.clone();
            let (text, handle) = (Bytes::from(text), number);
            (Frame::Handle { text, handle }, line)
        }
        _ => {
            let head = Bytes::from([&b"P"[..], &padding(dice)].concat());
            let tail = if dice.once_in(2) {
                padding(dice)
            } else {
                Bytes::new()
            };
            let line = [&head[..], &tail[..]].concat();
            (Frame::Message { head, tail }, line)
        }
    }
}

/// Plays what an input of the fuzzer says: the first half of it throws the dice of the test, the second
/// those of the socket.
pub(crate) fn check(data: &[u8]) {
    let (ours, sockets) = data.split_at(data.len() / 2);
    let dice = |given: &[u8], seed| Dice {
        given: given.iter().copied().collect(),
        ..Dice::new(seed)
    };
    play(dice(ours, 1), dice(sockets, 77), 40);
}

/// Plays so many frames to their end; returns how many handles went with whole lines and newlines.
fn play(mut dice: Dice, sockets: Dice, frames: u32) -> (usize, usize) {
    let room = [5_000, 60_000, 212_992][dice.below(3)];
    let laziness = 1 + dice.below(8);
    let mut socket = Socket::new(sockets, room);
    let (mut child, mut outbox) = (Child::default(), Outbox::new());
    let (mut lines, mut answers, mut number) = (Vec::new(), HashMap::new(), 0);
    loop {
        if number < frames && dice.once_in(2) {
            let (frame, line) = frame(&mut dice, number);
            outbox.push(frame);
            lines.push(line);
            number += 1;
        }
        if dice.once_in(3) {
            let flush = outbox.flush(&mut socket).unwrap();
            assert_eq!(flush == Flush::Drained, outbox.is_empty());
        }
        if dice.once_in(laziness) {
            child.read(&mut socket);
        }
        if dice.once_in(laziness)
            && let Some((handle, taken, end)) = child.answers.pop_front()
        {
            socket.answered = end;
            let was_ping = outbox.take_pong();
            assert_eq!(was_ping, handle.is_none());
            if let Some(handle) = handle {
                let answered = if taken {
                    outbox.acked()
                } else {
                    outbox.nacked()
                };
                assert_eq!(answered, Some(handle));
                answers.insert(handle, taken);
            }
        }
        let over = number == frames && outbox.is_empty() && outbox.in_flight() == 0;
        if over && socket.unread == 0 && child.answers.is_empty() {
            break;
        }
    }
    check_lines(&lines, &child.lines, &answers);
    check_places(&socket)
}

/// All lines arrived, in order, each handle with its line.
fn check_lines(sent: &[Vec<u8>], got: &[Vec<u8>], answers: &HashMap<u32, bool>) {
    let mut got = got.iter().peekable();
    for line in sent {
        let handle = handle_of(line);
        let may_lack = handle.is_some_and(|handle| is_absent(handle) || vanishes(handle));
        if may_lack && got.peek() != Some(&line) {
            continue;
        }
        assert!(
            got.next() == Some(line),
            "a line is missing, doubled or broken"
        );
        if let Some(handle) = handle {
            assert!(!is_absent(handle));
            assert_eq!(answers.get(&handle), Some(&!vanishes(handle)));
        }
    }
    assert_eq!(got.next(), None);
}

/// Each handle went with the newline of its line, or with the first byte of a whole line that
/// was allowed to.
fn check_places(socket: &Socket) -> (usize, usize) {
    let mut bounds = HashMap::new();
    let mut start = 0;
    for newline in memchr::memchr_iter(b'\n', &socket.stream) {
        if let Some(handle) = handle_of(&socket.stream[start..newline]) {
            bounds.insert(handle, (start, newline + 1));
        }
        start = newline + 1;
    }
    let (mut whole, mut newline) = (0, 0);
    for (position, handle, answered) in &socket.passed {
        let (start, end) = bounds[handle];
        if *position == start {
            assert!(end - start <= WHOLE_LINE_MAX);
            assert!((end - answered) as u64 <= UNREAD_MAX);
            whole += 1;
        } else {
            assert_eq!(*position, end - 1);
            newline += 1;
        }
    }
    (whole, newline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_taken_in_part_or_read_late_each_handle_arrives_with_its_line() {
        let (mut whole, mut newline) = (0, 0);
        for seed in 0..100 {
            let counts = play(Dice::new(seed * 2 + 1), Dice::new(seed + 77), 400);
            whole += counts.0;
            newline += counts.1;
        }
        assert!(whole > 1000 && newline > 1000, "{whole} {newline}");
    }

    /// Takes all, always.
    struct Willing(Socket);

    impl Sink<u32> for Willing {
        fn has(&self, _: u32) -> bool {
            true
        }

        fn send(&mut self, parts: &[IoSlice<'_>], handle: Option<u32>) -> io::Result<usize> {
            let mut bytes = Vec::new();
            for part in parts {
                bytes.extend_from_slice(part);
            }
            self.0.put(&bytes, handle);
            Ok(bytes.len())
        }
    }

    #[test]
    fn a_chunk_that_ends_anywhere_near_a_handle_line_does_no_harm() {
        for length in CHUNK - 60..CHUNK + 10 {
            for at_once in [true, false] {
                let mut sink = Willing(Socket::new(Dice::new(1), usize::MAX));
                let (mut child, mut outbox) = (Child::default(), Outbox::new());
                let plain = Frame::Message {
                    head: Bytes::from(vec![b'.'; length]),
                    tail: Bytes::new(),
                };
                let handles = (0..5).map(|number| Frame::Newconn {
                    prefix: Bytes::from_static(b"H"),
                    seq: number.into(),
                    handle: number,
                });
                for frame in std::iter::once(plain).chain(handles) {
                    outbox.push(frame);
                    if !at_once {
                        assert_eq!(outbox.flush(&mut sink).unwrap(), Flush::Drained);
                    }
                }
                assert_eq!(outbox.flush(&mut sink).unwrap(), Flush::Drained);
                while sink.0.unread > 0 {
                    child.read(&mut sink.0);
                }
                assert_eq!(child.answers.len(), 5);
                assert!(child.answers.iter().all(|(_, taken, _)| *taken), "{length}");
            }
        }
    }
}
