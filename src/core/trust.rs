//! Which peers are believed when they name their client: a list of networks.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The networks of trusted proxies.
#[derive(Clone, Debug, Default)]
pub struct Trust(Vec<Network>);

impl Trust {
    /// Trusts whoever is in one of `networks`.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether a peer at this address is believed.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }
}

/// An address with the number of its leading bits that count, kept in IPv6 form: there IPv4
/// addresses are those of `::ffff:0:0/96`, so one comparison serves both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    bits: u128,
    prefix: u32,
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        let differing = self.bits ^ u128::from(in_ipv6_form(address));
        differing.leading_zeros() >= self.prefix
    }
}

/// `10.0.0.0/8`, `fc00::/7`, or one address.
impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => width,
            Some(digits) => small_number(digits).filter(|&n| n <= width).ok_or(())?,
        };
        Ok(Self {
            bits: u128::from(in_ipv6_form(address)),
            prefix: prefix + (128 - width),
        })
    }
}

fn in_ipv6_form(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Digits only: `str::parse` would take a sign as well.
fn small_number(digits: &str) -> Option<u32> {
    let is_number = digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(network: &str, address: &str) -> bool {
        let network = Network::from_str(network).expect(network);
        Trust::new(vec![network]).has(address.parse().unwrap())
    }

    #[test]
    fn a_network_has_the_addresses_of_its_prefix() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.255.255.255"),
            ("172.16.0.0/12", "172.31.255.255", "172.32.0.0"),
            ("192.168.1.7", "192.168.1.7", "192.168.1.8"),
            ("192.168.1.7/32", "192.168.1.7", "192.168.1.6"),
            ("192.168.1.128/25", "192.168.1.255", "192.168.1.127"),
            ("fc00::/7", "fdff::1", "fe00::"),
            ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
            ("::1", "::1", "::2"),
        ] {
            assert!(has(network, inside), "{inside} in {network}");
            assert!(!has(network, outside), "{outside} not in {network}");
        }
        assert!(has("0.0.0.0/0", "1.2.3.4"));
        assert!(!has("0.0.0.0/0", "2001:db8::1"));
        assert!(has("::/0", "2001:db8::1") && has("::/0", "1.2.3.4"));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert!(has("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!has("10.0.0.0/8", "::ffff:11.1.2.3"));
        assert!(has("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(!has("::1/128", "127.0.0.1"));
    }

    #[test]
    fn nobody_is_trusted_without_networks() {
        assert!(!Trust::default().has("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0/8",
            "::/129",
            "::1/0001",
            "loopback",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "10.0.0.0/255.0.0.0",
            "fe80::1%eth0",
        ] {
            assert_eq!(Network::from_str(text), Err(()), "{text:?}");
        }
    }
}
