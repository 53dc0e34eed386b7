//! The encoder on libjpeg-turbo.

use bytes::Bytes;
use ooblex_core::{Image, PixelFormat};
use turbojpeg::{Compressor, Subsamp, YuvPlanesImage, compressed_buf_len};

use super::planes::{Prepared, Samples, Scratch, prepare};
use super::{EncodeError, JpegEncoder, check_quality};

/// Encodes with libjpeg-turbo's SIMD code, from planes as they are where that is possible.
pub(super) struct TurboEncoder {
    compressor: Compressor,
    quality: u8,
    scratch: Scratch,
    /// Large enough for the worst case; the result is copied out in its exact size.
    out: Vec<u8>,
}

impl TurboEncoder {
    pub(super) fn new() -> Result<Self, EncodeError> {
        let compressor = Compressor::new().map_err(|e| failed(0, 0, e))?;
        Ok(Self { compressor, quality: 0, scratch: Scratch::default(), out: Vec::new() })
    }

    fn compress(
        &mut self,
        image: &Image,
        quality: u8,
    ) -> Result<Result<usize, turbojpeg::Error>, EncodeError> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let prepared = prepare(image, &mut self.scratch)?;
        Ok((|| {
            if self.quality != quality {
                self.compressor.set_quality(quality.into())?;
                self.quality = quality;
            }
            let bound = compressed_buf_len(width, height, Subsamp::Sub2x2)?;
            if self.out.len() < bound {
                // Fresh zeroed memory costs nothing until it is written to, and most of it never is.
                self.out = vec![0; bound];
            }
            match prepared {
                Prepared::Yuv([y, u, v]) => {
                    let planes = YuvPlanesImage {
                        y_plane: y.data,
                        u_plane: u.data,
                        v_plane: v.data,
                        width,
                        height,
                        y_stride: y.stride,
                        u_stride: u.stride,
                        v_stride: v.stride,
                        subsamp: Subsamp::Sub2x2,
                    };
                    self.compressor.compress_yuv_planes_to_slice(&planes, &mut self.out)
                }
                Prepared::Gray(Samples { data, stride }) => {
                    self.compressor.set_subsamp(Subsamp::Gray)?;
                    let format = turbojpeg::PixelFormat::GRAY;
                    let image = turbojpeg::Image { pixels: data, width, pitch: stride, height, format };
                    self.compressor.compress_to_slice(image, &mut self.out)
                }
                Prepared::Packed(Samples { data, stride }) => {
                    self.compressor.set_subsamp(Subsamp::Sub2x2)?;
                    let format = match image.format() {
                        PixelFormat::Bgr => turbojpeg::PixelFormat::BGR,
                        PixelFormat::Rgba => turbojpeg::PixelFormat::RGBX,
                        _ => turbojpeg::PixelFormat::RGB,
                    };
                    let image = turbojpeg::Image { pixels: data, width, pitch: stride, height, format };
                    self.compressor.compress_to_slice(image, &mut self.out)
                }
            }
        })())
    }
}

impl JpegEncoder for TurboEncoder {
    fn encode(&mut self, image: &Image, quality: u8) -> Result<Bytes, EncodeError> {
        check_quality(quality)?;
        let len = self.compress(image, quality)?.map_err(|e| failed(image.width(), image.height(), e))?;
        Ok(Bytes::copy_from_slice(&self.out[..len]))
    }
}

fn failed(width: u32, height: u32, error: turbojpeg::Error) -> EncodeError {
    EncodeError::Codec { width, height, source: error.into() }
}
