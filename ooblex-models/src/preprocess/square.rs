//! A turned square of a picture.

use ooblex_core::{Image, ImageError};

use super::Placement;
use super::axis::Span;
use super::resample::{Job, Resampler, Rows};
use super::target::{Number, Target};
use crate::simd::{Kernel, Lanes, Simd};

/// A square part of a picture, turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    /// Its middle, in pixels of the picture; the middle of the first pixel is at 0.5.
    pub center: [f32; 2],
    /// Its side in pixels.
    pub side: f32,
    /// How far it is turned clockwise, in radians.
    pub angle: f32,
}

impl Square {
    fn is_real(&self) -> bool {
        let [x, y] = self.center;
        // Far beyond any picture single pixels are lost, too.
        let sane = |v: f32| v.is_finite() && v.abs() < 1e7;
        [x, y, self.side, self.angle].into_iter().all(sane) && self.side > 0.0
    }

    /// Where the pixels of a tensor of this size lie, in pixels of the picture.
    fn map(&self, width: usize, height: usize) -> [[f32; 3]; 2] {
        let (sin, cos) = self.angle.sin_cos();
        let (ax, ay) = (self.side / width as f32, self.side / height as f32);
        let row =
            |a: f32, b: f32, center: f32| [a, b, center - a * width as f32 / 2.0 - b * height as f32 / 2.0];
        [row(cos * ax, -sin * ay, self.center[0]), row(sin * ax, cos * ay, self.center[1])]
    }

    /// The same in shares of the picture.
    pub(super) fn placement(&self, image: &Image, width: usize, height: usize) -> Placement {
        let [x, y] = self.map(width, height);
        Placement { map: [x.map(|v| v / image.width() as f32), y.map(|v| v / image.height() as f32)] }
    }
}

/// Writes turned squares: what the square covers is brought upright to about the tensor's resolution, and turned then.
#[derive(Debug, Default)]
pub(super) struct Turned {
    simd: Simd,
    upright: Upright,
    rows: [Vec<f32>; 3],
}

/// A part of a picture at about the tensor's resolution, one component after another.
#[derive(Debug, Default)]
struct Upright {
    /// Columns, rows and components.
    size: [usize; 3],
    data: Vec<f32>,
}

impl Rows for &mut Upright {
    #[inline(always)]
    fn row(&mut self, y: usize, components: [&[f32]; 3]) {
        let [width, height, channels] = self.size;
        for (c, row) in components.into_iter().enumerate().take(channels) {
            let start = (c * height + y) * width;
            self.data[start..start + width].copy_from_slice(row);
        }
    }
}

impl Turned {
    pub(super) fn run<T: Number>(
        &mut self,
        image: &Image,
        square: &Square,
        resampler: &mut Resampler,
        mut target: Target<'_, T>,
    ) -> Result<(), ImageError> {
        let (width, height) = (target.spec.width, target.spec.height);
        // Checks the memory, too.
        image.plane(0)?;
        if !square.is_real() {
            target.blacken();
            return Ok(());
        }
        let map = square.map(width, height);
        // So many pixels of the picture become one before turning; between 1 and 1.5 are left for interpolation, or up to
        // 2 where none are averaged.
        let step = (square.side / width.max(height).max(1) as f32).floor().max(1.0);
        let span = |[a, b, c]: [f32; 3], side: u32| {
            let corners =
                [c, c + a * width as f32, c + b * height as f32, c + a * width as f32 + b * height as f32];
            let least = corners.into_iter().fold(f32::MAX, f32::min).floor().clamp(0.0, (side - 1) as f32);
            let most = corners.into_iter().fold(f32::MIN, f32::max).ceil().clamp(least + 1.0, side as f32);
            (Span { start: least.into(), step: step.into() }, ((most - least) / step).ceil() as usize)
        };
        let ((across, columns), (down, rows)) = (span(map[0], image.width()), span(map[1], image.height()));
        let channels = target.matrix.channels;
        self.upright.size = [columns, rows, channels];
        self.upright.data.resize(columns * rows * channels, 0.0);
        let job = Job { across, down, width: columns, height: rows, channels };
        resampler.run(image, job, &mut self.upright)?;
        for row in &mut self.rows {
            row.clear();
            row.resize(width, 0.0);
        }
        let Self { simd, upright, rows } = self;
        let bounds = [image.width() as f32, image.height() as f32];
        let start = [across.start as f32, down.start as f32];
        simd.run(Turn { upright, rows, map, bounds, start, step, height, target });
        Ok(())
    }
}

struct Turn<'a, T> {
    upright: &'a Upright,
    rows: &'a mut [Vec<f32>; 3],
    map: [[f32; 3]; 2],
    bounds: [f32; 2],
    start: [f32; 2],
    step: f32,
    height: usize,
    target: Target<'a, T>,
}

impl<T: Number> Kernel for Turn<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { upright, rows, map: [mx, my], bounds, start, step, height, mut target } = self;
        let [columns, lines, channels] = upright.size;
        let (last_column, last_line) = ((columns - 1) as f32, (lines - 1) as f32);
        for ty in 0..height {
            let [first, second, third] = &mut *rows;
            let y = ty as f32 + 0.5;
            for (tx, ((a, b), c)) in first.iter_mut().zip(second).zip(third).enumerate() {
                let x = tx as f32 + 0.5;
                let (px, py) = (mx[0] * x + mx[1] * y + mx[2], my[0] * x + my[1] * y + my[2]);
                if !(0.0..=bounds[0]).contains(&px) || !(0.0..=bounds[1]).contains(&py) {
                    [*a, *b, *c] = target.matrix.black;
                    continue;
                }
                let px = ((px - start[0]) / step - 0.5).clamp(0.0, last_column);
                let py = ((py - start[1]) / step - 0.5).clamp(0.0, last_line);
                let (left, top) = (px as usize, py as usize);
                let (fx, fy) = (px - left as f32, py - top as f32);
                let right = usize::from(left + 1 < columns);
                let below = if top + 1 < lines { columns } else { 0 };
                let at = top * columns + left;
                let component = |number: usize| {
                    let plane = &upright.data[number * columns * lines..(number + 1) * columns * lines];
                    let upper = plane[at] + (plane[at + right] - plane[at]) * fx;
                    let lower = plane[at + below] + (plane[at + below + right] - plane[at + below]) * fx;
                    upper + (lower - upper) * fy
                };
                *a = component(0);
                if channels == 3 {
                    (*b, *c) = (component(1), component(2));
                }
            }
            let [first, second, third] = &*rows;
            target.row(ty, [first, second, third]);
        }
    }
}
