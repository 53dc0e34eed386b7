//! Noise reduction.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, ProcessContext, ProcessError, RegistryError,
    Verdict,
};

use super::{Effect, redraw};
use crate::color::Levels;
use crate::kernels::nlm::{MARGIN, NonLocal, Strength};
use crate::kernels::padded::{Border, Padded};
use crate::simd::Simd;

const STRENGTH: u8 = 10;

/// Non-local means on every plane: 3x3 patches, a checkerboard of 24 neighbours within 3 pixels.
///
/// `cv::fastNlMeansDenoising` compares 7x7 patches at 441 places and takes some hundred times longer; this one
/// removes the noise that a camera makes and leaves coarser grain.
#[derive(Debug)]
pub struct Denoise {
    strength: u8,
    plane: Padded,
    filter: NonLocal,
    simd: Simd,
}

impl Denoise {
    /// `strength` is the root mean square difference, in full-range steps, at which a patch counts exp(-1): 1 to
    /// 30; more than the noise's deviation blurs texture.
    pub fn new(strength: u8) -> Self {
        let strength = strength.clamp(1, 30);
        Self { strength, plane: Padded::default(), filter: NonLocal::default(), simd: Simd::detect() }
    }
}

impl Default for Denoise {
    /// Strength 10.
    fn default() -> Self {
        Self::new(STRENGTH)
    }
}

impl FrameProcessor for Denoise {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let Self { strength, plane, filter, simd } = self;
        redraw(frame, cx.pool, |source, target| {
            let strength = Strength::new(Levels::of(source.color()).scale(f32::from(*strength)));
            for index in 0..source.format().plane_count() {
                let from = source.plane(index)?;
                let size = (from.row_bytes(), from.row_count());
                plane.copy(from.rows(), size, MARGIN, Border::Mirror);
                let mut to = target.plane_mut(index)?;
                filter.run(*simd, plane, size, strength, |y, row| to.row_mut(y).copy_from_slice(row));
            }
            Ok(())
        })?;
        Ok(Verdict::Emit)
    }
}

impl Effect for Denoise {
    fn spec() -> KindSpec {
        KindSpec::new("denoise", "Less noise").aliases(&["DenoiseOn"]).param(
            ParamSpec::new("strength", ParamType::Int(1..=30), STRENGTH, "difference that counts as noise")
                .unit("levels"),
        )
    }

    fn from_options(options: &Options) -> Result<Self, RegistryError> {
        Ok(Self::new(options.get_or("strength", STRENGTH)?))
    }
}
