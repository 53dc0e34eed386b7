//! The network side of sessions: sockets, ports, servers.

mod config;
#[cfg(test)]
mod coturn;
mod health;
mod interfaces;
mod ports;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rtc::peer_connection::configuration::RTCIceServer;
use webrtc::runtime::Runtime;

pub use self::config::{NetworkConfig, PrivateAddresses};
use self::health::Health;
use self::ports::{Lease, NoPort, Ports};
use super::socket::{Reach, Servers, Session, SessionRuntime};
use crate::ice::IceServer;
use crate::ice::dns::Resolver;

/// Why a session has no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(clippy::enum_variant_names, reason = "each says what there is not")]
pub(crate) enum NetworkError {
    /// No port of the range is free on any address.
    #[error("all UDP ports from {} to {} are in use; allow more by `udp_ports`", .0.start(), .0.end())]
    NoPort(RangeInclusive<u16>),
    /// No address can be bound.
    #[error("no UDP socket can be opened{}", first(.0))]
    NoSocket(Vec<(IpAddr, io::Error)>),
    /// The system has no random numbers.
    #[error("the system has no random numbers")]
    NoRandom,
}

/// The first failure, for the message.
fn first(failures: &[(IpAddr, io::Error)]) -> String {
    match failures.first() {
        Some((ip, error)) => format!(" on {ip}: {error}"),
        None => ": this machine has no usable address; name one by `bind`".into(),
    }
}

/// The network of all sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Network(Arc<Shared>);

/// What all sessions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: NetworkConfig,
    pub(crate) resolver: Resolver,
    pub(crate) health: Health,
    ports: Arc<Ports>,
}

/// What one session has of the network. Its ports are its own until this and the runtime are dropped.
#[derive(Debug)]
pub(crate) struct OpenedNetwork {
    /// For `PeerConnectionBuilder::with_runtime`.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// For `PeerConnectionBuilder::with_udp_addrs`.
    pub(crate) udp_addrs: Vec<SocketAddr>,
    /// For `RTCConfigurationBuilder::with_ice_servers`: made-up names for the real servers.
    pub(crate) servers: Vec<RTCIceServer>,
    /// For reports. Holds no socket open.
    pub(crate) session: Arc<Session>,
}

impl Network {
    /// A network. Nothing is opened yet.
    pub(crate) fn new(config: NetworkConfig) -> Self {
        let ports = Arc::new(Ports::new(config.udp_ports.clone()));
        Self(Arc::new(Shared { config, resolver: Resolver::default(), health: Health::default(), ports }))
    }

    /// Addresses, ports and servers for a new session. Must be called within a tokio runtime; nothing is sent yet.
    ///
    /// # Errors
    /// [`NetworkError`] if not a single socket can be had.
    pub(crate) fn open(&self, servers: &[IceServer]) -> Result<OpenedNetwork, NetworkError> {
        let config = &self.0.config;
        let known = Servers::new(servers, !config.external.is_empty());
        let (known, servers) = known.ok_or(NetworkError::NoRandom)?;
        let own = interfaces::addresses(config);
        let (leases, isolated) = match self.leases(&own) {
            Ok(leases) => (leases, false),
            // Media can flow over a TURN connection, for which the WebRTC implementation needs a socket all the same.
            Err(NetworkError::NoSocket(_)) if known.has_stream() => (vec![self.anchor()?], true),
            Err(e) => return Err(e),
        };
        let udp_addrs = leases.iter().map(Lease::address).collect();
        let reach = Reach { loopback: config.loopback, private: config.private, own };
        let session = Session::new(Arc::clone(&self.0), known, reach, Leases(leases), isolated);
        let runtime = Arc::new(SessionRuntime::new(Arc::clone(&session)));
        Ok(OpenedNetwork { runtime, udp_addrs, servers, session })
    }

    fn leases(&self, addresses: &[IpAddr]) -> Result<Vec<Lease>, NetworkError> {
        let mut failures = Vec::new();
        let mut exhausted = false;
        let mut leases = Vec::new();
        for ip in addresses {
            match self.0.ports.lease(*ip) {
                Ok(lease) => leases.push(lease),
                Err(NoPort::Exhausted) => exhausted = true,
                Err(NoPort::Unusable(error)) => failures.push((*ip, error)),
            }
        }
        match &self.0.config.udp_ports {
            _ if !leases.is_empty() => Ok(leases),
            Some(range) if exhausted => Err(NetworkError::NoPort(range.clone())),
            _ => Err(NetworkError::NoSocket(failures)),
        }
    }

    fn anchor(&self) -> Result<Lease, NetworkError> {
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let free = Arc::new(Ports::new(None));
        free.lease(ip).map_err(|e| match e {
            NoPort::Unusable(error) => NetworkError::NoSocket(vec![(ip, error)]),
            NoPort::Exhausted => NetworkError::NoSocket(Vec::new()),
        })
    }
}

impl Shared {
    /// The outside address of a local one.
    pub(crate) fn external_for(&self, local: IpAddr) -> Option<IpAddr> {
        let of_family = |all: &[IpAddr]| -> Vec<IpAddr> {
            all.iter().copied().filter(|ip| ip.is_ipv4() == local.is_ipv4()).collect()
        };
        let (external, bind) = (of_family(&self.config.external), of_family(&self.config.bind));
        let place = bind.iter().position(|ip| *ip == local).filter(|_| external.len() == bind.len());
        external.get(place.unwrap_or(0)).copied()
    }
}

/// Holds a session's ports.
#[derive(Debug)]
pub(crate) struct Leases(#[allow(dead_code, reason = "held for its drop")] Vec<Lease>);

#[cfg(test)]
mod tests;
