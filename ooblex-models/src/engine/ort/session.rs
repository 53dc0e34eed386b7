//! A model loaded by ONNX Runtime.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session, SessionInputValue};
use ort::value::{
    DynTensor, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, TensorValueTypeMarker, Value,
};

use crate::engine::{
    Accelerator, DeviceKind, EngineError, MAX_ELEMENTS, Session as EngineSession, UseGpu, check_inputs,
};
use crate::tensor::{DType, Numbers, Tensor, TensorSpec};

/// Sizes of inputs for which buffers are kept. A model sees one size for long, and a few where several streams share it.
const MAX_BINDINGS: usize = 4;

/// A session with its buffers.
///
/// Inputs of a size that was seen before are copied into buffers that are bound to the session, and results come into
/// bound buffers of the sizes that were seen then: in steady state nothing is allocated for either.
pub(super) struct OnnxSession {
    session: Session,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    /// The one used last comes last.
    bindings: Vec<Binding>,
    /// Whether the sizes of the results follow from those of the inputs.
    bindable: bool,
    weights_bytes: u64,
    accelerator: Accelerator,
    /// Number of the accelerator.
    device: u32,
    pub(super) max_batch: usize,
}

struct Binding {
    io: IoBinding,
    shapes: Vec<Vec<usize>>,
    inputs: Vec<DynTensor>,
    outputs: Vec<DynTensor>,
}

impl OnnxSession {
    /// Describes a session that has just been made.
    ///
    /// # Errors
    /// What of it is not supported.
    pub(super) fn new(session: Session, weights_bytes: u64) -> Result<Self, String> {
        let inputs = session.inputs().iter().map(|outlet| spec(outlet, &INPUTS)).collect::<Result<_, _>>()?;
        let outputs =
            session.outputs().iter().map(|outlet| spec(outlet, &OUTPUTS)).collect::<Result<_, _>>()?;
        Ok(Self {
            session,
            inputs,
            outputs,
            bindings: Vec::new(),
            bindable: true,
            weights_bytes,
            accelerator: Accelerator::cpu(UseGpu::Auto, ""),
            device: 0,
            max_batch: 1,
        })
    }

    /// Notes where it runs.
    pub(super) fn placed(&mut self, accelerator: Accelerator, device: u32) {
        (self.accelerator, self.device) = (accelerator, device);
        // Buffers of a probe are not in the memory that suits the device.
        self.bindings.clear();
    }

    /// Gives what a probe needs that runs the session by itself.
    #[cfg(any(feature = "onnx-cuda", test))]
    pub(super) fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Runs without buffers of our own, and learns the sizes of the results.
    fn run_unbound(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), ort::Error> {
        let values = inputs.iter().map(view).collect::<Result<Vec<_>, _>>()?;
        let results = self.session.run(values.as_slice())?;
        outputs.resize_with(results.len(), Tensor::default);
        results.values().zip(outputs).try_for_each(|(value, to)| copy_out(&value, to))
    }

    /// Makes buffers for inputs like these, and results like those.
    fn bind(&mut self, inputs: &[Tensor], outputs: &[Tensor]) -> Result<(), ort::Error> {
        let host = self.host_memory();
        let mut io = self.session.create_binding()?;
        let element = |dtype| match dtype {
            DType::F32 => TensorElementType::Float32,
            DType::I32 => TensorElementType::Int32,
        };
        let buffer = |tensor: &Tensor, element| DynTensor::new(&host, element, tensor.shape());
        let bound_inputs = inputs
            .iter()
            .map(|tensor| buffer(tensor, element(tensor.dtype())))
            .collect::<Result<Vec<_>, _>>()?;
        let mut bound_outputs = Vec::with_capacity(outputs.len());
        for (outlet, tensor) in self.session.outputs().iter().zip(outputs) {
            let mut bound =
                buffer(tensor, outlet.dtype().tensor_type().unwrap_or(TensorElementType::Undefined))?;
            io.bind_output(outlet.name(), &mut bound)?;
            bound_outputs.push(bound);
        }
        if self.bindings.len() == MAX_BINDINGS {
            self.bindings.remove(0);
        }
        let shapes = inputs.iter().map(|tensor| tensor.shape().to_vec()).collect();
        self.bindings.push(Binding { io, shapes, inputs: bound_inputs, outputs: bound_outputs });
        Ok(())
    }

    /// Memory that the device reads and writes directly, if there is a device.
    fn host_memory(&self) -> Allocator {
        let pinned = || {
            let device = i32::try_from(self.device).unwrap_or_default();
            let (memory, kind) = (AllocationDevice::CUDA_PINNED, AllocatorType::Device);
            Allocator::new(&self.session, MemoryInfo::new(memory, device, kind, MemoryType::CPUOutput)?)
        };
        match self.accelerator.ran {
            DeviceKind::Cpu => Allocator::default(),
            _ => pinned().unwrap_or_default(),
        }
    }

    fn run_bound(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), ort::Error> {
        let Some(binding) = self.bindings.last_mut() else { return Ok(()) };
        for ((outlet, tensor), bound) in self.session.inputs().iter().zip(inputs).zip(&mut binding.inputs) {
            copy_in(tensor, bound)?;
            // A device copies the numbers at this moment; on the CPU it costs a microsecond.
            binding.io.bind_input(outlet.name(), bound)?;
        }
        // Copies to and from a device may still be under way.
        let synchronise = self.accelerator.ran != DeviceKind::Cpu;
        if synchronise {
            binding.io.synchronize_inputs()?;
        }
        self.session.run_binding(&binding.io)?;
        if synchronise {
            binding.io.synchronize_outputs()?;
        }
        outputs.resize_with(binding.outputs.len(), Tensor::default);
        binding.outputs.iter().zip(outputs).try_for_each(|(bound, to)| copy_out(bound, to))
    }

    /// Puts the binding for these inputs last, if there is one.
    fn find_binding(&mut self, inputs: &[Tensor]) -> bool {
        let fits =
            |binding: &Binding| binding.shapes.iter().map(Vec::as_slice).eq(inputs.iter().map(Tensor::shape));
        let Some(index) = self.bindings.iter().rposition(fits) else { return false };
        self.bindings[index..].rotate_left(1);
        true
    }
}

impl EngineSession for OnnxSession {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        check_inputs(&self.inputs, inputs)?;
        let failed = |error: ort::Error| EngineError::run(error.message());
        if self.find_binding(inputs) {
            match self.run_bound(inputs, outputs) {
                Ok(()) => return Ok(()),
                // The sizes of its results depend on the numbers; if not, the next line fails, too, and says why.
                Err(error) => tracing::debug!(%error, "a run with bound results failed"),
            }
            self.run_unbound(inputs, outputs).map_err(failed)?;
            self.bindable = false;
            self.bindings.clear();
            return Ok(());
        }
        self.run_unbound(inputs, outputs).map_err(failed)?;
        if self.bindable
            && let Err(error) = self.bind(inputs, outputs)
        {
            tracing::debug!(%error, "no buffers could be bound");
        }
        Ok(())
    }

    fn max_batch(&self) -> usize {
        self.max_batch
    }

    fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    fn memory_bytes(&self) -> u64 {
        let bytes = |tensor: &DynTensor| 4 * tensor.shape().num_elements() as u64;
        let buffers = self.bindings.iter().flat_map(|binding| binding.inputs.iter().chain(&binding.outputs));
        self.weights_bytes + buffers.map(bytes).sum::<u64>()
    }

    fn rest(&mut self) -> Result<(), EngineError> {
        let Some(binding) = self.bindings.last() else { return Ok(()) };
        // ONNX Runtime gives arenas back at the end of a run alone, so there has to be one.
        let mut shrink = || -> Result<(), ort::Error> {
            let mut options = RunOptions::new()?;
            let arena = match self.accelerator.ran {
                DeviceKind::Cpu => "cpu:0".to_owned(),
                _ => format!("gpu:{}", self.device),
            };
            options.set("memory.enable_memory_arena_shrinkage", arena)?;
            self.session.run_binding_with_options(&binding.io, &options).map(drop)
        };
        shrink().map_err(|error| EngineError::run(error.message()))
    }
}

/// Types of numbers that can go in.
const INPUTS: [(TensorElementType, DType); 2] =
    [(TensorElementType::Float32, DType::F32), (TensorElementType::Int32, DType::I32)];
/// Types of numbers that can come out; integers beyond 32 bits saturate, truth is 1.
const OUTPUTS: [(TensorElementType, DType); 6] = [
    (TensorElementType::Float32, DType::F32),
    (TensorElementType::Int32, DType::I32),
    (TensorElementType::Int64, DType::I32),
    (TensorElementType::Int8, DType::I32),
    (TensorElementType::Uint8, DType::I32),
    (TensorElementType::Bool, DType::I32),
];

fn spec(outlet: &Outlet, supported: &[(TensorElementType, DType)]) -> Result<TensorSpec, String> {
    let (Some(element), Some(shape)) = (outlet.dtype().tensor_type(), outlet.dtype().tensor_shape()) else {
        return Err(format!("{} is {}, not a tensor", outlet.name(), outlet.dtype()));
    };
    let dtype = supported.iter().find(|(known, _)| *known == element).map(|(_, dtype)| *dtype);
    let dtype =
        dtype.ok_or_else(|| format!("{} is of type {element}, which is not supported", outlet.name()))?;
    Ok(TensorSpec::new(outlet.name(), dtype, shape.iter().map(|side| usize::try_from(*side).ok()).collect()))
}

fn view(tensor: &Tensor) -> Result<SessionInputValue<'_>, ort::Error> {
    Ok(match tensor.numbers() {
        Numbers::F32(data) => TensorRef::from_array_view((tensor.shape(), data))?.into(),
        Numbers::I32(data) => TensorRef::from_array_view((tensor.shape(), data))?.into(),
    })
}

fn copy_in(tensor: &Tensor, bound: &mut DynTensor) -> Result<(), ort::Error> {
    match tensor.numbers() {
        Numbers::F32(data) => bound.try_extract_tensor_mut::<f32>()?.1.copy_from_slice(data),
        Numbers::I32(data) => bound.try_extract_tensor_mut::<i32>()?.1.copy_from_slice(data),
    }
    Ok(())
}

fn copy_out<T: TensorValueTypeMarker + ?Sized>(value: &Value<T>, to: &mut Tensor) -> Result<(), ort::Error> {
    let element = value.dtype().tensor_type();
    let shape: Vec<usize> = value
        .dtype()
        .tensor_shape()
        .iter()
        .flat_map(|shape| shape.iter())
        .map(|&side| side.max(0) as usize)
        .collect();
    if shape.iter().try_fold(1usize, |all, side| all.checked_mul(*side)).is_none_or(|all| all > MAX_ELEMENTS)
    {
        return Err(ort::Error::new(format!("a result of {shape:?} numbers is too large")));
    }
    let dtype = if element == Some(TensorElementType::Float32) { DType::F32 } else { DType::I32 };
    to.reshape(dtype, &shape);
    let saturate = |value: i64| i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX });
    match element {
        Some(TensorElementType::Float32) => to.f32_mut().copy_from_slice(value.try_extract_tensor()?.1),
        Some(TensorElementType::Int32) => to.i32_mut().copy_from_slice(value.try_extract_tensor()?.1),
        Some(TensorElementType::Int64) => convert(value, to, saturate)?,
        Some(TensorElementType::Int8) => convert(value, to, |value: i8| value.into())?,
        Some(TensorElementType::Uint8) => convert(value, to, |value: u8| value.into())?,
        _ => convert(value, to, |value: bool| value.into())?,
    }
    Ok(())
}

fn convert<N: PrimitiveTensorElementType + Copy, T: TensorValueTypeMarker + ?Sized>(
    value: &Value<T>,
    to: &mut Tensor,
    number: impl Fn(N) -> i32,
) -> Result<(), ort::Error> {
    let from = value.try_extract_tensor::<N>()?.1;
    to.i32_mut().iter_mut().zip(from).for_each(|(to, from)| *to = number(*from));
    Ok(())
}
