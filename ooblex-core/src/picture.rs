//! A frame's picture, compressed until someone needs its pixels.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::buffer::BufferPool;
use crate::convert;
use crate::error::{BoxError, ImageError};
use crate::image::{Image, PlaneMut};
use crate::pixel::{ColorRange, ColorSpace, PixelFormat};

/// How a compressed picture is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ImageCodec {
    /// ISO/IEC 10918-1 (JFIF).
    Jpeg,
    /// ISO/IEC 15948.
    Png,
    /// RFC 9649.
    WebP,
}

impl fmt::Display for ImageCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
        })
    }
}

/// A compressed picture exactly as it arrived. Cloning shares the bytes.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// How it is coded.
    pub codec: ImageCodec,
    /// The whole file.
    pub data: Bytes,
    /// Width in pixels, as the header says.
    pub width: u32,
    /// Height in pixels, as the header says.
    pub height: u32,
}

/// What a processor needs of a compressed picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Want {
    /// Luma only, at full size, as a Gray8 image.
    Luma,
    /// Both sides divided by 1, 2, 4 or 8, rounded up.
    Reduced(u8),
    /// Everything.
    Full,
}

/// Turns compressed pictures into pixels. Supplied by the source, so that core needs no codec.
///
/// Called on processing threads; it may block for the time of a decode, and must be safe to share.
pub trait PictureDecoder: Send + Sync + 'static {
    /// Decodes as little of `encoded` as `want` needs, into memory from `pool`. The size of the result follows
    /// from the header and `want`; the format is the decoder's choice, Gray8 for [`Want::Luma`].
    ///
    /// # Errors
    /// Whatever is wrong with the data.
    fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError>;
}

/// How often a picture was decoded or converted on its way. The runner adds these to the stream's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PictureCounts {
    /// Decodes of the whole picture.
    pub decoded_full: u32,
    /// Decodes of luma alone.
    pub decoded_luma: u32,
    /// Decodes at a reduced size.
    pub decoded_reduced: u32,
    /// Times the compressed form was lost because pixels changed.
    pub encoded_lost: u32,
    /// Conversions of the whole picture from YUV to RGB.
    pub rgb_conversions: u32,
    /// Transfers of the whole picture from device to host memory.
    pub device_transfers: u32,
}

/// A picture that may still be compressed.
///
/// Reading ([`luma`](Self::luma), [`reduced`](Self::reduced), [`pixels`](Self::pixels)) decodes what is needed, once,
/// and keeps the compressed form; writing ([`pixels_mut`](Self::pixels_mut), [`make`](Self::make),
/// [`set`](Self::set)) loses it. Cloning shares everything.
#[derive(Clone)]
pub struct Picture {
    encoded: Option<(Encoded, Arc<dyn PictureDecoder>)>,
    pixels: Option<Image>,
    luma: Option<Image>,
    width: u32,
    height: u32,
    pool: BufferPool,
    counts: PictureCounts,
}

impl Picture {
    /// A compressed picture with the decoder that understands it. Decoded pixels come from `pool`.
    pub fn encoded(encoded: Encoded, decoder: Arc<dyn PictureDecoder>, pool: BufferPool) -> Self {
        let (width, height) = (encoded.width, encoded.height);
        Self {
            encoded: Some((encoded, decoder)),
            pixels: None,
            luma: None,
            width,
            height,
            pool,
            counts: PictureCounts::default(),
        }
    }

    /// Pixels, with the pool that conversions take their memory from.
    pub fn new(image: Image, pool: BufferPool) -> Self {
        Self {
            encoded: None,
            width: image.width(),
            height: image.height(),
            pixels: Some(image),
            luma: None,
            pool,
            counts: PictureCounts::default(),
        }
    }

    /// What is left where a picture was moved out: reading it is an error.
    pub(crate) fn vacant(&self) -> Self {
        Self { encoded: None, pixels: None, luma: None, pool: self.pool.clone(), ..*self }
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The compressed form, as long as no pixel was changed.
    pub fn as_encoded(&self) -> Option<&Encoded> {
        self.encoded.as_ref().map(|(encoded, _)| encoded)
    }

    /// The pixels if they are decoded already. Never decodes.
    pub fn as_pixels(&self) -> Option<&Image> {
        self.pixels.as_ref()
    }

    /// The pool that this picture's memory comes from: take output images from it.
    pub fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// Counts of decodes and conversions so far.
    pub fn counts(&self) -> PictureCounts {
        self.counts
    }

    /// Full-size luma as a Gray8 image; mind its range tag ([`Image::color`]). Free for pictures whose pixels are
    /// YUV; a luma-only decode for compressed ones; a conversion for RGB.
    ///
    /// # Errors
    /// [`ImageError::Decode`] or a failed transfer from a device.
    pub fn luma(&mut self) -> Result<Image, ImageError> {
        if let Some(luma) = &self.luma {
            return Ok(luma.clone());
        }
        let luma = match (&self.pixels, &self.encoded) {
            (None, Some((encoded, decoder))) => {
                self.counts.decoded_luma += 1;
                let image = decode(encoded, decoder, Want::Luma, &self.pool)?;
                convert::convert(&image, PixelFormat::Gray8, image.color(), &self.pool)?
            }
            _ => {
                let pool = self.pool.clone();
                let pixels = self.pixels()?;
                convert::convert(pixels, PixelFormat::Gray8, luma_color(pixels), &pool)?
            }
        };
        self.luma = Some(luma.clone());
        Ok(luma)
    }

    /// The picture with both sides divided by `factor` (1, 2, 4 or 8) and rounded up, for analysis. Compressed
    /// pictures are decoded at that size; others are averaged down.
    ///
    /// # Errors
    /// [`ImageError::Reduction`], [`ImageError::Decode`] or a failed transfer from a device.
    pub fn reduced(&mut self, factor: u8) -> Result<Image, ImageError> {
        if !matches!(factor, 1 | 2 | 4 | 8) {
            return Err(ImageError::Reduction(factor));
        }
        if let (None, Some((encoded, decoder)), true) = (&self.pixels, &self.encoded, factor > 1) {
            self.counts.decoded_reduced += 1;
            return decode(encoded, decoder, Want::Reduced(factor), &self.pool);
        }
        let pool = self.pool.clone();
        convert::reduce(self.pixels()?, factor, &pool)
    }

    /// The whole picture in host memory for reading. The compressed form stays.
    ///
    /// # Errors
    /// [`ImageError::Decode`] or a failed transfer from a device.
    pub fn pixels(&mut self) -> Result<&Image, ImageError> {
        self.load()?;
        self.pixels.as_ref().ok_or(ImageError::Vacant)
    }

    /// The whole picture in host memory for changing in place. Shared pixels are copied by the first write.
    ///
    /// # Errors
    /// [`ImageError::Decode`] or a failed transfer from a device.
    pub fn pixels_mut(&mut self) -> Result<&mut Image, ImageError> {
        self.load()?;
        self.forget_derived();
        self.pixels.as_mut().ok_or(ImageError::Vacant)
    }

    /// The whole picture in `format`, for changing in place; converts if needed, keeping range and matrix. A
    /// conversion from YUV to an RGB format is counted.
    ///
    /// # Errors
    /// [`ImageError::Decode`] or a failed transfer from a device.
    pub fn make(&mut self, format: PixelFormat) -> Result<&mut Image, ImageError> {
        let pool = self.pool.clone();
        let image = self.pixels()?;
        if image.format() != format {
            let counted = image.format().is_yuv() && !format.is_yuv();
            let color =
                if format.is_yuv() && !image.format().is_yuv() { luma_color(image) } else { image.color() };
            let converted = convert::convert(image, format, color, &pool)?;
            self.counts.rgb_conversions += u32::from(counted);
            self.pixels = Some(converted);
        }
        self.pixels_mut()
    }

    /// The whole picture as packed RGB rows for changing in place: `width * 3` bytes a row.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub fn make_rgb(&mut self) -> Result<PlaneMut<'_>, ImageError> {
        self.make(PixelFormat::Rgb)?.plane_mut(0)
    }

    /// The whole picture as I420 planes Y, U, V for changing in place.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub fn make_i420(&mut self) -> Result<[PlaneMut<'_>; 3], ImageError> {
        self.make(PixelFormat::I420)?.i420_mut()
    }

    /// Replaces the picture. The size may change; the compressed form is lost.
    pub fn set(&mut self, image: Image) {
        (self.width, self.height) = (image.width(), image.height());
        self.forget_derived();
        self.pixels = Some(image);
    }

    fn load(&mut self) -> Result<(), ImageError> {
        let image = match (&self.pixels, &self.encoded) {
            (Some(image), _) if image.device_buffer().is_some() => {
                self.counts.device_transfers += 1;
                image.to_host(&self.pool)?
            }
            (Some(_), _) => return Ok(()),
            (None, Some((encoded, decoder))) => {
                self.counts.decoded_full += 1;
                decode(encoded, decoder, Want::Full, &self.pool)?
            }
            (None, None) => return Err(ImageError::Vacant),
        };
        self.pixels = Some(image);
        Ok(())
    }

    fn forget_derived(&mut self) {
        self.luma = None;
        if self.encoded.take().is_some() {
            self.counts.encoded_lost += 1;
        }
    }
}

/// The space of YUV made from RGB is full range; the matrix tag says which weights.
fn luma_color(image: &Image) -> ColorSpace {
    if image.format().is_yuv() {
        image.color()
    } else {
        ColorSpace { range: ColorRange::Full, ..image.color() }
    }
}

fn decode(
    encoded: &Encoded,
    decoder: &Arc<dyn PictureDecoder>,
    want: Want,
    pool: &BufferPool,
) -> Result<Image, ImageError> {
    decoder.decode(encoded, want, pool).map_err(|source| ImageError::Decode { codec: encoded.codec, source })
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("codec", &self.as_encoded().map(|e| e.codec))
            .field("pixels", &self.pixels.as_ref().map(Image::format))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes to mid-grey I420 of the right size.
    struct Grey;

    impl PictureDecoder for Grey {
        fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
            if encoded.data.is_empty() {
                return Err("no data".into());
            }
            let n = if let Want::Reduced(n) = want { u32::from(n) } else { 1 };
            let (w, h) = (encoded.width.div_ceil(n), encoded.height.div_ceil(n));
            let format = if want == Want::Luma { PixelFormat::Gray8 } else { PixelFormat::I420 };
            let mut image = Image::alloc(format, w, h, ColorSpace::JPEG, pool)?;
            for plane in 0..format.plane_count() {
                image.plane_mut(plane)?.fill(128);
            }
            Ok(image)
        }
    }

    fn jpeg(data: &'static [u8]) -> Picture {
        let encoded =
            Encoded { codec: ImageCodec::Jpeg, data: Bytes::from_static(data), width: 9, height: 7 };
        Picture::encoded(encoded, Arc::new(Grey), BufferPool::default())
    }

    #[test]
    fn reading_keeps_the_compressed_form_and_decodes_once() {
        let mut picture = jpeg(b"x");
        picture.luma().expect("decodes");
        picture.luma().expect("decodes");
        picture.pixels().expect("decodes");
        picture.pixels().expect("decodes");
        assert_eq!(picture.reduced(4).expect("reduces").width(), 3);
        assert!(picture.as_encoded().is_some());
        let counts = picture.counts();
        assert_eq!((counts.decoded_luma, counts.decoded_full, counts.encoded_lost), (1, 1, 0));
    }

    #[test]
    fn luma_alone_never_decodes_the_rest() {
        let mut picture = jpeg(b"x");
        assert_eq!(picture.luma().expect("decodes").format(), PixelFormat::Gray8);
        assert_eq!(picture.counts().decoded_full, 0);
        assert!(picture.as_pixels().is_none());
    }

    #[test]
    fn writing_loses_the_compressed_form_once_and_is_counted() {
        let mut picture = jpeg(b"x");
        picture.luma().expect("decodes");
        picture.make_i420().expect("planes")[0].fill(7);
        picture.pixels_mut().expect("pixels");
        assert!(picture.as_encoded().is_none());
        assert_eq!(picture.counts().encoded_lost, 1);
        assert_eq!(
            picture.luma().expect("luma").plane(0).expect("plane").row(0)[0],
            7,
            "luma follows the change"
        );
    }

    #[test]
    fn rgb_is_counted_and_planar_work_is_not() {
        let mut picture = jpeg(b"x");
        picture.make_i420().expect("planes");
        assert_eq!(picture.counts().rgb_conversions, 0);
        for row in picture.make_rgb().expect("rgb").rows_mut() {
            assert_eq!(row.len(), 27);
        }
        picture.make_rgb().expect("rgb");
        assert_eq!(picture.counts().rgb_conversions, 1);
    }

    #[test]
    fn a_picture_that_does_not_decode_says_so_and_stays() {
        let mut picture = jpeg(b"");
        let error = picture.pixels().expect_err("cannot decode").to_string();
        assert_eq!(error, "decoding the JPEG picture failed: no data");
        assert!(picture.as_encoded().is_some());
        assert!(matches!(picture.reduced(3), Err(ImageError::Reduction(3))));
    }

    #[test]
    fn a_clone_is_not_changed_by_the_original() {
        let mut a = jpeg(b"x");
        a.pixels().expect("decodes");
        let mut b = a.clone();
        a.make_i420().expect("planes")[0].fill(1);
        assert!(b.as_encoded().is_some());
        assert_eq!(b.pixels().expect("pixels").plane(0).expect("plane").row(0)[0], 128);
    }
}
