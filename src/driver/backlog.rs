//! Events that JavaScript has not looked at yet. A child that makes many, by messages to the
//! master or the parent, would fill the memory: it is not read while they are too many.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::Request;

/// Above so many bytes of events, children whose messages make more are not read.
const HIGH_WATER: usize = 16 << 20;
/// Below it they are read again.
const LOW_WATER: usize = 4 << 20;

/// Counts the bytes of events between the core thread and JavaScript.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: AtomicUsize,
    core: OnceLock<mpsc::UnboundedSender<Request>>,
}

impl Backlog {
    /// An event is on its way.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// JavaScript has dealt with an event of so many bytes. From any thread.
    pub fn take(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::AcqRel);
        let has_drained = before > LOW_WATER && before - bytes <= LOW_WATER;
        if let Some(core) = self.core.get().filter(|_| has_drained) {
            // The core thread may have ended already.
            let _ = core.send(Request::EventsTaken);
        }
    }

    /// Whoever makes more has to wait. What has drained after this was asked is told to the core thread,
    /// which asks: so it hears of it afterwards.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > HIGH_WATER
    }

    /// JavaScript has dealt with all there was.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.load(Ordering::Acquire) == 0
    }

    pub(super) fn tell(&self, core: mpsc::UnboundedSender<Request>) {
        // A backlog belongs to one driver.
        let _ = self.core.set(core);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_hears_once_that_a_full_backlog_has_drained() {
        let (sender, mut inbox) = mpsc::unbounded_channel();
        let backlog = Backlog::default();
        backlog.tell(sender);
        backlog.add(HIGH_WATER);
        assert!(!backlog.is_full());
        backlog.add(1);
        assert!(backlog.is_full());
        backlog.take(HIGH_WATER - LOW_WATER);
        assert!(inbox.try_recv().is_err());
        backlog.take(1);
        assert!(matches!(inbox.try_recv(), Ok(Request::EventsTaken)));
        backlog.take(LOW_WATER);
        assert!(inbox.try_recv().is_err());
    }
}
