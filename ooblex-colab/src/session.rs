//! How long a hosted session may still last. The operator says so: no provider tells, and none is asked to wait.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::announce::{Announcement, Announcer};

/// Minutes left at which it is said.
const WARN_AT: [u64; 4] = [30, 10, 2, 0];
const MINUTE: Duration = Duration::from_secs(60);

/// Counts from the start of the server to the limit that the operator has set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTimer {
    started: Instant,
    /// In minutes.
    limit: Option<u64>,
}

impl SessionTimer {
    pub(crate) fn new(started: Instant, limit_minutes: Option<u64>) -> Self {
        Self { started, limit: limit_minutes }
    }

    /// Whole minutes left, rounded up.
    fn minutes_left(&self, now: Instant) -> Option<u64> {
        let left = (MINUTE * self.limit?.try_into().ok()?).saturating_sub(now.duration_since(self.started));
        Some(left.as_secs_f64().ceil() as u64).map(|seconds| seconds.div_ceil(60))
    }

    /// When it is said, and what is left then.
    fn warnings(&self) -> impl Iterator<Item = (Instant, u64)> + use<> {
        let (limit, started) = (self.limit, self.started);
        let due = WARN_AT.into_iter().filter_map(move |left| Some((limit?.checked_sub(left)?, left)));
        due.map(move |(after, left)| (started + Duration::from_secs(after * 60), left))
    }

    /// What is said when so many minutes are left.
    fn sentence(left: u64) -> String {
        match left {
            0 => "The session has reached its limit; the machine may be taken away at any moment.".into(),
            1 => "About one minute of the session is left; then the machine may be taken away.".into(),
            left => {
                format!("About {left} minutes of the session are left; then the machine may be taken away.")
            }
        }
    }

    /// For `/status`.
    pub(crate) fn status(&self, now: Instant) -> Value {
        let left = self.minutes_left(now);
        let warning = left.filter(|left| *left <= WARN_AT[0]).map(Self::sentence);
        json!({"limit_minutes": self.limit, "minutes_left": left, "warning": warning})
    }

    /// Says it in the log and on standard output when the time comes; ends after the last time.
    pub(crate) async fn warn(self, announcer: Announcer) {
        for (at, minutes_left) in self.warnings() {
            tokio::time::sleep_until(at.into()).await;
            let sentence = Self::sentence(minutes_left);
            tracing::warn!(minutes_left, "{sentence}");
            announcer.tell(&Announcement::Session { minutes_left, warning: sentence });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_warns_in_time_and_says_what_is_left() {
        let start = Instant::now();
        let minutes = |timer: SessionTimer| -> Vec<(u64, u64)> {
            timer.warnings().map(|(at, left)| (at.duration_since(start).as_secs() / 60, left)).collect()
        };
        assert_eq!(minutes(SessionTimer::new(start, Some(90))), [(60, 30), (80, 10), (88, 2), (90, 0)]);
        assert_eq!(minutes(SessionTimer::new(start, Some(10))), [(0, 10), (8, 2), (10, 0)]);
        assert_eq!(minutes(SessionTimer::new(start, None)), []);
    }

    #[test]
    fn the_status_counts_down_and_stops_at_nothing() {
        let start = Instant::now();
        let timer = SessionTimer::new(start, Some(90));
        let at = |seconds| timer.status(start + Duration::from_secs(seconds));
        assert_eq!((&at(0)["minutes_left"], &at(0)["warning"]), (&json!(90), &json!(null)));
        assert_eq!(at(59 * 60 + 59)["minutes_left"], 31);
        assert_eq!(at(60 * 60)["minutes_left"], 30);
        assert!(at(60 * 60)["warning"].as_str().is_some_and(|w| w.starts_with("About 30 minutes")));
        assert_eq!((&at(99_999)["minutes_left"], &at(99_999)["limit_minutes"]), (&json!(0), &json!(90)));
        let last = at(89 * 60 + 1)["warning"].to_string();
        assert!(last.contains("About one minute"), "{last}");
        let none = SessionTimer::new(start, None).status(start);
        assert_eq!(none, json!({"limit_minutes": null, "minutes_left": null, "warning": null}));
    }
}
