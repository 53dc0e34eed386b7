//! Small pictures of 16-bit samples: what large planes are averaged down to, and enlarged from again.

use ooblex_core::Plane;

use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Fractional bits of a sample that stands for 8 bits of a picture.
pub(crate) const FRACTION: i32 = 6;
/// A sample that stands for 255.
pub(crate) const FULL: u16 = 255 << FRACTION;
/// Most doublings between a grid and a picture: sums of 16x16 bytes still fit 16 bits.
pub(crate) const MAX_LEVELS: u32 = 4;

/// Samples in rows. A row is padded with unspecified samples to a multiple of two registers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    width: usize,
    height: usize,
    data: Vec<u16>,
}

impl Grid {
    /// Changes the size; the samples are unspecified afterwards. Allocates only to grow.
    pub(crate) fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        self.data.resize(self.stride() * height, 0);
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn height(&self) -> usize {
        self.height
    }

    fn stride(&self) -> usize {
        self.width.next_multiple_of(2 * LANES)
    }

    /// Row `y` with its padding.
    #[inline(always)]
    pub(crate) fn row(&self, y: usize) -> &[u16] {
        let stride = self.stride();
        &self.data[y * stride..][..stride]
    }

    /// Row `y` with its padding.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, y: usize) -> &mut [u16] {
        let stride = self.stride();
        &mut self.data[y * stride..][..stride]
    }

    /// All samples and padding, for work that does not care where a sample lies.
    pub(crate) fn samples(&self) -> &[u16] {
        &self.data
    }

    /// Samples by column and row.
    #[cfg(test)]
    pub(crate) fn from_fn(width: usize, height: usize, value: impl Fn(usize, usize) -> u16) -> Self {
        let mut grid = Self::default();
        grid.resize(width, height);
        for y in 0..height {
            grid.row_mut(y).iter_mut().enumerate().for_each(|(x, v)| *v = value(x, y));
        }
        grid
    }

    /// See [`samples`](Self::samples).
    pub(crate) fn samples_mut(&mut self) -> &mut [u16] {
        &mut self.data
    }
}

/// Fills `to` with the means of squares of 2x2 of `from`, whose samples must be below 2^15, rounded down; the border is
/// repeated where a side is odd.
pub(crate) fn halve(simd: Simd, from: &mut Grid, to: &mut Grid) {
    let (width, height) = (from.width, from.height);
    if width % 2 == 1 {
        // A row has room for one more: it is padded to an even number.
        (0..height).for_each(|y| {
            let row = from.row_mut(y);
            row[width] = row[width - 1];
        });
    }
    to.resize(width.div_ceil(2), height.div_ceil(2));
    simd.run(Halve { from, to });
}

struct Halve<'a> {
    from: &'a Grid,
    to: &'a mut Grid,
}

impl Kernel for Halve<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { from, to } = self;
        let half = |row: &[u16], x: usize| L::load(&row[x..]).down::<1>();
        for y in 0..to.height {
            let (top, bottom) = (from.row(2 * y), from.row((2 * y + 1).min(from.height - 1)));
            for x in (0..to.width).step_by(LANES) {
                let left = half(top, 2 * x).plus(half(bottom, 2 * x)).down::<1>();
                let right = half(top, 2 * x + LANES).plus(half(bottom, 2 * x + LANES)).down::<1>();
                left.pair_sums(right).store(&mut to.row_mut(y)[x..]);
            }
        }
    }
}

/// Averages planes down; keeps its scratch memory.
#[derive(Debug, Default)]
pub(crate) struct Reduce {
    sums: Vec<u16>,
}

impl Reduce {
    /// Fills `grid`, whose sides are those of `plane` divided by 2^`levels` and rounded up, with rounded means of
    /// squares of `plane`, in [`FRACTION`] bits. Squares that reach beyond the plane repeat its border.
    pub(crate) fn run(&mut self, simd: Simd, plane: Plane<'_>, levels: u32, grid: &mut Grid) {
        let levels = levels.min(MAX_LEVELS);
        let side = |len: usize| len.div_ceil(1 << levels);
        grid.resize(side(plane.row_bytes()), side(plane.row_count()));
        // Each halving reads two registers for one that it writes.
        self.sums.resize(grid.stride() << levels, 0);
        simd.run(Average { sums: &mut self.sums, plane, levels, grid });
    }
}

struct Average<'a> {
    sums: &'a mut [u16],
    plane: Plane<'a>,
    levels: u32,
    grid: &'a mut Grid,
}

impl Kernel for Average<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { sums, plane, levels, grid } = self;
        let (factor, last) = (1usize << levels, plane.row_count() - 1);
        for y in 0..grid.height() {
            add_rows::<L>(sums, plane, y * factor, factor, last);
            let mut len = sums.len();
            for _ in 0..levels {
                for x in (0..len).step_by(2 * LANES) {
                    let pair = L::load(&sums[x..]).pair_sums(L::load(&sums[x + LANES..]));
                    pair.store(&mut sums[x / 2..]);
                }
                len /= 2;
            }
            finish::<L>(sums, levels, grid.row_mut(y));
        }
    }
}

/// Sums of the columns of `count` rows from `top` on.
#[inline(always)]
fn add_rows<L: Lanes>(sums: &mut [u16], plane: Plane<'_>, top: usize, count: usize, last: usize) {
    let width = plane.row_bytes();
    let whole = width / LANES * LANES;
    for i in 0..count {
        let row = plane.row((top + i).min(last));
        for x in (0..whole).step_by(LANES) {
            let old = if i == 0 { L::splat(0) } else { L::load(&sums[x..]) };
            old.plus(L::widen(&row[x..])).store(&mut sums[x..]);
        }
        for (sum, &v) in sums[whole..width].iter_mut().zip(&row[whole..]) {
            *sum = if i == 0 { 0 } else { *sum } + u16::from(v);
        }
    }
    let border = sums[width - 1];
    sums[width..].fill(border);
}

/// From sums of 4^`levels` bytes to means in [`FRACTION`] bits.
#[inline(always)]
fn finish<L: Lanes>(sums: &[u16], levels: u32, row: &mut [u16]) {
    for (x, to) in (0..).step_by(LANES).zip(row.chunks_exact_mut(LANES)) {
        let sum = L::load(&sums[x..]);
        match levels {
            0 => sum.up::<6>(),
            1 => sum.up::<4>(),
            2 => sum.up::<2>(),
            3 => sum,
            _ => sum.down::<2>(),
        }
        .store(to);
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{ColorSpace, PixelFormat};

    use super::*;

    #[test]
    fn halves_are_means_of_squares() {
        let mut random = ooblex_core::testing::Random::new(2);
        for (width, height) in [(1, 1), (2, 3), (31, 4), (33, 17), (64, 9)] {
            let (mut from, mut to) = (Grid::default(), Grid::default());
            from.resize(width, height);
            from.samples_mut().iter_mut().for_each(|v| *v = random.below(1 << 15) as u16);
            let original = from.clone();
            halve(Simd::detect(), &mut from, &mut to);
            assert_eq!((to.width(), to.height()), (width.div_ceil(2), height.div_ceil(2)));
            for y in 0..to.height() {
                for x in 0..to.width() {
                    let at = |dx: usize, dy: usize| {
                        f64::from(original.row((2 * y + dy).min(height - 1))[(2 * x + dx).min(width - 1)])
                    };
                    let exact = (at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1)) / 4.0;
                    let got = f64::from(to.row(y)[x]);
                    assert!(got <= exact && exact - got <= 2.0, "{width}x{height} at {x},{y}: {got} {exact}");
                }
            }
        }
    }

    #[test]
    fn samples_are_means_of_squares() {
        for (width, height) in [(1, 1), (5, 3), (16, 16), (33, 47), (130, 70)] {
            let image = random_image(PixelFormat::Gray8, width, height, ColorSpace::JPEG, 3, 5);
            let plane = image.plane(0).expect("host");
            for levels in 0..=MAX_LEVELS {
                let (mut grid, n) = (Grid::default(), 1usize << levels);
                Reduce::default().run(Simd::detect(), plane, levels, &mut grid);
                assert_eq!(grid.width(), (width as usize).div_ceil(n));
                assert_eq!(grid.height(), (height as usize).div_ceil(n));
                for y in 0..grid.height() {
                    for x in 0..grid.width() {
                        let at = |i: usize, len: u32| i.min(len as usize - 1);
                        let sum: u32 = (0..n * n)
                            .map(|i| {
                                u32::from(plane.row(at(y * n + i / n, height))[at(x * n + i % n, width)])
                            })
                            .sum();
                        let exact = f64::from(sum) * 64.0 / (n * n) as f64;
                        let got = f64::from(grid.row(y)[x]);
                        assert!((got - exact).abs() < 1.0, "{width}x{height} {levels}: {got} {exact}");
                    }
                }
            }
        }
    }
}
