//! How long to wait for a missing packet: as long as waiting has helped lately.

use std::collections::VecDeque;
use std::time::Duration;

/// Outcomes that are remembered.
const MEMORY: usize = 32;
/// This many packets in memory must have stayed away before the wait gets shorter than the limit.
const MIN_LOST: usize = 3;
/// Nobody waits longer for a live picture.
const MAX_LIMIT: Duration = Duration::from_secs(10);
/// Plain reordering is waited for even where no packet was ever sent again.
const FLOOR: Duration = Duration::from_millis(20);

/// The wait before a gap is given up.
///
/// Waiting costs nothing when the packet comes, for the buffer goes on at once. It costs time when the packet does
/// not come. So the limit holds until packets have stayed away; from then on the wait is the longest that a
/// missing packet took lately, and a quarter more.
#[derive(Debug)]
pub(super) struct RecoveryWait {
    limit: Duration,
    current: Duration,
    /// For each of the last gaps how long after it was noticed the packet came, if ever.
    outcomes: VecDeque<Option<Duration>>,
}

impl RecoveryWait {
    pub(super) fn new(limit: Duration) -> Self {
        let limit = limit.min(MAX_LIMIT);
        Self { limit, current: limit, outcomes: VecDeque::with_capacity(MEMORY) }
    }

    pub(super) fn current(&self) -> Duration {
        self.current
    }

    /// A missing packet came `after` the gap was noticed, whether it was still waited for or not.
    pub(super) fn came(&mut self, after: Duration) {
        // What comes later than may be waited for does not argue for waiting longer.
        if after <= self.limit {
            self.learn(Some(after));
        }
    }

    /// A gap was given up.
    pub(super) fn stayed_away(&mut self) {
        self.learn(None);
    }

    fn learn(&mut self, outcome: Option<Duration>) {
        if self.outcomes.len() == MEMORY {
            self.outcomes.pop_front();
        }
        self.outcomes.push_back(outcome);
        let lost = self.outcomes.iter().filter(|o| o.is_none()).count();
        self.current = if lost < MIN_LOST {
            self.limit
        } else {
            let longest = self.outcomes.iter().flatten().max().copied().unwrap_or_default();
            (longest + longest / 4).max(FLOOR).min(self.limit)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(150);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn waits_to_the_limit_until_packets_stay_away() {
        let mut wait = RecoveryWait::new(LIMIT);
        for _ in 0..40 {
            wait.came(ms(2));
        }
        assert_eq!(wait.current(), LIMIT);
        for _ in 0..MIN_LOST {
            assert_eq!(wait.current(), LIMIT);
            wait.stayed_away();
        }
        assert_eq!(wait.current(), FLOOR);
    }

    #[test]
    fn follows_the_slowest_packet_that_came() {
        let mut wait = RecoveryWait::new(LIMIT);
        (0..MIN_LOST).for_each(|_| wait.stayed_away());
        wait.came(ms(40));
        assert_eq!(wait.current(), ms(50));
        wait.came(ms(140));
        assert_eq!(wait.current(), LIMIT);
        wait.came(ms(900));
        for _ in 0..MEMORY {
            wait.stayed_away();
        }
        assert_eq!(wait.current(), FLOOR, "old packets are forgotten");
    }

    #[test]
    fn a_short_limit_is_kept() {
        let mut wait = RecoveryWait::new(ms(5));
        (0..MIN_LOST).for_each(|_| wait.stayed_away());
        assert_eq!(wait.current(), ms(5));
        assert_eq!(RecoveryWait::new(Duration::MAX).current(), MAX_LIMIT);
    }
}
