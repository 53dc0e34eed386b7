//! Pictures as planes.

use ooblex_core::{Image, ImageError, Picture, PixelFormat};

/// The picture as I420, or as Gray8 if that is what it is.
pub(crate) fn make_planar(picture: &mut Picture) -> Result<&mut Image, ImageError> {
    let gray = picture.pixels()?.format() == PixelFormat::Gray8;
    if gray { picture.pixels_mut() } else { picture.make(PixelFormat::I420) }
}
