//! Drawing on the planes of a YUV picture.
//!
//! Luma is drawn to the pixel. Chroma is halved, so a sample takes the colour as soon as one of its four pixels does:
//! colour reaches at most one pixel beyond what is drawn.

use ooblex_core::{ColorSpace, Image, ImageError, PixelFormat, PlaneMut};

use super::text::stamp;
use crate::color::Levels;

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

    /// The pixels whose middle is at most `radius` from `center`.
    pub(super) fn disc(&mut self, center: [f32; 2], radius: f32, ink: Ink) {
        self.rows(
            center[1] - radius,
            center[1] + radius,
            |y| {
                let dy = y - center[1];
                let half = (radius * radius - dy * dy).max(0.0).sqrt();
                (center[0] - half, center[0] + half)
            },
            ink,
        );
    }

    /// A line of this thickness, its ends square.
    pub(super) fn line(&mut self, from: [f32; 2], to: [f32; 2], width: f32, ink: Ink) {
        let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
        let length = dx.hypot(dy);
        if length == 0.0 {
            return;
        }
        let (dx, dy, half) = (dx / length, dy / length, width / 2.0);
        let reach = half * dx.abs();
        self.rows(
            from[1].min(to[1]) - reach,
            from[1].max(to[1]) + reach,
            |y| {
                let y = y - from[1];
                // Not further than half the width beside it, and neither before its start nor beyond its end.
                let (a, b) = between(dy, -dx * y, -half, half);
                let (c, d) = between(dx, dy * y, 0.0, length);
                (from[0] + a.max(c), from[0] + b.min(d))
            },
            ink,
        );
    }

    /// Spans for the rows whose middle lies in `top..bottom`; `extent` says from where to where, given that middle.
    fn rows(&mut self, top: f32, bottom: f32, extent: impl Fn(f32) -> (f32, f32), ink: Ink) {
        let (width, height) = (self.size().0 as f32, self.size().1);
        // The first pixel whose middle is not before `v`; conversion saturates, and what is not a number is 0.
        let first = |v: f32| (v - 0.5).ceil();
        let (top, bottom) = (first(top).max(0.0) as i32, first(bottom).min(height as f32) as i32);
        for y in top..bottom {
            let (left, right) = extent(y as f32 + 0.5);
            self.span(y, first(left).clamp(0.0, width) as i32, first(right).clamp(0.0, width) as i32, ink);
        }
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

/// The interval of x in which `k * x + c` is at least `low` and less than `high`.
fn between(k: f32, c: f32, low: f32, high: f32) -> (f32, f32) {
    if k.abs() < 1e-6 {
        return if low <= c && c < high { (f32::NEG_INFINITY, f32::INFINITY) } else { (0.0, 0.0) };
    }
    let (a, b) = ((low - c) / k, (high - c) / k);
    (a.min(b), a.max(b))
}
