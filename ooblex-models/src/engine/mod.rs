//! What runs models: one trait for the library, one for a loaded model, one file for each library.
//!
//! | Engine | Feature | Reads | Runs on |
//! |---|---|---|---|
//! | `onnx` | `onnx` | ONNX | ONNX Runtime, found at run time; CPU, CUDA, TensorRT |
//! | `rten` | `rten` | ONNX | pure Rust, always there; CPU |
//! | `candle` | `candle` | safetensors with a list of nodes | pure Rust; CPU, CUDA |
//! | `torch` | `torch` | TorchScript | libtorch; CPU, CUDA |

mod device;
#[cfg(feature = "rten")]
mod rten;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use self::device::{Accelerator, DeviceKind, GpuOptions, UseGpu};
use crate::tensor::{Tensor, TensorSpec};

/// Which library runs models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EngineKind {
    /// ONNX Runtime.
    Onnx,
    /// rten, in pure Rust.
    Rten,
    /// candle, in pure Rust.
    Candle,
    /// libtorch.
    Torch,
}

impl EngineKind {
    /// Every kind, the usually fastest on a CPU first: the order in which `auto` looks.
    pub const ALL: [Self; 4] = [Self::Onnx, Self::Rten, Self::Torch, Self::Candle];

    /// `onnx`, `rten`, `candle` or `torch`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Rten => "rten",
            Self::Candle => "candle",
            Self::Torch => "torch",
        }
    }

    /// How the weights that it loads are stored.
    pub const fn format(self) -> Format {
        match self {
            Self::Onnx | Self::Rten => Format::Onnx,
            Self::Candle => Format::Safetensors,
            Self::Torch => Format::TorchScript,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EngineKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        known.ok_or_else(|| format!("unknown engine {text:?}; known: onnx, rten, candle, torch"))
    }
}

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// ONNX, one file.
    Onnx,
    /// safetensors, and a list of nodes in JSON beside it.
    Safetensors,
    /// A TorchScript archive.
    TorchScript,
}

/// Weights in memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Weights {
    /// Published name of the model, for messages.
    pub name: Arc<str>,
    /// How they are stored.
    pub format: Format,
    /// The file.
    pub data: Arc<[u8]>,
    /// The nodes, for [`Format::Safetensors`].
    pub graph: Option<Arc<[u8]>>,
}

impl Weights {
    /// Weights of the model `name`.
    pub fn new(name: impl Into<Arc<str>>, format: Format, data: impl Into<Arc<[u8]>>) -> Self {
        Self { name: name.into(), format, data: data.into(), graph: None }
    }

    /// Adds the nodes.
    pub fn with_graph(mut self, graph: impl Into<Arc<[u8]>>) -> Self {
        self.graph = Some(graph.into());
        self
    }
}

/// How a model is to be loaded.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Whether an accelerator is to be used.
    pub use_gpu: UseGpu,
    /// What it may use.
    pub gpu: GpuOptions,
    /// Threads within one operation on the CPU.
    pub threads: usize,
    /// Most items of a batch: the size of the first dimension where a model leaves it open.
    pub max_batch: usize,
}

impl Default for LoadOptions {
    /// An accelerator if there is one, one thread, batches of up to 16 on an accelerator.
    fn default() -> Self {
        Self { use_gpu: UseGpu::Auto, gpu: GpuOptions::default(), threads: 1, max_batch: 16 }
    }
}

/// Why an engine could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine is not in this build or its library was not found.
    #[error("engine {kind} is not available: {reason}")]
    Unavailable {
        /// The engine.
        kind: EngineKind,
        /// What is missing and how to get it.
        reason: String,
    },
    /// The weights could not be loaded.
    #[error("model {model} could not be loaded by {kind}: {reason}")]
    Load {
        /// The engine.
        kind: EngineKind,
        /// The model.
        model: String,
        /// Why.
        reason: String,
    },
    /// An accelerator was required and did not run.
    #[error("an accelerator is required, but {reason}")]
    NoAccelerator {
        /// Why.
        reason: String,
    },
    /// An input does not fit the model.
    #[error("input {expected} was given {given}")]
    Input {
        /// What the model takes.
        expected: String,
        /// What it was given.
        given: String,
    },
    /// Memory ran out, on the device or on the host.
    #[error("out of memory: {reason}")]
    OutOfMemory {
        /// What the library said.
        reason: String,
    },
    /// Running failed.
    #[error("running the model failed: {reason}")]
    Run {
        /// What the library said.
        reason: String,
    },
}

/// A library that runs models.
pub trait Engine: Send + Sync + 'static {
    /// Which one it is.
    fn kind(&self) -> EngineKind;

    /// Version of the library.
    fn version(&self) -> String;

    /// Where the library was found; `None` if it is compiled in.
    fn place(&self) -> Option<String> {
        None
    }

    /// Loads a model and decides where it runs: an accelerator is used only after a probe inference ran on it. Blocks,
    /// perhaps for seconds.
    ///
    /// # Errors
    /// [`EngineError`]: `Load`, `NoAccelerator` if one is required, `OutOfMemory`.
    fn load(&self, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Session>, EngineError>;
}

/// A loaded model. Used by one thread at a time.
pub trait Session: Send + 'static {
    /// What goes in, in order.
    fn inputs(&self) -> &[TensorSpec];

    /// What comes out, in order.
    fn outputs(&self) -> &[TensorSpec];

    /// Runs the model once. `outputs` becomes as long as [`outputs`](Self::outputs), each tensor reshaped to what came
    /// out; memory is reused where shapes repeat.
    ///
    /// # Errors
    /// [`EngineError`]: `Input`, `OutOfMemory`, `Run`. The session can be used again.
    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError>;

    /// Most items in the first dimension of the inputs; 1 where the model, or the device, gains nothing by more.
    fn max_batch(&self) -> usize {
        1
    }

    /// Where it runs, and why not elsewhere.
    fn accelerator(&self) -> &Accelerator;

    /// Memory that it holds, in bytes, as far as it is known: weights, and buffers for inputs and outputs.
    fn memory_bytes(&self) -> u64;
}

/// Checks inputs against what a model takes.
#[cfg(feature = "rten")]
fn check_inputs(specs: &[TensorSpec], inputs: &[Tensor]) -> Result<(), EngineError> {
    let wrong = |expected: String, given: String| Err(EngineError::Input { expected, given });
    if specs.len() != inputs.len() {
        return wrong(format!("count {}", specs.len()), inputs.len().to_string());
    }
    for (spec, tensor) in specs.iter().zip(inputs) {
        if !spec.fits(tensor.dtype(), tensor.shape()) {
            return wrong(spec.to_string(), format!("{} {:?}", tensor.dtype(), tensor.shape()));
        }
    }
    Ok(())
}

/// The engine of that kind, if this build has it.
///
/// # Errors
/// [`EngineError::Unavailable`] with the feature to enable.
pub fn open(kind: EngineKind) -> Result<Arc<dyn Engine>, EngineError> {
    match kind {
        #[cfg(feature = "rten")]
        EngineKind::Rten => Ok(Arc::new(self::rten::Rten::new())),
        #[allow(unreachable_patterns)]
        kind => Err(EngineError::Unavailable {
            kind,
            reason: format!("this build lacks it; enable the feature `{kind}` of ooblex-models"),
        }),
    }
}
