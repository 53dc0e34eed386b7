//! From which address a request comes.

use std::net::IpAddr;

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap, HeaderName};
use ooblex_http::Peer;

use crate::arrival::Arrival;

/// The address of a request's sender; `None` if nobody knows it.
///
/// Behind a tunnel it is the last one of `X-Forwarded-For`: the one that the tunnel's own edge has added. What stands
/// before it, and the header of a request that came directly, may be made up by anybody.
pub(crate) fn address_of(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    match Arrival::of(extensions) {
        Arrival::Direct => extensions.get::<Peer>().map(|ConnectInfo(peer)| peer.ip()),
        Arrival::Tunnel => {
            let last = headers.get_all(FORWARDED_FOR).iter().next_back()?.to_str().ok()?;
            last.rsplit(',').next()?.trim().parse().ok()
        }
    }
}

/// Whether a request comes from this machine itself.
pub(crate) fn is_local(extensions: &Extensions) -> bool {
    let peer = extensions.get::<Peer>().map(|ConnectInfo(peer)| peer.ip().to_canonical());
    Arrival::of(extensions) == Arrival::Direct && peer.is_none_or(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn what_is_forwarded_counts_behind_a_tunnel_alone() {
        let mut extensions = Extensions::new();
        extensions.insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5))));
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "198.51.100.1".parse().expect("a value"));
        headers.append("x-forwarded-for", "203.0.113.9, 192.0.2.1".parse().expect("a value"));
        let text = |e: &Extensions| address_of(e, &headers).map(|a| a.to_string());
        assert_eq!(text(&extensions).as_deref(), Some("127.0.0.1"));
        assert!(is_local(&extensions));
        extensions.insert(Arrival::Tunnel);
        assert_eq!(text(&extensions).as_deref(), Some("192.0.2.1"));
        assert!(!is_local(&extensions));
        assert_eq!(address_of(&extensions, &HeaderMap::new()), None);
    }
}
