//! Writing checkpoints while the server runs: on change, not more often than every few seconds, and at once what protects
//! somebody.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ooblex_core::hub::Hub;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::document::Checkpoint;
use super::folder::{Claim, Folder};
use super::tally::Tally;
use super::usage::{Month, Usage};
use super::{Begun, Session};
use crate::effect::EffectControl;
use crate::tunnel::TunnelHub;

/// How often it is looked whether anything has changed.
const LOOK: Duration = Duration::from_millis(500);
/// Least time between two checkpoints: a Drive takes its time, and counts requests.
const EVERY: Duration = Duration::from_secs(2);
/// Most time between two: also of a server that nobody uses it can be seen until when it ran.
const BEAT: Duration = Duration::from_secs(30);
/// How long a choice that protects somebody waits for being kept before it is answered.
const AT_ONCE: Duration = Duration::from_secs(2);
/// A folder that takes longer is said to be stuck.
const STUCK: Duration = Duration::from_secs(20);
/// How long the last one may take when the server stops.
const LAST: Duration = Duration::from_secs(2);

/// Keeps what the server is doing.
#[derive(Debug)]
pub(crate) struct Keeper {
    store: Option<Arc<Store>>,
    /// Nobody else continues it while this server does.
    _claim: Option<Claim>,
    settings: BTreeMap<String, String>,
    begun: Begun,
    state: Mutex<State>,
    /// Wakes who writes.
    urgent: Notify,
    /// Wakes who waits for it.
    tried: Condvar,
}

/// The folder; where it could not be used, that is tried again with each checkpoint. Held while one is written.
#[derive(Debug)]
struct Store {
    path: PathBuf,
    folder: Mutex<Option<Folder>>,
}

#[derive(Debug, Default)]
struct State {
    tally: Tally,
    usage: Usage,
    /// The time in the newest file, which rises although clocks may be set back.
    saved_ms: u64,
    /// What the newest file holds, but for the time.
    written: Option<Checkpoint>,
    tried: Option<Instant>,
    failure: Option<String>,
    /// Name of this server in the folder.
    runtime: Option<String>,
    /// How often one was wanted at once, and up to which of these it was tried.
    wanted: u64,
    answered: u64,
}

impl State {
    /// Whether `now` is a time to write what is not written yet.
    fn is_due(&self, checkpoint: &Checkpoint, now: Instant) -> bool {
        let Some(ago) = self.tried.map(|at| now.duration_since(at)) else { return true };
        let changed = self.written.as_ref() != Some(checkpoint);
        self.wanted > self.answered || (changed && ago >= EVERY) || ago >= BEAT
    }

    /// The time to write into the next file.
    fn stamp(&mut self, now_ms: u64) -> u64 {
        self.saved_ms = now_ms.max(self.saved_ms + 1);
        self.saved_ms
    }

    fn failed(&mut self, reason: String) {
        if self.failure.as_ref() != Some(&reason) {
            tracing::warn!(%reason, "checkpoints are not kept");
        }
        self.failure = Some(reason);
    }
}

impl Store {
    /// Writes a file and gives the name of this server there. Blocks.
    fn write(&self, checkpoint: &Checkpoint) -> Result<String, String> {
        let file = checkpoint.encode().map_err(|error| error.to_string())?;
        let mut held = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match held.take() {
            Some(folder) => Ok(folder),
            None => Folder::open(&self.path),
        }
        .and_then(|folder| held.insert(folder).write(&file));
        let name = held.as_ref().map(|folder| folder.runtime().to_owned()).unwrap_or_default();
        written.map(|()| name).map_err(|error| {
            format!(
                "they cannot be written: {error}; make room there, or name another folder by --checkpoint-dir"
            )
        })
    }
}

impl Keeper {
    pub(crate) fn new(session: Session, settings: BTreeMap<String, String>) -> Self {
        let resumed = session.claim.as_ref().map(|claim| &claim.checkpoint);
        let mut totals = resumed.map(|checkpoint| checkpoint.totals).unwrap_or_default();
        totals.resumed += u64::from(resumed.is_some());
        let state = State {
            tally: Tally::from(totals),
            usage: session.usage,
            saved_ms: resumed.map(|checkpoint| checkpoint.saved_ms).unwrap_or_default(),
            failure: session.failure,
            ..State::default()
        };
        Self {
            store: session.path.map(|path| Arc::new(Store { path, folder: Mutex::new(session.folder) })),
            _claim: session.claim,
            settings,
            begun: session.begun,
            state: Mutex::new(state),
            urgent: Notify::new(),
            tried: Condvar::new(),
        }
    }

    /// What became of what an earlier server kept.
    pub(crate) fn begun(&self) -> &Begun {
        &self.begun
    }

    /// Has a tunnel count from what servers before this one have used of the month.
    pub(crate) fn recall(&self, tunnel: &TunnelHub) {
        self.state().usage.recall(tunnel, Month::of(SystemTime::now()));
    }

    /// Why checkpoints are not written, although they should.
    pub(crate) fn problem(&self) -> Option<String> {
        self.state().failure.as_ref().map(|reason| format!("checkpoints: {reason}"))
    }

    /// Keeps what changes until it is dropped; ends at once where nothing is to be kept.
    pub(crate) async fn run(self: Arc<Self>, effects: EffectControl, hub: Hub, tunnel: TunnelHub) {
        if self.store.is_none() {
            return;
        }
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.urgent.notified() => {}
            }
            // What was wanted before it is looked is in what is seen.
            let wanted = self.state().wanted;
            let checkpoint = self.observe(&effects, &hub, &tunnel);
            if self.state().is_due(&checkpoint, Instant::now()) {
                self.write(checkpoint, wanted).await;
            }
        }
    }

    /// Has what there is now written, and waits for it, two seconds at most. Blocks; needs [`run`](Self::run) to run.
    pub(crate) fn at_once(&self) {
        if self.store.is_none() {
            return;
        }
        let mut state = self.state();
        state.wanted += 1;
        let mine = state.wanted;
        self.urgent.notify_one();
        let waiting = |state: &mut State| state.answered < mine;
        let waited = self.tried.wait_timeout_while(state, AT_ONCE, waiting);
        if waited.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            tracing::warn!(
                "a choice that protects somebody applies, but is not in a checkpoint yet: the folder is slow"
            );
        }
    }

    /// Writes a last time, if it goes fast.
    pub(crate) async fn finish(&self, effects: &EffectControl, hub: &Hub, tunnel: &TunnelHub) {
        if self.store.is_none() {
            return;
        }
        let wanted = self.state().wanted;
        let checkpoint = self.observe(effects, hub, tunnel);
        if self.state().written.as_ref() == Some(&checkpoint) {
            return;
        }
        if tokio::time::timeout(LAST, self.write(checkpoint, wanted)).await.is_err() {
            tracing::warn!("the last checkpoint was not written in time");
        }
    }

    /// What there is now, with the time left open.
    fn observe(&self, effects: &EffectControl, hub: &Hub, tunnel: &TunnelHub) -> Checkpoint {
        // One after the other: in one expression the first lock would be held while the second one is asked for.
        let totals = self.state().tally.observe(hub);
        let tunnels = self.state().usage.observe(tunnel, Month::of(SystemTime::now()));
        Checkpoint {
            saved_ms: 0,
            settings: self.settings.clone(),
            effects: effects.kept(),
            streams: hub.streams().iter().map(|stream| stream.id().to_string()).collect(),
            totals,
            tunnels,
        }
    }

    async fn write(&self, checkpoint: Checkpoint, wanted: u64) {
        let Some(store) = self.store.clone() else { return };
        let saved_ms = {
            let mut state = self.state();
            state.tried = Some(Instant::now());
            state.stamp(now_ms())
        };
        let dated = Checkpoint { saved_ms, ..checkpoint.clone() };
        let mut task = tokio::task::spawn_blocking(move || store.write(&dated));
        // Of a folder that is stuck no second thread is to wait for it.
        let done = match tokio::time::timeout(STUCK, &mut task).await {
            Ok(done) => done,
            Err(_) => {
                self.state().failed(format!("the folder has not answered for {} seconds", STUCK.as_secs()));
                task.await
            }
        };
        let mut state = self.state();
        match done.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(runtime) => {
                if state.failure.take().is_some() {
                    tracing::info!("checkpoints are kept again");
                }
                (state.written, state.runtime) = (Some(checkpoint), Some(runtime));
            }
            Err(reason) => state.failed(reason),
        }
        state.answered = wanted;
        self.tried.notify_all();
    }

    /// For `/status`.
    pub(crate) fn status(&self) -> Value {
        let state = self.state();
        let kind = match (&self.store, &state.failure) {
            (_, Some(_)) => "failed",
            (None, None) => "off",
            (Some(_), None) => "on",
        };
        json!({
            "state": kind,
            "reason": state.failure,
            "runtime": state.runtime,
            "saved_generation": state.written.as_ref().map(|written| written.effects.newest()),
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
        assert!(!state.is_due(&first, now + BEAT - Duration::from_millis(1)), "nothing has changed");
        assert!(state.is_due(&first, now + BEAT), "a sign of life");
        state.wanted += 1;
        assert!(state.is_due(&first, now), "what protects somebody does not wait");
        state.answered = state.wanted;
        assert!(!state.is_due(&other, now));
    }

    #[test]
    fn times_rise_also_where_the_clock_is_set_back() {
        let mut state = State { saved_ms: 1000, ..State::default() };
        assert_eq!([5000, 400, 400, 6000].map(|now| state.stamp(now)), [5000, 5001, 5002, 6000]);
    }
}
