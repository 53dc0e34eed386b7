//! Errors that cross component boundaries.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Any error, boxed: what sources, processors and sinks hand to the pipeline.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Runs code of somebody else's, and turns its panic into an error that begins with `panicked: `.
///
/// What `work` has borrowed or shared may be half changed after a panic; discard it.
///
/// # Errors
/// What `work` said, or how it panicked.
pub fn caught<T>(work: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(panicked(&*panic).into()))
}

/// What a panic said.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", said.unwrap_or("no message"))
}

/// Why an [`Image`](crate::Image) could not be made, read or converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A side is zero or larger than [`Image::MAX_SIDE`](crate::Image::MAX_SIDE).
    #[error("image size {width}x{height} is outside 1x1 to {max}x{max}", max = crate::Image::MAX_SIDE)]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A row of a plane does not fit its stride.
    #[error("plane {plane} has a stride of {stride} bytes, a row needs {row_bytes}")]
    Stride {
        /// Plane index.
        plane: usize,
        /// Bytes between row starts.
        stride: usize,
        /// Visible bytes of a row.
        row_bytes: usize,
    },
    /// A plane reaches beyond its buffer.
    #[error("plane {plane} needs {needed} bytes, the buffer has {available}")]
    Length {
        /// Plane index.
        plane: usize,
        /// Bytes needed, offset included.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// Another number of planes than the format has.
    #[error("{format:?} has {expected} planes, got {got}")]
    PlaneCount {
        /// The format.
        format: crate::PixelFormat,
        /// Planes the format has.
        expected: usize,
        /// Planes given or asked for.
        got: usize,
    },
    /// The pixels are in accelerator memory; call [`Image::to_host`](crate::Image::to_host) first.
    #[error("the pixels are in device memory; transfer them to the host first")]
    DeviceMemory,
    /// The accelerator could not hand its pixels over.
    #[error("transfer from the device failed: {0}")]
    Transfer(#[source] BoxError),
    /// The compressed picture could not be decoded.
    #[error("decoding the {codec} picture failed: {source}")]
    Decode {
        /// Codec name.
        codec: crate::ImageCodec,
        /// What the decoder said.
        #[source]
        source: BoxError,
    },
    /// The picture was moved elsewhere, for example to a worker that has died.
    #[error("the picture is no longer here")]
    Vacant,
    /// A reduction other than 1, 2, 4 or 8 was asked for.
    #[error("cannot reduce a picture by {0}; use 1, 2, 4 or 8")]
    Reduction(u8),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors_that_say_what_was_said() {
        let text = |result: Result<u8, BoxError>| result.map_err(|e| e.to_string());
        assert_eq!(text(caught(|| Ok(7))), Ok(7));
        assert_eq!(text(caught(|| Err("no".into()))), Err("no".into()));
        assert_eq!(text(caught(|| panic!("plain"))), Err("panicked: plain".into()));
        assert_eq!(text(caught(|| panic!("{}", 1 + 1))), Err("panicked: 2".into()));
        assert_eq!(text(caught(|| std::panic::panic_any(5))), Err("panicked: no message".into()));
    }
}
