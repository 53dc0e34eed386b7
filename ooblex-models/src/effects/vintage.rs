//! Old film.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, PixelFormat, ProcessContext,
    ProcessError, RegistryError, Verdict,
};

use super::Effect;
use crate::color::Levels;
use crate::kernels::gamut::Gamut;
use crate::kernels::pairs::{Luma, Pairs, Place, PointOp};
use crate::simd::{LANES, Lanes, Simd};

const GRAIN: u8 = 25;
/// Samples of grain; rows begin at random places in them.
const TABLE: usize = 1 << 14;
/// What R, G and B are multiplied by.
const TINT: [f32; 3] = [1.1, 0.9, 0.7];

/// Old film: grain, a vignette and a warm shift. Per pixel, with m = exp(-2 (dx / width)^2 - 2 (dy / height)^2)
/// and dx, dy the distance from the centre:
/// R' = 1.1 m (R + n), G' = 0.9 m (G + n), B' = 0.7 m (B + n), saturating at each step.
///
/// The grain n is the same for R, G and B, near normal, and depends on nothing but the seed, the frame's number
/// and the pixel, so that a run can be repeated. Computed on I420 and clamped as if it had been done in RGB.
#[derive(Debug)]
pub struct Vintage {
    seed: u32,
    /// Noise in full-range steps, [`TABLE`] samples.
    table: Vec<i16>,
    film: Film,
    pairs: Pairs,
    simd: Simd,
}

impl Vintage {
    /// `grain` is the standard deviation of the noise in full-range steps, 0 to 100.
    pub fn new(grain: u8, seed: u32) -> Self {
        let table = grain_table(grain.min(100).into(), seed);
        Self { seed, table, film: Film::default(), pairs: Pairs::default(), simd: Simd::detect() }
    }
}

impl Default for Vintage {
    /// Grain 25, seed 0.
    fn default() -> Self {
        Self::new(GRAIN, 0)
    }
}

impl FrameProcessor for Vintage {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let sequence = frame.sequence;
        let image = frame.image.make(PixelFormat::I420)?;
        let levels = Levels::of(image.color());
        self.film.prepare(image.width() as usize, image.height() as usize, &self.table, &levels);
        self.film.begin(self.seed, sequence);
        self.pairs.run(self.simd, &self.film, image.i420_mut()?);
        Ok(Verdict::Emit)
    }
}

impl Effect for Vintage {
    fn spec() -> KindSpec {
        KindSpec::new("vintage", "Old film: grain, vignette and warm colours")
            .param(
                ParamSpec::new("grain", ParamType::Int(0..=100), GRAIN, "standard deviation of the noise")
                    .unit("levels"),
            )
            .param(ParamSpec::new("seed", ParamType::Int(0..=u32::MAX.into()), 0, "which noise"))
    }

    fn from_options(options: &Options) -> Result<Self, RegistryError> {
        Ok(Self::new(options.get_or("grain", GRAIN)?, options.get_or("seed", 0)?))
    }
}

/// Everything that depends on the picture's size and colour space, ready to be looked up.
#[derive(Debug, Default)]
struct Film {
    size: (usize, usize),
    levels: Option<Levels>,
    gamut: Option<Gamut>,
    /// Grain in the picture's own steps, long enough for a row to begin anywhere in [`TABLE`].
    grain: Vec<u16>,
    /// Where in the grain each row begins.
    starts: Vec<usize>,
    /// Vignette of the columns times tint, 15 fractional bits: R, G, B.
    columns: [Vec<u16>; 3],
    /// Vignette of the rows, 16 fractional bits.
    rows: Vec<u16>,
}

impl Film {
    fn prepare(&mut self, width: usize, height: usize, table: &[i16], levels: &Levels) {
        if self.size == (width, height) && self.levels.as_ref() == Some(levels) {
            return;
        }
        let padded = Pairs::padded_width(width);
        let scaled: Vec<u16> = table.iter().map(|&n| levels.scale(n.into()).round() as i16 as u16).collect();
        self.grain = scaled.iter().cycle().take(TABLE + padded).copied().collect();
        let column = |x: usize| falloff(x.min(width - 1), width);
        self.columns =
            TINT.map(|tint| (0..padded).map(|x| (column(x) * tint * 32768.0).round() as u16).collect());
        self.rows = (0..height).map(|y| (falloff(y, height) * 65535.0).round() as u16).collect();
        self.gamut = Some(Gamut::new(levels));
        self.levels = Some(*levels);
        self.size = (width, height);
    }

    fn begin(&mut self, seed: u32, sequence: u64) {
        let base = (sequence << 20) ^ (u64::from(seed) << 44);
        self.starts.clear();
        self.starts.extend((0..self.size.1 as u64).map(|y| (mix(base ^ y) % TABLE as u64) as usize));
    }
}

/// Brightness at sample `i` of `len`: a Gaussian of standard deviation `len / 2` around the centre.
fn falloff(i: usize, len: usize) -> f32 {
    let centred = |i: usize| i as f32 - (len as f32 - 1.0) / 2.0;
    let value = |i: usize| (-2.0 * (centred(i) / len as f32).powi(2)).exp();
    value(i) / value(len / 2)
}

/// splitmix64's finaliser (Steele, Lea and Flood, 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Near-normal noise: each sample is the scaled sum of the eight bytes of a hash.
fn grain_table(sigma: f64, seed: u32) -> Vec<i16> {
    // The sum of 8 uniform bytes has mean 1020 and variance 8 (256^2 - 1) / 12.
    let scale = sigma / (8.0 * (65536.0 - 1.0) / 12.0f64).sqrt();
    let sample = |i: usize| {
        let sum: i32 =
            mix((u64::from(seed) << 32) + i as u64).to_le_bytes().iter().map(|&b| i32::from(b)).sum();
        (f64::from(sum - 1020) * scale + 0.5).floor().clamp(-400.0, 400.0) as i16
    };
    (0..TABLE).map(sample).collect()
}

impl PointOp for Film {
    #[inline(always)]
    fn block<L: Lanes>(&self, place: Place, luma: Luma<L>, u: L, v: L) -> (Luma<L>, [L; 2]) {
        // Invariant: `prepare` ran before; without it the block stays as it is.
        let (Some(gamut), Some(levels)) = (&self.gamut, &self.levels) else { return (luma, [u, v]) };
        let centre = L::splat(128);
        let [r, g, b] = gamut.offsets(u.minus(centre).up::<2>(), v.minus(centre).up::<2>());
        let (r, g, b) = (r.doubled(), g.doubled(), b.doubled());
        let black = L::splat(gamut.black());
        let white = L::splat(u16::from(levels.white) << 7);
        let mut out = luma;
        let (mut left, mut right) = ([L::splat(0); 3], [L::splat(0); 3]);
        for i in 0..2 {
            let grain = &self.grain[self.starts[place.rows[i]] + place.x..];
            let row = L::splat(self.rows[place.rows[i]]);
            let value = luma[i][0].minus(black).plus(L::load(grain));
            let rgb = self.shade(gamut.rgb(value, [r.0, g.0, b.0]), place.x, row, white);
            left = [left[0].plus(rgb[0]), left[1].plus(rgb[1]), left[2].plus(rgb[2])];
            out[i][0] = gamut.luma(rgb);
            let value = luma[i][1].minus(black).plus(L::load(&grain[LANES..]));
            let rgb = self.shade(gamut.rgb(value, [r.1, g.1, b.1]), place.x + LANES, row, white);
            right = [right[0].plus(rgb[0]), right[1].plus(rgb[1]), right[2].plus(rgb[2])];
            out[i][1] = gamut.luma(rgb);
        }
        let sums = [left[0].pair_sums(right[0]), left[1].pair_sums(right[1]), left[2].pair_sums(right[2])];
        (out, gamut.chroma(sums))
    }
}

impl Film {
    #[inline(always)]
    fn shade<L: Lanes>(&self, [r, g, b]: [L; 3], x: usize, row: L, white: L) -> [L; 3] {
        [
            shade_one(r, &self.columns[0][x..], row, white),
            shade_one(g, &self.columns[1][x..], row, white),
            shade_one(b, &self.columns[2][x..], row, white),
        ]
    }
}

/// One component times vignette and tint, clamped to white (with 7 fractional bits) and rounded.
#[inline(always)]
fn shade_one<L: Lanes>(v: L, columns: &[u16], row: L, white: L) -> L {
    let factor = L::load(columns).high(row);
    v.up::<8>().high(factor).min(white).plus(L::splat(64)).down::<7>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grain_has_the_deviation_asked_for_and_depends_on_the_seed() {
        for sigma in [5.0, 25.0, 100.0] {
            let table = grain_table(sigma, 7);
            let mean = table.iter().map(|&n| f64::from(n)).sum::<f64>() / TABLE as f64;
            let variance = table.iter().map(|&n| (f64::from(n) - mean).powi(2)).sum::<f64>() / TABLE as f64;
            assert!(mean.abs() < sigma * 0.05, "{mean}");
            assert!((variance.sqrt() / sigma - 1.0).abs() < 0.03, "{sigma}: {}", variance.sqrt());
        }
        assert!(grain_table(0.0, 1).iter().all(|&n| n == 0));
        assert_ne!(grain_table(25.0, 1), grain_table(25.0, 2));
    }

    #[test]
    fn the_vignette_is_brightest_in_the_centre_and_even_on_both_sides() {
        for len in [1, 2, 9, 320] {
            assert!((falloff(len / 2, len) - 1.0).abs() < 1e-6);
            for i in 0..len {
                assert!((falloff(i, len) - falloff(len - 1 - i, len)).abs() < 1e-6);
                assert!(falloff(i, len) <= 1.0 + 1e-6);
            }
        }
        // exp(-1/2) at the very edge.
        assert!((falloff(0, 10_000) - 0.6066).abs() < 1e-3);
    }
}
