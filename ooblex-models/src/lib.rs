//! Effects for live video: edges, cartoon, blur and others, on one CPU thread and straight on YUV planes.
//!
//! This crate turns names such as `edge_detection` or `blur|sepia` into processors for `ooblex-core`. It reads no
//! files and no network, and needs no C library. For effects of your own, see the crate documentation of
//! `ooblex-core`: they need that crate alone.
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
//! Full and limited range and both matrices are honoured. None of the effects converts to RGB.
//!
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `effects` | yes | the effects in [`effects`] |
//! | `overlay` | yes | `overlay` and `text_overlay` in [`overlay`] |

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
