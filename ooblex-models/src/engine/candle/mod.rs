//! candle: models out of safetensors and a list of nodes, in pure Rust.
//!
//! It runs the models whose nodes [`ops`] knows, on the CPU more slowly than the other engines; it is there for those
//! who build on candle. Weights are read from safetensors alone: pickles can run code and are never loaded.

mod depthwise;
mod graph;
mod ops;

use candle_core::{Device, Tensor as CandleTensor};
use rayon::{ThreadPool, ThreadPoolBuilder};

use self::graph::Program;
use super::device::{Probed, decide};
use super::error::guarded;
use super::{
    Accelerator, Engine, EngineError, EngineKind, LoadOptions, MAX_ELEMENTS, Session, UseGpu, Weights,
    check_inputs, check_sizes,
};
use crate::tensor::{DType, Numbers, Tensor, TensorSpec};

/// Version of the crate, as `Cargo.toml` pins it.
const VERSION: &str = "0.11.1";

/// candle.
pub(super) struct Candle;

impl Engine for Candle {
    fn kind(&self) -> EngineKind {
        EngineKind::Candle
    }

    fn version(&self) -> String {
        VERSION.into()
    }

    fn load(&self, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Session>, EngineError> {
        let on_cpu = || Loaded::new(weights, Device::Cpu, options);
        let (mut session, accelerator) = decide(options.use_gpu, || accelerated(weights, options), on_cpu)?;
        session.accelerator = accelerator;
        Ok(Box::new(session))
    }
}

/// Everything runs on the device that the tensors are on, or fails, so a run that succeeds is the probe.
#[cfg(feature = "candle-cuda")]
fn accelerated(weights: &Weights, options: &LoadOptions) -> Result<Probed<Loaded>, EngineError> {
    // Where a library of CUDA is missing this panics with its name.
    let device = guarded("candle", || Device::new_cuda(options.gpu.device as usize));
    let device = device.and_then(|device| device.map_err(|e| e.to_string()));
    let device = device.map_err(|e| EngineError::NoAccelerator { reason: format!("CUDA failed: {e}") })?;
    let mut session = Loaded::new(weights, device, options)?;
    session.run(&super::probe_inputs(&session.inputs), &mut Vec::new())?;
    Ok(Probed { session, ran: super::DeviceKind::Cuda, reason: "a probe ran by CUDA".into() })
}

#[cfg(not(feature = "candle-cuda"))]
fn accelerated(_: &Weights, _: &LoadOptions) -> Result<Probed<Loaded>, EngineError> {
    Err(EngineError::NoAccelerator { reason: "this build lacks the feature `candle-cuda`".into() })
}

struct Loaded {
    program: Program,
    device: Device,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    /// candle computes on as many threads as the pool has that it is called from.
    threads: ThreadPool,
    accelerator: Accelerator,
    memory_bytes: u64,
}

impl Loaded {
    fn new(weights: &Weights, device: Device, options: &LoadOptions) -> Result<Self, EngineError> {
        let failed = |reason: String| EngineError::load(EngineKind::Candle, &weights.name, reason);
        let graph =
            weights.graph.as_deref().ok_or_else(|| failed("it comes without its list of nodes".into()))?;
        let threads = ThreadPoolBuilder::new().num_threads(options.threads.max(1));
        let threads = threads.thread_name(|_| "candle".into()).build().map_err(|e| failed(e.to_string()))?;
        let program = guarded("candle", || threads.install(|| Program::load(graph, &weights.data, &device)));
        let program = program.and_then(|program| program).map_err(failed)?;
        let (inputs, outputs) = (program.inputs().to_vec(), program.outputs().to_vec());
        check_sizes(&inputs).and(check_sizes(&outputs)).map_err(failed)?;
        let accelerator = Accelerator::cpu(UseGpu::Auto, "");
        let memory_bytes = weights.data.len() as u64;
        Ok(Self { program, device, inputs, outputs, threads, accelerator, memory_bytes })
    }

    fn compute(&self, inputs: &[Tensor]) -> Result<Vec<CandleTensor>, String> {
        let given = inputs.iter().map(|tensor| match tensor.numbers() {
            Numbers::F32(data) => CandleTensor::from_slice(data, tensor.shape(), &self.device),
            // Invariant: no graph has inputs of integers; `check_inputs` refused them.
            Numbers::I32(_) => Err(candle_core::Error::Msg("integers do not go in".into())),
        });
        let given = given.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
        guarded("candle", || self.threads.install(|| self.program.run(given)))?
    }
}

impl Session for Loaded {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        check_inputs(&self.inputs, inputs)?;
        let results = self.compute(inputs).map_err(EngineError::run)?;
        outputs.resize_with(results.len(), Tensor::default);
        results
            .iter()
            .zip(outputs)
            .try_for_each(|(from, to)| copy(from, to).map_err(|e| EngineError::run(e.to_string())))
    }

    fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

fn copy(from: &CandleTensor, to: &mut Tensor) -> Result<(), candle_core::Error> {
    let data = from.flatten_all()?.to_vec1::<f32>()?;
    to.reshape(DType::F32, from.dims());
    to.f32_mut().copy_from_slice(&data);
    Ok(())
}

/// Refuses a tensor of a size that nobody can want before candle makes room for it.
fn check_elements(sides: &[usize]) -> Result<(), candle_core::Error> {
    let all = sides.iter().copied().try_fold(1usize, usize::checked_mul);
    if all.is_some_and(|all| all <= MAX_ELEMENTS) {
        return Ok(());
    }
    Err(candle_core::Error::Msg(format!("a tensor of {sides:?} numbers is too large")))
}
