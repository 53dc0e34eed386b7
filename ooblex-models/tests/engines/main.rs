//! The engines on real models: golden outputs, bad files, and what they say about themselves.
//!
//! Which engines are tested depends on the features: `onnx` and `rten` are there by default, `candle` and `torch` have
//! steps of their own in `scripts/test.sh`.
#![allow(clippy::print_stdout)] // How a test says that it skips.

mod golden;
mod hostile;
mod models;
mod onnx;
#[path = "../common/onnxruntime.rs"]
mod onnxruntime;
mod support;
