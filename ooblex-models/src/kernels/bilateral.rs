//! A fast bilateral filter: the mean over a disc, samples of another brightness counting less.
//!
//! Source: C. Tomasi and R. Manduchi, "Bilateral Filtering for Gray and Color Images" (1998). The range weight
//! exp(-d^2 / s) is computed as (1 - d^2 / 8s)^8, which needs no table and stays within 0.04 of it; brightness is
//! luma's alone, so that chroma follows the edges of the picture.

use super::padded::Padded;
use crate::simd::{LANES, Lanes};

/// Offsets (dy, dx) of a disc.
pub(crate) type Disc = &'static [(isize, usize)];

/// Radius 4: the 49 pixels of `cv::bilateralFilter(d = 9)`. Columns count from the left edge of the disc.
pub(crate) const DISC_4: Disc = &disc::<49>(4);
/// Radius 2: 13 pixels.
pub(crate) const DISC_2: Disc = &disc::<13>(2);

const fn disc<const N: usize>(radius: isize) -> [(isize, usize); N] {
    let mut out = [(0, 0); N];
    let (mut n, mut i) = (0, 0);
    let side = 2 * radius + 1;
    while i < side * side {
        let (dy, dx) = (i / side - radius, i % side - radius);
        if dy * dy + dx * dx <= radius * radius {
            out[n] = (dy, (dx + radius) as usize);
            n += 1;
        }
        i += 1;
    }
    assert!(n == N);
    out
}

/// How much brightness matters: `s` of exp(-d^2 / s), as a factor for [`weights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range(u16);

impl Range {
    /// `s` counts as 8192 if it is less: the largest difference then has no weight at all.
    pub(crate) fn new(s: f32) -> Self {
        Self((65536.0 * 65536.0 / (8.0 * s)).min(65535.0) as u16)
    }

    /// Weight of samples with brightness `other`, 16 fractional bits.
    #[inline(always)]
    fn weight<L: Lanes>(self, centre: L, other: L) -> L {
        let d = centre.distance(other);
        let one = L::splat(65535).minus(d.times(d).high(L::splat(self.0)));
        let two = one.high(one);
        let four = two.high(two);
        four.high(four)
    }
}

/// Filters one row: `sums` becomes the weighted sum of `values` and `weights` the sum of weights, both for whole
/// lanes. A sample's mean is 256 sum / weight.
pub(crate) struct Row<'a> {
    /// Brightness with a margin of the disc's radius.
    pub(crate) guide: &'a Padded,
    /// What is averaged, with the same margin; may be the guide itself.
    pub(crate) values: [&'a Padded; 2],
    /// How many of the values count: 1 or 2.
    pub(crate) count: usize,
    /// Row.
    pub(crate) y: usize,
    /// The disc: 49 or 13 pixels.
    pub(crate) disc: Disc,
    /// Weight of brightness.
    pub(crate) range: Range,
    /// Mean of each of the values.
    pub(crate) out: [&'a mut [u8]; 2],
}

impl Row<'_> {
    /// Filters the row.
    #[inline(always)]
    pub(crate) fn run<L: Lanes>(self) {
        // Sums of up to 49 samples with 2 fractional bits, or 13 with 4, and of weights with 10 or 12, fit 16 bits.
        if self.disc.len() == DISC_4.len() { self.filter::<L, 2, 6>() } else { self.filter::<L, 4, 4>() }
    }

    #[inline(always)]
    fn filter<L: Lanes, const UP: i32, const DOWN: i32>(self) {
        let Self { guide, values, count, y, disc, range, out: [first, second] } = self;
        let radius = disc[disc.len() - 1].0;
        let width = first.len();
        let centre = &guide.row(y as isize)[radius as usize..];
        for x in (0..width).step_by(LANES) {
            let middle = L::widen(&centre[x..]);
            // What truncation loses on average.
            let lost = L::splat(disc.len() as u16 / 2);
            let (mut a, mut b, mut total) = (lost, lost, lost);
            for &(dy, dx) in disc {
                let at = |plane: &Padded| L::widen(&plane.row(y as isize + dy)[x + dx..]);
                let weight = range.weight(middle, at(guide));
                total = total.plus(weight.down::<DOWN>());
                a = a.plus(at(values[0]).up::<UP>().high(weight));
                if count > 1 {
                    b = b.plus(at(values[1]).up::<UP>().high(weight));
                }
            }
            mean(a, total, &mut first[x..]);
            if count > 1 {
                mean(b, total, &mut second[x..]);
            }
        }
    }
}

/// 256 sum / weight, rounded.
#[inline(always)]
fn mean<L: Lanes>(sum: L, weight: L, to: &mut [u8]) {
    let (mut sums, mut weights) = ([0; LANES], [0; LANES]);
    sum.store(&mut sums);
    weight.store(&mut weights);
    for i in 0..LANES {
        let mean = f32::from(sums[i]) * 256.0 / f32::from(weights[i]);
        let mean = if mean < 255.0 { mean } else { 255.0 };
        // Adding 2^23 rounds to an integer and leaves it in the low bits.
        to[i] = (mean + 8_388_608.0).to_bits() as u8;
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;

    use super::super::padded::Border;
    use super::*;
    use crate::simd::{Kernel, Simd};

    struct One<'a>(&'a Padded, usize, Disc, Range, Vec<u8>);

    impl Kernel for One<'_> {
        type Out = Vec<u8>;
        #[inline(always)]
        fn run<L: Lanes>(self) -> Vec<u8> {
            let Self(plane, y, disc, range, mut out) = self;
            let to = [&mut out[..], &mut []];
            Row { guide: plane, values: [plane; 2], count: 1, y, disc, range, out: to }.run::<L>();
            out
        }
    }

    #[test]
    fn close_to_the_exact_filter() {
        let (width, height, s) = (33, 12, 20_000.0);
        let mut random = Random::new(3);
        let pixels: Vec<u8> =
            (0..width * height).map(|i| (if i % width > 15 { 200 } else { 20 }) + random.below(50) as u8).collect();
        for (disc, radius) in [(DISC_4, 4), (DISC_2, 2)] {
            let mut plane = Padded::default();
            plane.copy(pixels.chunks(width), (width, height), radius, Border::Mirror);
            for y in 0..height {
                let row = |simd: Simd| simd.run(One(&plane, y, disc, Range::new(s), vec![0; 48]));
                let got = row(Simd::detect());
                assert_eq!(got, row(Simd::portable()));
                for x in 0..width {
                    let centre = f64::from(pixels[y * width + x]);
                    let (mut sum, mut total) = (0.0, 0.0);
                    for &(dy, dx) in disc {
                        let v = f64::from(plane.row(y as isize + dy)[x + dx]);
                        let weight = (-(v - centre).powi(2) / f64::from(s)).exp();
                        sum += weight * v;
                        total += weight;
                    }
                    assert!((sum / total - f64::from(got[x])).abs() <= 4.0, "{x},{y}: {} {}", sum / total, got[x]);
                }
            }
        }
    }
}
