//! One model of the program: what is known about it, and what became of it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use super::card::ModelCard;
use super::circuit::Circuit;
use super::error::ModelError;
use super::gone::Gone;
use super::lock;
use super::runner::Loaded;

/// More threads of one model than this are never left stuck.
const MOST_STUCK: usize = 3;

/// One model.
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    pub(super) card: ModelCard,
    users: AtomicUsize,
    /// Number of its last use among all uses of all models.
    last_use: AtomicU64,
    state: Mutex<State>,
    /// Held while loading, so that it is done once.
    pub(super) loading: Mutex<()>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) loaded: Option<Arc<Loaded>>,
    pub(super) is_loading: bool,
    pub(super) is_pinned: bool,
    /// Why loading failed the last time.
    pub(super) failure: Option<ModelError>,
    pub(super) circuit: Circuit,
    /// Threads that were given up.
    pub(super) stuck: Vec<Stuck>,
    /// What it held the last time.
    pub(super) known_bytes: Option<u64>,
    /// Counts of what is not in memory any more.
    pub(super) past: Counts,
}

/// What a model did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) batches: u64,
    pub(super) items: u64,
    pub(super) expired: u64,
    pub(super) lost: u64,
}

/// A thread that was given up, and may still hold memory.
#[derive(Clone, Debug)]
pub(super) struct Stuck {
    pub(super) gone: Gone,
    pub(super) bytes: u64,
    pub(super) on_device: bool,
}

impl State {
    /// Whether it is in memory, and its thread has not given up.
    pub(super) fn is_usable(&self) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| loaded.failure().is_none())
    }

    /// Threads that are still stuck.
    pub(super) fn stuck(&self) -> impl Iterator<Item = &Stuck> {
        self.stuck.iter().filter(|stuck| !stuck.gone.is_gone())
    }

    /// Forgets what is in memory.
    pub(super) fn take(&mut self) -> Option<Arc<Loaded>> {
        let loaded = self.loaded.take()?;
        let stats = loaded.stats();
        self.past.batches += stats.batches.get();
        self.past.items += stats.items.get();
        self.past.expired += stats.expired.get();
        self.known_bytes = Some(loaded.memory_bytes());
        Some(loaded)
    }

    /// Keeps an eye on a thread that does not let go.
    pub(super) fn watch(&mut self, stuck: Stuck) {
        self.stuck.retain(|stuck| !stuck.gone.is_gone());
        if !stuck.gone.is_gone() {
            self.stuck.push(stuck);
        }
    }

    /// Bytes that it holds: on the device, or else on the CPU.
    pub(super) fn holds(&self, on_device: bool) -> u64 {
        let loaded = self.loaded.iter().filter(|l| l.is_on_device() == on_device).map(|l| l.memory_bytes());
        let stuck = self.stuck().filter(|s| s.on_device == on_device).map(|s| s.bytes);
        loaded.chain(stuck).sum()
    }
}

impl Entry {
    pub(super) fn new(card: ModelCard) -> Arc<Self> {
        Arc::new(Self {
            name: card.name.as_ref().into(),
            card,
            users: AtomicUsize::new(0),
            last_use: AtomicU64::new(0),
            state: Mutex::default(),
            loading: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Handles of it.
    pub(super) fn users(&self) -> usize {
        self.users.load(Ordering::SeqCst)
    }

    pub(super) fn add_user(&self) {
        self.users.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn remove_user(&self) {
        self.users.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn used(&self, number: u64) {
        self.last_use.store(number, Ordering::Relaxed);
    }

    pub(super) fn last_use(&self) -> u64 {
        self.last_use.load(Ordering::Relaxed)
    }

    /// The model, if it is in memory and usable.
    pub(super) fn usable(&self) -> Option<Arc<Loaded>> {
        self.state().loaded.clone().filter(|loaded| loaded.failure().is_none())
    }

    /// Whether nobody would miss it: it is in memory without a user, and not pinned.
    pub(super) fn is_idle(&self, state: &State) -> bool {
        state.loaded.is_some() && !state.is_pinned && self.users() == 0
    }

    /// Whether it may be loaded now, after what happened to it.
    pub(super) fn may_load(&self, now: Instant) -> Result<(), ModelError> {
        let state = self.state();
        let model = || self.name.to_string();
        let stuck = state.stuck().count();
        if stuck >= MOST_STUCK {
            let reason =
                format!("{stuck} threads are stuck in it; it is loaded again when one of them returns");
            return Err(ModelError::Ended { model: model(), reason });
        }
        state.circuit.check(now).map_err(|open| ModelError::Resting {
            model: model(),
            reason: open.reason.to_owned(),
            retry_in: open.retry_in,
        })
    }
}
