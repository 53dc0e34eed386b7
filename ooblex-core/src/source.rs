//! Where frames come from.

use async_trait::async_trait;

use crate::error::BoxError;
use crate::frame::Frame;

/// Why a source could not deliver.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// This frame is lost; the next may be fine.
    #[error("frame lost: {0}")]
    Frame(#[source] BoxError),
    /// The connection is lost; [`FrameSource::reopen`] may bring it back.
    #[error("source interrupted: {0}")]
    Transient(#[source] BoxError),
    /// The source cannot go on.
    #[error("source failed: {0}")]
    Fatal(#[source] BoxError),
}

/// Produces the frames of one stream.
///
/// Runs as a task: waiting is free, but decoding and other work that blocks belongs on a thread of the source's
/// own. Sources pull; a peer that pushes writes into a [`queue`](crate::queue()) whose receiver is the source.
///
/// ```
/// use std::time::Instant;
/// use ooblex_core::prelude::*;
///
/// /// Grey pictures that get brighter, 16 of them.
/// struct Ramp { next: u8, pool: BufferPool }
///
/// #[async_trait]
/// impl FrameSource for Ramp {
///     async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
///         if self.next == 16 {
///             return Ok(None);
///         }
///         let mut image = Image::alloc(PixelFormat::Gray8, 64, 48, ColorSpace::JPEG, &self.pool)
///             .map_err(|e| SourceError::Fatal(e.into()))?;
///         if let Ok(mut luma) = image.plane_mut(0) {
///             luma.fill(self.next * 16);
///         }
///         self.next += 1;
///         let picture = Picture::new(image, self.pool.clone());
///         Ok(Some(Frame::new(StreamId::default(), self.next.into(), Instant::now(), picture)))
///     }
/// }
/// ```
#[async_trait]
pub trait FrameSource: Send + 'static {
    /// The next frame, or `None` when the source has ended.
    ///
    /// Cancel-safe: the runner may drop the future at any await and call again later. The runner renumbers
    /// [`Frame::stream`] and [`Frame::sequence`], so a source may leave them as they come.
    ///
    /// # Errors
    /// [`SourceError`], which says whether this frame, the connection or the whole source is lost.
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError>;

    /// Opens the source again after [`SourceError::Transient`]. Called with growing pauses until it succeeds.
    ///
    /// # Errors
    /// Fatal unless overridden.
    async fn reopen(&mut self) -> Result<(), SourceError> {
        Err(SourceError::Fatal("this source cannot be opened again".into()))
    }
}

#[async_trait]
impl<S: FrameSource + ?Sized> FrameSource for Box<S> {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        (**self).next_frame().await
    }
    async fn reopen(&mut self) -> Result<(), SourceError> {
        (**self).reopen().await
    }
}

/// A source from a closure that never waits: for tests and simple generators.
pub fn source_fn<F>(next: F) -> impl FrameSource
where
    F: FnMut() -> Result<Option<Frame>, SourceError> + Send + 'static,
{
    struct SourceFn<F>(F);

    #[async_trait]
    impl<F> FrameSource for SourceFn<F>
    where
        F: FnMut() -> Result<Option<Frame>, SourceError> + Send + 'static,
    {
        async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
            (self.0)()
        }
    }
    SourceFn(next)
}
