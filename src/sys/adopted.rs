//! Zombies that nobody else will reap, where this process has to: as the first process of a
//! container, or as a subreaper.
//!
//! What a worker has started becomes a child of this process when the worker ends before it.
//! Node waits for the children that it has started itself, by their ids; so does this crate. An
//! adopted child that has ended would stay a zombie, and take up a process id, for ever.
//!
//! Nothing tells an adopted child from one that JavaScript has started and not reaped yet, but
//! time: libuv reaps at once when its loop turns. So whoever calls [`reap`] does it from that
//! loop, and who was a zombie at the last call already is nobody's.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::process;
use super::process_tree::{Identity, zombie_children};

/// Children of this crate that are not reaped yet.
static OURS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());
/// Zombies at the last look.
static SEEN: Mutex<Vec<Identity>> = Mutex::new(Vec::new());

/// Do orphans become children of this process?
#[must_use]
pub fn is_expected() -> bool {
    std::process::id() == 1 || matches!(nix::sys::prctl::get_child_subreaper(), Ok(true))
}

/// Reaps adopted children that had ended before the last call, and tells how many. To be called
/// from time to time from the event loop that runs the child processes of JavaScript.
pub fn reap() -> usize {
    let mut seen = lock(&SEEN);
    let ours = lock(&OURS).clone();
    let zombies = zombie_children(std::process::id());
    let (old, new): (Vec<_>, Vec<_>) = zombies
        .into_iter()
        .filter(|zombie| !ours.contains(&zombie.pid))
        .partition(|zombie| seen.contains(zombie));
    *seen = new;
    // An error means that somebody has reaped it meanwhile.
    let reaped = |zombie: &&Identity| matches!(process::try_reap(zombie.pid), Ok(Some(_)));
    old.iter().filter(reaped).count()
}

/// This crate has started a child, and will reap it.
pub(super) fn exempt(pid: i32) {
    lock(&OURS).insert(pid);
}

/// It has.
pub(super) fn forget(pid: i32) {
    lock(&OURS).remove(&pid);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
