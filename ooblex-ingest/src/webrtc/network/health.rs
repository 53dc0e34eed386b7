//! Which servers were silent a moment ago.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ice::IceUrl;

/// How long a silence counts.
const REMEMBER: Duration = Duration::from_secs(60);
/// Most servers.
const MAX_SERVERS: usize = 64;

/// Servers that did not answer, so that the next session does not wait for them as long. It asks them all the same.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<HashMap<IceUrl, Instant>>);

impl Health {
    pub(crate) fn silent(&self, url: &IceUrl, now: Instant) {
        let mut silent = self.lock();
        silent.retain(|_, since| now.saturating_duration_since(*since) < REMEMBER);
        if silent.len() < MAX_SERVERS {
            silent.insert(url.clone(), now);
        }
    }

    pub(crate) fn answered(&self, url: &IceUrl) {
        self.lock().remove(url);
    }

    pub(crate) fn is_silent(&self, url: &IceUrl, now: Instant) -> bool {
        self.lock().get(url).is_some_and(|since| now.saturating_duration_since(*since) < REMEMBER)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IceUrl, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_for_a_minute_or_until_an_answer() {
        let (health, now) = (Health::default(), Instant::now());
        let [a, b] = ["stun:a.example", "stun:b.example"].map(|url| url.parse::<IceUrl>().expect("url"));
        health.silent(&a, now);
        health.silent(&b, now);
        health.answered(&b);
        assert!(health.is_silent(&a, now + Duration::from_secs(59)) && !health.is_silent(&b, now));
        assert!(!health.is_silent(&a, now + Duration::from_secs(60)));
    }
}
