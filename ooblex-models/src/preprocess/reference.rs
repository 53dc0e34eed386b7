//! The slow and obvious way, which the fast one is held against.

use ooblex_core::{BufferPool, ColorSpace, Image, ImageError, PixelFormat, convert};

use super::{Components, Fit, InputSpec, Layout, Placement, Square};
use crate::tensor::Tensor;

/// See [`Preprocess::fill`](super::Preprocess::fill).
pub(super) fn fill(
    spec: &InputSpec,
    image: &Image,
    tensor: &mut Tensor,
    pool: &BufferPool,
) -> Result<Placement, ImageError> {
    let (w, h) = (image.width() as f32, image.height() as f32);
    let (tw, th) = (spec.width as f32, spec.height as f32);
    let (inner_w, inner_h) = match spec.fit {
        Fit::Stretch => (tw, th),
        Fit::Letterbox => {
            let s = (tw / w).min(th / h);
            ((w * s).round().max(1.0), (h * s).round().max(1.0))
        }
    };
    let (left, top) = (((tw - inner_w) / 2.0).floor(), ((th - inner_h) / 2.0).floor());
    let map = [[1.0 / inner_w, 0.0, -left / inner_w], [0.0, 1.0 / inner_h, -top / inner_h]];
    let placement = Placement { map };
    write(spec, image, tensor, pool, &placement)?;
    Ok(placement)
}

/// See [`Preprocess::fill_square`](super::Preprocess::fill_square).
pub(super) fn fill_square(
    spec: &InputSpec,
    image: &Image,
    square: &Square,
    tensor: &mut Tensor,
    pool: &BufferPool,
) -> Result<Placement, ImageError> {
    let (w, h) = (image.width() as f32, image.height() as f32);
    let (tw, th) = (spec.width as f32, spec.height as f32);
    let (sin, cos) = square.angle.sin_cos();
    let (ax, ay) = (square.side / tw, square.side / th);
    let [cx, cy] = square.center;
    let row = |a: f32, b: f32, c: f32, size: f32| {
        let offset = c - a * tw / 2.0 - b * th / 2.0;
        [a / size, b / size, offset / size]
    };
    let map = [row(cos * ax, -sin * ay, cx, w), row(sin * ax, cos * ay, cy, h)];
    let placement = Placement { map };
    write(spec, image, tensor, pool, &placement)?;
    Ok(placement)
}

fn write(
    spec: &InputSpec,
    image: &Image,
    tensor: &mut Tensor,
    pool: &BufferPool,
    placement: &Placement,
) -> Result<(), ImageError> {
    let rgb = convert::convert(image, PixelFormat::Rgb, ColorSpace::JPEG, pool)?;
    let plane = rgb.plane(0)?;
    let (w, h) = (image.width() as usize, image.height() as usize);
    // Several samples a pixel where the picture is larger than the tensor.
    let step = |a: f32, b: f32| ((a * w as f32).powi(2) + (b * h as f32).powi(2)).sqrt();
    let [[a, b, _], [c, d, _]] = placement.map;
    let taps = |step: f32| if step > 2.0 { step.ceil() as usize } else { 1 };
    let (nx, ny) = (taps(step(a, c)), taps(step(b, d)));
    let count = spec.components.count();
    let mut out = vec![0f32; spec.width * spec.height * count];
    for ty in 0..spec.height {
        for tx in 0..spec.width {
            let mut sum = [0f32; 3];
            for sy in 0..ny {
                for sx in 0..nx {
                    let at = [
                        tx as f32 + (sx as f32 + 0.5) / nx as f32,
                        ty as f32 + (sy as f32 + 0.5) / ny as f32,
                    ];
                    let [x, y] = placement.point(at);
                    if !(0.0..=1.0).contains(&x) || !(0.0..=1.0).contains(&y) {
                        continue;
                    }
                    let (x, y) = (
                        (x * w as f32 - 0.5).clamp(0.0, (w - 1) as f32),
                        (y * h as f32 - 0.5).clamp(0.0, (h - 1) as f32),
                    );
                    let (x0, y0) = (x as usize, y as usize);
                    let (x1, y1) = ((x0 + 1).min(w - 1), (y0 + 1).min(h - 1));
                    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
                    for (c, sum) in sum.iter_mut().enumerate() {
                        let v = |x: usize, y: usize| f32::from(plane.row(y)[x * 3 + c]);
                        let top = v(x0, y0) + (v(x1, y0) - v(x0, y0)) * fx;
                        let bottom = v(x0, y1) + (v(x1, y1) - v(x0, y1)) * fx;
                        *sum += top + (bottom - top) * fy;
                    }
                }
            }
            let [r, g, b] = sum.map(|v| v / (nx * ny) as f32);
            let values = match spec.components {
                Components::Rgb => [r, g, b],
                Components::Bgr => [b, g, r],
                Components::Luma => [0.299 * r + 0.587 * g + 0.114 * b; 3],
            };
            for (c, value) in values.iter().enumerate().take(count) {
                let at = match spec.layout {
                    Layout::Nchw => (c * spec.height + ty) * spec.width + tx,
                    Layout::Nhwc => (ty * spec.width + tx) * count + c,
                };
                out[at] = (value - spec.mean[c]) * spec.scale[c];
            }
        }
    }
    tensor.f32_mut().iter_mut().zip(&out).for_each(|(to, from)| *to = *from);
    tensor.i32_mut().iter_mut().zip(&out).for_each(|(to, from)| *to = from.round() as i32);
    Ok(())
}
