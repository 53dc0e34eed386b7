//! The network side of sessions: sockets, ports, servers.

mod config;
mod interfaces;
mod ports;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rtc::peer_connection::configuration::RTCIceServer;
use webrtc::runtime::Runtime;

pub use self::config::{NetworkConfig, PrivateAddresses};
use self::ports::{Lease, NoPort, Ports};
use super::socket::SessionRuntime;
use crate::ice::{IceServer, IceTransport};

/// Why a session has no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NetworkError {
    /// No port of the range is free on any address.
    #[error("all UDP ports from {} to {} are in use; allow more by `udp_ports`", .0.start(), .0.end())]
    NoPort(RangeInclusive<u16>),
    /// No address can be bound.
    #[error("no UDP socket can be opened{}", first(.0))]
    NoSocket(Vec<(IpAddr, io::Error)>),
}

/// The first failure, for the message.
fn first(failures: &[(IpAddr, io::Error)]) -> String {
    match failures.first() {
        Some((ip, error)) => format!(" on {ip}: {error}"),
        None => ": this machine has no usable address; name one by `bind`".into(),
    }
}

/// What all sessions share. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Network(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: NetworkConfig,
    ports: Arc<Ports>,
}

/// What one session has of the network. The ports are its own until this and the runtime are dropped.
#[derive(Debug)]
pub(crate) struct OpenedNetwork {
    /// For `PeerConnectionBuilder::with_runtime`.
    pub(crate) runtime: Arc<dyn Runtime>,
    /// For `PeerConnectionBuilder::with_udp_addrs`.
    pub(crate) udp_addrs: Vec<SocketAddr>,
    /// For `RTCConfigurationBuilder::with_ice_servers`.
    pub(crate) servers: Vec<RTCIceServer>,
}

impl Network {
    /// A network. Nothing is opened yet.
    pub(crate) fn new(config: NetworkConfig) -> Self {
        let ports = Arc::new(Ports::new(config.udp_ports.clone()));
        Self(Arc::new(Inner { config, ports }))
    }

    /// Addresses, ports and servers for a new session.
    ///
    /// # Errors
    /// [`NetworkError`] if not a single socket can be had.
    pub(crate) fn open(&self, servers: &[IceServer]) -> Result<OpenedNetwork, NetworkError> {
        let leases = self.leases()?;
        let udp_addrs = leases.iter().map(Lease::address).collect();
        let plain = |server: &&IceServer| {
            server.parsed().is_ok_and(|urls| urls.iter().all(|url| url.transport() == IceTransport::Udp))
        };
        let servers = servers
            .iter()
            .filter(plain)
            .map(|server| RTCIceServer {
                urls: server.urls.clone(),
                username: server.username.clone().unwrap_or_default(),
                credential: server.credential.clone().unwrap_or_default(),
            })
            .collect();
        Ok(OpenedNetwork { runtime: Arc::new(SessionRuntime::new(Leases(leases))), udp_addrs, servers })
    }

    fn leases(&self) -> Result<Vec<Lease>, NetworkError> {
        let mut failures = Vec::new();
        let mut exhausted = false;
        let mut leases = Vec::new();
        for ip in interfaces::addresses(&self.0.config) {
            match self.0.ports.lease(ip) {
                Ok(lease) => leases.push(lease),
                Err(NoPort::Exhausted) => exhausted = true,
                Err(NoPort::Unusable(error)) => failures.push((ip, error)),
            }
        }
        match &self.0.config.udp_ports {
            _ if !leases.is_empty() => Ok(leases),
            Some(range) if exhausted => Err(NetworkError::NoPort(range.clone())),
            _ => Err(NetworkError::NoSocket(failures)),
        }
    }
}

/// Holds a session's ports.
#[derive(Debug)]
pub(crate) struct Leases(#[allow(dead_code, reason = "held for its drop")] Vec<Lease>);
