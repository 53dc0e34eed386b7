//! What was chosen, to be kept over the end of the process, and taken up again.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ooblex_core::{FailurePolicy, Options, StreamId};
use ooblex_models::Chain;
use serde::{Deserialize, Serialize};

use super::{EffectControl, OfStream, Params, Selection, SwitchError, from_json, prepare, to_json};

/// How long what was chosen for a stream waits for it to come back: as long as sessions of hosted notebooks last.
const AWAITED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Who is told when something was chosen that protects somebody, before the one who chose it hears that it was done.
#[derive(Default)]
pub(super) struct Witness(OnceLock<Box<dyn Fn() + Send + Sync>>);

/// All that was chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Number of the newest switch.
    pub(crate) generation: u64,
    /// For all streams; `None` while nobody has chosen anything, and the setting applies.
    pub(crate) everywhere: Option<Choice>,
    /// For single streams.
    pub(crate) by_stream: BTreeMap<String, ChoiceOfStream>,
}

/// A chain with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Choice {
    pub(crate) effect: String,
    params: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    pub(crate) generation: u64,
}

/// What was chosen for one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChoiceOfStream {
    pub(crate) applied: Choice,
    /// What was switched off, and can be switched on again.
    suspended: Option<Choice>,
}

impl Kept {
    /// Number of the newest choice in it; 0 if there is none.
    pub(crate) fn newest(&self) -> u64 {
        let of_streams = self.by_stream.values().map(|of| of.applied.generation);
        self.everywhere.iter().map(|choice| choice.generation).chain(of_streams).max().unwrap_or_default()
    }
}

impl Choice {
    fn of(selection: &Selection) -> Self {
        let values = |options: &Options| options.iter().map(|(n, v)| (n.to_owned(), to_json(v))).collect();
        Self {
            effect: selection.chain.to_string(),
            params: selection.params.iter().map(|(effect, o)| (effect.clone(), values(o))).collect(),
            generation: selection.generation,
        }
    }

    fn params(&self) -> Params {
        let options = |values: &BTreeMap<String, serde_json::Value>| {
            let mut options = Options::new();
            for (name, value) in values.iter().filter_map(|(n, v)| Some((n, from_json(v)?))) {
                options.set(name, value);
            }
            options
        };
        self.params.iter().map(|(effect, values)| (effect.clone(), options(values))).collect()
    }
}

impl EffectControl {
    /// Has `act` called after each choice that protects somebody, on the thread that chose, which waits for it. Only the
    /// first one is heeded.
    pub(crate) fn on_protection(&self, act: impl Fn() + Send + Sync + 'static) {
        let _ = self.0.witness.0.set(Box::new(act));
    }

    pub(super) fn tell_witness(&self, selection: &Selection) {
        if prepare::policy(&self.0.registry, selection) == FailurePolicy::Blank
            && let Some(act) = self.0.witness.0.get()
        {
            act();
        }
    }

    /// What was chosen so far.
    pub(crate) fn kept(&self) -> Kept {
        let chosen = self.chosen();
        let of = |of: &OfStream| ChoiceOfStream {
            applied: Choice::of(&of.applied),
            suspended: of.suspended.as_deref().map(Choice::of),
        };
        Kept {
            generation: chosen.generation,
            everywhere: Some(Choice::of(&chosen.everywhere))
                .filter(|choice| choice.generation > FROM_SETTING),
            by_stream: chosen.by_stream.iter().map(|(id, o)| (id.to_string(), of(o))).collect(),
        }
    }

    /// Takes up what was kept, before any stream begins. What was chosen for single streams waits a day for them.
    ///
    /// # Errors
    /// If any of it is not to be had any more, an effect that protects somebody perhaps. Nothing was changed then.
    pub(crate) fn restore(&self, kept: &Kept, now: Instant) -> Result<(), SwitchError> {
        let everywhere = kept.everywhere.as_ref().map(|choice| self.read(choice)).transpose()?;
        let mut by_stream = BTreeMap::new();
        for (name, of) in &kept.by_stream {
            // Invariant: names are those of streams; others are in no file with a good digest.
            let Ok(id) = StreamId::new(name) else { continue };
            let suspended = of.suspended.as_ref().map(|choice| self.read(choice)).transpose()?;
            let (applied, until) = (self.read(&of.applied)?, Some(now + AWAITED_FOR));
            by_stream.insert(id, OfStream { applied, suspended, until });
        }
        let mut chosen = self.chosen();
        chosen.generation = chosen.generation.max(kept.generation);
        if let Some(everywhere) = everywhere {
            chosen.everywhere = everywhere;
        }
        chosen.by_stream.extend(by_stream);
        Ok(())
    }

    fn read(&self, choice: &Choice) -> Result<Arc<Selection>, SwitchError> {
        let chain = Chain::parse(&choice.effect, &self.0.registry)?;
        let selection = Selection { chain, params: choice.params(), generation: choice.generation };
        prepare::check(&self.0.registry, &selection)?;
        Ok(Arc::new(selection))
    }
}

/// Generation of what the setting says, which nobody has chosen.
pub(super) const FROM_SETTING: u64 = 1;
