//! Enlarges grids by powers of two, row by row.
//!
//! Each doubling puts two samples at a quarter and three quarters of the way between neighbours (corner cutting,
//! G. Chaikin, 1974): `(3 a + b) / 4`. Repeated, that tends to quadratic B-splines, which show none of the corners of
//! bilinear interpolation and never leave the range of what they interpolate.

use super::grid::{Grid, MAX_LEVELS};
use crate::simd::{LANES, Lanes};

/// Weights of the rows above, here and below, with 16 fractional bits.
type Taps = [u16; 3];

/// Enlarges by 2^levels; keeps its scratch memory.
#[derive(Debug, Default)]
pub(crate) struct Grow {
    levels: u32,
    /// For each row of a large cell.
    taps: Vec<Taps>,
    /// Rows in turn; samples begin at [`LANES`], so that there is one to the left of the first.
    rows: [Vec<u16>; 2],
    /// Which of them is the result.
    done: usize,
}

impl Grow {
    /// Prepares for doubling `levels` times, at most [`MAX_LEVELS`].
    pub(crate) fn set_levels(&mut self, levels: u32) {
        let levels = levels.min(MAX_LEVELS);
        if self.taps.is_empty() || self.levels != levels {
            self.levels = levels;
            self.taps = taps(levels);
        }
    }

    /// Row `y` of the enlarged grid: at least `grid.width() << levels` samples and the rest of the last register.
    #[inline(always)]
    pub(crate) fn row<L: Lanes>(&mut self, grid: &Grid, y: usize) -> &[u16] {
        let (levels, width, last) = (self.levels, grid.width(), grid.height() - 1);
        let (cell, phase) = ((y >> levels).min(last), y & ((1 << levels) - 1));
        let largest = (width << levels).next_multiple_of(2 * LANES) + 4 * LANES;
        self.rows.iter_mut().for_each(|row| row.resize(largest, 0));
        let [mut from, mut to] = self.rows.each_mut();
        let three = [grid.row(cell.saturating_sub(1)), grid.row(cell), grid.row((cell + 1).min(last))];
        if levels == 0 {
            from[LANES..LANES + three[1].len()].copy_from_slice(three[1]);
        } else {
            mix::<L>(three, self.taps[phase], &mut from[LANES..]);
        }
        let mut width = width;
        for _ in 0..levels {
            from[LANES - 1] = from[LANES];
            from[LANES + width] = from[LANES + width - 1];
            double::<L>(from, width, to);
            width *= 2;
            std::mem::swap(&mut from, &mut to);
        }
        self.done = levels as usize % 2;
        self.current()
    }

    /// The row of the last call of [`row`](Self::row).
    #[inline(always)]
    pub(crate) fn current(&self) -> &[u16] {
        &self.rows[self.done][LANES..]
    }
}

/// The weighted sum of three rows, as long as they are.
#[inline(always)]
fn mix<L: Lanes>([above, here, below]: [&[u16]; 3], [a, b, c]: Taps, to: &mut [u16]) {
    let weights = [L::splat(a), L::splat(b), L::splat(c)];
    for x in (0..here.len()).step_by(LANES) {
        let above = L::load(&above[x..]).high(weights[0]);
        let here = L::load(&here[x..]).high(weights[1]);
        let below = L::load(&below[x..]).high(weights[2]);
        // Three products lose up to a step each, of 64 a level; so nothing exceeds what it is mixed of.
        above.plus(here).plus(below).store(&mut to[x..]);
    }
}

/// Doubles a row of `width` samples that has a neighbour on either side.
#[inline(always)]
fn double<L: Lanes>(from: &[u16], width: usize, to: &mut [u16]) {
    let round = L::splat(2);
    for x in (0..width).step_by(LANES) {
        let at = LANES + x;
        let (left, here, right) = (L::load(&from[at - 1..]), L::load(&from[at..]), L::load(&from[at + 1..]));
        let three = here.plus(here).plus(here).plus(round);
        let (a, b) = three.plus(left).down::<2>().interleaved(three.plus(right).down::<2>());
        let to = &mut to[LANES + 2 * x..][..2 * LANES];
        a.store(to);
        b.store(&mut to[LANES..]);
    }
}

/// What each row of a cell takes from the cells above, here and below: found by doubling a single one.
fn taps(levels: u32) -> Vec<Taps> {
    let response = |cell: usize| {
        let mut row = [0u64; 5];
        row[cell] = 1;
        let mut row = row.to_vec();
        for _ in 0..levels {
            let at = |i: isize| row[i.clamp(0, row.len() as isize - 1) as usize];
            let pair = |i: isize| [3 * at(i) + at(i - 1), 3 * at(i) + at(i + 1)];
            row = (0..row.len() as isize).flat_map(pair).collect();
        }
        let cell = 1usize << levels;
        row[2 * cell..3 * cell].to_vec()
    };
    let (above, here, below) = (response(1), response(2), response(3));
    // A single row at full weight is 65536, which 16 bits cannot hold; `Grow::row` does not ask for it.
    let fixed = |v: u64| (v << 16 >> (2 * levels)).min(65535) as u16;
    (0..above.len()).map(|i| [above[i], here[i], below[i]].map(fixed)).collect()
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;

    use super::*;
    use crate::kernels::grid::FULL;
    use crate::simd::{Kernel, Simd};

    struct Whole<'a>(&'a mut Grow, &'a Grid);

    impl Kernel for Whole<'_> {
        type Out = Vec<Vec<u16>>;
        #[inline(always)]
        fn run<L: Lanes>(self) -> Self::Out {
            let Self(grow, grid) = self;
            let (width, height) = (grid.width() << grow.levels, grid.height() << grow.levels);
            (0..height).map(|y| grow.row::<L>(grid, y)[..width].to_vec()).collect()
        }
    }

    fn grown(grid: &Grid, levels: u32) -> Vec<Vec<u16>> {
        let mut grow = Grow::default();
        grow.set_levels(levels);
        Simd::detect().run(Whole(&mut grow, grid))
    }

    fn grid(width: usize, height: usize, mut value: impl FnMut(usize, usize) -> u16) -> Grid {
        let mut grid = Grid::default();
        grid.resize(width, height);
        for y in 0..height {
            grid.row_mut(y)[..width].iter_mut().enumerate().for_each(|(x, v)| *v = value(x, y));
        }
        grid
    }

    /// The same in floating point.
    fn exact(grid: &Grid, levels: u32) -> Vec<Vec<f64>> {
        let mut rows: Vec<Vec<f64>> = (0..grid.height())
            .map(|y| grid.row(y)[..grid.width()].iter().map(|v| f64::from(*v)).collect())
            .collect();
        let double = |row: &[f64]| -> Vec<f64> {
            let at = |i: isize| row[i.clamp(0, row.len() as isize - 1) as usize];
            (0..row.len() as isize)
                .flat_map(|i| [(3.0 * at(i) + at(i - 1)) / 4.0, (3.0 * at(i) + at(i + 1)) / 4.0])
                .collect()
        };
        let turn = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
            (0..rows[0].len()).map(|x| rows.iter().map(|row| row[x]).collect()).collect()
        };
        for _ in 0..levels {
            rows = rows.iter().map(|row| double(row)).collect();
            rows = turn(&turn(&rows).iter().map(|row| double(row)).collect::<Vec<_>>());
        }
        rows
    }

    #[test]
    fn rows_are_doubled_corners_cut() {
        let mut random = Random::new(3);
        for (width, height) in [(1, 1), (2, 3), (16, 5), (17, 9), (40, 30)] {
            let grid = grid(width, height, |_, _| random.below(u64::from(FULL) + 1) as u16);
            for levels in 0..=MAX_LEVELS {
                let wanted = exact(&grid, levels);
                for (y, (got, wanted)) in grown(&grid, levels).iter().zip(&wanted).enumerate() {
                    for (x, (got, wanted)) in got.iter().zip(wanted).enumerate() {
                        let off = f64::from(*got) - wanted;
                        assert!(off.abs() <= 4.0, "{width}x{height} {levels} at {x},{y}: {got} {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn flat_grids_stay_flat() {
        for value in [0, 1, 77 << 6, FULL] {
            let grid = grid(9, 7, |_, _| value);
            for levels in 0..=MAX_LEVELS {
                for row in grown(&grid, levels) {
                    assert!(row.iter().all(|v| *v <= value && value - v <= 3), "{value} {levels}: {row:?}");
                }
            }
        }
    }
}
