//! When to ask the sender for a key frame.

use std::time::{Duration, Instant};

/// A request needs a round trip and the time to send a key frame before it can show: asking more often only makes
/// the sender spend its bit rate on more key frames.
const FIRST_INTERVAL: Duration = Duration::from_millis(500);
/// Requests get lost, too, so even a patient receiver repeats them.
const LAST_INTERVAL: Duration = Duration::from_secs(1);

/// Hands out key frame requests at once, then ever more rarely until a key frame has come.
#[derive(Debug, Default)]
pub(super) struct KeyframeRequests {
    wanted: bool,
    last: Option<(Instant, Duration)>,
    heard: Option<Instant>,
}

impl KeyframeRequests {
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// A packet has come. After a silence of the first interval or more the network was away, and what was asked
    /// meanwhile went the way of everything else: the next request is a first one.
    pub(super) fn heard(&mut self, now: Instant) {
        let before = self.heard.replace(now).unwrap_or(now);
        if now.saturating_duration_since(before) >= FIRST_INTERVAL {
            self.last = None;
        }
    }

    /// A key frame has come out.
    pub(super) fn satisfied(&mut self) {
        self.wanted = false;
        // A stream that breaks again right after its key frame still keeps the first interval.
        if let Some((_, interval)) = &mut self.last {
            *interval = FIRST_INTERVAL;
        }
    }

    pub(super) fn take(&mut self, now: Instant) -> bool {
        if !self.wanted {
            return false;
        }
        let interval = match self.last {
            Some((at, interval)) if now.saturating_duration_since(at) < interval => return false,
            Some((_, interval)) => (interval * 3 / 2).min(LAST_INTERVAL),
            None => FIRST_INTERVAL,
        };
        self.last = Some((now, interval));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_at_once_then_rarely() {
        let start = Instant::now();
        let mut requests = KeyframeRequests::default();
        assert!(!requests.take(start));
        requests.want();
        let asked: Vec<_> =
            (0..4000).filter(|&ms| requests.take(start + Duration::from_millis(ms))).collect();
        assert_eq!(asked, [0, 500, 1250, 2250, 3250]);
    }

    #[test]
    fn after_a_silence_the_next_request_comes_at_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut requests = KeyframeRequests::default();
        requests.heard(start);
        requests.want();
        let lost: Vec<_> = (0..2300).filter(|&ms| requests.take(at(ms))).collect();
        assert_eq!(lost, [0, 500, 1250, 2250]);
        requests.heard(at(2300));
        assert!(requests.take(at(2300)));
        // Packets that keep coming change nothing.
        for ms in (2310..2800).step_by(10) {
            requests.heard(at(ms));
            assert!(!requests.take(at(ms)), "at most one in half a second");
        }
    }

    #[test]
    fn a_key_frame_resets_the_interval_but_not_the_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut requests = KeyframeRequests::default();
        requests.want();
        assert!(requests.take(start) && requests.take(at(500)));
        requests.satisfied();
        assert!(!requests.take(at(5000)));
        requests.want();
        assert!(requests.take(at(5000)));
        requests.satisfied();
        requests.want();
        assert!(!requests.take(at(5100)), "at most one in half a second");
        assert!(requests.take(at(5750)));
    }
}
