//! Bringing every stream to the effect that was chosen for it: first loads, late streams, and what failed.

use std::sync::{Arc, Weak};
use std::time::Instant;

use ooblex_core::StreamId;
use ooblex_core::hub::{Hub, Stream};
use ooblex_core::pipeline::Effect;

use super::recover::{Outlook, Schedule};
use super::{EffectControl, Selection, SwitchError, lock, prepare};

/// The tries to load or rebuild one generation of one stream's effect.
pub(super) struct Tries {
    stream: Weak<Stream>,
    generation: u64,
    schedule: Schedule,
}

impl EffectControl {
    /// What a new stream begins with. Never waits for a model: where one is needed the effect is pending, and
    /// [`look_after`](Self::look_after) loads it once the stream has begun.
    ///
    /// # Errors
    /// If it cannot be built or made ready.
    pub fn begin(&self, stream: &StreamId) -> Result<Effect, SwitchError> {
        let (registry, selection) = (&self.0.registry, self.of(stream));
        if prepare::needs_model(registry, &selection) {
            Ok(prepare::pending(registry, &selection))
        } else {
            prepare::at_once(registry, &selection)
        }
    }

    /// Looks after every stream. Called now and then by the owner.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn attend(&self, hub: &Hub, now: Instant) {
        for stream in hub.streams() {
            self.look_after(&stream, now);
        }
    }

    /// Has a stream's effect built in the background if it is loading, if it failed some time ago, or if it is older
    /// than what was chosen: a stream that begins while a switch is going on may have been built with the effect from
    /// before. Called when a stream has begun.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn look_after(&self, stream: &Arc<Stream>, now: Instant) {
        if stream.pipeline().state().is_over() {
            return;
        }
        let (selection, swap) = (self.of(stream.id()), stream.pipeline().swap());
        if swap.active().generation < selection.generation {
            swap.to(prepare::pending(&self.0.registry, &selection));
        }
        let active = swap.active();
        // A newer one is about to be noted as chosen.
        if active.generation != selection.generation {
            return;
        }
        let mut tries = lock(&self.0.tries);
        let of = tries.entry(stream.id().clone()).or_insert_with(|| Tries::of(stream, active.generation));
        if of.generation != active.generation || !of.is_for(stream) {
            *of = Tries::of(stream, active.generation);
        }
        if of.schedule.is_due(&active.state, now) {
            let (control, stream) = (self.clone(), stream.clone());
            tokio::task::spawn_blocking(move || control.mend(&stream, &selection));
        }
    }

    /// What happens next to a stream's effect that failed.
    pub(crate) fn outlook(&self, stream: &Stream, now: Instant) -> Option<String> {
        let generation = stream.pipeline().swap().active().generation;
        let tries = lock(&self.0.tries);
        let of = tries.get(stream.id()).filter(|of| of.generation == generation)?;
        of.schedule.outlook(now).as_ref().map(Outlook::to_string)
    }

    /// Builds a stream's effect and has the stream change to it, or says why that failed. Blocks.
    fn mend(&self, stream: &Arc<Stream>, selection: &Selection) {
        let swap = stream.pipeline().swap();
        let again = swap.active().failure().is_some();
        match self.made_for(stream, selection) {
            Ok(effect) => {
                if swap.to(effect) && again {
                    stream.stats().recoveries.increment();
                    tracing::info!(stream = %stream.id(), effect = %selection.chain, "effect built again");
                }
            }
            Err(error) => {
                tracing::warn!(stream = %stream.id(), %error, "effect not ready");
                swap.fail(selection.generation, error.to_string());
            }
        }
        let mut tries = lock(&self.0.tries);
        let of = tries.get_mut(stream.id());
        if let Some(of) = of.filter(|of| of.generation == selection.generation && of.is_for(stream)) {
            of.schedule.done();
        }
    }

    /// An effect that was built, warmed up and rehearsed for a live stream. Blocks.
    fn made_for(&self, stream: &Stream, selection: &Selection) -> Result<Effect, SwitchError> {
        let asked = stream.pipeline().swap().ask();
        let effect = prepare::ready(&self.0.registry, selection)?;
        prepare::rehearsed(effect, selection, stream, asked)
    }

    /// The same for several streams: for all of them, or for none.
    pub(super) fn made_for_all(
        &self,
        streams: Vec<Arc<Stream>>,
        selection: &Selection,
    ) -> Result<Vec<(Arc<Stream>, Effect)>, SwitchError> {
        // Asked first and built then, so that frames come while effects are built.
        let asked: Vec<_> = streams.iter().map(|stream| stream.pipeline().swap().ask()).collect();
        let built = streams.iter().map(|_| prepare::ready(&self.0.registry, selection));
        let built = built.collect::<Result<Vec<_>, _>>()?;
        let made = streams.into_iter().zip(built).zip(asked);
        made.map(|((stream, effect), asked)| {
            let effect = prepare::rehearsed(effect, selection, &stream, asked)?;
            Ok((stream, effect))
        })
        .collect()
    }
}

impl Tries {
    fn of(stream: &Arc<Stream>, generation: u64) -> Self {
        Self { stream: Arc::downgrade(stream), generation, schedule: Schedule::default() }
    }

    /// Whether it is that very stream, not an earlier one of the same name.
    fn is_for(&self, stream: &Arc<Stream>) -> bool {
        std::ptr::eq(self.stream.as_ptr(), Arc::as_ptr(stream))
    }
}

#[cfg(test)]
mod tests;
