//! rten: ONNX in pure Rust, on the CPU.

use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView, ValueType, ValueView};
use rten_tensor::prelude::*;

use super::{
    Accelerator, Engine, EngineError, EngineKind, LoadOptions, Session, UseGpu, Weights, check_inputs,
};
use crate::tensor::{DType, Numbers, Tensor, TensorSpec};

/// Version of the crate, as `Cargo.toml` pins it.
const VERSION: &str = "0.27";

/// The engine that is always there.
#[derive(Debug, Default)]
pub(super) struct Rten;

impl Rten {
    pub(super) fn new() -> Self {
        Self
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
        let failed = |reason: String| EngineError::Load {
            kind: EngineKind::Rten,
            model: weights.name.to_string(),
            reason,
        };
        if options.use_gpu == UseGpu::Required {
            return Err(EngineError::NoAccelerator { reason: "rten runs on the CPU alone".into() });
        }
        let mut model_options = ModelOptions::with_all_ops();
        model_options.prepack_weights(true);
        let model = model_options.load(weights.data.to_vec()).map_err(|e| failed(e.to_string()))?;
        let inputs = specs(&model, model.input_ids()).map_err(failed)?;
        let outputs = specs(&model, model.output_ids()).map_err(failed)?;
        let pool = ThreadPool::with_num_threads(options.threads.max(1));
        let run_options = RunOptions::default().with_thread_pool(Some(Arc::new(pool)));
        let reason = match options.use_gpu {
            UseGpu::Off => "switched off",
            _ => "rten runs on the CPU alone",
        };
        Ok(Box::new(Loaded {
            // Twice: as loaded, and packed for multiplication.
            memory_bytes: 2 * 4 * model.total_params() as u64,
            model,
            inputs,
            outputs,
            run_options,
            accelerator: Accelerator::cpu(options.use_gpu, reason),
        }))
    }
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
        let failed = |reason: String| EngineError::Run { reason };
        let mut given: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(inputs.len());
        for (&id, tensor) in self.model.input_ids().iter().zip(inputs) {
            let shape = tensor.shape();
            let view = match tensor.numbers() {
                Numbers::F32(data) => ValueView::from_shape(shape, data).map_err(|e| e.to_string()),
                Numbers::I32(data) => ValueView::from_shape(shape, data).map_err(|e| e.to_string()),
            };
            given.push((id, view.map_err(failed)?.into()));
        }
        let values = self
            .model
            .run(given, self.model.output_ids(), Some(self.run_options.clone()))
            .map_err(|e| failed(e.to_string()))?;
        outputs.resize_with(values.len(), Tensor::default);
        values.into_iter().zip(outputs).try_for_each(|(value, to)| copy(value, to).map_err(failed))
    }

    fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

fn copy(value: Value, to: &mut Tensor) -> Result<(), String> {
    match value {
        Value::FloatTensor(tensor) => {
            to.reshape(DType::F32, tensor.shape());
            to.f32_mut().copy_from_slice(tensor.to_contiguous().data());
        }
        Value::Int32Tensor(tensor) => {
            to.reshape(DType::I32, tensor.shape());
            to.i32_mut().copy_from_slice(tensor.to_contiguous().data());
        }
        other => return Err(format!("the model gives {:?}, which is not supported", other.dtype())),
    }
    Ok(())
}

fn specs(model: &Model, ids: &[NodeId]) -> Result<Vec<TensorSpec>, String> {
    let spec = |&id: &NodeId| {
        let info = model.node_info(id).ok_or("the model does not describe its inputs")?;
        let name = info.name().unwrap_or_default();
        let dtype = match info.dtype() {
            Some(ValueType::Tensor(rten::DataType::Float)) | None => DType::F32,
            Some(ValueType::Tensor(rten::DataType::Int32)) => DType::I32,
            Some(other) => return Err(format!("{name} is {other:?}, which is not supported")),
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
