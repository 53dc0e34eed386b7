//! From which address a request comes.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName};
use ooblex_http::{Network, Peer};

use crate::arrival::Arrival;

/// To which every proxy adds the address that it was called from.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// This machine itself. Without an address there was no connection, as in tests.
    Local(Option<IpAddr>),
    /// The other end of the connection.
    Peer(IpAddr),
    /// Somebody behind a tunnel or a proxy; `None` if that does not say who.
    Behind(Option<IpAddr>),
}

impl Sender {
    /// That of a request.
    ///
    /// Anybody can make up `X-Forwarded-For`, so it is read from its end, where those have written who are believed: one
    /// of `proxies` that made the connection, and before it further ones. What stands before the first address that is
    /// none of theirs is not looked at. A tunnel is believed if it `names` senders, in its last entry; it is the tunnel's
    /// own edge that has added it.
    pub(crate) fn of(extensions: &Extensions, headers: &HeaderMap, proxies: &[Network], names: bool) -> Self {
        if Arrival::of(extensions) == Arrival::Tunnel {
            return Self::Behind(forwarded(headers).next().filter(|_| names).and_then(address));
        }
        let Some(peer) = extensions.get::<Peer>().map(|ConnectInfo(peer)| peer.ip().to_canonical()) else {
            return Self::Local(None);
        };
        let is_proxy = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
        match peer {
            proxy if is_proxy(proxy) => Self::Behind(first_before(is_proxy, headers)),
            local if local.is_loopback() => Self::Local(Some(local)),
            peer => Self::Peer(peer),
        }
    }

    /// The address, if it is known.
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Local(address) | Self::Behind(address) => address,
            Self::Peer(address) => Some(address),
        }
    }
}

/// The entries of `X-Forwarded-For`, the last one first.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    // One that is no text says nothing about those before it.
    let lines = headers.get_all(FORWARDED_FOR).iter().rev().map(|line| line.to_str().unwrap_or_default());
    lines.flat_map(|line| line.rsplit(','))
}

/// The last entry that is no proxy's, or the first of all if each is one's; `None` from one on that is no address.
fn first_before(is_proxy: impl Fn(IpAddr) -> bool, headers: &HeaderMap) -> Option<IpAddr> {
    let mut found = None;
    for entry in forwarded(headers) {
        found = address(entry);
        if !found.is_some_and(&is_proxy) {
            break;
        }
    }
    found
}

/// An entry: some proxies write the port, too.
fn address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']')).unwrap_or(entry);
    let with_port = || entry.parse().ok().map(|both: SocketAddr| both.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn from(peer: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::new(ip(peer), 5)));
        extensions
    }

    fn forwarded_for(lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| http::HeaderValue::from_bytes(line.as_bytes()).expect("a value");
        lines.iter().map(|line| (FORWARDED_FOR, value(line))).collect()
    }

    fn behind(text: &str) -> Sender {
        Sender::Behind(Some(ip(text)))
    }

    #[test]
    fn without_a_proxy_the_connection_alone_counts() {
        let headers = forwarded_for(&["192.0.2.1"]);
        let of = |peer: &str| Sender::of(&from(peer), &headers, &[], true);
        assert_eq!(of("127.0.0.1"), Sender::Local(Some(ip("127.0.0.1"))));
        assert_eq!(of("::ffff:127.0.0.1"), Sender::Local(Some(ip("127.0.0.1"))));
        assert_eq!(of("198.51.100.1"), Sender::Peer(ip("198.51.100.1")));
        assert_eq!(Sender::of(&Extensions::new(), &headers, &[], true), Sender::Local(None));
    }

    #[test]
    fn of_a_tunnel_the_last_entry_counts_if_it_names_senders() {
        let mut extensions = from("127.0.0.1");
        extensions.insert(Arrival::Tunnel);
        let headers = forwarded_for(&["198.51.100.1", "203.0.113.9, 192.0.2.1"]);
        assert_eq!(Sender::of(&extensions, &headers, &[], true), behind("192.0.2.1"));
        assert_eq!(Sender::of(&extensions, &headers, &[], false), Sender::Behind(None));
        assert_eq!(Sender::of(&extensions, &HeaderMap::new(), &[], true), Sender::Behind(None));
        // Nor does a proxy that is believed elsewhere speak for it.
        let proxies = ["127.0.0.1".parse().expect("a network")];
        assert_eq!(Sender::of(&extensions, &headers, &proxies, false), Sender::Behind(None));
    }

    #[test]
    fn of_a_proxy_the_last_address_counts_that_is_no_proxys() {
        let proxies = ["127.0.0.8", "10.0.0.0/8"].map(|text| text.parse().expect("a network"));
        let of = |lines: &[&str]| Sender::of(&from("127.0.0.8"), &forwarded_for(lines), &proxies, true);
        assert_eq!(of(&["192.0.2.1"]), behind("192.0.2.1"));
        assert_eq!(of(&["198.51.100.7, 192.0.2.1"]), behind("192.0.2.1"), "what is before it is made up");
        assert_eq!(of(&["198.51.100.7", "192.0.2.1, 10.1.2.3"]), behind("192.0.2.1"), "two proxies");
        assert_eq!(of(&["10.9.9.9, 10.1.2.3"]), behind("10.9.9.9"), "a proxy asks itself");
        assert_eq!(of(&["127.0.0.1"]), behind("127.0.0.1"), "this machine, by the proxy");
        assert_eq!(of(&["[2001:db8::1]:443"]), behind("2001:db8::1"));
        assert_eq!(of(&["192.0.2.1:9"]), behind("192.0.2.1"));
        for nameless in
            [&[][..], &["", "x"], &["192.0.2.1, unknown"], &["192.0.2.1,"], &["192.0.2.1", "\u{e9}"]]
        {
            assert_eq!(of(nameless), Sender::Behind(None), "{nameless:?}");
        }
        let stranger = |peer: &str| Sender::of(&from(peer), &forwarded_for(&["192.0.2.1"]), &proxies, true);
        assert_eq!(stranger("198.51.100.7"), Sender::Peer(ip("198.51.100.7")));
        assert_eq!(stranger("127.0.0.1"), Sender::Local(Some(ip("127.0.0.1"))));
    }
}
