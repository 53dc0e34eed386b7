//! Edges by Canny's detector.

use ooblex_core::{
    ColorRange, ColorSpace, Frame, FrameProcessor, Image, KindSpec, Options, ParamSpec, ParamType,
    PixelFormat, ProcessContext, ProcessError, RegistryError, Verdict,
};

use super::Effect;
use crate::kernels::canny::Canny;
use crate::simd::Simd;

/// Largest |dx| + |dy| of 3x3 Sobel gradients on 8-bit luma.
const MAX: i64 = 2040;
const LOW: u16 = 100;
const HIGH: u16 = 200;

/// White edges on black, one pixel wide: Canny's detector on full-range luma, as `cv::Canny` computes it with a
/// 3x3 aperture and the L1 norm.
///
/// Needs luma alone, so a JPEG is decoded without its colour. Gives a full-range Gray8 picture.
#[derive(Debug)]
pub struct EdgeDetection {
    low: i16,
    high: i16,
    canny: Canny,
    simd: Simd,
}

impl EdgeDetection {
    /// Thresholds of |dx| + |dy|, 0 to 2040: a pixel above `high` is an edge, one above `low` is if it is
    /// connected to one. Exchanged if they are the wrong way round; larger values count as 2040.
    pub fn new(low: u16, high: u16) -> Self {
        let fit = |v: u16| i64::from(v).min(MAX) as i16;
        let (low, high) = (fit(low.min(high)), fit(low.max(high)));
        Self { low, high, canny: Canny::default(), simd: Simd::detect() }
    }
}

impl Default for EdgeDetection {
    /// Thresholds 100 and 200.
    fn default() -> Self {
        Self::new(LOW, HIGH)
    }
}

impl FrameProcessor for EdgeDetection {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let luma = frame.image.luma()?;
        let color = ColorSpace { range: ColorRange::Full, ..luma.color() };
        let mut edges = Image::alloc(PixelFormat::Gray8, luma.width(), luma.height(), color, cx.pool)?;
        let thresholds = (self.low, self.high);
        self.canny.run(self.simd, luma.plane(0)?, luma.color().range, thresholds, &mut edges.plane_mut(0)?);
        frame.image.set(edges);
        Ok(Verdict::Emit)
    }
}

impl Effect for EdgeDetection {
    fn spec() -> KindSpec {
        let step = "luma steps";
        KindSpec::new("edge_detection", "Canny edge detection")
            .aliases(&["EdgeOn", "edges"])
            .param(
                ParamSpec::new(
                    "low",
                    ParamType::Int(0..=MAX),
                    u32::from(LOW),
                    "gradient that continues an edge",
                )
                .unit(step),
            )
            .param(
                ParamSpec::new(
                    "high",
                    ParamType::Int(0..=MAX),
                    u32::from(HIGH),
                    "gradient that starts an edge",
                )
                .unit(step),
            )
    }

    fn from_options(options: &Options) -> Result<Self, RegistryError> {
        Ok(Self::new(options.get_or("low", LOW)?, options.get_or("high", HIGH)?))
    }
}
