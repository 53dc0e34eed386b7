//! Pencil sketch.

use ooblex_core::{
    ColorRange, ColorSpace, Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, PixelFormat,
    ProcessContext, ProcessError, RegistryError, Verdict, convert,
};

use super::Effect;
use crate::kernels::gaussian::{Finish, Gaussian, MAX_RADIUS, Weights};
use crate::simd::Simd;

const DETAIL: u8 = 21;
const MAX: u8 = 2 * MAX_RADIUS as u8 + 1;

/// Dark lines on white paper: luma divided by its own Gaussian blur (a colour dodge).
///
/// Needs luma alone; gives a full-range Gray8 picture. The same as inverting, blurring, inverting back and
/// `cv::divide(luma, blurred, scale = 256)`, but for the rounding of the blur.
#[derive(Debug)]
pub struct Sketch {
    weights: Weights,
    scratch: Gaussian,
    simd: Simd,
}

impl Sketch {
    /// `size` is the side of the Gaussian in pixels, 3 to 99, even numbers as the next odd one: larger draws
    /// broader shading.
    pub fn new(size: u8) -> Self {
        let weights = Weights::gaussian(usize::from(size.clamp(3, MAX) | 1));
        Self { weights, scratch: Gaussian::default(), simd: Simd::detect() }
    }
}

impl Default for Sketch {
    /// 21 by 21 pixels.
    fn default() -> Self {
        Self::new(DETAIL)
    }
}

impl FrameProcessor for Sketch {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let full = {
            let luma = frame.image.luma()?;
            let color = ColorSpace { range: ColorRange::Full, ..luma.color() };
            convert::convert(&luma, PixelFormat::Gray8, color, cx.pool)?
        };
        // The picture becomes its own luma, so that nobody else holds the plane when it is changed in place.
        frame.image.set(full);
        let image = frame.image.pixels_mut()?;
        self.scratch.run(self.simd, &self.weights, Finish::Dodge, &mut image.plane_mut(0)?);
        Ok(Verdict::Emit)
    }
}

impl Effect for Sketch {
    fn spec() -> KindSpec {
        KindSpec::new("sketch", "Pencil sketch").param(
            ParamSpec::new(
                "size",
                ParamType::Int(3..=MAX.into()),
                DETAIL,
                "breadth of the shading, rounded up to odd",
            )
            .unit("px"),
        )
    }

    fn from_options(options: &Options) -> Result<Self, RegistryError> {
        Ok(Self::new(options.get_or("size", DETAIL)?))
    }
}
