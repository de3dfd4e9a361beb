//! Who has sent a signal to this process.
//!
//! libuv, which handles signals for JavaScript, does not ask the kernel for the sender. So a
//! handler of ours goes before its own, notes what the kernel tells, and calls it. Where libuv
//! has no handler, nothing is installed: what a signal does never changes.
//!
//! The sender is often `kill`, which has ended a moment later. Its command line is therefore read
//! in the handler, by calls that signal-safety(7) allows: open, read, close, and atomics.

use std::ffi::{c_int, c_void};
use std::mem::{self, MaybeUninit};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc;

use super::command;

/// Those that close or reload a master.
static WATCHED: [Watched; 4] = [
    Watched::new(libc::SIGINT),
    Watched::new(libc::SIGQUIT),
    Watched::new(libc::SIGTERM),
    Watched::new(libc::SIGUSR2),
];

/// What the kernel tells of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The process id; 0 for the kernel, and for a process that has none in our namespace.
    pub pid: i32,
    /// Its real user.
    pub uid: u32,
    /// The kernel itself, as for a key of the terminal.
    pub is_kernel: bool,
    /// What it runs, fit to be printed; none where it had ended too soon, or is hidden.
    pub command: Option<String>,
}

/// Notes the senders of the signals that libuv handles now. To be called again when it has taken
/// up another one.
pub fn watch() {
    for watched in &WATCHED {
        watched.install();
    }
}

/// The sender of a signal of this number, once. Until it is asked for it is kept, also while more
/// come: the first one is what a process acts upon.
pub fn take_sender(number: i32) -> Option<Sender> {
    WATCHED
        .iter()
        .find(|watched| watched.number == number)?
        .take()
}

/// States of a record.
const EMPTY: u8 = 0;
/// Somebody reads or writes it.
const BUSY: u8 = 1;
const FULL: u8 = 2;

/// One signal.
struct Watched {
    number: c_int,
    /// The handler that ours goes before; 0 before the first installation. It never changes
    /// afterwards, so that no two handlers can come to call each other.
    previous: AtomicUsize,
    /// It takes what the kernel tells, as ours does.
    previous_takes_info: AtomicBool,
    state: AtomicU8,
    pid: AtomicI32,
    uid: AtomicU32,
    code: AtomicI32,
    length: AtomicUsize,
    command: [AtomicU8; command::LIMIT],
}

impl Watched {
    const fn new(number: c_int) -> Self {
        Self {
            number,
            previous: AtomicUsize::new(0),
            previous_takes_info: AtomicBool::new(false),
            state: AtomicU8::new(EMPTY),
            pid: AtomicI32::new(0),
            uid: AtomicU32::new(0),
            code: AtomicI32::new(0),
            length: AtomicUsize::new(0),
            command: [const { AtomicU8::new(0) }; command::LIMIT],
        }
    }

    fn install(&self) {
        let mut found = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: without a new action this only fills `found`, which has room for it.
        if unsafe { libc::sigaction(self.number, ptr::null(), found.as_mut_ptr()) } != 0 {
            return;
        }
        // SAFETY: the call has filled it, and all zeros are a valid action, too.
        let found = unsafe { found.assume_init() };
        let handler = found.sa_sigaction;
        let is_none = handler == libc::SIG_DFL || handler == libc::SIG_IGN;
        // One that goes with its first call could not be put back by the kernel.
        if is_none || handler == own_handler() || found.sa_flags & libc::SA_RESETHAND != 0 {
            return;
        }
        let takes_info = found.sa_flags & libc::SA_SIGINFO != 0;
        match self.previous.load(Ordering::Acquire) {
            0 => {
                self.previous_takes_info
                    .store(takes_info, Ordering::Release);
                self.previous.store(handler, Ordering::Release);
            }
            // Another library's, which calls ours perhaps: libuv's is the same each time.
            known if known != handler => return,
            _ => {}
        }
        let mut ours = found;
        ours.sa_sigaction = own_handler();
        ours.sa_flags |= libc::SA_SIGINFO;
        // SAFETY: the action is that of libuv but for the handler, which takes what SA_SIGINFO
        // promises, does what may be done in one, and calls libuv's.
        unsafe { libc::sigaction(self.number, &raw const ours, ptr::null_mut()) };
    }

    /// Runs in the handler.
    fn note(&self, pid: i32, uid: u32, code: c_int) {
        if !self.change(EMPTY, BUSY) {
            return;
        }
        let mut line = [0; command::LIMIT];
        let length = command::read(pid, &mut line);
        for (place, byte) in self.command.iter().zip(line) {
            place.store(byte, Ordering::Relaxed);
        }
        self.length.store(length, Ordering::Relaxed);
        self.pid.store(pid, Ordering::Relaxed);
        self.uid.store(uid, Ordering::Relaxed);
        self.code.store(code, Ordering::Relaxed);
        self.state.store(FULL, Ordering::Release);
    }

    fn take(&self) -> Option<Sender> {
        if !self.change(FULL, BUSY) {
            return None;
        }
        let length = self.length.load(Ordering::Relaxed);
        let bytes = self.command.iter().take(length);
        let line: Vec<u8> = bytes.map(|byte| byte.load(Ordering::Relaxed)).collect();
        let sender = Sender {
            pid: self.pid.load(Ordering::Relaxed),
            uid: self.uid.load(Ordering::Relaxed),
            is_kernel: is_kernel(self.code.load(Ordering::Relaxed)),
            command: command::printable(&line),
        };
        self.state.store(EMPTY, Ordering::Release);
        Some(sender)
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Runs in the handler.
    fn pass_on(&self, info: *mut libc::siginfo_t, context: *mut c_void) {
        let previous = self.previous.load(Ordering::Acquire);
        if previous == 0 {
            return;
        }
        if self.previous_takes_info.load(Ordering::Acquire) {
            // SAFETY: `install` has found it as a handler of this kind.
            let handler = unsafe { mem::transmute::<usize, InfoHandler>(previous) };
            handler(self.number, info, context);
        } else {
            // SAFETY: likewise.
            let handler = unsafe { mem::transmute::<usize, PlainHandler>(previous) };
            handler(self.number);
        }
    }
}

type InfoHandler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);
type PlainHandler = extern "C" fn(c_int);

fn own_handler() -> libc::sighandler_t {
    on_signal as InfoHandler as usize
}

extern "C" fn on_signal(number: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    if let Some(watched) = WATCHED.iter().find(|watched| watched.number == number) {
        if !info.is_null() {
            // SAFETY: the kernel gives it to a handler with SA_SIGINFO. Signals of these numbers
            // come from kill(2) and the like, or from the terminal, where both ids are set.
            let (pid, uid, code) = unsafe { ((*info).si_pid(), (*info).si_uid(), (*info).si_code) };
            watched.note(pid, uid, code);
        }
        watched.pass_on(info, context);
    }
    Errno::set_raw(errno);
}

#[cfg(target_os = "linux")]
fn is_kernel(code: c_int) -> bool {
    code == libc::SI_KERNEL
}

/// Elsewhere it is not told apart from other senders without a process id.
#[cfg(not(target_os = "linux"))]
fn is_kernel(_code: c_int) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::{Command, Stdio};

    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

    use super::*;

    static SEEN: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn count(_: c_int) {
        Errno::set_raw(libc::EIO);
        SEEN.fetch_add(1, Ordering::AcqRel);
    }

    fn handle(handler: SigHandler) {
        let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::all());
        // SAFETY: `count` does what may be done in a handler.
        assert!(unsafe { sigaction(Signal::SIGUSR2, &action) }.is_ok());
    }

    fn installed() -> usize {
        let mut found = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: it only fills `found`.
        unsafe {
            libc::sigaction(libc::SIGUSR2, ptr::null(), found.as_mut_ptr());
            found.assume_init().sa_sigaction
        }
    }

    fn raise() {
        assert!(nix::sys::signal::raise(Signal::SIGUSR2).is_ok());
    }

    /// One test, for the signal is that of the whole process.
    #[test]
    fn the_sender_is_noted_and_the_handler_that_was_there_is_called() {
        watch();
        assert_eq!(installed(), libc::SIG_DFL, "nothing to go before");

        handle(SigHandler::Handler(count));
        watch();
        watch();
        assert_eq!(installed(), own_handler());
        assert_eq!(take_sender(libc::SIGUSR2), None);
        Errno::set_raw(libc::EDOM);
        raise();
        assert_eq!(Errno::last_raw(), libc::EDOM, "errno is as before");
        assert_eq!(SEEN.load(Ordering::Acquire), 1);
        let own = i32::try_from(std::process::id()).unwrap();
        let first = take_sender(libc::SIGUSR2).unwrap();
        assert_eq!((first.pid, first.is_kernel), (own, false));
        assert!(first.command.unwrap().contains("egg_cluster_rs"));
        assert_eq!(take_sender(libc::SIGUSR2), None, "told once");

        // Registered anew, as libuv does it when the first listener comes back.
        handle(SigHandler::SigDfl);
        watch();
        assert_eq!(installed(), libc::SIG_DFL);
        handle(SigHandler::Handler(count));
        watch();
        assert_eq!(installed(), own_handler());

        // Another process, and then one that is too late to be the first.
        let kill = format!("kill -USR2 {own}; read _ # not \u{1b}[31mred");
        let mut shell = Command::new("sh")
            .args(["-c", &kill])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        while SEEN.load(Ordering::Acquire) < 2 {
            std::thread::yield_now();
        }
        raise();
        let id = i32::try_from(shell.id()).unwrap();
        drop(shell.stdin.take());
        shell.wait().unwrap();
        let from_shell = take_sender(libc::SIGUSR2).unwrap();
        assert_eq!(from_shell.pid, id);
        let command = from_shell.command.unwrap();
        assert!(command.starts_with("sh -c kill -USR2"), "{command}");
        assert!(command.ends_with("# not ?[31mred"), "{command}");
        assert_eq!(SEEN.load(Ordering::Acquire), 3);

        // Somebody else's handler stays, also if it calls ours.
        handle(SigHandler::SigIgn);
        watch();
        assert_eq!(installed(), libc::SIG_IGN);
        handle(SigHandler::SigDfl);
    }
}
