//! H.264 by OpenH264.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ooblex_core::{BufferPool, ColorSpace, Image, PixelFormat};
use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use super::{Decoded, SequenceParameters, VideoDecoder, VideoError};

/// More times than pictures can be held back (16 reference pictures) means that pictures were lost; the oldest times
/// are forgotten.
const MAX_WAITING: usize = 32;

/// Decodes H.264 access units in Annex B form (start codes) to I420, 8 bits, 4:2:0, progressive.
///
/// The planes are copied from the decoder into pool memory and tagged with the range and matrix that the sequence
/// parameter set gives; without any, limited range with BT.709 from 720 rows on and BT.601 below, as browsers
/// assume.
pub struct H264Decoder {
    decoder: Decoder,
    pool: BufferPool,
    color: Option<ColorSpace>,
    /// Times of access units whose picture has not come out. Pictures come out in the order of showing, so the
    /// next one has the smallest time.
    waiting: BinaryHeap<Reverse<i64>>,
}

/// Whether the decoder may hold pictures back to bring them into the order of showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Every picture comes out at once: for streams whose order of decoding is the order of showing.
    AsDecoded,
    /// Pictures are held back as long as an earlier one may follow.
    AsShown,
}

impl H264Decoder {
    /// A decoder for live streams, which do not reorder: every picture comes out at once.
    ///
    /// # Errors
    /// [`VideoError::Unsupported`] if the library cannot be initialized.
    pub fn new(pool: BufferPool) -> Result<Self, VideoError> {
        Self::with_order(pool, Order::AsDecoded)
    }

    pub(crate) fn with_order(pool: BufferPool, order: Order) -> Result<Self, VideoError> {
        let flush = match order {
            Order::AsDecoded => Flush::Flush,
            Order::AsShown => Flush::NoFlush,
        };
        let config = DecoderConfig::new().flush_after_decode(flush);
        let decoder = Decoder::with_api_config(OpenH264API::from_source(), config)
            .map_err(|e| VideoError::Unsupported(e.to_string()))?;
        Ok(Self { decoder, pool, color: None, waiting: BinaryHeap::new() })
    }

    /// Refuses what OpenH264 cannot decode, so that the error says why.
    pub(crate) fn check(sps: &SequenceParameters) -> Result<(), VideoError> {
        let bad = match sps {
            s if s.chroma_format > 1 => format!("chroma format {} (only 4:2:0 is)", s.chroma_format),
            s if s.bit_depth != 8 => format!("{} bits a sample (only 8 are)", s.bit_depth),
            s if s.interlaced => "interlaced H.264 (only progressive is)".into(),
            _ => return Ok(()),
        };
        Err(VideoError::Unsupported(bad))
    }

    fn learn(&mut self, access_unit: &[u8]) -> Result<(), VideoError> {
        for nal in nal_units(access_unit).filter(|nal| nal[0] & 0x1F == 7) {
            let sps = SequenceParameters::parse(nal).map_err(|e| VideoError::Corrupt(e.into()))?;
            Self::check(&sps)?;
            self.color = Some(sps.color());
        }
        Ok(())
    }

    fn wait_for(&mut self, pts: i64) {
        self.waiting.push(Reverse(pts));
        while self.waiting.len() > MAX_WAITING {
            self.waiting.pop();
        }
    }
}

impl VideoDecoder for H264Decoder {
    fn decode(&mut self, access_unit: &[u8], pts: i64, out: &mut Vec<Decoded>) -> Result<(), VideoError> {
        self.learn(access_unit)?;
        self.wait_for(pts);
        let Self { decoder, pool, color, waiting } = self;
        match decoder.decode(access_unit) {
            Ok(Some(picture)) => out.push(copy(&picture, *color, waiting, pool)?),
            Ok(None) => {}
            Err(error) => {
                waiting.retain(|Reverse(t)| *t != pts);
                return Err(VideoError::Corrupt(error.into()));
            }
        }
        Ok(())
    }

    fn flush(&mut self, out: &mut Vec<Decoded>) -> Result<(), VideoError> {
        let Self { decoder, pool, color, waiting } = self;
        for picture in decoder.flush_remaining().map_err(|e| VideoError::Corrupt(e.into()))? {
            out.push(copy(&picture, *color, waiting, pool)?);
        }
        waiting.clear();
        Ok(())
    }
}

fn copy(
    picture: &DecodedYUV<'_>,
    color: Option<ColorSpace>,
    waiting: &mut BinaryHeap<Reverse<i64>>,
    pool: &BufferPool,
) -> Result<Decoded, VideoError> {
    let (width, height) = picture.dimensions();
    let (y, u, v) = picture.strides();
    let (width, height) = (width as u32, height as u32);
    let color = color.unwrap_or_else(|| super::assumed_color(height, None));
    let planes = [(picture.y(), y), (picture.u(), u), (picture.v(), v)];
    let image = Image::from_planes(PixelFormat::I420, width, height, color, &planes, pool)
        .map_err(|e| VideoError::Corrupt(e.into()))?;
    let pts = waiting.pop().map_or(0, |Reverse(pts)| pts);
    Ok(Decoded { image, pts })
}

/// The NAL units of an Annex B access unit, without start codes; none of them is empty.
fn nal_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut starts = memchr::memmem::find_iter(data, &[0, 0, 1]).map(|at| at + 3).peekable();
    std::iter::from_fn(move || {
        let start = starts.next()?;
        let end = starts.peek().map_or(data.len(), |next| next - 3);
        Some(&data[start..end.max(start)])
    })
    .filter(|nal| !nal.is_empty())
}
