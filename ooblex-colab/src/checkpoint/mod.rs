//! Session checkpoints: what a server was doing, kept in a folder, so that another one can go on after the machine was
//! taken away. `docs/CHECKPOINTS.md` is about using them.

mod document;
mod folder;
mod keeper;
mod place;
mod tally;

use std::collections::BTreeMap;

use serde::Serialize;

use self::document::Checkpoint;
use self::folder::{Claim, Folder};
pub(crate) use self::keeper::Keeper;
pub(crate) use self::place::Place;
use crate::config::Config;

/// Settings that go along. They say how pictures look and pass; those of the machine, its paths, addresses, limits and
/// accelerators, belong to the machine, and secrets to nobody.
pub(crate) const KEPT: [&str; 5] =
    ["target_fps", "sample_every", "stream_idle_timeout", "jpeg_quality", "live_budget_ms"];

/// The folder of this server's checkpoints, and what it continues.
#[derive(Debug, Default)]
pub(crate) struct Session {
    folder: Option<Folder>,
    claim: Option<Claim>,
    begun: Begun,
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
            generation: effects.generation,
            settings: BTreeMap::new(),
        }
    }

    /// A sentence for people.
    pub(crate) fn sentence(&self) -> String {
        let effect = self.effect.as_deref().unwrap_or("the effect of the setting model_name");
        let mut text = format!("{effect} for all streams");
        for (stream, effect) in &self.stream_effects {
            text.push_str(&format!(", {effect} for {stream}"));
        }
        for (name, value) in &self.settings {
            text.push_str(&format!(", {name} {value}"));
        }
        format!("{text}; from {}", self.file)
    }
}

impl Session {
    /// Opens the folder, and finds what is to be continued. Blocks.
    ///
    /// # Errors
    /// If the folder that a setting names cannot be used, or there is none to resume from.
    pub(crate) fn begin(config: &Config) -> Result<Self, String> {
        let place = Place::of_checkpoints(config);
        let Some(path) = place.path() else {
            return match config.resume {
                true => {
                    Err("resume needs a folder of checkpoints; name one by --checkpoint-dir FOLDER".into())
                }
                false => Ok(Self::default()),
            };
        };
        let opened = Folder::open(path).and_then(|folder| {
            let found = if config.resume { folder.newest()? } else { (None, Vec::new()) };
            Ok((folder, found))
        });
        let (folder, (claim, mut ignored)) = match (opened, &place) {
            (Ok(found), _) => found,
            (Err(error), Place::Drive(_)) => {
                let reason = format!("the Drive that is mounted takes no checkpoints: {error}");
                tracing::warn!(%reason, "no checkpoints");
                return Ok(Self { begun: Begun { resumed: None, ignored: vec![reason] }, ..Self::default() });
            }
            (Err(error), _) => {
                return Err(format!(
                    "checkpoint_dir {}: {error}; name a folder that can be written to, or none",
                    path.display()
                ));
            }
        };
        for reason in &ignored {
            tracing::warn!(%reason, "a checkpoint was left alone");
        }
        if config.resume && claim.is_none() {
            ignored.push("there was no checkpoint to resume from; everything begins anew".into());
        }
        let resumed = claim.as_ref().map(Resumed::from);
        Ok(Self { folder: Some(folder), claim, begun: Begun { resumed, ignored } })
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
    kept.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests;
