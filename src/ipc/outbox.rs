//! Frames on their way to a child, in order, with descriptors that arrive at the right message.
//!
//! # Passing descriptors
//!
//! A child (libuv and Node, all versions) reads its channel in chunks of at most 64 KiB. The
//! kernel ends a read behind the piece that carried a descriptor, and delivers the descriptor
//! with the *first* byte of that piece. Node keeps one descriptor per chunk, and gives it to the
//! first handle line that is *completed* in this or a later chunk. So the danger is a chunk that
//! ends inside a handle line whose descriptor is delivered already: the next chunk may bring the
//! next descriptor, which replaces it. Two framings avoid that:
//!
//! * **Newline.** The line goes as plain bytes but for its newline, and the newline is the first
//!   byte of the write that carries the descriptor. The line is complete with the very byte that
//!   brings the descriptor, so nothing can go wrong, whatever is unread and however little is
//!   written at a time. What follows may stand in the same write, also the next handle line up to
//!   its newline. A run of n handles costs n + 1 writes.
//! * **Whole line.** The descriptor goes with the first byte of the line, and the line is one
//!   write: half the writes for a single handle. Allowed only while the chunk cannot end inside:
//!   the line is at most [`WHOLE_LINE_MAX`] bytes long (one piece in the kernel, whatever the
//!   size of the send buffer), and it ends at most [`UNREAD_MAX`] bytes behind the last position that the child is known to have read, the
//!   end of the newest acknowledged handle line. A read starts there or later, takes up to
//!   64 KiB, and so reaches the end of the line.
//!
//! When the system takes only a part of a whole line, the bound is of no help: the child may have
//! read the part before the rest is written, and then the rest and the next descriptor may come
//! in one chunk. So the rest is written plain, and no further descriptor goes out before this
//! one is answered. The same barrier stands behind a newline whose descriptor was gone when its
//! turn came: the line is completed without one (half a line would be fatal to the child), and
//! without the barrier it would take the next line's descriptor.
//!
//! # Pings
//!
//! A handle line without a descriptor is answered by Node itself, so [`Frame::Ping`] asks whether
//! the child's event loop turns. The kernel may hand over plain bytes and the write with a
//! descriptor behind them in one chunk, and then the first handle line in it, the ping, would take
//! the descriptor. So the barrier stands behind every ping: no descriptor goes out before it is
//! answered. Descriptors before it are safe: each is taken by its own line, which ends before the
//! ping begins.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};

use super::encode::{HANDLE_ACK, PING};

/// The longest line, in bytes with its newline, that goes out whole with its descriptor. Linux
/// makes one piece of up to half the send buffer less 64 bytes, and the least send buffer that
/// can be set is 4,608 bytes.
pub const WHOLE_LINE_MAX: usize = 2 * 1024;

/// How far behind the last position known to be read such a line may end, in bytes.
pub const UNREAD_MAX: u64 = 48 * 1024;

/// Parts shorter than this are copied together, longer ones are written from where they are.
const COPY_BELOW: usize = 4 * 1024;

/// When so many bytes are copied together, they are written.
const STAGE_LIMIT: usize = 32 * 1024;

/// The most parts of one write.
const MAX_PARTS: usize = 64;

/// The most parts that one frame can have, with its newline.
const PARTS_OF_FRAME: usize = 4;

/// A queue that has grown beyond this is shrunk once it is empty.
const KEEP_FRAMES: usize = 1024;

/// One line to a child, without its newline.
#[derive(Debug, Clone)]
pub enum Frame<H> {
    /// `head` followed by `tail`, both shared among the receivers.
    Message {
        /// The first part of the line.
        head: Bytes,
        /// The rest of the line, may be empty.
        tail: Bytes,
    },
    /// A line that carries a descriptor.
    Handle {
        /// The whole line.
        text: Bytes,
        /// What it carries.
        handle: H,
    },
    /// A new connection: `prefix`, the number, and `}}`.
    Newconn {
        /// Prepared once per listener by [`super::encode::newconn_prefix`].
        prefix: Bytes,
        /// The `seq` of the message.
        seq: u64,
        /// The connection.
        handle: H,
    },
    /// Asks for a sign of life; see [`Outbox::take_pong`].
    Ping,
}

impl<H: Copy> Frame<H> {
    fn handle(&self) -> Option<H> {
        match self {
            Self::Message { .. } | Self::Ping => None,
            Self::Handle { handle, .. } | Self::Newconn { handle, .. } => Some(*handle),
        }
    }

    /// The length in bytes, without the newline.
    fn len(&self) -> usize {
        match self {
            Self::Message { head, tail } => head.len() + tail.len(),
            Self::Handle { text, .. } => text.len(),
            Self::Newconn { prefix, seq, .. } => {
                prefix.len() + itoa::Buffer::new().format(*seq).len() + NEWCONN_END.len()
            }
            Self::Ping => PING.len(),
        }
    }
}

const NEWCONN_END: &[u8] = b"}}";

/// Where an outbox writes to: the channel, and the table of descriptors.
pub trait Sink<H> {
    /// Whether the descriptor is still there. Asked before the first byte of its line is written;
    /// from a `true` until the descriptor is sent it should stay.
    fn has(&self, handle: H) -> bool;

    /// Writes as much of `parts` as the channel takes, in one call, and passes the descriptor of
    /// `handle` with the first byte. Returns the number of bytes, never 0.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when `handle` has no descriptor any more (nothing is written
    /// then), otherwise the system's error.
    fn send(&mut self, parts: &[IoSlice<'_>], handle: Option<H>) -> io::Result<usize>;
}

/// How [`Outbox::flush`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flush {
    /// All is written.
    Drained,
    /// The channel is full: go on when it is writable.
    Blocked,
    /// The next frame may not go out before the child has answered, or at least has read what was
    /// written. Go on after its next answer, and unless [`Outbox::awaits_answer`] after some
    /// milliseconds.
    Barred,
    /// Nothing can be written now although the channel may be writable: the system is short of
    /// buffers or memory, or has too many descriptors in flight. Go on after some milliseconds.
    /// The child cannot be blamed for what it has not been asked meanwhile.
    Starved,
}

/// Frames on their way to one child. `H` names a descriptor; the [`Sink`] knows it.
#[derive(Debug)]
pub struct Outbox<H> {
    /// Not begun yet.
    queue: VecDeque<Frame<H>>,
    /// Being written.
    batch: Batch<H>,
    /// A handle line is in the batch, or written, up to its newline; this goes with the newline.
    owed: Option<H>,
    /// Passed to the child (a ping: put into the batch) and not answered, oldest first.
    sent: VecDeque<Sent<H>>,
    /// Bytes of `queue` and `batch`, and the newline that is owed.
    queued: usize,
    /// How many bytes were written so far: the position in the stream.
    written: u64,
    /// The position up to which the child is known to have read.
    consumed: u64,
    /// No descriptor may be sent while `consumed` is below this position.
    barrier: u64,
}

/// A handle line that the child has to answer for.
#[derive(Debug)]
struct Sent<H> {
    /// None for a ping.
    handle: Option<H>,
    /// The position behind its line.
    end: u64,
}

impl<H: Copy> Default for Outbox<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Copy> Outbox<H> {
    /// An empty outbox of a new channel.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            batch: Batch::new(),
            owed: None,
            sent: VecDeque::new(),
            queued: 0,
            written: 0,
            consumed: 0,
            barrier: 0,
        }
    }

    /// Adds a frame. An empty one is dropped, since an empty line would end the child.
    pub fn push(&mut self, frame: Frame<H>) {
        let length = frame.len();
        if length > 0 {
            self.queued += length + 1;
            self.queue.push_back(frame);
        }
    }

    /// Adds the answer to a descriptor that the child has sent: once for each.
    pub fn push_ack(&mut self) {
        self.push(Frame::Message {
            head: Bytes::from_static(HANDLE_ACK),
            tail: Bytes::new(),
        });
    }

    /// How many bytes are not written yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// How many frames are not begun yet: messages, and lines with handles.
    #[must_use]
    pub fn queued_frames(&self) -> usize {
        self.queue.len()
    }

    /// Whether all is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// How many handles are passed to the child and not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.unanswered().count()
    }

    /// The handles that are passed to the child and not answered, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = H> {
        self.sent.iter().filter_map(|sent| sent.handle)
    }

    /// Asked at every answer, before [`Outbox::acked`] and [`Outbox::nacked`]: whether it is for a
    /// ping, which is answered with `NODE_HANDLE_NACK`. The ping is settled then.
    pub fn take_pong(&mut self) -> bool {
        let is_ping = self.sent.front().is_some_and(|sent| sent.handle.is_none());
        is_ping && self.settle_oldest().is_some()
    }

    /// The child has sent `NODE_HANDLE_ACK`: it has taken the handle that this returns. `None`:
    /// no answer was due.
    pub fn acked(&mut self) -> Option<H> {
        self.answered()
    }

    /// The child has sent `NODE_HANDLE_NACK`: it has not got the handle that this returns.
    /// `None`: no answer was due.
    pub fn nacked(&mut self) -> Option<H> {
        self.answered()
    }

    /// The k-th answer is for the k-th handle line. Either answer proves that the line was read.
    fn answered(&mut self) -> Option<H> {
        self.settle_oldest()?.handle
    }

    fn settle_oldest(&mut self) -> Option<Sent<H>> {
        let oldest = self.sent.front().filter(|sent| sent.end <= self.written)?;
        self.consumed = oldest.end;
        self.sent.pop_front()
    }

    /// Nothing but an answer of the child lets the next frame go out.
    #[must_use]
    pub fn awaits_answer(&self) -> bool {
        self.batch.is_empty() && self.is_barred()
    }

    /// Writes until all is written or nothing more can be. A frame whose handle is gone before
    /// its first byte is written is dropped whole, and no answer will come for it.
    ///
    /// # Errors
    /// The sink's error when the channel is broken, and [`io::ErrorKind::WriteZero`] when it
    /// writes nothing. The channel is of no use afterwards.
    pub fn flush<S: Sink<H>>(&mut self, sink: &mut S) -> io::Result<Flush> {
        loop {
            if self.batch.is_empty() && !self.begin_batch(sink) {
                return Ok(self.rest());
            }
            match self.batch.send(sink) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.advance(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(Flush::Blocked);
                }
                Err(error) if is_starved(&error) => {
                    tracing::debug!(%error, "a channel cannot be written for the moment");
                    return Ok(Flush::Starved);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.lose_handle(error)?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Nothing could be put into a batch: there is nothing, or it stands behind the barrier.
    fn rest(&mut self) -> Flush {
        if !self.is_empty() {
            return Flush::Barred;
        }
        if self.queue.capacity() > KEEP_FRAMES {
            self.queue.shrink_to(KEEP_FRAMES);
        }
        Flush::Drained
    }

    /// Fills the empty batch with what can go out in one write; `false` when nothing can.
    fn begin_batch(&mut self, sink: &impl Sink<H>) -> bool {
        self.batch.clear();
        if let Some(handle) = self.owed {
            if self.is_barred() {
                return false;
            }
            self.owed = None;
            self.batch.carry(Passenger::newline(handle));
            self.batch.stage(b"\n");
        }
        while self.batch.has_room() && self.take_frame(sink) {}
        !self.batch.is_empty()
    }

    /// Moves the next frame from the queue into the batch; `false` when the batch has to end.
    fn take_frame(&mut self, sink: &impl Sink<H>) -> bool {
        let Some(frame) = self.queue.front() else {
            return false;
        };
        let length = frame.len() + 1;
        let handle = frame.handle();
        match handle {
            // The answers come in the order of the lines: the passenger's is noted first.
            None if matches!(frame, Frame::Ping) && self.batch.passenger.is_some() => return false,
            None => {}
            Some(handle) if !sink.has(handle) => {
                self.queued -= length;
                self.queue.pop_front();
                return true;
            }
            // A whole line ends its run: the next handle may be allowed to go out whole as well.
            Some(_) if self.is_barred() || self.batch.carries_whole_line() => return false,
            Some(handle) => {
                if self.batch.is_empty() && self.may_go_whole(length) {
                    self.batch.carry(Passenger::whole_line(handle, length));
                } else {
                    self.owed = Some(handle);
                }
            }
        }
        let mut is_ping = false;
        if let Some(frame) = self.queue.pop_front() {
            is_ping = matches!(frame, Frame::Ping);
            self.batch.put(frame);
        }
        if self.owed.is_none() {
            self.batch.stage(b"\n");
        }
        if is_ping {
            let end = self.written + self.batch.len() as u64;
            self.sent.push_back(Sent { handle: None, end });
            self.barrier = end;
        }
        self.owed.is_none()
    }

    fn is_barred(&self) -> bool {
        self.consumed < self.barrier
    }

    /// Whether a line of `length` bytes, written next, ends before any read can.
    fn may_go_whole(&self, length: usize) -> bool {
        length <= WHOLE_LINE_MAX && self.written + length as u64 - self.consumed <= UNREAD_MAX
    }

    /// `count` bytes of the batch are written.
    fn advance(&mut self, count: usize) {
        if let Some(passenger) = self.batch.passenger.take() {
            let end = self.written + passenger.line as u64;
            if passenger.lost || count < passenger.line {
                self.barrier = end;
            }
            let handle = Some(passenger.handle);
            self.sent.push_back(Sent { handle, end });
        }
        self.written += count as u64;
        self.queued -= count;
        self.batch.advance(count);
    }

    /// The sink has no descriptor for the handle of the batch.
    fn lose_handle(&mut self, error: io::Error) -> io::Result<()> {
        match self.batch.passenger.take() {
            Some(passenger) if passenger.whole => {
                self.queued -= passenger.line;
                self.batch.advance(passenger.line);
            }
            Some(passenger) if !passenger.lost => {
                let lost = true;
                self.batch.carry(Passenger { lost, ..passenger });
            }
            _ => return Err(error),
        }
        Ok(())
    }
}

/// What goes out next, in one write or, when the channel takes less, in several.
#[derive(Debug)]
struct Batch<H> {
    segments: VecDeque<Segment>,
    /// The bytes of the staged segments, one after the other.
    staging: Vec<u8>,
    /// How many of them are written.
    staged_from: usize,
    /// Goes with the first byte.
    passenger: Option<Passenger<H>>,
}

#[derive(Debug)]
enum Segment {
    /// So many bytes of the staging buffer.
    Staged(usize),
    /// Bytes that other outboxes may hold too.
    Shared(Bytes),
}

/// A handle that goes with the first byte of a batch.
#[derive(Debug)]
struct Passenger<H> {
    handle: H,
    /// How many bytes its line has from the first byte of the batch, with the newline.
    line: usize,
    /// All of its line is in the batch.
    whole: bool,
    /// Its descriptor is gone; the line is completed without it.
    lost: bool,
}

impl<H> Passenger<H> {
    fn newline(handle: H) -> Self {
        Self {
            handle,
            line: 1,
            whole: false,
            lost: false,
        }
    }

    fn whole_line(handle: H, line: usize) -> Self {
        Self {
            handle,
            line,
            whole: true,
            lost: false,
        }
    }
}

impl<H: Copy> Batch<H> {
    fn new() -> Self {
        Self {
            segments: VecDeque::new(),
            staging: Vec::new(),
            staged_from: 0,
            passenger: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many bytes are to be written.
    fn len(&self) -> usize {
        let length = |segment: &Segment| match segment {
            Segment::Staged(length) => *length,
            Segment::Shared(bytes) => bytes.len(),
        };
        self.segments.iter().map(length).sum()
    }

    /// Forgets what is written, keeps the memory.
    fn clear(&mut self) {
        self.staging.clear();
        self.staged_from = 0;
    }

    fn has_room(&self) -> bool {
        self.segments.len() + PARTS_OF_FRAME <= MAX_PARTS && self.staging.len() < STAGE_LIMIT
    }

    fn carry(&mut self, passenger: Passenger<H>) {
        self.passenger = Some(passenger);
    }

    fn carries_whole_line(&self) -> bool {
        self.passenger.as_ref().is_some_and(|p| p.whole)
    }

    /// Adds a frame, without its newline.
    fn put(&mut self, frame: Frame<H>) {
        match frame {
            Frame::Message { head, tail } => {
                self.share(head);
                self.share(tail);
            }
            Frame::Handle { text, .. } => self.share(text),
            Frame::Newconn { prefix, seq, .. } => {
                self.share(prefix);
                self.stage(itoa::Buffer::new().format(seq).as_bytes());
                self.stage(NEWCONN_END);
            }
            Frame::Ping => self.stage(PING),
        }
    }

    /// Adds bytes, without copying them when they are many.
    fn share(&mut self, bytes: Bytes) {
        if bytes.len() < COPY_BELOW {
            self.stage(&bytes);
        } else {
            self.segments.push_back(Segment::Shared(bytes));
        }
    }

    /// Adds a copy of bytes.
    fn stage(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.staging.extend_from_slice(bytes);
        if let Some(Segment::Staged(length)) = self.segments.back_mut() {
            *length += bytes.len();
        } else {
            self.segments.push_back(Segment::Staged(bytes.len()));
        }
    }

    /// Writes once.
    fn send(&self, sink: &mut impl Sink<H>) -> io::Result<usize> {
        let mut parts = [IoSlice::new(&[]); MAX_PARTS];
        let mut staged = &self.staging[self.staged_from..];
        for (part, segment) in parts.iter_mut().zip(&self.segments) {
            *part = IoSlice::new(match segment {
                Segment::Shared(bytes) => bytes,
                Segment::Staged(length) => {
                    let (bytes, rest) = staged.split_at(*length);
                    staged = rest;
                    bytes
                }
            });
        }
        let present = self.passenger.as_ref().filter(|p| !p.lost);
        let count = self.segments.len().min(MAX_PARTS);
        sink.send(&parts[..count], present.map(|p| p.handle))
    }

    /// Takes `count` bytes off the front.
    fn advance(&mut self, mut count: usize) {
        while count > 0 {
            let Some(segment) = self.segments.front_mut() else {
                return;
            };
            let length = match segment {
                Segment::Staged(length) => *length,
                Segment::Shared(bytes) => bytes.len(),
            };
            let taken = count.min(length);
            match segment {
                Segment::Staged(length) => {
                    *length -= taken;
                    self.staged_from += taken;
                }
                Segment::Shared(bytes) => bytes.advance(taken),
            }
            if taken == length {
                self.segments.pop_front();
            }
            count -= taken;
        }
    }
}

/// The system is short of something that no readiness event announces: buffers, memory, or the
/// right to have more descriptors in flight (`ETOOMANYREFS`, bounded by `RLIMIT_NOFILE`).
fn is_starved(error: &io::Error) -> bool {
    #[cfg(target_os = "linux")]
    const NUMBERS: [i32; 2] = [105, 109];
    #[cfg(not(target_os = "linux"))]
    const NUMBERS: [i32; 2] = [55, 59];
    error.kind() == io::ErrorKind::OutOfMemory
        || error
            .raw_os_error()
            .is_some_and(|number| NUMBERS.contains(&number))
}

#[cfg(any(test, fuzzing))]
pub(crate) mod model;

#[cfg(test)]
mod tests {
    use super::*;

    /// What one call of the sink got.
    #[derive(Debug, PartialEq, Eq)]
    struct Call {
        bytes: String,
        handle: Option<u32>,
        parts: usize,
    }

    fn call(bytes: &str, handle: Option<u32>) -> Call {
        let parts = 1;
        Call {
            bytes: bytes.to_owned(),
            handle,
            parts,
        }
    }

    /// Takes what it is told to take.
    #[derive(Default)]
    struct Script {
        calls: Vec<Call>,
        /// How much the next calls take, or with which error they fail; then everything.
        answers: VecDeque<io::Result<usize>>,
        absent: Vec<u32>,
    }

    impl Sink<u32> for Script {
        fn has(&self, handle: u32) -> bool {
            !self.absent.contains(&handle)
        }

        fn send(&mut self, parts: &[IoSlice<'_>], handle: Option<u32>) -> io::Result<usize> {
            let all = parts.iter().flat_map(|part| part.iter().copied());
            let mut bytes: Vec<u8> = all.collect();
            let count = self.answers.pop_front().unwrap_or(Ok(bytes.len()))?;
            bytes.truncate(count);
            self.calls.push(Call {
                bytes: String::from_utf8(bytes).unwrap(),
                handle,
                parts: parts.len(),
            });
            Ok(count)
        }
    }

    fn message(text: &str) -> Frame<u32> {
        Frame::Message {
            head: Bytes::from(text.to_owned()),
            tail: Bytes::new(),
        }
    }

    fn newconn(handle: u32) -> Frame<u32> {
        Frame::Newconn {
            prefix: Bytes::from_static(b"{new:"),
            seq: u64::from(handle),
            handle,
        }
    }

    /// An outbox whose child is not known to have read what fills the bound of whole lines.
    fn behind() -> (Outbox<u32>, Script) {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        outbox.push(message(&"x".repeat(usize::try_from(UNREAD_MAX).unwrap())));
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        script.calls.clear();
        (outbox, script)
    }

    fn full() -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn errno(number: i32) -> io::Result<usize> {
        Err(io::Error::from_raw_os_error(number))
    }

    #[test]
    fn small_frames_go_out_in_one_write() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        outbox.push(message("{1}"));
        outbox.push_ack();
        outbox.push(Frame::Message {
            head: Bytes::from_static(b"{2"),
            tail: Bytes::from_static(b",3}"),
        });
        assert_eq!(outbox.queued_bytes(), 4 + 26 + 6);
        assert_eq!(outbox.queued_frames(), 3);
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(outbox.queued_frames(), 0);
        let all = "{1}\n{\"cmd\":\"NODE_HANDLE_ACK\"}\n{2,3}\n";
        assert_eq!(script.calls, [call(all, None)]);
        assert!(outbox.is_empty());
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls.len(), 1);
    }

    #[test]
    fn large_frames_are_written_from_where_they_are() {
        struct Addresses(Vec<*const u8>);
        impl Sink<u32> for Addresses {
            fn has(&self, _: u32) -> bool {
                true
            }
            fn send(&mut self, parts: &[IoSlice<'_>], _: Option<u32>) -> io::Result<usize> {
                self.0 = parts.iter().map(|part| part.as_ptr()).collect();
                Ok(parts.iter().map(|part| part.len()).sum())
            }
        }
        let mut outbox = Outbox::new();
        let (head, tail) = (Bytes::from(vec![b'a'; 50_000]), Bytes::from_static(b"}"));
        for _ in 0..2 {
            let (head, tail) = (head.clone(), tail.clone());
            outbox.push(Frame::Message { head, tail });
        }
        let mut sink = Addresses(Vec::new());
        assert_eq!(outbox.flush(&mut sink).unwrap(), Flush::Drained);
        assert_eq!(sink.0.len(), 4);
        assert_eq!((sink.0[0], sink.0[2]), (head.as_ptr(), head.as_ptr()));
    }

    #[test]
    fn a_write_has_a_bounded_number_of_parts() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        let big = "x".repeat(COPY_BELOW);
        for _ in 0..100 {
            outbox.push(message(&big));
        }
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert!(script.calls.iter().all(|call| call.parts <= MAX_PARTS));
        let lines: String = script.calls.into_iter().map(|call| call.bytes).collect();
        assert_eq!(lines, format!("{big}\n").repeat(100));
    }

    #[test]
    fn a_single_handle_costs_one_write() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        outbox.push(newconn(7));
        assert_eq!(outbox.in_flight(), 0);
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls, [call("{new:7}}\n", Some(7))]);
        assert_eq!(outbox.in_flight(), 1);
        assert_eq!(outbox.unanswered().collect::<Vec<_>>(), [7]);
        assert_eq!(outbox.acked(), Some(7));
        assert_eq!((outbox.acked(), outbox.nacked()), (None, None));
    }

    const PING_LINE: &str = "{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\"}\n";

    #[test]
    fn no_handle_goes_out_between_a_ping_and_its_answer() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        for frame in [Frame::Ping, message("{1}"), newconn(2), message("{3}")] {
            outbox.push(frame);
        }
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Barred);
        let written = format!("{PING_LINE}{{1}}\n");
        assert_eq!(script.calls, [call(&written, None)]);
        assert!(outbox.awaits_answer());
        assert_eq!(outbox.in_flight(), 0);
        assert!(outbox.take_pong());
        assert!(!outbox.take_pong() && !outbox.awaits_answer());
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls[1..], [call("{new:2}}\n{3}\n", Some(2))]);
        assert_eq!(outbox.acked(), Some(2));
    }

    #[test]
    fn answers_to_pings_and_handles_come_in_the_order_of_their_lines() {
        let (mut outbox, mut script) = behind();
        for frame in [newconn(1), newconn(2), Frame::Ping, Frame::Ping, newconn(3)] {
            outbox.push(frame);
        }
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Barred);
        let expected = [
            call("{new:1}}", None),
            call("\n{new:2}}", Some(1)),
            call("\n", Some(2)),
            call(&PING_LINE.repeat(2), None),
        ];
        assert_eq!(script.calls, expected);
        assert!(!outbox.take_pong());
        assert_eq!((outbox.acked(), outbox.acked()), (Some(1), Some(2)));
        assert!(outbox.take_pong());
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Barred);
        assert!(outbox.take_pong());
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert!(!outbox.take_pong());
        assert_eq!(outbox.acked(), Some(3));
    }

    #[test]
    fn a_ping_that_is_not_written_yet_cannot_be_answered() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        outbox.push(Frame::Ping);
        script.answers.extend([Ok(5), full()]);
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Blocked);
        assert!(!outbox.take_pong());
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert!(outbox.take_pong());
    }

    #[test]
    fn whole_lines_each_have_a_write_and_plain_lines_follow_in_it() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        for frame in [newconn(1), newconn(2), message("{}"), newconn(3)] {
            outbox.push(frame);
        }
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        let expected = [
            call("{new:1}}\n", Some(1)),
            call("{new:2}}\n{}\n", Some(2)),
            call("{new:3}}\n", Some(3)),
        ];
        assert_eq!(script.calls, expected);
        let answers = [outbox.acked(), outbox.nacked(), outbox.acked()];
        assert_eq!(answers, [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn behind_unread_bytes_the_newline_carries_the_handle() {
        let (mut outbox, mut script) = behind();
        for frame in [newconn(1), newconn(2), message("{}"), newconn(3)] {
            outbox.push(frame);
        }
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        let expected = [
            call("{new:1}}", None),
            call("\n{new:2}}", Some(1)),
            call("\n{}\n{new:3}}", Some(2)),
            call("\n", Some(3)),
        ];
        assert_eq!(script.calls, expected);
        assert_eq!(outbox.in_flight(), 3);
        script.calls.clear();
        outbox.acked();
        outbox.push(newconn(4));
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls, [call("{new:4}}\n", Some(4))]);
    }

    #[test]
    fn a_long_handle_line_never_goes_out_whole() {
        for (length, calls) in [(WHOLE_LINE_MAX - 1, 1), (WHOLE_LINE_MAX, 2), (50_000, 2)] {
            let (mut outbox, mut script) = (Outbox::new(), Script::default());
            outbox.push(Frame::Handle {
                text: Bytes::from("x".repeat(length)),
                handle: 1,
            });
            assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
            assert_eq!(script.calls.len(), calls, "{length}");
            assert_eq!(script.calls[calls - 1].handle, Some(1));
        }
    }

    #[test]
    fn the_bound_of_unread_bytes_is_exact() {
        for (spare, calls) in [(0, 1), (1, 2)] {
            let (mut outbox, mut script) = (Outbox::new(), Script::default());
            let line = "{new:1}}\n".len();
            let before = usize::try_from(UNREAD_MAX).unwrap() - line - 1 + spare;
            outbox.push(message(&"x".repeat(before)));
            assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
            script.calls.clear();
            outbox.push(newconn(1));
            assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
            assert_eq!(script.calls.len(), calls);
        }
    }

    #[test]
    fn a_whole_line_taken_in_part_bars_the_next_handle_until_it_is_answered() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        for frame in [newconn(1), message("{}"), newconn(2)] {
            outbox.push(frame);
        }
        script.answers.extend([Ok(3), full()]);
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Blocked);
        assert_eq!(outbox.in_flight(), 1);
        assert_eq!(outbox.acked(), None, "its line is not complete");
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Barred);
        assert_eq!(script.calls[0], call("{ne", Some(1)));
        assert_eq!(script.calls[1], call("w:1}}\n{}\n", None));
        assert_eq!(script.calls.len(), 2);
        assert_eq!(outbox.queued_bytes(), "{new:2}}\n".len());
        assert_eq!(outbox.acked(), Some(1));
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls[2], call("{new:2}}\n", Some(2)));
    }

    #[test]
    fn what_follows_a_whole_line_may_be_taken_in_part() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        for frame in [newconn(1), message("{}"), newconn(2)] {
            outbox.push(frame);
        }
        script.answers.push_back(Ok("{new:1}}\n{".len()));
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(outbox.in_flight(), 2);
    }

    #[test]
    fn a_newline_waits_with_its_handle_for_room() {
        let (mut outbox, mut script) = behind();
        outbox.push(newconn(1));
        outbox.push(message("{}"));
        script.answers.extend([Ok(2), Ok(6), full()]);
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Blocked);
        assert_eq!((outbox.in_flight(), outbox.queued_bytes()), (0, 4));
        assert!(!outbox.is_empty());
        script.answers.extend([Ok(1)]);
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        let expected = [
            call("{n", None),
            call("ew:1}}", None),
            call("\n", Some(1)),
            call("{}\n", None),
        ];
        assert_eq!(script.calls, expected);
    }

    #[test]
    fn a_handle_that_is_gone_takes_its_line_with_it() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        script.absent = vec![1, 3];
        for frame in [newconn(1), newconn(2), newconn(3), message("{}")] {
            outbox.push(frame);
        }
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls, [call("{new:2}}\n{}\n", Some(2))]);
        assert_eq!(outbox.queued_bytes(), 0);
        assert_eq!((outbox.acked(), outbox.acked()), (Some(2), None));
    }

    #[test]
    fn a_whole_line_whose_handle_cannot_be_sent_is_dropped() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        outbox.push(newconn(1));
        outbox.push(message("{}"));
        script
            .answers
            .push_back(Err(io::ErrorKind::NotFound.into()));
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls, [call("{}\n", None)]);
        assert_eq!((outbox.queued_bytes(), outbox.in_flight()), (0, 0));
        outbox.push(newconn(2));
        script
            .answers
            .push_back(Err(io::ErrorKind::NotFound.into()));
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls.len(), 1);
    }

    #[test]
    fn a_line_begun_is_completed_without_its_handle_and_bars_the_next() {
        let (mut outbox, mut script) = behind();
        for frame in [newconn(1), newconn(2)] {
            outbox.push(frame);
        }
        script
            .answers
            .extend([Ok(8), Err(io::ErrorKind::NotFound.into())]);
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Barred);
        assert_eq!(script.calls[1..], [call("\n{new:2}}", None)]);
        assert_eq!(outbox.nacked(), Some(1));
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert_eq!(script.calls[2..], [call("\n", Some(2))]);
        assert_eq!(outbox.acked(), Some(2));
    }

    #[test]
    fn shortages_are_told_from_a_full_channel_and_from_a_broken_one() {
        let (enobufs, etoomanyrefs) = if cfg!(target_os = "linux") {
            (105, 109)
        } else {
            (55, 59)
        };
        for (number, expected) in [
            (Some(enobufs), Ok(Flush::Starved)),
            (Some(etoomanyrefs), Ok(Flush::Starved)),
            (Some(12), Ok(Flush::Starved)),
            (Some(4), Ok(Flush::Drained)),
            (Some(32), Err(io::ErrorKind::BrokenPipe)),
            (None, Err(io::ErrorKind::WriteZero)),
        ] {
            let (mut outbox, mut script) = (Outbox::new(), Script::default());
            outbox.push(newconn(1));
            script.answers.push_back(number.map_or(Ok(0), errno));
            let result = outbox.flush(&mut script).map_err(|error| error.kind());
            assert_eq!(result, expected, "{number:?}");
        }
    }

    #[test]
    fn an_empty_frame_is_not_a_line() {
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        outbox.push(message(""));
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert!(outbox.is_empty() && script.calls.is_empty());
    }

    #[test]
    fn the_steady_state_keeps_its_memory() {
        let capacities = |outbox: &Outbox<u32>| {
            let batch = &outbox.batch;
            let (staging, segments) = (batch.staging.capacity(), batch.segments.capacity());
            (
                outbox.queue.capacity(),
                outbox.sent.capacity(),
                staging,
                segments,
            )
        };
        let (mut outbox, mut script) = (Outbox::new(), Script::default());
        let mut warm = None;
        for round in 0..1000 {
            for frame in [newconn(round), message("{}"), newconn(round + 1)] {
                outbox.push(frame);
            }
            assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
            assert!(outbox.acked().is_some() && outbox.acked().is_some());
            let now = capacities(&outbox);
            assert_eq!(*warm.get_or_insert(now), now);
        }
        for round in 0..100_000 {
            outbox.push(newconn(round));
        }
        assert_eq!(outbox.flush(&mut script).unwrap(), Flush::Drained);
        assert!(outbox.queue.capacity() <= 2 * KEEP_FRAMES);
    }
}
