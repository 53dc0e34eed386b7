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
    places: Places,
}

/// A part of a picture at about the tensor's resolution, with one more column and row at the end.
#[derive(Debug, Default)]
struct Upright {
    columns: usize,
    lines: usize,
    /// Three components and nothing, so that a pixel is a register.
    pixels: Vec<[f32; 4]>,
}

impl Rows for &mut Upright {
    #[inline(always)]
    fn row(&mut self, y: usize, [a, b, c]: [&[f32]; 3]) {
        let row = &mut self.pixels[y * self.columns..(y + 1) * self.columns];
        for (((pixel, &a), &b), &c) in row.iter_mut().zip(a).zip(b).zip(c) {
            *pixel = [a, b, c, 0.0];
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
        // So many pixels of the picture become one before turning, so that for each of the tensor 0.87 to 1.37 are left to
        // interpolate between, or up to 1.75 where none are averaged.
        let step = (square.side / width.max(height).max(1) as f32 + 0.25).floor().max(1.0);
        let cover = |[a, b, c]: [f32; 3], side: u32| {
            let (a, b) = (a * width as f32, b * height as f32);
            let last = (side - 1) as f32;
            let least = (c + a.min(0.0) + b.min(0.0)).floor().clamp(0.0, last);
            let most = (c + a.max(0.0) + b.max(0.0)).ceil().clamp(least + 1.0, side as f32);
            (Span { start: least.into(), step: step.into() }, ((most - least) / step).ceil() as usize + 1)
        };
        let ((across, columns), (down, lines)) =
            (cover(map[0], image.width()), cover(map[1], image.height()));
        (self.upright.columns, self.upright.lines) = (columns, lines);
        self.upright.pixels.resize(columns * lines, [0.0; 4]);
        let job = Job { across, down, width: columns, height: lines, channels: target.matrix.channels };
        resampler.run(image, job, &mut self.upright)?;
        let Places { at, x, y } = &mut self.places;
        at.resize(width, 0);
        [x, y].into_iter().chain(&mut self.rows).for_each(|row| row.resize(width, 0.0));
        let Self { simd, upright, rows, places } = self;
        let across = Axis::new(map[0], image.width(), across, columns, 1);
        let down = Axis::new(map[1], image.height(), down, lines, columns);
        simd.run(Turn { upright, rows, places, across, down, height, target });
        Ok(())
    }
}

/// Where the pixels of a row of the tensor lie in the upright part.
#[derive(Debug, Default)]
struct Places {
    /// The pixel up and left of each; below 0 outside the picture.
    at: Vec<i32>,
    /// How far it is to the next column.
    x: Vec<f32>,
    /// How far it is to the next row.
    y: Vec<f32>,
}

/// Columns or rows of the upright part, in its pixels; the middle of the first is at 0.
#[derive(Clone, Copy, Debug)]
struct Axis {
    /// Place of a pixel of the tensor: `map[0] * x + map[1] * y + map[2]`.
    map: [f32; 3],
    /// Where the picture begins and ends.
    bounds: [f32; 2],
    /// The last one that has a next one.
    last: i32,
    /// From each to the next one in memory.
    stride: i32,
}

impl Axis {
    const OUTSIDE: i32 = i32::MIN / 2;

    fn new(map: [f32; 3], side: u32, span: Span, count: usize, stride: usize) -> Self {
        let (start, step) = (span.start as f32, span.step as f32);
        let place = |v: f32| (v - start) / step - 0.5;
        let map = [map[0] / step, map[1] / step, place(map[2])];
        let bounds = [place(0.0), place(side as f32)];
        Self { map, bounds, last: count as i32 - 2, stride: stride as i32 }
    }

    /// Adds the places of row `ty` of the tensor to `at`, and notes the shares of the next column or row.
    #[inline(always)]
    fn find(&self, ty: usize, at: &mut [i32], shares: &mut [f32]) {
        let [slope, by_row, offset] = self.map;
        let first = by_row * (ty as f32 + 0.5) + offset + slope * 0.5;
        let (end, [low, high]) = (self.last as f32 + 1.0, self.bounds);
        for (tx, (at, share)) in at.iter_mut().zip(shares).enumerate() {
            let place = slope * tx as i32 as f32 + first;
            let inside = (place >= low) & (place <= high);
            let place = place.clamp(0.0, end);
            // The nearest to half a pixel before is the one before; for the middle of a pixel it may be that one.
            let before = i32::of(place - 0.5).clamp(0, self.last);
            *at += if inside { before * self.stride } else { Self::OUTSIDE };
            *share = place - before as f32;
        }
    }
}

struct Turn<'a, T> {
    upright: &'a Upright,
    rows: &'a mut [Vec<f32>; 3],
    places: &'a mut Places,
    across: Axis,
    down: Axis,
    height: usize,
    target: Target<'a, T>,
}

impl<T: Number> Kernel for Turn<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        for ty in 0..self.height {
            let Places { at, x, y } = &mut *self.places;
            at.fill(0);
            self.across.find(ty, at, x);
            self.down.find(ty, at, y);
            let columns = self.upright.columns;
            let [first, second, third] = &mut *self.rows;
            let black = self.target.matrix.black;
            let Places { at, x, y } = &*self.places;
            let outputs = first.iter_mut().zip(second).zip(third);
            for (((&at, &fx), &fy), ((a, b), c)) in at.iter().zip(x).zip(y).zip(outputs) {
                let Ok(at) = usize::try_from(at) else {
                    [*a, *b, *c] = black;
                    continue;
                };
                let upper = &self.upright.pixels[at..at + 2];
                let lower = &self.upright.pixels[at + columns..at + columns + 2];
                let mixed: [f32; 4] = std::array::from_fn(|i| {
                    let top = upper[0][i] + (upper[1][i] - upper[0][i]) * fx;
                    let bottom = lower[0][i] + (lower[1][i] - lower[0][i]) * fx;
                    top + (bottom - top) * fy
                });
                [*a, *b, *c, _] = mixed;
            }
            let [first, second, third] = &*self.rows;
            self.target.row(ty, [first, second, third]);
        }
    }
}
