//! Session checkpoints: what a server was doing, kept in a folder, so that another one can go on after the machine was
//! taken away. `docs/CHECKPOINTS.md` is about using them.

mod document;
mod folder;
mod keeper;
pub(crate) mod place;
mod tally;
mod usage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use self::document::Checkpoint;
use self::folder::{Claim, Folder, newest, usage_of_all};
pub(crate) use self::keeper::Keeper;
use self::usage::Usage;
use crate::config::Config;

/// The effect to begin with.
const MODEL_NAME: &str = "model_name";
/// Settings that go along. They say how pictures look and pass; those of the machine, its paths, addresses, limits and
/// accelerators, belong to the machine, and secrets to nobody.
const KEPT: [&str; 6] =
    [MODEL_NAME, "target_fps", "sample_every", "stream_idle_timeout", "jpeg_quality", "live_budget_ms"];

/// The folder of this server's checkpoints, and what it continues.
#[derive(Debug, Default)]
pub(crate) struct Session {
    path: Option<PathBuf>,
    folder: Option<Folder>,
    claim: Option<Claim>,
    /// What servers before this one have used of their tunnels.
    usage: Usage,
    begun: Begun,
    /// Why the folder cannot be used.
    failure: Option<String>,
}

/// What became of what an earlier server kept.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Begun {
    /// What is continued; `None` if this server begins anew.
    pub(crate) resumed: Option<Resumed>,
    /// Why nothing is continued although it was asked for, and which files were left alone, with reasons.
    pub(crate) ignored: Vec<String>,
}

/// What is continued.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Resumed {
    /// The file's name.
    pub(crate) file: String,
    /// When it was written, in milliseconds since 1970.
    saved_ms: u64,
    /// The effect of all streams; `None` if nobody had chosen one, and the setting applies.
    effect: Option<String>,
    /// Streams with an effect of their own, which they get when they come back.
    stream_effects: BTreeMap<String, String>,
    /// Streams that there were.
    streams: Vec<String>,
    /// Number of the newest choice.
    generation: u64,
    /// Settings that were taken over.
    settings: BTreeMap<String, String>,
}

impl Resumed {
    fn from(claim: &Claim) -> Self {
        let Checkpoint { saved_ms, effects, streams, .. } = &claim.checkpoint;
        let of = effects.by_stream.iter().map(|(name, of)| (name.clone(), of.applied.effect.clone()));
        Self {
            file: claim.file.clone(),
            saved_ms: *saved_ms,
            effect: effects.everywhere.as_ref().map(|choice| choice.effect.clone()),
            stream_effects: of.collect(),
            streams: streams.clone(),
            generation: effects.newest(),
            settings: BTreeMap::new(),
        }
    }

    /// Whether the effect to begin with is that of the checkpoint.
    pub(crate) fn sets_effect(&self) -> bool {
        self.settings.contains_key(MODEL_NAME)
    }

    /// A sentence for people.
    pub(crate) fn sentence(&self) -> String {
        let effect = self.effect.as_deref().or(self.settings.get(MODEL_NAME).map(String::as_str));
        let effect = effect.unwrap_or("the effect of the setting model_name");
        let mut text = format!("{effect} for all streams");
        for (stream, effect) in &self.stream_effects {
            text.push_str(&format!(", {effect} for {stream}"));
        }
        for (name, value) in self.settings.iter().filter(|(name, _)| *name != MODEL_NAME) {
            text.push_str(&format!(", {name} {value}"));
        }
        format!("{text}; from {}", self.file)
    }
}

impl Session {
    /// Opens the folder, and finds what is to be continued. A folder that cannot be used is said, and tried again later.
    /// Blocks.
    ///
    /// # Errors
    /// If something is to be continued, and there is no folder, or it cannot be read.
    pub(crate) fn begin(config: &Config) -> Result<Self, String> {
        const FIX: &str = "name one that can be used by --checkpoint-dir FOLDER, or start without --resume";
        let Some(path) = place::of_checkpoints(config) else {
            return match config.resume {
                true => Err(format!("resume: there is no folder of checkpoints; {FIX}")),
                false => Ok(Self::default()),
            };
        };
        let opened = Folder::open(&path);
        let (claim, mut ignored) = match config.resume {
            true => newest(&path).map_err(|error| {
                format!("resume: the folder {} cannot be read: {error}; {FIX}", path.display())
            })?,
            false => (None, Vec::new()),
        };
        for reason in &ignored {
            tracing::warn!(%reason, "a checkpoint was left alone");
        }
        if config.resume && claim.is_none() {
            ignored.push("there was no checkpoint to resume from; everything begins anew".into());
        }
        let resumed = claim.as_ref().map(Resumed::from);
        let (folder, failure) = match opened {
            Ok(folder) => (Some(folder), None),
            Err(error) => {
                tracing::warn!(folder = %path.display(), %error, "checkpoints are not kept");
                (
                    None,
                    Some(format!("their folder cannot be used: {error}; name another by --checkpoint-dir")),
                )
            }
        };
        // Also of a server that begins anew: its provider does not.
        let usage = usage_of_all(&path).unwrap_or_else(|error| {
            tracing::warn!(folder = %path.display(), %error, "what tunnels have used of this month is not known");
            Usage::default()
        });
        Ok(Self { path: Some(path), folder, claim, usage, begun: Begun { resumed, ignored }, failure })
    }

    /// What is continued.
    pub(crate) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.claim.as_ref().map(|claim| &claim.checkpoint)
    }

    /// What is continued, for people.
    pub(crate) fn resumed(&self) -> Option<&Resumed> {
        self.begun.resumed.as_ref()
    }

    /// Takes over the settings that were kept, as far as `is_open` says that nobody has given them now.
    pub(crate) fn take_settings(&mut self, config: &mut Config, is_open: impl Fn(&str) -> bool) {
        let (Some(claim), Some(resumed)) = (&self.claim, &mut self.begun.resumed) else { return };
        for (name, value) in &claim.checkpoint.settings {
            if !KEPT.contains(&name.as_str()) || !is_open(name) {
                continue;
            }
            match config.set(name, value) {
                Ok(()) => drop(resumed.settings.insert(name.clone(), value.clone())),
                Err(reason) => {
                    self.begun.ignored.push(format!("{name} = {value} of the checkpoint: {reason}"))
                }
            }
        }
    }
}

/// The settings that go along, as far as they differ from the defaults.
pub(crate) fn kept_settings(config: &Config) -> BTreeMap<String, String> {
    let defaults: BTreeMap<_, _> = Config::default().values().into_iter().collect();
    let differ = config.values().into_iter().filter(|(name, value)| defaults.get(name) != Some(value));
    let kept = differ.filter(|(name, _)| KEPT.contains(name));
    let text = |name, value| if name == MODEL_NAME { config.model_name.clone() } else { value };
    kept.filter_map(|(name, value)| Some((name.to_owned(), text(name, value?)))).collect()
}

#[cfg(test)]
mod tests;
