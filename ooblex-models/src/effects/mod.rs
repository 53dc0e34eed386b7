//! The effects, one a file. Each is a processor of its own and a kind in the registry.
//!
//! | Effect | Works on | Reference |
//! |---|---|---|
//! | [`EdgeDetection`] | luma | `cv::Canny`, same pixels |
//! | [`Cartoon`] | I420 | median, adaptive threshold and a fast bilateral filter |
//! | [`Grayscale`] | luma, no pixel is touched | BT.601 or BT.709 luma |
//! | [`Sepia`] | I420 | the usual 3x3 colour matrix, saturating |
//! | [`Blur`] | every plane | `cv::GaussianBlur` |
//! | [`Pixelate`] | every plane | block means |
//! | [`Invert`] | every plane | 255 - RGB |
//! | [`Mirror`] | every plane, and annotations | left and right exchanged |
//! | [`Emboss`], [`Sharpen`] | I420, clamped as in RGB | `cv::filter2D` |
//! | [`Sketch`] | luma | colour dodge with a Gaussian |
//! | [`Vintage`] | I420, clamped as in RGB | grain, vignette, warm shift |
//! | [`Denoise`] | every plane | non-local means |
//!
//! Effects marked "every plane" keep Gray8 pictures Gray8. Effects marked "luma" give Gray8 pictures: the cheapest
//! to encode. All keep the size. Effects on I420 convert other formats by core's reference conversions first, at the
//! cost of one picture; that is counted by core only where RGB is made, which no effect here does.

mod blur;
mod cartoon;
mod denoise;
mod edge_detection;
mod emboss;
mod grayscale;
mod invert;
mod mirror;
mod none;
mod pixelate;
mod sepia;
mod sharpen;
mod sketch;
mod vintage;

pub use blur::Blur;
pub use cartoon::Cartoon;
pub use denoise::Denoise;
pub use edge_detection::EdgeDetection;
pub use emboss::Emboss;
pub use grayscale::Grayscale;
pub use invert::Invert;
pub use mirror::Mirror;
use ooblex_core::{
    BufferPool, Frame, FrameProcessor, Image, ImageError, KindSpec, Options, PassThrough, Registry,
    RegistryError,
};
pub use pixelate::Pixelate;
pub use sepia::Sepia;
pub use sharpen::Sharpen;
pub use sketch::Sketch;
pub use vintage::Vintage;

use crate::planar::make_planar;

/// An effect as the registry sees it.
trait Effect: FrameProcessor + Sized {
    /// Name, aliases, description, parameters.
    fn spec() -> KindSpec;
    /// Builds it from options that fit [`spec`](Self::spec).
    fn from_options(options: &Options) -> Result<Self, RegistryError>;
}

fn add<E: Effect>(registry: &mut Registry) {
    registry.add(E::spec(), E::from_options);
}

/// Adds every effect to `registry`.
pub(crate) fn register(registry: &mut Registry) {
    add::<PassThrough>(registry);
    add::<EdgeDetection>(registry);
    add::<Cartoon>(registry);
    add::<Grayscale>(registry);
    add::<Sepia>(registry);
    add::<Blur>(registry);
    add::<Pixelate>(registry);
    add::<Invert>(registry);
    add::<Mirror>(registry);
    add::<Emboss>(registry);
    add::<Sketch>(registry);
    add::<Sharpen>(registry);
    add::<Vintage>(registry);
    add::<Denoise>(registry);
}

/// A picture like `image`, from the pool, with pixels still to be written.
fn blank_like(image: &Image, pool: &BufferPool) -> Result<Image, ImageError> {
    Image::alloc(image.format(), image.width(), image.height(), image.color(), pool)
}

/// Replaces the frame's picture by one that `fill` writes to, plane after plane, from the original.
fn redraw<F>(frame: &mut Frame, pool: &BufferPool, fill: F) -> Result<(), ImageError>
where
    F: FnOnce(&Image, &mut Image) -> Result<(), ImageError>,
{
    let source = make_planar(&mut frame.image)?;
    let mut target = blank_like(source, pool)?;
    fill(source, &mut target)?;
    frame.image.set(target);
    Ok(())
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::{frame_of, process_one, random_image};
    use ooblex_core::{ColorSpace, PixelFormat};

    use super::*;
    use crate::simd::tests::without_simd;

    #[test]
    fn the_result_does_not_depend_on_the_processor() {
        let mut registry = Registry::new();
        register(&mut registry);
        for spec in registry.kinds() {
            let build = || registry.build(&spec.name, &Options::new()).expect("builds");
            let (mut fast, mut plain) = (build(), without_simd(build));
            for (width, height) in [(1, 1), (7, 5), (33, 18), (70, 41)] {
                for color in [ColorSpace::JPEG, ColorSpace::BT709] {
                    let image = random_image(PixelFormat::I420, width, height, color, 3, 11);
                    let (mut a, mut b) = (frame_of(image.clone()), frame_of(image));
                    process_one(&mut fast, &mut a).expect("processes");
                    process_one(&mut plain, &mut b).expect("processes");
                    let bytes = |f: &mut Frame| f.image.pixels().expect("pixels").to_packed().expect("host");
                    assert_eq!(bytes(&mut a), bytes(&mut b), "{} {width}x{height} {color:?}", spec.name);
                }
            }
        }
    }
}
