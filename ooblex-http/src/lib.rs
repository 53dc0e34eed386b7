//! What every HTTP route of Ooblex shares: [`Problem`] documents for errors, and [`serve`], a server that bounds
//! what a client can hold.
//!
//! It exists beside `ooblex-ingest` and `ooblex-mjpeg` because both serve routes and must not depend on each other.
//! It has no routes of its own.
//!
//! ```
//! use axum::{Router, routing::get};
//! use ooblex_http::{Problem, ServeConfig, serve};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let router = Router::new().route("/", get(async || Problem::new(503, "no_frame", "No frame available")));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let served = serve(listener, router, ServeConfig::default(), async { /* until Ctrl-C, say */ }).await;
//! assert_eq!(served.aborted, 0);
//! # Ok(()) }
//! ```

mod allowance;
mod caller;
mod connection;
mod io;
mod limits;
mod line;
mod network;
mod problem;
mod serve;
mod takeover;

pub use allowance::Allowance;
pub use caller::{Caller, MayView};
pub use limits::{ConnectionGuard, ConnectionLimits, network_of, raise_file_limit};
pub use line::Line;
pub use network::Network;
pub use problem::{Problem, ProblemCode};
pub use serve::{Peer, ServeConfig, Served, serve};
pub use takeover::{Taken, Takeover};
