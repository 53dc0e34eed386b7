//! Sepia tone.

use ooblex_core::{
    ColorSpace, Frame, FrameProcessor, KindSpec, Options, PixelFormat, ProcessContext, ProcessError,
    RegistryError, Verdict,
};

use super::Effect;
use crate::color::Levels;
use crate::kernels::pairs::{Luma, Pairs, Place, PointOp};
use crate::simd::{Lanes, Simd};

/// The customary matrix: rows are new R, G, B; columns old R, G, B.
const MATRIX: [[f32; 3]; 3] = [[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]];

/// Brown tones of an old photograph: R' = .393 R + .769 G + .189 B, G' = .349 R + .686 G + .168 B,
/// B' = .272 R + .534 G + .131 B, each saturating.
///
/// The three rows are proportional within half a percent, so each result is a multiple of one weighted sum, which
/// is luma and a little blue; the whole effect is a few lines of arithmetic in YUV.
#[derive(Debug, Default)]
pub struct Sepia {
    tone: Option<(ColorSpace, Tone)>,
    pairs: Pairs,
    simd: Simd,
}

impl FrameProcessor for Sepia {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = frame.image.make(PixelFormat::I420)?;
        let color = image.color();
        let (_, tone) = match &mut self.tone {
            Some(known) if known.0 == color => known,
            other => other.insert((color, Tone::new(&Levels::of(color)))),
        };
        self.pairs.run(self.simd, tone, image.i420_mut()?);
        Ok(Verdict::Emit)
    }
}

impl Effect for Sepia {
    fn spec() -> KindSpec {
        KindSpec::new("sepia", "Brown tones of an old photograph").aliases(&["SepiaOn"])
    }

    fn from_options(_: &Options) -> Result<Self, RegistryError> {
        Ok(Self::default())
    }
}

/// Fractional bits of the weighted sum.
const SUM_BITS: i32 = 4;
/// Fractional bits of results.
const OUT_BITS: i32 = 6;

/// The effect for one colour space in fixed point.
#[derive(Clone, Copy, Debug)]
struct Tone {
    black: u16,
    /// What 16 U and 16 V add to the sum.
    u: i16,
    v: i16,
    /// New luma is the least of three lines of the sum: none of R, G, B saturated, R, R and G.
    lines: [Line; 3],
    red: Line,
    blue: Line,
    /// New R and B, most they can be.
    white: u16,
    /// Chroma of B - Y and R - Y.
    chroma: [i16; 2],
}

/// `slope * sum + start`; slope with 15 fractional bits, start in results' own.
#[derive(Clone, Copy, Debug)]
struct Line {
    slope: u16,
    start: u16,
}

impl Line {
    fn new(slope: f32, start: f32) -> Self {
        let out = (1 << OUT_BITS) as f32;
        Self { slope: (slope * 32768.0).round() as u16, start: (start * out).round() as u16 }
    }

    #[inline(always)]
    fn at<L: Lanes>(self, sum: L) -> L {
        // sum / 2^4 * slope / 2^15 with 6 fractional bits is sum * 2^3 * slope / 2^16.
        sum.up::<3>().high(L::splat(self.slope)).plus(L::splat(self.start))
    }
}

impl Tone {
    fn new(levels: &Levels) -> Self {
        let gain = MATRIX.map(|row| row.iter().sum::<f32>());
        let [wr, wg, wb] = MATRIX[0].map(|w| w / gain[0]);
        // What a step of U and V adds to the weighted sum of R, G, B.
        let (u, v) = (wb * levels.bu - wg * levels.gu, wr * levels.rv - wg * levels.gv);
        let [yr, yg, yb] = levels.weights;
        let white = f32::from(levels.white);
        let factor = |v: f32| (v * 2048.0).round() as i16;
        Self {
            black: levels.black.into(),
            u: factor(u),
            v: factor(v),
            lines: [
                Line::new(yr * gain[0] + yg * gain[1] + yb * gain[2], 0.0),
                Line::new(yg * gain[1] + yb * gain[2], yr * white),
                Line::new(yb * gain[2], (yr + yg) * white),
            ],
            red: Line::new(gain[0], 0.0),
            blue: Line::new(gain[2], 0.0),
            white: (white * (1 << OUT_BITS) as f32) as u16,
            chroma: [1.0 / levels.bu, 1.0 / levels.rv].map(|v| (v * 32768.0).round() as i16),
        }
    }

    /// The weighted sum of luma (with [`SUM_BITS`]) and what chroma adds.
    #[inline(always)]
    fn sum<L: Lanes>(&self, luma: L, chroma: L) -> L {
        luma.minus(L::splat(self.black << SUM_BITS)).plus(chroma).i_max(L::splat(0))
    }

    /// New luma of a weighted sum, with [`OUT_BITS`], black excluded.
    #[inline(always)]
    fn luma<L: Lanes>(&self, sum: L) -> L {
        let [a, b, c] = self.lines;
        a.at(sum).min(b.at(sum)).min(c.at(sum))
    }

    #[inline(always)]
    fn finished<L: Lanes>(&self, luma: L, chroma: L) -> L {
        let rounded = self.luma(self.sum(luma.up::<SUM_BITS>(), chroma)).plus(L::splat(1 << (OUT_BITS - 1)));
        rounded.down::<OUT_BITS>().plus(L::splat(self.black))
    }
}

impl PointOp for Tone {
    #[inline(always)]
    fn block<L: Lanes>(&self, _: Place, luma: Luma<L>, u: L, v: L) -> (Luma<L>, [L; 2]) {
        let centre = L::splat(128);
        // 2^8 U times a factor with 11 fractional bits, over 2^15: 4 fractional bits are left.
        let (u, v) = (u.minus(centre).up::<8>(), v.minus(centre).up::<8>());
        let tint = u.i_scale(L::i_splat(self.u)).plus(v.i_scale(L::i_splat(self.v)));
        let (left, right) = tint.doubled();
        let [[a, b], [c, d]] = luma;
        let out = [
            [self.finished(a, left), self.finished(b, right)],
            [self.finished(c, left), self.finished(d, right)],
        ];
        // Chroma follows the mean of four luma samples: their sum has two of the four fractional bits.
        let mean = a.plus(c).pair_sums(b.plus(d)).up::<{ SUM_BITS - 2 }>();
        let sum = self.sum(mean, tint);
        let (luma, white) = (self.luma(sum), L::splat(self.white));
        let (red, blue) = (self.red.at(sum).min(white), self.blue.at(sum).min(white));
        let [ku, kv] = self.chroma;
        (out, [chroma(blue.minus(luma), ku), chroma(red.minus(luma), kv)])
    }
}

#[inline(always)]
fn chroma<L: Lanes>(difference: L, factor: i16) -> L {
    let scaled = difference.i_scale(L::i_splat(factor)).plus(L::splat(1 << (OUT_BITS - 1)));
    scaled.i_down::<OUT_BITS>().plus(L::splat(128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_the_matrix_are_proportional() {
        let gain = MATRIX.map(|row| row.iter().sum::<f32>());
        for (row, gain) in MATRIX.iter().zip(gain) {
            for (w, first) in row.iter().zip(MATRIX[0]) {
                assert!((w / gain - first / 1.351).abs() < 0.005);
            }
        }
    }
}
