//! Non-local means: every sample becomes the mean of its surroundings, those that look alike counting most.
//!
//! Source: A. Buades, B. Coll and J. M. Morel, "A non-local algorithm for image denoising" (2005). Likeness is the
//! squared difference of 3x3 patches; every other pixel of the search window is visited, in a checkerboard.

use super::padded::Padded;
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Radius of the search window.
const RADIUS: isize = 3;
/// Room needed around a plane: twice the window, for weights outside the picture are shared with the inside, and
/// the radius of a patch.
pub(crate) const MARGIN: usize = 2 * RADIUS as usize + 1;
/// Differences beyond this count as this: nine of their squares still fit 16 bits.
const FARTHEST: u16 = 85;
/// Pairs of opposite neighbours.
const PAIRS: usize = 12;
/// Rows of weights that are kept: the current one and those that the window reaches above it.
const KEPT: usize = RADIUS as usize + 1;

/// Strength of the filter: exp(-mean squared difference / h^2), as factors for 16-bit arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strength {
    /// Sum of squares from which a patch has no weight.
    limit: u16,
    /// 65535 / limit: whole part and 16 fractional bits.
    whole: u16,
    fraction: u16,
}

impl Strength {
    /// `h` in the plane's own steps; a weight of exp(-1) belongs to a root mean square difference of `h`.
    pub(crate) fn new(h: f32) -> Self {
        // The weight is (1 - sum / (8 * 9 h^2))^8, within 0.04 of the exponential.
        let limit = (72.0 * h * h).clamp(1.0, 65535.0);
        let factor = f64::from(65535.0 / limit);
        // Rounded down, so that the limit itself maps to at most 65535.
        Self { limit: limit as u16, whole: factor as u16, fraction: (factor.fract() * 65535.0) as u16 }
    }

    #[inline(always)]
    fn weight<L: Lanes>(self, sum: L) -> L {
        let sum = sum.min(L::splat(self.limit));
        let lost = sum.times(L::splat(self.whole)).plus(sum.high(L::splat(self.fraction)));
        let one = L::splat(65535).minus(lost);
        let two = one.high(one);
        let four = two.high(two);
        four.high(four)
    }
}

/// Scratch rows. Weights and squares begin [`RADIUS`] columns to the left of the picture.
#[derive(Debug, Default)]
pub(crate) struct NonLocal {
    /// Squared differences of one row.
    row: Vec<u16>,
    /// Per pair, sums of three neighbouring squared differences in three rows.
    squares: Vec<u16>,
    /// Per pair, weights of [`KEPT`] rows.
    weights: Vec<u16>,
    out: Vec<u8>,
}

/// The later one of each pair of offsets (dy, dx) on the checkerboard, in reading order.
const OFFSETS: [(isize, isize); PAIRS] = offsets();

const fn offsets() -> [(isize, isize); PAIRS] {
    let mut out = [(0, 0); PAIRS];
    let side = 2 * RADIUS + 1;
    let (mut n, mut i) = (0, side * side / 2 + 1);
    while i < side * side {
        let (dy, dx) = (i / side - RADIUS, i % side - RADIUS);
        if (dy + dx) % 2 != 0 {
            out[n] = (dy, dx);
            n += 1;
        }
        i += 1;
    }
    assert!(n == PAIRS);
    out
}

impl NonLocal {
    /// Filters `from`, which has a margin of [`MARGIN`]; `sink` gets every row.
    pub(crate) fn run<F: FnMut(usize, &[u8])>(
        &mut self,
        simd: Simd,
        from: &Padded,
        size: (usize, usize),
        strength: Strength,
        sink: F,
    ) {
        let whole = size.0.next_multiple_of(LANES);
        let wide = whole + LANES;
        self.row.resize(wide + LANES, 0);
        self.squares.resize(PAIRS * 3 * wide, 0);
        self.weights.resize(PAIRS * KEPT * wide, 0);
        self.out.resize(whole, 0);
        simd.run(Filter { scratch: self, from, size, strength, sink });
    }
}

struct Filter<'a, F> {
    scratch: &'a mut NonLocal,
    from: &'a Padded,
    size: (usize, usize),
    strength: Strength,
    sink: F,
}

impl<F: FnMut(usize, &[u8])> Kernel for Filter<'_, F> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { scratch, from, size: (width, height), strength, mut sink } = self;
        let NonLocal { row, squares, weights, out } = scratch;
        let wide = out.len() + LANES;
        let ring = |pair: usize, y: isize, rows: usize| (pair * rows + (y + 12) as usize % rows) * wide;
        for below in -RADIUS - 1..=height as isize {
            for (pair, &(dy, dx)) in OFFSETS.iter().enumerate() {
                let at = ring(pair, below, 3);
                difference::<L>(from, below, dy, dx, row, &mut squares[at..at + wide]);
            }
            // Patches of this row are now complete.
            let y = below - 1;
            if y < -RADIUS {
                continue;
            }
            for pair in 0..PAIRS {
                let part = |y: isize| &squares[ring(pair, y, 3)..][..wide];
                let at = ring(pair, y, KEPT);
                weigh::<L>(part(y - 1), part(y), part(y + 1), strength, &mut weights[at..at + wide]);
            }
            if y >= 0 {
                let weights = &weights[..];
                let pair = |pair: usize| {
                    let (dy, dx) = OFFSETS[pair];
                    let column = |x: isize, by: isize| (x + by) as usize;
                    Pair {
                        // A pixel and the earlier one of a pair look as much alike as that one and its later one.
                        later: &weights[ring(pair, y, KEPT) + RADIUS as usize..],
                        earlier: &weights[ring(pair, y - dy, KEPT) + column(RADIUS, -dx)..],
                        down: &from.row(y + dy)[column(MARGIN as isize, dx)..],
                        up: &from.row(y - dy)[column(MARGIN as isize, -dx)..],
                    }
                };
                average::<L>(&from.row(y)[MARGIN..], &std::array::from_fn(pair), out);
                sink(y as usize, &out[..width]);
            }
        }
    }
}

/// Weights and samples of two opposite neighbours, from the first column on.
struct Pair<'a> {
    later: &'a [u16],
    earlier: &'a [u16],
    down: &'a [u8],
    up: &'a [u8],
}

/// Sums of three neighbouring squared differences between row `y` and itself shifted by (dy, dx).
#[inline(always)]
fn difference<L: Lanes>(from: &Padded, y: isize, dy: isize, dx: isize, row: &mut [u16], to: &mut [u16]) {
    let left = RADIUS as usize;
    let (here, there) = (&from.row(y)[left..], &from.row(y + dy)[(left as isize + dx) as usize..]);
    let end = here.len().min(there.len());
    for x in (0..row.len()).step_by(LANES) {
        // The last lanes overlap the ones before: the padded rows end within them.
        let x = x.min(end - LANES);
        let d = L::widen(&here[x..]).distance(L::widen(&there[x..])).min(L::splat(FARTHEST));
        d.times(d).store(&mut row[x..]);
    }
    for x in (0..to.len()).step_by(LANES) {
        let sum = L::load(&row[x..]).plus(L::load(&row[x + 1..])).plus(L::load(&row[x + 2..]));
        sum.store(&mut to[x..]);
    }
}

#[inline(always)]
fn weigh<L: Lanes>(above: &[u16], row: &[u16], below: &[u16], strength: Strength, to: &mut [u16]) {
    for x in (0..to.len()).step_by(LANES) {
        let sum = L::load(&above[x..]).plus(L::load(&row[x..])).plus(L::load(&below[x..]));
        strength.weight(sum).store(&mut to[x..]);
    }
}

#[inline(always)]
fn average<L: Lanes>(centre: &[u8], pairs: &[Pair<'_>; PAIRS], out: &mut [u8]) {
    for x in (0..out.len()).step_by(LANES) {
        // The centre itself has the full weight. 25 samples with 3 fractional bits fit 16 bits, and so do their
        // weights with 11.
        let mut sum = L::widen(&centre[x..]).up::<3>();
        let mut total = L::splat(2048);
        for pair in pairs {
            let (later, earlier) = (L::load(&pair.later[x..]), L::load(&pair.earlier[x..]));
            sum = sum.plus(L::widen(&pair.down[x..]).up::<3>().high(later));
            sum = sum.plus(L::widen(&pair.up[x..]).up::<3>().high(earlier));
            total = total.plus(later.down::<5>()).plus(earlier.down::<5>());
        }
        sum.ratio(total, 256.0).narrow(&mut out[x..]);
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;

    use super::super::padded::Border;
    use super::*;

    /// The same in floating point, straight from the definition.
    fn exact(plane: &Padded, x: usize, y: usize, h: f64) -> f64 {
        let at = |dx: isize, dy: isize| {
            f64::from(plane.row(y as isize + dy)[(x as isize + MARGIN as isize + dx) as usize])
        };
        let (mut sum, mut total) = (at(0, 0), 1.0);
        for (dy, dx) in OFFSETS.into_iter().flat_map(|(dy, dx)| [(dy, dx), (-dy, -dx)]) {
            let patch = (0..9).map(|i| (i % 3 - 1, i / 3 - 1));
            let distance: f64 =
                patch.map(|(px, py)| (at(px, py) - at(px + dx, py + dy)).abs().min(85.0).powi(2)).sum();
            let weight = (1.0 - (distance / (72.0 * h * h)).min(1.0)).powi(8);
            sum += weight * at(dx, dy);
            total += weight;
        }
        sum / total
    }

    #[test]
    fn every_pixel_equals_the_definition() {
        let mut random = Random::new(8);
        for (width, height, h) in [(1, 1, 10.0), (3, 9, 10.0), (16, 5, 3.0), (40, 13, 10.0), (33, 20, 30.0)] {
            let pixels: Vec<u8> =
                (0..width * height).map(|i| (i % width * 5) as u8 / 2 + random.below(24) as u8).collect();
            let mut plane = Padded::default();
            plane.copy(pixels.chunks(width), (width, height), MARGIN, Border::Mirror);
            for simd in [Simd::detect(), Simd::portable()] {
                NonLocal::default().run(simd, &plane, (width, height), Strength::new(h as f32), |y, row| {
                    for (x, &got) in row.iter().enumerate() {
                        let wanted = exact(&plane, x, y, h);
                        assert!(
                            (f64::from(got) - wanted).abs() <= 1.0,
                            "{width}x{height} {x},{y}: {got} {wanted}"
                        );
                    }
                });
            }
        }
    }
}
