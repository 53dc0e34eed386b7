//! Requests a second, by address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ooblex_http::{Problem, network_of};

/// Addresses that are remembered. Beyond that, those that asked least are forgotten.
const MOST_ADDRESSES: usize = 4096;
/// Seconds of the rate that may come at once.
const BURST_SECONDS: f64 = 2.0;

/// A bucket for each address, refilled at the rate.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), buckets: Mutex::default() }
    }

    /// Takes one from the bucket of `address`.
    ///
    /// # Errors
    /// 429 if there is none.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Problem> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, full) = (network_of(address), self.per_second * BURST_SECONDS);
        if buckets.len() >= MOST_ADDRESSES && !buckets.contains_key(&key) {
            buckets.values_mut().for_each(|bucket| self.refill(bucket, now));
            buckets.retain(|_, bucket| bucket.left < full);
            if buckets.len() >= MOST_ADDRESSES {
                let fullest =
                    buckets.iter().max_by(|a, b| a.1.left.total_cmp(&b.1.left)).map(|(key, _)| *key);
                fullest.map(|key| buckets.remove(&key));
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: full, at: now });
        self.refill(bucket, now);
        if bucket.left < 1.0 {
            let wait = Duration::from_secs_f64(((1.0 - bucket.left) / self.per_second).max(1.0));
            let detail =
                "too many requests came from this address; the setting max_requests_per_second allows more";
            return Err(Problem::new(429, "too_many_requests", detail)
                .limit(self.per_second as u64)
                .retry_after(wait));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    fn refill(&self, bucket: &mut Bucket, now: Instant) {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.left = (bucket.left + gained).min(self.per_second * BURST_SECONDS);
        bucket.at = bucket.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn two_seconds_at_once_and_then_the_rate() {
        let (rate, start) = (Rate::new(5), Instant::now());
        for _ in 0..10 {
            rate.take(ip("192.0.2.1"), start).expect("not yet");
        }
        let problem = rate.take(ip("::ffff:192.0.2.1"), start).expect_err("too many");
        assert_eq!((problem.status().as_u16(), problem.retry_after_secs()), (429, Some(1)));
        rate.take(ip("192.0.2.2"), start).expect("another address");
        let later = start + Duration::from_secs(1);
        let passed = (0..10).filter(|_| rate.take(ip("192.0.2.1"), later).is_ok()).count();
        assert_eq!(passed, 5);
        assert!(rate.take(ip("192.0.2.1"), start).is_err(), "a clock that stands still gives nothing");
    }

    #[test]
    fn memory_is_bounded_and_the_worst_is_remembered() {
        let (rate, now) = (Rate::new(1), Instant::now());
        let worst = ip("192.0.2.1");
        while rate.take(worst, now).is_ok() {}
        for n in 0..3 * MOST_ADDRESSES as u32 {
            rate.take(IpAddr::V4((0x0a00_0000 + n).into()), now).expect("the first of each");
        }
        assert!(rate.buckets.lock().expect("whole").len() <= MOST_ADDRESSES);
        assert!(rate.take(worst, now).is_err());
    }
}
