//! What the head of an HTTP/1 request says of its client: where it came from, a cookie, a
//! query parameter. Only looked at, so nothing is decoded or checked beyond what is needed:
//! the worker reads the same bytes and judges them.

use std::mem::MaybeUninit;
use std::net::IpAddr;

use httparse::{Header, Request, Status};

use super::trust::Trust;

/// How many bytes of a connection are looked at, the size that Node's HTTP server allows a head
/// by default (`--max-http-header-size`): a longer one is answered with 431 by the worker.
pub const LIMIT: usize = 16 << 10;
/// A head with more lines is not read.
const MAX_HEADERS: usize = 256;

/// The head of a request.
#[derive(Debug)]
pub struct Head<'a> {
    target: &'a str,
    headers: &'a [Header<'a>],
}

/// How much of a head is there.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The end of the head is still to come.
    Partial,
    /// This is no HTTP/1 request.
    Unreadable,
    /// What was read from the whole head.
    Whole(T),
}

/// Who a proxy says that it speaks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Client<'a> {
    /// An address.
    Address(IpAddr),
    /// A name that stands for one, such as `_hidden` of RFC 7239.
    Name(&'a [u8]),
}

/// Has `use_head` read a head, as soon as all of it is in `bytes`.
pub fn read<T>(bytes: &[u8], use_head: impl FnOnce(&Head<'_>) -> T) -> Parsed<T> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(Status::Partial) => Parsed::Partial,
        Ok(Status::Complete(_)) => Parsed::Whole(use_head(&Head {
            target: request.path.unwrap_or_default(),
            headers: request.headers,
        })),
        Err(_) => Parsed::Unreadable,
    }
}

impl<'a> Head<'a> {
    /// The value of a query parameter as it stands, not decoded; the first that is not empty.
    pub fn query(&self, name: &str) -> Option<&'a [u8]> {
        let (_, query) = self.target.split_once('?')?;
        let query = query.split('#').next().unwrap_or_default();
        first_value(query.as_bytes().split(|&byte| byte == b'&'), name)
    }

    /// The value of a cookie as it stands; the first that is not empty.
    pub fn cookie(&self, name: &str) -> Option<&'a [u8]> {
        let lines = self.values("cookie");
        first_value(
            lines.flat_map(|line| line.split(|&byte| byte == b';')),
            name,
        )
    }

    /// The client that a trusted `peer` speaks for: going from the peer to the left, the first
    /// address that is not trusted itself, or the last one (as `proxy-addr` does it).
    ///
    /// `header` names the header with the addresses; without it, that is `X-Forwarded-For`,
    /// or `Forwarded` where there is none.
    pub fn client(&self, peer: IpAddr, trust: &Trust, header: Option<&str>) -> Client<'a> {
        let mut client = Client::Address(peer);
        for hop in self.hops(header).into_iter().rev() {
            client = match hop_of(hop) {
                Some(Client::Address(address)) if trust.has(address) => Client::Address(address),
                Some(found) => return found,
                None => return client,
            };
        }
        client
    }

    /// All that proxies have added, the nearest last.
    fn hops(&self, header: Option<&str>) -> Vec<&'a [u8]> {
        let name = header.unwrap_or("x-forwarded-for");
        if name.eq_ignore_ascii_case("forwarded") {
            let elements = self
                .values(name)
                .flat_map(|line| split_unquoted(line, b','));
            return elements.map(for_of).collect();
        }
        let hops: Vec<_> = self
            .values(name)
            .flat_map(|line| line.split(|&byte| byte == b','))
            .collect();
        if hops.is_empty() && header.is_none() {
            return self.hops(Some("forwarded"));
        }
        hops
    }

    /// The values of a header, in order.
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let headers = self.headers.iter();
        headers
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }
}

/// The first value in `name=value` pairs with this name.
fn first_value<'a>(mut pairs: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a [u8]> {
    pairs.find_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let value = pair[at + 1..].trim_ascii();
        (pair[..at].trim_ascii() == name.as_bytes() && !value.is_empty()).then_some(value)
    })
}

/// The value of `for` in one element of `Forwarded`; empty where it has none.
fn for_of(element: &[u8]) -> &[u8] {
    split_unquoted(element, b';')
        .find_map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            pair[..at]
                .trim_ascii()
                .eq_ignore_ascii_case(b"for")
                .then_some(&pair[at + 1..])
        })
        .unwrap_or_default()
}

/// Splits at `separator` where it is not between quotes.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == separator && !quoted
    })
}

/// One hop: `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]`, `[::1]:80`, or a name; quoted or not.
/// None where it says that it does not know.
fn hop_of(text: &[u8]) -> Option<Client<'_>> {
    let mut text = text.trim_ascii();
    if let Some(inner) = text
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
    {
        text = inner.trim_ascii();
    }
    if text.is_empty() || text.eq_ignore_ascii_case(b"unknown") {
        return None;
    }
    Some(
        std::str::from_utf8(text)
            .ok()
            .and_then(address_of)
            .map_or(Client::Name(text), Client::Address),
    )
}

fn address_of(text: &str) -> Option<IpAddr> {
    let host = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        // One colon only: an IPv4 address with its port.
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    // The zone of a link-local address means nothing here.
    let host = host.split_once('%').map_or(host, |(address, _)| address);
    host.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "127.0.0.1";

    fn trust(networks: &[&str]) -> Trust {
        Trust::new(networks.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn head(lines: &[&str]) -> Vec<u8> {
        format!(
            "GET /a?x=1 HTTP/1.1\r\nHost: x\r\n{}\r\n\r\n",
            lines.join("\r\n")
        )
        .into_bytes()
    }

    /// The client that 127.0.0.1 speaks for, where it and 10.0.0.0/8 are trusted.
    fn client_by(header: Option<&str>, lines: &[&str]) -> String {
        let trust = trust(&["127.0.0.0/8", "10.0.0.0/8"]);
        let found = read(&head(lines), |head| {
            match head.client(PEER.parse().unwrap(), &trust, header) {
                Client::Address(address) => address.to_string(),
                Client::Name(name) => String::from_utf8_lossy(name).into_owned(),
            }
        });
        match found {
            Parsed::Whole(text) => text,
            other => panic!("{other:?} of {lines:?}"),
        }
    }

    fn client(lines: &[&str]) -> String {
        client_by(None, lines)
    }

    #[test]
    fn a_head_counts_when_all_of_it_is_there() {
        let whole = head(&["X-Forwarded-For: 1.2.3.4", "A: b"]);
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut], |_| ()), Parsed::Partial, "{cut}");
        }
        let followed = [&whole[..], b"body\r\n\r\n"].concat();
        assert_eq!(read(&followed, |head| head.headers.len()), Parsed::Whole(3));
    }

    #[test]
    fn what_is_no_request_is_unreadable() {
        for bytes in [
            &b"\x16\x03\x01\x02\x00"[..],
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
            b"\xff\xff\xff\xff",
            b"HTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(read(bytes, |_| ()), Parsed::Unreadable, "{bytes:?}");
        }
        let many = "A: b\r\n".repeat(MAX_HEADERS);
        let many = format!("GET / HTTP/1.1\r\n{many}B: c\r\n\r\n");
        assert_eq!(read(many.as_bytes(), |_| ()), Parsed::Unreadable);
    }

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_not_trusted() {
        assert_eq!(client(&[]), PEER);
        assert_eq!(client(&["X-Forwarded-For: 1.2.3.4"]), "1.2.3.4");
        assert_eq!(
            client(&["x-forwarded-for:9.9.9.9, 1.2.3.4 ,10.1.1.1"]),
            "1.2.3.4"
        );
        assert_eq!(client(&["X-Forwarded-For: 10.0.0.9, 10.0.0.8"]), "10.0.0.9");
        let lines = [
            "X-Forwarded-For: 9.9.9.9",
            "B: c",
            "X-FORWARDED-FOR: 1.2.3.4, 10.0.0.1",
        ];
        assert_eq!(client(&lines), "1.2.3.4");
    }

    #[test]
    fn every_way_to_write_an_address() {
        for (text, address) in [
            ("1.2.3.4:5678", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[::1]:123", "::1"),
            ("\"[2001:db8::1]:80\"", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:1.2.3.4", "::ffff:1.2.3.4"),
            ("\t1.2.3.4\t", "1.2.3.4"),
            // Trusted, whatever its form.
            ("7.7.7.7, ::ffff:10.0.0.1", "7.7.7.7"),
            ("7.7.7.7, 10.0.0.1:99", "7.7.7.7"),
            // Names are told apart, and stop the search.
            ("7.7.7.7, _hidden", "_hidden"),
            ("300.1.1.1", "300.1.1.1"),
            ("[::1", "[::1"),
            // Unknown is nobody: it stays with who has said so.
            ("7.7.7.7, unknown, 10.0.0.1", "10.0.0.1"),
            ("7.7.7.7, ,", PEER),
        ] {
            assert_eq!(
                client(&[&format!("X-Forwarded-For: {text}")]),
                address,
                "{text}"
            );
        }
    }

    #[test]
    fn forwarded_of_rfc_7239() {
        for (value, address) in [
            ("for=1.2.3.4", "1.2.3.4"),
            (
                "for=9.9.9.9, for=1.2.3.4;proto=https;by=10.0.0.1",
                "1.2.3.4",
            ),
            ("proto=http; FOR=\"[2001:db8::1]:47011\"", "2001:db8::1"),
            ("for=1.2.3.4, for=10.0.0.2", "1.2.3.4"),
            ("for=1.2.3.4;ext=\"a,b;for=5.5.5.5\"", "1.2.3.4"),
            ("for=_secret", "_secret"),
            ("for=1.2.3.4, for=unknown", PEER),
            ("by=1.2.3.4", PEER),
            ("for=\"1.2.3.4", "\"1.2.3.4"),
            (";;,,=", PEER),
        ] {
            assert_eq!(
                client(&[&format!("Forwarded: {value}")]),
                address,
                "{value}"
            );
        }
        let both = ["Forwarded: for=5.5.5.5", "X-Forwarded-For: 1.2.3.4"];
        assert_eq!(client(&both), "1.2.3.4");
        assert_eq!(client_by(Some("Forwarded"), &both), "5.5.5.5");
    }

    #[test]
    fn another_header_by_its_name() {
        let lines = ["X-Forwarded-For: 9.9.9.9", "X-Real-IP: 1.2.3.4"];
        assert_eq!(client_by(Some("x-real-ip"), &lines), "1.2.3.4");
        assert_eq!(client_by(Some("CF-Connecting-IP"), &lines), PEER);
    }

    #[test]
    fn a_query_parameter() {
        let query = |target: &str| {
            let bytes = format!("GET {target} HTTP/1.1\r\n\r\n");
            let found = read(bytes.as_bytes(), |head| {
                head.query("sid").map(<[u8]>::to_vec)
            });
            match found {
                Parsed::Whole(value) => value.map(|value| String::from_utf8(value).unwrap()),
                other => panic!("{other:?} of {target}"),
            }
        };
        assert_eq!(query("/socket.io/?EIO=4&sid=abc&t=1").unwrap(), "abc");
        assert_eq!(query("/?sid=&sid=b%20c#sid=x").unwrap(), "b%20c");
        assert_eq!(query("http://h/?sid=a?b=c").unwrap(), "a?b=c");
        for target in [
            "/",
            "/sid=1",
            "/?",
            "/?sid",
            "/?sid=",
            "/?xsid=1&SID=2",
            "*",
        ] {
            assert_eq!(query(target), None, "{target}");
        }
    }

    #[test]
    fn a_cookie() {
        let cookie = |lines: &[&str]| {
            let found = read(&head(lines), |head| head.cookie("id").map(<[u8]>::to_vec));
            match found {
                Parsed::Whole(value) => value.map(|value| String::from_utf8(value).unwrap()),
                other => panic!("{other:?} of {lines:?}"),
            }
        };
        assert_eq!(cookie(&["Cookie: a=1; id=x=y; id=z"]).unwrap(), "x=y");
        assert_eq!(
            cookie(&["cookie: a=1", "Cookie:id=\"q\""]).unwrap(),
            "\"q\""
        );
        assert_eq!(cookie(&["Cookie: id=; id=b"]).unwrap(), "b");
        for line in [
            "Cookie: ",
            "Cookie: id",
            "Cookie: xid=1; ID=2",
            "Set-Cookie: id=1",
        ] {
            assert_eq!(cookie(&[line]), None, "{line}");
        }
    }
}
