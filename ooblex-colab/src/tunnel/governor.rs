//! Counts what passes the tunnel, and slows what goes out before a provider's limit is reached.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ledger::{Balance, Count, Ledger};
use super::provider::Limits;

/// What is not used in this time is not saved up.
const BURST: Duration = Duration::from_millis(250);
/// Viewers count as slowed for so long after one had to wait.
const SLOWED: Duration = Duration::from_secs(30);
/// Shortest piece of a pause.
const WAIT: Duration = Duration::from_millis(2);
/// Most bytes that are let out at a time, and fewest.
const PIECE: (f64, f64) = (16_384.0, 1_024.0);

/// The governor of one tunnel; shared by all connections through it.
#[derive(Debug)]
pub(super) struct Governor(Mutex<State>);

#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// Bytes that may go out now; below zero while those before are being paid for.
    credit: f64,
    at: Instant,
    /// When somebody last had to wait.
    waited: Option<Instant>,
}

impl Governor {
    pub(super) fn new(limits: Limits, horizon: Duration) -> Self {
        let state =
            State { ledger: Ledger::new(limits, horizon), credit: 0.0, at: Instant::now(), waited: None };
        Self(Mutex::new(state))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request.
    pub(super) fn request(&self) {
        self.lock().ledger.note(Count { requests: 1, ..Count::default() }, Instant::now());
    }

    /// Notes bytes from a viewer.
    pub(super) fn received(&self, bytes: usize) {
        self.lock().ledger.note(Count { received: bytes as u64, ..Count::default() }, Instant::now());
    }

    /// What counts towards the limits of the month, from now on.
    pub(super) fn count_from(&self, used: Count) {
        self.lock().ledger.count_from(used);
    }

    /// Most bytes to be let out at a time, so that no connection holds up the others for long.
    pub(super) fn piece(&self) -> usize {
        let pace = self.lock().ledger.pace();
        pace.map_or(PIECE.0, |pace| (pace / 20.0).clamp(PIECE.1, PIECE.0)) as usize
    }

    /// Waits until bytes may go out, and notes them.
    pub(super) async fn send(&self, bytes: usize) {
        while let Err(wait) = self.try_send(bytes, Instant::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    /// # Errors
    /// How long to wait before they may go out.
    fn try_send(&self, bytes: usize, now: Instant) -> Result<(), Duration> {
        let mut state = self.lock();
        if let Some(pace) = state.ledger.pace() {
            let earned = pace * now.saturating_duration_since(state.at).as_secs_f64();
            state.credit = (state.credit + earned).min(pace * BURST.as_secs_f64());
            state.at = now;
            if state.credit < 0.0 {
                state.waited = Some(now);
                return Err(Duration::from_secs_f64(-state.credit / pace).max(WAIT));
            }
            state.credit -= bytes as f64;
        }
        state.ledger.note(Count { sent: bytes as u64, ..Count::default() }, now);
        Ok(())
    }

    /// Whether somebody had to wait lately.
    pub(super) fn is_slowing(&self) -> bool {
        self.lock().waited.is_some_and(|at| at.elapsed() < SLOWED)
    }

    pub(super) fn limits(&self) -> Limits {
        self.lock().ledger.limits()
    }

    pub(super) fn balance(&self) -> Balance {
        self.lock().ledger.balance(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_goes_out_than_the_pace_allows() {
        let limits = Limits { bytes: Some(600_000), ..Limits::default() };
        let governor = Governor::new(limits, Duration::from_secs(60));
        let begun = governor.lock().at;
        let (mut now, mut sent, mut waits) = (begun, 0, 0);
        while now < begun + Duration::from_secs(10) {
            match governor.try_send(500, now) {
                Ok(()) => {
                    sent += 500;
                    assert!(sent <= 100_500, "{sent} after {:?}", now - begun);
                }
                Err(wait) => {
                    assert!(wait >= WAIT);
                    (now, waits) = (now + wait, waits + 1);
                }
            }
        }
        // 10 kB a second at first, and somewhat less as less is left.
        assert!(sent >= 85_000, "{sent}");
        assert!(waits > 100, "{waits}");
        assert_eq!(governor.piece(), 1024);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let governor = Governor::new(Limits::default(), Duration::from_secs(60));
        for _ in 0..1000 {
            assert_eq!(governor.try_send(1 << 20, Instant::now()), Ok(()));
        }
        assert_eq!(governor.balance().total.sent, 1000 << 20);
    }
}
