//! What can go wrong with an engine.

#[cfg(any(feature = "rten", feature = "candle"))]
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::EngineKind;

/// Why an engine could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine is not in this build or its library was not found.
    #[error("engine {kind} is not available: {reason}")]
    Unavailable {
        /// The engine.
        kind: EngineKind,
        /// What is missing and how to get it.
        reason: String,
    },
    /// The weights could not be loaded.
    #[error("model {model} could not be loaded by {kind}: {reason}")]
    Load {
        /// The engine.
        kind: EngineKind,
        /// The model.
        model: String,
        /// Why.
        reason: String,
    },
    /// An accelerator was required and did not run.
    #[error("an accelerator is required, but {reason}")]
    NoAccelerator {
        /// Why.
        reason: String,
    },
    /// An input does not fit the model.
    #[error("input {expected} was given {given}")]
    Input {
        /// What the model takes.
        expected: String,
        /// What it was given.
        given: String,
    },
    /// Memory ran out, on the device or on the host.
    #[error("out of memory: {reason}")]
    OutOfMemory {
        /// What the library said.
        reason: String,
    },
    /// Running failed.
    #[error("running the model failed: {reason}")]
    Run {
        /// What the library said.
        reason: String,
    },
}

impl EngineError {
    /// What a library said while it loaded `model`.
    pub(super) fn load(kind: EngineKind, model: &str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        if is_out_of_memory(&reason) {
            return Self::OutOfMemory { reason };
        }
        Self::Load { kind, model: model.to_owned(), reason }
    }

    /// What a library said while it ran a model.
    pub(super) fn run(reason: impl Into<String>) -> Self {
        let reason = reason.into();
        if is_out_of_memory(&reason) { Self::OutOfMemory { reason } } else { Self::Run { reason } }
    }
}

/// Runs a library in Rust, which on a model that makes no sense may panic where it should fail. What was being worked on
/// is dropped, or only read, after that.
#[cfg(any(feature = "rten", feature = "candle"))]
pub(super) fn guarded<T>(library: &str, work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        format!("{library} panicked: {text}")
    })
}

/// How the libraries say that memory ran out: ONNX Runtime's arenas and allocators, CUDA, cuBLAS, cuDNN, libtorch,
/// candle, and the C++ standard library. All of them report it as text alone.
const OUT_OF_MEMORY: [&str; 9] = [
    "out of memory",
    "out_of_memory",
    "failed to allocate memory",
    "smaller than requested bytes",
    "memoryallocation",
    "alloc_failed",
    "bad_alloc",
    "can't allocate memory",
    "cannot allocate memory",
];

fn is_out_of_memory(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    // A library that could not be mapped says so, too, but that is no shortage that unloading models would end.
    !reason.contains("static tls") && OUT_OF_MEMORY.iter().any(|sign| reason.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(feature = "rten", feature = "candle"))]
    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(guarded("rten", || 7), Ok(7));
        let side = std::hint::black_box(3);
        let odd: Result<(), _> = guarded("rten", || panic!("a side of {side}"));
        assert_eq!(odd, Err("rten panicked: a side of 3".into()));
        let plain: Result<(), _> = guarded("candle", || panic!("plain"));
        assert_eq!(plain, Err("candle panicked: plain".into()));
    }

    #[test]
    fn running_out_of_memory_is_told_from_other_failures() {
        for reason in [
            // ONNX Runtime: bfc_arena.cc, allocator.cc, cuda_call.cc.
            "Failed to allocate memory for requested buffer of size 4294967296",
            "Available memory of 1024 is smaller than requested bytes of 2048",
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; expr=cudaMalloc((void**)&p, size);",
            "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
            "Exception during initialization: std::bad_alloc",
            // libtorch and candle.
            "CUDA out of memory. Tried to allocate 20.00 GiB",
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 68719476736 bytes",
            "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")",
        ] {
            assert!(matches!(EngineError::run(reason), EngineError::OutOfMemory { .. }), "{reason}");
            let load = EngineError::load(EngineKind::Onnx, "m", reason);
            assert!(matches!(load, EngineError::OutOfMemory { .. }), "{reason}");
        }
        for reason in [
            "Got invalid dimensions for input: image",
            "CUDA failure 100: no CUDA-capable device is detected",
            "libx.so: cannot allocate memory in static TLS block",
        ] {
            assert!(matches!(EngineError::run(reason), EngineError::Run { .. }), "{reason}");
        }
    }
}
