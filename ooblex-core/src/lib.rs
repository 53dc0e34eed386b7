//! Frames, traits, queues and pipelines for real-time video processing.
//!
//! Live video comes in through a [`FrameSource`], passes [`FrameProcessor`]s, and leaves through [`FrameSink`]s.
//! This crate holds those contracts and the machinery between them; it does no I/O, knows no codec and runs no
//! model. Those live in `ooblex-ingest`, `ooblex-models` and `ooblex-mjpeg`, or in a crate of yours:
//!
//! ```
//! use ooblex_core::prelude::*;
//!
//! /// Quantizes each RGB channel in place; `step` is the level width in 8-bit units, 1..=255.
//! pub struct Posterize { step: u8 }
//!
//! impl FrameProcessor for Posterize {
//!     fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
//!         for row in frame.image.make_rgb()?.rows_mut() {
//!             for v in row { *v -= *v % self.step; }
//!         }
//!         Ok(Verdict::Emit)
//!     }
//! }
//!
//! /// Adds `posterize` to a registry. Option `step`: 1..=255, default 48.
//! pub fn register(registry: &mut Registry) {
//!     registry.register("posterize", |options: &Options| match options.get_or("step", 48)? {
//!         0 => Err(BoxError::from("`step` must be at least 1")),
//!         step => Ok(Posterize { step }),
//!     });
//! }
//!
//! let mut registry = Registry::new();
//! register(&mut registry);
//! assert!(registry.build("posterize", &Options::new().with("step", 32)).is_ok());
//! ```
//!
//! | Feature | Adds |
//! |---|---|
//! | `serde` | serialization of options and annotations |
//! | `testing` | test doubles for your own tests: scripted source, collecting sink, conformance test |

mod annotation;
mod buffer;
mod clearance;
mod clock;
pub mod convert;
mod error;
mod frame;
pub mod hub;
mod image;
mod picture;
pub mod pipeline;
mod pixel;
mod processor;
mod queue;
mod registry;
mod secret;
mod sink;
mod source;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
pub mod worker;

pub use annotation::{Annotation, AnnotationKind, Mask};
pub use buffer::{BufferPool, DeviceBuffer, HostBuffer, Memory, PoolStats};
pub use clearance::Clearance;
pub use clock::{Clock, LatencyTrace, MediaTime, Stage};
pub use error::{BoxError, ImageError, caught};
pub use frame::{Frame, StreamId, StreamIdError};
pub use image::{Image, Plane, PlaneLayout, PlaneMut};
pub use picture::{Encoded, ImageCodec, Picture, PictureCounts, PictureDecoder, Want};
pub use pipeline::Pipeline;
pub use pixel::{ColorMatrix, ColorRange, ColorSpace, PixelFormat, Rotation};
pub use processor::{
    BatchHint, FailurePolicy, FrameProcessor, Mode, PassThrough, ProcessContext, ProcessError, Verdict,
    processor_fn,
};
pub use queue::{QueueCounts, QueuePolicy, QueueReceiver, QueueSender, Sent, TimedOut, queue};
pub use registry::{FromValue, KindSpec, Options, ParamSpec, ParamType, Registry, RegistryError, Value};
pub use secret::Secret;
pub use sink::{FrameSink, SinkError, sink_fn};
pub use source::{FrameSource, SourceError, source_fn};
pub use stats::{Counter, DropCounts, DropReason, Histogram, RateCap, RateMeter, Recent, StreamStats};

/// What a source, processor or sink usually needs: `use ooblex_core::prelude::*;`.
pub mod prelude {
    pub use async_trait::async_trait;

    pub use crate::{
        Annotation, AnnotationKind, BoxError, BufferPool, ColorSpace, FailurePolicy, Frame, FrameProcessor,
        FrameSink, FrameSource, Image, KindSpec, Mode, Options, ParamSpec, ParamType, Picture, Pipeline,
        PixelFormat, ProcessContext, ProcessError, Registry, SinkError, SourceError, StreamId, Verdict,
        processor_fn, sink_fn, source_fn,
    };
}
