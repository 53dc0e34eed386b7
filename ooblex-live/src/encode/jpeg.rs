//! JPEG for viewers that decode no video.

use std::time::Duration;

use ooblex_core::{BufferPool, Image, convert};
use ooblex_mjpeg::encode::{self as mjpeg, jpeg_encoder};

use super::{EncodeError, Encoded, VideoEncoder, fitted_size};
use crate::codec::Codec;
use crate::output::Quality;

/// Encodes JPEG; the bit rate chooses the JPEG quality.
pub struct JpegEncoder {
    encoder: Box<dyn mjpeg::JpegEncoder>,
    quality: Quality,
    pool: BufferPool,
}

impl JpegEncoder {
    /// # Errors
    /// [`EncodeError::Failed`] if the library gives no encoder.
    pub fn new(quality: Quality) -> Result<Self, EncodeError> {
        let encoder = jpeg_encoder().map_err(|e| failed(e.into()))?;
        Ok(Self { encoder, quality, pool: BufferPool::new(2) })
    }
}

fn failed(source: ooblex_core::BoxError) -> EncodeError {
    EncodeError::Failed { codec: Codec::Jpeg, source }
}

/// JPEG needs about eight times the bits of video; below these qualities blocks are seen first.
fn jpeg_quality(quality: Quality) -> u8 {
    match quality.kbps {
        2000.. => 85,
        1000.. => 75,
        500.. => 65,
        _ => 55,
    }
}

impl VideoEncoder for JpegEncoder {
    fn encode(&mut self, image: &Image, _: Duration, _: bool) -> Result<Option<Encoded>, EncodeError> {
        let (width, height) = fitted_size(image.width(), image.height(), self.quality.max_height);
        let smaller = width < image.width() & !1 || height < image.height() & !1;
        let image = if smaller {
            &convert::resize(image, width, height, &self.pool).map_err(|e| failed(e.into()))?
        } else {
            image
        };
        let quality = jpeg_quality(self.quality);
        let data = self.encoder.encode(image, quality).map_err(|e| failed(e.into()))?;
        Ok(Some(Encoded { data, is_key: true, width: image.width(), height: image.height() }))
    }
}
