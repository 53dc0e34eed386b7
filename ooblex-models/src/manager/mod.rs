//! Models: found, loaded once, shared by all streams, and put away again.

mod card;
mod catalog;
mod files;
mod handle;
mod runner;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub use self::card::{ModelCard, ModelFile};
pub use self::catalog::{
    BLAZEFACE, CENTERFACE, EMOTION, FACEMESH, MOVENET, NANODET, SELFIE_GENERAL, SELFIE_LANDSCAPE, STYLE,
};
pub use self::files::{FileError, SearchPath, sha256, user_folder};
pub use self::handle::ModelHandle;
pub use self::runner::Loaded;
use crate::engine::{
    self, Choice, Engine, EngineError, EngineKind, EngineReport, GpuOptions, LoadOptions, UseGpu,
};

/// How models are run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelsConfig {
    /// Which engine runs them; `None` takes the fastest that is there.
    pub engine: Option<EngineKind>,
    /// Whether an accelerator is to be used.
    pub use_gpu: UseGpu,
    /// What it may use.
    pub gpu: GpuOptions,
    /// Threads within one operation on the CPU.
    pub threads: usize,
    /// Where ONNX Runtime's library lies, if not where it is looked for.
    pub onnxruntime: Option<PathBuf>,
    /// Where weights are looked for.
    pub path: SearchPath,
    /// A run that takes longer than this is given up, and its model loaded anew.
    pub hang_after: Duration,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            engine: None,
            use_gpu: UseGpu::Auto,
            gpu: GpuOptions::default(),
            threads: 1,
            onnxruntime: None,
            path: SearchPath::standard([]),
            hang_after: Duration::from_secs(10),
        }
    }
}

/// Why a model cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No model has this name.
    #[error("unknown model {name:?}; known: {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The model has no weights that the engine can load.
    #[error("model {model} has no weights for the engine {engine}; it has them for: {}", has.join(", "))]
    NoWeights {
        /// The model.
        model: String,
        /// The engine.
        engine: EngineKind,
        /// Engines that it has weights for.
        has: Vec<String>,
    },
    /// The weights could not be read.
    #[error("model {model}: {source}")]
    File {
        /// The model.
        model: String,
        /// Why.
        #[source]
        source: FileError,
    },
    /// The engine could not load or run it.
    #[error("model {model}: {source}")]
    Engine {
        /// The model.
        model: String,
        /// What it said.
        #[source]
        source: EngineError,
    },
    /// The model has no such input.
    #[error("the model has {count} inputs, not one of number {index}")]
    NoSuchInput {
        /// The number asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A frame's deadline passed before its turn came.
    #[error("its deadline passed before the model had time for it")]
    Expired,
    /// The thread that owned the model is gone or stuck.
    #[error("model {model} was given up: {reason}")]
    Ended {
        /// The model.
        model: String,
        /// Why.
        reason: String,
    },
}

/// The models of a program, by name. Cheap to clone; all clones share everything.
///
/// A model is loaded when it is first needed, once for all streams, on a thread of its own.
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    config: ModelsConfig,
    engine: OnceLock<Result<Choice, EngineError>>,
    entries: Mutex<BTreeMap<Arc<str>, Arc<Entry>>>,
}

/// One model.
pub(crate) struct Entry {
    pub(crate) name: Arc<str>,
    card: ModelCard,
    handles: AtomicUsize,
    state: Mutex<State>,
    /// Held while loading, so that it is done once.
    loading: Mutex<()>,
}

#[derive(Default)]
struct State {
    loaded: Option<Arc<Loaded>>,
    failure: Option<ModelError>,
    last_used: Option<Instant>,
}

impl Entry {
    fn new(card: ModelCard) -> Arc<Self> {
        Arc::new(Self {
            name: card.name.as_ref().into(),
            card,
            handles: AtomicUsize::new(0),
            state: Mutex::default(),
            loading: Mutex::default(),
        })
    }

    fn add_handle(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    fn remove_handle(&self) {
        self.handles.fetch_sub(1, Ordering::Relaxed);
    }

    fn used(&self, now: Instant) {
        lock(&self.state).last_used = Some(now);
    }
}

impl Models {
    /// The models that come with this crate.
    pub fn new(config: ModelsConfig) -> Self {
        let entries = catalog::cards().into_iter().map(Entry::new).map(|e| (e.name.clone(), e)).collect();
        Self(Arc::new(Inner { config, engine: OnceLock::new(), entries: Mutex::new(entries) }))
    }

    /// Adds a model; one of the same name is replaced for handles made from now on.
    pub fn add(&self, card: ModelCard) {
        let entry = Entry::new(card);
        lock(&self.0.entries).insert(entry.name.clone(), entry);
    }

    /// How models are run.
    pub fn config(&self) -> &ModelsConfig {
        &self.0.config
    }

    /// What is known about a model.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the names there are.
    pub fn card(&self, name: &str) -> Result<ModelCard, ModelError> {
        Ok(self.entry(name)?.card.clone())
    }

    /// A way to a model for one stream. Loads nothing yet.
    ///
    /// # Errors
    /// [`ModelError::Unknown`] with the names there are.
    pub fn handle(&self, name: &str) -> Result<ModelHandle, ModelError> {
        Ok(ModelHandle::new(self.clone(), self.entry(name)?))
    }

    /// The engine that runs models, found when it is first asked for.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub fn engine(&self) -> Result<Arc<dyn Engine>, EngineError> {
        self.choice().map(|choice| choice.engine)
    }

    /// Which engine that is, and why.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub fn engine_report(&self) -> Result<EngineReport, EngineError> {
        self.choice().map(|choice| choice.report)
    }

    fn choice(&self) -> Result<Choice, EngineError> {
        let config = &self.0.config;
        let find = || engine::choose(config.engine, config.onnxruntime.as_deref());
        self.0.engine.get_or_init(find).clone()
    }

    fn hang_after(&self) -> Option<Duration> {
        Some(self.0.config.hang_after)
    }

    fn entry(&self, name: &str) -> Result<Arc<Entry>, ModelError> {
        let entries = lock(&self.0.entries);
        entries.get(name).cloned().ok_or_else(|| ModelError::Unknown {
            name: name.to_owned(),
            known: entries.keys().map(ToString::to_string).collect(),
        })
    }

    /// The model in memory; loads it if need be.
    fn loaded(&self, entry: &Arc<Entry>) -> Result<Arc<Loaded>, ModelError> {
        let there = || lock(&entry.state).loaded.clone().filter(|loaded| loaded.failure().is_none());
        if let Some(loaded) = there() {
            return Ok(loaded);
        }
        let _one = lock(&entry.loading);
        if let Some(loaded) = there() {
            return Ok(loaded);
        }
        let loaded = self.load(&entry.card).map(Arc::new);
        let mut state = lock(&entry.state);
        state.last_used = Some(Instant::now());
        state.failure = loaded.as_ref().err().cloned();
        state.loaded = loaded.as_ref().ok().cloned();
        loaded
    }

    fn load(&self, card: &ModelCard) -> Result<Loaded, ModelError> {
        let model = || card.name.to_string();
        let by_engine = |source| ModelError::Engine { model: model(), source };
        let engine = self.engine().map_err(by_engine)?;
        let config = &self.0.config;
        let weights = config.path.weights(card, engine.kind().format());
        let weights = weights.map_err(|source| ModelError::File { model: model(), source })?;
        let weights = weights.ok_or_else(|| ModelError::NoWeights {
            model: model(),
            engine: engine.kind(),
            has: EngineKind::ALL
                .into_iter()
                .filter(|kind| card.file_for(kind.format()).is_some())
                .map(|kind| kind.to_string())
                .collect(),
        })?;
        let mut options = LoadOptions::default();
        (options.use_gpu, options.gpu, options.threads) = (config.use_gpu, config.gpu, config.threads);
        let loaded = Loaded::new(&engine, weights, options, card.warm_up.clone()).map_err(by_engine)?;
        tracing::info!(model = %card.name, engine = %engine.kind(), ran = %loaded.accelerator().ran, took_ms = loaded.took().as_millis() as u64, "model loaded");
        Ok(loaded)
    }

    /// Forgets a model in memory whose thread is of no more use; the next one who needs it loads it again.
    fn discard(&self, entry: &Entry, loaded: &Arc<Loaded>, reason: &str) {
        let mut state = lock(&entry.state);
        if state.loaded.as_ref().is_some_and(|l| Arc::ptr_eq(l, loaded)) {
            tracing::error!(model = %entry.name, reason, "model discarded");
            state.loaded = None;
        }
    }
}

impl Default for Models {
    fn default() -> Self {
        Self::new(ModelsConfig::default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
