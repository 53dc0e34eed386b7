//! MJPEG for browsers and players, snapshots, and sinks for embedders.
//!
//! A [`MjpegHub`] gives every stream a [sink](MjpegHub::sink). Of each frame there is at most one encode and one
//! buffer, however many viewers there are, and none while nobody watches; a JPEG that no processor touched is passed
//! on as it came. One thread writes to all viewers, each of which holds the newest part at most: a slow viewer skips
//! whole pictures and delays nobody. It does not decode anything itself.
//!
//! ```
//! use ooblex_core::hub::Beginning;
//! use ooblex_core::prelude::*;
//! use ooblex_mjpeg::{MjpegConfig, MjpegHub, Target};
//! use std::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
//! let mjpeg = MjpegHub::new(MjpegConfig::default())?;
//! let id = StreamId::default();
//! let mut sink = mjpeg.sink(&Beginning::new(&id, "camera", &Default::default()));
//!
//! // Somebody watches, a frame comes, the stream ends.
//! let mut viewer = mjpeg.admit(Target::Stream(id.clone()), None).expect("room").into_parts();
//! let pool = BufferPool::default();
//! let picture = Picture::new(Image::black(64, 48, &pool).expect("a valid size"), pool);
//! sink.consume(Frame::new(id, 1, Instant::now(), picture)).await.expect("encodes");
//! sink.finish().await.expect("ends");
//!
//! let mut body = Vec::new();
//! while let Some(piece) = viewer.next().await {
//!     body.extend_from_slice(&piece);
//! }
//! assert!(body.starts_with(b"--frame\r\nContent-Type: image/jpeg\r\n"));
//! assert!(body.ends_with(b"\r\n--frame\r\n--frame--\r\n"));
//! # Ok(()) }
//! ```
//!
//! | Feature | Adds |
//! |---|---|
//! | `server` (default) | `router`: all routes for an axum application, and PNG snapshots |
//! | `turbojpeg` (default) | encoding by libjpeg-turbo; without it by `jpeg-encoder`, in pure Rust and slower |

pub mod channel;
pub mod disk;
pub mod encode;
mod fanout;
mod hub;
mod multipart;
mod placeholder;
#[cfg(feature = "server")]
mod query;
#[cfg(feature = "server")]
mod server;
mod snapshot;
mod viewing;

pub use channel::{ChannelSink, FrameReceiver};
pub use disk::{MjpegFileSink, MjpegFormat, SnapshotSink};
pub use hub::{MjpegConfig, MjpegCounters, MjpegHub, MjpegSink};
pub use multipart::{BOUNDARY, CONTENT_TYPE, Framing, PictureInfo};
pub use placeholder::placeholder;
#[cfg(feature = "server")]
pub use server::router;
pub use snapshot::{Snapshot, SnapshotError};
pub use viewing::{PartStream, Refused, Target, Ticket};
