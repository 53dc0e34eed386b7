//! Ports from the configured range, each for one session at a time.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

/// The ports of a range, or any free port.
#[derive(Debug)]
pub(super) struct Ports {
    range: Option<RangeInclusive<u16>>,
    /// Sockets of living sessions. A session holds its port even between two sockets, as in an ICE restart.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    sockets: HashSet<SocketAddr>,
    /// Where the last search ended, so that a port rests before it serves another session.
    next: u16,
}

/// Why there is no port.
#[derive(Debug)]
pub(super) enum NoPort {
    /// All ports of the range are in use.
    Exhausted,
    /// The address cannot be bound at all.
    Unusable(io::Error),
}

/// An address to bind, held until this is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    ports: Arc<Ports>,
    address: SocketAddr,
}

impl Ports {
    pub(super) fn new(range: Option<RangeInclusive<u16>>) -> Self {
        let next = range.as_ref().map_or(0, |range| *range.start());
        Self { range, held: Mutex::new(Held { sockets: HashSet::new(), next }) }
    }

    /// A free port of an address. Without a range the port is 0: the system picks one when the address is bound.
    pub(super) fn lease(self: &Arc<Self>, ip: IpAddr) -> Result<Lease, NoPort> {
        let Some(range) = &self.range else {
            let address = SocketAddr::new(ip, 0);
            // Found out here, where the error can be told, not in the session's task.
            UdpSocket::bind(address).map_err(NoPort::Unusable)?;
            return Ok(Lease { ports: Arc::clone(self), address });
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u32::from(*range.end()).saturating_sub(u32::from(*range.start())) + 1;
        let first = u32::from(held.next.clamp(*range.start(), *range.end()) - range.start());
        let mut refused = None;
        for step in 0..count {
            // Invariant: below 65,536, for it lies within the range.
            let port = range.start() + ((first + step) % count) as u16;
            let address = SocketAddr::new(ip, port);
            if held.sockets.contains(&address) {
                continue;
            }
            match UdpSocket::bind(address) {
                Ok(_) => {
                    held.sockets.insert(address);
                    held.next = if port == *range.end() { *range.start() } else { port + 1 };
                    return Ok(Lease { ports: Arc::clone(self), address });
                }
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
                // The address is not there, or the port is privileged: the next may do.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => refused = Some(e),
                Err(e) => return Err(NoPort::Unusable(e)),
            }
        }
        Err(refused.map_or(NoPort::Exhausted, NoPort::Unusable))
    }
}

impl Lease {
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = self.ports.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.sockets.remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// Three ports in a row that nobody uses now.
    fn free_range() -> RangeInclusive<u16> {
        (20_000..30_000)
            .step_by(3)
            .find(|first| (*first..first + 3).all(|port| UdpSocket::bind((LOCAL, port)).is_ok()))
            .map(|first| first..=first + 2)
            .expect("three free ports")
    }

    #[test]
    fn ports_of_the_range_are_lent_once_each_and_come_back() {
        let range = free_range();
        let ports = Arc::new(Ports::new(Some(range.clone())));
        let leases: Vec<Lease> = (0..3).map(|_| ports.lease(LOCAL).expect("a port")).collect();
        let mut lent: Vec<u16> = leases.iter().map(|l| l.address().port()).collect();
        lent.sort_unstable();
        assert_eq!(lent, range.collect::<Vec<_>>());
        assert!(matches!(ports.lease(LOCAL), Err(NoPort::Exhausted)));
        let returned = leases[1].address();
        drop(leases.into_iter().nth(1));
        let mut again: Vec<SocketAddr> = Vec::new();
        let held: Vec<Lease> =
            std::iter::from_fn(|| ports.lease(LOCAL).ok()).inspect(|l| again.push(l.address())).collect();
        assert!(again.contains(&returned) && held.len() == 3, "{again:?}");
    }

    #[test]
    fn a_port_that_another_program_uses_is_passed_over() {
        let range = free_range();
        let taken = UdpSocket::bind((LOCAL, *range.start())).expect("bind");
        let ports = Arc::new(Ports::new(Some(range.clone())));
        let lease = ports.lease(LOCAL).expect("the next port");
        assert_eq!(lease.address().port(), range.start() + 1);
        drop(taken);
    }

    #[test]
    fn an_address_of_another_machine_cannot_be_used() {
        let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        for range in [None, Some(free_range())] {
            assert!(matches!(Arc::new(Ports::new(range)).lease(elsewhere), Err(NoPort::Unusable(_))));
        }
    }
}
