//! Drawing on the planes of a YUV picture.
//!
//! Rectangles are drawn to the pixel of luma, and a sample of chroma takes the colour as soon as one of its four pixels
//! does: colour reaches at most one pixel beyond what is drawn. Lines and discs have soft borders, and cover each sample
//! of luma and of chroma by the share that they take of it.

use ooblex_core::{ColorSpace, Image, ImageError, PixelFormat, PlaneMut};

use super::text::stamp;
use crate::color::Levels;

/// Half the width of a soft border, in samples.
const SOFT: f32 = 0.5;

/// A colour in the picture's own steps: Y, U, V.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ink(pub(super) [u8; 3]);

impl Ink {
    /// Red, green and blue, 0 to 255, in a picture of this colour space.
    pub(super) fn of(rgb: [u8; 3], color: ColorSpace) -> Self {
        let levels = Levels::of(color);
        let [r, g, b] = rgb.map(|v| levels.scale(v.into()));
        let [kr, kg, kb] = levels.weights;
        let y = kr * r + kg * g + kb * b;
        let (u, v) = ((b - y) / levels.bu, (r - y) / levels.rv);
        Self([f32::from(levels.black) + y, 128.0 + u, 128.0 + v].map(|v| v.round().clamp(0.0, 255.0) as u8))
    }
}

/// The planes of an I420 or Gray8 picture, and what can be drawn on them. Everything is cut at the borders.
pub(super) struct Canvas<'a> {
    pub(super) luma: PlaneMut<'a>,
    pub(super) chroma: Option<[PlaneMut<'a>; 2]>,
}

impl<'a> Canvas<'a> {
    /// # Errors
    /// [`ImageError`] if the picture is neither I420 nor Gray8 in host memory.
    pub(super) fn new(image: &'a mut Image) -> Result<Self, ImageError> {
        if image.format() == PixelFormat::Gray8 {
            return Ok(Self { luma: image.plane_mut(0)?, chroma: None });
        }
        let [luma, u, v] = image.i420_mut()?;
        Ok(Self { luma, chroma: Some([u, v]) })
    }

    fn size(&self) -> (i32, i32) {
        (self.luma.row_bytes() as i32, self.luma.row_count() as i32)
    }

    /// Pixels `left` to before `right` of row `y`.
    #[inline]
    fn span(&mut self, y: i32, left: i32, right: i32, Ink(ink): Ink) {
        let (width, height) = self.size();
        let (left, right) = (left.max(0) as usize, right.min(width).max(0) as usize);
        if left >= right || !(0..height).contains(&y) {
            return;
        }
        let y = y as usize;
        self.luma.row_mut(y)[left..right].fill(ink[0]);
        for (plane, value) in self.chroma.iter_mut().flatten().zip([ink[1], ink[2]]) {
            plane.row_mut(y / 2)[left / 2..right.div_ceil(2)].fill(value);
        }
    }

    /// Left, top, and the first column and row beyond.
    pub(super) fn rect(&mut self, [left, top, right, bottom]: [i32; 4], ink: Ink) {
        for y in top.max(0)..bottom.min(self.size().1) {
            self.span(y, left, right, ink);
        }
    }

    /// A disc with soft border.
    pub(super) fn disc(&mut self, center: [f32; 2], radius: f32, Ink(ink): Ink) {
        for (plane, value, scale) in self.planes(ink) {
            let [x, y] = center.map(|v| v * scale);
            let radius = radius * scale;
            let reach = radius + SOFT;
            blend(
                plane,
                y - reach,
                y + reach,
                |_| (x - reach, x + reach),
                value,
                |px, py| radius + SOFT - (px - x).hypot(py - y),
            );
        }
    }

    /// A line of this thickness with soft borders.
    pub(super) fn line(&mut self, from: [f32; 2], to: [f32; 2], width: f32, Ink(ink): Ink) {
        for (plane, value, scale) in self.planes(ink) {
            let ([x, y], [dx, dy]) =
                (from.map(|v| v * scale), [to[0] - from[0], to[1] - from[1]].map(|v| v * scale));
            let length = dx.hypot(dy);
            let (dx, dy, half) = (dx / length, dy / length, width * scale / 2.0);
            let reach = half + SOFT;
            let (top, bottom) = (y.min(y + dy * length) - reach, y.max(y + dy * length) + reach);
            // From where to where a row is near the line, and neither before its start nor beyond its end.
            let extent = |py: f32| {
                let (a, b) = between(dy, -dx * (py - y), -reach, reach);
                let (c, d) = between(dx, dy * (py - y), -SOFT, length + SOFT);
                (x + a.max(c), x + b.min(d))
            };
            blend(plane, top, bottom, extent, value, |px, py| {
                let beside = ((px - x) * dy - (py - y) * dx).abs();
                let along = (px - x) * dx + (py - y) * dy;
                // A line thinner than a sample covers no more of it than its thickness.
                (reach - beside).min(along.min(length - along) + SOFT).min(2.0 * half)
            });
        }
    }

    /// Each plane with its part of the ink and its samples a pixel.
    fn planes(&mut self, ink: [u8; 3]) -> impl Iterator<Item = (&mut PlaneMut<'a>, u8, f32)> {
        let chroma = self.chroma.iter_mut().flatten().zip([ink[1], ink[2]]).map(|(p, v)| (p, v, 0.5));
        std::iter::once((&mut self.luma, ink[0], 1.0)).chain(chroma)
    }

    /// White text on a darkened ground: `area` is left, top, width and height within the picture, `dot` the side of a
    /// dot of the font in pixels.
    pub(super) fn label(
        &mut self,
        text: &str,
        [left, top, width, height]: [usize; 4],
        dot: usize,
        color: ColorSpace,
    ) {
        let (Ink([black, ..]), Ink([white, ..])) = (Ink::of([0; 3], color), Ink::of([255; 3], color));
        let (right, bottom) = (left + width, top + height);
        for y in top..bottom {
            for v in &mut self.luma.row_mut(y)[left..right] {
                *v = black + v.saturating_sub(black) / 4;
            }
        }
        for plane in self.chroma.iter_mut().flatten() {
            for y in top / 2..bottom.div_ceil(2) {
                plane.row_mut(y)[left / 2..right.div_ceil(2)].fill(128);
            }
        }
        let mut x = left + 2 * dot;
        for c in text.chars() {
            stamp(&mut self.luma, c, (x, top + 2 * dot), dot, white);
            x += super::CELL * dot;
        }
    }
}

/// Mixes `value` in by `coverage`, given the middle of a sample, where rows lie in `top..bottom` and columns in the
/// `extent` of the row's middle.
fn blend(
    plane: &mut PlaneMut<'_>,
    top: f32,
    bottom: f32,
    extent: impl Fn(f32) -> (f32, f32),
    value: u8,
    coverage: impl Fn(f32, f32) -> f32,
) {
    // The first sample whose middle is not before `v`; conversion saturates, and what is not a number is 0.
    let first = |v: f32, count: usize| ((v - 0.5).ceil().max(0.0) as usize).min(count);
    for row in first(top, plane.row_count())..first(bottom, plane.row_count()) {
        let y = row as f32 + 0.5;
        let (left, right) = extent(y);
        let samples = plane.row_mut(row);
        let left = first(left, samples.len());
        let right = first(right, samples.len()).max(left);
        for (i, v) in samples[left..right].iter_mut().enumerate() {
            let weight = (coverage((left + i) as f32 + 0.5, y).clamp(0.0, 1.0) * 256.0) as i32;
            *v = (i32::from(*v) + (((i32::from(value) - i32::from(*v)) * weight + 128) >> 8)) as u8;
        }
    }
}

/// The interval of x in which `k * x + c` is at least `low` and less than `high`.
fn between(k: f32, c: f32, low: f32, high: f32) -> (f32, f32) {
    if k.abs() < 1e-6 {
        return if low <= c && c < high {
            (f32::NEG_INFINITY, f32::INFINITY)
        } else {
            (0.0, f32::NEG_INFINITY)
        };
    }
    let (a, b) = ((low - c) / k, (high - c) / k);
    (a.min(b), a.max(b))
}
