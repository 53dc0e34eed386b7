//! Servers under addresses that never leave the process.
//!
//! The WebRTC implementation is given a made-up name for each server, which its resolver, this runtime, turns into a
//! made-up address at once. What it sends there comes to the session's sockets, which know the real server and how to
//! reach it. So no lookup and no connection holds up its task, and TURN over TCP looks like TURN over UDP to it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ring::rand::{SecureRandom, SystemRandom};
use rtc::peer_connection::configuration::RTCIceServer;

use crate::ice::{IceServer, IceTransport, IceUrl, ServerReport, ServerState};

/// Most URLs that a session uses; the rest is left out.
const MAX_SERVERS: usize = 24;
/// RFC 6761 section 6.4: a name that nobody else resolves.
const DOMAIN: &str = "ice.invalid";

/// The servers of one session.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    all: Vec<Server>,
    skipped: Vec<ServerReport>,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(super) url: IceUrl,
    pub(super) kind: Kind,
    /// When its credentials end, in seconds since 1970, if the user name says so.
    pub(super) expires: Option<u64>,
    v4: SocketAddr,
    v6: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A server.
    Remote,
    /// The configured outside address, in the form of a STUN server that tells it.
    External,
}

impl Servers {
    /// Servers under made-up addresses, and how the WebRTC implementation is told of them. `None` if the system has
    /// no random numbers.
    pub(crate) fn new(servers: &[IceServer], external: bool) -> Option<(Self, Vec<RTCIceServer>)> {
        let random = SystemRandom::new();
        let mut this = Self::default();
        let mut told = Vec::new();
        if external {
            let url = "stun:external.invalid".parse().ok()?;
            told.push(this.add(&random, url, Kind::External, None)?);
        }
        for server in servers {
            for url in server.parsed().unwrap_or_default() {
                if this.all.iter().any(|other| other.url == url) || this.all.len() >= MAX_SERVERS {
                    continue;
                }
                if !url.is_turn() && url.transport() != IceTransport::Udp {
                    this.skipped.push(unused(&url, "STUN over TLS says nothing about a way for UDP"));
                    continue;
                }
                let username = server.username.as_deref().filter(|_| url.is_turn());
                let mut rtc = this.add(&random, url, Kind::Remote, server.expiry())?;
                rtc.username = username.unwrap_or_default().to_owned();
                rtc.credential = match username {
                    Some(_) => server.credential.clone().unwrap_or_default(),
                    None => String::new(),
                };
                told.push(rtc);
            }
        }
        Some((this, told))
    }

    fn add(
        &mut self,
        random: &SystemRandom,
        url: IceUrl,
        kind: Kind,
        expires: Option<u64>,
    ) -> Option<RTCIceServer> {
        let mut bytes = [0; 14];
        random.fill(&mut bytes).ok()?;
        // 240.0.0.0/4 is reserved (RFC 1112 section 4), 100::/64 discards (RFC 6666); the rest cannot be guessed, so
        // that no candidate names one.
        let v4 = Ipv4Addr::new(240 | bytes[0] & 0x07, bytes[1], bytes[2], bytes[3]);
        let low = |n: usize| u16::from_be_bytes([bytes[4 + n], bytes[5 + n]]);
        let v6 = Ipv6Addr::new(0x100, 0, 0, 0, low(0), low(2), low(4), low(6));
        let port = u16::from_be_bytes([bytes[12], bytes[13]]) | 0x4000;
        let name = format!("s{}.{DOMAIN}", self.all.len());
        let told = match url.is_turn() {
            true => format!("turn:{name}:{port}?transport=udp"),
            false => format!("stun:{name}:{port}"),
        };
        self.all.push(Server { url, kind, expires, v4: (v4, port).into(), v6: (v6, port).into() });
        Some(RTCIceServer { urls: vec![told], ..RTCIceServer::default() })
    }

    pub(super) fn all(&self) -> &[Server] {
        &self.all
    }

    pub(super) fn get(&self, index: usize) -> Option<&Server> {
        self.all.get(index)
    }

    /// Real ones, with their places.
    pub(super) fn remote(&self) -> impl Iterator<Item = (usize, &Server)> {
        self.all.iter().enumerate().filter(|(_, server)| server.kind == Kind::Remote)
    }

    /// Servers that are not asked, and why.
    pub(super) fn skipped(&self) -> Vec<ServerReport> {
        self.skipped.clone()
    }

    /// Whether one of them is reached without UDP.
    pub(crate) fn has_stream(&self) -> bool {
        self.all.iter().any(|server| server.url.transport() != IceTransport::Udp)
    }

    pub(super) fn at(&self, address: SocketAddr) -> Option<usize> {
        self.all.iter().position(|server| server.v4 == address || server.v6 == address)
    }

    /// The addresses of a made-up name with a port.
    pub(super) fn resolve(&self, host_and_port: &str) -> Option<Vec<SocketAddr>> {
        let (host, _) = host_and_port.rsplit_once(':')?;
        let index: usize = host.strip_suffix(DOMAIN)?.strip_suffix('.')?.strip_prefix('s')?.parse().ok()?;
        self.all.get(index).map(|server| vec![server.v4, server.v6])
    }
}

impl Server {
    /// The address that stands for it on a socket.
    pub(super) fn address_for(&self, local: SocketAddr) -> SocketAddr {
        if local.is_ipv4() { self.v4 } else { self.v6 }
    }
}

fn unused(url: &IceUrl, why: &str) -> ServerReport {
    ServerReport {
        url: url.to_string(),
        transport: url.transport(),
        state: ServerState::Unused,
        detail: Some(why.to_owned()),
        address: None,
        round_trip: None,
        bytes_sent: 0,
        bytes_received: 0,
        dropped: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> IceServer {
        text.parse().expect("server")
    }

    #[test]
    fn every_server_stands_under_addresses_of_its_own() {
        let list = [
            server("stun:stun.example:19302"),
            server("turns:turn.example:443,1700000000:me,secret"),
            server("stuns:stun.example"),
            server("turn:turn.example?transport=tcp,me,secret"),
            server("turn:turn.example?transport=tcp,me,secret"),
        ];
        let (servers, told) = Servers::new(&list, true).expect("random numbers");
        assert_eq!(told.len(), 4, "one twice, one of no use, one made up");
        assert_eq!(servers.skipped().len(), 1);
        assert!(servers.has_stream());
        for (index, rtc) in told.iter().enumerate() {
            let (_, address) = rtc.urls[0].split_once(':').expect("scheme");
            let address = address.split('?').next().expect("address");
            let found = servers.resolve(address).expect("addresses");
            assert!(found.iter().all(|a| servers.at(*a) == Some(index)), "{found:?}");
            assert!(found[0].is_ipv4() && found[1].is_ipv6());
            assert!(!rtc.urls[0].contains("example"), "nothing else can resolve it");
        }
        assert_eq!((told[2].username.as_str(), told[2].credential.as_str()), ("1700000000:me", "secret"));
        assert_eq!(servers.get(2).and_then(|s| s.expires), Some(1_700_000_000));
        assert_eq!(servers.get(3).and_then(|s| s.expires), None);
        for other in ["stun.example:19302", "s9.ice.invalid:1", "x.ice.invalid:1", "ice.invalid:1", ""] {
            assert_eq!(servers.resolve(other), None, "{other}");
        }
    }
}
