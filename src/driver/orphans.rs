//! Children that are left when the core thread ends before them: the program has dropped its
//! master, a worker thread with a master in it was ended, or the core has failed.
//!
//! Their channels close, so they leave by themselves. But this process may live on, and then
//! somebody has to reap them, and to end those that stay.

use std::thread;
use std::time::{Duration, Instant};

use super::guard::Guardian;
use crate::sys::process::{self, Signal};

/// Time between two looks. Nobody waits for the result.
const PAUSE: Duration = Duration::from_millis(50);

/// Reaps the children in the background; those that are there after `grace` are killed. The
/// guardian stays until they are gone, for this process may be killed meanwhile.
pub(super) fn reap(pids: Vec<i32>, grace: Duration, guardian: Option<Guardian>) {
    if pids.is_empty() {
        if let Some(guardian) = guardian {
            guardian.dismiss();
        }
        return;
    }
    let thread = thread::Builder::new().name("egg-cluster-reap".to_owned());
    let work = move || {
        reap_all(pids, grace);
        if let Some(guardian) = guardian {
            guardian.dismiss();
        }
    };
    if let Err(error) = thread.spawn(work) {
        // They are reaped when this process ends.
        tracing::warn!(%error, "no thread to wait for children that are left");
    }
}

fn reap_all(mut pids: Vec<i32>, grace: Duration) {
    let mut deadline = Some(Instant::now() + grace);
    loop {
        // An error means that it is nobody's child any more.
        pids.retain(|&pid| matches!(process::try_reap(pid), Ok(None)));
        if pids.is_empty() {
            return;
        }
        if deadline.is_some_and(|at| Instant::now() >= at) {
            deadline = None;
            for &pid in &pids {
                if let Err(error) = process::signal(pid, Signal::SIGKILL) {
                    tracing::warn!(pid, %error, "cannot signal");
                }
            }
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn one_that_leaves_is_reaped_and_one_that_stays_is_killed() {
        // Nothing else reaps them: dropping a child of std does not.
        let start = |script| Command::new("sh").args(["-c", script]).spawn().unwrap();
        let children = [start("exit 0"), start("exec sleep 600")];
        let pids = children.map(|child| i32::try_from(child.id()).unwrap());
        reap_all(pids.to_vec(), Duration::ZERO);
        for pid in pids {
            let error = process::try_reap(pid).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(nix::libc::ECHILD));
        }
    }
}
