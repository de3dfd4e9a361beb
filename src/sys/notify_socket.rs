//! Sends datagrams to a service manager, as `sd_notify` does, and never waits for it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};
use nix::time::{ClockId, clock_gettime};

/// A socket for datagrams, and where they go.
#[derive(Debug)]
pub struct NotifySocket {
    fd: OwnedFd,
    address: UnixAddr,
}

impl NotifySocket {
    /// For a service manager at `name`: an absolute path, or `@` and an abstract name (Linux).
    /// Nobody has to be there.
    ///
    /// # Errors
    /// `EINVAL` for another name, `ENAMETOOLONG` beyond the 100-odd bytes that the system allows,
    /// `EMFILE` and `ENFILE` for want of descriptors.
    pub fn new(name: &str) -> io::Result<Self> {
        let address = address(name)?;
        let family = AddressFamily::Unix;
        #[cfg(target_os = "linux")]
        let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        #[cfg(not(target_os = "linux"))]
        let fd = {
            let fd = socket(family, SockType::Datagram, SockFlag::empty(), None)?;
            super::descriptor::set_cloexec(&fd)?;
            fd
        };
        Ok(Self { fd, address })
    }

    /// Sends one datagram. Each finds its way anew, so a service manager that has been started again gets it.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) where too many wait to be read there; `ENOENT` and
    /// `ECONNREFUSED` where nobody listens.
    pub fn send(&self, text: &str) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT;
        match sendto(self.fd.as_raw_fd(), text.as_bytes(), &self.address, flags) {
            // What macOS says of a full queue.
            Err(Errno::ENOBUFS) => Err(io::ErrorKind::WouldBlock.into()),
            sent => Ok(sent.map(drop)?),
        }
    }
}

fn address(name: &str) -> nix::Result<UnixAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.strip_prefix('@').filter(|name| !name.is_empty()) {
        return UnixAddr::new_abstract(name.as_bytes());
    }
    if name.starts_with('/') {
        UnixAddr::new(name)
    } else {
        Err(Errno::EINVAL)
    }
}

/// The time of the clock that a service manager compares a reload with, in µs.
///
/// # Errors
/// Where the system has no such clock.
pub fn monotonic_us() -> io::Result<i64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn read(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_path_and_whoever_listens_there_next_are_reached() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let sender = NotifySocket::new(path.to_str().unwrap()).unwrap();
        let errno = |error: io::Error| error.raw_os_error();
        assert_eq!(
            errno(sender.send("0").unwrap_err()),
            Some(Errno::ENOENT as i32)
        );
        let first = UnixDatagram::bind(&path).unwrap();
        sender.send("1").unwrap();
        assert_eq!(read(&first), "1");
        drop(first);
        assert_eq!(
            errno(sender.send("2").unwrap_err()),
            Some(Errno::ECONNREFUSED as i32)
        );
        std::fs::remove_file(&path).unwrap();
        let second = UnixDatagram::bind(&path).unwrap();
        sender.send("3").unwrap();
        assert_eq!(read(&second), "3");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_name_is_reached() {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::SocketAddr;
        let name = format!("egg-cluster-rs-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let receiver = UnixDatagram::bind_addr(&address).unwrap();
        NotifySocket::new(&format!("@{name}"))
            .unwrap()
            .send("READY=1")
            .unwrap();
        assert_eq!(read(&receiver), "READY=1");
    }

    #[test]
    fn one_who_does_not_read_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let sender = NotifySocket::new(path.to_str().unwrap()).unwrap();
        let sent = (0..100_000).find_map(|_| sender.send("STATUS=x").err());
        assert_eq!(sent.unwrap().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(read(&receiver), "STATUS=x");
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["", "@", "relative/path", "vsock:2:1234"] {
            assert!(NotifySocket::new(name).is_err(), "{name:?}");
        }
        assert!(NotifySocket::new(&format!("/{}", "x".repeat(200))).is_err());
    }

    #[test]
    fn the_clock_is_that_of_the_service_manager() {
        let first = monotonic_us().unwrap();
        assert!(first > 0 && monotonic_us().unwrap() >= first);
    }
}
