//! What operators do with models: look, load, unload, pin.

use std::time::Instant;

use super::Models;
use super::card::ModelFile;
use super::circuit::{Circuit, Open};
use super::entry::{Entry, State};
use super::error::ModelError;
use super::files::FileError;
use super::room::retire;
use super::status::{FilePlace, FileStatus, ModelProblem, ModelState, ModelStatus};
use crate::engine::Format;

impl Models {
    /// Loads a model if it is not in memory, also if it was lost too often. Blocks, perhaps for seconds.
    ///
    /// # Errors
    /// [`ModelError`].
    pub fn load(&self, name: &str) -> Result<(), ModelError> {
        let entry = self.entry(name)?;
        entry.state().circuit = Circuit::default();
        self.loaded(&entry).map(drop)
    }

    /// Puts a model away, if it is in memory.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], [`ModelError::InUse`] while effects use it, [`ModelError::Pinned`].
    pub fn unload(&self, name: &str) -> Result<(), ModelError> {
        let entry = self.entry(name)?;
        let loaded = {
            let mut state = entry.state();
            let (model, users) = (entry.name.to_string(), entry.users());
            if state.is_pinned {
                return Err(ModelError::Pinned { model });
            }
            if users > 0 {
                return Err(ModelError::InUse { model, users });
            }
            state.failure = None;
            state.take()
        };
        if let Some(loaded) = loaded {
            retire(&entry, &loaded, "unloaded on request");
        }
        Ok(())
    }

    /// Has a model stay in memory once it is loaded; it is loaded by [`load_pinned`](Self::load_pinned) or when it is
    /// needed.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn pin(&self, name: &str) -> Result<(), ModelError> {
        self.entry(name)?.state().is_pinned = true;
        Ok(())
    }

    /// Lets a model leave again.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn unpin(&self, name: &str) -> Result<(), ModelError> {
        self.entry(name)?.state().is_pinned = false;
        Ok(())
    }

    /// Loads every pinned model. What fails is logged, and told by [`problems`](Self::problems). Blocks.
    pub fn load_pinned(&self) {
        for entry in self.entries() {
            let is_pinned = entry.state().is_pinned;
            if is_pinned {
                // Logged where it happens.
                let _ = self.loaded(&entry);
            }
        }
    }

    /// Everything about every model, by name.
    pub fn status(&self) -> Vec<ModelStatus> {
        self.named().iter().map(|entry| self.status_of(entry)).collect()
    }

    /// Everything about one model.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn status_by_name(&self, name: &str) -> Result<ModelStatus, ModelError> {
        Ok(self.status_of(&*self.entry(name)?))
    }

    /// What is not as it should be with models that somebody uses or that are pinned: why a server is degraded. Looks
    /// at no files.
    pub fn problems(&self) -> Vec<ModelProblem> {
        if !self.is_in_use() {
            return Vec::new();
        }
        let now = self.config().clock.now();
        self.named().iter().flat_map(|entry| problems_of(entry, now)).collect()
    }

    fn status_of(&self, entry: &Entry) -> ModelStatus {
        let format = self.expected_format();
        let files: Vec<_> = entry.card.files.iter().flat_map(|file| self.files_of(file)).collect();
        let is_missing = files.iter().any(|f| f.format == format && f.place == FilePlace::Missing);
        let state = entry.state();
        let loaded = state.loaded.as_ref();
        let open = state.circuit.check(self.config().clock.now()).err();
        let about_file =
            matches!(&state.failure, Some(ModelError::File { source: FileError::Missing { .. }, .. }));
        // A file that has come meanwhile is no failure any more.
        let failure = failure(&state, open.as_ref()).filter(|_| is_missing || !about_file);
        let stats = loaded.map(|loaded| loaded.stats());
        ModelStatus {
            name: entry.name.to_string(),
            task: entry.card.task.to_string(),
            licence: entry.card.licence.to_string(),
            origin: entry.card.origin.to_string(),
            state: state_of(&state, is_missing, failure.is_some()),
            engine: loaded.map(|loaded| loaded.engine()),
            accelerator: loaded.map(|loaded| loaded.accelerator().clone()),
            memory_bytes: state.holds(false) + state.holds(true),
            is_pinned: state.is_pinned,
            users: entry.users(),
            load_time: loaded.map(|loaded| loaded.took()),
            waiting: loaded.map_or(0, |loaded| loaded.waiting()),
            batches: state.past.batches + stats.map_or(0, |s| s.batches.get()),
            items: state.past.items + stats.map_or(0, |s| s.items.get()),
            expired: state.past.expired + stats.map_or(0, |s| s.expired.get()),
            lost: state.past.lost,
            stuck: state.stuck().count(),
            failure,
            retry_in: open.map(|open| open.retry_in),
            degraded: loaded.and_then(|loaded| loaded.degraded()).map(str::to_owned),
            files,
        }
    }

    /// How the weights are stored that the engine loads, or probably will load.
    fn expected_format(&self) -> Format {
        let engine = self.opened_engine().map(|engine| engine.kind()).or(self.config().engine);
        engine.map_or(Format::Onnx, |kind| kind.format())
    }

    fn files_of(&self, file: &ModelFile) -> Vec<FileStatus> {
        let path = &self.config().path;
        let status = |file: &ModelFile| FileStatus {
            format: file.format,
            name: file.name.to_string(),
            bytes: file.bytes,
            place: match file.content {
                Some(_) => FilePlace::Embedded,
                None => path.find_file(file).map_or(FilePlace::Missing, FilePlace::Found),
            },
        };
        std::iter::once(file).chain(file.beside.as_deref()).map(status).collect()
    }
}

fn state_of(state: &State, is_missing: bool, has_failed: bool) -> ModelState {
    match () {
        () if state.is_loading => ModelState::Loading,
        () if state.is_usable() => ModelState::Loaded,
        () if is_missing => ModelState::Missing,
        () if has_failed => ModelState::Failed,
        () => ModelState::Available,
    }
}

/// Why it rests, or was not loaded the last time.
fn failure(state: &State, open: Option<&Open<'_>>) -> Option<String> {
    open.map(|open| open.reason.to_owned()).or_else(|| state.failure.as_ref().map(ModelError::reason))
}

fn problems_of(entry: &Entry, now: Instant) -> Vec<ModelProblem> {
    let state = entry.state();
    if entry.users() == 0 && !state.is_pinned {
        return Vec::new();
    }
    let open = state.circuit.check(now).err();
    let failure = failure(&state, open.as_ref()).filter(|_| !state.is_usable());
    let degraded = state.loaded.as_ref().and_then(|loaded| loaded.degraded()).map(str::to_owned);
    let stuck = match state.stuck().count() {
        0 => None,
        1 => Some("a thread is stuck in it".to_owned()),
        count => Some(format!("{count} threads are stuck in it")),
    };
    let reasons = [failure, degraded, stuck].into_iter().flatten();
    reasons.map(|reason| ModelProblem { model: entry.name.to_string(), reason }).collect()
}
