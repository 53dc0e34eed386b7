//! The thread that owns a loaded model.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ooblex_core::worker::{Caller, Work, Worker, WorkerStats};
use ooblex_core::{BatchHint, BoxError, Clock};

use super::batch;
use super::gone::{Gone, Tenant};
use crate::engine::{
    Accelerator, DeviceKind, Engine, EngineError, EngineKind, LoadOptions, Session, Weights,
};
use crate::tensor::{Tensor, TensorSpec, all_finite};

/// An input of more numbers than this (1 GiB of them) is a mistake in the model.
const MOST_NUMBERS: usize = 1 << 28;

/// One run: what goes in, what comes out.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) inputs: Vec<Tensor>,
    pub(super) outputs: Vec<Tensor>,
    pub(super) result: Result<(), EngineError>,
}

/// What to load, and how.
pub(super) struct Order {
    pub(super) weights: Weights,
    pub(super) options: LoadOptions,
    pub(super) warm_up: Vec<Vec<usize>>,
    pub(super) patience: Duration,
    pub(super) rest_after: Duration,
    pub(super) clock: Clock,
    /// Told when the thread has let go of the model, also if loading fails.
    pub(super) gone: Gone,
}

/// A model in memory, with the thread that owns it.
pub struct Loaded {
    worker: Worker<Box<Io>>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    engine: EngineKind,
    accelerator: Accelerator,
    memory_bytes: Arc<AtomicU64>,
    took: Duration,
    gone: Gone,
    /// Why it does not run where it was wanted.
    degraded: Option<String>,
}

impl Loaded {
    /// Loads a model on a thread of its own and runs it once. Blocks until that is done.
    pub(super) fn new(engine: &Arc<dyn Engine>, order: Order) -> Result<Self, EngineError> {
        let begun = Instant::now();
        let Order { weights, options, warm_up, patience, rest_after, clock, gone } = order;
        let thread = format!("model-{}", weights.name);
        let (kind, model, engine) = (engine.kind(), weights.name.to_string(), engine.clone());
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let tenant = gone.tenant();
        let build = move || {
            // Dropped after the session, also when something fails.
            let tenant = tenant;
            let mut session = engine.load(&weights, &options)?;
            let mut io = io_for(session.inputs(), &warm_up)?;
            session.run(&io.inputs, &mut io.outputs)?;
            check_outputs(session.outputs(), &io.outputs)?;
            let memory_bytes = Arc::new(AtomicU64::new(session.memory_bytes()));
            let about = (
                session.inputs().to_vec(),
                session.outputs().to_vec(),
                session.accelerator().clone(),
                memory_bytes.clone(),
            );
            // Invariant: the receiver waits below, and this is sent once.
            let _ = tell.send(about);
            let max_batch = max_batch(&*session, &options);
            let stacked_inputs = vec![Tensor::default(); session.inputs().len()];
            let stacked_outputs = Vec::new();
            Ok(Owner {
                session,
                _tenant: tenant,
                max_batch,
                memory_bytes,
                rest_after,
                stacked_inputs,
                stacked_outputs,
            })
        };
        let failed = |reason: String| EngineError::Load { kind, model: model.clone(), reason };
        let worker =
            Worker::spawn_within(&thread, clock, Some(patience), build).map_err(|error: BoxError| {
                error.downcast::<EngineError>().map_or_else(|other| failed(other.to_string()), |own| *own)
            })?;
        let lost = |_| failed("the model's thread ended while it was loaded".into());
        let (inputs, outputs, accelerator, memory_bytes) = told.recv().map_err(lost)?;
        let took = begun.elapsed();
        Ok(Self {
            worker,
            inputs,
            outputs,
            engine: kind,
            accelerator,
            memory_bytes,
            took,
            gone,
            degraded: None,
        })
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

    /// Memory that it holds, in bytes, as far as it is known.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// How long loading and the first run took.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Items that wait for their turn.
    pub fn waiting(&self) -> u64 {
        self.worker.waiting()
    }

    /// Counters of its thread.
    pub fn stats(&self) -> &WorkerStats {
        self.worker.stats()
    }

    /// Why it does not run where it was wanted, if so.
    pub fn degraded(&self) -> Option<&str> {
        self.degraded.as_deref()
    }

    pub(super) fn set_degraded(&mut self, reason: String) {
        self.degraded = Some(reason);
    }

    pub(super) fn is_on_device(&self) -> bool {
        self.accelerator.ran != DeviceKind::Cpu
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.worker.failure()
    }

    pub(super) fn caller(&self) -> Caller<Box<Io>> {
        self.worker.caller()
    }

    pub(super) fn io(&self) -> Result<Io, EngineError> {
        io_for(&self.inputs, &[])
    }

    /// Tells the thread to end, whoever still holds a way to it.
    pub(super) fn end(&self, reason: &str) {
        self.worker.end(reason);
    }

    /// Tells when its memory is free again.
    pub(super) fn gone(&self) -> &Gone {
        &self.gone
    }
}

/// Inputs of zeros: of the model's own shapes, or where these are open of the given ones, or of one item of nothing.
fn io_for(specs: &[TensorSpec], shapes: &[Vec<usize>]) -> Result<Io, EngineError> {
    let input = |(index, spec): (usize, &TensorSpec)| {
        let given = shapes.get(index).filter(|shape| spec.fits(spec.dtype, shape));
        let own = || spec.shape.iter().map(|side| side.unwrap_or(1)).collect();
        let shape = given.cloned().unwrap_or_else(own);
        let numbers = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        match numbers {
            Some(0..=MOST_NUMBERS) => Ok(Tensor::zeros(spec.dtype, &shape)),
            _ => Err(EngineError::Input {
                expected: format!("of at most {MOST_NUMBERS} numbers"),
                given: format!("the model's {spec}"),
            }),
        }
    };
    let inputs = specs.iter().enumerate().map(input).collect::<Result<_, _>>()?;
    Ok(Io { inputs, outputs: Vec::new(), result: Ok(()) })
}

/// A first run tells whether a model works at all.
fn check_outputs(specs: &[TensorSpec], outputs: &[Tensor]) -> Result<(), EngineError> {
    if specs.len() != outputs.len() {
        return Err(EngineError::Run {
            reason: format!("{} outputs came, not {}", outputs.len(), specs.len()),
        });
    }
    check_finite(specs, outputs)
}

/// What is not finite would pass every comparison the wrong way: a mask of it would hide nothing.
fn check_finite(specs: &[TensorSpec], outputs: &[Tensor]) -> Result<(), EngineError> {
    match outputs.iter().position(|output| !all_finite(output.f32())) {
        None => Ok(()),
        Some(index) => {
            let name = specs.get(index).map_or("", |spec| &spec.name);
            Err(EngineError::Run { reason: format!("output {name} is not finite") })
        }
    }
}

/// Most items in one run.
fn max_batch(session: &dyn Session, options: &LoadOptions) -> usize {
    match batch::stackable(session.inputs(), session.outputs()) {
        true => session.max_batch().min(options.max_batch).max(1),
        false => 1,
    }
}

struct Owner {
    // The order of these two matters: the session is dropped first.
    session: Box<dyn Session>,
    _tenant: Tenant,
    /// Most items in one run; falls when a batch turns out to be impossible or too large.
    max_batch: usize,
    memory_bytes: Arc<AtomicU64>,
    rest_after: Duration,
    stacked_inputs: Vec<Tensor>,
    stacked_outputs: Vec<Tensor>,
}

impl Owner {
    fn run_one(&mut self, io: &mut Io) {
        let ran = self.session.run(&io.inputs, &mut io.outputs);
        io.result = ran.and_then(|()| check_finite(self.session.outputs(), &io.outputs));
    }

    /// Takes the first of `waiting` and those that can be stacked on it.
    fn take_group<'a>(&self, waiting: &mut Vec<&'a mut Box<Io>>) -> Vec<&'a mut Box<Io>> {
        let mut group = vec![waiting.remove(0)];
        let Some(mut total) = batch::rows(&group[0].inputs) else { return group };
        let mut index = 0;
        while index < waiting.len() {
            let fits = |rows: &usize| total + rows <= self.max_batch;
            let alike = batch::alike(&group[0].inputs, &waiting[index].inputs);
            match batch::rows(&waiting[index].inputs).filter(|rows| alike && fits(rows)) {
                Some(rows) => {
                    total += rows;
                    group.push(waiting.remove(index));
                }
                None => index += 1,
            }
        }
        group
    }

    /// Runs a group as one. `false` if that did not work; each then has to run alone, which also finds out whose fault
    /// it is.
    fn run_stacked(&mut self, group: &mut [&mut Box<Io>]) -> bool {
        for (index, stacked) in self.stacked_inputs.iter_mut().enumerate() {
            batch::stack(group.iter().map(|io| &io.inputs[index]), stacked);
        }
        let rows = |io: &Io| batch::rows(&io.inputs).unwrap_or_default();
        let total: usize = group.iter().map(|io| rows(io)).sum();
        match self.session.run(&self.stacked_inputs, &mut self.stacked_outputs) {
            Ok(()) => {}
            Err(EngineError::OutOfMemory { .. }) => {
                self.max_batch = (total / 2).max(1);
                return false;
            }
            Err(_) => return false,
        }
        let mut first = 0;
        for io in group {
            let count = rows(io);
            io.outputs.resize_with(self.stacked_outputs.len(), Tensor::default);
            for (from, to) in self.stacked_outputs.iter().zip(&mut io.outputs) {
                if batch::unstack(from, total, first, count, to).is_none() {
                    tracing::warn!(
                        "the model's outputs are no batch although its inputs are; no more batches"
                    );
                    self.max_batch = 1;
                    return false;
                }
            }
            io.result = check_finite(self.session.outputs(), &io.outputs);
            first += count;
        }
        true
    }
}

impl Work<Box<Io>> for Owner {
    fn run(&mut self, batch: &mut [Box<Io>]) -> Result<(), String> {
        let mut waiting: Vec<&mut Box<Io>> = batch.iter_mut().collect();
        while !waiting.is_empty() {
            let mut group = self.take_group(&mut waiting);
            if group.len() == 1 || !self.run_stacked(&mut group) {
                group.iter_mut().for_each(|io| self.run_one(io));
            }
        }
        self.memory_bytes.store(self.session.memory_bytes(), Ordering::Relaxed);
        Ok(())
    }

    fn hint(&self) -> BatchHint {
        BatchHint { max_frames: self.max_batch, ..BatchHint::default() }
    }

    fn rest_after(&self) -> Option<Duration> {
        Some(self.rest_after)
    }

    fn rest(&mut self) {
        if let Err(error) = self.session.rest() {
            tracing::debug!(%error, "a model could not give memory back");
        }
        self.memory_bytes.store(self.session.memory_bytes(), Ordering::Relaxed);
    }
}
