//! How much of a compressed picture a model needs.

use ooblex_core::{Image, ImageError, Picture};

use super::{Fit, InputSpec, Place};

/// The picture to analyse for a model that wants `spec`: decoded, and of a compressed picture no more than the model
/// needs, which is the smallest of full, half, quarter and eighth size that is not smaller than the model's input.
///
/// `wants_pixels` says that the whole picture will probably be needed in any case, to draw on it: then it is decoded
/// now, once. Findings do not depend on the size, because a [`Placement`](super::Placement) is in shares of the picture.
///
/// The result shares its pixels with `picture`: let go of it before drawing, or drawing copies them.
///
/// ```
/// use ooblex_core::{BufferPool, Image, Picture};
/// use ooblex_models::preprocess::{InputSpec, analysis_image};
///
/// let pool = BufferPool::default();
/// let mut picture = Picture::new(Image::black(640, 480, &pool)?, pool);
/// assert_eq!(analysis_image(&mut picture, &InputSpec::rgb01(256, 144), false)?.width(), 640);
/// # Ok::<(), ooblex_core::ImageError>(())
/// ```
///
/// # Errors
/// [`ImageError::Decode`] or a failed transfer from a device.
pub fn analysis_image(
    picture: &mut Picture,
    spec: &InputSpec,
    wants_pixels: bool,
) -> Result<Image, ImageError> {
    if wants_pixels || picture.as_pixels().is_some() || picture.as_encoded().is_none() {
        return picture.pixels().cloned();
    }
    let (width, height) = (picture.width(), picture.height());
    let needed = match spec.fit {
        Fit::Stretch => [spec.width, spec.height],
        Fit::Letterbox => {
            let place = Place::new(spec, width.into(), height.into());
            [place.width, place.height]
        }
    };
    let enough = |n: u8| {
        let left = |side: u32| side.div_ceil(n.into()) as usize;
        left(width) >= needed[0] && left(height) >= needed[1]
    };
    match [8, 4, 2].into_iter().find(|&n| enough(n)) {
        Some(factor) => picture.reduced(factor),
        None => picture.pixels().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ooblex_core::{
        BoxError, BufferPool, ColorSpace, Encoded, ImageCodec, PictureDecoder, PixelFormat, Want,
    };

    use super::*;

    struct Grey;

    impl PictureDecoder for Grey {
        fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
            let n = if let Want::Reduced(n) = want { u32::from(n) } else { 1 };
            let (w, h) = (encoded.width.div_ceil(n), encoded.height.div_ceil(n));
            Ok(Image::alloc(PixelFormat::Gray8, w, h, ColorSpace::JPEG, pool)?)
        }
    }

    fn jpeg(width: u32, height: u32) -> Picture {
        let encoded = Encoded { codec: ImageCodec::Jpeg, data: Default::default(), width, height };
        Picture::encoded(encoded, Arc::new(Grey), BufferPool::default())
    }

    fn letterbox(side: usize) -> InputSpec {
        InputSpec { fit: Fit::Letterbox, ..InputSpec::rgb01(side, side) }
    }

    #[test]
    fn as_little_as_is_enough_is_decoded() {
        for (width, height, spec, expected) in [
            (1280, 720, letterbox(128), (160, 90)),
            (1024, 576, letterbox(128), (128, 72)),
            (1023, 576, letterbox(128), (128, 72)),
            (1000, 576, letterbox(128), (250, 144)),
            (640, 480, letterbox(128), (160, 120)),
            (200, 100, letterbox(128), (200, 100)),
            (1280, 720, InputSpec::rgb01(256, 144), (320, 180)),
            (1280, 1280, letterbox(416), (640, 640)),
        ] {
            let mut picture = jpeg(width, height);
            let image = analysis_image(&mut picture, &spec, false).expect("decodes");
            assert_eq!((image.width(), image.height()), expected, "{width}x{height}");
            let full = u32::from(expected == (width, height));
            let counts = picture.counts();
            assert_eq!((counts.decoded_full, counts.decoded_reduced), (full, 1 - full));
            assert!(picture.as_encoded().is_some());
        }
    }

    #[test]
    fn pixels_that_are_wanted_or_there_are_taken() {
        let mut picture = jpeg(1280, 720);
        assert_eq!(analysis_image(&mut picture, &letterbox(128), true).expect("decodes").width(), 1280);
        assert_eq!(analysis_image(&mut picture, &letterbox(128), false).expect("decodes").width(), 1280);
        let counts = picture.counts();
        assert_eq!((counts.decoded_full, counts.decoded_reduced), (1, 0));
    }
}
