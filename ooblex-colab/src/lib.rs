//! The Ooblex server as a library: configuration, routes, page and effect control around one hub of streams.
//!
//! The stock binary is `App::new().run()`. A binary with processors of its own adds them first:
//!
//! ```no_run
//! use ooblex_core::prelude::*;
//!
//! fn register(registry: &mut Registry) {
//!     registry.register("darker", |options: &Options| {
//!         let by: u8 = options.get_or("by", 40)?;
//!         Ok::<_, BoxError>(processor_fn(move |frame, _| {
//!             for row in frame.image.make_i420()?[0].rows_mut() {
//!                 for v in row { *v = v.saturating_sub(by); }
//!             }
//!             Ok(Verdict::Emit)
//!         }))
//!     });
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     ooblex_colab::App::new().with(register).run()
//! }
//! ```
//!
//! It reads pictures and clips through `ooblex-ingest`, shows them through `ooblex-mjpeg`, and takes its effects from
//! `ooblex-models`; programs that want one of these alone use that crate. Every setting is described in [`config`].
//!
//! | Feature | Adds |
//! |---|---|
//! | `candle`, `candle-cuda` | models by candle, also on NVIDIA GPUs |
//! | `fetch` (default) | `models pull`: weights over HTTPS |
//! | `ngrok` (default) | the tunnel of ngrok |
//! | `h264` (default) | H.264: publishers that send it, MP4 clips, the demo |
//! | `onnx` (default), `onnx-cuda`, `onnx-tensorrt` | models by ONNX Runtime, also on NVIDIA GPUs |
//! | `torch` | models by libtorch |
//! | `vpx` (default) | VP8 and VP9 publishers |
//! | `whip` (default) | WebRTC publishers: WHIP and `/webrtc/offer` |

mod access;
mod annotations;
mod announce;
mod app;
mod arrival;
mod checkpoint;
mod cli;
pub mod config;
mod doctor;
pub mod effect;
mod graph;
mod health_cli;
mod live;
mod models;
mod models_cli;
mod nonce;
mod own;
mod parent;
mod process;
mod publisher;
mod routes;
mod running;
mod server;
mod session;
mod sources;
mod tokens_cli;
mod tunnel;
#[cfg_attr(not(feature = "whip"), path = "no_webrtc.rs")]
mod webrtc;

pub use app::App;
pub use cli::{Arguments, Command, ModelsAction, ModelsArguments, TokensAction, TokensArguments};
pub use server::{Left, Server, StartError};
pub use sources::AttachError;
