//! Loading models, and what happens when one is lost or memory runs out.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, Stuck};
use super::error::ModelError;
use super::files::FileError;
use super::gone::Gone;
use super::room::{LET_GO, retire, watch};
use super::runner::{Loaded, Order};
use super::{Models, lock};
use crate::engine::{Engine, EngineError, LoadOptions, UseGpu, Weights};

/// What to do about memory that ran out.
pub(super) enum Relief {
    /// Run once more.
    Again,
    /// Nothing more can be done.
    None,
}

/// Marks an entry as being loaded.
struct Loading<'a>(&'a Entry);

impl<'a> Loading<'a> {
    fn begin(entry: &'a Entry) -> Self {
        entry.state().is_loading = true;
        Self(entry)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.state().is_loading = false;
    }
}

impl Models {
    /// The model in memory; loads it if need be.
    pub(super) fn loaded(&self, entry: &Entry) -> Result<Arc<Loaded>, ModelError> {
        if let Some(loaded) = entry.usable() {
            return Ok(loaded);
        }
        let _one = lock(&entry.loading);
        let present = entry.state().loaded.clone();
        if let Some(loaded) = present {
            match loaded.failure() {
                None => return Ok(loaded),
                // Whoever it failed under has not said so yet.
                Some(reason) => self.lost(entry, &loaded, &reason),
            }
        }
        entry.may_load(self.config().clock.now())?;
        self.load_into(entry, self.config().use_gpu, None)
    }

    /// Loads a model and keeps it. The caller holds `entry.loading`.
    fn load_into(
        &self,
        entry: &Entry,
        use_gpu: UseGpu,
        degraded: Option<String>,
    ) -> Result<Arc<Loaded>, ModelError> {
        let loading = Loading::begin(entry);
        entry.used(self.next_use());
        let result = self.load_afresh(entry, use_gpu, degraded);
        drop(loading);
        let mut state = entry.state();
        state.failure = result.as_ref().err().cloned();
        if let Err(error) = &result {
            if costs_much(error) {
                state.past.lost += 1;
                state.circuit.lost(self.config().clock.now(), &error.reason());
            }
            tracing::warn!(model = %entry.name, %error, folders = ?self.config().path.folders(), "model not loaded");
        }
        result
    }

    fn load_afresh(
        &self,
        entry: &Entry,
        use_gpu: UseGpu,
        degraded: Option<String>,
    ) -> Result<Arc<Loaded>, ModelError> {
        let by_engine = |source| ModelError::Engine { model: entry.name.to_string(), source };
        let engine = self.engine().map_err(by_engine)?;
        let weights = self.weights(entry, &*engine)?;
        // As loaded, and packed for multiplication; known better from the second time on.
        let needs = entry.state().known_bytes.unwrap_or(2 * weights.data.len() as u64);
        let reservation = self.make_room(entry, needs, use_gpu)?;
        let mut loaded = self.attempts(entry, &engine, &weights, use_gpu).map_err(by_engine)?;
        if let Some(reason) = degraded {
            loaded.set_degraded(reason);
        }
        let loaded = Arc::new(loaded);
        entry.state().loaded = Some(loaded.clone());
        drop(reservation);
        if let Err(error) = self.settle(entry, &loaded) {
            entry.state().take();
            retire(entry, &loaded, "takes more memory than models may use");
            return Err(error);
        }
        let (ran, took_ms) = (loaded.accelerator().ran, loaded.took().as_millis() as u64);
        tracing::info!(model = %entry.name, engine = %engine.kind(), %ran, took_ms, "model loaded");
        Ok(loaded)
    }

    /// Loads; when memory runs out once more without idle models, and then on the CPU if that is allowed.
    fn attempts(
        &self,
        entry: &Entry,
        engine: &Arc<dyn Engine>,
        weights: &Weights,
        use_gpu: UseGpu,
    ) -> Result<Loaded, EngineError> {
        let out_of_memory = |result: &Result<Loaded, EngineError>| match result {
            Err(EngineError::OutOfMemory { reason }) => Some(reason.clone()),
            _ => None,
        };
        let mut result = self.attempt(entry, engine, weights, use_gpu);
        if let Some(reason) = out_of_memory(&result) {
            tracing::warn!(model = %entry.name, reason, "out of memory; once more without idle models");
            self.evict_all(entry);
            result = self.attempt(entry, engine, weights, use_gpu);
        }
        if let Some(reason) = out_of_memory(&result).filter(|_| use_gpu == UseGpu::Auto) {
            let mut on_cpu = self.attempt(entry, engine, weights, UseGpu::Off)?;
            on_cpu.set_degraded(on_cpu_because(&reason));
            return Ok(on_cpu);
        }
        result
    }

    fn attempt(
        &self,
        entry: &Entry,
        engine: &Arc<dyn Engine>,
        weights: &Weights,
        use_gpu: UseGpu,
    ) -> Result<Loaded, EngineError> {
        let config = self.config();
        let mut options = LoadOptions::default();
        (options.use_gpu, options.gpu, options.threads) = (use_gpu, config.gpu, config.threads);
        options.engine_cache = self.engines_of_this_gpu();
        let gone = Gone::default();
        let order = Order {
            weights: weights.clone(),
            options,
            warm_up: entry.card.warm_up.clone(),
            patience: config.load_within,
            rest_after: config.rest_after,
            clock: config.clock.clone(),
            gone: gone.clone(),
        };
        let result = Loaded::new(engine, order);
        if result.is_err() && !gone.wait(Duration::ZERO) {
            let bytes = weights.data.len() as u64;
            entry.state().watch(Stuck { gone, bytes, on_device: false });
        }
        result
    }

    /// Where engines of this GPU are kept. Of one whose name is not known none are: they might be another one's.
    fn engines_of_this_gpu(&self) -> Option<PathBuf> {
        let cache = self.config().engine_cache.as_ref()?;
        Some(cache.join(folder_of(&self.device_memory()?.name()?)))
    }

    fn weights(&self, entry: &Entry, engine: &dyn Engine) -> Result<Weights, ModelError> {
        let model = || entry.name.to_string();
        let weights = self.config().path.weights(&entry.card, engine.kind().format());
        let weights = weights.map_err(|source| ModelError::File { model: model(), source })?;
        weights.ok_or_else(|| ModelError::NoWeights {
            model: model(),
            engine: engine.kind(),
            has: entry.card.engines().map(|kind| kind.to_string()).collect(),
        })
    }

    /// Gives up a model whose thread panicked, or is stuck; whoever needs it next loads it again.
    pub(super) fn lost(&self, entry: &Entry, loaded: &Arc<Loaded>, reason: &str) {
        {
            let mut state = entry.state();
            // Everybody who waited for it comes here; the first one counts.
            if !state.loaded.as_ref().is_some_and(|l| Arc::ptr_eq(l, loaded)) {
                return;
            }
            state.take();
            state.past.lost += 1;
            state.circuit.lost(self.config().clock.now(), reason);
        }
        tracing::error!(model = %entry.name, reason, "model lost");
        let has_ended = loaded.failure().is_some();
        loaded.end(reason);
        // Room for the next one, unless the thread is stuck.
        if !has_ended || !loaded.gone().wait(LET_GO) {
            watch(entry, loaded);
        }
    }

    /// Does what can be done about a run that ran out of memory, for the first or second time.
    pub(super) fn relieve_run(
        &self,
        entry: &Entry,
        loaded: &Arc<Loaded>,
        is_first: bool,
        reason: &str,
    ) -> Result<Relief, ModelError> {
        tracing::warn!(model = %entry.name, is_first, reason, "out of memory while running");
        if is_first {
            self.evict_all(entry);
            return Ok(Relief::Again);
        }
        if !loaded.is_on_device() || self.config().use_gpu != UseGpu::Auto {
            return Ok(Relief::None);
        }
        let _one = lock(&entry.loading);
        let is_current = entry.state().loaded.as_ref().is_some_and(|l| Arc::ptr_eq(l, loaded));
        // Another stream may have moved it meanwhile.
        if is_current {
            entry.state().take();
            retire(entry, loaded, "moves to the CPU: the device is out of memory");
            self.load_into(entry, UseGpu::Off, Some(on_cpu_because(reason)))?;
        }
        Ok(Relief::Again)
    }
}

fn on_cpu_because(reason: &str) -> String {
    format!("on the CPU because the device is out of memory: {reason}")
}

/// Whether an error came late enough that trying again with every frame would be a burden.
fn costs_much(error: &ModelError) -> bool {
    match error {
        ModelError::Engine { source: EngineError::Unavailable { .. }, .. } => false,
        ModelError::File { source, .. } => {
            matches!(source, FileError::Changed { .. } | FileError::Read { .. })
        }
        ModelError::Engine { .. } => true,
        _ => false,
    }
}

/// A GPU's name as that of a folder.
fn folder_of(gpu: &str) -> String {
    gpu.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpus_name_makes_a_folder_and_no_path() {
        assert_eq!(folder_of("NVIDIA A100-SXM4-40GB"), "NVIDIA-A100-SXM4-40GB");
        assert_eq!(folder_of("../x/Tesla T4"), "---x-Tesla-T4");
    }
}
