//! From compressed live video, however it came, to frames: a short queue, and a thread that decodes.
//!
//! [`Units`] connects whoever reads the network with a [`DecodeThread`], which gives what it makes of it to an
//! [`Output`]. Nothing waits for long: a decoder that is behind goes on with the next key frame.

mod thread;
mod units;

use ooblex_core::{BoxError, BufferPool, Frame};

pub use self::thread::{DecodeThread, Feedback};
pub use self::units::{Coding, Pushed, Unit, Units};
use crate::decode::VideoError;
use crate::picture::PictureError;

/// Where the pictures of a [`DecodeThread`] go. Called on that thread.
pub trait Output: Send + 'static {
    /// Called first; may take its time. Gives the pool for pictures.
    ///
    /// # Errors
    /// Whatever keeps pictures from being taken; the thread ends then.
    fn open(&mut self) -> Result<BufferPool, BoxError>;

    /// Takes the picture of the unit `number`; false if it takes no more.
    fn push(&mut self, number: u64, frame: Frame) -> bool;

    /// The unit `number` was decoded, and its picture pushed, unless the video shows it later than others that follow.
    fn decoded(&mut self, number: u64) {
        let _ = number;
    }

    /// The unit `number` was left out: a key frame is awaited.
    fn skipped(&mut self, number: u64) {
        let _ = number;
    }

    /// The unit `number` could not be shown.
    fn failed(&mut self, number: u64, error: &LiveError);
}

/// Why a unit could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// It is no video that can be decoded.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// It is no picture that can be taken.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// It could not be turned upright.
    #[error("picture cannot be turned: {0}")]
    Turn(#[from] ooblex_core::ImageError),
}
