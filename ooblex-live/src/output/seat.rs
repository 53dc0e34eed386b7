//! What waits for one viewer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ooblex_core::Counter;
use tokio::sync::Notify;

use super::{LiveCounters, Unit};

/// One viewer's place at an encoder: a short queue that always begins with what the viewer can decode.
pub(super) struct Seat {
    state: Mutex<State>,
    changed: Notify,
    pub(super) skipped: Counter,
    counters: Arc<LiveCounters>,
}

struct State {
    units: VecDeque<Arc<Unit>>,
    /// Nothing can be decoded before the next key frame.
    needs_key: bool,
    end: Option<Option<String>>,
}

/// What came of offering a unit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered {
    Taken,
    /// The viewer can only go on with a key frame.
    NeedsKey,
}

/// What a viewer finds.
#[derive(Debug)]
pub(super) enum Found {
    Unit(Arc<Unit>),
    Nothing,
    /// What waited may not be shown any more.
    NeedsKey,
    End,
}

impl Seat {
    pub(super) fn new(counters: Arc<LiveCounters>) -> Self {
        let state = State { units: VecDeque::new(), needs_key: true, end: None };
        Self { state: Mutex::new(state), changed: Notify::new(), skipped: Counter::default(), counters }
    }

    /// Puts `unit` last, unless the viewer could not decode it; `most` may wait.
    pub(super) fn offer(&self, unit: &Arc<Unit>, most: usize) -> Offered {
        let mut state = self.lock();
        if unit.is_key {
            // Whoever has not got what came before goes on from here.
            self.skip(state.units.len());
            state.units.clear();
            state.needs_key = false;
        } else if state.needs_key {
            self.skip(1);
            return Offered::NeedsKey;
        } else if state.units.len() >= most {
            self.skip(state.units.len() + 1);
            state.units.clear();
            state.needs_key = true;
            return Offered::NeedsKey;
        }
        state.units.push_back(unit.clone());
        drop(state);
        self.changed.notify_one();
        Offered::Taken
    }

    pub(super) fn take(&self) -> Found {
        let mut state = self.lock();
        match state.units.pop_front() {
            Some(unit) if unit.clearance.holds() => Found::Unit(unit),
            Some(_) => {
                self.skip(state.units.len() + 1);
                state.units.clear();
                state.needs_key = true;
                Found::NeedsKey
            }
            None if state.end.is_some() => Found::End,
            None => Found::Nothing,
        }
    }

    /// Leaves out what waits: the viewer goes on with the next key frame.
    pub(super) fn skip_to_key(&self) {
        let mut state = self.lock();
        self.skip(state.units.len());
        state.units.clear();
        state.needs_key = true;
    }

    /// Waits until there may be something new.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Nothing more comes, because the stream has ended, or why else.
    pub(super) fn end(&self, failure: Option<String>) {
        self.lock().end.get_or_insert(failure);
        self.changed.notify_one();
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.lock().end.clone().flatten()
    }

    fn skip(&self, count: usize) {
        self.skipped.add(count as u64);
        self.counters.skipped.add(count as u64);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
