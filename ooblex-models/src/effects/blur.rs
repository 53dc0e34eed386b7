//! Gaussian blur.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, ProcessContext, ProcessError,
    RegistryError, Verdict,
};

use super::{Effect, make_planar};
use crate::kernels::gaussian::{Finish, Gaussian, MAX_RADIUS, Weights};
use crate::simd::Simd;

const STRENGTH: u8 = 21;
const MAX: u8 = 2 * MAX_RADIUS as u8 + 1;

/// Gaussian blur as `cv::GaussianBlur` computes it without a given sigma: a kernel of `strength` by `strength`
/// pixels, sigma 0.3 ((strength - 1) / 2 - 1) + 0.8, borders mirrored.
///
/// Luma is within 1 of the exact kernel. Chroma gets the kernel that blurring in RGB amounts to at half the
/// resolution.
#[derive(Debug)]
pub struct Blur {
    luma: Weights,
    chroma: Weights,
    scratch: Gaussian,
    simd: Simd,
}

impl Blur {
    /// `strength` is the side of the kernel in pixels, 1 (no blur) to 99; even numbers count as the next odd one.
    pub fn new(strength: u8) -> Self {
        let size = usize::from(strength.clamp(1, MAX) | 1);
        let (luma, chroma) = (Weights::gaussian(size), Weights::gaussian_halved(size));
        Self { luma, chroma, scratch: Gaussian::default(), simd: Simd::detect() }
    }
}

impl Default for Blur {
    /// 21 by 21 pixels.
    fn default() -> Self {
        Self::new(STRENGTH)
    }
}

impl FrameProcessor for Blur {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = make_planar(&mut frame.image)?;
        for index in 0..image.format().plane_count() {
            let weights = if index == 0 { &self.luma } else { &self.chroma };
            self.scratch.run(self.simd, weights, Finish::Store, &mut image.plane_mut(index)?);
        }
        Ok(Verdict::Emit)
    }
}

impl Effect for Blur {
    fn spec() -> KindSpec {
        KindSpec::new("blur", "Gaussian blur of the whole picture").param(
            ParamSpec::new(
                "strength",
                ParamType::Int(1..=MAX.into()),
                STRENGTH,
                "side of the kernel, rounded up to odd",
            )
            .unit("px"),
        )
    }

    fn from_options(options: &Options) -> Result<Self, RegistryError> {
        Ok(Self::new(options.get_or("strength", STRENGTH)?))
    }
}
