//! The command line of a process, for log lines: foreign input.

/// More than this of a command line is not looked at, in bytes.
pub const LIMIT: usize = 256;
/// More than this is not shown, in characters.
const SHOWN: usize = 120;

/// The command line of a process, fit to be printed; none where it is gone, or hidden.
pub fn of(pid: i32) -> Option<String> {
    let mut line = [0; LIMIT];
    let length = read(pid, &mut line);
    printable(line.get(..length)?)
}

/// Reads the command line of a process, its parts divided by NUL; of one that has none any more its
/// name. How much has been read. May be called in a handler of signals.
#[cfg(target_os = "linux")]
pub(super) fn read(pid: i32, into: &mut [u8]) -> usize {
    if pid <= 0 {
        return 0;
    }
    match read_file(pid, "cmdline", into) {
        0 => read_file(pid, "comm", into),
        length => length,
    }
}

#[cfg(target_os = "linux")]
fn read_file(pid: i32, name: &str, into: &mut [u8]) -> usize {
    use std::io::Write;

    use nix::libc;

    let mut path = [0_u8; 32];
    // Into memory of our own: nothing is allocated.
    if write!(&mut path[..], "/proc/{pid}/{name}\0").is_err() {
        return 0;
    }
    // SAFETY: the path ends with NUL. The descriptor is ours, and closed below.
    let fd = unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if fd < 0 {
        return 0;
    }
    // SAFETY: pointer and length describe `into`; the descriptor is open, and not used afterwards.
    let length = unsafe {
        let length = libc::read(fd, into.as_mut_ptr().cast(), into.len());
        libc::close(fd);
        length
    };
    usize::try_from(length).unwrap_or(0)
}

/// Elsewhere no call that a handler may make tells it.
#[cfg(not(target_os = "linux"))]
pub(super) fn read(_pid: i32, _into: &mut [u8]) -> usize {
    0
}

/// A command line as a log may show it: no control characters, nor those that turn the direction of
/// a text, and not too long. None if nothing is left.
pub(super) fn printable(line: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_matches(['\0', '\n', ' ']);
    let mut shown: String = text.chars().take(SHOWN).map(shown).collect();
    if text.chars().nth(SHOWN).is_some() || line.len() == LIMIT {
        shown.push('…');
    }
    (!text.is_empty()).then_some(shown)
}

fn shown(character: char) -> char {
    match character {
        '\0' => ' ',
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '?',
        control if control.is_control() => '?',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_one_short_line_of_plain_characters() {
        let shown = |line: &[u8]| printable(line);
        assert_eq!(shown(b"kill\0-TERM\0pid\0").unwrap(), "kill -TERM pid");
        assert_eq!(shown(b"comm\n").unwrap(), "comm");
        assert_eq!(shown(b"").as_deref(), None);
        assert_eq!(shown(b"\0\0").as_deref(), None);
        let evil = "a\n2026 ERROR\r\u{1b}[2J\u{7f}\u{9b}\u{202e}b".as_bytes();
        assert_eq!(shown(evil).unwrap(), "a?2026 ERROR??[2J???b");
        assert_eq!(shown(b"\xff\xfe").unwrap(), "\u{fffd}\u{fffd}");
        let long = shown(&[b'x'; 200]).unwrap();
        assert_eq!(long.chars().count(), SHOWN + 1);
        assert!(long.ends_with('…'));
        // Cut off in the middle of a character, and before the end.
        assert!(
            shown(&"日".repeat(LIMIT).as_bytes()[..LIMIT])
                .unwrap()
                .ends_with('…')
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn processes_without_a_command_line_have_a_name_and_missing_ones_have_nothing() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(of(own).unwrap().contains("egg_cluster_rs"));
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(ended.id()).unwrap();
        // A zombie has lost its command line.
        let is_zombie = || {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .unwrap()
                .is_empty()
        };
        while !is_zombie() {
            std::thread::yield_now();
        }
        assert_eq!(of(pid).as_deref(), Some("true"));
        ended.wait().unwrap();
        for gone in [pid, 0, -1, i32::MAX] {
            assert_eq!(of(gone), None, "{gone}");
        }
    }
}
