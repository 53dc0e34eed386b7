//! A fast bilateral filter: the mean over a disc, samples of another brightness counting less.
//!
//! Source: C. Tomasi and R. Manduchi, "Bilateral Filtering for Gray and Color Images" (1998). The range weight
//! exp(-d^2 / s) is computed as (1 - d^2 / 8s)^8, which needs no table and stays within 0.04 of it; brightness is
//! luma's alone, so that chroma follows the edges of the picture.

use super::padded::Padded;
use crate::simd::{LANES, Lanes};

/// Columns on either side of the centre, row after row.
pub(crate) type Disc = &'static [usize];

/// Radius 4: the 49 pixels of `cv::bilateralFilter(d = 9)`.
pub(crate) const DISC_4: Disc = &[0, 2, 3, 3, 4, 3, 3, 2, 0];
/// Radius 2: 13 pixels.
pub(crate) const DISC_2: Disc = &[0, 1, 2, 1, 0];

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

/// One row of one or two planes to be filtered.
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

impl<'a> Row<'a> {
    /// Filters the row.
    #[inline(always)]
    pub(crate) fn run<L: Lanes>(self) {
        // Sums of up to 49 samples with 2 fractional bits, or 13 with 4, and of weights up to 1023 or 4095 fit 16 bits.
        match (self.disc.len(), self.count) {
            (9, 1) => self.filter::<L, 2, 6, 9, 1>(),
            (9, _) => self.filter::<L, 2, 6, 9, 2>(),
            (_, 1) => self.filter::<L, 4, 4, 5, 1>(),
            (_, _) => self.filter::<L, 4, 4, 5, 2>(),
        }
    }

    #[inline(always)]
    fn filter<L: Lanes, const UP: i32, const DOWN: i32, const ROWS: usize, const COUNT: usize>(self) {
        let Self { guide, values, y, disc, range, out: [first, second], .. } = self;
        let radius = ROWS / 2;
        let rows = |plane: &'a Padded| -> [&'a [u8]; ROWS] {
            std::array::from_fn(|i| plane.row(y as isize + i as isize - radius as isize))
        };
        let (guide, values) = (rows(guide), [rows(values[0]), rows(values[1])]);
        // What truncation loses on average.
        let lost = disc.iter().map(|half| 2 * half + 1).sum::<usize>() as u16 / 2;
        for x in (0..first.len()).step_by(LANES) {
            let middle = L::widen(&guide[radius][x + radius..]);
            let (mut a, mut b, mut total) = (L::splat(lost), L::splat(lost), L::splat(lost));
            for row in 0..ROWS {
                let half = disc[row];
                let (start, len) = (x + radius - half, 2 * half + LANES);
                let window = &guide[row][start..start + len];
                let windows = [&values[0][row][start..start + len], &values[1][row][start..start + len]];
                for i in 0..=2 * half {
                    let weight = range.weight(middle, L::widen(&window[i..]));
                    total = total.plus(weight.down::<DOWN>());
                    a = a.plus(L::widen(&windows[0][i..]).up::<UP>().high(weight));
                    if COUNT > 1 {
                        b = b.plus(L::widen(&windows[1][i..]).up::<UP>().high(weight));
                    }
                }
            }
            a.ratio(total, 256.0).narrow(&mut first[x..]);
            if COUNT > 1 {
                b.ratio(total, 256.0).narrow(&mut second[x..]);
            }
        }
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
        let pixels: Vec<u8> = (0..width * height)
            .map(|i| (if i % width > 15 { 200 } else { 20 }) + random.below(50) as u8)
            .collect();
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
                    for (dy, &half) in disc.iter().enumerate() {
                        for column in radius - half..=radius + half {
                            let v = f64::from(plane.row((y + dy) as isize - radius as isize)[x + column]);
                            let weight = (-(v - centre).powi(2) / f64::from(s)).exp();
                            sum += weight * v;
                            total += weight;
                        }
                    }
                    assert!(
                        (sum / total - f64::from(got[x])).abs() <= 6.0,
                        "{x},{y}: {} {}",
                        sum / total,
                        got[x]
                    );
                }
            }
        }
    }
}
