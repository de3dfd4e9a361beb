//! The first bytes of a connection name the same client however they arrive, and nobody who is
//! not trusted names another.

use std::net::IpAddr;
use std::time::Duration;

use super::bytes::Choices;
use crate::core::affinity::hash_address;
use crate::core::client_key::{ClientKey, Found, KeyBy};
use crate::core::head::LIMIT;
use crate::core::proxy_header::{self, ProxyHeader};
use crate::core::trust::Trust;

/// The kind of key, whether the peer is trusted, where the bytes are cut, and the bytes.
pub(super) fn check(data: &[u8]) {
    let mut choices = Choices::new(data);
    let by = match choices.below(6) {
        0 => KeyBy::Forwarded(None),
        1 => KeyBy::Forwarded(Some("x-real-ip".to_owned())),
        2 => KeyBy::Forwarded(Some("Forwarded".to_owned())),
        3 => KeyBy::Cookie("id".to_owned()),
        4 => KeyBy::Query("sid".to_owned()),
        _ => KeyBy::ProxyProtocol,
    };
    let peer: IpAddr = [[127, 0, 0, 1], [10, 1, 2, 3], [192, 0, 2, 1]][choices.below(3)].into();
    let cut = usize::from(choices.byte()) << (choices.byte() % 7);
    let bytes = choices.rest();
    let bytes = &bytes[..bytes.len().min(LIMIT)];
    let key = ClientKey {
        by,
        trust: Trust::new(vec![
            "127.0.0.0/8".parse().unwrap(),
            "10.0.0.0/8".parse().unwrap(),
        ]),
        head_timeout: Duration::from_secs(1),
    };
    let part = &bytes[..cut.min(bytes.len())];
    let (early, late) = (key.find(peer, part), key.find(peer, bytes));
    if let Found::Key { skip, .. } = early {
        assert!(skip <= part.len());
        assert_eq!(early, late, "more bytes have changed what was found");
    }
    let trusted = key.trust.has(peer);
    let named_by_all = matches!(key.by, KeyBy::Cookie(_) | KeyBy::Query(_));
    match late {
        Found::More => assert!(bytes.len() < LIMIT),
        Found::Key { hash, skip } => {
            assert!(skip <= bytes.len());
            // A PROXY header is only looked for where the peer is trusted.
            if !trusted && !named_by_all && key.by != KeyBy::ProxyProtocol {
                assert_eq!(hash, hash_address(peer));
            }
        }
    }
    check_proxy_header(part, bytes);
}

fn check_proxy_header(part: &[u8], bytes: &[u8]) {
    let (early, late) = (proxy_header::parse(part), proxy_header::parse(bytes));
    if early != ProxyHeader::Partial {
        assert_eq!(early, late);
    }
    let ProxyHeader::Whole { source, length } = late else {
        return;
    };
    assert!(length <= bytes.len());
    assert_eq!(proxy_header::parse(&bytes[..length]), late);
    assert_eq!(
        proxy_header::parse(&bytes[..length - 1]),
        ProxyHeader::Partial
    );
    let header = &bytes[..length];
    if let (true, Some(source)) = (header.starts_with(b"PROXY "), source) {
        let line = std::str::from_utf8(header).unwrap();
        let words: Vec<_> = line.trim_end().split(' ').collect();
        assert_eq!(words.len(), 6);
        assert_eq!(words[2].parse::<IpAddr>().unwrap(), source);
    }
}
