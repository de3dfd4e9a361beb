//! Panics of the core thread: none is lost, whoever catches it.
//!
//! The runtime catches what panics in a task, and goes on without the task; a core that is half
//! way through a decision must not go on. So the first panic is noted where it happens, in the
//! hook, with its place and its backtrace, and wakes the main loop, which ends.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{self, PanicHookInfo};
use std::rc::Rc;
use std::sync::Once;

use tokio::sync::Notify;

thread_local! {
    /// Set on core threads alone.
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

struct Watch {
    noticed: Rc<Notify>,
    first: Option<Panicked>,
}

/// What is known of a panic.
#[derive(Debug)]
pub(super) struct Panicked {
    /// What it said, and where.
    pub(super) reason: String,
    /// Names of functions are there as far as the addon has symbols.
    pub(super) backtrace: String,
}

/// From here on panics of this thread are noted instead of printed. The result is notified of them.
pub(super) fn watch() -> Rc<Notify> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !note(info) {
                others(info);
            }
        }));
    });
    let noticed = Rc::new(Notify::new());
    WATCH.set(Some(Watch {
        noticed: Rc::clone(&noticed),
        first: None,
    }));
    noticed
}

/// The first panic of this thread since [`watch`].
pub(super) fn take() -> Option<Panicked> {
    WATCH.with_borrow_mut(|watch| watch.as_mut()?.first.take())
}

/// Has this thread panicked since [`watch`]?
pub(super) fn has_happened() -> bool {
    WATCH.with_borrow(|watch| watch.as_ref().is_some_and(|watch| watch.first.is_some()))
}

/// False where this thread is not watched. Must not panic.
fn note(info: &PanicHookInfo<'_>) -> bool {
    let note = |watch: &RefCell<Option<Watch>>| {
        let Ok(mut watch) = watch.try_borrow_mut() else {
            return false;
        };
        let Some(watch) = watch.as_mut() else {
            return false;
        };
        if watch.first.is_none() {
            watch.first = Some(describe(info));
        }
        watch.noticed.notify_one();
        true
    };
    WATCH.try_with(note).unwrap_or(false)
}

fn describe(info: &PanicHookInfo<'_>) -> Panicked {
    let text = text_of(info.payload());
    let place = info.location().map(|at| format!(" at {at}"));
    Panicked {
        reason: format!("{text}{}", place.unwrap_or_default()),
        backtrace: Backtrace::force_capture().to_string(),
    }
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("unknown panic")
}
