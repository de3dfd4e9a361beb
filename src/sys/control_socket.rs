//! A unix socket that only its owner can connect to, at a path of any length.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind as bind_to, connect, listen, socket,
};
use nix::sys::stat::{Mode, fchmod};

use super::descriptor::set_nonblocking;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// What is found at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A socket that nobody listens on any more.
    Stale,
    /// A socket that somebody listens on, or something that is no socket of ours to judge.
    Taken,
}

/// Binds a socket and listens. The file has mode 0600.
///
/// # Errors
/// Where the path cannot be bound: `EADDRINUSE` if there is something already.
pub fn bind(path: &Path) -> io::Result<OwnedFd> {
    let fd = new_socket()?;
    // Linux gives the file the mode of the socket. Elsewhere that fails, and the mode is set below;
    // whoever connects in between is looked at before it is listened to.
    let before = fchmod(&fd, owner_only());
    with_address(path, |address| bind_to(fd.as_raw_fd(), address))?;
    if before.is_err() {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    }
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}

/// Asks the socket at a path whether somebody listens.
///
/// # Errors
/// Where it cannot be asked, for want of descriptors.
pub fn ask(path: &Path) -> io::Result<Found> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Ok(found) if found.file_type().is_socket() => {}
        _ => return Ok(Found::Taken),
    }
    let fd = new_socket()?;
    let asked = with_address(path, |address| connect(fd.as_raw_fd(), address));
    Ok(match asked {
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ECONNREFUSED) => Found::Stale,
            Some(Errno::ENOENT) => Found::Nothing,
            // Its queue is full, or it is not for us.
            _ => Found::Taken,
        },
        Ok(()) => Found::Taken,
    })
}

fn owner_only() -> Mode {
    Mode::S_IRUSR | Mode::S_IWUSR
}

fn new_socket() -> io::Result<OwnedFd> {
    let family = AddressFamily::Unix;
    #[cfg(target_os = "linux")]
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    #[cfg(not(target_os = "linux"))]
    let fd = {
        let fd = socket(family, SockType::Stream, SockFlag::empty(), None)?;
        super::descriptor::set_cloexec(&fd)?;
        fd
    };
    set_nonblocking(&fd)?;
    Ok(fd)
}

/// An address holds about a hundred bytes. On Linux a longer path is reached by its directory.
fn with_address(path: &Path, act: impl FnOnce(&UnixAddr) -> nix::Result<()>) -> io::Result<()> {
    match UnixAddr::new(path) {
        Ok(address) => Ok(act(&address)?),
        Err(Errno::ENAMETOOLONG) => {
            let (_directory, short) = by_directory(path)?;
            Ok(act(&UnixAddr::new(&short)?)?)
        }
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(target_os = "linux")]
fn by_directory(path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::ENAMETOOLONG.into());
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(parent, flags, Mode::empty())?;
    let by_number = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    Ok((directory, by_number.join(name)))
}

#[cfg(not(target_os = "linux"))]
fn by_directory(_path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    Err(Errno::ENAMETOOLONG.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_file_is_for_its_owner_only_from_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let _socket = bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_socket_that_is_listened_on_is_told_from_a_stale_one_and_from_other_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        assert_eq!(ask(&path).unwrap(), Found::Nothing);
        let socket = bind(&path).unwrap();
        assert_eq!(ask(&path).unwrap(), Found::Taken);
        let again = bind(&path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert_eq!(ask(&path).unwrap(), Found::Stale);
        let other = dir.path().join("other");
        std::fs::write(&other, "x").unwrap();
        assert_eq!(ask(&other).unwrap(), Found::Taken);
        let foreign = dir.path().join("foreign.sock");
        let _foreign = UnixListener::bind(&foreign).unwrap();
        assert_eq!(ask(&foreign).unwrap(), Found::Taken);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_may_be_longer_than_an_address() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120)).join("e".repeat(120));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("control.sock");
        let socket = bind(&path).unwrap();
        assert_eq!(ask(&path).unwrap(), Found::Taken);
        drop(socket);
        assert_eq!(ask(&path).unwrap(), Found::Stale);
    }
}
