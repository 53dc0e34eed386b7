//! Negative.

use ooblex_core::{
    ColorRange, Frame, FrameProcessor, KindSpec, Options, PlaneMut, ProcessContext, ProcessError,
    RegistryError, Verdict,
};

use super::{Effect, make_planar};
use crate::simd::{Kernel, Lanes, Simd};

/// The negative: 255 - R, G and B. In YUV that is black + white - Y and the opposite chroma, exactly.
#[derive(Debug, Default)]
pub struct Invert {
    simd: Simd,
}

impl FrameProcessor for Invert {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = make_planar(&mut frame.image)?;
        let black_and_white = if image.color().range == ColorRange::Full { 255 } else { 16 + 235 };
        for index in 0..image.format().plane_count() {
            let sum = if index == 0 { black_and_white } else { 2 * 128 };
            self.simd.run(Reflect { plane: image.plane_mut(index)?, sum });
        }
        Ok(Verdict::Emit)
    }
}

/// Every sample v becomes sum - v, clamped to a byte.
struct Reflect<'a> {
    plane: PlaneMut<'a>,
    sum: u16,
}

impl Kernel for Reflect<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        // 255 - v is the complement; what differs from 255 is added or taken off, saturating.
        let (over, under) = (self.sum.saturating_sub(255) as u8, 255u16.saturating_sub(self.sum) as u8);
        for row in self.plane.rows_mut() {
            for v in row {
                *v = (!*v).saturating_add(over).saturating_sub(under);
            }
        }
    }
}

impl Effect for Invert {
    fn spec() -> KindSpec {
        KindSpec::new("invert", "Negative").aliases(&["InvertOn"])
    }

    fn from_options(_: &Options) -> Result<Self, RegistryError> {
        Ok(Self::default())
    }
}
