//! Writing checkpoints while the server runs: on change, and not more often than every few seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ooblex_core::hub::Hub;
use serde_json::{Value, json};

use super::document::Checkpoint;
use super::folder::{Claim, Folder};
use super::tally::Tally;
use super::{Begun, Session};
use crate::effect::EffectControl;

/// How often it is looked whether anything has changed.
const LOOK: Duration = Duration::from_millis(500);
/// Least time between two checkpoints: a Drive takes its time, and counts requests.
const EVERY: Duration = Duration::from_secs(2);
/// How long the last one may take when the server stops.
const LAST: Duration = Duration::from_secs(2);

/// Keeps what the server is doing.
#[derive(Debug)]
pub(crate) struct Keeper {
    folder: Option<Arc<Folder>>,
    /// Nobody else continues it while this server does.
    _claim: Option<Claim>,
    settings: BTreeMap<String, String>,
    begun: Begun,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tally: Tally,
    /// Number of the newest file.
    serial: u64,
    /// What the newest file holds, but for the time.
    written: Option<Checkpoint>,
    tried: Option<Instant>,
    failure: Option<String>,
}

impl State {
    /// Whether `now` is a time to write what is not written yet.
    fn is_due(&self, checkpoint: &Checkpoint, now: Instant) -> bool {
        self.written.as_ref() != Some(checkpoint)
            && self.tried.is_none_or(|at| now.duration_since(at) >= EVERY)
    }
}

impl Keeper {
    pub(crate) fn new(session: Session, settings: BTreeMap<String, String>) -> Self {
        let mut totals = session.claim.as_ref().map(|claim| claim.checkpoint.totals).unwrap_or_default();
        totals.resumed += u64::from(session.claim.is_some());
        let state = State { tally: Tally::from(totals), ..State::default() };
        Self {
            folder: session.folder.map(Arc::new),
            _claim: session.claim,
            settings,
            begun: session.begun,
            state: Mutex::new(state),
        }
    }

    /// What became of what an earlier server kept.
    pub(crate) fn begun(&self) -> &Begun {
        &self.begun
    }

    /// Why checkpoints are not written, although they should.
    pub(crate) fn problem(&self) -> Option<String> {
        self.state().failure.as_ref().map(|reason| format!("checkpoints: {reason}"))
    }

    /// Keeps what changes until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, effects: EffectControl, hub: Hub) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let checkpoint = self.observe(&effects, &hub);
            if self.state().is_due(&checkpoint, Instant::now()) {
                self.write(checkpoint).await;
            }
        }
    }

    /// Writes a last time, if it goes fast.
    pub(crate) async fn finish(&self, effects: &EffectControl, hub: &Hub) {
        let checkpoint = self.observe(effects, hub);
        if self.state().written.as_ref() == Some(&checkpoint) {
            return;
        }
        if tokio::time::timeout(LAST, self.write(checkpoint)).await.is_err() {
            tracing::warn!("the last checkpoint was not written in time");
        }
    }

    /// What there is now, with the time left open.
    fn observe(&self, effects: &EffectControl, hub: &Hub) -> Checkpoint {
        Checkpoint {
            saved_ms: 0,
            settings: self.settings.clone(),
            effects: effects.kept(),
            streams: hub.streams().iter().map(|stream| stream.id().to_string()).collect(),
            totals: self.state().tally.observe(hub),
        }
    }

    async fn write(&self, checkpoint: Checkpoint) {
        let Some(folder) = self.folder.clone() else { return };
        let serial = {
            let mut state = self.state();
            state.tried = Some(Instant::now());
            state.serial += 1;
            state.serial
        };
        let dated = Checkpoint { saved_ms: now_ms(), ..checkpoint.clone() };
        let task = tokio::task::spawn_blocking(move || {
            let file = dated.encode().map_err(|error| error.to_string())?;
            folder.write(serial, &file).map_err(|error| format!("cannot be written: {error}"))?;
            if serial == 1 {
                folder.tidy().map_err(|error| format!("old ones cannot be removed: {error}"))?;
            }
            Ok(())
        });
        let done: Result<(), String> = task.await.unwrap_or_else(|error| Err(error.to_string()));
        let mut state = self.state();
        match &done {
            Ok(()) => state.written = Some(checkpoint),
            Err(reason) if state.failure.as_ref() != Some(reason) => {
                tracing::warn!(%reason, "checkpoints are not kept");
            }
            Err(_) => {}
        }
        state.failure = done.err();
    }

    /// For `/status`.
    pub(crate) fn status(&self) -> Value {
        let state = self.state();
        let kind = match (&self.folder, &state.failure) {
            (None, _) => "off",
            (Some(_), Some(_)) => "failed",
            (Some(_), None) => "on",
        };
        json!({
            "state": kind,
            "reason": state.failure,
            "runtime": self.folder.as_ref().map(|folder| folder.runtime()),
            "saved_generation": state.written.as_ref().map(|written| written.effects.generation),
            "totals": state.written.as_ref().map(|written| written.totals),
            "resumed": self.begun.resumed,
            "ignored": self.begun.ignored,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_on_change_and_not_too_often() {
        let (first, other) =
            (Checkpoint::default(), Checkpoint { streams: vec!["cam".into()], ..Default::default() });
        let mut state = State::default();
        let now = Instant::now();
        assert!(state.is_due(&first, now), "the first at once");
        state.written = Some(first.clone());
        state.tried = Some(now);
        assert!(!state.is_due(&other, now + EVERY - Duration::from_millis(1)), "too early");
        assert!(state.is_due(&other, now + EVERY));
        assert!(!state.is_due(&first, now + EVERY * 100), "nothing has changed");
    }
}
