//! How models are run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ooblex_core::Clock;

use super::files::SearchPath;
use super::room::DeviceMemory;
use crate::engine::{EngineKind, GpuOptions, UseGpu};

/// How models are run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelsConfig {
    /// Which engine runs them; `None` takes the fastest that is there.
    pub engine: Option<EngineKind>,
    /// Whether an accelerator is to be used.
    pub use_gpu: UseGpu,
    /// What it may use. Its limit holds for each model, and for all models together.
    pub gpu: GpuOptions,
    /// Threads within one operation on the CPU.
    pub threads: usize,
    /// Where ONNX Runtime's library lies, if not where it is looked for.
    pub onnxruntime: Option<PathBuf>,
    /// Where weights are looked for.
    pub path: SearchPath,
    /// Folder in which TensorRT's engines are kept, by GPU, versions and weights; `None` keeps none.
    pub engine_cache: Option<PathBuf>,
    /// Most bytes of host memory that models on the CPU may use together.
    pub memory: u64,
    /// Who tells how much memory the device has; `None` asks NVIDIA's library, if the feature `nvml` is there.
    pub device_memory: Option<Arc<dyn DeviceMemory>>,
    /// A run that takes longer than this is given up, and its model loaded anew.
    pub hang_after: Duration,
    /// Loading that takes longer than this is given up. TensorRT may need minutes.
    pub load_within: Duration,
    /// A model that was not run for so long gives back memory that is kept for speed alone.
    pub rest_after: Duration,
    /// The clock of deadlines and pauses.
    pub clock: Clock,
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
            engine_cache: None,
            memory: 1024 << 20,
            device_memory: None,
            hang_after: Duration::from_secs(10),
            load_within: Duration::from_secs(600),
            rest_after: Duration::from_secs(60),
            clock: Clock::system(),
        }
    }
}
