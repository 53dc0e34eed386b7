//! The local addresses that sessions use.

use std::net::{IpAddr, Ipv6Addr};

use rtc::shared::ifaces::ifaces;

use super::NetworkConfig;

/// Most local addresses of a session: each is a socket, a candidate, and a pair with each of the peer's candidates.
const MAX_ADDRESSES: usize = 16;

/// The addresses to bind, IPv4 first: the configured ones, else those of every interface.
pub(super) fn addresses(config: &NetworkConfig) -> Vec<IpAddr> {
    let all = || ifaces().unwrap_or_default().into_iter().filter_map(|i| i.addr).map(|a| a.ip());
    choose(config, all)
}

fn choose<I: Iterator<Item = IpAddr>>(config: &NetworkConfig, all: impl Fn() -> I) -> Vec<IpAddr> {
    let mut chosen = Vec::new();
    let mut add = |ip: IpAddr| {
        if !chosen.contains(&ip) && chosen.len() < MAX_ADDRESSES {
            chosen.push(ip);
        }
    };
    if config.bind.is_empty() {
        all().filter(|ip| is_usable(*ip, config.loopback)).for_each(&mut add);
    }
    for ip in &config.bind {
        if ip.is_unspecified() {
            all()
                .filter(|c| c.is_ipv4() == ip.is_ipv4() && is_usable(*c, config.loopback))
                .for_each(&mut add);
        } else {
            add(*ip);
        }
    }
    chosen.sort_by_key(IpAddr::is_ipv6);
    chosen
}

/// Whether peers can reach an address. A link-local one means nothing without its interface, which a candidate
/// cannot name.
fn is_usable(ip: IpAddr, loopback: bool) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => is_unicast_link_local(v6),
    };
    !ip.is_unspecified() && !ip.is_multicast() && !link_local && (loopback || !ip.is_loopback())
}

/// fe80::/10 (RFC 4291 section 2.5.6).
pub(super) const fn is_unicast_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(bind: &[&str], loopback: bool) -> Vec<String> {
        let config = NetworkConfig {
            bind: bind.iter().map(|ip| ip.parse().expect("address")).collect(),
            loopback,
            ..NetworkConfig::default()
        };
        let all = ["fe80::1", "2001:db8::5", "127.0.0.1", "::1", "169.254.3.4", "10.0.0.7", "10.0.0.7"];
        let all = || all.iter().map(|ip| ip.parse().expect("address"));
        choose(&config, all).iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn every_interface_counts_once_but_for_loopback_and_link_local() {
        assert_eq!(chosen(&[], false), ["10.0.0.7", "2001:db8::5"]);
        assert_eq!(chosen(&[], true), ["127.0.0.1", "10.0.0.7", "2001:db8::5", "::1"]);
    }

    #[test]
    fn configured_addresses_are_taken_as_they_are() {
        assert_eq!(chosen(&["127.0.0.1"], false), ["127.0.0.1"]);
        assert_eq!(chosen(&["0.0.0.0"], false), ["10.0.0.7"]);
        assert_eq!(chosen(&["::", "10.0.0.9"], true), ["10.0.0.9", "2001:db8::5", "::1"]);
    }
}
