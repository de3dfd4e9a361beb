//! The layers of the crate, read off its sources: arrows point downward only, `unsafe`
//! stands in `sys` alone, `#[napi]` in `binding` alone, and the core has no clock and no I/O.
#![allow(
    clippy::unwrap_used,
    reason = "sources that cannot be read fail the test"
)]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            into.push(path);
        }
    }
}

/// Lines of code (comments left out) with the file's path below `src`.
fn code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(
        files.len() > 20,
        "the sources are not where they are looked for"
    );
    let mut lines = Vec::new();
    for file in files {
        let name = file
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        for line in fs::read_to_string(&file).unwrap().lines() {
            let line = line.trim();
            if !line.starts_with("//") {
                lines.push((name.clone(), line.to_owned()));
            }
        }
    }
    lines
}

/// Fails with every line that has one of `words` in a file that `applies` to.
fn forbid(what: &str, applies: impl Fn(&str) -> bool, words: &[&str]) {
    let broken: Vec<_> = code()
        .into_iter()
        .filter(|(file, line)| applies(file) && words.iter().any(|word| line.contains(word)))
        .map(|(file, line)| format!("{file}: {line}"))
        .collect();
    assert!(broken.is_empty(), "{what}:\n{}", broken.join("\n"));
}

#[test]
fn the_core_knows_only_the_messages_of_ipc() {
    let is_core = |file: &str| file.starts_with("core/");
    forbid(
        "core reaches up or aside",
        is_core,
        &[
            "crate::driver",
            "crate::sys",
            "crate::binding",
            "tokio::",
            "nix::",
            "napi::",
            "ipc::codec",
            "outbox::Outbox",
        ],
    );
}

#[test]
fn the_core_has_no_clock_no_io_and_no_chance() {
    let is_core = |file: &str| file.starts_with("core/") && !file.starts_with("core/tests/");
    // Unit tests at the end of a file start from some moment.
    let in_tests = ["let start = Instant::now();"];
    let broken: Vec<_> = code()
        .into_iter()
        .filter(|(file, line)| is_core(file) && !in_tests.contains(&line.as_str()))
        .filter(|(_, line)| {
            [
                "Instant::now",
                "SystemTime",
                "std::fs",
                "std::io",
                "std::thread",
                "rand::",
            ]
            .iter()
            .any(|word| line.contains(word))
        })
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn nothing_is_decided_by_the_clock_on_the_wall() {
    forbid(
        "steps of the system's time would be felt",
        |_| true,
        &["SystemTime", "UNIX_EPOCH", "CLOCK_REALTIME"],
    );
}

#[test]
fn ipc_and_sys_are_leaves() {
    let upward = ["crate::core", "crate::driver", "crate::binding"];
    forbid("ipc reaches up", |file| file.starts_with("ipc/"), &upward);
    forbid(
        "ipc reaches aside",
        |file| file.starts_with("ipc/"),
        &["crate::sys", "tokio::", "nix::"],
    );
    forbid("sys reaches up", |file| file.starts_with("sys/"), &upward);
    forbid(
        "sys reaches aside",
        |file| file.starts_with("sys/"),
        &["crate::ipc"],
    );
}

#[test]
fn the_driver_knows_nothing_of_javascript() {
    forbid(
        "driver reaches up",
        |file| file.starts_with("driver/"),
        &["crate::binding", "napi"],
    );
}

#[test]
fn unsafe_stands_in_sys_alone() {
    let elsewhere = |file: &str| !file.starts_with("sys/");
    forbid(
        "unsafe outside sys",
        elsewhere,
        &[
            "unsafe {",
            "unsafe fn",
            "unsafe impl",
            "unsafe extern",
            "unsafe trait",
            "#[unsafe(",
        ],
    );
}

/// How many lines of its own statement may stand between a reason and the block that it is for.
const STATEMENT: usize = 6;

/// Whether the comment next above a line, in the same statement, gives a reason.
fn has_reason(lines: &[&str], at: usize) -> bool {
    let is_comment = |line: &&&str| line.trim_start().starts_with("//");
    let above = lines[..at].iter().rev();
    let own = above.clone().take_while(|line| !is_comment(line)).count();
    let mut comment = above.skip(own).take_while(is_comment);
    own <= STATEMENT && comment.any(|line| line.trim_start().starts_with("// SAFETY: "))
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sys");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut found, mut bare) = (0, Vec::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let is_code = !line.trim_start().starts_with("//");
            if is_code && (line.contains("unsafe {") || line.contains("unsafe impl")) {
                found += 1;
                if !has_reason(&lines, at) {
                    bare.push(format!("{}:{}", file.display(), at + 1));
                }
            }
        }
    }
    assert!(found > 20, "only {found} blocks are found");
    assert!(bare.is_empty(), "no reason for {bare:?}");
}

#[test]
fn napi_stands_in_the_binding_alone() {
    forbid(
        "#[napi] outside binding",
        |file| file != "binding.rs",
        &["#[napi"],
    );
    // What of it is unsafe stands in sys, as all that is.
    forbid(
        "napi outside binding and sys/callback",
        |file| !["binding.rs", "sys/callback.rs"].contains(&file),
        &["napi::"],
    );
    forbid(
        "napi_sys outside sys/callback",
        |file| file != "sys/callback.rs",
        &["napi_sys"],
    );
}
