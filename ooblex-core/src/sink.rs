//! Where frames go.

use async_trait::async_trait;

use crate::error::BoxError;
use crate::frame::Frame;

/// Why a sink could not take a frame.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// This frame is lost; the next may be fine.
    #[error("frame not taken: {0}")]
    Frame(#[source] BoxError),
    /// The sink cannot go on and is removed; the stream and its other sinks run on.
    #[error("sink failed: {0}")]
    Fatal(#[source] BoxError),
}

/// Consumes the frames of one stream.
///
/// Runs as a task with a queue of its own: in live mode it always gets the newest frame, and a slow sink delays
/// only itself. Encoding and other work that blocks belongs on a thread (`spawn_blocking`).
///
/// ```
/// use ooblex_core::prelude::*;
///
/// /// Counts what arrives.
/// struct Count(u64);
///
/// #[async_trait]
/// impl FrameSink for Count {
///     async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
///         self.0 += 1;
///         println!("frame {} is the {}th", frame.sequence, self.0);
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait FrameSink: Send + 'static {
    /// Takes one frame.
    ///
    /// # Errors
    /// [`SinkError`], which says whether this frame or the whole sink is lost.
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError>;

    /// Takes one frame at once if that needs no waiting, else gives it back for [`consume`](Self::consume).
    ///
    /// A sink that implements this saves a hand-over: in live mode it is called on the thread that processed the
    /// frame, outside of any runtime, and only while no earlier frame waits. It must not block.
    fn try_consume(&mut self, frame: Frame) -> Option<Frame> {
        Some(frame)
    }

    /// Whether anybody wants frames now. [`consume`](Self::consume) is not called for a sink without demand. Must
    /// be cheap: it is asked once a frame.
    fn has_demand(&self) -> bool {
        true
    }

    /// The stream has ended: flush, close, tell viewers.
    ///
    /// # Errors
    /// [`SinkError`] if what was taken could not be completed.
    async fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[async_trait]
impl<S: FrameSink + ?Sized> FrameSink for Box<S> {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        (**self).consume(frame).await
    }
    fn try_consume(&mut self, frame: Frame) -> Option<Frame> {
        (**self).try_consume(frame)
    }
    fn has_demand(&self) -> bool {
        (**self).has_demand()
    }
    async fn finish(&mut self) -> Result<(), SinkError> {
        (**self).finish().await
    }
}

/// A sink from a closure that never waits.
pub fn sink_fn<F>(consume: F) -> impl FrameSink
where
    F: FnMut(Frame) -> Result<(), SinkError> + Send + 'static,
{
    struct SinkFn<F>(F);

    #[async_trait]
    impl<F> FrameSink for SinkFn<F>
    where
        F: FnMut(Frame) -> Result<(), SinkError> + Send + 'static,
    {
        async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
            (self.0)(frame)
        }
    }
    SinkFn(consume)
}
