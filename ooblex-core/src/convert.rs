//! Reference conversions between pixel formats and colour spaces.
//!
//! Coefficients follow ITU-R BT.601-7 and BT.709-6 (luma weights Kr and Kb, limited range 219 and 224 steps) and
//! JFIF 1.02 (full range BT.601). Arithmetic is fixed-point with 16 fractional bits: each sample is within 1 of
//! the exact real-valued formula. Chroma is the mean of the (up to) four pixels it covers, and is repeated, not
//! interpolated, on the way back.

use crate::buffer::BufferPool;
use crate::error::ImageError;
use crate::image::{Image, Plane};
use crate::pixel::{ColorMatrix, ColorRange, ColorSpace, PixelFormat};

pub use self::resize::resize;
pub use self::rotate::rotate;

mod resize;
mod rotate;

const SHIFT: u32 = 16;
const HALF: i32 = 1 << (SHIFT - 1);

/// Converts `image` to `format` in `color`, in host memory from `pool`. A clone if nothing changes.
///
/// Alpha is opaque when made and discarded, not blended, when lost.
///
/// # Errors
/// [`ImageError::DeviceMemory`] if the pixels are not in host memory.
pub fn convert(
    image: &Image,
    format: PixelFormat,
    color: ColorSpace,
    pool: &BufferPool,
) -> Result<Image, ImageError> {
    if image.format() == format && (image.color() == color || !format.is_yuv()) {
        let mut same = image.clone();
        same.set_color(tag(format, color));
        return Ok(same);
    }
    match (image.format().is_yuv(), format.is_yuv()) {
        (true, true) => yuv_to_yuv(image, format, color, pool),
        (true, false) => yuv_to_rgb(image, format, color, pool),
        (false, true) => rgb_to_yuv(image, format, color, pool),
        (false, false) => swizzle(image, format, color, pool),
    }
}

/// RGB is always full range; only its matrix tag carries information.
fn tag(format: PixelFormat, color: ColorSpace) -> ColorSpace {
    if format.is_yuv() { color } else { ColorSpace { range: ColorRange::Full, ..color } }
}

/// Table that maps 8-bit luma of one range to another, rounded and clamped.
pub fn luma_table(from: ColorRange, to: ColorRange) -> [u8; 256] {
    range_table(from, to, 16.0, 219.0, 0.0)
}

/// Table that maps 8-bit chroma of one range to another, rounded and clamped.
pub fn chroma_table(from: ColorRange, to: ColorRange) -> [u8; 256] {
    range_table(from, to, 128.0, 224.0, 128.0)
}

/// `zero` is the limited-range value of nothing, `full_zero` the full-range one, `steps` the limited span.
fn range_table(from: ColorRange, to: ColorRange, zero: f64, steps: f64, full_zero: f64) -> [u8; 256] {
    std::array::from_fn(|v| {
        let v = v as f64;
        let level = if from == ColorRange::Limited { (v - zero) / steps } else { (v - full_zero) / 255.0 };
        let out = if to == ColorRange::Limited { level * steps + zero } else { level * 255.0 + full_zero };
        out.round().clamp(0.0, 255.0) as u8
    })
}

fn weights(matrix: ColorMatrix) -> (f64, f64) {
    match matrix {
        ColorMatrix::Bt601 => (0.299, 0.114),
        ColorMatrix::Bt709 => (0.2126, 0.0722),
    }
}

fn fixed(v: f64) -> i32 {
    (v * f64::from(1 << SHIFT)).round() as i32
}

fn clamp(v: i32) -> u8 {
    (v >> SHIFT).clamp(0, 255) as u8
}

/// Fixed-point factors from RGB to YUV: rows Y, U, V; columns R, G, B; and the luma offset.
struct ToYuv {
    y: [i32; 3],
    u: [i32; 3],
    v: [i32; 3],
    y_offset: i32,
}

impl ToYuv {
    fn new(color: ColorSpace) -> Self {
        let (kr, kb) = weights(color.matrix);
        let kg = 1.0 - kr - kb;
        let (ys, cs, y_offset) = match color.range {
            ColorRange::Full => (1.0, 1.0, 0),
            ColorRange::Limited => (219.0 / 255.0, 224.0 / 255.0, 16 << SHIFT),
        };
        let (cu, cv) = (cs * 0.5 / (1.0 - kb), cs * 0.5 / (1.0 - kr));
        Self {
            y: [kr * ys, kg * ys, kb * ys].map(fixed),
            u: [-kr * cu, -kg * cu, (1.0 - kb) * cu].map(fixed),
            v: [(1.0 - kr) * cv, -kg * cv, -kb * cv].map(fixed),
            y_offset,
        }
    }

    fn luma(&self, [r, g, b]: [i32; 3]) -> u8 {
        clamp(self.y[0] * r + self.y[1] * g + self.y[2] * b + self.y_offset + HALF)
    }

    /// Chroma of the mean of `count` pixels whose components add up to `sum`; `count` is 1, 2 or 4.
    fn chroma(&self, sum: [i32; 3], count: i32) -> (u8, u8) {
        let down = count.trailing_zeros();
        let one = |k: &[i32; 3]| {
            let v = (k[0] * sum[0] + k[1] * sum[1] + k[2] * sum[2]) >> down;
            clamp(v + (128 << SHIFT) + HALF)
        };
        (one(&self.u), one(&self.v))
    }
}

/// Fixed-point factors from YUV to RGB.
struct ToRgb {
    y: i32,
    y_offset: i32,
    rv: i32,
    gu: i32,
    gv: i32,
    bu: i32,
}

impl ToRgb {
    fn new(color: ColorSpace) -> Self {
        let (kr, kb) = weights(color.matrix);
        let kg = 1.0 - kr - kb;
        let (ys, cs, y_offset) = match color.range {
            ColorRange::Full => (1.0, 1.0, 0),
            ColorRange::Limited => (255.0 / 219.0, 255.0 / 224.0, 16),
        };
        let (rv, bu) = (2.0 * (1.0 - kr) * cs, 2.0 * (1.0 - kb) * cs);
        Self {
            y: fixed(ys),
            y_offset,
            rv: fixed(rv),
            gu: fixed(bu * kb / kg),
            gv: fixed(rv * kr / kg),
            bu: fixed(bu),
        }
    }

    #[inline(always)]
    fn rgb(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let y = self.y * (i32::from(y) - self.y_offset) + HALF;
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        [clamp(y + self.rv * v), clamp(y - self.gu * u - self.gv * v), clamp(y + self.bu * u)]
    }
}

/// Bytes a pixel and positions of R, G, B in it.
fn packing(format: PixelFormat) -> (usize, [usize; 3]) {
    match format {
        PixelFormat::Bgr => (3, [2, 1, 0]),
        PixelFormat::Rgba => (4, [0, 1, 2]),
        _ => (3, [0, 1, 2]),
    }
}

fn yuv_to_rgb(
    image: &Image,
    format: PixelFormat,
    color: ColorSpace,
    pool: &BufferPool,
) -> Result<Image, ImageError> {
    let k = ToRgb::new(image.color());
    let (step, [r, g, b]) = packing(format);
    let mut out = Image::alloc(format, image.width(), image.height(), tag(format, color), pool)?;
    let chroma = Chroma::of(image)?;
    let luma = image.plane(0)?;
    for (y, to) in out.plane_mut(0)?.rows_mut().enumerate() {
        let row = chroma.row(y / 2);
        for (x, (px, &l)) in to.chunks_exact_mut(step).zip(luma.row(y)).enumerate() {
            let (u, v) = row.at(x / 2);
            let rgb = k.rgb(l, u, v);
            (px[r], px[g], px[b]) = (rgb[0], rgb[1], rgb[2]);
            if step == 4 {
                px[3] = 255;
            }
        }
    }
    Ok(out)
}

/// The chroma of any YUV image, whatever its interleaving.
enum Chroma<'a> {
    Planar(Plane<'a>, Plane<'a>),
    Interleaved(Plane<'a>),
    None,
}

enum ChromaRow<'a> {
    Planar(&'a [u8], &'a [u8]),
    Interleaved(&'a [u8]),
    None,
}

impl<'a> Chroma<'a> {
    fn of(image: &'a Image) -> Result<Self, ImageError> {
        Ok(match image.format() {
            PixelFormat::I420 => Self::Planar(image.plane(1)?, image.plane(2)?),
            PixelFormat::Nv12 => Self::Interleaved(image.plane(1)?),
            _ => Self::None,
        })
    }

    fn row(&self, y: usize) -> ChromaRow<'a> {
        match self {
            Self::Planar(u, v) => ChromaRow::Planar(u.row(y), v.row(y)),
            Self::Interleaved(uv) => ChromaRow::Interleaved(uv.row(y)),
            Self::None => ChromaRow::None,
        }
    }
}

impl ChromaRow<'_> {
    #[inline(always)]
    fn at(&self, x: usize) -> (u8, u8) {
        match self {
            Self::Planar(u, v) => (u[x], v[x]),
            Self::Interleaved(uv) => (uv[2 * x], uv[2 * x + 1]),
            Self::None => (128, 128),
        }
    }
}

fn rgb_to_yuv(
    image: &Image,
    format: PixelFormat,
    color: ColorSpace,
    pool: &BufferPool,
) -> Result<Image, ImageError> {
    let k = ToYuv::new(color);
    let (step, [r, g, b]) = packing(image.format());
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut out = Image::alloc(format, image.width(), image.height(), color, pool)?;
    let source = image.plane(0)?;
    let pixel = |row: &[u8], x: usize| {
        let px = &row[x * step..x * step + step];
        [i32::from(px[r]), i32::from(px[g]), i32::from(px[b])]
    };
    for (row, to) in source.rows().zip(out.plane_mut(0)?.rows_mut()) {
        for (px, l) in row.chunks_exact(step).zip(to) {
            *l = k.luma([i32::from(px[r]), i32::from(px[g]), i32::from(px[b])]);
        }
    }
    if format == PixelFormat::Gray8 {
        return Ok(out);
    }
    let chroma_width = width.div_ceil(2);
    let mut rows = [vec![0u8; chroma_width], vec![0u8; chroma_width]];
    for y in 0..height.div_ceil(2) {
        let (top, bottom) = (source.row(2 * y), source.row((2 * y + 1).min(height - 1)));
        let [us, vs] = &mut rows;
        for (x, (u, v)) in us.iter_mut().zip(vs.iter_mut()).enumerate() {
            let (left, right) = (2 * x, (2 * x + 1).min(width - 1));
            let four = [pixel(top, left), pixel(top, right), pixel(bottom, left), pixel(bottom, right)];
            let sum = std::array::from_fn(|c| four.iter().map(|px| px[c]).sum());
            (*u, *v) = k.chroma(sum, 4);
        }
        write_chroma(&mut out, y, &rows)?;
    }
    Ok(out)
}

fn write_chroma(out: &mut Image, y: usize, [u, v]: &[Vec<u8>; 2]) -> Result<(), ImageError> {
    if out.format() == PixelFormat::Nv12 {
        let mut plane = out.plane_mut(1)?;
        for (pair, (u, v)) in plane.row_mut(y).chunks_exact_mut(2).zip(u.iter().zip(v)) {
            (pair[0], pair[1]) = (*u, *v);
        }
    } else {
        out.plane_mut(1)?.row_mut(y).copy_from_slice(u);
        out.plane_mut(2)?.row_mut(y).copy_from_slice(v);
    }
    Ok(())
}

fn swizzle(
    image: &Image,
    format: PixelFormat,
    color: ColorSpace,
    pool: &BufferPool,
) -> Result<Image, ImageError> {
    let ((from_step, from), (to_step, to)) = (packing(image.format()), packing(format));
    let mut out = Image::alloc(format, image.width(), image.height(), tag(format, color), pool)?;
    let source = image.plane(0)?;
    for (row, to_row) in source.rows().zip(out.plane_mut(0)?.rows_mut()) {
        for (a, b) in row.chunks_exact(from_step).zip(to_row.chunks_exact_mut(to_step)) {
            for c in 0..3 {
                b[to[c]] = a[from[c]];
            }
            if to_step == 4 {
                b[3] = 255;
            }
        }
    }
    Ok(out)
}

fn yuv_to_yuv(
    image: &Image,
    format: PixelFormat,
    color: ColorSpace,
    pool: &BufferPool,
) -> Result<Image, ImageError> {
    let from = image.color();
    if from.matrix != color.matrix && image.format() != PixelFormat::Gray8 {
        // Another matrix mixes luma and chroma; no shortcut is exact.
        let rgb = yuv_to_rgb(image, PixelFormat::Rgb, from, pool)?;
        return rgb_to_yuv(&rgb, format, color, pool);
    }
    if let (PixelFormat::Gray8, true, Some(mut view)) = (format, from.range == color.range, image.luma_view())
    {
        view.set_color(color);
        return Ok(view);
    }
    let mut out = Image::alloc(format, image.width(), image.height(), color, pool)?;
    let same = from.range == color.range;
    let table = luma_table(from.range, color.range);
    for (row, to) in image.plane(0)?.rows().zip(out.plane_mut(0)?.rows_mut()) {
        map_row(row, to, (!same).then_some(&table));
    }
    if format == PixelFormat::Gray8 {
        return Ok(out);
    }
    let table = chroma_table(from.range, color.range);
    let chroma = Chroma::of(image)?;
    let width = format.row_bytes(1, image.width()) / if format == PixelFormat::Nv12 { 2 } else { 1 };
    let mut rows = [vec![128u8; width], vec![128u8; width]];
    for y in 0..format.rows(1, image.height()) {
        let row = chroma.row(y);
        let [us, vs] = &mut rows;
        for (x, (u, v)) in us.iter_mut().zip(vs.iter_mut()).enumerate() {
            let (a, b) = row.at(x);
            (*u, *v) = if same { (a, b) } else { (table[a as usize], table[b as usize]) };
        }
        write_chroma(&mut out, y, &rows)?;
    }
    Ok(out)
}

fn map_row(from: &[u8], to: &mut [u8], table: Option<&[u8; 256]>) {
    match table {
        None => to.copy_from_slice(from),
        Some(table) => from.iter().zip(to).for_each(|(a, b)| *b = table[*a as usize]),
    }
}

/// Reduces both sides by `factor` (2, 4 or 8; 1 clones), each sample the rounded mean of the ones it covers.
/// Sides round up, so a 5x3 picture reduced by 2 is 3x2.
///
/// # Errors
/// [`ImageError::Reduction`] for another factor, [`ImageError::DeviceMemory`].
pub fn reduce(image: &Image, factor: u8, pool: &BufferPool) -> Result<Image, ImageError> {
    match factor {
        1 => return Ok(image.clone()),
        2 | 4 | 8 => {}
        other => return Err(ImageError::Reduction(other)),
    }
    let n = factor as usize;
    let (width, height) = (image.width().div_ceil(factor.into()), image.height().div_ceil(factor.into()));
    let mut out = Image::alloc(image.format(), width, height, image.color(), pool)?;
    for index in 0..image.format().plane_count() {
        let step = image.format().interleaved(index);
        let source = image.plane(index)?;
        for (y, to) in out.plane_mut(index)?.rows_mut().enumerate() {
            let top = (y * n).min(source.row_count() - 1);
            let rows = top..(top + n).min(source.row_count());
            for (i, to) in to.iter_mut().enumerate() {
                let (x, c) = (i / step, i % step);
                let left = (x * n).min(source.row_bytes() / step - 1);
                let right = (left + n).min(source.row_bytes() / step);
                let mut sum = 0u32;
                for y in rows.clone() {
                    let row = source.row(y);
                    sum += (left..right).map(|x| u32::from(row[x * step + c])).sum::<u32>();
                }
                let count = (rows.len() * (right - left)) as u32;
                *to = ((sum + count / 2) / count) as u8;
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
