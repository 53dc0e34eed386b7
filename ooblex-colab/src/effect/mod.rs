//! Which effect each stream has, and changing it while frames pass.

mod care;
mod json;
mod keep;
mod prepare;
mod recover;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ooblex_core::hub::{Hub, Stream};
use ooblex_core::{BoxError, Options, Registry, StreamId};
use ooblex_models::{Chain, ChainError};

use self::care::Tries;
pub(crate) use self::json::{from_json, to_json};
pub(crate) use self::keep::Kept;
use self::keep::Witness;

/// Parameters by effect name or alias.
pub type Params = BTreeMap<String, Options>;

/// What was chosen for all streams or for one: a chain with its parameters.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Selection {
    /// The effects in order.
    pub chain: Chain,
    /// Their parameters, as far as they differ from the defaults.
    pub params: Params,
    /// Number of the switch that brought it, from 1; rises with every switch of any stream.
    pub generation: u64,
}

/// Why a switch did not happen. Every stream then keeps what it had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SwitchError {
    /// The chain or its parameters are wrong.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A processor was built but could not be made ready.
    #[error("{effect} could not be made ready: {source}")]
    WarmUp {
        /// The chain.
        effect: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

/// The effects of all streams. Cheap to clone.
///
/// A switch builds, warms up and rehearses a processor for every stream first, and only then changes any of them: a
/// switch that fails changes nothing. Of switches that overlap the one that was asked for last wins on every stream,
/// however long each takes.
#[derive(Clone)]
pub struct EffectControl(Arc<Inner>);

struct Inner {
    registry: Registry,
    chosen: Mutex<Chosen>,
    tries: Mutex<BTreeMap<StreamId, Tries>>,
    witness: Witness,
}

/// What was chosen for a stream that has not begun is kept this long: a publisher's connection may take half a minute.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Most streams that something is kept for although they have not begun.
const MOST_ABSENT: usize = 256;

struct Chosen {
    everywhere: Arc<Selection>,
    by_stream: BTreeMap<StreamId, OfStream>,
    generation: u64,
}

/// What was chosen for one stream.
#[derive(Clone)]
struct OfStream {
    applied: Arc<Selection>,
    /// What was applied until it was switched off; what is applied meanwhile does nothing.
    suspended: Option<Arc<Selection>>,
    /// Until when it is kept while there is no such stream.
    until: Option<Instant>,
}

impl Chosen {
    fn of(&self, stream: &StreamId) -> &Arc<Selection> {
        self.by_stream.get(stream).map_or(&self.everywhere, |of| &of.applied)
    }
}

impl EffectControl {
    /// Begins with `effect` for every stream. A chain that needs a model is only read: the model is loaded in the
    /// background once a stream begins.
    ///
    /// # Errors
    /// If the chain is wrong, or needs no model and cannot be built.
    pub fn new(registry: Registry, effect: &str) -> Result<Self, SwitchError> {
        let chain = Chain::parse(effect, &registry)?;
        let everywhere = Arc::new(Selection { chain, params: Params::new(), generation: keep::FROM_SETTING });
        if !prepare::needs_model(&registry, &everywhere) {
            prepare::at_once(&registry, &everywhere)?;
        }
        let chosen = Chosen { everywhere, by_stream: BTreeMap::new(), generation: keep::FROM_SETTING };
        let chosen = Mutex::new(chosen);
        Ok(Self(Arc::new(Inner { registry, chosen, tries: Mutex::default(), witness: Witness::default() })))
    }

    /// The kinds there are.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// What new streams begin with.
    pub fn everywhere(&self) -> Arc<Selection> {
        self.chosen().everywhere.clone()
    }

    /// What a stream has.
    pub fn of(&self, stream: &StreamId) -> Arc<Selection> {
        self.chosen().of(stream).clone()
    }

    /// Number of the newest switch.
    pub fn newest_generation(&self) -> u64 {
        self.chosen().generation
    }

    /// Switches every live stream, and what later ones begin with. Blocks while processors are built, warmed up and
    /// rehearsed: call it on a thread that may.
    ///
    /// # Errors
    /// [`SwitchError`]; nothing was changed then.
    pub fn switch_all(&self, hub: &Hub, effect: &str, params: Params) -> Result<Arc<Selection>, SwitchError> {
        let selection = self.select(effect, params)?;
        let live: Vec<_> = hub.streams().into_iter().filter(|s| !s.pipeline().state().is_over()).collect();
        if live.is_empty() {
            // What is wrong is an error at once, not when the first stream begins.
            prepare::ready(&self.0.registry, &selection)?;
        }
        for (stream, effect) in self.made_for_all(live, &selection)? {
            stream.pipeline().swap().to(effect);
        }
        {
            let mut chosen = self.chosen();
            if chosen.everywhere.generation < selection.generation {
                chosen.everywhere = selection.clone();
            }
            chosen.by_stream.retain(|_, of| of.applied.generation > selection.generation);
        }
        // Streams that began meanwhile.
        self.attend(hub, hub.config().clock.now());
        self.tell_witness(&selection);
        tracing::debug!(effect = %selection.chain, generation = selection.generation, "effect switched");
        Ok(selection)
    }

    /// Switches one stream; it keeps the effect until the next switch of it or of all. Blocks like
    /// [`switch_all`](Self::switch_all).
    ///
    /// # Errors
    /// [`SwitchError`]; nothing was changed then.
    pub fn switch(
        &self,
        stream: &Arc<Stream>,
        effect: &str,
        params: Params,
    ) -> Result<Arc<Selection>, SwitchError> {
        let selection = self.select(effect, params)?;
        self.apply(Some(stream), stream.id(), selection.clone(), None, None)?;
        tracing::debug!(stream = %stream.id(), effect = %selection.chain, generation = selection.generation, "effect switched");
        Ok(selection)
    }

    /// Switches a stream, or chooses what it begins with if it does so within a minute. Blocks like
    /// [`switch_all`](Self::switch_all).
    ///
    /// # Errors
    /// [`SwitchError`]; nothing was changed then.
    pub fn choose(
        &self,
        hub: &Hub,
        stream: &StreamId,
        effect: &str,
        params: Params,
        now: Instant,
    ) -> Result<Arc<Selection>, SwitchError> {
        if let Some(live) = live(hub, stream) {
            return self.switch(&live, effect, params);
        }
        let selection = self.select(effect, params)?;
        self.apply(None, stream, selection.clone(), None, Some(now + KEPT_FOR))?;
        Ok(selection)
    }

    /// Switches off what was chosen for a stream, so that its frames pass as they come, or on again. Choosing another
    /// effect also ends this. Blocks like [`switch_all`](Self::switch_all).
    ///
    /// # Errors
    /// [`SwitchError`]; nothing was changed then.
    pub fn enable(
        &self,
        hub: &Hub,
        stream: &StreamId,
        enabled: bool,
        now: Instant,
    ) -> Result<Arc<Selection>, SwitchError> {
        let (before, suspended) = {
            let chosen = self.chosen();
            let of = chosen.by_stream.get(stream);
            let applied = of.map_or(&chosen.everywhere, |of| &of.applied);
            (applied.clone(), of.and_then(|of| of.suspended.clone()))
        };
        let (effect, params, keep) = match (enabled, suspended) {
            (true, Some(earlier)) => (earlier.chain.to_string(), earlier.params.clone(), None),
            (false, None) => (NOTHING.to_owned(), Params::new(), Some(before)),
            _ => return Ok(before),
        };
        let selection = self.select(&effect, params)?;
        let live = live(hub, stream);
        let until = live.is_none().then(|| now + KEPT_FOR);
        self.apply(live.as_ref(), stream, selection.clone(), keep, until)?;
        Ok(selection)
    }

    /// Whether `effect` could be chosen. Builds nothing.
    ///
    /// # Errors
    /// [`SwitchError::Chain`].
    pub fn check(&self, effect: &str) -> Result<(), SwitchError> {
        Ok(Chain::parse(effect, &self.0.registry).map(drop)?)
    }

    /// Forgets what was chosen for streams that are no longer listed, and that have not begun in time.
    pub fn forget_absent(&self, hub: &Hub, now: Instant) {
        self.chosen().by_stream.retain(|stream, of| {
            let listed = hub.get(stream).is_some();
            // Once it has begun, what was chosen for it goes with it.
            of.until = of.until.filter(|_| !listed);
            listed || of.until.is_some_and(|until| until > now)
        });
        lock(&self.0.tries).retain(|stream, _| hub.get(stream).is_some());
    }

    /// Has a live stream change to what was selected for it, or checks it for one that has not begun, and notes it.
    fn apply(
        &self,
        live: Option<&Arc<Stream>>,
        stream: &StreamId,
        selection: Arc<Selection>,
        suspended: Option<Arc<Selection>>,
        until: Option<Instant>,
    ) -> Result<(), SwitchError> {
        match live {
            None => prepare::check(&self.0.registry, &selection)?,
            Some(live) => {
                for (stream, effect) in self.made_for_all(vec![live.clone()], &selection)? {
                    stream.pipeline().swap().to(effect);
                }
            }
        }
        let mut chosen = self.chosen();
        if chosen.of(stream).generation > selection.generation {
            return Ok(());
        }
        let absent = chosen.by_stream.iter().filter_map(|(id, of)| Some((of.until?, id)));
        if until.is_some() && absent.clone().count() >= MOST_ABSENT {
            let oldest = absent.min().map(|(_, id)| id.clone());
            oldest.map(|id| chosen.by_stream.remove(&id));
        }
        let of = OfStream { applied: selection.clone(), suspended, until };
        chosen.by_stream.insert(stream.clone(), of);
        drop(chosen);
        self.tell_witness(&selection);
        Ok(())
    }

    fn select(&self, effect: &str, params: Params) -> Result<Arc<Selection>, SwitchError> {
        let chain = Chain::parse(effect, &self.0.registry)?;
        let mut chosen = self.chosen();
        chosen.generation += 1;
        Ok(Arc::new(Selection { chain, params, generation: chosen.generation }))
    }

    fn chosen(&self) -> MutexGuard<'_, Chosen> {
        lock(&self.0.chosen)
    }
}

/// The effect that changes nothing.
const NOTHING: &str = "none";

/// The stream, if it has begun and not ended.
fn live(hub: &Hub, stream: &StreamId) -> Option<Arc<Stream>> {
    hub.get(stream).filter(|s| !s.pipeline().state().is_over())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
