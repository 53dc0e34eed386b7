//! What has passed a tunnel, and what may still pass: arithmetic with the time as an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::provider::Limits;

/// Rates are taken over this long.
const WINDOW: Duration = Duration::from_secs(60);
/// The window moves in steps of this.
const STEP: Duration = Duration::from_secs(2);
/// A rate needs so much to be taken from.
const LEAST: Duration = Duration::from_secs(4);
/// Slowest pace, in bytes a second: the state and the reasons have to pass where pictures no longer do.
const FLOOR: f64 = 4_000.0;
/// Most requests of a page in a second, and fewest.
const REQUESTS: (f64, f64) = (30.0, 0.05);
/// Of the limit in a minute so much may be used: others count there, too.
const MINUTE_SHARE: f64 = 0.5;

/// The books of one tunnel.
#[derive(Debug)]
pub(super) struct Ledger {
    limits: Limits,
    /// What is left is made to last so long.
    horizon: Duration,
    total: Count,
    /// What counts towards the limits of the month: also what passed before the start, where that is known.
    used: Count,
    /// What passed since when, newest last.
    recent: VecDeque<(Instant, Count)>,
}

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Count {
    /// Bytes towards viewers.
    pub(crate) sent: u64,
    /// Bytes from them.
    pub(crate) received: u64,
    pub(crate) requests: u64,
}

impl Count {
    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.requests += other.requests;
    }

    /// Of each number the greater one.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            sent: self.sent.max(other.sent),
            received: self.received.max(other.received),
            requests: self.requests.max(other.requests),
        }
    }
}

/// What the books say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Balance {
    pub(super) total: Count,
    /// What counts towards the limits of the month.
    pub(super) used: Count,
    /// Bytes towards viewers, a second.
    pub(super) bytes_per_second: f64,
    /// In the last minute.
    pub(super) requests_per_minute: u64,
    /// Until the first limit is reached at this rate; `None` without a limit, or with a rate of nothing.
    pub(super) left: Option<Duration>,
    /// Bytes that may go out in a second; `None` for any number.
    pub(super) pace: Option<f64>,
    /// Requests that one page may make in a second.
    pub(super) requests_per_second: f64,
}

impl Ledger {
    pub(super) fn new(limits: Limits, horizon: Duration) -> Self {
        Self { limits, horizon, total: Count::default(), used: Count::default(), recent: VecDeque::new() }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Notes what passed.
    pub(super) fn note(&mut self, passed: Count, now: Instant) {
        self.total.add(passed);
        self.used.add(passed);
        self.forget(now);
        match self.recent.back_mut() {
            Some((since, count)) if now.saturating_duration_since(*since) < STEP => count.add(passed),
            _ => self.recent.push_back((now, passed)),
        }
    }

    /// What counts towards the limits of the month, from now on.
    pub(super) fn count_from(&mut self, used: Count) {
        self.used = used;
    }

    fn forget(&mut self, now: Instant) {
        let is_old = |(since, _): &(Instant, Count)| now.saturating_duration_since(*since) >= WINDOW;
        while self.recent.front().is_some_and(is_old) {
            self.recent.pop_front();
        }
    }

    /// Bytes that may go out in a second: what is left, spread over the horizon, so that it gets less and less. At the end
    /// a trickle remains, by which the limit may be passed.
    pub(super) fn pace(&self) -> Option<f64> {
        let left = self.limits.bytes?.saturating_sub(self.used.sent);
        Some((left as f64 / self.horizon.as_secs_f64()).max(FLOOR))
    }

    fn requests_per_second(&self) -> f64 {
        let spread =
            |limit: u64| limit.saturating_sub(self.used.requests) as f64 / self.horizon.as_secs_f64();
        let month = self.limits.requests.map_or(REQUESTS.0, spread);
        let minute = self.limits.requests_per_minute.map_or(REQUESTS.0, |n| MINUTE_SHARE * n as f64 / 60.0);
        month.min(minute).clamp(REQUESTS.1, REQUESTS.0)
    }

    /// The books now.
    pub(super) fn balance(&mut self, now: Instant) -> Balance {
        self.forget(now);
        let mut recent = Count::default();
        self.recent.iter().for_each(|(_, count)| recent.add(*count));
        let since =
            self.recent.front().map_or(Duration::ZERO, |(since, _)| now.saturating_duration_since(*since));
        let seconds = since.max(LEAST).as_secs_f64();
        let left = |limit: Option<u64>, used: u64, rate: f64| {
            let left = limit?.saturating_sub(used) as f64;
            (rate > 0.0).then(|| Duration::try_from_secs_f64(left / rate).unwrap_or(Duration::MAX))
        };
        let (bytes, requests) = (recent.sent as f64 / seconds, recent.requests as f64 / seconds);
        let ends = [
            left(self.limits.bytes, self.used.sent, bytes),
            left(self.limits.requests, self.used.requests, requests),
        ];
        Balance {
            total: self.total,
            used: self.used,
            bytes_per_second: bytes,
            requests_per_minute: recent.requests,
            left: ends.into_iter().flatten().min(),
            pace: self.pace(),
            requests_per_second: self.requests_per_second(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunnel::provider::NGROK_FREE;

    const SECOND: Duration = Duration::from_secs(1);
    const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

    fn sent(bytes: u64) -> Count {
        Count { sent: bytes, ..Count::default() }
    }

    #[test]
    fn without_limits_nothing_is_slowed_and_nothing_ends() {
        let (mut ledger, now) = (Ledger::new(Limits::default(), HALF_AN_HOUR), Instant::now());
        ledger.note(sent(1 << 40), now);
        let balance = ledger.balance(now + SECOND);
        assert_eq!((balance.pace, balance.left, balance.requests_per_second), (None, None, 30.0));
    }

    #[test]
    fn the_minutes_left_are_those_of_the_limit_that_is_reached_first() {
        let mut ledger = Ledger::new(NGROK_FREE, HALF_AN_HOUR);
        let begun = Instant::now();
        // As much as 640x480 at 15 frames of 30 kB a second: a gigabyte lasts 37 minutes.
        for second in 0..60 {
            ledger.note(sent(450_000), begun + second * SECOND);
        }
        let left = ledger.balance(begun + 60 * SECOND).left.expect("it ends").as_secs() / 60;
        assert!((34..=37).contains(&left), "{left}");
        // Uploads of 15 pictures a second: 20,000 requests last 22 minutes.
        for second in 60..120 {
            let requests = Count { requests: 15, ..sent(450_000) };
            ledger.note(requests, begun + second * SECOND);
        }
        let balance = ledger.balance(begun + 120 * SECOND);
        let left = balance.left.expect("it ends").as_secs() / 60;
        assert!((20..=22).contains(&left), "{left}");
        assert!((850..=900).contains(&balance.requests_per_minute), "{balance:?}");
    }

    #[test]
    fn whoever_takes_all_that_is_allowed_gets_less_and_less_and_stays_below_the_limit_for_hours() {
        let mut ledger = Ledger::new(NGROK_FREE, HALF_AN_HOUR);
        let (begun, mut last) = (Instant::now(), f64::INFINITY);
        for second in 0..2 * 3600u32 {
            let pace = ledger.pace().expect("there is a limit");
            assert!(pace <= last && pace >= FLOOR);
            last = pace;
            ledger.note(sent(pace as u64), begun + second * SECOND);
        }
        let used = ledger.balance(begun).total.sent;
        assert!((950_000_000..1_000_000_000).contains(&used), "{used}");
        ledger.note(sent(1_000_000_000), begun);
        assert_eq!(ledger.pace(), Some(FLOOR), "the state still passes");
    }

    #[test]
    fn pages_ask_less_often_the_less_is_left() {
        let mut ledger = Ledger::new(NGROK_FREE, HALF_AN_HOUR);
        let now = Instant::now();
        let before = ledger.balance(now).requests_per_second;
        assert!((11.0..11.2).contains(&before), "{before}");
        ledger.note(Count { requests: 19_000, ..Count::default() }, now);
        let after = ledger.balance(now).requests_per_second;
        assert!((0.5..0.6).contains(&after), "{after}");
        ledger.note(Count { requests: 5_000, ..Count::default() }, now);
        assert_eq!(ledger.balance(now).requests_per_second, 0.05);
    }

    #[test]
    fn what_was_used_before_the_start_counts_towards_the_limits_alone() {
        let (mut ledger, now) = (Ledger::new(NGROK_FREE, HALF_AN_HOUR), Instant::now());
        ledger.count_from(Count { requests: 19_000, ..sent(910_000_000) });
        ledger.note(Count { requests: 100, ..sent(90_000_000 - 1_800_000) }, now);
        let balance = ledger.balance(now + LEAST);
        assert_eq!(balance.total, Count { requests: 100, ..sent(88_200_000) });
        assert_eq!(balance.used, Count { requests: 19_100, ..sent(998_200_000) });
        assert_eq!(balance.pace, Some(FLOOR), "1.8 MB for half an hour would be less");
        assert_eq!(balance.requests_per_second, 0.5);
        assert_eq!(balance.left.expect("it ends").as_secs(), 0, "{balance:?}");
        ledger.count_from(Count::default());
        assert_eq!(ledger.balance(now).total, balance.total);
        assert!(ledger.pace() > Some(500_000.0), "a new month");
    }

    #[test]
    fn what_was_long_ago_does_not_count_for_the_rate() {
        let (mut ledger, begun) = (Ledger::new(NGROK_FREE, HALF_AN_HOUR), Instant::now());
        ledger.note(sent(90_000_000), begun);
        let balance = ledger.balance(begun + 61 * SECOND);
        assert_eq!((balance.bytes_per_second, balance.left), (0.0, None));
        assert_eq!(balance.total.sent, 90_000_000);
    }
}
