//! What a process uses of the machine, and may use.

use std::time::Duration;

/// As the system counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is in RAM, in bytes.
    pub resident: u64,
    /// Time on a processor, of all its threads, since it began.
    pub cpu: Duration,
}

/// How many processors this process may keep busy: those of the machine, less what its affinity and the
/// quotas of its control groups (both versions, each level) leave out. A part of a processor is not
/// counted, but one there always is. None where the system does not tell.
pub fn processors() -> Option<usize> {
    let available = std::thread::available_parallelism().ok()?;
    Some(available.get())
}

/// What a process uses; none where it is gone, or where the system does not tell.
pub fn of(pid: i32) -> Option<Usage> {
    platform::of(pid)
}

#[cfg(target_os = "linux")]
mod platform {
    use std::fs::File;
    use std::io::Read;
    use std::sync::OnceLock;
    use std::time::Duration;

    use nix::unistd::{SysconfVar, sysconf};

    use super::Usage;

    pub fn of(pid: i32) -> Option<Usage> {
        // One read gives the whole line: 52 fields, of which only the name (at most 64 bytes) is text.
        let mut line = [0; 2048];
        let length = File::open(format!("/proc/{pid}/stat"))
            .and_then(|mut file| file.read(&mut line))
            .ok()?;
        parse(line.get(..length)?)
    }

    /// Reads `pid (name) state …`; the numbers of the fields are in proc(5). The name may hold
    /// spaces and parentheses, so the fields are counted from the last parenthesis.
    fn parse(line: &[u8]) -> Option<Usage> {
        let name_end = line.iter().rposition(|byte| *byte == b')')?;
        let text = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
        // The first of them is field 3.
        let mut fields = text.split_ascii_whitespace().skip(14 - 3);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        // Field 24; the next one is field 16.
        let pages: u64 = fields.nth(24 - 16)?.parse().ok()?;
        let (ticks_a_second, page) = units();
        let micros = (user + system).saturating_mul(1_000_000) / ticks_a_second;
        Some(Usage {
            resident: pages.saturating_mul(page),
            cpu: Duration::from_micros(micros),
        })
    }

    fn units() -> (u64, u64) {
        static UNITS: OnceLock<(u64, u64)> = OnceLock::new();
        *UNITS.get_or_init(|| {
            (
                number(SysconfVar::CLK_TCK, 100),
                number(SysconfVar::PAGE_SIZE, 4096),
            )
        })
    }

    fn number(variable: SysconfVar, fallback: u64) -> u64 {
        let value = sysconf(variable).ok().flatten();
        let value = value.and_then(|value| u64::try_from(value).ok());
        value.filter(|&value| value > 0).unwrap_or(fallback)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_fields_are_those_of_proc() {
            let line =
                b"7 (a ) b) S 1 7 7 0 -1 4194560 11 12 13 14 250 50 17 18 20 0 9 0 77 5000 321 99";
            let (ticks, page) = units();
            let usage = parse(line).unwrap();
            assert_eq!(usage.resident, 321 * page);
            assert_eq!(usage.cpu, Duration::from_micros(300_000_000 / ticks));
        }

        #[test]
        fn this_process_uses_memory_and_a_missing_one_is_unknown() {
            let own = i32::try_from(std::process::id()).unwrap();
            assert!(super::super::of(own).unwrap().resident > 100_000);
            assert_eq!(super::super::of(i32::MAX), None);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    pub fn of(_pid: i32) -> Option<super::Usage> {
        None
    }
}
