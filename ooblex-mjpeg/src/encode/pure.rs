//! The encoder in pure Rust, for builds without a C compiler.

use bytes::Bytes;
use jpeg_encoder::{Encoder, ImageBuffer, JpegColorType, SamplingFactor, rgb_to_ycbcr};
use ooblex_core::{Image, PixelFormat};

use super::planes::{Prepared, Scratch, prepare};
use super::{EncodeError, JpegEncoder, check_quality};

/// Encodes with the `jpeg-encoder` crate: about three times slower than libjpeg-turbo.
#[derive(Default)]
pub(super) struct PureEncoder {
    scratch: Scratch,
    out: Vec<u8>,
}

/// Rows on demand, which is how that crate reads pictures.
struct Rows<'a> {
    prepared: Prepared<'a>,
    format: PixelFormat,
    width: u16,
    height: u16,
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        if let Prepared::Gray(_) = self.prepared { JpegColorType::Luma } else { JpegColorType::Ycbcr }
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, [to_y, to_u, to_v, _]: &mut [Vec<u8>; 4]) {
        let width = usize::from(self.width);
        let y = usize::from(y);
        match &self.prepared {
            Prepared::Gray(luma) => to_y.extend(luma.row(y, width)),
            Prepared::Yuv([luma, u, v]) => {
                to_y.extend(luma.row(y, width));
                for (plane, to) in [(u, to_u), (v, to_v)] {
                    let twice = plane.row(y / 2, width.div_ceil(2)).iter().flat_map(|s| [*s, *s]);
                    to.extend(twice.take(width));
                }
            }
            Prepared::Packed(plane) => {
                let (step, [r, g, b]) = match self.format {
                    PixelFormat::Bgr => (3, [2, 1, 0]),
                    PixelFormat::Rgba => (4, [0, 1, 2]),
                    _ => (3, [0, 1, 2]),
                };
                for px in plane.row(y, width * step).chunks_exact(step) {
                    let (y, u, v) = rgb_to_ycbcr(px[r], px[g], px[b]);
                    to_y.push(y);
                    to_u.push(u);
                    to_v.push(v);
                }
            }
        }
    }
}

impl JpegEncoder for PureEncoder {
    fn encode(&mut self, image: &Image, quality: u8) -> Result<Bytes, EncodeError> {
        check_quality(quality)?;
        let prepared = prepare(image, &mut self.scratch)?;
        // Sides are at most `Image::MAX_SIDE`, so they fit.
        let (width, height) = (image.width() as u16, image.height() as u16);
        self.out.clear();
        let mut encoder = Encoder::new(&mut self.out, quality);
        encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
        let rows = Rows { prepared, format: image.format(), width, height };
        encoder.encode_image(rows).map_err(|e| EncodeError::Codec {
            width: image.width(),
            height: image.height(),
            source: e.to_string().into(),
        })?;
        Ok(Bytes::copy_from_slice(&self.out))
    }
}
