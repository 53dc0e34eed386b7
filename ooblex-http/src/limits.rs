//! How many connections there may be, in all and from one address; and room for them among the open files.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Problem;
use crate::line::{End, Line};

/// Counts connections and refuses those beyond the caps. Clones share the counts, so that several listeners can
/// share one budget.
#[derive(Clone, Debug)]
pub struct ConnectionLimits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A client is asked to come back after this long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl ConnectionLimits {
    /// At most `total` connections at once and `per_address` from one address. Loopback is exempt from the second;
    /// of an IPv6 address the first 64 bits count, since whoever has one address has that whole network.
    pub fn new(total: usize, per_address: usize) -> Self {
        Self(Arc::new(Inner { total, per_address, open: Mutex::default() }))
    }

    /// Connections open now, those taken over and upgraded ones included.
    pub fn open(&self) -> usize {
        self.0.lock().total
    }

    /// A place for a connection from `address`, free again when the guard is dropped.
    ///
    /// # Errors
    /// The [`Problem`] to answer with: 503 when all places are taken, 429 when that address has enough.
    pub fn admit(&self, address: IpAddr) -> Result<ConnectionGuard, Problem> {
        let total = self.0.total;
        let mut open = self.0.lock();
        if open.total >= total {
            return Err(Problem::new(
                503,
                "too_many_connections",
                format!("{total} connections are open, the limit"),
            )
            .limit(total)
            .retry_after(RETRY_AFTER));
        }
        let key = self.share(&mut open, address)?;
        open.total += 1;
        Ok(ConnectionGuard { inner: self.0.clone(), key, counts: true, end: None })
    }

    /// A share of `address` for a connection that has a place already: that of a tunnel, which brings others.
    ///
    /// # Errors
    /// 429 when that address has enough.
    pub fn admit_behind(&self, address: IpAddr) -> Result<ConnectionGuard, Problem> {
        let key = self.share(&mut self.0.lock(), address)?;
        Ok(ConnectionGuard { inner: self.0.clone(), key, counts: false, end: None })
    }

    /// Counts a connection for its address; gives what it is counted under.
    fn share(&self, open: &mut Open, address: IpAddr) -> Result<Option<IpAddr>, Problem> {
        let per_address = self.0.per_address;
        let key = Some(network_of(address)).filter(|key| !key.is_loopback());
        if let Some(key) = key {
            let count = open.by_address.entry(key).or_insert(0);
            if *count >= per_address {
                let detail = format!("{per_address} connections from {address} are open, the limit");
                return Err(Problem::new(429, "too_many_connections", detail)
                    .limit(per_address)
                    .retry_after(RETRY_AFTER));
            }
            *count += 1;
        }
        Ok(key)
    }
}

impl Default for ConnectionLimits {
    /// 4,096 in all, 64 from one address.
    fn default() -> Self {
        Self::new(4096, 64)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `address` is counted under: itself, and of an IPv6 address the first 64 bits, since whoever has one address has that
/// whole network. An IPv4 address is the same in both families.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        other => other,
    }
}

/// One connection's place; dropping it frees the place.
#[derive(Debug)]
pub struct ConnectionGuard {
    inner: Arc<Inner>,
    key: Option<IpAddr>,
    /// Whether it is one of all connections, too.
    counts: bool,
    end: Option<Arc<End>>,
}

impl ConnectionGuard {
    /// Keeps the end of the connection.
    pub(crate) fn with_end(self, end: Arc<End>) -> Self {
        let mut this = self;
        this.end = Some(end);
        this
    }

    pub(crate) fn line(&self) -> Option<Line> {
        self.end.as_ref().map(End::line)
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut open = self.inner.lock();
        open.total -= usize::from(self.counts);
        if let Some(key) = self.key
            && let Some(count) = open.by_address.get_mut(&key)
        {
            *count -= 1;
            if *count == 0 {
                open.by_address.remove(&key);
            }
        }
    }
}

/// Raises the soft limit of open files to the hard limit and returns what it is now; `None` for no limit.
///
/// # Errors
/// If the system refuses.
pub fn raise_file_limit() -> std::io::Result<Option<u64>> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(getrlimit(Resource::Nofile).current)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_gets_its_share_and_others_are_not_affected() {
        let limits = ConnectionLimits::new(10, 2);
        let first = limits.admit(ip("192.0.2.1")).expect("room");
        let _second = limits.admit(ip("::ffff:192.0.2.1")).expect("room for two");
        let refused = limits.admit(ip("192.0.2.1")).expect_err("a third from there");
        assert_eq!(refused.status(), 429);
        let _other = limits.admit(ip("192.0.2.2")).expect("another address");
        drop(first);
        let _again = limits.admit(ip("192.0.2.1")).expect("a place is free again");
        assert_eq!(limits.open(), 3);
    }

    #[test]
    fn one_network_of_version_6_counts_as_one_address() {
        let limits = ConnectionLimits::new(10, 1);
        let _first = limits.admit(ip("2001:db8:0:1::1")).expect("room");
        assert!(limits.admit(ip("2001:db8:0:1:ffff::2")).is_err());
        assert!(limits.admit(ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn who_comes_by_a_tunnel_has_a_share_too_and_is_one_connection() {
        let limits = ConnectionLimits::new(10, 1);
        let _tunnel = limits.admit(ip("127.0.0.1")).expect("room");
        let behind = limits.admit_behind(ip("192.0.2.1")).expect("room");
        assert_eq!(limits.admit_behind(ip("192.0.2.1")).expect_err("its share").status(), 429);
        assert_eq!(limits.open(), 1);
        drop(behind);
        assert!(limits.admit_behind(ip("192.0.2.1")).is_ok());
        assert_eq!(limits.open(), 1);
    }

    #[test]
    fn loopback_is_bound_by_the_total_alone() {
        let limits = ConnectionLimits::new(3, 1);
        let held: Vec<_> = (0..3).map(|_| limits.admit(ip("127.0.0.1")).expect("room")).collect();
        assert_eq!(limits.admit(ip("::1")).expect_err("full").status(), 503);
        drop(held);
        assert_eq!(limits.open(), 0);
        assert!(limits.0.lock().by_address.is_empty());
    }

    #[test]
    fn the_file_limit_rises_to_the_hard_limit() {
        let raised = raise_file_limit().expect("raises");
        assert_eq!(raised, rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum);
    }
}
