//! Effects for live video, straight on YUV planes: edges, cartoon, blur and others in pure Rust, and neural models that
//! find faces, people, things and poses, hide them, or paint the picture anew.
//!
//! This crate turns names such as `edge_detection` or `background_blur|sepia` into processors for `ooblex-core`. It is not
//! for where frames come from or go. Registering reads nothing; models are loaded when they are needed ([`manager`]), by
//! one of several engines ([`engine`]). For effects of your own, see the crate documentation of `ooblex-core`: they need
//! that crate alone.
//!
//! ```
//! use ooblex_core::{Options, Registry};
//!
//! let mut registry = Registry::new();
//! ooblex_models::register(&mut registry);
//! let chain = ooblex_models::Chain::parse("mirror|edge_detection", &registry)?;
//! let processor = chain.build(&registry, &[("edge_detection", Options::new().with("high", 150))].into())?;
//! # Ok::<(), ooblex_models::ChainError>(())
//! ```
//!
//! Frames may come in any pixel format of core; effects work on I420 (or on luma alone) and convert what is not.
//! Full and limited range and both matrices are honoured. None of the [`effects`] converts to RGB.
//!
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `effects` | yes | the effects in [`effects`] |
//! | `overlay` | yes | `overlay` and `text_overlay` in [`overlay`]; with `effects` the [`processors`] that run models |
//! | `rten` | yes | the engine rten, in pure Rust |
//! | `onnx` | yes | the engine ONNX Runtime, whose library is found at run time |
//! | `onnx-cuda`, `onnx-tensorrt` | no | ONNX Runtime on NVIDIA GPUs |
//! | `candle`, `candle-cuda` | no | the engine candle, in pure Rust; on NVIDIA GPUs, which takes nvcc to build |
//! | `torch` | no | the engine libtorch, which takes its library to build |
//! | `nvml` | no | how much memory an NVIDIA GPU has left |
//! | `fetch` | no | fetching weights over HTTPS |
//! | `testing` | no | doubles of engines and devices, for tests |

mod chain;
mod color;
#[cfg(feature = "effects")]
pub mod effects;
pub mod engine;
#[cfg(feature = "effects")]
mod kernels;
pub mod manager;
#[cfg(feature = "overlay")]
pub mod overlay;
#[cfg(any(feature = "effects", feature = "overlay"))]
mod planar;
pub mod postprocess;
pub mod preprocess;
#[cfg(all(feature = "effects", feature = "overlay"))]
pub mod processors;
mod register;
mod simd;
pub mod smooth;
mod tensor;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use chain::{Chain, ChainError};
pub use register::{register, register_with};
pub use tensor::{DType, Numbers, Tensor, TensorSpec};
