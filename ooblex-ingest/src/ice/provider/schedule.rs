//! When a list is fetched again, and how long the last one may be used.

use std::time::{Duration, Instant};

/// Life of a list that does not tell it.
const DEFAULT_LIFE: Duration = Duration::from_secs(15 * 60);
/// Pauses between fetches, however short the life: no provider is to be asked all the time.
const MIN_PAUSE: Duration = Duration::from_secs(10);
/// After a failure, doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// The times of one provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// When to fetch.
    pub(crate) next: Instant,
    /// When the list's credentials end, if that is known.
    pub(crate) expires: Option<Instant>,
    /// Failures since the last success.
    pub(crate) failures: u32,
}

impl Schedule {
    /// Fetches at once.
    pub(crate) fn new(now: Instant) -> Self {
        Self { next: now, expires: None, failures: 0 }
    }

    /// A list came: it is fetched again when 80 % of its life are over.
    pub(crate) fn succeeded(&mut self, life: Option<Duration>, now: Instant) {
        self.failures = 0;
        self.expires = life.map(|life| now + life);
        self.next = now + (life.unwrap_or(DEFAULT_LIFE) * 4 / 5).max(MIN_PAUSE);
    }

    /// None came.
    pub(crate) fn failed(&mut self, now: Instant) {
        let pause = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(LAST_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.next = now + pause;
    }

    /// Whether the last list is of no use any more.
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_fetched_again_at_four_fifths_of_its_life() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        assert_eq!(schedule.next, start);
        schedule.succeeded(Some(Duration::from_secs(1000)), start);
        assert_eq!(schedule.next - start, Duration::from_secs(800));
        assert!(!schedule.has_expired(start + Duration::from_secs(999)));
        assert!(schedule.has_expired(start + Duration::from_secs(1000)));
        schedule.succeeded(Some(Duration::from_secs(1)), start);
        assert_eq!(schedule.next - start, Duration::from_secs(10));
        schedule.succeeded(None, start);
        assert_eq!((schedule.next - start, schedule.expires), (Duration::from_secs(720), None));
    }

    #[test]
    fn failures_space_out_and_leave_the_last_list() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.succeeded(Some(Duration::from_secs(3600)), start);
        let pauses: Vec<u64> = (0..9)
            .map(|_| {
                schedule.failed(start);
                (schedule.next - start).as_secs()
            })
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        assert!(!schedule.has_expired(start + Duration::from_secs(3599)));
        schedule.succeeded(None, start);
        schedule.failed(start);
        assert_eq!(schedule.next - start, Duration::from_secs(5), "from the beginning");
    }
}
