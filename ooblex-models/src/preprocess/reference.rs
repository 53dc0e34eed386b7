//! The slow and obvious ways, which the fast one is held against.

use ooblex_core::{BufferPool, ColorSpace, Image, PixelFormat, convert};

use super::axis::{AVERAGE_ABOVE, Span};
use super::source::{Matrix, channels};
use super::{Components, InputSpec, Layout, Placement};

/// What [`Preprocess`](super::Preprocess) promises, pixel by pixel in double precision: each component resized as it is,
/// then colour. `across` and `down` begin at the first pixel of a tensor of `width` by `height`, without letterbox.
pub(super) fn planes(spec: &InputSpec, image: &Image, across: Span, down: Span) -> Vec<f32> {
    let matrix = Matrix::new(image, spec.components);
    write(spec, |tx, ty| {
        let mut values = [0.0; 3];
        for (value, channel) in values.iter_mut().zip(channels(image.format())) {
            let plane = image.plane(channel.plane).expect("host memory");
            let place = |span: Span, side: u32| match channel.halved {
                true => (span.halved(), f64::from(side) / 2.0, side.div_ceil(2) as usize),
                false => (span, f64::from(side), side as usize),
            };
            let columns = shares(place(across, image.width()), tx);
            for (row, share) in shares(place(down, image.height()), ty) {
                let row = plane.row(row);
                let sum: f64 =
                    columns.iter().map(|&(x, s)| s * f64::from(row[x * channel.step + channel.offset])).sum();
                *value += share * sum;
            }
        }
        std::array::from_fn(|c| {
            let [a, b, d, constant] = matrix.rows[c].map(f64::from);
            (a * values[0] + b * values[1] + d * values[2] + constant).clamp(0.0, 255.0)
        })
    })
}

/// Samples and their shares in output number `index`.
fn shares((span, extent, samples): (Span, f64, usize), index: usize) -> Vec<(usize, f64)> {
    let begin = span.start + index as f64 * span.step;
    if span.step > AVERAGE_ABOVE {
        let (begin, end) = (begin.max(0.0), (begin + span.step).min(extent));
        let covered = |i: usize| (end.min(i as f64 + 1.0) - begin.max(i as f64)) / (end - begin);
        (0..samples).map(|i| (i, covered(i))).filter(|(_, share)| *share > 0.0).collect()
    } else {
        let place = (begin + span.step / 2.0 - 0.5).clamp(0.0, (samples - 1) as f64);
        let (first, fraction) = (place as usize, place.fract());
        vec![(first, 1.0 - fraction), ((first + 1).min(samples - 1), fraction)]
    }
}

/// What one would do with a picture in RGB: interpolate, at several points of each pixel of the tensor where more than
/// `average_above` pixels of the picture become one. Black outside.
pub(super) fn over_rgb(
    spec: &InputSpec,
    image: &Image,
    placement: &Placement,
    average_above: f32,
) -> Vec<f32> {
    let pool = BufferPool::default();
    let rgb = convert::convert(image, PixelFormat::Rgb, ColorSpace::JPEG, &pool).expect("host memory");
    let plane = rgb.plane(0).expect("host memory");
    let (w, h) = (image.width() as usize, image.height() as usize);
    let [[a, b, _], [c, d, _]] = placement.map;
    let step = |a: f32, b: f32| ((a * w as f32).powi(2) + (b * h as f32).powi(2)).sqrt();
    let taps = |step: f32| if step > average_above { 2 * step.ceil() as usize } else { 1 };
    let (nx, ny) = (taps(step(a, c)), taps(step(b, d)));
    write(spec, |tx, ty| {
        let mut sum = [0.0; 3];
        for i in 0..nx * ny {
            let (sx, sy) = ((i % nx) as f32, (i / nx) as f32);
            let at = [tx as f32 + (sx + 0.5) / nx as f32, ty as f32 + (sy + 0.5) / ny as f32];
            let [x, y] = placement.point(at);
            if !(0.0..=1.0).contains(&x) || !(0.0..=1.0).contains(&y) {
                continue;
            }
            let x = (x * w as f32 - 0.5).clamp(0.0, (w - 1) as f32);
            let y = (y * h as f32 - 0.5).clamp(0.0, (h - 1) as f32);
            let (x0, y0) = (x as usize, y as usize);
            let (x1, y1) = ((x0 + 1).min(w - 1), (y0 + 1).min(h - 1));
            let (fx, fy) = (x.fract(), y.fract());
            for (c, sum) in sum.iter_mut().enumerate() {
                let v = |x: usize, y: usize| f32::from(plane.row(y)[x * 3 + c]);
                let top = v(x0, y0) + (v(x1, y0) - v(x0, y0)) * fx;
                let bottom = v(x0, y1) + (v(x1, y1) - v(x0, y1)) * fx;
                *sum += f64::from(top + (bottom - top) * fy);
            }
        }
        let [r, g, b] = sum.map(|v| v / (nx * ny) as f64);
        match spec.components {
            Components::Rgb => [r, g, b],
            Components::Bgr => [b, g, r],
            Components::Luma => [0.299 * r + 0.587 * g + 0.114 * b; 3],
        }
    })
}

/// Normalises and lays out what `pixel` says.
fn write(spec: &InputSpec, pixel: impl Fn(usize, usize) -> [f64; 3]) -> Vec<f32> {
    let count = spec.components.count();
    let mut out = vec![0.0; spec.width * spec.height * count];
    for ty in 0..spec.height {
        for tx in 0..spec.width {
            for (c, value) in pixel(tx, ty).into_iter().enumerate().take(count) {
                let at = match spec.layout {
                    Layout::Nchw => (c * spec.height + ty) * spec.width + tx,
                    Layout::Nhwc => (ty * spec.width + tx) * count + c,
                };
                out[at] = (value as f32 - spec.mean[c]) * spec.scale[c];
            }
        }
    }
    out
}
