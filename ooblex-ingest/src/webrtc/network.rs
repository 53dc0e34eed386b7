//! Which sockets a session may use.

use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Which addresses and ports sessions use.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// UDP ports to draw from; any free port if there is no range.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// Addresses by which this machine is known outside, where a 1:1 NAT stands before it.
    pub external: Vec<IpAddr>,
    /// Local addresses to use; empty for every interface, both families.
    pub bind: Vec<IpAddr>,
    /// Whether loopback addresses are offered, too.
    pub loopback: bool,
}
