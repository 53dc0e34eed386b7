//! Emboss.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, PixelFormat, ProcessContext,
    ProcessError, RegistryError, Verdict,
};

use super::Effect;
use crate::color::Levels;
use crate::kernels::gamut::Gamut;
use crate::kernels::stencil::{self, Stencil};
use crate::simd::Simd;

const OFFSET: u8 = 128;

/// Relief lit from the upper left: every RGB component convolved with [-2 -1 0; -1 1 1; 0 1 2], plus an offset,
/// saturating, borders mirrored.
///
/// Computed on I420 and clamped as if it had been done in RGB.
#[derive(Debug)]
pub struct Emboss {
    offset: u8,
    stencil: Stencil,
    simd: Simd,
}

impl Emboss {
    /// `offset` is added to every RGB component (0 to 255): 128 gives bright paper, 0 keeps the brightness.
    pub fn new(offset: u8) -> Self {
        Self { offset, stencil: Stencil::default(), simd: Simd::detect() }
    }
}

impl Default for Emboss {
    /// Offset 128.
    fn default() -> Self {
        Self::new(OFFSET)
    }
}

impl FrameProcessor for Emboss {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = frame.image.make(PixelFormat::I420)?;
        let levels = Levels::of(image.color());
        let offset = levels.scale(self.offset.into()).round() as i16;
        self.stencil.run(self.simd, stencil::Emboss, offset, Gamut::new(&levels), image.i420_mut()?);
        Ok(Verdict::Emit)
    }
}

impl Effect for Emboss {
    fn spec() -> KindSpec {
        KindSpec::new("emboss", "Relief").param(ParamSpec::new(
            "offset",
            ParamType::Int(0..=255),
            OFFSET,
            "brightness added to the relief",
        ))
    }

    fn from_options(options: &Options) -> Result<Self, RegistryError> {
        Ok(Self::new(options.get_or("offset", OFFSET)?))
    }
}
