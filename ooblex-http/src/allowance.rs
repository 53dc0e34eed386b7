//! How many messages a client may send.

use std::time::{Duration, Instant};

/// Lets so many through at once, and then one whenever some time has passed.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use ooblex_http::Allowance;
///
/// let start = Instant::now();
/// let mut allowance = Allowance::new(2, Duration::from_millis(10), start);
/// assert!(allowance.take(start) && allowance.take(start) && !allowance.take(start));
/// assert!(allowance.take(start + Duration::from_millis(10)));
/// ```
#[derive(Clone, Debug)]
pub struct Allowance {
    burst: u32,
    refill: Duration,
    left: u32,
    at: Instant,
}

impl Allowance {
    /// `burst` at once, and one more each `refill`, which counts as a microsecond if it is shorter.
    pub fn new(burst: u32, refill: Duration, now: Instant) -> Self {
        Self { burst, refill: refill.max(Duration::from_micros(1)), left: burst, at: now }
    }

    /// Whether one more is allowed; it then counts. `now` never goes back.
    pub fn take(&mut self, now: Instant) -> bool {
        let earned = now.saturating_duration_since(self.at).as_micros() / self.refill.as_micros();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(self.burst);
            // Below the burst so little was earned that the product fits.
            self.at = if self.left == self.burst { now } else { self.at + self.refill * earned };
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}
