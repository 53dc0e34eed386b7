//! Which rung of the ladder a viewer's way carries: policy without clocks or sockets.

use std::time::{Duration, Instant};

use ooblex_ingest::webrtc::Feedback;

use crate::output::LADDER;

/// Where viewers begin: good enough for most, and far enough down for most ways.
const FIRST: usize = 1;
/// The way carries less than what is sent if the estimate is below this share of it. One sign of waiting packets brings
/// the estimate to 0.85 of what arrives, which by itself means nothing yet.
const CONGESTED: f64 = 0.8;
/// More packets lost than this share means the same.
const LOSSY: f32 = 0.1;
/// With more lost than this, no better quality is tried.
const CLEAN: f32 = 0.02;
/// A way that is congested for this long is taken at its word.
const PERSISTS: Duration = Duration::from_millis(900);
/// After a change, what was sent before it still shows in what is reported.
const SETTLES: Duration = Duration::from_secs(2);
/// A better quality is tried after this long without congestion; twice as long after every try that failed, up to the
/// second.
const TRIES: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(96));

/// Chooses the rung. One step down at a time, or as far as the estimate says; one step up.
///
/// An estimate cannot rise much above what is sent, so a better quality is not promised but tried.
#[derive(Debug)]
pub(super) struct RungChoice {
    rung: usize,
    /// Since when the way has been congested.
    congested: Option<Instant>,
    /// The last change, or the first report.
    changed: Option<Instant>,
    /// How long it must go well before something better is tried.
    patience: Duration,
    /// The last change was one up, which may still turn out to be too much.
    trying: bool,
}

impl Default for RungChoice {
    fn default() -> Self {
        Self { rung: FIRST, congested: None, changed: None, patience: TRIES.0, trying: false }
    }
}

impl RungChoice {
    /// The place on [`LADDER`].
    pub(super) fn rung(&self) -> usize {
        self.rung
    }

    /// The last choice could not be had.
    pub(super) fn stay(&mut self, rung: usize) {
        self.rung = rung;
    }

    /// Takes what is known at `now`; the rung to change to, if any.
    pub(super) fn heed(&mut self, feedback: &Feedback, now: Instant) -> Option<usize> {
        let since = now.saturating_duration_since(*self.changed.get_or_insert(now));
        let below = |estimate: u32| f64::from(estimate) < CONGESTED * f64::from(feedback.sent_kbps);
        let congested = feedback.loss > LOSSY || feedback.estimate_kbps.is_some_and(below);
        if !congested {
            self.congested = None;
            let better =
                self.rung.checked_sub(1).filter(|_| since >= self.patience && feedback.loss <= CLEAN)?;
            if self.trying {
                // The last try went well for as long as it takes to try again.
                self.patience = TRIES.0;
            }
            self.trying = true;
            return Some(self.change(better, now));
        }
        let begun = *self.congested.get_or_insert(now);
        if now.saturating_duration_since(begun) < PERSISTS || since < SETTLES {
            return None;
        }
        let carried = feedback.estimate_kbps.unwrap_or(u32::MAX);
        let fits = |quality: &crate::output::Quality| quality.kbps <= carried;
        let lowest = LADDER.len() - 1;
        let worse = LADDER.iter().position(fits).unwrap_or(lowest).max(self.rung + 1).min(lowest);
        if std::mem::take(&mut self.trying) {
            self.patience = (self.patience * 2).min(TRIES.1);
        }
        (worse != self.rung).then(|| self.change(worse, now))
    }

    fn change(&mut self, rung: usize, now: Instant) -> usize {
        (self.rung, self.changed, self.congested) = (rung, Some(now), None);
        rung
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half a second each of a way that carries `kbps`, for a viewer who is sent all that the rung allows.
    struct Way {
        choice: RungChoice,
        now: Instant,
    }

    impl Way {
        fn new() -> Self {
            Self { choice: RungChoice::default(), now: Instant::now() }
        }

        fn carries(&mut self, kbps: u32, seconds: u64) -> Vec<usize> {
            let changes = (0..2 * seconds).filter_map(|_| {
                self.now += Duration::from_millis(500);
                let sent = LADDER[self.choice.rung()].kbps;
                let mut feedback = Feedback::default();
                (feedback.sent_kbps, feedback.estimate_kbps) = (sent, Some((sent * 5 / 4).min(kbps)));
                self.choice.heed(&feedback, self.now)
            });
            changes.collect()
        }
    }

    #[test]
    fn a_wide_way_gets_the_best_in_steps_and_keeps_it() {
        let mut way = Way::new();
        way.choice.stay(4);
        assert_eq!(way.carries(10_000, 40), [3, 2, 1, 0]);
        assert_eq!(way.carries(10_000, 600), [0; 0]);
    }

    #[test]
    fn a_way_that_narrows_gets_what_it_carries_at_once() {
        let mut way = Way::new();
        assert_eq!(way.carries(400, 4), [3]);
        assert_eq!(LADDER[3].kbps, 350);
        let mut way = Way::new();
        assert_eq!(way.carries(20, 60), [4], "and never less than the least");
    }

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let mut way = Way::new();
        // 700 kbit/s fit, 1,200 do not.
        let changes = way.carries(800, 600);
        assert!(changes.iter().all(|rung| [1, 2].contains(rung)), "{changes:?}");
        let tries = changes.iter().filter(|rung| **rung == 1).count();
        assert!((4..=9).contains(&tries), "{tries} tries in ten minutes");
    }

    #[test]
    fn loss_alone_counts_and_quiet_pictures_do_not() {
        let (mut choice, mut now) = (RungChoice::default(), Instant::now());
        let mut heed = |estimate, sent, loss| {
            now += Duration::from_millis(500);
            let mut feedback = Feedback::default();
            (feedback.estimate_kbps, feedback.sent_kbps, feedback.loss) = (estimate, sent, loss);
            choice.heed(&feedback, now)
        };
        // A still picture: little is sent, and an estimate of little more is all that can be known.
        assert!((0..10).all(|_| heed(Some(60), 50, 0.0).is_none()));
        let mut lossy = (0..6).filter_map(|_| heed(None, 1_200, 0.2));
        assert_eq!(lossy.next(), Some(2));
        assert_eq!(lossy.next(), None, "one step, then a while to see");
    }
}
