//! libtorch: TorchScript.
//!
//! A TorchScript archive does not say what goes in and comes out, so a list of nodes lies beside it, of which inputs
//! and outputs are read. Such an archive is a program: load only what you trust.

use tch::{CModule, Cuda, Device, IValue, Kind, TchError, Tensor as TorchTensor};

use super::device::{Probed, decide};
use super::graph_file::GraphFile;
use super::{
    Accelerator, DeviceKind, Engine, EngineError, EngineKind, LoadOptions, MAX_ELEMENTS, Session, UseGpu,
    Weights, check_inputs, check_sizes, probe_inputs,
};
use crate::tensor::{DType, Numbers, Tensor, TensorSpec};

/// Version of libtorch that the crate `tch` is made for and insists on.
const VERSION: &str = "2.13.0";

/// libtorch.
pub(super) struct Torch;

impl Engine for Torch {
    fn kind(&self) -> EngineKind {
        EngineKind::Torch
    }

    fn version(&self) -> String {
        VERSION.into()
    }

    fn load(&self, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Session>, EngineError> {
        // libtorch has one number of threads for all models. The last one loaded sets it.
        tch::set_num_threads(options.threads.max(1).try_into().unwrap_or(i32::MAX));
        let on_cpu = || Loaded::new(weights, Device::Cpu);
        let (mut session, accelerator) = decide(options.use_gpu, || accelerated(weights, options), on_cpu)?;
        session.accelerator = accelerator;
        Ok(Box::new(session))
    }
}

/// Results stay where they were computed, so the place of the first one tells what a probe ran on.
fn accelerated(weights: &Weights, options: &LoadOptions) -> Result<Probed<Loaded>, EngineError> {
    let missing = |reason: &str| Err(EngineError::NoAccelerator { reason: reason.into() });
    if !tch::utils::has_cuda() {
        return missing("this libtorch is built without CUDA");
    }
    if !Cuda::is_available() {
        return missing("libtorch finds no CUDA device or driver");
    }
    let device = Device::Cuda(options.gpu.device as usize);
    let mut session = Loaded::new(weights, device)?;
    let inputs = probe_inputs(&session.inputs);
    let results = session.compute(&inputs).map_err(|e| EngineError::run(reason(&e)))?;
    session.run(&inputs, &mut Vec::new())?;
    let ran = match results.first().map(TorchTensor::device) {
        Some(Device::Cuda(_)) => DeviceKind::Cuda,
        _ => DeviceKind::Cpu,
    };
    Ok(Probed { session, ran, reason: format!("a probe left its result on {ran}") })
}

struct Loaded {
    module: CModule,
    device: Device,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    accelerator: Accelerator,
    memory_bytes: u64,
}

impl Loaded {
    fn new(weights: &Weights, device: Device) -> Result<Self, EngineError> {
        let failed = |reason: String| EngineError::load(EngineKind::Torch, &weights.name, reason);
        let graph =
            weights.graph.as_deref().ok_or_else(|| failed("it comes without its list of nodes".into()))?;
        let graph = GraphFile::parse(graph).map_err(failed)?;
        let (inputs, outputs) = (graph.inputs(), graph.outputs());
        check_sizes(&inputs).and(check_sizes(&outputs)).map_err(failed)?;
        let mut data: &[u8] = &weights.data;
        let module = CModule::load_data_on_device(&mut data, device).map_err(|e| failed(reason(&e)))?;
        let accelerator = Accelerator::cpu(UseGpu::Auto, "");
        Ok(Self { module, device, inputs, outputs, accelerator, memory_bytes: weights.data.len() as u64 })
    }

    fn compute(&self, inputs: &[Tensor]) -> Result<Vec<TorchTensor>, TchError> {
        let given = inputs.iter().map(|tensor| Ok(IValue::Tensor(self.upload(tensor)?)));
        let given = given.collect::<Result<Vec<_>, TchError>>()?;
        let _no_gradients = tch::no_grad_guard();
        // Its optimiser would watch the first runs, and again after every change of size, and make nothing faster.
        tch::jit::f_set_graph_executor_optimize(false)?;
        results(self.module.forward_is(&given)?)
    }

    fn upload(&self, tensor: &Tensor) -> Result<TorchTensor, TchError> {
        let shape: Vec<i64> = tensor.shape().iter().map(|&side| side as i64).collect();
        let flat = match tensor.numbers() {
            Numbers::F32(data) => TorchTensor::f_from_slice(data)?,
            Numbers::I32(data) => TorchTensor::f_from_slice(data)?,
        };
        flat.f_reshape(shape)?.f_to_device(self.device)
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
        let failed = |error: TchError| EngineError::run(reason(&error));
        let results = self.compute(inputs).map_err(failed)?;
        if results.len() != self.outputs.len() {
            let (came, wanted) = (results.len(), self.outputs.len());
            return Err(EngineError::run(format!("{came} results came, not {wanted}")));
        }
        outputs.resize_with(results.len(), Tensor::default);
        results.iter().zip(outputs).try_for_each(|(from, to)| copy(from, to)).map_err(failed)
    }

    fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

/// One tensor, or several in a tuple or list.
fn results(value: IValue) -> Result<Vec<TorchTensor>, TchError> {
    let other = || TchError::Convert("the model gives something that is no tensor".into());
    match value {
        IValue::Tensor(tensor) => Ok(vec![tensor]),
        IValue::TensorList(tensors) => Ok(tensors),
        IValue::Tuple(values) => {
            let tensor = |value| if let IValue::Tensor(tensor) = value { Ok(tensor) } else { Err(other()) };
            values.into_iter().map(tensor).collect()
        }
        _ => Err(other()),
    }
}

fn copy(from: &TorchTensor, to: &mut Tensor) -> Result<(), TchError> {
    let shape: Vec<usize> = from.size().into_iter().map(|side| side.max(0) as usize).collect();
    let count =
        shape.iter().copied().try_fold(1usize, usize::checked_mul).filter(|count| *count <= MAX_ELEMENTS);
    let count =
        count.ok_or_else(|| TchError::Shape(format!("a result of {shape:?} numbers is too large")))?;
    let from = from.f_to_device(Device::Cpu)?;
    if matches!(from.f_kind()?, Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double) {
        to.reshape(DType::F32, &shape);
        return from.f_to_kind(Kind::Float)?.f_contiguous()?.f_copy_data(to.f32_mut(), count);
    }
    to.reshape(DType::I32, &shape);
    from.f_to_kind(Kind::Int)?.f_contiguous()?.f_copy_data(to.i32_mut(), count)
}

/// libtorch's first line; the C++ stack follows.
fn reason(error: &TchError) -> String {
    let text = error.to_string();
    text.trim().lines().next().unwrap_or_default().to_owned()
}
