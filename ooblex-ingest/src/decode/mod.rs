//! Decoders: pictures by [`JpegDecoder`] and [`StillDecoder`], video by implementations of [`VideoDecoder`].

mod bits;
mod codec;
mod color;
#[cfg(feature = "h264")]
mod h264;
mod jpeg;
#[cfg(feature = "h264")]
mod reorder;
#[cfg(feature = "h264")]
mod rewrite;
mod sps;
mod still;
#[cfg(feature = "vpx")]
mod vpx;

use ooblex_core::{BoxError, BufferPool, ColorRange, ColorSpace, Image};

pub use self::codec::VideoCodec;
pub use self::color::{COLOR_EXTENSION, color_extension};
#[cfg(feature = "h264")]
pub use self::h264::H264Decoder;
pub use self::jpeg::JpegDecoder;
#[cfg(feature = "h264")]
pub(crate) use self::reorder::Order;
pub use self::sps::{SequenceParameters, SpsError};
pub use self::still::StillDecoder;
#[cfg(feature = "vpx")]
pub use self::vpx::VpxDecoder;

/// Most pixels of a video picture, width times height, that any decoder accepts: 16 megapixels, as for single
/// pictures. What a stream's headers say is checked before memory is allocated for it.
pub const MAX_VIDEO_PIXELS: u64 = 16_000_000;

/// One decoded picture of a video with the media time that came with its access unit.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The pixels.
    pub image: Image,
    /// Presentation time in the ticks that [`VideoDecoder::decode`] was given.
    pub pts: i64,
}

/// Why an access unit could not be decoded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// The data is damaged or depends on what was lost: go on at the next key frame.
    #[error("video cannot be decoded: {0}")]
    Corrupt(#[source] BoxError),
    /// The stream uses what this decoder does not know; nothing of it can be shown.
    #[error("video is not supported: {0}")]
    Unsupported(String),
}

/// Turns compressed video into pictures, one access unit at a time.
///
/// Stateful and blocking: it belongs on a thread of its own. A decoder may hold pictures back to put them in the
/// order in which they are shown, so one access unit can yield none or several.
pub trait VideoDecoder: Send + 'static {
    /// Decodes one whole access unit whose picture is shown at `pts`, and appends what has become ready to `out`,
    /// in the order of showing.
    ///
    /// # Errors
    /// [`VideoError`]; after [`VideoError::Corrupt`] the decoder goes on with the next key frame.
    fn decode(&mut self, access_unit: &[u8], pts: i64, out: &mut Vec<Decoded>) -> Result<(), VideoError>;

    /// What pictures are taken for from now on where the stream itself does not say, such as what the transport says
    /// about them ([`color_extension`]). Decoders of formats that always say ignore it.
    fn assume_color(&mut self, _color: ColorSpace) {}

    /// Appends what is still held back to `out`: the stream has ended.
    ///
    /// # Errors
    /// [`VideoError`].
    fn flush(&mut self, out: &mut Vec<Decoded>) -> Result<(), VideoError>;
}

/// The codecs that this build decodes, cheapest to decode first.
pub const fn supported() -> &'static [VideoCodec] {
    &[
        #[cfg(feature = "vpx")]
        VideoCodec::Vp8,
        #[cfg(feature = "h264")]
        VideoCodec::H264,
        #[cfg(feature = "vpx")]
        VideoCodec::Vp9,
    ]
}

/// A decoder for a live stream of `codec`, which gives its pictures memory from `pool`.
///
/// # Errors
/// [`VideoError::Unsupported`] if this build has no decoder for `codec`; it names the feature to enable.
pub fn open(codec: VideoCodec, pool: BufferPool) -> Result<Box<dyn VideoDecoder>, VideoError> {
    match codec {
        #[cfg(feature = "vpx")]
        VideoCodec::Vp8 | VideoCodec::Vp9 => Ok(Box::new(VpxDecoder::new(codec, pool)?)),
        #[cfg(feature = "h264")]
        VideoCodec::H264 => Ok(Box::new(H264Decoder::new(pool)?)),
        other => {
            drop(pool);
            Err(VideoError::Unsupported(match other {
                VideoCodec::Vp8 | VideoCodec::Vp9 => format!("{other} needs the feature `vpx`"),
                VideoCodec::H264 => format!("{other} needs the feature `h264`"),
                VideoCodec::Av1 => format!("{other}: no build has a decoder for it"),
            }))
        }
    }
}

/// Refuses sizes that no decoder should be told to allocate.
#[cfg(any(feature = "vpx", feature = "h264"))]
pub(crate) fn check_size(width: u32, height: u32) -> Result<(), VideoError> {
    let sides = 1..=Image::MAX_SIDE;
    let fits = u64::from(width) * u64::from(height) <= MAX_VIDEO_PIXELS;
    if sides.contains(&width) && sides.contains(&height) && fits {
        return Ok(());
    }
    let limit = MAX_VIDEO_PIXELS / 1_000_000;
    Err(VideoError::Unsupported(format!("a picture of {width}x{height} pixels (1 to {limit} million are)")))
}

/// Live video that does not say. Browsers pass cameras on as BT.601, whatever their size, and do not say so; publishers that
/// work with BT.709, such as OBS, say so in H.264.
#[cfg(any(feature = "vpx", feature = "h264"))]
pub(crate) const LIVE_COLOR: ColorSpace = ColorSpace::BT601;

/// The colour space of video files that do not say: limited range, BT.709 from 720 rows on and BT.601 below, as
/// players assume.
pub(crate) fn assumed_color(height: u32, range: Option<ColorRange>) -> ColorSpace {
    let color = if height >= 720 { ColorSpace::BT709 } else { ColorSpace::BT601 };
    ColorSpace { range: range.unwrap_or(color.range), ..color }
}
