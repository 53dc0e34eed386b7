//! When an effect that failed is built again.

use std::fmt;
use std::time::{Duration, Instant};

use ooblex_core::pipeline::EffectState;

/// The pause before the first try; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Tries within [`WINDOW`]. After them only a switch helps.
const MOST_TRIES: usize = 5;
/// What failed once in this time has not failed again and again.
const WINDOW: Duration = Duration::from_secs(300);

/// The tries to load or rebuild one effect of one stream.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// When it was built again, as far as that counts.
    tried: Vec<Instant>,
    due: Option<Instant>,
    running: bool,
    given_up: bool,
}

/// What happens next to an effect that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It is being built.
    Running,
    /// It is built again after this time.
    In(Duration),
    /// It was tried often enough.
    GivenUp,
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("it is being built again"),
            Self::In(pause) => write!(f, "it is built again in {} s", pause.as_secs_f64().ceil()),
            Self::GivenUp => {
                write!(f, "it was built again {MOST_TRIES} times; choose an effect to try again")
            }
        }
    }
}

impl Schedule {
    /// Whether to build the effect now. Whoever is told so says when it is [`done`](Self::done).
    pub(super) fn is_due(&mut self, state: &EffectState, now: Instant) -> bool {
        if self.running || self.given_up {
            return false;
        }
        self.running = match state {
            EffectState::Loading => true,
            EffectState::Failed { .. } => self.is_due_again(now),
            _ => {
                self.due = None;
                false
            }
        };
        self.running
    }

    fn is_due_again(&mut self, now: Instant) -> bool {
        self.tried.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        self.given_up = self.tried.len() >= MOST_TRIES;
        let pause = FIRST_PAUSE * 2u32.pow(self.tried.len() as u32);
        let due = *self.due.get_or_insert(now + pause);
        if self.given_up || now < due {
            return false;
        }
        self.due = None;
        self.tried.push(now);
        true
    }

    /// The effect has been built, or could not be.
    pub(super) fn done(&mut self) {
        self.running = false;
    }

    /// What happens next, if it failed; `None` before that was noticed.
    pub(super) fn outlook(&self, now: Instant) -> Option<Outlook> {
        match self.due {
            _ if self.given_up => Some(Outlook::GivenUp),
            _ if self.running => Some(Outlook::Running),
            due => due.map(|due| Outlook::In(due.saturating_duration_since(now))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> EffectState {
        EffectState::Failed { reason: "broken".into() }
    }

    /// Seconds from `start` at which it is due, looking twice a second; every try fails at once.
    fn tries(schedule: &mut Schedule, start: Instant, seconds: u64) -> Vec<u64> {
        let mut tries = Vec::new();
        for half in 0..seconds * 2 {
            if schedule.is_due(&failed(), start + Duration::from_millis(500 * half)) {
                tries.push(half / 2);
                schedule.done();
            }
        }
        tries
    }

    #[test]
    fn pauses_grow_and_after_five_tries_it_is_given_up() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        // Half a second passes until a failure is noticed.
        assert_eq!(tries(&mut schedule, start, 1000), [1, 3, 8, 16, 33]);
        let later = start + Duration::from_secs(5000);
        assert!(!schedule.is_due(&failed(), later) && !schedule.is_due(&EffectState::Loading, later));
        assert_eq!(schedule.outlook(later), Some(Outlook::GivenUp));
    }

    #[test]
    fn the_first_load_is_at_once_and_one_at_a_time() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        assert_eq!(schedule.outlook(start), None);
        assert!(schedule.is_due(&EffectState::Loading, start));
        assert!(!schedule.is_due(&EffectState::Loading, start));
        assert_eq!(schedule.outlook(start), Some(Outlook::Running));
        schedule.done();
        assert!(!schedule.is_due(&failed(), start));
        let text = schedule.outlook(start + Duration::from_millis(100)).expect("a plan").to_string();
        assert_eq!(text, "it is built again in 1 s");
    }

    #[test]
    fn what_fails_once_in_a_while_is_never_given_up() {
        let (mut schedule, mut now) = (Schedule::default(), Instant::now());
        for _ in 0..50 {
            assert!(!schedule.is_due(&failed(), now));
            now += Duration::from_secs(4);
            assert!(schedule.is_due(&failed(), now), "a pause of four seconds at most");
            schedule.done();
            assert!(!schedule.is_due(&EffectState::Running, now));
            now += Duration::from_secs(146);
        }
    }
}
