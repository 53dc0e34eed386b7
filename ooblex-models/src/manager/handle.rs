//! One stream's way to a model.

use std::sync::Arc;
use std::time::Instant;

use ooblex_core::worker::{CallError, Caller};

use super::runner::{Io, Loaded};
use super::{Entry, ModelError, Models};
use crate::tensor::Tensor;

/// One stream's way to a model. The model itself is loaded when it is first needed, and shared by all handles.
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
        entry.add_handle();
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
    /// [`ModelError`] with what is missing.
    pub fn load(&mut self) -> Result<Arc<Loaded>, ModelError> {
        if let Some((loaded, caller)) = &self.loaded
            && caller.worker().failure().is_none()
        {
            return Ok(loaded.clone());
        }
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

    /// Runs the model on the inputs and gives its outputs. Blocks until its turn has come and it is done.
    ///
    /// # Errors
    /// [`ModelError`]: past its `deadline` ([`ModelError::Expired`]), out of memory, hung, or whatever the engine said.
    /// The handle can be used again: a model that is gone is loaded again.
    pub fn run(&mut self, deadline: Option<Instant>) -> Result<&[Tensor], ModelError> {
        let loaded = self.load()?;
        self.io()?;
        // Invariant: both are there since the two calls above.
        let (Some(io), Some((_, caller))) = (self.io.take(), self.loaded.as_mut()) else {
            return Err(ModelError::Ended { model: self.entry.name.to_string(), reason: "no worker".into() });
        };
        self.entry.used(Instant::now());
        let gone = |reason: String| ModelError::Ended { model: self.entry.name.to_string(), reason };
        let mut io = match caller.call(io, deadline, self.models.hang_after()) {
            Ok(io) => io,
            Err(CallError::Expired(io)) => {
                self.io = Some(io);
                return Err(ModelError::Expired);
            }
            Err(error) => {
                let reason = error.to_string();
                self.models.discard(&self.entry, &loaded, &reason);
                self.loaded = None;
                return Err(gone(reason));
            }
        };
        let result = std::mem::replace(&mut io.result, Ok(()));
        let io = self.io.insert(io);
        result.map_err(|source| ModelError::Engine { model: self.entry.name.to_string(), source })?;
        Ok(&io.outputs)
    }

    /// The outputs of the last run.
    pub fn outputs(&self) -> &[Tensor] {
        self.io.as_ref().map_or(&[], |io| &io.outputs)
    }

    fn io(&mut self) -> Result<&mut Box<Io>, ModelError> {
        let loaded = self.load()?;
        Ok(self.io.get_or_insert_with(|| Box::new(loaded.io())))
    }
}

impl Drop for ModelHandle {
    fn drop(&mut self) {
        self.entry.remove_handle();
    }
}

impl std::fmt::Debug for ModelHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelHandle").field("model", &self.entry.name).finish_non_exhaustive()
    }
}
