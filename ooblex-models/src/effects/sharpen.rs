//! Sharpening.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, PixelFormat, ProcessContext, ProcessError, RegistryError,
    Verdict,
};

use super::Effect;
use crate::color::Levels;
use crate::kernels::gamut::Gamut;
use crate::kernels::stencil::{self, Stencil};
use crate::simd::Simd;

/// Every RGB component convolved with a 3x3 kernel of 9 in the centre and -1 around, saturating, borders mirrored.
///
/// Computed on I420 and clamped as if it had been done in RGB.
#[derive(Debug, Default)]
pub struct Sharpen {
    stencil: Stencil,
    simd: Simd,
}

impl FrameProcessor for Sharpen {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = frame.image.make(PixelFormat::I420)?;
        let gamut = Gamut::new(&Levels::of(image.color()));
        self.stencil.run(self.simd, stencil::Sharpen, 0, gamut, image.i420_mut()?);
        Ok(Verdict::Emit)
    }
}

impl Effect for Sharpen {
    fn spec() -> KindSpec {
        KindSpec::new("sharpen", "Sharper edges")
    }

    fn from_options(_: &Options) -> Result<Self, RegistryError> {
        Ok(Self::default())
    }
}
