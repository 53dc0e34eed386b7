//! Doubles for tests: an engine whose models do as they are told, and a device with as much memory as a test wants.
//!
//! ```
//! use ooblex_models::testing::{Act, ScriptedEngine};
//!
//! let engine = ScriptedEngine::new();
//! let models = engine.models(Default::default(), &["a"]);
//! engine.next_runs("a", [Act::Panic]);
//! let mut handle = models.handle("a")?;
//! handle.input(0)?.f32_mut().fill(21.0);
//! assert!(handle.run(None).is_err());
//! handle.input(0)?.f32_mut().fill(21.0);
//! assert_eq!(handle.run(None)?[0].f32(), [42.0; 4]);
//! assert_eq!(engine.loads("a"), 2);
//! # Ok::<(), ooblex_models::manager::ModelError>(())
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::engine::{
    Accelerator, DeviceKind, Engine, EngineError, EngineKind, LoadOptions, Session, UseGpu, Weights,
};
use crate::manager::{DeviceMemory, DeviceUse, ModelCard, ModelFile, Models, ModelsConfig};
use crate::tensor::{DType, Tensor, TensorSpec};

/// What a model does when it is loaded or run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Act {
    /// What it should.
    Work,
    /// Gives an error.
    Fail,
    /// Runs out of memory.
    OutOfMemory,
    /// Panics.
    Panic,
    /// Does not return until [`ScriptedEngine::release`] is called, and then works.
    Hang,
    /// Gives numbers that are not finite.
    Infinite,
}

/// An engine whose models take `[n, 4]` numbers and give them doubled, unless they are told otherwise. Clones are the
/// same engine.
#[derive(Clone, Default)]
pub struct ScriptedEngine(Arc<Shared>);

#[derive(Default)]
struct Shared {
    models: Mutex<BTreeMap<String, Script>>,
    device: Mutex<Option<FakeDevice>>,
    hanging: Mutex<Hanging>,
    changed: Condvar,
}

#[derive(Default)]
struct Hanging {
    now: usize,
    released: usize,
}

#[derive(Clone)]
struct Script {
    bytes: u64,
    max_batch: usize,
    loads: VecDeque<Act>,
    runs: VecDeque<Act>,
    loaded: usize,
    batches: Vec<usize>,
    rests: usize,
}

impl Default for Script {
    fn default() -> Self {
        let (loads, runs) = Default::default();
        Self { bytes: 1000, max_batch: 1, loads, runs, loaded: 0, batches: Vec::new(), rests: 0 }
    }
}

impl ScriptedEngine {
    /// An engine on the CPU.
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine that also runs models on `device`.
    pub fn on(device: &FakeDevice) -> Self {
        let engine = Self::default();
        *lock(&engine.0.device) = Some(device.clone());
        engine
    }

    /// Models of these names, and those of the crate, run by this engine. A device is asked for its memory.
    pub fn models(&self, mut config: ModelsConfig, names: &[&str]) -> Models {
        if let Some(device) = &*lock(&self.0.device) {
            config.device_memory.get_or_insert_with(|| Arc::new(device.clone()));
        }
        let models = Models::with_engine(config, Arc::new(self.clone()));
        for name in names {
            models.add(Self::card(name));
        }
        models
    }

    /// A model for this engine.
    pub fn card(name: &str) -> ModelCard {
        ModelCard::new(name.to_owned(), "doubles numbers").file(ModelFile::onnx(b"scripted"))
    }

    /// Says how much memory a model takes; 1000 bytes unless told.
    pub fn set_bytes(&self, model: &str, bytes: u64) {
        self.script(model, |script| script.bytes = bytes);
    }

    /// Says how many items a model takes at once; 1 unless told.
    pub fn set_max_batch(&self, model: &str, max_batch: usize) {
        self.script(model, |script| script.max_batch = max_batch);
    }

    /// What a model does when it is loaded next; afterwards it works.
    pub fn next_loads(&self, model: &str, acts: impl IntoIterator<Item = Act>) {
        self.script(model, |script| script.loads = acts.into_iter().collect());
    }

    /// What a model does in its next runs, those that warm it up not counted; afterwards it works.
    pub fn next_runs(&self, model: &str, acts: impl IntoIterator<Item = Act>) {
        self.script(model, |script| script.runs = acts.into_iter().collect());
    }

    /// How often a model was loaded with success.
    pub fn loads(&self, model: &str) -> usize {
        self.script(model, |script| script.loaded)
    }

    /// How many items each run of a model had, those that warmed it up not counted.
    pub fn batches(&self, model: &str) -> Vec<usize> {
        self.script(model, |script| script.batches.clone())
    }

    /// How often a model gave back memory that is kept for speed alone.
    pub fn rests(&self, model: &str) -> usize {
        self.script(model, |script| script.rests)
    }

    /// How many calls hang now.
    pub fn hanging(&self) -> usize {
        lock(&self.0.hanging).now
    }

    /// Lets all hanging calls go on.
    pub fn release(&self) {
        let mut hanging = lock(&self.0.hanging);
        hanging.released += 1;
        hanging.now = 0;
        self.0.changed.notify_all();
    }

    fn hang(&self) {
        let mut hanging = lock(&self.0.hanging);
        let before = hanging.released;
        hanging.now += 1;
        let wait = self.0.changed.wait_while(hanging, |hanging| hanging.released == before);
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }

    fn script<R>(&self, model: &str, with: impl FnOnce(&mut Script) -> R) -> R {
        with(lock(&self.0.models).entry(model.to_owned()).or_default())
    }

    fn act(&self, act: Act) -> Result<bool, EngineError> {
        match act {
            Act::Work => Ok(true),
            Act::Infinite => Ok(false),
            Act::Fail => Err(EngineError::Run { reason: "as scripted".into() }),
            Act::OutOfMemory => Err(EngineError::OutOfMemory { reason: "as scripted".into() }),
            Act::Panic => panic!("as scripted"),
            Act::Hang => {
                self.hang();
                Ok(true)
            }
        }
    }
}

impl Engine for ScriptedEngine {
    fn kind(&self) -> EngineKind {
        EngineKind::Rten
    }

    fn version(&self) -> String {
        "scripted".into()
    }

    fn load(&self, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Session>, EngineError> {
        let model = weights.name.to_string();
        let device = lock(&self.0.device).clone().filter(|_| options.use_gpu != UseGpu::Off);
        let (act, bytes) = self.script(&model, |s| (s.loads.pop_front().unwrap_or(Act::Work), s.bytes));
        self.act(act)?;
        if options.use_gpu == UseGpu::Required && device.is_none() {
            return Err(EngineError::NoAccelerator { reason: "there is none in the script".into() });
        }
        let accelerator = match &device {
            Some(device) => {
                device.take(bytes).ok_or_else(|| EngineError::OutOfMemory {
                    reason: format!("{bytes} bytes asked for, {} free", device.free()),
                })?;
                Accelerator::on(options.use_gpu, DeviceKind::Cuda, "scripted")
            }
            None => Accelerator::cpu(options.use_gpu, "scripted"),
        };
        self.script(&model, |script| script.loaded += 1);
        let spec = |name: &str| [TensorSpec::new(name, DType::F32, vec![None, Some(4)])];
        let (engine, is_warm) = (self.clone(), false);
        Ok(Box::new(Scripted {
            engine,
            model,
            inputs: spec("in"),
            outputs: spec("out"),
            bytes,
            device,
            accelerator,
            is_warm,
        }))
    }
}

struct Scripted {
    engine: ScriptedEngine,
    model: String,
    inputs: [TensorSpec; 1],
    outputs: [TensorSpec; 1],
    bytes: u64,
    device: Option<FakeDevice>,
    accelerator: Accelerator,
    is_warm: bool,
}

impl Session for Scripted {
    fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &mut Vec<Tensor>) -> Result<(), EngineError> {
        let [input] = inputs else {
            return Err(EngineError::Input { expected: "one".into(), given: inputs.len().to_string() });
        };
        let mut act = Act::Work;
        if std::mem::replace(&mut self.is_warm, true) {
            act = self.engine.script(&self.model, |script| {
                script.batches.push(input.shape()[0]);
                script.runs.pop_front().unwrap_or(Act::Work)
            });
        }
        let is_finite = self.engine.act(act)?;
        outputs.resize_with(1, Tensor::default);
        outputs[0].reshape(DType::F32, input.shape());
        for (to, from) in outputs[0].f32_mut().iter_mut().zip(input.f32()) {
            *to = if is_finite { 2.0 * from } else { f32::NAN };
        }
        Ok(())
    }

    fn max_batch(&self) -> usize {
        self.engine.script(&self.model, |script| script.max_batch)
    }

    fn accelerator(&self) -> &Accelerator {
        &self.accelerator
    }

    fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    fn rest(&mut self) -> Result<(), EngineError> {
        self.engine.script(&self.model, |script| script.rests += 1);
        Ok(())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(device) = &self.device {
            device.give_back(self.bytes);
        }
    }
}

/// A device with a given amount of memory. Clones are the same device.
#[derive(Clone, Debug)]
pub struct FakeDevice(Arc<Mutex<DeviceUse>>);

impl FakeDevice {
    /// A device of which all `total` bytes are free.
    pub fn new(total: u64) -> Self {
        Self(Arc::new(Mutex::new(DeviceUse { free: total, total })))
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        lock(&self.0).free
    }

    /// Takes memory, as other programs do; `None` if there is not so much.
    pub fn take(&self, bytes: u64) -> Option<()> {
        let mut memory = lock(&self.0);
        memory.free = memory.free.checked_sub(bytes)?;
        Some(())
    }

    /// Gives memory back.
    pub fn give_back(&self, bytes: u64) {
        lock(&self.0).free += bytes;
    }
}

impl DeviceMemory for FakeDevice {
    fn read(&self) -> Option<DeviceUse> {
        Some(*lock(&self.0))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
