//! Which slot a client belongs to in sticky mode.
//!
//! A client's key, which is its address unless the options say otherwise, names its slot. The worker of a slot may change (refork, reload),
//! the slot stays. While a slot has no ready worker its clients go to another slot by
//! rendezvous hashing: each to the same one every time, spread evenly, and no client of
//! another slot is moved.

use std::net::IpAddr;

/// The slot for a client, known by its hash, among `slots`, of which `is_ready` can take
/// connections.
pub fn choose_slot(hash: u64, slots: u32, is_ready: impl Fn(u32) -> bool) -> Option<u32> {
    let home = u32::try_from(hash % u64::from(slots.max(1))).unwrap_or(0);
    if is_ready(home) {
        return Some(home);
    }
    (0..slots)
        .filter(|&slot| is_ready(slot))
        .max_by_key(|&slot| mix(hash ^ u64::from(slot + 1)))
}

/// One address, one number: IPv4 and its IPv4-mapped IPv6 form are the same client.
pub fn hash_address(client: IpAddr) -> u64 {
    let bits = match client.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let [high, low] = [(bits >> 64) as u64, bits as u64];
    mix(mix(high) ^ low)
}

/// Any other key that names a client.
pub fn hash_bytes(key: &[u8]) -> u64 {
    key.chunks(8).fold(mix(key.len() as u64), |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(hash ^ u64::from_le_bytes(word))
    })
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn clients(count: u32) -> impl Iterator<Item = u64> {
        (0..count).map(|n| hash_address(Ipv4Addr::from(0x0a00_0001 + n).into()))
    }

    #[test]
    fn a_client_keeps_its_slot_whatever_happens_to_others() {
        for client in clients(500) {
            let home = choose_slot(client, 4, |_| true).unwrap();
            for gone in (0..4).filter(|&slot| slot != home) {
                assert_eq!(choose_slot(client, 4, |slot| slot != gone), Some(home));
            }
        }
    }

    #[test]
    fn clients_of_an_empty_slot_are_spread_over_all_others() {
        let mut taken = [0; 4];
        for client in clients(3000) {
            if choose_slot(client, 4, |_| true) == Some(0) {
                let slot = choose_slot(client, 4, |slot| slot != 0).unwrap();
                taken[slot as usize] += 1;
            }
        }
        assert_eq!(taken[0], 0);
        assert!(taken[1..].iter().all(|&count| count > 180), "{taken:?}");
    }

    #[test]
    fn the_spread_is_even_over_few_and_many_clients() {
        for (count, slots) in [(64, 4_u32), (100_000, 8)] {
            assert_even(count, slots, clients(count));
            let texts = (0..count).map(|n| hash_bytes(format!("session-{n}").as_bytes()));
            assert_even(count, slots, texts);
        }
    }

    fn assert_even(count: u32, slots: u32, hashes: impl Iterator<Item = u64>) {
        let mut taken = vec![0_u32; slots as usize];
        for hash in hashes {
            taken[choose_slot(hash, slots, |_| true).unwrap() as usize] += 1;
        }
        let fair = f64::from(count) / f64::from(slots);
        let slack = 3.0 * fair.sqrt();
        let is_fair = |&n: &u32| (f64::from(n) - fair).abs() < slack;
        assert!(taken.iter().all(is_fair), "{taken:?}");
    }

    #[test]
    fn a_mapped_address_is_the_same_client() {
        let v4 = Ipv4Addr::new(192, 168, 7, 9);
        let mapped: Ipv6Addr = v4.to_ipv6_mapped();
        assert_eq!(hash_address(v4.into()), hash_address(mapped.into()));
    }

    #[test]
    fn keys_that_differ_at_all_differ_in_their_hash() {
        let keys: [&[u8]; 7] = [
            b"",
            b"\0",
            b"\0\0",
            b"a",
            b"a\0",
            b"12345678",
            b"12345678\0",
        ];
        let hashes: std::collections::HashSet<_> = keys.map(hash_bytes).into();
        assert_eq!(hashes.len(), keys.len());
    }

    #[test]
    fn without_a_ready_worker_there_is_no_slot() {
        assert_eq!(choose_slot(1, 4, |_| false), None);
    }
}
