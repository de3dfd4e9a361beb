//! Reaping what nobody else reaps. In a program of its own: it would take the children of other
//! tests.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use egg_cluster_rs::sys::{adopted, channel, process, spawn};

#[test]
fn a_zombie_is_reaped_at_the_second_look_and_a_child_of_ours_never() {
    let mut program = Command::new("sh");
    let theirs = program.args(["-c", "exit 7"]).stdin(Stdio::null());
    let other = i32::try_from(theirs.spawn().unwrap().id()).unwrap();
    let (_ours, end) = channel::pair().unwrap();
    let argv = ["/bin/sh", "-c", "exit 3"].map(|word| std::ffi::CString::new(word).unwrap());
    let request = spawn::SpawnRequest {
        program: &argv[0],
        argv: &argv,
        env: &[],
        channel: end.as_fd(),
        gate: None,
    };
    let own = spawn::spawn(&request).unwrap();
    for pid in [other, own] {
        process::wait_until_ended(pid).unwrap();
    }

    assert_eq!(adopted::reap(), 0, "libuv has had no chance yet");
    assert_eq!(adopted::reap(), 1);
    assert!(process::try_reap(other).is_err());
    assert_eq!(adopted::reap(), 0);
    assert_eq!(process::try_reap(own).unwrap().unwrap().code, Some(3));
    assert!(!adopted::is_expected());
}
