//! Wrong tokens, counted by address, so that guessing takes for ever.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ooblex_http::{Problem, network_of};

/// Wrong tokens that an address may show before it is slowed down.
const BURST: f64 = 20.0;
/// Wrong tokens a second after that.
const PER_SECOND: f64 = 1.0;
/// After a right token, others behind the same address cannot lock it out for this long.
const TRUSTED_FOR: Duration = Duration::from_secs(600);
/// Addresses that are remembered. Beyond that, those with the fewest failures are forgotten.
const MOST_ADDRESSES: usize = 4096;

/// Counts failures by address.
///
/// An address that has used up its attempts gets 429 before its token is looked at: otherwise it would still learn
/// which guess was right. That would let one guesser lock out everybody behind the same address, so an address that
/// showed a right token lately is still looked at, and gets 429 in place of 401.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
    trusted_until: Option<Instant>,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { left: BURST, at: now, trusted_until: None }
    }

    fn refill(&mut self, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.left = (self.left + gained).min(BURST);
        self.at = self.at.max(now);
    }

    fn is_trusted(&self, now: Instant) -> bool {
        self.trusted_until.is_some_and(|until| until > now)
    }

    fn says_nothing(&self, now: Instant) -> bool {
        self.left >= BURST && !self.is_trusted(now)
    }
}

impl Attempts {
    /// Whether a token from `address` may be looked at.
    ///
    /// # Errors
    /// 429.
    pub(super) fn may_try(&self, address: IpAddr, now: Instant) -> Result<(), Problem> {
        match self.lock().get_mut(&network_of(address)) {
            None => Ok(()),
            Some(bucket) => {
                bucket.refill(now);
                if bucket.left >= 1.0 || bucket.is_trusted(now) { Ok(()) } else { Err(too_many(bucket.left)) }
            }
        }
    }

    /// Counts a wrong token.
    ///
    /// # Errors
    /// 429 if there were too many already.
    pub(super) fn failed(&self, address: IpAddr, now: Instant) -> Result<(), Problem> {
        let mut all = self.lock();
        let bucket = entry(&mut all, network_of(address), now);
        if bucket.left < 1.0 {
            return Err(too_many(bucket.left));
        }
        bucket.left -= 1.0;
        Ok(())
    }

    /// Notes a right token.
    pub(super) fn succeeded(&self, address: IpAddr, now: Instant) {
        entry(&mut self.lock(), network_of(address), now).trusted_until = Some(now + TRUSTED_FOR);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bucket of an address, refilled; makes room where there is none.
fn entry(all: &mut HashMap<IpAddr, Bucket>, key: IpAddr, now: Instant) -> &mut Bucket {
    if all.len() >= MOST_ADDRESSES && !all.contains_key(&key) {
        all.values_mut().for_each(|bucket| bucket.refill(now));
        all.retain(|_, bucket| !bucket.says_nothing(now));
        if all.len() >= MOST_ADDRESSES {
            let fullest = all.iter().max_by(|a, b| a.1.left.total_cmp(&b.1.left)).map(|(key, _)| *key);
            fullest.map(|key| all.remove(&key));
        }
    }
    let bucket = all.entry(key).or_insert_with(|| Bucket::new(now));
    bucket.refill(now);
    bucket
}

fn too_many(left: f64) -> Problem {
    let wait = Duration::from_secs_f64(((1.0 - left) / PER_SECOND).max(1.0));
    let detail = "too many wrong tokens came from this address; try again later";
    Problem::new(429, "too_many_attempts", detail).field("token").retry_after(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn twenty_failures_then_one_a_second() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let one = ip("192.0.2.1");
        for _ in 0..20 {
            attempts.may_try(one, start).expect("not yet");
            attempts.failed(one, start).expect("not yet");
        }
        let problem = attempts.may_try(one, start).expect_err("too many");
        assert_eq!((problem.status().as_u16(), problem.retry_after_secs()), (429, Some(1)));
        assert!(attempts.may_try(ip("::ffff:192.0.2.1"), start).is_err(), "the same address");
        attempts.may_try(ip("192.0.2.2"), start).expect("another address");
        let later = start + SECOND;
        attempts.may_try(one, later).expect("one more");
        attempts.failed(one, later).expect("one more");
        assert!(attempts.may_try(one, later).is_err());
        attempts.may_try(one, start).expect_err("a clock that stands still gives nothing");
    }

    #[test]
    fn a_guesser_does_not_lock_out_whoever_shares_its_address() {
        let (attempts, start) = (Attempts::default(), Instant::now());
        let shared = ip("127.0.0.1");
        attempts.succeeded(shared, start);
        for _ in 0..20 {
            attempts.failed(shared, start).expect("not yet");
        }
        assert!(attempts.failed(shared, start).is_err(), "429 for the guesser");
        attempts.may_try(shared, start).expect("the right token is still looked at");
        attempts.may_try(shared, start + SECOND / 2).expect("still");
        let long_after = start + TRUSTED_FOR;
        for _ in 0..20 {
            attempts.failed(shared, long_after).expect("refilled");
        }
        assert!(attempts.may_try(shared, long_after).is_err());
    }

    #[test]
    fn one_network_of_version_6_is_one_address() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for host in 0..20 {
            attempts.failed(ip(&format!("2001:db8::{host:x}")), now).expect("not yet");
        }
        assert!(attempts.may_try(ip("2001:db8::ffff:1"), now).is_err());
        assert!(attempts.may_try(ip("2001:db8:0:1::1"), now).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_remembered() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let worst = ip("192.0.2.1");
        for _ in 0..20 {
            attempts.failed(worst, now).expect("not yet");
        }
        for n in 0..3 * MOST_ADDRESSES as u32 {
            attempts.failed(IpAddr::V4((0x0a00_0000 + n).into()), now).expect("the first of each");
        }
        assert!(attempts.lock().len() <= MOST_ADDRESSES);
        assert!(attempts.may_try(worst, now).is_err());
    }
}
