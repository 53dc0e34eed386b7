//! When a model that gets lost again and again is tried again.

use std::time::{Duration, Instant};

/// Losses within [`WINDOW`] that open the circuit.
const LOSSES: usize = 3;
/// How long a loss counts.
const WINDOW: Duration = Duration::from_secs(60);
/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Keeps a model that panics, hangs or fails to load from costing more than it is worth.
///
/// Three losses within a minute open the circuit for five seconds. Afterwards it is tried again: if it is lost once
/// more within a minute, the next pause is twice as long, up to five minutes.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    losses: Vec<Instant>,
    reason: String,
    pause: Duration,
    open_until: Option<Instant>,
}

/// That the circuit is open.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Open<'a> {
    pub(super) retry_in: Duration,
    pub(super) reason: &'a str,
}

impl Circuit {
    /// Notes that the model was lost.
    pub(super) fn lost(&mut self, now: Instant, reason: &str) {
        let counts = |then: Instant| now.saturating_duration_since(then) <= WINDOW;
        let on_trial = self.open_until.is_some_and(counts);
        self.losses.retain(|&then| counts(then));
        self.losses.push(now);
        reason.clone_into(&mut self.reason);
        if on_trial || self.losses.len() >= LOSSES {
            self.pause = if on_trial { (self.pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
            self.open_until = Some(now + self.pause);
            self.losses.clear();
        }
    }

    /// Whether the model may be tried now.
    pub(super) fn check(&self, now: Instant) -> Result<(), Open<'_>> {
        match self.open_until {
            Some(until) if now < until => Err(Open { retry_in: until - now, reason: &self.reason }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn three_losses_within_a_minute_open_it() {
        let (mut circuit, start) = (Circuit::default(), Instant::now());
        for seconds in [0, 50, 70, 120] {
            let now = start + SECOND * seconds;
            circuit.lost(now, "panicked");
            assert_eq!(circuit.check(now), Ok(()), "{seconds} s: never three within a minute");
        }
        let now = start + SECOND * 121;
        circuit.lost(now, "hung");
        assert_eq!(circuit.check(now), Err(Open { retry_in: FIRST_PAUSE, reason: "hung" }));
        assert_eq!(circuit.check(now + FIRST_PAUSE), Ok(()));
    }

    #[test]
    fn pauses_grow_while_trials_fail_and_begin_anew_after_a_good_minute() {
        let (mut circuit, mut now) = (Circuit::default(), Instant::now());
        (0..LOSSES).for_each(|_| circuit.lost(now, "panicked"));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = circuit.check(now).expect_err("open").retry_in;
            pauses.push(pause.as_secs());
            now += pause + SECOND;
            assert_eq!(circuit.check(now), Ok(()));
            circuit.lost(now, "panicked again");
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        now += LONGEST_PAUSE + WINDOW + SECOND;
        for _ in 1..LOSSES {
            circuit.lost(now, "panicked");
            assert_eq!(circuit.check(now), Ok(()));
        }
        circuit.lost(now, "panicked");
        assert_eq!(circuit.check(now).expect_err("open").retry_in, FIRST_PAUSE);
    }
}
