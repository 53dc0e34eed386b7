//! ONNX Runtime, whose library is found at run time.
//!
//! On the CPU one thread computes, one operator after the other, and none spins while it waits: a server has other
//! things to do with its cores. There `batch` is fixed at 1, because several pictures at once take as long as one after
//! the other on one thread, and a fixed size lets ONNX Runtime plan memory and fold shapes beforehand.
//!
//! Numbers are 32-bit floats. A user's model may compute in half precision or 8-bit integers inside; what goes in is
//! floats or 32-bit integers. No such variants come with this crate. Half precision gains on GPUs alone and has not been
//! measured on one. Quantised to 8 bits by ONNX Runtime's tools, BlazeFace is no faster (1.14 to 2.3 ms, as floats
//! 1.19) and the selfie nets are slower (1.7 to 3.5 ms for 1.33), and they miss their tolerances by 10 to 100 times.

#[cfg(feature = "onnx-cuda")]
mod cuda;
#[cfg(any(feature = "onnx-cuda", test))]
mod elf;
#[cfg(any(feature = "onnx-cuda", test))]
mod engines;
mod environment;
#[cfg(any(feature = "onnx-cuda", test))]
mod explain;
mod library;
#[cfg(any(feature = "onnx-cuda", test))]
mod placement;
#[cfg(any(feature = "onnx-cuda", test))]
mod probe;
mod session;
mod version;

use std::path::Path;

use ort::environment::Environment;
use ort::session::Session as OrtSession;
use ort::session::builder::SessionBuilder;

pub use self::library::OnnxRuntime;
use self::library::Surroundings;
use self::session::OnnxSession;
#[cfg(feature = "onnx-cuda")]
use super::DeviceKind;
use super::device::{Probed, decide};
use super::{Engine, EngineError, EngineKind, LoadOptions, Session, Weights, check_sizes, onnx_file};

/// Looks for ONNX Runtime's library: the file `told`, or what `ORT_DYLIB_PATH` names, and no other if there is such a
/// name; else beside the program and in `../lib`, in the Python package `onnxruntime` of the program's, the active,
/// `python3`'s and the user's environment and of `.venv`, and where the system has libraries.
///
/// # Errors
/// [`EngineError::Unavailable`], with every place that was looked in, and with what was found there and is of no use.
pub fn find_onnxruntime(told: Option<&Path>) -> Result<OnnxRuntime, EngineError> {
    library::find(&Surroundings::of_this_process(told)).map_err(unavailable)
}

fn unavailable(reason: String) -> EngineError {
    EngineError::Unavailable { kind: EngineKind::Onnx, reason }
}

/// ONNX Runtime.
pub(super) struct Onnx {
    library: OnnxRuntime,
    environment: Environment,
}

impl Onnx {
    pub(super) fn open(told: Option<&Path>) -> Result<Self, EngineError> {
        let library = find_onnxruntime(told)?;
        let environment = environment::of(&library.path).map_err(unavailable)?;
        Ok(Self { library, environment })
    }

    fn builder(&self, options: &LoadOptions) -> Result<SessionBuilder, ort::Error> {
        Ok(OrtSession::builder(&self.environment)?
            .with_intra_threads(options.threads.max(1))?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_memory_pattern(true)?)
    }

    fn on_cpu(&self, weights: &Weights, options: &LoadOptions) -> Result<OnnxSession, EngineError> {
        let session = self
            .builder(options)
            .and_then(|builder| Ok(builder.with_dimension_override("batch", 1)?))
            .and_then(|mut builder| builder.commit_from_memory(&weights.data));
        finish(session, weights)
    }

    #[cfg(feature = "onnx-cuda")]
    fn accelerated(
        &self,
        weights: &Weights,
        options: &LoadOptions,
    ) -> Result<Probed<OnnxSession>, EngineError> {
        let cuda = cuda::preload(&self.library.path);
        let built_for =
            cuda.map_or_else(String::new, |major| format!(" (this ONNX Runtime is built for CUDA {major})"));
        let mut reasons = Vec::new();
        let engines =
            || engines::folder(options.engine_cache.as_ref()?, &self.library.version, &weights.data);
        for (name, providers) in cuda::attempts(options.gpu, engines) {
            let (probed, logged) = environment::with_errors(|| self.probe(weights, options, providers));
            match probed {
                Ok(probed) if probed.ran != DeviceKind::Cpu => {
                    let mut reason = format!("{}; {}", probed.reason, cuda::describe(options.gpu));
                    reasons.iter().for_each(|slower| reason += &format!("; {slower}"));
                    return Ok(Probed { reason, ..probed });
                }
                Ok(probed) => reasons.push(probed.reason),
                Err(error @ EngineError::OutOfMemory { .. }) => return Err(error),
                Err(EngineError::Load { reason, .. } | EngineError::Run { reason }) => {
                    reasons.push(explain::explain(name, &reason, &logged));
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(EngineError::NoAccelerator { reason: reasons.join("; ") + &built_for })
    }

    #[cfg(not(feature = "onnx-cuda"))]
    fn accelerated(&self, _: &Weights, _: &LoadOptions) -> Result<Probed<OnnxSession>, EngineError> {
        Err(EngineError::NoAccelerator { reason: "this build lacks the feature `onnx-cuda`".into() })
    }

    /// Loads the model with `providers`, runs it once on nothing, and finds out what ran it.
    #[cfg(any(feature = "onnx-cuda", test))]
    fn probe(
        &self,
        weights: &Weights,
        options: &LoadOptions,
        providers: Vec<ort::ep::ExecutionProviderDispatch>,
    ) -> Result<Probed<OnnxSession>, EngineError> {
        let failed = |reason: String| EngineError::load(EngineKind::Onnx, &weights.name, reason);
        let folder = probe::Folder::new().map_err(|e| failed(format!("no folder for a profile: {e}")))?;
        let session = self
            .builder(options)
            .and_then(|builder| Ok(builder.with_execution_providers(providers)?))
            .and_then(|builder| Ok(builder.with_profiling(folder.file())?))
            .and_then(|mut builder| builder.commit_from_memory(&weights.data));
        let mut session = finish(session, weights)?;
        let placement = probe::run(&mut session).map_err(EngineError::run)?;
        let (ran, reason) = placement::judge(&placement);
        session.max_batch = options.max_batch.max(1);
        Ok(Probed { session, ran, reason })
    }
}

fn finish(session: Result<OrtSession, ort::Error>, weights: &Weights) -> Result<OnnxSession, EngineError> {
    let failed = |reason: &str| EngineError::load(EngineKind::Onnx, &weights.name, reason);
    let session = session.map_err(|e| failed(e.message()))?;
    let session = OnnxSession::new(session, weights.data.len() as u64).map_err(|e| failed(&e))?;
    check_sizes(session.inputs()).and(check_sizes(session.outputs())).map_err(|e| failed(&e))?;
    Ok(session)
}

impl Engine for Onnx {
    fn kind(&self) -> EngineKind {
        EngineKind::Onnx
    }

    fn version(&self) -> String {
        self.library.version.clone()
    }

    fn place(&self) -> Option<String> {
        Some(format!("{} ({})", self.library.path.display(), self.library.found))
    }

    fn load(&self, weights: &Weights, options: &LoadOptions) -> Result<Box<dyn Session>, EngineError> {
        onnx_file::check(&weights.data).map_err(|e| EngineError::load(EngineKind::Onnx, &weights.name, e))?;
        let accelerated = || self.accelerated(weights, options);
        let (mut session, accelerator) =
            decide(options.use_gpu, accelerated, || self.on_cpu(weights, options))?;
        session.placed(accelerator, options.gpu.device);
        Ok(Box::new(session))
    }
}

#[cfg(test)]
mod tests;
