//! What an encoder is given: full-range BT.601 planes with even sides, or packed RGB.

use ooblex_core::{ColorMatrix, ColorRange, Image, ImageError, PixelFormat, Plane};

use super::range::{Matrix, expand_chroma, expand_luma};

/// Memory for planes that cannot be used where they are.
#[derive(Default)]
pub(super) struct Scratch {
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
    change: Vec<i16>,
    rows: [Vec<u8>; 2],
}

/// A plane's bytes and stride.
#[derive(Clone, Copy, Debug)]
pub(super) struct Samples<'a> {
    pub(super) data: &'a [u8],
    pub(super) stride: usize,
}

#[cfg(any(not(feature = "turbojpeg"), test))]
impl<'a> Samples<'a> {
    /// The first `len` bytes of row `y`, which are within the plane.
    pub(super) fn row(&self, y: usize, len: usize) -> &'a [u8] {
        &self.data[y * self.stride..y * self.stride + len]
    }
}

impl<'a> From<Plane<'a>> for Samples<'a> {
    fn from(plane: Plane<'a>) -> Self {
        Self { data: plane.data(), stride: plane.stride() }
    }
}

/// A picture as an encoder wants it.
#[derive(Debug)]
pub(super) enum Prepared<'a> {
    /// Y, U and V, 4:2:0. Luma has an even number of columns and rows, the last ones repeated if need be.
    Yuv([Samples<'a>; 3]),
    /// Luma alone.
    Gray(Samples<'a>),
    /// Interleaved components in the order of the image's format.
    Packed(Samples<'a>),
}

/// Brings `image` into shape; touches only the planes that are not right already.
pub(super) fn prepare<'a>(image: &'a Image, scratch: &'a mut Scratch) -> Result<Prepared<'a>, ImageError> {
    let limited = image.color().range == ColorRange::Limited;
    match image.format() {
        PixelFormat::Gray8 => {
            let plane = image.plane(0)?;
            if !limited {
                return Ok(Prepared::Gray(plane.into()));
            }
            let stride = plane.row_bytes();
            let y = sized(&mut scratch.y, stride * plane.row_count());
            plane.rows().zip(y.chunks_exact_mut(stride)).for_each(|(from, to)| expand_luma(from, to));
            Ok(Prepared::Gray(Samples { data: y, stride }))
        }
        PixelFormat::I420 | PixelFormat::Nv12 => {
            if image.color().matrix == ColorMatrix::Bt709 {
                rematrixed(image, limited, scratch)
            } else {
                yuv(image, limited, scratch)
            }
        }
        _ => Ok(Prepared::Packed(image.plane(0)?.into())),
    }
}

fn yuv<'a>(image: &'a Image, limited: bool, scratch: &'a mut Scratch) -> Result<Prepared<'a>, ImageError> {
    let luma = image.plane(0)?;
    let odd = luma.row_bytes() % 2 == 1 || luma.row_count() % 2 == 1;
    let y = if limited || odd {
        let stride = luma.row_bytes().next_multiple_of(2);
        let y = sized(&mut scratch.y, stride * luma.row_count().next_multiple_of(2));
        for (from, to) in luma.rows().zip(y.chunks_exact_mut(stride)) {
            if limited {
                expand_luma(from, &mut to[..from.len()])
            } else {
                to[..from.len()].copy_from_slice(from)
            }
        }
        repeat_edges(y, stride, luma.row_bytes(), luma.row_count());
        Samples { data: y, stride }
    } else {
        luma.into()
    };
    let chroma = image.plane(1)?;
    let planar = image.format() == PixelFormat::I420;
    if planar && !limited {
        return Ok(Prepared::Yuv([y, chroma.into(), image.plane(2)?.into()]));
    }
    let width = if planar { chroma.row_bytes() } else { chroma.row_bytes() / 2 };
    let (u, v) = (
        sized(&mut scratch.u, width * chroma.row_count()),
        sized(&mut scratch.v, width * chroma.row_count()),
    );
    if planar {
        let other = image.plane(2)?;
        chroma.rows().zip(u.chunks_exact_mut(width)).for_each(|(from, to)| expand_chroma(from, to));
        other.rows().zip(v.chunks_exact_mut(width)).for_each(|(from, to)| expand_chroma(from, to));
    } else {
        for (from, (u, v)) in chroma.rows().zip(u.chunks_exact_mut(width).zip(v.chunks_exact_mut(width))) {
            if limited {
                let row = sized(&mut scratch.rows[0], from.len());
                expand_chroma(from, row);
                split(row, u, v);
            } else {
                split(from, u, v);
            }
        }
    }
    Ok(Prepared::Yuv([y, Samples { data: u, stride: width }, Samples { data: v, stride: width }]))
}

/// BT.709 planes as BT.601 ones.
fn rematrixed<'a>(
    image: &'a Image,
    limited: bool,
    scratch: &'a mut Scratch,
) -> Result<Prepared<'a>, ImageError> {
    let matrix = Matrix::bt709_to_bt601(limited);
    let (luma, chroma) = (image.plane(0)?, image.plane(1)?);
    let (width, height) = (luma.row_bytes(), luma.row_count());
    let stride = width.next_multiple_of(2);
    let half = stride / 2;
    let Scratch { y, u, v, change, rows: [row_u, row_v] } = scratch;
    let y = sized(y, stride * height.next_multiple_of(2));
    let (u, v) = (sized(u, half * chroma.row_count()), sized(v, half * chroma.row_count()));
    change.resize(stride, 0);
    let third = if image.format() == PixelFormat::I420 { Some(image.plane(2)?) } else { None };
    for (n, from) in chroma.rows().enumerate() {
        let (from_u, from_v) = match &third {
            Some(third) => (from, third.row(n)),
            None => {
                let (a, b) = (sized(row_u, half), sized(row_v, half));
                split(from, a, b);
                (&*a, &*b)
            }
        };
        let at = n * half..(n + 1) * half;
        matrix.chroma_row(from_u, from_v, &mut u[at.clone()], &mut v[at], change);
        for row in [2 * n, 2 * n + 1].into_iter().filter(|row| *row < height) {
            matrix.luma_row(luma.row(row), &mut y[row * stride..row * stride + width], change);
        }
    }
    repeat_edges(y, stride, width, height);
    Ok(Prepared::Yuv([
        Samples { data: y, stride },
        Samples { data: u, stride: half },
        Samples { data: v, stride: half },
    ]))
}

/// Interleaved pairs to two rows.
fn split(from: &[u8], u: &mut [u8], v: &mut [u8]) {
    for (pair, (u, v)) in from.chunks_exact(2).zip(u.iter_mut().zip(v)) {
        (*u, *v) = (pair[0], pair[1]);
    }
}

/// Fills the column and the row by which an odd picture was made even.
fn repeat_edges(y: &mut [u8], stride: usize, width: usize, height: usize) {
    if stride > width {
        y.chunks_exact_mut(stride).for_each(|row| row[width] = row[width - 1]);
    }
    if height % 2 == 1 {
        y.copy_within((height - 1) * stride..height * stride, height * stride);
    }
}

fn sized(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    buffer.resize(len, 0);
    buffer
}
