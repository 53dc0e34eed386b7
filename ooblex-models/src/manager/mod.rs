//! Models: found, loaded once, shared by all streams, and put away again.
//!
//! Weights come from three formats and no others: ONNX in one file (what it wants from other files is refused),
//! safetensors, and TorchScript. Files of the models that come with this crate are checked against their SHA-256
//! whenever they are read; files of the user's own are read from the folders that the user named. Pickles are never
//! loaded. A TorchScript archive holds pickles by its design, which libtorch interprets: such files are loaded with the
//! feature `torch` and the engine `torch` alone, if their sum is the published one or the user added them.

mod batch;
mod card;
mod catalog;
mod circuit;
mod config;
mod control;
mod entry;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod files;
mod gone;
mod handle;
mod load;
#[cfg(feature = "nvml")]
mod nvml;
mod report;
mod room;
mod runner;
mod status;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use self::card::{ModelCard, ModelFile};
pub use self::catalog::{
    BLAZEFACE, CENTERFACE, EMOTION, FACEMESH, MOVENET, NANODET, SELFIE_GENERAL, SELFIE_LANDSCAPE, STYLE,
};
pub use self::config::ModelsConfig;
use self::entry::Entry;
pub use self::error::ModelError;
pub use self::files::{FileError, SearchPath, sha256, sha256_of_file, user_folder};
pub use self::handle::ModelHandle;
pub use self::report::AcceleratorReport;
pub use self::room::{Budget, DeviceMemory, DeviceUse, Memory};
pub use self::runner::Loaded;
pub use self::status::{FilePlace, FileStatus, ModelProblem, ModelState, ModelStatus};
use crate::engine::{self, Choice, Engine, EngineError, EngineReport, UseGpu};

/// The models of a program, by name. Cheap to clone; all clones share everything.
///
/// A model is loaded when it is first needed, once for all streams, on a thread of its own. What several streams ask of
/// it at the same time is run as one batch where the model allows it. Models that nobody uses stay in memory until it
/// gets tight. A thread that panics or hangs is given up, and the model loaded again, less and less often.
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    /// Set by [`Models::configure`], or when it is first asked for.
    config: OnceLock<ModelsConfig>,
    engine: OnceLock<Result<Choice, EngineError>>,
    device_memory: OnceLock<Option<Arc<dyn DeviceMemory>>>,
    entries: Mutex<Entries>,
    /// Bytes on the CPU that models which are being loaded will need.
    reserved: Mutex<u64>,
    uses: AtomicU64,
}

struct Entries {
    named: BTreeMap<Arc<str>, Arc<Entry>>,
    /// Replaced by others of the same name while in use.
    former: Vec<Arc<Entry>>,
}

impl Models {
    /// The models that come with this crate, run as `config` says.
    pub fn new(config: ModelsConfig) -> Self {
        let models = Self::default();
        // Invariant: nobody else has it yet.
        let _ = models.configure(config);
        models
    }

    /// The same, run by an engine of the caller's own.
    pub fn with_engine(config: ModelsConfig, engine: Arc<dyn Engine>) -> Self {
        let models = Self::new(config);
        // Invariant: nobody else has it yet.
        let _ = models.0.engine.set(Ok(Choice::given(engine)));
        models
    }

    /// Says how models are run, for those made by [`Models::default`]: before any is loaded or asked about.
    ///
    /// # Errors
    /// [`ModelError::Configured`] if that has happened; nothing is changed then.
    pub fn configure(&self, config: ModelsConfig) -> Result<(), ModelError> {
        self.0.config.set(config).map_err(|_| ModelError::Configured)
    }

    /// Adds a model; one of the same name is replaced for handles made from now on.
    pub fn add(&self, card: ModelCard) {
        let entry = Entry::new(card);
        let mut entries = lock(&self.0.entries);
        let replaced = entries.named.insert(entry.name.clone(), entry.clone());
        entry.state().is_pinned = replaced.as_ref().is_some_and(|replaced| replaced.state().is_pinned);
        entries.former.extend(replaced);
    }

    /// How models are run. From now on that is fixed.
    pub fn config(&self) -> &ModelsConfig {
        self.0.config.get_or_init(ModelsConfig::default)
    }

    /// The names of the models.
    pub fn names(&self) -> Vec<Arc<str>> {
        lock(&self.0.entries).named.keys().cloned().collect()
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
        let config = self.config();
        let find = || engine::choose(config.engine, config.onnxruntime.as_deref());
        self.0.engine.get_or_init(find).clone()
    }

    /// The engine, if it has been asked for.
    fn opened_engine(&self) -> Option<&Arc<dyn Engine>> {
        Some(&self.0.engine.get()?.as_ref().ok()?.engine)
    }

    /// Who tells how much memory the device has, if it is of interest and somebody does.
    fn device_memory(&self) -> Option<&Arc<dyn DeviceMemory>> {
        let config = self.config();
        if config.use_gpu == UseGpu::Off {
            return None;
        }
        let open = || config.device_memory.clone().or_else(|| standard_device_memory(config.gpu.device));
        self.0.device_memory.get_or_init(open).as_ref()
    }

    /// Whether anything could have been loaded.
    fn is_in_use(&self) -> bool {
        self.0.config.get().is_some()
    }

    /// A number that rises with every use of a model.
    fn next_use(&self) -> u64 {
        self.0.uses.fetch_add(1, Ordering::Relaxed)
    }

    fn entry(&self, name: &str) -> Result<Arc<Entry>, ModelError> {
        let entries = lock(&self.0.entries);
        entries.named.get(name).cloned().ok_or_else(|| ModelError::Unknown {
            name: name.to_owned(),
            known: entries.named.keys().map(ToString::to_string).collect(),
        })
    }

    /// The models that can be asked for.
    fn named(&self) -> Vec<Arc<Entry>> {
        lock(&self.0.entries).named.values().cloned().collect()
    }

    /// Everything that may be in memory.
    fn entries(&self) -> Vec<Arc<Entry>> {
        let mut entries = lock(&self.0.entries);
        entries.former.retain(|former| former.users() > 0);
        entries.named.values().chain(&entries.former).cloned().collect()
    }
}

impl Default for Models {
    /// The models that come with this crate; [`configure`](Models::configure) may still say how they are run.
    fn default() -> Self {
        let named = catalog::cards().into_iter().map(Entry::new).map(|e| (e.name.clone(), e)).collect();
        Self(Arc::new(Inner {
            config: OnceLock::new(),
            engine: OnceLock::new(),
            device_memory: OnceLock::new(),
            entries: Mutex::new(Entries { named, former: Vec::new() }),
            reserved: Mutex::new(0),
            uses: AtomicU64::new(0),
        }))
    }
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Models").field(&self.names()).finish()
    }
}

/// NVIDIA's library, if this build asks it and it is there.
fn standard_device_memory(device: u32) -> Option<Arc<dyn DeviceMemory>> {
    #[cfg(feature = "nvml")]
    return nvml::open(device);
    #[cfg(not(feature = "nvml"))]
    {
        let _ = device;
        None
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
