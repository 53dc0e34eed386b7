//! Separable Gaussian blur in 16-bit fixed point, in place, with a ring of rows as its only memory.

use ooblex_core::PlaneMut;

use super::grid::Grid;
use super::mirrored;
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Largest kernel radius.
pub(crate) const MAX_RADIUS: usize = 49;
/// Columns that are worked on at once: two registers, so that additions do not wait for one another.
const STEP: usize = 2 * LANES;
/// Fractional bits of an intermediate sample.
const FRACTION: i32 = 7;

/// Half of a symmetric kernel: weight of the centre first, with 16 fractional bits, summing to 1 over the whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weights(Vec<u16>);

impl Weights {
    /// The kernel of `size` (odd) samples that OpenCV uses when it is given no standard deviation:
    /// sigma = 0.3 ((size - 1) / 2 - 1) + 0.8.
    pub(crate) fn gaussian(size: usize) -> Self {
        Self::from_half(&Self::half(size))
    }

    /// The same blur for planes of half the resolution: what averaging 2x2 gives after every sample was repeated
    /// 2x2 and blurred by [`gaussian`](Self::gaussian). `k[d] = (g[2d - 1] + 2 g[2d] + g[2d + 1]) / 2`.
    pub(crate) fn gaussian_halved(size: usize) -> Self {
        let full = Self::half(size);
        let at = |i: isize| full.get(i.unsigned_abs()).copied().unwrap_or(0.0);
        let half: Vec<f64> = (0..=full.len() as isize / 2)
            .map(|d| (at(2 * d - 1) + 2.0 * at(2 * d) + at(2 * d + 1)) / 2.0)
            .collect();
        Self::from_half(&half)
    }

    /// A kernel of standard deviation `sigma` in samples, cut off at two and a half of it or at [`MAX_RADIUS`].
    pub(crate) fn with_sigma(sigma: f64) -> Self {
        let radius = ((2.5 * sigma).ceil() as usize).min(MAX_RADIUS);
        Self::from_half(&Self::bell(radius, sigma.max(0.01)))
    }

    fn half(size: usize) -> Vec<f64> {
        let radius = (size / 2).min(MAX_RADIUS);
        // OpenCV has exact binomial kernels for its smallest sizes.
        let binomial: &[f64] = match radius {
            0 => &[1.0],
            1 => &[0.5, 0.25],
            2 => &[0.375, 0.25, 0.0625],
            3 => &[0.28125, 0.21875, 0.109375, 0.03125],
            _ => &[],
        };
        if !binomial.is_empty() {
            return binomial.to_vec();
        }
        Self::bell(radius, 0.3 * (radius as f64 - 1.0) + 0.8)
    }

    fn bell(radius: usize, sigma: f64) -> Vec<f64> {
        let raw: Vec<f64> = (0..=radius).map(|i| (-((i * i) as f64) / (2.0 * sigma * sigma)).exp()).collect();
        let sum = raw[0] + 2.0 * raw[1..].iter().sum::<f64>();
        raw.iter().map(|w| w / sum).collect()
    }

    fn from_half(half: &[f64]) -> Self {
        let mut fixed: Vec<i64> = half.iter().map(|w| (w * 65536.0).round() as i64).collect();
        let error = 65536 - fixed[0] - 2 * fixed[1..].iter().sum::<i64>();
        fixed[0] += error;
        // A single tap would be 65536, which 16 bits cannot hold; one part in 65536 is far below rounding.
        Self(fixed.iter().map(|&w| w.clamp(0, 65535) as u16).collect())
    }

    fn radius(&self) -> usize {
        self.0.len() - 1
    }
}

/// What becomes of a blurred row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It replaces the original.
    Store,
    /// Colour dodge: original / blurred, 256 at equality, saturating; 0 where blurred is 0. This is
    /// `cv::divide(original, blurred, scale = 256)`.
    Dodge,
}

/// Scratch memory of the blur.
#[derive(Debug, Default)]
pub(crate) struct Gaussian {
    /// Horizontally blurred rows, each as long as the plane is wide.
    ring: Vec<u16>,
    /// One row with mirrored borders.
    padded: Vec<u16>,
    /// One blurred row.
    blurred: Vec<u8>,
}

impl Gaussian {
    /// Blurs `plane` in place, borders mirrored. `black` is subtracted before [`Finish::Dodge`] and ignored by
    /// [`Finish::Store`]. Within 1 of the exact kernel.
    pub(crate) fn run(&mut self, simd: Simd, weights: &Weights, finish: Finish, plane: &mut PlaneMut<'_>) {
        let (width, rows) = (plane.row_bytes(), 2 * weights.radius() + 1);
        // Rows of the ring are padded so that whole groups of lanes can be read.
        let stride = width.next_multiple_of(STEP);
        self.ring.resize(stride * rows, 0);
        self.padded.resize(stride + 2 * weights.radius(), 0);
        self.blurred.resize(stride, 0);
        simd.run(Blur { scratch: self, weights: &weights.0, finish, plane });
    }

    /// Blurs a grid in place, borders mirrored. Its samples must be below 2^15.
    pub(crate) fn run_wide(&mut self, simd: Simd, weights: &Weights, grid: &mut Grid) {
        let stride = grid.width().next_multiple_of(STEP);
        self.ring.resize(stride * (2 * weights.radius() + 1), 0);
        self.padded.resize(stride + 2 * weights.radius(), 0);
        simd.run(BlurWide { scratch: self, weights: &weights.0, grid });
    }
}

/// See [`Gaussian::run_wide`].
struct BlurWide<'a> {
    scratch: &'a mut Gaussian,
    weights: &'a [u16],
    grid: &'a mut Grid,
}

impl Kernel for BlurWide<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { scratch: Gaussian { ring, padded, .. }, weights, grid } = self;
        let (width, height) = (grid.width(), grid.height());
        let radius = weights.len() - 1;
        let (slots, stride) = (2 * radius + 1, width.next_multiple_of(STEP));
        let mut loaded = 0;
        for y in 0..height {
            // As in `Blur`.
            while loaded < height.min(y + radius + 1) {
                let row = &grid.row(loaded)[..width];
                padded[radius..radius + width].copy_from_slice(row);
                for i in 1..=radius {
                    padded[radius - i] = row[mirrored(-(i as isize), width)];
                    padded[radius + width - 1 + i] = row[mirrored((width - 1 + i) as isize, width)];
                }
                let slot = loaded % slots * stride;
                horizontal::<L>(padded, weights, &mut ring[slot..slot + stride]);
                loaded += 1;
            }
            let (above, below) = taps(ring, y, height, radius, stride);
            for (x, to) in (0..).step_by(STEP).zip(grid.row_mut(y).chunks_exact_mut(STEP)) {
                let (left, right) =
                    column::<L>(&above[..=radius], &below[..=radius], weights, bias(weights.len()), x);
                left.store(to);
                right.store(&mut to[LANES..]);
            }
        }
    }
}

struct Blur<'a, 'b> {
    scratch: &'a mut Gaussian,
    weights: &'a [u16],
    finish: Finish,
    plane: &'a mut PlaneMut<'b>,
}

impl Kernel for Blur<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { scratch, weights, finish, plane } = self;
        let Gaussian { ring, padded, blurred } = scratch;
        let (width, height) = (plane.row_bytes(), plane.row_count());
        let radius = weights.len() - 1;
        let (slots, stride) = (2 * radius + 1, width.next_multiple_of(STEP));
        let mut loaded = 0;
        for y in 0..height {
            // Rows up to y + radius are blurred horizontally before row y is overwritten.
            while loaded < height.min(y + radius + 1) {
                pad(plane.row_mut(loaded), radius, padded);
                let slot = loaded % slots * stride;
                horizontal::<L>(padded, weights, &mut ring[slot..slot + stride]);
                loaded += 1;
            }
            let (above, below) = taps(ring, y, height, radius, stride);
            vertical::<L>(&above[..=radius], &below[..=radius], weights, blurred);
            let to = plane.row_mut(y);
            match finish {
                Finish::Store => to.copy_from_slice(&blurred[..width]),
                Finish::Dodge => dodge(&blurred[..width], to),
            }
        }
    }
}

type Taps<'a> = [&'a [u16]; MAX_RADIUS + 1];

/// The rows of the ring at distance 0, 1, 2 and so on above and below row `y`.
#[inline(always)]
fn taps(ring: &[u16], y: usize, height: usize, radius: usize, stride: usize) -> (Taps<'_>, Taps<'_>) {
    let row = |dy: isize| {
        let slot = mirrored(y as isize + dy, height) % (2 * radius + 1) * stride;
        &ring[slot..slot + stride]
    };
    let mut above: Taps<'_> = [&[]; MAX_RADIUS + 1];
    let mut below = above;
    for i in 0..=radius {
        above[i] = row(-(i as isize));
        below[i] = row(i as isize);
    }
    (above, below)
}

/// Widens a row to [`FRACTION`] fractional bits with mirrored borders.
#[inline(always)]
fn pad(row: &[u8], radius: usize, padded: &mut [u16]) {
    let width = row.len();
    for (to, &v) in padded[radius..].iter_mut().zip(row) {
        *to = u16::from(v) << FRACTION;
    }
    for i in 1..=radius {
        padded[radius - i] = u16::from(row[mirrored(-(i as isize), width)]) << FRACTION;
        padded[radius + width - 1 + i] =
            u16::from(row[mirrored((width - 1 + i) as isize, width)]) << FRACTION;
    }
}

/// Half the truncation of `taps` products, added once so that the mean error is 0.
#[inline(always)]
fn bias(taps: usize) -> u16 {
    taps as u16 / 2
}

#[inline(always)]
fn horizontal<L: Lanes>(padded: &[u16], weights: &[u16], to: &mut [u16]) {
    let radius = weights.len() - 1;
    for (x, to) in (0..).step_by(STEP).zip(to.chunks_exact_mut(STEP)) {
        let window = &padded[x..x + STEP + 2 * radius];
        let at = |i: usize| L::load(&window[i..]);
        let weight = L::splat(weights[0]);
        let mut left = at(radius).high(weight).plus(L::splat(bias(weights.len())));
        let mut right = at(radius + LANES).high(weight).plus(L::splat(bias(weights.len())));
        for (k, &weight) in weights.iter().enumerate().skip(1) {
            let weight = L::splat(weight);
            left = left.plus(at(radius - k).plus(at(radius + k)).high(weight));
            right = right.plus(at(radius - k + LANES).plus(at(radius + k + LANES)).high(weight));
        }
        left.store(to);
        right.store(&mut to[LANES..]);
    }
}

#[inline(always)]
fn vertical<L: Lanes>(above: &[&[u16]], below: &[&[u16]], weights: &[u16], to: &mut [u8]) {
    let start = bias(weights.len()) + (1 << (FRACTION - 1));
    for (x, to) in (0..).step_by(STEP).zip(to.chunks_exact_mut(STEP)) {
        let (left, right) = column::<L>(above, below, weights, start, x);
        left.down::<FRACTION>().narrow(to);
        right.down::<FRACTION>().narrow(&mut to[LANES..]);
    }
}

/// Weighted sums of the columns from `x` on, begun at `start`.
#[inline(always)]
fn column<L: Lanes>(above: &[&[u16]], below: &[&[u16]], weights: &[u16], start: u16, x: usize) -> (L, L) {
    let pair = |row: &[u16]| {
        let row = &row[x..x + STEP];
        (L::load(row), L::load(&row[LANES..]))
    };
    let weight = L::splat(weights[0]);
    let (a, b) = pair(above[0]);
    let mut left = a.high(weight).plus(L::splat(start));
    let mut right = b.high(weight).plus(L::splat(start));
    for ((above, below), &weight) in above.iter().zip(below).zip(weights).skip(1) {
        let weight = L::splat(weight);
        let ((a, b), (c, d)) = (pair(above), pair(below));
        left = left.plus(a.plus(c).high(weight));
        right = right.plus(b.plus(d).high(weight));
    }
    (left, right)
}

/// See [`Finish::Dodge`].
#[inline(always)]
fn dodge(blurred: &[u8], row: &mut [u8]) {
    for (to, &under) in row.iter_mut().zip(blurred) {
        let quotient = f32::from(*to) * 256.0 / f32::from(under);
        let clamped = if quotient < 255.0 { quotient } else { 255.0 };
        // Adding 2^23 rounds to an integer and leaves it in the low bits, which the vectoriser understands.
        let rounded = (clamped + 8_388_608.0).to_bits() as u8;
        *to = if under == 0 { 0 } else { rounded };
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{ColorSpace, PixelFormat};

    use super::*;

    #[test]
    fn weights_add_up_to_one() {
        for size in (3..=99).step_by(2) {
            for Weights(half) in [Weights::gaussian(size), Weights::gaussian_halved(size)] {
                let sum: u32 = half[1..].iter().map(|&w| 2 * u32::from(w)).sum::<u32>() + u32::from(half[0]);
                assert_eq!(sum, 65536, "{size}");
                // All but the centre, which takes the rounding of the others.
                assert!(half[1..].windows(2).all(|w| w[0] >= w[1]), "{size}");
            }
        }
    }

    #[test]
    fn within_one_of_the_exact_kernel_at_any_size() {
        for (width, height) in [(1, 1), (2, 5), (7, 3), (40, 23), (65, 30)] {
            for size in [1, 3, 7, 21, 99] {
                let image = random_image(PixelFormat::Gray8, width, height, ColorSpace::JPEG, 5, size as u64);
                let source = image.plane(0).expect("host");
                let half = Weights::half(size);
                let (w, h, radius) = (width as usize, height as usize, half.len() as isize - 1);
                let exact = |x: usize, y: usize| -> f64 {
                    let taps = |i: isize| half[i.unsigned_abs()];
                    (-radius..=radius)
                        .map(|dy| {
                            let row = source.row(mirrored(y as isize + dy, h));
                            let sum = |dx| taps(dx) * f64::from(row[mirrored(x as isize + dx, w)]);
                            taps(dy) * (-radius..=radius).map(sum).sum::<f64>()
                        })
                        .sum()
                };
                let mut blurred = image.clone();
                let weights = Weights::gaussian(size);
                let mut plane = blurred.plane_mut(0).expect("host");
                Gaussian::default().run(Simd::detect(), &weights, Finish::Store, &mut plane);
                for y in 0..h {
                    for (x, &got) in plane.row_mut(y).iter().enumerate() {
                        let wanted = exact(x, y);
                        assert!(
                            (f64::from(got) - wanted).abs() <= 1.0,
                            "{width}x{height} {size}: {got} {wanted}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn dodge_is_the_rounded_quotient() {
        for under in 0..=255u8 {
            let mut row: Vec<u8> = (0..=255).collect();
            dodge(&[under; 256], &mut row);
            for (over, &got) in row.iter().enumerate() {
                let wanted = match under {
                    0 => 0.0,
                    _ => (over as f64 * 256.0 / f64::from(under)).round_ties_even().min(255.0),
                };
                assert_eq!(f64::from(got), wanted, "{over} over {under}");
            }
        }
    }
}
