//! What names a client in sticky mode: its address, or something in the first bytes of its
//! connection.

use std::net::IpAddr;
use std::time::Duration;

use super::affinity::{hash_address, hash_bytes};
use super::head::{self, Client, Head, Parsed};
use super::proxy_header::{self, ProxyHeader};
use super::trust::Trust;

/// How the slot of a connection is found.
#[derive(Clone, Debug, Default)]
pub struct ClientKey {
    /// What is looked for.
    pub by: KeyBy,
    /// Who is believed in what it says of its client.
    pub trust: Trust,
    /// How long the first bytes are awaited.
    pub head_timeout: Duration,
}

/// What names a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyBy {
    /// The address that the connection comes from.
    #[default]
    Address,
    /// The address in this header of trusted peers; None: `X-Forwarded-For` or `Forwarded`.
    Forwarded(Option<String>),
    /// The value of the cookie with this name.
    Cookie(String),
    /// The value of the query parameter with this name.
    Query(String),
    /// The address in the header that trusted peers put before the client's bytes.
    ProxyProtocol,
}

/// What the first bytes of a connection have told.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing yet.
    More,
    /// The client's hash, and how many bytes are not for the worker.
    Key {
        /// Names the client.
        hash: u64,
        /// The length of a PROXY header.
        skip: usize,
    },
}

/// What the first byte of TLS is: the type of a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

impl ClientKey {
    /// Whether the first bytes of a connection from `peer` matter.
    pub fn wants_head(&self, peer: IpAddr) -> bool {
        match self.by {
            KeyBy::Address => false,
            KeyBy::Forwarded(_) | KeyBy::ProxyProtocol => self.trust.has(peer),
            KeyBy::Cookie(_) | KeyBy::Query(_) => true,
        }
    }

    /// Looks for the client in what has come from `peer`. Where nothing can be found, now or
    /// ever, it is the peer.
    pub fn find(&self, peer: IpAddr, bytes: &[u8]) -> Found {
        let found = if self.by == KeyBy::ProxyProtocol {
            self.find_proxy_header(peer, bytes)
        } else {
            self.find_in_head(peer, bytes)
        };
        match found {
            Found::More if bytes.len() >= head::LIMIT => key(hash_address(peer)),
            found => found,
        }
    }

    fn find_proxy_header(&self, peer: IpAddr, bytes: &[u8]) -> Found {
        match proxy_header::parse(bytes) {
            ProxyHeader::Partial => Found::More,
            ProxyHeader::Absent => key(hash_address(peer)),
            ProxyHeader::Whole { source, length } => Found::Key {
                hash: hash_address(source.unwrap_or(peer)),
                skip: length,
            },
        }
    }

    fn find_in_head(&self, peer: IpAddr, bytes: &[u8]) -> Found {
        if bytes.first() == Some(&TLS_HANDSHAKE) {
            return key(hash_address(peer));
        }
        match head::read(bytes, |head| self.hash_of(head, peer)) {
            Parsed::Partial => Found::More,
            Parsed::Unreadable => key(hash_address(peer)),
            Parsed::Whole(hash) => key(hash),
        }
    }

    fn hash_of(&self, head: &Head<'_>, peer: IpAddr) -> u64 {
        let (value, header) = match &self.by {
            KeyBy::Cookie(name) => (head.cookie(name), None),
            KeyBy::Query(name) => (head.query(name), None),
            KeyBy::Forwarded(header) => (None, header.as_deref()),
            KeyBy::Address | KeyBy::ProxyProtocol => (None, None),
        };
        if let Some(value) = value {
            return hash_bytes(value);
        }
        if !self.trust.has(peer) {
            return hash_address(peer);
        }
        match head.client(peer, &self.trust, header) {
            Client::Address(address) => hash_address(address),
            Client::Name(name) => hash_bytes(name),
        }
    }
}

fn key(hash: u64) -> Found {
    Found::Key { hash, skip: 0 }
}
