//! What runs models: one trait for the library, one for a loaded model, one file for each library.
//!
//! | Engine | Feature | Reads | Runs on |
//! |---|---|---|---|
//! | `onnx` | `onnx` | ONNX | ONNX Runtime, found at run time; CPU, CUDA, TensorRT |
//! | `rten` | `rten` | ONNX | pure Rust, always there; CPU |
//! | `candle` | `candle` | safetensors with a list of nodes | pure Rust; CPU, CUDA |
//! | `torch` | `torch` | TorchScript | libtorch; CPU, CUDA |
// What engines share, in a build without any, or without one that knows accelerators.
#![cfg_attr(not(any(feature = "onnx", feature = "candle", feature = "torch")), allow(dead_code))]

#[cfg(feature = "candle")]
mod candle;
mod choice;
mod device;
mod error;
#[cfg(any(feature = "candle", feature = "torch"))]
mod graph_file;
#[cfg(any(feature = "onnx", feature = "rten"))]
mod onnx_file;
#[cfg(feature = "onnx")]
mod ort;
#[cfg(feature = "rten")]
mod rten;
#[cfg(feature = "torch")]
mod torch;
mod weights;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

pub use self::choice::{Choice, EngineReport, PassedOver, choose, open};
pub use self::device::{Accelerator, DeviceKind, GpuOptions, UseGpu};
pub use self::error::EngineError;
#[cfg(feature = "onnx")]
pub use self::ort::{OnnxRuntime, find_onnxruntime};
pub use self::weights::{FileData, Format, Weights};
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
    /// Folder in which engines are kept that an accelerator builds, for this kind of GPU alone; `None` keeps none.
    pub engine_cache: Option<PathBuf>,
    /// Most items of a batch: the size of the first dimension where a model leaves it open.
    pub max_batch: usize,
}

impl Default for LoadOptions {
    /// An accelerator if there is one, one thread, batches of up to 16 on an accelerator.
    fn default() -> Self {
        Self {
            use_gpu: UseGpu::Auto,
            gpu: GpuOptions::default(),
            threads: 1,
            engine_cache: None,
            max_batch: 16,
        }
    }
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

    /// Gives back memory that is kept for speed alone; for a model that has not been run for a while. Takes as long as a
    /// run, and so does the next one.
    ///
    /// # Errors
    /// [`EngineError`] as [`run`](Self::run). The session can be used again.
    fn rest(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// Most numbers of a tensor, 1 GiB of floats: what a file claims beyond that is a mistake or an attack.
const MAX_ELEMENTS: usize = 1 << 28;

/// Checks inputs against what a model takes.
#[cfg(any(feature = "onnx", feature = "rten", feature = "candle", feature = "torch"))]
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

/// Checks what a model says about its inputs or outputs before anybody makes room for them.
#[cfg(any(feature = "onnx", feature = "rten", feature = "candle", feature = "torch"))]
fn check_sizes(specs: &[TensorSpec]) -> Result<(), String> {
    let too_large = |spec: &&TensorSpec| {
        let sides = spec.shape.iter().flatten();
        sides.copied().try_fold(1usize, usize::checked_mul).is_none_or(|all| all > MAX_ELEMENTS)
    };
    match specs.iter().find(too_large) {
        Some(spec) => Err(format!("{spec} has more than {MAX_ELEMENTS} numbers")),
        None => Ok(()),
    }
}

/// Inputs for a first run of a model that nothing more is known about: one item of zeros, and 64 wherever it leaves the
/// size open, which multiples of up to 64 and kernels of up to 64 pixels are content with.
#[cfg(any(feature = "onnx-cuda", feature = "candle-cuda", feature = "torch", all(test, feature = "onnx")))]
fn probe_inputs(specs: &[TensorSpec]) -> Vec<Tensor> {
    let side = |(index, side): (usize, &Option<usize>)| side.unwrap_or(if index == 0 { 1 } else { 64 });
    let shape = |spec: &TensorSpec| spec.shape.iter().enumerate().map(side).collect::<Vec<_>>();
    specs.iter().map(|spec| Tensor::zeros(spec.dtype, &shape(spec))).collect()
}
