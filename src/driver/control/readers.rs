//! Those who follow the events. Each has a queue of its own: one that does not keep up loses
//! events, and is told how many.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::core::event::Event;

/// Events that may wait for one reader.
const QUEUE: usize = 256;
/// Readers at a time.
const MOST: usize = 16;

#[derive(Debug, Default)]
pub(in crate::driver) struct Readers {
    readers: Vec<Reader>,
    /// Events that readers have lost.
    pub(super) skipped: u64,
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Sender<Bytes>,
    /// Lost since the last one that it got.
    skipped: u64,
}

/// What one reader gets: a line of JSON for each event.
#[derive(Debug)]
pub(super) struct Lines(mpsc::Receiver<Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let line = self.0.poll_recv(context);
        line.map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}

impl Readers {
    pub(super) fn is_empty(&self) -> bool {
        self.readers.is_empty()
    }

    /// One more reader; none if there are too many already.
    pub(super) fn add(&mut self) -> Option<Lines> {
        self.readers.retain(|reader| !reader.queue.is_closed());
        if self.readers.len() >= MOST {
            return None;
        }
        let (queue, lines) = mpsc::channel(QUEUE);
        self.readers.push(Reader { queue, skipped: 0 });
        Some(Lines(lines))
    }

    /// Tells all readers, if there are any. What the application says is not for them.
    pub(super) fn publish(&mut self, uptime_ms: u64, event: &Event, json: &str) {
        let is_said = matches!(event, Event::Message { .. } | Event::ToParent { .. });
        if self.readers.is_empty() || is_said {
            return;
        }
        let line = line(uptime_ms, json);
        let skipped = &mut self.skipped;
        self.readers.retain_mut(|reader| {
            let told = reader.tell(uptime_ms, line.clone());
            *skipped += u64::from(told == Told::Skipped);
            told != Told::Gone
        });
    }

    /// There is nothing more to tell: their answers end.
    pub(super) fn end(&mut self) {
        self.readers.clear();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Sent,
    Skipped,
    Gone,
}

impl Reader {
    fn tell(&mut self, uptime_ms: u64, event: Bytes) -> Told {
        if self.skipped > 0 {
            let notice = format!(r#"{{"type":"skipped","events":{}}}"#, self.skipped);
            match self.queue.try_send(line(uptime_ms, &notice)) {
                Ok(()) => self.skipped = 0,
                Err(TrySendError::Closed(_)) => return Told::Gone,
                Err(TrySendError::Full(_)) => {}
            }
        }
        match self.queue.try_send(event) {
            Ok(()) => Told::Sent,
            Err(TrySendError::Closed(_)) => Told::Gone,
            Err(TrySendError::Full(_)) => {
                self.skipped += 1;
                Told::Skipped
            }
        }
    }
}

/// `{"type":…}` with the time in front.
fn line(uptime_ms: u64, json: &str) -> Bytes {
    let members = json.strip_prefix('{').unwrap_or(json);
    format!("{{\"uptimeMs\":{uptime_ms},{members}\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{"type":"paused"}"#;

    fn received(lines: &mut Lines) -> Vec<serde_json::Value> {
        let next = || lines.0.try_recv().ok();
        let parse = |line: Bytes| serde_json::from_slice(&line).unwrap();
        std::iter::from_fn(next).map(parse).collect()
    }

    #[test]
    fn a_slow_reader_loses_events_and_is_told_how_many_while_others_get_all() {
        let mut readers = Readers::default();
        let (mut slow, mut quick) = (readers.add().unwrap(), readers.add().unwrap());
        let mut got = 0;
        for time in 0..300 {
            readers.publish(time, &Event::Paused, JSON);
            got += received(&mut quick).len();
        }
        assert_eq!(got, 300);
        assert_eq!(readers.skipped, 44);
        assert_eq!(received(&mut slow).len(), QUEUE);
        readers.publish(300, &Event::Paused, JSON);
        let after = received(&mut slow);
        assert_eq!(after[0]["type"], "skipped");
        assert_eq!(after[0]["events"], 44);
        assert_eq!(after[1]["uptimeMs"], 300);
    }

    #[test]
    fn there_are_not_too_many_readers_and_gone_ones_make_room() {
        let mut readers = Readers::default();
        let mut all: Vec<_> = std::iter::from_fn(|| readers.add()).collect();
        assert_eq!(all.len(), MOST);
        all.pop();
        assert!(readers.add().is_some());
    }

    #[test]
    fn what_the_application_says_is_not_told() {
        let mut readers = Readers::default();
        let mut lines = readers.add().unwrap();
        let message = serde_json::value::RawValue::from_string("{}".to_owned()).unwrap();
        readers.publish(0, &Event::Message { message }, "{}");
        assert!(received(&mut lines).is_empty());
    }
}
