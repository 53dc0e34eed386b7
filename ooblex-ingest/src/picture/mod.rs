//! Compressed pictures from outside: checked by their headers, cleaned, and left compressed.
//!
//! [`accept`] looks at the structure of the file and never at its pixels: type by content, size from the header,
//! completeness by walking the markers or chunks to the end. A JPEG that every viewer can show stays as it is,
//! without the segments that nobody needs: comments and metadata, with the place where it was taken. Pictures that
//! must change to be shown (turned by their EXIF orientation, CMYK, arithmetic coding) are decoded at once.

mod error;
mod exif;
mod jpeg;
mod png;
mod webp;

use std::sync::Arc;

use bytes::Bytes;
use ooblex_core::{BufferPool, Encoded, Image, ImageCodec, Picture, PictureDecoder, Want, convert};

pub use self::error::PictureError;
pub use self::exif::Orientation;
use crate::decode::{JpegDecoder, StillDecoder};

/// What a picture from outside may be at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PictureLimits {
    /// Most bytes of a compressed picture.
    pub max_bytes: usize,
    /// Most pixels, width times height.
    pub max_pixels: u64,
}

impl Default for PictureLimits {
    /// 8 MiB and 16 megapixels.
    fn default() -> Self {
        Self { max_bytes: 8 << 20, max_pixels: 16_000_000 }
    }
}

/// A picture whose structure was found sound; see [`inspect`].
#[derive(Clone, Debug)]
pub struct Inspected {
    encoded: Encoded,
    orientation: Orientation,
    showable: bool,
}

/// What a parser found in a file.
struct Parsed {
    width: u32,
    height: u32,
    orientation: Orientation,
    /// The file without what must not travel on.
    data: Bytes,
    /// Whether ordinary viewers can show it as it is (JPEG), or never need to (other types).
    showable: bool,
}

/// Checks `data` and wraps it as a picture that stays compressed until someone needs its pixels.
///
/// Costs a scan of the bytes and, where segments have to go, one copy; decodes only pictures that cannot be shown
/// as they are (see [`Inspected::needs_decode`]). Decoded pixels come from `pool`.
///
/// ```
/// use bytes::Bytes;
/// use ooblex_core::BufferPool;
/// use ooblex_ingest::picture::{self, PictureLimits};
///
/// let error = picture::accept(Bytes::from_static(b"GIF89a"), &PictureLimits::default(), &BufferPool::default());
/// assert_eq!(error.unwrap_err().to_string(), "not a JPEG, PNG or WebP picture: it begins with 47 49 46 38");
/// ```
///
/// # Errors
/// [`PictureError`], which says what is wrong and where.
pub fn accept(data: Bytes, limits: &PictureLimits, pool: &BufferPool) -> Result<Picture, PictureError> {
    inspect(data, limits)?.into_picture(pool)
}

/// The first half of [`accept`]: everything that takes no decoding.
///
/// # Errors
/// [`PictureError`], which says what is wrong and where.
pub fn inspect(data: Bytes, limits: &PictureLimits) -> Result<Inspected, PictureError> {
    if data.is_empty() {
        return Err(PictureError::Empty);
    }
    if data.len() > limits.max_bytes {
        return Err(PictureError::TooLarge { bytes: data.len() as u64, limit: limits.max_bytes });
    }
    let (codec, parsed) = match &*data {
        [0xFF, 0xD8, ..] => (ImageCodec::Jpeg, jpeg::parse(data)?),
        [0x89, b'P', b'N', b'G', ..] => (ImageCodec::Png, png::parse(data)?),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            (ImageCodec::WebP, webp::parse(data)?)
        }
        other => {
            return Err(PictureError::UnknownType {
                begins: other.iter().take(4).map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "),
            });
        }
    };
    let Parsed { width, height, orientation, data, showable } = parsed;
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(PictureError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    if width.max(height) > Image::MAX_SIDE {
        let what = format!("{width}x{height} pixels: a side of more than {} pixels", Image::MAX_SIDE);
        return Err(PictureError::Unsupported { codec, what });
    }
    Ok(Inspected { encoded: Encoded { codec, data, width, height }, orientation, showable })
}

impl Inspected {
    /// How it is coded.
    pub fn codec(&self) -> ImageCodec {
        self.encoded.codec
    }

    /// How it must be turned to be upright.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// Whether [`into_picture`](Self::into_picture) will decode, and so block for some milliseconds: the picture
    /// has to be turned, or is a JPEG that ordinary viewers cannot show.
    pub fn needs_decode(&self) -> bool {
        !self.showable || self.orientation != Orientation::UPRIGHT
    }

    /// The picture, upright, with a decoder attached or, if it had to be decoded, as pixels from `pool`.
    ///
    /// # Errors
    /// [`PictureError::Decode`] if it had to be decoded and that failed.
    pub fn into_picture(self, pool: &BufferPool) -> Result<Picture, PictureError> {
        let decoder: Arc<dyn PictureDecoder> = match self.encoded.codec {
            ImageCodec::Jpeg => JpegDecoder::shared(),
            _ => StillDecoder::shared(),
        };
        if !self.needs_decode() {
            return Ok(Picture::encoded(self.encoded, decoder, pool.clone()));
        }
        let failed = |source| PictureError::Decode { codec: self.encoded.codec, source };
        let image = decoder.decode(&self.encoded, Want::Full, pool).map_err(failed)?;
        let Orientation { rotation, mirror } = self.orientation;
        let upright = convert::rotate(&image, rotation, mirror, pool).map_err(|e| failed(e.into()))?;
        Ok(Picture::new(upright, pool.clone()))
    }
}

/// Reads the big-endian number at `at`.
fn be16(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_be_bytes)
}

/// Reads the big-endian number at `at`.
fn be32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_be_bytes)
}

/// Reads the little-endian number at `at`.
fn le32(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests;
