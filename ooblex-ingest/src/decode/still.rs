//! PNG and WebP into pixels.

use std::io::Cursor;
use std::sync::{Arc, LazyLock};

use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use ooblex_core::{
    BoxError, BufferPool, ColorSpace, Encoded, Image, ImageCodec, PictureDecoder, PixelFormat, Want, convert,
};

/// Bytes a pixel at most inside the decoders: 16-bit RGBA.
const MAX_PIXEL_BYTES: u64 = 8;
/// What the decoders may need beside the pixels.
const WORKING_BYTES: u64 = 32 << 20;

/// Decodes PNG and WebP: to Gray8, RGB or, with transparency, RGBA; 16-bit samples lose their lower half. Of an
/// animation the first picture is shown. The file was inspected before, so that its size is known to be allowed.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StillDecoder;

impl StillDecoder {
    /// A decoder. It holds no state.
    pub const fn new() -> Self {
        Self
    }

    /// The one that all pictures share.
    pub(crate) fn shared() -> Arc<dyn PictureDecoder> {
        static SHARED: LazyLock<Arc<StillDecoder>> = LazyLock::new(Arc::default);
        SHARED.clone()
    }
}

impl PictureDecoder for StillDecoder {
    fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
        let format = match encoded.codec {
            ImageCodec::Png => ImageFormat::Png,
            ImageCodec::WebP => ImageFormat::WebP,
            other => return Err(format!("a PNG and WebP decoder was given {other}").into()),
        };
        let (width, height) = (encoded.width, encoded.height);
        let mut limits = Limits::default();
        limits.max_image_width = Some(width);
        limits.max_image_height = Some(height);
        limits.max_alloc = Some(u64::from(width) * u64::from(height) * MAX_PIXEL_BYTES + WORKING_BYTES);
        let mut reader = ImageReader::with_format(Cursor::new(&encoded.data[..]), format);
        reader.limits(limits);
        let decoded = reader.decode()?;
        if (decoded.width(), decoded.height()) != (width, height) {
            let (w, h) = (decoded.width(), decoded.height());
            return Err(format!("the picture is {w}x{h}, not {width}x{height} as its header said").into());
        }
        let (format, pixels) = unpack(decoded);
        let image = Image::from_vec(format, width, height, ColorSpace::JPEG, pixels)?;
        Ok(match want {
            Want::Luma => convert::convert(&image, PixelFormat::Gray8, ColorSpace::JPEG, pool)?,
            Want::Reduced(factor) => convert::reduce(&image, factor, pool)?,
            _ => image,
        })
    }
}

fn unpack(image: DynamicImage) -> (PixelFormat, Vec<u8>) {
    match image {
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageLuma16(_) => {
            (PixelFormat::Gray8, image.into_luma8().into_raw())
        }
        image if image.color().has_alpha() => (PixelFormat::Rgba, image.into_rgba8().into_raw()),
        image => (PixelFormat::Rgb, image.into_rgb8().into_raw()),
    }
}
