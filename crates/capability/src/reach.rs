//! What lies behind an address: the public Internet, a private network, or something that no
//! component ever reaches by a name.
//!
//! Pure: tables of the IANA special-purpose registries and of cloud metadata services, and
//! the disguises in which one address stands for another. Knows no names and no cluster; what
//! a node must block besides is its caller's. Asked by the runtime for every address that a
//! name resolves to, before it connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// What lies behind an address, from what everybody may reach to what nobody may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Globally reachable.
    Public,
    /// RFC 1918, RFC 6598 (carrier-grade NAT) and RFC 4193 (unique local): pods, services,
    /// and whatever else a platform has in its own networks.
    Private,
    /// Loopback, link-local, metadata services, multicast, reserved: never an upstream.
    Special,
}

/// The class of an address: the worst of all that it may stand for.
pub fn classify(address: IpAddr) -> Class {
    stands_for(address)
        .map(class_of_one)
        .max()
        .unwrap_or(Class::Special)
}

/// The class of an address as it is written, without looking for disguises.
///
/// For callers that judge each of [`stands_for`] themselves.
pub fn class_of_one(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => class_of_v4(address),
        IpAddr::V6(address) => class_of_v6(address),
    }
}

/// Every address that a packet to `address` may arrive at: itself, in canonical form, and
/// the IPv4 address that a translator or tunnel on the way would take out of it.
pub fn stands_for(address: IpAddr) -> impl Iterator<Item = IpAddr> {
    let address = address.to_canonical();
    let hidden = match address {
        IpAddr::V4(_) => [None, None],
        IpAddr::V6(address) => hidden_in(address),
    };
    std::iter::once(address).chain(hidden.into_iter().flatten().map(IpAddr::V4))
}

fn class_of_v4(address: Ipv4Addr) -> Class {
    // RFC 6598; the metadata service of Alibaba Cloud lies in it.
    const SHARED: (Ipv4Addr, u32) = (Ipv4Addr::new(100, 64, 0, 0), 10);
    const SPECIAL: [(Ipv4Addr, u32); 14] = [
        (Ipv4Addr::new(0, 0, 0, 0), 8),
        (Ipv4Addr::new(100, 100, 100, 200), 32),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        // Azure's WireServer, a public address that is the host of the machine.
        (Ipv4Addr::new(168, 63, 129, 16), 32),
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        (Ipv4Addr::new(224, 0, 0, 0), 4),
        (Ipv4Addr::new(240, 0, 0, 0), 4),
        (Ipv4Addr::BROADCAST, 32),
    ];
    let within = |(network, length): &(Ipv4Addr, u32)| {
        (address.to_bits() ^ network.to_bits()) >> (32 - length) == 0
    };
    if SPECIAL.iter().any(within) {
        Class::Special
    } else if address.is_private() || within(&SHARED) {
        Class::Private
    } else {
        Class::Public
    }
}

fn class_of_v6(address: Ipv6Addr) -> Class {
    const GLOBAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    const UNIQUE_LOCAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7);
    // What AWS serves metadata, names and time from.
    const AWS: (Ipv6Addr, u32) = (Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0), 32);
    // Parts of what is global otherwise: benchmarking, ORCHID, documentation.
    const SPECIAL: [(Ipv6Addr, u32); 5] = [
        (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48),
        (Ipv6Addr::new(0x2001, 0x10, 0, 0, 0, 0, 0, 0), 28),
        (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
        (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    ];
    let within = |network: &(Ipv6Addr, u32)| is_within(address, network);
    // A translator's address is judged by what it translates to.
    let translated = is_nat64(address) || is_ipv4_compatible(address);
    if SPECIAL.iter().any(within) || within(&AWS) {
        Class::Special
    } else if within(&UNIQUE_LOCAL) {
        Class::Private
    } else if within(&GLOBAL) || translated {
        Class::Public
    } else {
        Class::Special
    }
}

fn is_within(address: Ipv6Addr, (network, length): &(Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ network.to_bits()) >> (128 - length) == 0
}

/// RFC 6052's well-known prefix and RFC 8215's for local use.
fn is_nat64(address: Ipv6Addr) -> bool {
    is_within(address, &NAT64) || is_within(address, &NAT64_LOCAL)
}

/// RFC 4291 2.5.5.1, without `::` and `::1`, which are addresses of their own.
fn is_ipv4_compatible(address: Ipv6Addr) -> bool {
    is_within(address, &(Ipv6Addr::UNSPECIFIED, 96)) && address.to_bits() > 1
}

const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
const NAT64_LOCAL: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48);
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);
const TEREDO: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32);

/// The IPv4 addresses that an IPv6 address carries: at most two, as in Teredo.
fn hidden_in(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let bits = address.to_bits();
    // 32 bits that end `after` bits before the end.
    let v4 = |after: u32| Ipv4Addr::from_bits((bits >> after) as u32);
    let is = |network: &(Ipv6Addr, u32)| is_within(address, network);
    if is(&NAT64) || is_ipv4_compatible(address) {
        return [Some(v4(0)), None];
    }
    if is(&NAT64_LOCAL) {
        // RFC 6052 2.2: how long the translator's prefix is, nobody outside knows. With 48,
        // 56 or 64 bits the address lies further left and zeros follow it; the address that
        // such an end would spell is no hiding place either.
        let ends_in_zeros = bits & 0x00ff_ffff == 0;
        let translated = if ends_in_zeros {
            Ipv4Addr::UNSPECIFIED
        } else {
            v4(0)
        };
        return [Some(translated), None];
    }
    if is(&SIX_TO_FOUR) {
        return [Some(v4(80)), isatap(bits)];
    }
    if is(&TEREDO) {
        // RFC 4380 4: the server, and the client with its bits inverted.
        return [Some(v4(64)), Some(Ipv4Addr::from_bits(!v4(0).to_bits()))];
    }
    [isatap(bits), None]
}

/// RFC 5214 6.1: an interface identifier of `[02]00:5efe` and an IPv4 address, under any prefix.
fn isatap(bits: u128) -> Option<Ipv4Addr> {
    let marker = (bits >> 32) as u32;
    matches!(marker, 0x0000_5efe | 0x0200_5efe).then(|| Ipv4Addr::from_bits(bits as u32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class(text: &str) -> Class {
        classify(text.parse().unwrap())
    }

    #[test]
    fn plain_addresses_are_of_their_registry() {
        for (class_, addresses) in [
            (
                Class::Public,
                "1.1.1.1 93.184.215.14 11.0.0.1 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 \
                 169.253.1.1 192.0.1.1 198.17.0.1 198.20.0.1 223.255.255.255 168.63.129.17 \
                 2606:4700::1111 2a00:1450::1 2001:4860::8888 3fff:1000::1",
            ),
            (
                Class::Private,
                "10.0.0.1 10.96.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 \
                 100.127.255.255 fc00::1 fd12:3456::1 fd00:ec1::1",
            ),
            (
                Class::Special,
                "0.0.0.0 0.1.2.3 127.0.0.1 127.255.0.1 169.254.169.254 169.254.0.1 192.0.0.192 \
                 192.0.2.1 192.88.99.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 \
                 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16 \
                 100.100.100.200 :: ::1 fe80::1 fec0::1 ff02::1 100::1 fd00:ec2::254 \
                 2001:db8::1 2001:2::1 2001:10::1 2001:20::1 3fff::1 5f00::1 4000::1",
            ),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(class(address), class_, "{address}");
            }
        }
    }

    #[test]
    fn a_disguise_changes_nothing() {
        for (address, expected) in [
            ("::ffff:169.254.169.254", Class::Special),
            ("::ffff:10.0.0.1", Class::Private),
            ("::ffff:1.1.1.1", Class::Public),
            ("::127.0.0.1", Class::Special),
            ("::10.0.0.1", Class::Private),
            ("::1.1.1.1", Class::Public),
            ("::ffff:0:169.254.169.254", Class::Special),
            ("64:ff9b::169.254.169.254", Class::Special),
            ("64:ff9b::10.96.0.1", Class::Private),
            ("64:ff9b::1.1.1.1", Class::Public),
            ("64:ff9b:1::169.254.169.254", Class::Special),
            ("64:ff9b:1:abcd::10.0.0.1", Class::Private),
            ("64:ff9b:1:abcd::1.1.1.1", Class::Public),
            // The same with prefixes of 48, 56 and 64 bits: 169.254.169.254.
            ("64:ff9b:1:a9fe:a9:fe00::", Class::Special),
            ("64:ff9b:1:a9:fe:a9fe::", Class::Special),
            ("64:ff9b:1::a9:fea9:fe00:0", Class::Special),
            ("2002:a9fe:a9fe::1", Class::Special),
            ("2002:a00:1::1", Class::Private),
            ("2002:101:101::1", Class::Public),
            ("2002:101:101::5efe:a9fe:a9fe", Class::Special),
            // Teredo: server 1.1.1.1, client 169.254.169.254 inverted; and the other way round.
            ("2001:0:101:101::5601:5601", Class::Special),
            ("2001:0:7f00:1::fefe:fefe", Class::Special),
            ("2001:0:101:101::fefe:fefe", Class::Public),
            ("2606:4700::5efe:169.254.169.254", Class::Special),
            ("2606:4700::200:5efe:10.0.0.1", Class::Private),
            ("2606:4700::200:5efe:1.1.1.1", Class::Public),
            ("fe80::5efe:1.1.1.1", Class::Special),
        ] {
            assert_eq!(class(address), expected, "{address}");
        }
    }

    fn disguised(v4: Ipv4Addr, how: usize) -> Ipv6Addr {
        let low = u128::from(v4.to_bits());
        let with = |prefix: &str| prefix.parse::<Ipv6Addr>().unwrap().to_bits();
        Ipv6Addr::from_bits(match how {
            0 => with("::ffff:0:0") | low,
            1 => with("64:ff9b::") | low,
            2 => with("64:ff9b:1::") | low,
            3 => with("2002::1") | low << 80,
            4 => with("2001:0:101:101::") | u128::from(!v4.to_bits()),
            5 => with("2001:0::fefe:fefe") | low << 64,
            6 => with("2606:4700::200:5efe:0:0") | low,
            _ => with("2606:4700::5efe:0:0") | low,
        })
    }

    proptest! {
        #[test]
        fn no_disguise_makes_an_address_look_better(bits: u32, how in 0_usize..8) {
            let v4 = Ipv4Addr::from_bits(bits);
            let plain = classify(IpAddr::V4(v4));
            prop_assert!(classify(IpAddr::V6(disguised(v4, how))) >= plain);
        }

        #[test]
        fn an_address_always_stands_for_itself_first(bits: u128) {
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical();
            prop_assert_eq!(stands_for(address).next(), Some(address));
        }

        #[test]
        fn the_class_is_that_of_the_worst_it_stands_for(bits: u128) {
            let address = IpAddr::V6(Ipv6Addr::from_bits(bits));
            for one in stands_for(address) {
                prop_assert!(classify(address) >= class_of_one(one));
            }
        }
    }
}
