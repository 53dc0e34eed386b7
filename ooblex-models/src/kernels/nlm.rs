//! Non-local means: every sample becomes the mean of its surroundings, those that look alike counting most.
//!
//! Source: A. Buades, B. Coll and J. M. Morel, "A non-local algorithm for image denoising" (2005). Likeness is the
//! squared difference of 3x3 patches; every other pixel of the search window is visited, in a checkerboard.

use super::padded::Padded;
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Farthest pixel compared with, plus the radius of a patch.
pub(crate) const MARGIN: usize = RADIUS as usize + 1;
/// Radius of the search window.
const RADIUS: isize = 3;
/// Differences beyond this count as this: nine of their squares still fit 16 bits.
const FARTHEST: u16 = 85;

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

/// Scratch rows.
#[derive(Debug, Default)]
pub(crate) struct NonLocal {
    /// Per offset, horizontal sums of three squared differences of three rows.
    squares: Vec<u16>,
    /// Squared differences of one row.
    row: Vec<u16>,
    out: Vec<u8>,
}

/// Offsets (dy, dx) of the checkerboard.
const OFFSETS: [(isize, isize); 24] = offsets();

const fn offsets() -> [(isize, isize); 24] {
    let mut out = [(0, 0); 24];
    let (mut n, mut i) = (0, 0);
    let side = 2 * RADIUS + 1;
    while i < side * side {
        let (dy, dx) = (i / side - RADIUS, i % side - RADIUS);
        // The centre has one colour; these are all squares of the other.
        if (dy + dx) % 2 != 0 {
            out[n] = (dy, dx);
            n += 1;
        }
        i += 1;
    }
    assert!(n == 24);
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
        self.squares.resize(OFFSETS.len() * 3 * whole, 0);
        self.row.resize(whole + LANES, 0);
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
        let Self { scratch: NonLocal { squares, row, out }, from, size: (width, height), strength, mut sink } = self;
        let whole = out.len();
        let slot = |offset: usize, y: isize| (offset * 3 + (y + 3) as usize % 3) * whole;
        for y in -1..=height as isize {
            for (i, &(dy, dx)) in OFFSETS.iter().enumerate() {
                let at = slot(i, y);
                difference::<L>(from, y, dy, dx, row, &mut squares[at..at + whole]);
            }
            let done = y - 1;
            if done < 0 {
                continue;
            }
            let centre = &from.row(done)[MARGIN..];
            for x in (0..whole).step_by(LANES) {
                // The centre itself has the full weight. 25 samples with 3 fractional bits fit 16 bits, and so do
                // their weights with 11.
                let mut sum = L::widen(&centre[x..]).up::<3>().plus(L::splat(OFFSETS.len() as u16 / 2));
                let mut total = L::splat(2048);
                for (i, &(dy, dx)) in OFFSETS.iter().enumerate() {
                    let part = |y: isize| L::load(&squares[slot(i, y) + x..]);
                    let weight = strength.weight(part(done - 1).plus(part(done)).plus(part(done + 1)));
                    let other = &from.row(done + dy)[(MARGIN as isize + dx) as usize..];
                    sum = sum.plus(L::widen(&other[x..]).up::<3>().high(weight));
                    total = total.plus(weight.down::<5>());
                }
                mean(sum, total, &mut out[x..]);
            }
            sink(done as usize, &out[..width]);
        }
    }
}

/// Sums of three neighbouring squared differences between row `y` and itself shifted by (dy, dx).
#[inline(always)]
fn difference<L: Lanes>(from: &Padded, y: isize, dy: isize, dx: isize, row: &mut [u16], to: &mut [u16]) {
    // One column to the left of the picture and, within the last lanes, one to its right.
    let here = &from.row(y)[MARGIN - 1..];
    let there = &from.row(y + dy)[(MARGIN as isize - 1 + dx) as usize..];
    let end = here.len().min(there.len());
    for x in (0..row.len()).step_by(LANES) {
        let x = x.min(end - LANES);
        let d = L::widen(&here[x..]).distance(L::widen(&there[x..])).min(L::splat(FARTHEST));
        d.times(d).store(&mut row[x..]);
    }
    for x in (0..to.len()).step_by(LANES) {
        let sum = L::load(&row[x..]).plus(L::load(&row[x + 1..])).plus(L::load(&row[x + 2..]));
        sum.store(&mut to[x..]);
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
