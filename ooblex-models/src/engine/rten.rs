//! rten: ONNX in pure Rust, on the CPU.
//!
//! It computes in 32-bit floats and integers whatever a model says: floats of 16 and 64 bits become the one, integers of
//! 64 bits and truth values the other.

use std::sync::{Arc, Mutex, PoisonError};

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueType, ValueView};
use rten_tensor::prelude::*;

use super::device::decide;
use super::error::guarded;
use super::{
    Accelerator, Engine, EngineError, EngineKind, FileData, LoadOptions, MAX_ELEMENTS, Session, Weights,
    check_inputs, check_sizes, onnx_file,
};
use crate::tensor::{DType, Numbers, Tensor, TensorSpec};

/// Version of the crate, as `Cargo.toml` pins it.
const VERSION: &str = "0.27";

/// The engine that is always there.
#[derive(Default)]
pub(super) struct Rten {
    /// Threads that all models share, and how many.
    shared: Mutex<Option<(usize, Arc<ThreadPool>)>>,
}

impl Rten {
    /// Several threads are shared by all models, so that there are never more of them than asked for. One thread each
    /// is what ONNX Runtime gives a model, too: were it shared, models would wait for one another while cores are idle.
    fn threads(&self, count: usize) -> Arc<ThreadPool> {
        let new = || Arc::new(ThreadPool::with_num_threads(count));
        if count == 1 {
            return new();
        }
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shared {
            Some((threads, pool)) if *threads == count => pool.clone(),
            _ => shared.insert((count, new())).1.clone(),
        }
    }
}

impl Engine for Rten {
    fn kind(&self) -> EngineKind {
        EngineKind::Rten
    }

    fn version(&self) -> String {
        VERSION.into()
    }

    fn load(&self, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Session>, EngineError> {
        let accelerated = || Err(EngineError::NoAccelerator { reason: "rten runs on the CPU alone".into() });
        let (mut session, accelerator) =
            decide(options.use_gpu, accelerated, || self.on_cpu(weights, options))?;
        session.accelerator = accelerator;
        Ok(Box::new(session))
    }
}

impl Rten {
    fn on_cpu(&self, weights: &Weights, options: &LoadOptions) -> Result<Loaded, EngineError> {
        let failed = |reason: String| EngineError::load(EngineKind::Rten, &weights.name, reason);
        let model = load(&weights.data).map_err(failed)?;
        let inputs = specs(&model, model.input_ids(), &[INTEGERS]).map_err(failed)?;
        let outputs = specs(&model, model.output_ids(), &[INTEGERS, BYTES, SIGNED_BYTES]).map_err(failed)?;
        check_sizes(&inputs).and(check_sizes(&outputs)).map_err(failed)?;
        let threads = self.threads(options.threads.max(1));
        Ok(Loaded {
            // As loaded, and matrices once more, packed for multiplication.
            memory_bytes: 2 * 4 * model.total_params() as u64,
            model,
            inputs,
            outputs,
            run_options: RunOptions::default().with_thread_pool(Some(threads)),
            accelerator: Accelerator::cpu(options.use_gpu, ""),
        })
    }
}

/// What is compiled in is used where it is.
fn load(data: &FileData) -> Result<Model, String> {
    onnx_file::check(data)?;
    let mut options = ModelOptions::with_all_ops();
    options.prepack_weights(true);
    let model = guarded("rten", || match data {
        FileData::Static(data) => options.load_static_slice(data),
        FileData::Shared(data) => options.load(data.to_vec()),
    })?;
    model.map_err(|e| e.to_string())
}

struct Loaded {
    model: Model,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    run_options: RunOptions,
    accelerator: Accelerator,
    memory_bytes: u64,
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
        let mut given: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(inputs.len());
        for (&id, tensor) in self.model.input_ids().iter().zip(inputs) {
            let shape = tensor.shape();
            let view = match tensor.numbers() {
                Numbers::F32(data) => ValueView::from_shape(shape, data).map_err(|e| e.to_string()),
                Numbers::I32(data) => ValueView::from_shape(shape, data).map_err(|e| e.to_string()),
            };
            given.push((id, view.map_err(EngineError::run)?.into()));
        }
        let options = self.run_options.clone();
        let values = guarded("rten", || self.model.run(given, self.model.output_ids(), Some(options)));
        let values = values.map_err(EngineError::run)?.map_err(|e| EngineError::run(e.to_string()))?;
        outputs.resize_with(values.len(), Tensor::default);
        values.into_iter().zip(outputs).try_for_each(|(value, to)| copy(value, to).map_err(EngineError::run))
    }

    fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

/// rten keeps 64-bit integers and truth values as 32-bit integers, and so do we with the narrower ones.
fn copy(value: Value, to: &mut Tensor) -> Result<(), String> {
    if value.len() > MAX_ELEMENTS {
        return Err(format!("a result of {:?} numbers is too large", value.shape()));
    }
    match value {
        Value::FloatTensor(tensor) => {
            to.reshape(DType::F32, tensor.shape());
            to.f32_mut().copy_from_slice(tensor.to_contiguous().data());
        }
        Value::Int32Tensor(tensor) => copy_integers(&tensor, to),
        Value::Int8Tensor(tensor) => copy_integers(&tensor, to),
        Value::UInt8Tensor(tensor) => copy_integers(&tensor, to),
        other => return Err(format!("the model gives {:?}, which is not supported", other.dtype())),
    }
    Ok(())
}

fn copy_integers<T: Copy + Into<i32>>(tensor: &rten_tensor::Tensor<T>, to: &mut Tensor) {
    to.reshape(DType::I32, tensor.shape());
    to.i32_mut().iter_mut().zip(tensor.iter()).for_each(|(to, from)| *to = (*from).into());
}

const INTEGERS: ValueType = ValueType::Tensor(rten::DataType::Int32);
const BYTES: ValueType = ValueType::Tensor(rten::DataType::UInt8);
const SIGNED_BYTES: ValueType = ValueType::Tensor(rten::DataType::Int8);

/// What the model says about its inputs or outputs; besides floats, `integers` are supported.
fn specs(model: &Model, ids: &[NodeId], integers: &[ValueType]) -> Result<Vec<TensorSpec>, String> {
    let spec = |&id: &NodeId| {
        let info = model.node_info(id).ok_or("the model does not describe its inputs")?;
        let name = info.name().unwrap_or_default();
        let dtype = match info.dtype() {
            Some(ValueType::Tensor(rten::DataType::Float)) => DType::F32,
            Some(dtype) if integers.contains(&dtype) => DType::I32,
            Some(other) => return Err(format!("{name} is of type {other:?}, which is not supported")),
            // rten passes over types that it does not have.
            None => return Err(format!("{name} is of a type that is not supported")),
        };
        let sides = info.shape().unwrap_or_default().into_iter();
        let shape = sides.map(|side| match side {
            rten::Dimension::Fixed(side) => Some(side),
            rten::Dimension::Symbolic(_) => None,
        });
        Ok(TensorSpec::new(name, dtype, shape.collect()))
    };
    ids.iter().map(spec).collect()
}
