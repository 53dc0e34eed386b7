//! One stream's way to a model.

use std::sync::Arc;
use std::time::Instant;

use ooblex_core::worker::{CallError, Caller};

use super::entry::Entry;
use super::load::Relief;
use super::runner::{Io, Loaded};
use super::{ModelError, Models};
use crate::engine::EngineError;
use crate::tensor::Tensor;

/// One stream's way to a model. The model itself is loaded when it is first needed, and shared by all handles. As long
/// as there is a handle, the model is in use and stays in memory.
///
/// Inputs are written in place, and outputs read in place; their memory is used again for every frame.
///
/// ```
/// # #[cfg(feature = "rten")] {
/// use ooblex_models::manager::{BLAZEFACE, Models};
///
/// let models = Models::default();
/// let mut face = models.handle(BLAZEFACE)?;
/// face.load()?;
/// face.input(0)?.f32_mut().fill(0.0);
/// let outputs = face.run(None)?;
/// assert_eq!(outputs[0].shape(), [1, 896, 16]);
/// # }
/// # Ok::<(), ooblex_models::manager::ModelError>(())
/// ```
pub struct ModelHandle {
    models: Models,
    entry: Arc<Entry>,
    loaded: Option<(Arc<Loaded>, Caller<Box<Io>>)>,
    io: Option<Box<Io>>,
}

impl ModelHandle {
    pub(super) fn new(models: Models, entry: Arc<Entry>) -> Self {
        entry.add_user();
        Self { models, entry, loaded: None, io: None }
    }

    /// Published name of the model.
    pub fn name(&self) -> Arc<str> {
        self.entry.name.clone()
    }

    /// Loads the model unless another handle has done so. Blocks, perhaps for seconds: call it in
    /// [`warm_up`](ooblex_core::FrameProcessor::warm_up).
    ///
    /// # Errors
    /// [`ModelError`] with what is missing, or that the model was lost too often lately.
    pub fn load(&mut self) -> Result<Arc<Loaded>, ModelError> {
        if let Some((loaded, _)) = &self.loaded
            && loaded.failure().is_none()
        {
            return Ok(loaded.clone());
        }
        self.loaded = None;
        let loaded = self.models.loaded(&self.entry)?;
        self.loaded = Some((loaded.clone(), loaded.caller()));
        Ok(loaded)
    }

    /// Input number `index` for writing; has the model's own shape where that is fixed. See
    /// [`shape_input`](Self::shape_input) where it is not.
    ///
    /// # Errors
    /// As [`load`](Self::load), and [`ModelError::NoSuchInput`].
    pub fn input(&mut self, index: usize) -> Result<&mut Tensor, ModelError> {
        let io = self.io()?;
        let count = io.inputs.len();
        io.inputs.get_mut(index).ok_or(ModelError::NoSuchInput { index, count })
    }

    /// Gives input number `index` a shape; its numbers are unspecified afterwards.
    ///
    /// # Errors
    /// As [`input`](Self::input).
    pub fn shape_input(&mut self, index: usize, shape: &[usize]) -> Result<&mut Tensor, ModelError> {
        let tensor = self.input(index)?;
        if tensor.shape() != shape {
            tensor.reshape(tensor.dtype(), shape);
        }
        Ok(tensor)
    }

    /// Runs the model on the inputs and gives its outputs, all of whose numbers are finite. Blocks until its turn has
    /// come and it is done.
    ///
    /// When memory runs out, idle models are put away and the run is repeated, then repeated on the CPU if that is
    /// allowed.
    ///
    /// # Errors
    /// [`ModelError`]: past its `deadline` ([`ModelError::Expired`]), out of memory, hung, or whatever the engine said.
    /// The handle can be used again: a model that is gone is loaded again.
    pub fn run(&mut self, deadline: Option<Instant>) -> Result<&[Tensor], ModelError> {
        self.entry.used(self.models.next_use());
        let mut shortages = 0;
        loop {
            match self.run_once(deadline)? {
                Ran::Done => return Ok(self.outputs()),
                // It is loaded again, unless that has happened too often.
                Ran::Gone => {}
                Ran::OutOfMemory(loaded, reason) => {
                    shortages += 1;
                    let relief = if shortages > 2 {
                        Relief::None
                    } else {
                        self.models.relieve_run(&self.entry, &loaded, shortages == 1, &reason)?
                    };
                    if matches!(relief, Relief::None) {
                        return Err(self.by_engine(EngineError::OutOfMemory { reason }));
                    }
                }
            }
        }
    }

    fn run_once(&mut self, deadline: Option<Instant>) -> Result<Ran, ModelError> {
        let loaded = self.load()?;
        self.io()?;
        // Invariant: both are there since the two calls above.
        let (Some(io), Some((_, caller))) = (self.io.take(), self.loaded.as_mut()) else {
            return Err(self.ended("it has no worker".into()));
        };
        match caller.call(io, deadline, Some(self.models.config().hang_after)) {
            Ok(mut io) => {
                let result = std::mem::replace(&mut io.result, Ok(()));
                self.io = Some(io);
                match result {
                    Ok(()) => Ok(Ran::Done),
                    Err(EngineError::OutOfMemory { reason }) => Ok(Ran::OutOfMemory(loaded, reason)),
                    Err(source) => Err(self.by_engine(source)),
                }
            }
            Err(CallError::Expired(io)) => {
                self.io = Some(io);
                Err(ModelError::Expired)
            }
            Err(CallError::Unrun(io, reason)) => {
                self.io = Some(io);
                self.models.lost(&self.entry, &loaded, &reason);
                Ok(Ran::Gone)
            }
            Err(error) => {
                let reason = match error {
                    CallError::Hung(patience) => format!("a run took longer than {patience:?}"),
                    other => other.to_string(),
                };
                self.models.lost(&self.entry, &loaded, &reason);
                Err(self.ended(reason))
            }
        }
    }

    /// The outputs of the last run.
    pub fn outputs(&self) -> &[Tensor] {
        self.io.as_ref().map_or(&[], |io| &io.outputs)
    }

    fn io(&mut self) -> Result<&mut Box<Io>, ModelError> {
        let loaded = self.load()?;
        let io = match self.io.take() {
            Some(io) => io,
            None => Box::new(loaded.io().map_err(|e| self.by_engine(e))?),
        };
        Ok(self.io.insert(io))
    }

    fn by_engine(&self, source: EngineError) -> ModelError {
        ModelError::Engine { model: self.entry.name.to_string(), source }
    }

    fn ended(&self, reason: String) -> ModelError {
        ModelError::Ended { model: self.entry.name.to_string(), reason }
    }
}

/// How a run ended that is no error.
enum Ran {
    Done,
    /// The model was lost or put elsewhere before the turn of this run came.
    Gone,
    OutOfMemory(Arc<Loaded>, String),
}

impl Drop for ModelHandle {
    fn drop(&mut self) {
        self.entry.remove_user();
    }
}

impl std::fmt::Debug for ModelHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelHandle").field("model", &self.entry.name).finish_non_exhaustive()
    }
}
