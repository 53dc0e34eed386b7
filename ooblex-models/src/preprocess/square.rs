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
    places: Vec<Place>,
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
        // So many pixels of the picture become one before turning; between 1 and 1.5 are left for interpolation, or up to
        // 2 where none are averaged.
        let step = (square.side / width.max(height).max(1) as f32).floor().max(1.0);
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
        self.places.resize(width, Place::default());
        self.rows.iter_mut().for_each(|row| row.resize(width, 0.0));
        let Self { simd, upright, rows, places } = self;
        let bounds = [image.width() as f32, image.height() as f32];
        let start = [across.start as f32, down.start as f32];
        simd.run(Turn { upright, rows, places, map, bounds, start, step, height, target });
        Ok(())
    }
}

/// Where a pixel of the tensor lies in the upright part.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// Column and row of the pixel up and left of it.
    at: [u16; 2],
    /// How far it is from there to the next ones.
    share: [f32; 2],
    inside: bool,
}

struct Turn<'a, T> {
    upright: &'a Upright,
    rows: &'a mut [Vec<f32>; 3],
    places: &'a mut [Place],
    map: [[f32; 3]; 2],
    bounds: [f32; 2],
    start: [f32; 2],
    step: f32,
    height: usize,
    target: Target<'a, T>,
}

impl<T: Number> Turn<'_, T> {
    /// Finds the places of one row.
    #[inline(always)]
    fn find(&mut self, ty: usize) {
        let Self { map, bounds, start, step, .. } = *self;
        let y = ty as f32 + 0.5;
        let last = [self.upright.columns - 2, self.upright.lines - 2];
        for (tx, place) in self.places.iter_mut().enumerate() {
            let x = tx as f32 + 0.5;
            place.inside = true;
            for i in 0..2 {
                let at = map[i][0] * x + map[i][1] * y + map[i][2];
                place.inside &= (0.0..=bounds[i]).contains(&at);
                let at = ((at - start[i]) / step - 0.5).clamp(0.0, last[i] as f32 + 1.0);
                // Invariant: pictures and what is made of them have sides that fit 16 bits.
                place.at[i] = (at as i32 as u16).min(last[i] as u16);
                place.share[i] = at - f32::from(place.at[i]);
            }
        }
    }
}

impl<T: Number> Kernel for Turn<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(mut self) {
        for ty in 0..self.height {
            self.find(ty);
            let columns = self.upright.columns;
            let [first, second, third] = &mut *self.rows;
            let black = self.target.matrix.black;
            for (((place, a), b), c) in self.places.iter().zip(first).zip(second).zip(third) {
                if !place.inside {
                    [*a, *b, *c] = black;
                    continue;
                }
                let at = usize::from(place.at[1]) * columns + usize::from(place.at[0]);
                let upper = &self.upright.pixels[at..at + 2];
                let lower = &self.upright.pixels[at + columns..at + columns + 2];
                let [fx, fy] = place.share;
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
