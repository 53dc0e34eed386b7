//! Which addresses and ports sessions use, and where they may send.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::ice::Trust;

/// What to do with candidates at addresses of private networks and of this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrivateAddresses {
    /// They get connectivity checks like any other, few enough to be harmless: cameras and phones stand in the same
    /// LAN.
    #[default]
    Allow,
    /// They get nothing: for a server whose publishers all come from outside.
    Refuse,
}

/// Which addresses and ports sessions use.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// UDP ports to draw from, shared by all sessions; any free port if there is no range.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// Addresses by which this machine is known outside, where a 1:1 NAT stands before it: at most one of each
    /// family, or as many as `bind` has of it, in the same order.
    pub external: Vec<IpAddr>,
    /// Local addresses to use; empty for every interface, both families.
    pub bind: Vec<IpAddr>,
    /// Whether loopback addresses are used, too.
    pub loopback: bool,
    /// Candidates at private addresses.
    pub private: PrivateAddresses,
    /// Whose certificates TURN servers over TLS may show.
    pub trust: Trust,
}
