//! Addresses that a candidate may not name.
//!
//! A publisher tells the server where to send connectivity checks. Nothing that a stranger says makes the server send
//! to places that only the server should reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::webrtc::network::PrivateAddresses;

/// Where clouds keep the credentials of a machine, besides link-local addresses: EC2 over IPv6, Alibaba Cloud, Azure,
/// Oracle Cloud, Google Cloud over IPv6.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Why nothing is sent to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refused {
    /// A metadata service, or link-local, where most of them are.
    Metadata,
    /// Multicast or broadcast.
    Group,
    /// Unspecified, reserved, or made for documentation and discarding.
    Reserved,
    /// Loopback, where that is not configured.
    Loopback,
    /// A private network or this machine, where that is refused.
    Private,
}

/// What is allowed besides public addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) loopback: bool,
    pub(crate) private: PrivateAddresses,
    /// This machine's addresses: as private as a private network.
    pub(crate) own: Vec<IpAddr>,
}

impl Reach {
    /// For servers, which are configured and not named by publishers.
    pub(crate) fn of_servers() -> Self {
        Self { loopback: true, ..Self::default() }
    }

    /// Whether an address may be sent to.
    pub(crate) fn check(&self, ip: IpAddr) -> Result<(), Refused> {
        let ip = embedded(ip);
        if METADATA.contains(&ip) {
            return Err(Refused::Metadata);
        }
        let class = match ip {
            IpAddr::V4(v4) => class_v4(v4),
            IpAddr::V6(v6) => class_v6(v6),
        };
        let private = class == Class::Private || self.own.contains(&ip);
        match class {
            Class::Refused(why) => Err(why),
            Class::Loopback if !self.loopback => Err(Refused::Loopback),
            Class::Loopback => Ok(()),
            _ if private && self.private == PrivateAddresses::Refuse => Err(Refused::Private),
            _ => Ok(()),
        }
    }
}

#[derive(PartialEq, Eq)]
enum Class {
    Public,
    Private,
    Loopback,
    Refused(Refused),
}

/// The IPv4 address inside an IPv6 address that leads to one: mapped (RFC 4291 section 2.5.5.2), NAT64 (RFC 6052
/// section 2.1), 6to4 (RFC 3056 section 2).
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => IpAddr::V6(v6),
    }
}

/// The IANA IPv4 special-purpose address registry, as far as it matters.
const fn class_v4(ip: Ipv4Addr) -> Class {
    match ip.octets() {
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::Refused(Refused::Metadata),
        [224..=239, ..] | [255, 255, 255, 255] => Class::Refused(Refused::Group),
        [0, ..] | [240..=255, ..] => Class::Refused(Refused::Reserved),
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Class::Private,
        _ => Class::Public,
    }
}

/// The IANA IPv6 special-purpose address registry, as far as it matters.
fn class_v6(ip: Ipv6Addr) -> Class {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0, 0, 0, 0, 0, 0, ..] | [0x100, 0, 0, 0, ..] => Class::Refused(Refused::Reserved),
        [0xff00..=0xffff, ..] => Class::Refused(Refused::Group),
        [0xfe80..=0xfebf, ..] => Class::Refused(Refused::Metadata),
        [0xfc00..=0xfdff, ..] => Class::Private,
        _ => Class::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reach: &Reach, ip: &str) -> Result<(), Refused> {
        reach.check(ip.parse().expect("address"))
    }

    #[test]
    fn places_that_only_the_server_should_reach_are_refused_always() {
        let reach = Reach { loopback: true, private: PrivateAddresses::Allow, own: Vec::new() };
        for (ip, why) in [
            ("169.254.169.254", Refused::Metadata),
            ("169.254.170.2", Refused::Metadata),
            ("fd00:ec2::254", Refused::Metadata),
            ("100.100.100.200", Refused::Metadata),
            ("::ffff:169.254.169.254", Refused::Metadata),
            ("64:ff9b::a9fe:a9fe", Refused::Metadata),
            ("2002:a9fe:a9fe::1", Refused::Metadata),
            ("fe80::1", Refused::Metadata),
            ("224.0.0.251", Refused::Group),
            ("239.255.255.250", Refused::Group),
            ("255.255.255.255", Refused::Group),
            ("ff02::fb", Refused::Group),
            ("0.0.0.0", Refused::Reserved),
            ("0.1.2.3", Refused::Reserved),
            ("240.1.2.3", Refused::Reserved),
            ("::", Refused::Reserved),
            ("::7f00:1", Refused::Reserved),
            ("100::1", Refused::Reserved),
        ] {
            assert_eq!(check(&reach, ip), Err(why), "{ip}");
        }
    }

    #[test]
    fn private_and_loopback_addresses_are_a_matter_of_configuration() {
        let own: Vec<IpAddr> = vec!["203.0.113.9".parse().expect("address")];
        let open = Reach { own: own.clone(), ..Reach::default() };
        let closed = Reach { private: PrivateAddresses::Refuse, own, loopback: false };
        for ip in [
            "10.1.2.3",
            "192.168.0.5",
            "172.31.0.1",
            "100.64.0.1",
            "fd12::1",
            "203.0.113.9",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(check(&open, ip), Ok(()), "{ip}");
            assert_eq!(check(&closed, ip), Err(Refused::Private), "{ip}");
        }
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(check(&open, ip), Err(Refused::Loopback), "{ip}");
            assert_eq!(check(&Reach { loopback: true, ..Reach::default() }, ip), Ok(()), "{ip}");
        }
        for ip in ["203.0.113.8", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            assert_eq!(check(&closed, ip), Ok(()), "{ip}");
        }
    }
}
