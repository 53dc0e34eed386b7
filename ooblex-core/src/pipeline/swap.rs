//! Changing a stream's processor between two frames.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::BoxError;
use crate::processor::{FailurePolicy, FrameProcessor};

/// A processor that is ready to run, with the name that users know it by.
pub struct Effect {
    /// The chain as users write it, for example `blur|edge_detection`.
    pub name: String,
    /// Number of the switch that brought it; rises with every switch.
    pub generation: u64,
    pub(super) processor: Box<dyn FrameProcessor>,
}

impl Effect {
    /// Warms the processor up. Call it off the hot path: it may block for as long as a model takes to load.
    ///
    /// # Errors
    /// What [`FrameProcessor::warm_up`] said; nothing was switched then.
    pub fn prepare(
        name: impl Into<String>,
        generation: u64,
        mut processor: Box<dyn FrameProcessor>,
    ) -> Result<Self, BoxError> {
        processor.warm_up()?;
        Ok(Self { name: name.into(), generation, processor })
    }
}

/// What is running, for status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveEffect {
    /// The chain as users write it.
    pub name: String,
    /// Number of the switch that brought it.
    pub generation: u64,
    /// Names of its steps, at least one.
    pub steps: Vec<String>,
    /// What viewers see when it fails.
    pub on_failure: FailurePolicy,
    /// Why it was discarded, if it was; its failure policy applies until the next switch.
    pub failure: Option<String>,
}

impl ActiveEffect {
    pub(super) fn of(effect: &Effect) -> Self {
        let mut steps = effect.processor.steps();
        if steps.is_empty() {
            steps.push(effect.name.clone());
        }
        Self {
            name: effect.name.clone(),
            generation: effect.generation,
            steps,
            on_failure: effect.processor.on_failure(),
            failure: None,
        }
    }
}

/// The place where a new effect waits for the gap between two frames.
#[derive(Clone)]
pub struct Swap(Arc<Inner>);

struct Inner {
    waiting: AtomicBool,
    next: Mutex<Option<Effect>>,
    active: Mutex<ActiveEffect>,
    retire: tokio::runtime::Handle,
}

impl Swap {
    pub(super) fn new(active: ActiveEffect, retire: tokio::runtime::Handle) -> Self {
        Self(Arc::new(Inner {
            waiting: AtomicBool::new(false),
            next: Mutex::default(),
            active: Mutex::new(active),
            retire,
        }))
    }

    /// Has `effect` take over before the next frame. Of several that wait at once the newest generation is taken.
    pub fn to(&self, effect: Effect) {
        let unused = {
            let mut next = lock(&self.0.next);
            match &*next {
                Some(waiting) if waiting.generation > effect.generation => Some(effect),
                _ => next.replace(effect),
            }
        };
        self.0.waiting.store(true, Ordering::Release);
        if let Some(unused) = unused {
            self.retire(unused.processor);
        }
    }

    /// What is running; an effect that still waits for a frame counts as running.
    pub fn active(&self) -> ActiveEffect {
        if let Some(waiting) = &*lock(&self.0.next) {
            return ActiveEffect::of(waiting);
        }
        lock(&self.0.active).clone()
    }

    /// For the runner: the effect that waits, if any. Costs one atomic load when there is none.
    pub(super) fn take(&self) -> Option<Effect> {
        if !self.0.waiting.swap(false, Ordering::AcqRel) {
            return None;
        }
        let mut next = lock(&self.0.next);
        let effect = next.take()?;
        *lock(&self.0.active) = ActiveEffect::of(&effect);
        Some(effect)
    }

    pub(super) fn failed(&self, reason: String) {
        lock(&self.0.active).failure = Some(reason);
    }

    /// Drops a processor away from the hot path: freeing a model can take long.
    pub(super) fn retire(&self, processor: Box<dyn FrameProcessor>) {
        self.0.retire.spawn_blocking(move || drop(processor));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
