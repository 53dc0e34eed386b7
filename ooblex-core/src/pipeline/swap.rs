//! Changing a stream's processor between two frames.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::effect::{ActiveEffect, Effect, EffectState};
use crate::clearance::{Clearance, Floor};
use crate::frame::Frame;
use crate::processor::{FailurePolicy, FrameProcessor};
use crate::queue::{QueuePolicy, QueueReceiver, QueueSender, queue};

/// The place where a new effect waits for the gap between two frames.
#[derive(Clone)]
pub struct Swap(Arc<Inner>);

struct Inner {
    /// Whether there is anything for the runner: an effect, or somebody who asked for a frame.
    news: AtomicBool,
    state: Mutex<State>,
    /// An effect waits, or could not be loaded.
    changed: Condvar,
    floor: Floor,
    retire: tokio::runtime::Handle,
}

struct State {
    next: Option<Effect>,
    active: ActiveEffect,
    asked: Vec<QueueSender<Frame>>,
}

/// A clone of the next frame that comes into a stream, on its way to whoever asked for it.
#[must_use]
pub struct Sample(QueueReceiver<Frame>);

impl Sample {
    /// The frame as it came in, if one has come or comes within `patience`. Blocks.
    pub fn wait(self, patience: Duration) -> Option<Frame> {
        self.0.recv_timeout(patience).ok().flatten()
    }
}

impl Swap {
    pub(super) fn new(active: ActiveEffect, retire: tokio::runtime::Handle) -> Self {
        let floor = Floor::default();
        if active.on_failure == FailurePolicy::Blank {
            floor.raise(active.generation);
        }
        Self(Arc::new(Inner {
            news: AtomicBool::new(false),
            state: Mutex::new(State { next: None, active, asked: Vec::new() }),
            changed: Condvar::new(),
            floor,
            retire,
        }))
    }

    /// Has `effect` take over before the next frame; false if a newer one has been chosen already. Among those of the
    /// same generation one that is ready takes the place of one that is pending, failed or was ready before.
    ///
    /// Choosing an effect whose policy is [`FailurePolicy::Blank`] withdraws the [`Clearance`] of all that earlier
    /// effects let pass, at once.
    pub fn to(&self, effect: Effect) -> bool {
        let mut state = self.lock();
        let newest = state.next.as_ref().map_or(state.active.generation, |next| next.generation);
        let late = effect.generation < newest || effect.generation == newest && effect.processor.is_none();
        let unused = if late {
            Some(effect)
        } else {
            if effect.policy == FailurePolicy::Blank {
                self.0.floor.raise(effect.generation);
            }
            state.next.replace(effect)
        };
        self.0.news.store(true, Ordering::Release);
        drop(state);
        self.0.changed.notify_all();
        if let Some(processor) = unused.and_then(|effect| effect.processor) {
            self.retire(processor);
        }
        !late
    }

    /// Says why the effect of that generation could not be loaded. Nothing changes if another one has been chosen, or
    /// if it runs.
    pub fn fail(&self, generation: u64, reason: String) {
        let mut state = self.lock();
        let State { next, active, .. } = &mut *state;
        match next {
            Some(next) if next.generation == generation && next.processor.is_none() => {
                next.failure = Some(reason);
            }
            None if active.generation == generation && active.state != EffectState::Running => {
                active.state = EffectState::Failed { reason };
            }
            _ => {}
        }
        drop(state);
        self.0.changed.notify_all();
    }

    /// What is running; an effect that still waits for a frame counts as running.
    pub fn active(&self) -> ActiveEffect {
        let state = self.lock();
        state.next.as_ref().map_or_else(|| state.active.clone(), ActiveEffect::of)
    }

    /// Asks for a clone of the next frame that comes in: for rehearsals ([`Effect::rehearse`]).
    pub fn ask(&self) -> Sample {
        let (sender, receiver) = queue(QueuePolicy::LatestWins);
        let mut state = self.lock();
        // Those who gave up before a frame came.
        state.asked.retain(|asked| !asked.is_closed());
        state.asked.push(sender);
        self.0.news.store(true, Ordering::Release);
        Sample(receiver)
    }

    /// For the runner: the effect that waits, if any; whoever asked for a frame gets a clone of this one. Costs one
    /// atomic load when there is neither.
    pub(super) fn take(&self, frame: &Frame) -> Option<Effect> {
        if !self.0.news.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.lock();
        self.0.news.store(false, Ordering::Release);
        for asked in state.asked.drain(..) {
            drop(asked.try_send(frame.clone()));
        }
        let effect = state.next.take()?;
        state.active = ActiveEffect::of(&effect);
        Some(effect)
    }

    /// For the runner: waits for the effect that is being loaded, for `patience` at most.
    pub(super) fn wait(&self, patience: Duration) {
        let loading = |s: &mut State| s.next.is_none() && s.active.state == EffectState::Loading;
        drop(self.0.changed.wait_timeout_while(self.lock(), patience, loading));
    }

    /// For the runner: the clearance of frames that the effect of that generation processes.
    pub(super) fn clearance(&self, generation: u64) -> Clearance {
        self.0.floor.clearance(generation)
    }

    /// For the runner: the processor that is running was discarded.
    pub(super) fn discarded(&self, reason: String) {
        self.lock().active.state = EffectState::Failed { reason };
    }

    /// Drops a processor away from the hot path: freeing a model can take long.
    pub(super) fn retire(&self, processor: Box<dyn FrameProcessor>) {
        self.0.retire.spawn_blocking(move || drop(processor));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
