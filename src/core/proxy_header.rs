//! The header of the PROXY protocol, versions 1 and 2, as its specification by HAProxy
//! (`doc/proxy-protocol.txt`) has it: a proxy writes it in front of what the client sends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::head::LIMIT;

/// The longest line of version 1, with its CRLF.
const V1_LIMIT: usize = 107;
const V1_START: &[u8] = b"PROXY ";
/// What version 2 starts with.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
const V2_FIXED: usize = 16;

/// What the first bytes of a connection say.
#[derive(Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The rest of the header is still to come.
    Partial,
    /// There is no header, or none that can be used.
    Absent,
    /// The whole header is there.
    Whole {
        /// The client. `None` where the proxy speaks for itself or does not know.
        source: Option<IpAddr>,
        /// How many bytes the header takes.
        length: usize,
    },
}

/// Reads the first bytes of a connection.
pub fn parse(bytes: &[u8]) -> ProxyHeader {
    let begins = |start: &[u8]| start.iter().zip(bytes).all(|(a, b)| a == b);
    if begins(V2_SIGNATURE) {
        parse_v2(bytes)
    } else if begins(V1_START) {
        parse_v1(bytes).unwrap_or(ProxyHeader::Absent)
    } else {
        ProxyHeader::Absent
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`; None where it breaks the rules.
fn parse_v1(bytes: &[u8]) -> Option<ProxyHeader> {
    let within = &bytes[..bytes.len().min(V1_LIMIT)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return (bytes.len() < V1_LIMIT).then_some(ProxyHeader::Partial);
    };
    let line = std::str::from_utf8(&within[V1_START.len()..end]).ok()?;
    let mut words = line.split(' ');
    let source = match words.next()? {
        "UNKNOWN" => None,
        family @ ("TCP4" | "TCP6") => {
            let [source, target, from, to] =
                [words.next()?, words.next()?, words.next()?, words.next()?];
            let source: IpAddr = source.parse().ok()?;
            let target: IpAddr = target.parse().ok()?;
            let is_v4 = family == "TCP4";
            let fits = source.is_ipv4() == is_v4 && target.is_ipv4() == is_v4;
            if !fits || !is_port(from) || !is_port(to) || words.next().is_some() {
                return None;
            }
            Some(source)
        }
        _ => return None,
    };
    Some(ProxyHeader::Whole {
        source,
        length: end + 2,
    })
}

fn is_port(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

fn parse_v2(bytes: &[u8]) -> ProxyHeader {
    let Some((fixed, rest)) = bytes.split_at_checked(V2_FIXED) else {
        return ProxyHeader::Partial;
    };
    let (command, family) = (fixed[12], fixed[13]);
    let size = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return ProxyHeader::Absent,
    };
    // The length of the two addresses; the ports and extensions that may follow are not needed.
    let needed = match family {
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        0x00 => 0,
        // A proxy that speaks for itself may leave anything here.
        _ if is_local => 0,
        _ => return ProxyHeader::Absent,
    };
    let length = V2_FIXED + size;
    if length > LIMIT || (!is_local && size < needed) {
        return ProxyHeader::Absent;
    }
    let Some(addresses) = rest.get(..size) else {
        return ProxyHeader::Partial;
    };
    let source = match family {
        _ if is_local => None,
        0x11 | 0x12 => addresses
            .first_chunk::<4>()
            .map(|&octets| Ipv4Addr::from(octets).into()),
        0x21 | 0x22 => addresses
            .first_chunk::<16>()
            .map(|&octets| Ipv6Addr::from(octets).into()),
        _ => None,
    };
    ProxyHeader::Whole { source, length }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(source: Option<&str>, length: usize) -> ProxyHeader {
        let source = source.map(|text| text.parse().unwrap());
        ProxyHeader::Whole { source, length }
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let size = u16::try_from(body.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &size, body].concat()
    }

    /// Every shorter part is incomplete, and what follows is no part of it.
    fn assert_whole(header: &[u8], source: Option<&str>) {
        for cut in 0..header.len() {
            assert_eq!(
                parse(&header[..cut]),
                ProxyHeader::Partial,
                "{cut} of {header:?}"
            );
        }
        let followed = [header, b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(parse(header), whole(source, header.len()));
        assert_eq!(parse(&followed), whole(source, header.len()));
    }

    #[test]
    fn version_1() {
        assert_whole(
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
            Some("192.0.2.1"),
        );
        assert_whole(
            b"PROXY TCP6 2001:db8::1 ::1 0 65535\r\n",
            Some("2001:db8::1"),
        );
        assert_whole(b"PROXY UNKNOWN\r\n", None);
        assert_whole(b"PROXY UNKNOWN ffff:: ::1 65535 65535\r\n", None);
    }

    #[test]
    fn version_1_that_breaks_the_rules() {
        for line in [
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1\r\n",
            "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 +5 443\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 ::1 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY \r\n",
            "PROXY unknown\r\n",
            "PROXZ TCP4",
            "GET / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), ProxyHeader::Absent, "{line:?}");
        }
        let endless = [b"PROXY UNKNOWN ", &[b'x'; 100][..]].concat();
        assert_eq!(parse(&endless[..V1_LIMIT - 1]), ProxyHeader::Partial);
        assert_eq!(parse(&endless), ProxyHeader::Absent);
        assert_eq!(parse(b"PROXY \xff\xfe\r\n"), ProxyHeader::Absent);
    }

    #[test]
    fn version_2() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
        assert_whole(&v2(0x21, 0x11, &v4), Some("192.0.2.1"));
        let extended = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        assert_whole(&v2(0x21, 0x11, &extended), Some("192.0.2.1"));
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15]) = (0x20, 0x01, 9);
        assert_whole(&v2(0x21, 0x21, &v6), Some("2001::9"));
        assert_whole(&v2(0x20, 0x00, &[]), None);
        assert_whole(&v2(0x20, 0x11, &v4), None);
        assert_whole(&v2(0x20, 0x55, &[1]), None);
        assert_whole(&v2(0x21, 0x00, &[1, 2, 3]), None);
        assert_whole(&v2(0x21, 0x31, &[b'/'; 216]), None);
    }

    #[test]
    fn version_2_that_breaks_the_rules() {
        for header in [
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x41, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x31, &[0; 215]),
            v2(0x21, 0x11, &[0; LIMIT]),
        ] {
            assert_eq!(parse(&header), ProxyHeader::Absent, "{:?}", &header[12..16]);
        }
        assert_eq!(parse(b"\r\n\r\nGET"), ProxyHeader::Absent);
    }
}
