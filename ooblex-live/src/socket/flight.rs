//! What is on its way to a viewer, and whether more may follow. Time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Pictures that may be on their way, whatever the link takes.
const MOST: usize = 32;
/// The shortest way and the best throughput are remembered for one to two of these.
const MEMORY: Duration = Duration::from_secs(10);

/// An extreme of what was measured lately.
struct Extreme<T> {
    better: fn(&T, &T) -> bool,
    since: Option<Instant>,
    now: Option<T>,
    before: Option<T>,
}

impl<T: Copy> Extreme<T> {
    fn new(better: fn(&T, &T) -> bool) -> Self {
        Self { better, since: None, now: None, before: None }
    }

    fn add(&mut self, value: T, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= MEMORY {
            (self.since, self.before) = (Some(now), self.now.take());
        }
        if self.now.is_none_or(|best| (self.better)(&value, &best)) {
            self.now = Some(value);
        }
    }

    fn get(&self) -> Option<T> {
        match (self.now, self.before) {
            (Some(now), Some(before)) => Some(if (self.better)(&before, &now) { before } else { now }),
            (now, before) => now.or(before),
        }
    }
}

struct Flying {
    seq: u64,
    bytes: usize,
    sent: Instant,
    /// Bytes that had been acknowledged when it was sent.
    delivered: u64,
}

/// What came of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Acked {
    /// How much longer than the shortest way the picture took.
    pub(super) waited: Duration,
    /// Bytes that it acknowledged.
    pub(super) bytes: usize,
}

/// The pictures on their way to one viewer.
pub(super) struct Flight {
    budget: Duration,
    flying: VecDeque<Flying>,
    bytes: usize,
    last_sent: Option<u64>,
    delivered: u64,
    way: Extreme<Duration>,
    /// Bytes a second.
    rate: Extreme<u64>,
}

impl Flight {
    pub(super) fn new(budget: Duration) -> Self {
        Self {
            budget,
            flying: VecDeque::new(),
            bytes: 0,
            last_sent: None,
            delivered: 0,
            way: Extreme::new(|a, b| a < b),
            rate: Extreme::new(|a, b| a > b),
        }
    }

    /// The picture `seq` leaves.
    pub(super) fn sent(&mut self, seq: u64, bytes: usize, now: Instant) {
        self.flying.push_back(Flying { seq, bytes, sent: now, delivered: self.delivered });
        self.bytes += bytes;
        self.last_sent = self.last_sent.max(Some(seq));
    }

    /// Another stream begins, with numbers of its own.
    pub(super) fn restart(&mut self) {
        self.flying.clear();
        self.bytes = 0;
    }

    /// A picture was acknowledged, and with it all before. `None` if it was acknowledged before.
    ///
    /// # Errors
    /// If it was never sent.
    pub(super) fn acked(&mut self, seq: u64, now: Instant) -> Result<Option<Acked>, NotSent> {
        if self.last_sent.is_none_or(|last| seq > last) {
            return Err(NotSent);
        }
        let (mut newest, mut bytes) = (None, 0);
        while self.flying.front().is_some_and(|flying| flying.seq <= seq) {
            let Some(flying) = self.flying.pop_front() else { break };
            bytes += flying.bytes;
            newest = Some(flying);
        }
        let Some(newest) = newest else { return Ok(None) };
        self.bytes -= bytes;
        self.delivered += bytes as u64;
        let took = now.saturating_duration_since(newest.sent);
        self.measured(took, now);
        let micros = took.as_micros().max(1);
        let rate = u128::from(self.delivered - newest.delivered) * 1_000_000 / micros;
        self.rate.add(u64::try_from(rate).unwrap_or(u64::MAX), now);
        Ok(Some(Acked { waited: took.saturating_sub(self.way()), bytes }))
    }

    /// Something went there and back.
    pub(super) fn measured(&mut self, took: Duration, now: Instant) {
        self.way.add(took, now);
    }

    /// There and back without waiting, as far as is known.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.way.get()
    }

    fn way(&self) -> Duration {
        self.way.get().unwrap_or_default()
    }

    /// How much longer than the shortest way the oldest picture has been on its way.
    pub(super) fn waiting(&self, now: Instant) -> Option<Duration> {
        let oldest = self.flying.front()?;
        Some(now.saturating_duration_since(oldest.sent).saturating_sub(self.way()))
    }

    /// How long the oldest picture on its way has not been acknowledged.
    pub(super) fn unacknowledged_for(&self, now: Instant) -> Duration {
        self.flying.front().map_or(Duration::ZERO, |oldest| now.saturating_duration_since(oldest.sent))
    }

    /// Whether another picture would still be fresh when it arrives.
    pub(super) fn may_send(&self, now: Instant) -> bool {
        let Some(waiting) = self.waiting(now) else { return true };
        if waiting >= self.budget || self.flying.len() >= MOST {
            return false;
        }
        // A burst, such as a key frame, is no queue until it takes its time.
        waiting < self.budget / 4 || self.room().is_none_or(|room| self.bytes as u64 <= room)
    }

    /// Bytes that the link takes within the budget, as far as is known.
    fn room(&self) -> Option<u64> {
        let time = (self.budget + self.way()).as_millis() as u64;
        Some(self.rate.get()?.saturating_mul(time) / 1000)
    }
}

/// An acknowledgement of what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotSent;

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(250);

    #[test]
    fn nothing_follows_what_is_older_than_the_budget() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut flight = Flight::new(BUDGET);
        flight.measured(Duration::from_millis(80), start);
        assert!(flight.may_send(start));
        flight.sent(7, 1_000, start);
        assert!(flight.may_send(at(80 + 249)) && !flight.may_send(at(80 + 250)));
        let acked = flight.acked(7, at(400));
        assert_eq!(acked, Ok(Some(Acked { waited: Duration::from_millis(320), bytes: 1_000 })));
        assert!(flight.may_send(at(400)));
    }

    #[test]
    fn no_more_is_sent_than_the_link_takes_in_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut flight = Flight::new(BUDGET);
        flight.measured(Duration::ZERO, start);
        // 100 bytes a millisecond: 25,000 in the budget.
        flight.sent(1, 10_000, start);
        flight.acked(1, at(100)).expect("sent");
        flight.sent(2, 20_000, at(100));
        flight.sent(3, 10_000, at(100));
        assert!(flight.may_send(at(110)), "a burst is no queue");
        assert!(!flight.may_send(at(170)), "but what takes its time is");
        flight.acked(2, at(300)).expect("sent");
        assert!(flight.may_send(at(300)));
    }

    #[test]
    fn acknowledgements_count_once_and_for_all_before_and_only_of_what_was_sent() {
        let now = Instant::now();
        let mut flight = Flight::new(BUDGET);
        assert_eq!(flight.acked(1, now), Err(NotSent));
        for seq in [3, 5, 9] {
            flight.sent(seq, 10, now);
        }
        assert_eq!(flight.acked(5, now).map(|a| a.map(|a| a.bytes)), Ok(Some(20)));
        assert_eq!(flight.acked(3, now), Ok(None));
        assert_eq!(flight.acked(10, now), Err(NotSent));
        for seq in 10..10 + MOST as u64 {
            flight.sent(seq, 10, now);
        }
        assert!(!flight.may_send(now));
    }

    #[test]
    fn the_shortest_way_is_forgotten_in_time() {
        let start = Instant::now();
        let mut flight = Flight::new(BUDGET);
        flight.measured(Duration::from_millis(5), start);
        flight.measured(Duration::from_millis(50), start + MEMORY);
        assert_eq!(flight.round_trip(), Some(Duration::from_millis(5)));
        flight.measured(Duration::from_millis(60), start + 2 * MEMORY);
        assert_eq!(flight.round_trip(), Some(Duration::from_millis(50)));
    }
}
