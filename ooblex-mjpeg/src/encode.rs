//! JPEG encoding, straight from whatever planes a picture has.
//!
//! JPEG (JFIF 1.02) carries full-range BT.601. Limited-range pictures are expanded on the way, and pictures with the
//! BT.709 matrix are recomputed to BT.601 in the YUV domain; both work on planes, without a detour through RGB.
//! Chroma is subsampled 4:2:0.

mod planes;
#[cfg(any(not(feature = "turbojpeg"), test))]
mod pure;
mod range;
#[cfg(feature = "turbojpeg")]
mod turbo;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use ooblex_core::{BoxError, Image, ImageError};

/// Why a picture could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The pixels could not be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The quality is not one that JPEG knows.
    #[error("jpeg quality is {0}; use 1 to 100")]
    Quality(u8),
    /// The codec refused.
    #[error("encoding a {width}x{height} picture failed: {source}")]
    Codec {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What it said.
        #[source]
        source: BoxError,
    },
}

/// Encodes pictures as baseline JPEG. Keeps scratch memory between pictures, so use one for many.
pub trait JpegEncoder: Send + 'static {
    /// Encodes `image`, which must be in host memory, of any format, size and stride, at `quality` 1 to 100. Blocks
    /// for the time of an encode. Alpha is discarded.
    ///
    /// # Errors
    /// [`EncodeError`]; the encoder can be used again.
    fn encode(&mut self, image: &Image, quality: u8) -> Result<Bytes, EncodeError>;
}

/// The encoder that this build has: turbojpeg with the feature `turbojpeg`, else one in pure Rust.
///
/// # Errors
/// [`EncodeError::Codec`] if its library could not be initialised.
pub fn jpeg_encoder() -> Result<Box<dyn JpegEncoder>, EncodeError> {
    #[cfg(feature = "turbojpeg")]
    return Ok(Box::new(turbo::TurboEncoder::new()?));
    #[cfg(not(feature = "turbojpeg"))]
    return Ok(Box::new(pure::PureEncoder::default()));
}

/// Name of the encoder that [`jpeg_encoder()`] gives: `turbojpeg` or `jpeg-encoder`.
pub const fn jpeg_encoder_name() -> &'static str {
    if cfg!(feature = "turbojpeg") { "turbojpeg" } else { "jpeg-encoder" }
}

/// Idle encoders, so that their scratch memory is used again whatever thread the next picture is encoded on.
#[derive(Default)]
pub(crate) struct EncoderPool(Mutex<Vec<Box<dyn JpegEncoder>>>);

/// More encoders than this are never idle at the same time for long.
const MAX_IDLE: usize = 4;

impl EncoderPool {
    pub(crate) fn encode(&self, image: &Image, quality: u8) -> Result<Bytes, EncodeError> {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut encoder = idle.map_or_else(jpeg_encoder, Ok)?;
        let result = encoder.encode(image, quality);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(encoder);
        }
        result
    }
}

fn check_quality(quality: u8) -> Result<(), EncodeError> {
    if (1..=100).contains(&quality) { Ok(()) } else { Err(EncodeError::Quality(quality)) }
}

#[cfg(test)]
mod tests;
