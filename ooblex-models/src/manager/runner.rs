//! The thread that owns a loaded model.

use std::time::{Duration, Instant};

use ooblex_core::worker::{Caller, Work, Worker, WorkerStats};
use ooblex_core::{BatchHint, BoxError, Clock};

use crate::engine::{Accelerator, Engine, EngineError, EngineKind, LoadOptions, Session, Weights};
use crate::tensor::{DType, Tensor, TensorSpec};

/// One run: what goes in, what comes out.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) inputs: Vec<Tensor>,
    pub(super) outputs: Vec<Tensor>,
    pub(super) result: Result<(), EngineError>,
}

/// A model in memory, with the thread that owns it.
pub struct Loaded {
    worker: Worker<Box<Io>>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    engine: EngineKind,
    accelerator: Accelerator,
    memory_bytes: u64,
    took: Duration,
}

impl Loaded {
    /// Loads a model on a thread of its own and runs it once. Blocks until that is done.
    pub(super) fn new(
        engine: &std::sync::Arc<dyn Engine>,
        weights: Weights,
        options: LoadOptions,
        warm_up: Vec<Vec<usize>>,
    ) -> Result<Self, EngineError> {
        let begun = Instant::now();
        let name = format!("model-{}", weights.name);
        let (kind, engine) = (engine.kind(), engine.clone());
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let build = move || {
            let mut session = engine.load(&weights, &options)?;
            let mut io = io_for(session.inputs(), &warm_up);
            session.run(&io.inputs, &mut io.outputs)?;
            check_outputs(session.outputs(), &io.outputs)?;
            let about = (
                session.inputs().to_vec(),
                session.outputs().to_vec(),
                session.accelerator().clone(),
                session.memory_bytes(),
            );
            // Invariant: the receiver waits below, and this is sent once.
            let _ = tell.send(about);
            Ok(Owner { max_batch: session.max_batch().clamp(1, options.max_batch.max(1)), session })
        };
        let worker = Worker::spawn(&name, Clock::system(), build).map_err(|e| as_engine_error(e, kind))?;
        let lost = |_| EngineError::Run { reason: "the model's thread ended while it was loaded".into() };
        let (inputs, outputs, accelerator, memory_bytes) = told.recv().map_err(lost)?;
        Ok(Self { worker, inputs, outputs, engine: kind, accelerator, memory_bytes, took: begun.elapsed() })
    }

    /// What goes in.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    /// What comes out.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// What runs it.
    pub fn engine(&self) -> EngineKind {
        self.engine
    }

    /// Where it runs, and why.
    pub fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    /// Memory that it holds, as far as it is known.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// How long loading and the first run took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Counters of its thread.
    pub fn stats(&self) -> &WorkerStats {
        self.worker.stats()
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.worker.failure()
    }

    pub(super) fn caller(&self) -> Caller<Box<Io>> {
        self.worker.caller()
    }

    pub(super) fn io(&self) -> Io {
        io_for(&self.inputs, &[])
    }
}

/// Inputs of zeros: of the model's own shapes, or where these are open of the given ones, or of one item of nothing.
fn io_for(specs: &[TensorSpec], shapes: &[Vec<usize>]) -> Io {
    let input = |(index, spec): (usize, &TensorSpec)| {
        let given = shapes.get(index).filter(|shape| spec.fits(spec.dtype, shape));
        let own = || spec.shape.iter().map(|side| side.unwrap_or(1)).collect();
        Tensor::zeros(spec.dtype, &given.cloned().unwrap_or_else(own))
    };
    let inputs = specs.iter().enumerate().map(input).collect();
    Io { inputs, outputs: Vec::new(), result: Ok(()) }
}

/// A first run tells whether a model works at all.
fn check_outputs(specs: &[TensorSpec], outputs: &[Tensor]) -> Result<(), EngineError> {
    let wrong = |reason: String| Err(EngineError::Run { reason });
    if specs.len() != outputs.len() {
        return wrong(format!("{} outputs came, not {}", outputs.len(), specs.len()));
    }
    for (spec, output) in specs.iter().zip(outputs) {
        if output.dtype() == DType::F32 && !output.f32().iter().all(|v| v.is_finite()) {
            return wrong(format!("output {spec} is not finite for an input of zeros"));
        }
    }
    Ok(())
}

fn as_engine_error(error: BoxError, kind: EngineKind) -> EngineError {
    match error.downcast::<EngineError>() {
        Ok(error) => *error,
        Err(error) => EngineError::Unavailable { kind, reason: error.to_string() },
    }
}

struct Owner {
    session: Box<dyn Session>,
    max_batch: usize,
}

impl Work<Box<Io>> for Owner {
    fn run(&mut self, batch: &mut [Box<Io>]) -> Result<(), String> {
        for io in batch {
            io.result = self.session.run(&io.inputs, &mut io.outputs);
        }
        Ok(())
    }

    fn hint(&self) -> BatchHint {
        BatchHint { max_frames: self.max_batch, ..BatchHint::default() }
    }
}
