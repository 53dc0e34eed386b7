//! Encoders: pictures in, one compressed picture out at a time, without delay.

mod fit;
#[cfg(feature = "h264")]
mod h264;
mod jpeg;
#[cfg(feature = "vpx")]
mod vp8;

use std::time::Duration;

use bytes::Bytes;
use ooblex_core::{BoxError, Image};

pub use self::fit::fitted_size;
#[cfg(feature = "h264")]
pub use self::h264::H264Encoder;
pub use self::jpeg::JpegEncoder;
#[cfg(feature = "vpx")]
pub use self::vp8::Vp8Encoder;
use crate::codec::Codec;
use crate::output::Quality;

/// Pictures a second that bit rates are reckoned with.
#[cfg(any(feature = "h264", feature = "vpx"))]
const FRAME_RATE: u32 = 30;

/// One compressed picture.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// An H.264 access unit in Annex B form with its parameter sets before each key frame, a VP8 frame, or a JPEG.
    pub data: Bytes,
    /// It depends on no other picture.
    pub is_key: bool,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// Why a picture could not be encoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// This build has no encoder for the codec.
    #[error("{0} needs the feature `{1}`")]
    NotBuilt(Codec, &'static str),
    /// The library says no.
    #[error("{codec} cannot be encoded: {source}")]
    Failed {
        /// What was asked for.
        codec: Codec,
        /// What it said.
        #[source]
        source: BoxError,
    },
}

/// Turns pictures into video, one at a time and each at once: nothing is held back.
///
/// Stateful and blocking: it belongs on a thread of its own.
pub trait VideoEncoder: Send + 'static {
    /// Encodes `image`, which was taken `at` some time since the start, always rising. The picture is made no higher
    /// than the encoder's quality allows; its size may change from one to the next, which makes a key frame. `None` if
    /// the encoder left the picture out.
    ///
    /// # Errors
    /// [`EncodeError`]; the next picture begins anew, with a key frame.
    fn encode(&mut self, image: &Image, at: Duration, key: bool) -> Result<Option<Encoded>, EncodeError>;
}

/// The codecs that this build encodes, the cheapest to encode first.
pub const fn supported() -> &'static [Codec] {
    &[
        #[cfg(feature = "vpx")]
        Codec::Vp8,
        #[cfg(feature = "h264")]
        Codec::H264,
        Codec::Jpeg,
    ]
}

/// An encoder of `codec` at `quality`.
///
/// # Errors
/// [`EncodeError`] if this build has none, or the library refuses.
pub fn open(codec: Codec, quality: Quality) -> Result<Box<dyn VideoEncoder>, EncodeError> {
    Ok(match codec {
        #[cfg(feature = "h264")]
        Codec::H264 => Box::new(H264Encoder::new(quality)),
        #[cfg(not(feature = "h264"))]
        Codec::H264 => return Err(EncodeError::NotBuilt(codec, "h264")),
        #[cfg(feature = "vpx")]
        Codec::Vp8 => Box::new(Vp8Encoder::new(quality)),
        #[cfg(not(feature = "vpx"))]
        Codec::Vp8 => return Err(EncodeError::NotBuilt(codec, "vpx")),
        Codec::Jpeg => Box::new(JpegEncoder::new(quality)?),
    })
}

/// Bits a second for pictures of a size: what the quality gives, but no more than small ones can use.
#[cfg(any(feature = "h264", feature = "vpx"))]
fn bit_rate(quality: Quality, width: u32, height: u32) -> u32 {
    /// Bits a pixel at which neither codec gains visibly, in hundredths.
    const ENOUGH: u64 = 15;
    const LEAST: u64 = 50_000;
    let enough = u64::from(width) * u64::from(height) * u64::from(FRAME_RATE) * ENOUGH / 100;
    // Invariant: no more than `kbps` times 1000, which the ladder keeps far below 2^32.
    u64::from(quality.kbps).saturating_mul(1000).min(enough).max(LEAST).min(u32::MAX.into()) as u32
}

#[cfg(test)]
mod tests;
