//! The guardian as a program: this very addon, started by the loader of the system.
//!
//! A guardian has to outlive the process that it watches, and must not be a copy of it. So it
//! is a program of its own, but none that would have to be shipped, found and kept at the same
//! version: the linker gives the addon an entry point (`build.rs`), and the dynamic loader runs
//! any file that has one (`ld.so FILE`), without asking for the right to execute it. The code of
//! the addon is in memory already; nothing of Node is loaded.

use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use nix::libc;

use crate::sys::spawn::{self, CHANNEL_FD, SpawnRequest};
use crate::sys::{channel, process};

/// How it is called in lists of processes.
const NAME: &CStr = c"egg-cluster-rs-guardian";
/// The same for the kernel, which keeps 15 bytes.
const SHORT_NAME: &CStr = c"egg-guardian";
/// Where the header of a 64-bit ELF file has the entry point.
const ENTRY_OFFSET: usize = 24;

/// Starts a guardian. It is a child of this process: whoever has started it reaps it. It lives
/// until the descriptor that is returned is closed and its work is done.
///
/// # Errors
///
/// [`Unsupported`](io::ErrorKind::Unsupported) where this code is not the addon, or where the
/// addon has no entry point; else what the system says.
pub fn launch(env: &[CString]) -> io::Result<(i32, OwnedFd)> {
    let file = addon().ok_or_else(|| unsupported("this code is no addon with an entry point"))?;
    let loader = loader().ok_or_else(|| unsupported("the dynamic loader is not known"))?;
    let (ours, theirs) = channel::pair()?;
    let argv = [NAME.to_owned(), file];
    let request = SpawnRequest {
        program: &loader,
        argv: &argv,
        env,
        channel: theirs.as_fd(),
        gate: None,
    };
    Ok((spawn::spawn_aside(&request)?, ours))
}

fn unsupported(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, reason)
}

/// The file that this code was loaded from, if its entry point is ours. In a test program it
/// is not: started again, that would run its tests.
fn addon() -> Option<CString> {
    let entry = egg_cluster_rs_guardian as *const c_void;
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `info` has room for what is written, and any address may be asked for.
    let found = unsafe { libc::dladdr(entry, info.as_mut_ptr()) };
    // SAFETY: zeroed before, and zero is a value of each field.
    let info = unsafe { info.assume_init() };
    if found == 0 || info.dli_fname.is_null() || info.dli_fbase.is_null() {
        return None;
    }
    // SAFETY: a loaded file begins with its ELF header, which the loader keeps mapped; it is
    // aligned to a page.
    let offset = unsafe { info.dli_fbase.byte_add(ENTRY_OFFSET).cast::<usize>().read() };
    if info.dli_fbase.addr().wrapping_add(offset) != entry.addr() {
        return None;
    }
    // SAFETY: the loader keeps the name while the file is loaded, which this code is.
    Some(unsafe { CStr::from_ptr(info.dli_fname) }.to_owned())
}

/// The dynamic loader that has loaded this process: the one that fits its C library.
fn loader() -> Option<CString> {
    struct Search {
        base: u64,
        name: Option<CString>,
    }
    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
        // SAFETY: both are valid for this call: the one is libc's, the other the `Search` below.
        let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
        #[allow(
            clippy::useless_conversion,
            reason = "its type differs between C libraries"
        )]
        if u64::from(info.dlpi_addr) != search.base || info.dlpi_name.is_null() {
            return 0;
        }
        // SAFETY: the name of a loaded file, which ends with a zero byte.
        search.name = Some(unsafe { CStr::from_ptr(info.dlpi_name) }.to_owned());
        1
    }
    // SAFETY: it only reads what the kernel gave at the start.
    let base = unsafe { libc::getauxval(libc::AT_BASE) };
    let mut search = Search { base, name: None };
    // SAFETY: `look` is called with `search` before this returns, and does not panic.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.name.filter(|name| name.to_bytes().starts_with(b"/"))
}

/// Where the loader jumps to. There is no caller: the stack is all that is there.
// SAFETY: the name is found nowhere else.
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn egg_cluster_rs_guardian() -> ! {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!(
        "xor ebp, ebp",
        "and rsp, -16",
        "call {main}",
        "ud2",
        main = sym main,
    );
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!(
        "mov x29, #0",
        "mov x30, #0",
        "bl {main}",
        "brk #1",
        main = sym main,
    );
}

extern "C" fn main() -> ! {
    let ended = std::panic::catch_unwind(|| {
        settle_in();
        // SAFETY: whoever has started this program has given it this descriptor, and nobody else here has it.
        super::watch(unsafe { OwnedFd::from_raw_fd(CHANNEL_FD) });
    });
    process::exit_at_once(i32::from(ended.is_err()));
}

/// Away from what the master has started it with: its terminal, its group, its descriptors.
fn settle_in() {
    let _ = nix::unistd::setsid();
    let _ = nix::sys::prctl::set_name(SHORT_NAME);
    // Whatever else was open for inheritance. Standard descriptors are /dev/null.
    let above = CHANNEL_FD.unsigned_abs() + 1;
    // SAFETY: three integers; nothing in this program has these descriptors.
    if unsafe { libc::syscall(libc::SYS_close_range, above, u32::MAX, 0) } == 0 {
        return;
    }
    let open = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let numbers = open.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for fd in numbers
        .filter(|&fd: &c_int| fd > CHANNEL_FD)
        .collect::<Vec<_>>()
    {
        // SAFETY: as above. That of the listing itself is closed already.
        unsafe { libc::close(fd) };
    }
}
