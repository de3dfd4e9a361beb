//! The file of the control socket: who has it, and when it is removed.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::sys::control_socket::{Found, ask, bind};

/// How often, and how long apart, the directory is asked for. Whoever has it looks and binds.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(5);
/// Names with the process id that are tried: two masters can live in one process.
const OWN_NAMES: u32 = 8;

/// A bound socket, and its file, which goes with it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) fd: OwnedFd,
    pub(super) file: SocketFile,
    /// It has another name than was asked for, and why.
    pub(super) warning: Option<String>,
}

/// The file of a socket; removed when this is dropped, unless somebody has put another there.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn of(path: PathBuf) -> io::Result<Self> {
        let found = fs::symlink_metadata(&path)?;
        Ok(Self {
            path,
            device: found.dev(),
            inode: found.ino(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        let is_ours = |it: fs::Metadata| (it.dev(), it.ino()) == (self.device, self.inode);
        if found.is_ok_and(is_ours) {
            // It is gone, or stays as a stale one, which the next master replaces.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds the socket at `path`, or beside it where another master has that.
///
/// # Errors
/// In words, where neither is possible.
pub(super) async fn open(path: &Path) -> Result<Opened, String> {
    let failed = |error: io::Error| describe(path, &error);
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(failed)?;
    let lock = lock(directory).await.map_err(failed)?;
    let has_lock = lock.is_some();
    let opened = if has_lock && may_bind(path).map_err(failed)? {
        Opened::bind(path.to_owned(), None)
    } else {
        open_beside(path)
    };
    opened.map_err(failed)
}

/// One master at a time looks and binds, or two might both replace a stale socket. None where
/// somebody keeps the lock.
async fn lock(directory: &Path) -> io::Result<Option<Flock<File>>> {
    let mut file = File::open(directory)?;
    for _ in 0..LOCK_TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((back, nix::errno::Errno::EWOULDBLOCK)) => file = back,
            // A file system without locks.
            Err(_) => return Ok(None),
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    Ok(None)
}

/// Removes a stale socket; false if somebody listens there, or it is something else.
fn may_bind(path: &Path) -> io::Result<bool> {
    match ask(path)? {
        Found::Nothing => Ok(true),
        Found::Taken => Ok(false),
        Found::Stale => {
            fs::remove_file(path)?;
            Ok(true)
        }
    }
}

/// A name with the process id, which no other master takes.
fn open_beside(path: &Path) -> io::Result<Opened> {
    let mut result = Err(io::ErrorKind::AddrInUse.into());
    for number in 1..=OWN_NAMES {
        let own = own_name(path, number);
        if !may_bind(&own)? {
            continue;
        }
        let warning = format!(
            "{} is in use by another master, or is no socket; this one has {}",
            path.display(),
            own.display()
        );
        result = Opened::bind(own, Some(warning));
        if result.is_ok() {
            break;
        }
    }
    result
}

/// `egg-cluster-rs.sock` becomes `egg-cluster-rs.123.sock`, then `egg-cluster-rs.123-2.sock`.
fn own_name(path: &Path, number: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let pid = std::process::id();
    let own = if number == 1 {
        format!("{stem}.{pid}.sock")
    } else {
        format!("{stem}.{pid}-{number}.sock")
    };
    path.with_file_name(own)
}

impl Opened {
    fn bind(path: PathBuf, warning: Option<String>) -> io::Result<Self> {
        let fd = bind(&path)?;
        let file = SocketFile::of(path)?;
        Ok(Self { fd, file, warning })
    }
}

fn describe(path: &Path, error: &io::Error) -> String {
    let hint = match error.raw_os_error().map(nix::errno::Errno::from_raw) {
        Some(nix::errno::Errno::ENAMETOOLONG) => {
            ": the path is too long for a socket; name a shorter one by options.control.path"
        }
        _ => "; name another path by options.control.path, or set options.control to false",
    };
    format!("cannot listen on {}: {error}{hint}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("run").join("egg-cluster-rs.sock")
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().unwrap().block_on(future)
    }

    #[test]
    fn the_directory_is_made_and_the_file_goes_with_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let opened = run(open(&at(&dir))).unwrap();
        assert!(opened.warning.is_none() && opened.file.path() == at(&dir));
        drop(opened);
        assert!(!at(&dir).exists() && at(&dir).parent().unwrap().exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let first = run(open(&at(&dir))).unwrap();
        let second = run(open(&at(&dir))).unwrap();
        let third = run(open(&at(&dir))).unwrap();
        let pid = std::process::id();
        for (opened, name) in [(&second, format!("{pid}")), (&third, format!("{pid}-2"))] {
            let expected = at(&dir).with_file_name(format!("egg-cluster-rs.{name}.sock"));
            assert_eq!(opened.file.path(), expected);
            let warning = opened.warning.as_ref().unwrap();
            assert!(warning.contains(expected.to_str().unwrap()), "{warning}");
        }
        // As after SIGKILL: the file stays, and nobody listens.
        let kept = dir.path().join("kept");
        fs::hard_link(at(&dir), &kept).unwrap();
        drop(first);
        fs::rename(&kept, at(&dir)).unwrap();
        let next = run(open(&at(&dir))).unwrap();
        assert_eq!(next.file.path(), at(&dir));
    }

    #[test]
    fn what_is_no_socket_stays_and_so_does_the_socket_of_a_successor() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(at(&dir).parent().unwrap()).unwrap();
        fs::write(at(&dir), "notes").unwrap();
        let opened = run(open(&at(&dir))).unwrap();
        assert_eq!(fs::read_to_string(at(&dir)).unwrap(), "notes");
        let own = opened.file.path().to_owned();
        fs::remove_file(&own).unwrap();
        fs::write(&own, "another").unwrap();
        drop(opened);
        assert!(own.exists());
    }

    #[test]
    fn where_nothing_can_be_bound_the_reason_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let reason = run(open(&file.join("run.sock"))).unwrap_err();
        assert!(reason.contains("options.control"), "{reason}");
    }
}
