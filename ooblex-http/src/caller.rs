//! Who sent a request.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use axum::extract::ConnectInfo;
use http::Extensions;

use crate::Peer;

/// Who sent a request, as far as the server knows: a request extension, put there by whoever checks tokens.
///
/// Two requests with the same [`publisher`](Self::publisher) come from the same publisher, so the later one may take
/// over what the earlier one began.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Keyed hash of the token that the request carried, or of its address if it carried none. Says nothing about
    /// either, and means nothing after the process has ended.
    pub publisher: u64,
    /// The remote address; an IPv4 address is never shown as an IPv6 one.
    pub address: IpAddr,
}

/// Whether whoever publishes by a request has the right to view, too: a request extension. Without it, yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MayView(pub bool);

impl MayView {
    /// What the extensions of a request say.
    pub fn of_request(extensions: &Extensions) -> bool {
        extensions.get().is_none_or(|MayView(may)| *may)
    }
}

impl Caller {
    /// A caller without a token: known by its address. `key` must be the same for all requests of a server.
    pub fn of_address(address: IpAddr, key: &RandomState) -> Self {
        let address = address.to_canonical();
        Self { publisher: key.hash_one(("address", address)), address }
    }

    /// A caller that showed `token`: whoever else shows it is the same publisher, from any address.
    pub fn of_token(token: &[u8], address: IpAddr, key: &RandomState) -> Self {
        Self { publisher: key.hash_one(("token", token)), address: address.to_canonical() }
    }

    /// The caller among a request's extensions, or else one made from the address of the connection; `None` where
    /// neither is known, as in a test without sockets.
    pub fn of_request(extensions: &Extensions, key: &RandomState) -> Option<Self> {
        let known = extensions.get::<Self>().copied();
        known.or_else(|| extensions.get::<Peer>().map(|ConnectInfo(peer)| Self::of_address(peer.ip(), key)))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_one_publisher_in_both_families_and_a_token_one_from_everywhere() {
        let key = RandomState::new();
        let by_address = |a: &str| Caller::of_address(ip(a), &key);
        assert_eq!(by_address("192.0.2.1"), by_address("::ffff:192.0.2.1"));
        assert_ne!(by_address("192.0.2.1").publisher, by_address("192.0.2.2").publisher);
        let by_token = |t: &[u8], a: &str| Caller::of_token(t, ip(a), &key);
        assert_eq!(by_token(b"secret", "192.0.2.1").publisher, by_token(b"secret", "192.0.2.2").publisher);
        assert_ne!(by_token(b"secret", "192.0.2.1").publisher, by_token(b"other", "192.0.2.1").publisher);
        assert_ne!(by_token(b"secret", "192.0.2.1").publisher, by_address("192.0.2.1").publisher);
        let shown = format!("{:?}", by_token(b"secret", "192.0.2.1"));
        assert!(shown.contains("192.0.2.1") && !shown.contains("publisher"), "{shown}");
    }

    #[test]
    fn a_request_without_a_caller_is_known_by_its_connection() {
        let key = RandomState::new();
        let mut extensions = Extensions::new();
        assert_eq!(Caller::of_request(&extensions, &key), None);
        let peer: SocketAddr = "192.0.2.1:5".parse().expect("an address");
        extensions.insert(ConnectInfo(peer));
        assert_eq!(Caller::of_request(&extensions, &key), Some(Caller::of_address(peer.ip(), &key)));
        let caller = Caller::of_token(b"secret", peer.ip(), &key);
        extensions.insert(caller);
        assert_eq!(Caller::of_request(&extensions, &key), Some(caller));
    }
}
