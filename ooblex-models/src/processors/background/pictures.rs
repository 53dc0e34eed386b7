//! Pictures that may be put behind people: those that the operator gives, by name, and no others.

use std::collections::BTreeMap;
use std::sync::Arc;

use ooblex_core::{BufferPool, ColorSpace, Image, ImageError, PixelFormat, Plane, convert};

use crate::kernels::resize::Resize;

/// Longest name in characters.
const LONGEST: usize = 64;
/// The name that means no picture.
pub(in crate::processors) const NONE: &str = "none";

/// Pictures to be put behind people. Viewers and publishers choose among their names; nothing that they say is ever
/// taken for a file or an address. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Backgrounds(Arc<BTreeMap<String, Image>>);

/// Why a picture cannot be offered as a background.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackgroundsError {
    /// The name is not one.
    #[error("background name {0:?} cannot be used; use 1 to {LONGEST} of a-z 0-9 _ -, and not `none`")]
    Name(String),
    /// The picture is not in host memory.
    #[error("background {0:?} is in device memory; transfer it to the host first")]
    DeviceMemory(String),
}

impl Backgrounds {
    /// No pictures.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a picture of any size and format; one of the same name is replaced.
    ///
    /// # Errors
    /// [`BackgroundsError`].
    pub fn add(&mut self, name: &str, image: Image) -> Result<(), BackgroundsError> {
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if name.is_empty() || name.len() > LONGEST || name == NONE || !name.bytes().all(plain) {
            return Err(BackgroundsError::Name(name.chars().take(LONGEST).collect()));
        }
        if image.plane(0).is_err() {
            return Err(BackgroundsError::DeviceMemory(name.to_owned()));
        }
        Arc::make_mut(&mut self.0).insert(name.to_owned(), image);
        Ok(())
    }

    /// The names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The picture of that name.
    pub fn get(&self, name: &str) -> Option<&Image> {
        self.0.get(name)
    }
}

/// `image` as I420 in `color`, cut to the shape of `width` by `height` and resized to it.
///
/// # Errors
/// [`ImageError`].
pub(in crate::processors) fn covering(
    image: &Image,
    (width, height): (u32, u32),
    color: ColorSpace,
    pool: &BufferPool,
) -> Result<Image, ImageError> {
    let mut image = convert::convert(image, PixelFormat::I420, color, pool)?;
    // Bilinear mixing skips pixels beyond half the size.
    while image.width() >= 2 * width && image.height() >= 2 * height {
        image = convert::reduce(&image, 2, pool)?;
    }
    let mut out = Image::alloc(PixelFormat::I420, width, height, color, pool)?;
    let mut resize = Resize::default();
    for index in 0..3 {
        let source = image.plane(index)?;
        let mut target = out.plane_mut(index)?;
        let (columns, rows) = (target.row_bytes(), target.row_count());
        let [left, top, w, h] = middle(source, width as f64 / height as f64);
        resize.prepare((w, columns, columns as f32), (h, rows, rows as f32));
        for y in 0..rows {
            resize.bytes(y, |y| &source.row(top + y)[left..left + w], target.row_mut(y));
        }
    }
    Ok(out)
}

/// Left, top, width and height of the largest part in the middle that is `shape` times as wide as high.
fn middle(plane: Plane<'_>, shape: f64) -> [usize; 4] {
    let (width, height) = (plane.row_bytes(), plane.row_count());
    let w = ((height as f64 * shape).round() as usize).clamp(1, width);
    let h = ((width as f64 / shape).round() as usize).clamp(1, height);
    [(width - w) / 2, (height - h) / 2, w, h]
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;

    use super::*;

    fn picture(width: u32, height: u32) -> Image {
        random_image(PixelFormat::Rgb, width, height, ColorSpace::JPEG, 2, 3)
    }

    #[test]
    fn names_are_plain_words() {
        let mut backgrounds = Backgrounds::new();
        for bad in ["", "none", "../beach", "a b", "Beach", "x.png", &"x".repeat(65)] {
            assert!(matches!(backgrounds.add(bad, picture(2, 2)), Err(BackgroundsError::Name(_))), "{bad:?}");
        }
        backgrounds.add("beach-2", picture(2, 2)).expect("a good name");
        backgrounds.add("attic", picture(2, 2)).expect("a good name");
        assert_eq!(backgrounds.names().collect::<Vec<_>>(), ["attic", "beach-2"]);
        assert!(backgrounds.get("beach-2").is_some() && backgrounds.get("beach").is_none());
    }

    #[test]
    fn pictures_cover_any_frame_and_keep_their_shape() {
        let pool = BufferPool::default();
        for (width, height) in [(1, 1), (1, 300), (300, 1), (64, 48), (1920, 1080)] {
            let image =
                covering(&picture(640, 480), (width, height), ColorSpace::BT709, &pool).expect("covers");
            assert_eq!((image.width(), image.height(), image.color()), (width, height, ColorSpace::BT709));
        }
        // A disc stays a disc: as wide as high, whatever the frame's shape.
        let mut disc = vec![0u8; 400 * 300];
        for (i, v) in disc.iter_mut().enumerate() {
            let (x, y) = ((i % 400) as f32 - 199.5, (i / 400) as f32 - 149.5);
            *v = if x * x + y * y < 30.0 * 30.0 { 255 } else { 0 };
        }
        let disc = Image::from_vec(PixelFormat::Gray8, 400, 300, ColorSpace::JPEG, disc).expect("a picture");
        for (width, height) in [(400, 300), (90, 90), (320, 100), (150, 600)] {
            let image = covering(&disc, (width, height), ColorSpace::JPEG, &pool).expect("covers");
            let luma = image.plane(0).expect("host");
            let (w, h) = (width as usize, height as usize);
            let across = luma.row(h / 2).iter().filter(|v| **v > 127).count();
            let down = (0..h).filter(|y| luma.row(*y)[w / 2] > 127).count();
            assert!(across.abs_diff(down) <= 2 && across > 10, "{width}x{height}: {across} {down}");
        }
    }
}
