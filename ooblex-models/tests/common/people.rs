//! Pictures of people, with and without processors that look for them.
#![allow(dead_code)] // Each test binary uses some of it.

use std::path::{Path, PathBuf};

use ooblex_core::testing::{frame_of, process_one};
use ooblex_core::{
    BufferPool, ColorSpace, Frame, FrameProcessor, Image, Mask, Options, PixelFormat, Registry, convert,
};

/// A picture of the repository's own.
pub(crate) fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", "models", name].iter().collect()
}

/// A file of `../shared`, where there is one.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let mut above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.find_map(|folder| Some(folder.join("shared").join(name)).filter(|path| path.exists()))
}

/// A picture as RGB, resized to this size, its shape kept or not.
pub(crate) fn open(path: &Path, size: Option<(u32, u32)>) -> Image {
    let rgb = image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_rgb8();
    let rgb = match size {
        Some((width, height)) => {
            image::imageops::resize(&rgb, width, height, image::imageops::FilterType::Triangle)
        }
        None => rgb,
    };
    let (width, height) = rgb.dimensions();
    Image::from_vec(PixelFormat::Rgb, width, height, ColorSpace::JPEG, rgb.into_raw()).expect("a picture")
}

pub(crate) fn astronaut(size: Option<(u32, u32)>) -> Image {
    open(&golden("astronaut.png"), size)
}

pub(crate) fn as_yuv(image: &Image, color: ColorSpace) -> Image {
    convert::convert(image, PixelFormat::I420, color, &BufferPool::default()).expect("converts")
}

pub(crate) fn as_rgb(image: &Image) -> Image {
    convert::convert(image, PixelFormat::Rgb, ColorSpace::JPEG, &BufferPool::default()).expect("converts")
}

/// Red, green and blue of an RGB picture at a place.
pub(crate) fn pixel(image: &Image, x: usize, y: usize) -> [u8; 3] {
    let row = image.plane(0).expect("host memory").row(y);
    [row[3 * x], row[3 * x + 1], row[3 * x + 2]]
}

pub(crate) fn build(effect: &str, options: &Options) -> Box<dyn FrameProcessor> {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    registry.build(effect, options).unwrap_or_else(|e| panic!("{effect}: {e}"))
}

/// The frame after a processor.
pub(crate) fn processed(processor: &mut dyn FrameProcessor, image: &Image) -> Frame {
    let mut frame = frame_of(image.clone());
    process_one(processor, &mut frame).unwrap_or_else(|e| panic!("{}", e.inner()));
    frame
}

/// The picture after an effect.
pub(crate) fn applied(effect: &str, options: &Options, image: &Image) -> Image {
    processed(&mut *build(effect, options), image).image.pixels().expect("pixels").clone()
}

/// The person's mask that a frame carries.
pub(crate) fn mask_of(frame: &Frame) -> Mask {
    frame.annotations.iter().find_map(|a| a.mask.clone()).expect("a mask")
}
