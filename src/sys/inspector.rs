//! The ports on which processes listen at 127.0.0.1, to find one that Node's inspector has
//! just opened. Linux only: elsewhere there is no `/proc` that tells.
//!
//! Reading `/proc` can take milliseconds in a process with many descriptors. Call it where
//! that is no harm.

use std::io;

/// A socket that listens at 127.0.0.1, of whatever process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Names the socket while it exists.
    pub inode: u64,
    /// Its port.
    pub port: u16,
}

/// All sockets that listen at 127.0.0.1 in the network namespace of this process.
///
/// # Errors
///
/// `Unsupported` but on Linux; there, what `/proc` says, `ENOENT` if there is no such process.
pub fn listening(pid: i32) -> io::Result<Vec<Listening>> {
    system::listening(pid)
}

/// This process has a descriptor of the socket.
///
/// # Errors
///
/// As [`listening`]; `EACCES` if the process is another user's.
pub fn owns(pid: i32, socket: Listening) -> io::Result<bool> {
    system::owns(pid, socket.inode)
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs::{self, File};
    use std::io::{self, BufRead, BufReader};
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::Listening;

    /// `TCP_LISTEN` of the kernel, as `/proc/net/tcp` writes it.
    const LISTEN: &str = "0A";

    pub(super) fn listening(pid: i32) -> io::Result<Vec<Listening>> {
        let file = File::open(format!("/proc/{pid}/net/tcp"))?;
        let mut found = Vec::new();
        for line in BufReader::new(file).lines().skip(1) {
            let line = line?;
            let fields: Vec<&str> = line.split_whitespace().collect();
            // The kernel lists those that listen first; of the others there may be very many.
            if fields.get(3) != Some(&LISTEN) {
                break;
            }
            found.extend(parse(&fields));
        }
        Ok(found)
    }

    /// `sl local remote state queues timer retransmits uid timeout inode …`
    fn parse(fields: &[&str]) -> Option<Listening> {
        let (address, port) = fields.get(1)?.split_once(':')?;
        // The four bytes are written as one number of this machine's byte order.
        let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
        let socket = Listening {
            inode: fields.get(9)?.parse().ok()?,
            port: u16::from_str_radix(port, 16).ok()?,
        };
        (Ipv4Addr::from(address) == Ipv4Addr::LOCALHOST).then_some(socket)
    }

    pub(super) fn owns(pid: i32, inode: u64) -> io::Result<bool> {
        let wanted = format!("socket:[{inode}]");
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // A descriptor that was closed meanwhile is not the one.
            if fs::read_link(entry?.path()).is_ok_and(|target| target == Path::new(&wanted)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use super::Listening;

    pub(super) fn listening(_pid: i32) -> io::Result<Vec<Listening>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the inspector's port can be found on Linux only",
        ))
    }

    pub(super) fn owns(_pid: i32, _inode: u64) -> io::Result<bool> {
        Ok(false)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listening_socket_is_found_with_its_owner_and_gone_when_it_is_closed() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let me = i32::try_from(std::process::id()).unwrap();
        let has_port = |it: &Listening| it.port == port;
        let found = listening(me).unwrap().into_iter().find(has_port).unwrap();
        assert!(owns(me, found).unwrap());
        let other = Listening { inode: 1, port };
        assert!(!owns(me, other).unwrap());
        drop(socket);
        assert!(!listening(me).unwrap().contains(&found));
    }

    #[test]
    fn sockets_on_other_addresses_are_left_out() {
        let socket = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(listening(me).unwrap().iter().all(|it| it.port != port));
    }
}
