//! Moving pixels: each pixel of a region takes what lies a given displacement away.
//!
//! Displacements are given at the nodes of a grid and bilinear in between, and so are samples. Cells whose four nodes do
//! not move are not touched at all, so that a warp whose displacements fall to zero leaves no seam.

use ooblex_core::{Image, ImageError, PlaneMut};

/// Fractional bits of positions: sides of up to 65,535 samples fit 32 bits.
const FRACTION: u32 = 12;
const ONE: f32 = (1 << FRACTION) as f32;
/// Pixels between nodes: powers of two, at least 2, so that cells end where samples of chroma do.
const STEPS: [usize; 4] = [16, 8, 4, 2];
/// Nodes across a region that a smooth displacement needs.
const NODES: f32 = 24.0;

/// Moves pixels; keeps its memory from picture to picture.
#[derive(Debug, Default)]
pub(crate) struct Warp {
    grid: Grid,
    /// Samples before the warp.
    before: Vec<u8>,
}

impl Warp {
    /// Moves the pixels within `left, top, right, bottom` of an I420 or Gray8 picture. `displacement` says for the pixel at
    /// (x, y), in pixels with the middle of the first one at 0.5, where it comes from, relative to it; it should be zero
    /// at the border of the region.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub(crate) fn run(
        &mut self,
        image: &mut Image,
        region: [f32; 4],
        displacement: impl Fn([f32; 2]) -> [f32; 2],
    ) -> Result<(), ImageError> {
        self.grid.fill(region, [image.width(), image.height()], displacement);
        for index in 0..image.format().plane_count() {
            self.grid.apply(&mut self.before, &mut image.plane_mut(index)?, usize::from(index > 0));
        }
        Ok(())
    }
}

/// Displacements over a part of a picture.
#[derive(Debug, Default)]
struct Grid {
    /// Pixel of the first node, a multiple of the step.
    origin: [usize; 2],
    step: usize,
    /// Nodes in a row and rows of nodes.
    count: [usize; 2],
    /// Where a node's pixel comes from, relative to it, in pixels.
    nodes: Vec<[f32; 2]>,
}

impl Grid {
    fn fill(
        &mut self,
        [left, top, right, bottom]: [f32; 4],
        size: [u32; 2],
        displacement: impl Fn([f32; 2]) -> [f32; 2],
    ) {
        let extent = (right - left).max(bottom - top);
        self.step = STEPS.into_iter().find(|step| *step as f32 * NODES <= extent).unwrap_or(2);
        for (i, (low, high)) in [(left, right), (top, bottom)].into_iter().enumerate() {
            // Conversion saturates, and what is not a number is 0.
            let inside = |v: f32| v.clamp(0.0, size[i] as f32) as usize;
            let (first, last) = (inside(low) / self.step, inside(high.ceil()).div_ceil(self.step));
            (self.origin[i], self.count[i]) = (first * self.step, last.saturating_sub(first) + 1);
        }
        let at = |i: usize, node: usize| (self.origin[i] + node * self.step) as f32;
        self.nodes.clear();
        for row in 0..self.count[1] {
            let columns = 0..self.count[0];
            self.nodes.extend(columns.map(|column| displacement([at(0, column), at(1, row)])));
        }
    }

    /// The nodes at the corners of a cell: upper left, upper right, lower left, lower right.
    fn corners(&self, column: usize, row: usize) -> [[f32; 2]; 4] {
        let at = row * self.count[0] + column;
        let below = at + self.count[0];
        [self.nodes[at], self.nodes[at + 1], self.nodes[below], self.nodes[below + 1]]
    }

    /// Moves the samples of a plane that has one sample for `1 << shift` pixels.
    fn apply(&self, before: &mut Vec<u8>, plane: &mut PlaneMut<'_>, shift: usize) {
        let size = [plane.row_bytes(), plane.row_count()];
        let side = self.step >> shift;
        let origin = self.origin.map(|v| v >> shift);
        let per_sample = ONE / (1 << shift) as f32;
        // What is read: the region, and as far as anything comes from.
        let reach = self.nodes.iter().flatten().fold(0.0, |most: f32, d| most.max(d.abs()));
        let reach = (reach / (1 << shift) as f32).min(size[0].max(size[1]) as f32).ceil() as usize + 1;
        let low: [usize; 2] = std::array::from_fn(|i| origin[i].saturating_sub(reach).min(size[i]));
        let high: [usize; 2] =
            std::array::from_fn(|i| (origin[i] + (self.count[i] - 1) * side + reach).min(size[i]));
        if (0..2).any(|i| low[i] >= high[i]) {
            return;
        }
        let source = Source::copy(before, plane, low, high);
        for row in 0..self.count[1] - 1 {
            for column in 0..self.count[0] - 1 {
                let corners = self.corners(column, row);
                if corners.iter().all(|d| *d == [0.0; 2]) {
                    continue;
                }
                let corners = corners.map(|d| d.map(|v| v * per_sample));
                source.cell(plane, [origin[0] + column * side, origin[1] + row * side], side, &corners);
            }
        }
    }
}

/// A part of a plane as it was, its last column and row repeated.
struct Source<'a> {
    samples: &'a [u8],
    stride: usize,
    /// Its place in the plane.
    low: [usize; 2],
    /// Its last column and row, with [`FRACTION`] bits.
    last: [i32; 2],
}

impl<'a> Source<'a> {
    fn copy(memory: &'a mut Vec<u8>, plane: &PlaneMut<'_>, low: [usize; 2], high: [usize; 2]) -> Self {
        let [width, height] = [high[0] - low[0], high[1] - low[1]];
        memory.clear();
        let plane = plane.as_plane();
        for y in (low[1]..high[1]).chain([high[1] - 1]) {
            let row = &plane.row(y)[low[0]..high[0]];
            memory.extend_from_slice(row);
            memory.push(row[width - 1]);
        }
        let last = [width - 1, height - 1].map(|v| (v << FRACTION) as i32);
        Self { samples: memory, stride: width + 1, low, last }
    }

    /// Moves the samples of a square cell; `corners` are displacements with [`FRACTION`] bits.
    #[inline]
    fn cell(&self, plane: &mut PlaneMut<'_>, [left, top]: [usize; 2], side: usize, corners: &[[f32; 2]; 4]) {
        let (width, height) = (plane.row_bytes(), plane.row_count());
        let columns = left.min(width)..(left + side).min(width);
        for y in top..(top + side).min(height) {
            let down = ((y - top) as f32 + 0.5) / side as f32;
            let between =
                |i: usize, a: usize, b: usize| corners[a][i] + (corners[b][i] - corners[a][i]) * down;
            // Where the row's first sample comes from, and how much further the next one does.
            let [(mut x, dx), (mut v, dv)] = [(0, left), (1, y)].map(|(i, at)| {
                let (first, last) = (between(i, 0, 2), between(i, 1, 3));
                let step = (last - first) / side as f32;
                (((at - self.low[i]) << FRACTION) as i32 + (first + step / 2.0) as i32, step as i32)
            });
            for to in &mut plane.row_mut(y)[columns.clone()] {
                *to = self.at(x, v);
                (x, v) = (x + dx + (1 << FRACTION), v + dv);
            }
        }
    }

    /// The sample at a place in this part, bilinearly; the nearest one where there is none.
    #[inline(always)]
    fn at(&self, x: i32, y: i32) -> u8 {
        let (x, y) = (x.clamp(0, self.last[0]) as usize, y.clamp(0, self.last[1]) as usize);
        let at = (y >> FRACTION) * self.stride + (x >> FRACTION);
        let weight = |v: usize| ((v >> (FRACTION - 8)) & 255) as u32;
        let (right, below) = (weight(x), weight(y));
        let pair = |at: usize| {
            let pair = &self.samples[at..at + 2];
            u32::from(pair[0]) * (256 - right) + u32::from(pair[1]) * right
        };
        ((pair(at) * (256 - below) + pair(at + self.stride) * below + (1 << 15)) >> 16) as u8
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{BufferPool, ColorSpace, PixelFormat};

    use super::*;

    fn planes(image: &Image) -> Vec<Vec<Vec<u8>>> {
        let rows = |i| image.plane(i).expect("plane").rows().map(<[u8]>::to_vec).collect();
        (0..image.format().plane_count()).map(rows).collect()
    }

    #[test]
    fn whole_displacements_move_samples_unchanged() {
        for (width, height) in [(64, 48), (65, 47)] {
            let image = random_image(PixelFormat::I420, width, height, ColorSpace::JPEG, 3, 5);
            let before = planes(&image);
            let mut moved = image.clone();
            let all = [0.0, 0.0, width as f32, height as f32];
            Warp::default().run(&mut moved, all, |_| [6.0, -4.0]).expect("warps");
            for (index, (now, before)) in planes(&moved).iter().zip(&before).enumerate() {
                let (dx, dy) = if index == 0 { (6, 4) } else { (3, 2) };
                for (y, row) in now.iter().enumerate() {
                    for (x, v) in row.iter().enumerate() {
                        // Beyond the border is the border.
                        assert_eq!(
                            *v,
                            before[y.saturating_sub(dy)][(x + dx).min(row.len() - 1)],
                            "{index} {x} {y}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_ramp_is_moved_by_parts_of_a_pixel() {
        let pool = BufferPool::default();
        let mut image =
            Image::alloc(PixelFormat::Gray8, 200, 40, ColorSpace::JPEG, &pool).expect("a picture");
        for row in image.plane_mut(0).expect("plane").rows_mut() {
            row.iter_mut().enumerate().for_each(|(x, v)| *v = x as u8);
        }
        let push = |[x, _]: [f32; 2]| [(x - 100.0) / 20.0, 0.3];
        Warp::default().run(&mut image, [0.0, 0.0, 200.0, 40.0], push).expect("warps");
        for row in planes(&image)[0].iter() {
            for (x, v) in row.iter().enumerate() {
                let expected = (x as f32 + (x as f32 + 0.5 - 100.0) / 20.0).clamp(0.0, 199.0);
                assert!((f32::from(*v) - expected).abs() <= 0.55, "{x}: {v}, not {expected}");
            }
        }
    }

    #[test]
    fn what_does_not_move_is_not_touched() {
        let bump = |[x, y]: [f32; 2]| {
            let r = ((x - 50.0).hypot(y - 40.0) / 20.0).min(1.0);
            [(1.0 - r * r).powi(2) * 5.0, 0.0]
        };
        for format in [PixelFormat::I420, PixelFormat::Gray8] {
            let image = random_image(format, 101, 79, ColorSpace::BT709, 5, 9);
            let mut moved = image.clone();
            Warp::default().run(&mut moved, [30.0, 20.0, 70.0, 60.0], bump).expect("warps");
            for (index, (now, before)) in planes(&moved).iter().zip(planes(&image)).enumerate() {
                let step = if index == 0 { 1.0 } else { 2.0 };
                let mut changed = 0;
                for (y, (now, before)) in now.iter().zip(&before).enumerate() {
                    for (x, (a, b)) in now.iter().zip(before).enumerate() {
                        let [x, y] = [x, y].map(|v| (v as f32 + 0.5) * step);
                        let distance = (x - 50.0).hypot(y - 40.0);
                        assert!(a == b || distance < 24.0, "{index}: {x} {y}");
                        changed += usize::from(a != b);
                    }
                }
                assert!(changed > 100, "{changed}");
            }
        }
    }

    #[test]
    fn anything_stays_inside() {
        let mut warp = Warp::default();
        for (width, height) in [(1, 1), (1, 9), (2, 2), (17, 5), (33, 70)] {
            for region in [
                [-10.0, -10.0, 90.0, 90.0],
                [0.0; 4],
                [5.0, 5.0, 4.0, 4.0],
                [f32::NAN; 4],
                [40.0, 2.0, 60.0, 9.0],
            ] {
                for far in [0.0, 0.7, 1e9, f32::INFINITY, f32::NAN] {
                    let mut image = random_image(PixelFormat::I420, width, height, ColorSpace::JPEG, 0, 1);
                    warp.run(&mut image, region, |[x, y]| [far * (x - y), -far]).expect("warps");
                }
            }
        }
    }
}
