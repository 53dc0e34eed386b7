//! Quarter turns and mirror images, plane by plane: rows are copied or reversed, and quarter turns go by blocks of 8 by
//! 8 samples, so that neither side is walked through against the order of memory.

use std::borrow::Cow;

use super::convert;
use crate::buffer::BufferPool;
use crate::error::ImageError;
use crate::image::{Image, Plane, PlaneMut};
use crate::pixel::{PixelFormat, Rotation};

/// Samples that are turned at once.
const BLOCK: usize = 8;
/// Sides of the squares in which quarter turns walk: a cache line of bytes, and few enough rows to stay cached.
const TILE: usize = 64;

/// Turns `image` clockwise by `rotation`, after mirroring it left to right if `mirror`. NV12 becomes I420 on the way.
///
/// Luma and RGB are moved, never changed. So is chroma, unless a side is odd and runs the other way afterwards: each
/// chroma sample then covers half of two old ones, and is their mean.
///
/// # Errors
/// [`ImageError::DeviceMemory`].
pub fn rotate(
    image: &Image,
    rotation: Rotation,
    mirror: bool,
    pool: &BufferPool,
) -> Result<Image, ImageError> {
    if image.format() == PixelFormat::Nv12 {
        let planar = convert(image, PixelFormat::I420, image.color(), pool)?;
        return rotate(&planar, rotation, mirror, pool);
    }
    let turn = Turn::new(rotation, mirror);
    if turn == Turn::default() {
        return Ok(image.clone());
    }
    let (width, height) = (image.width(), image.height());
    let (to_width, to_height) = if turn.sideways { (height, width) } else { (width, height) };
    let mut out = Image::alloc(image.format(), to_width, to_height, image.color(), pool)?;
    let step = image.format().interleaved(0);
    for index in 0..image.format().plane_count() {
        let halved = index > 0;
        let (odd_x, odd_y) = (halved && width % 2 == 1, halved && height % 2 == 1);
        let source = Samples::of(image.plane(index)?).between(odd_x && turn.flip_x, odd_y && turn.flip_y);
        let mut to = out.plane_mut(index)?;
        match step {
            1 => turn.apply::<1>(&source, &mut to),
            3 => turn.apply::<3>(&source, &mut to),
            _ => turn.apply::<4>(&source, &mut to),
        }
    }
    Ok(out)
}

/// Bytes of a plane, without copying them if they are used as they are.
struct Samples<'a> {
    data: Cow<'a, [u8]>,
    stride: usize,
    row_bytes: usize,
    rows: usize,
}

impl<'a> Samples<'a> {
    fn of(plane: Plane<'a>) -> Self {
        let (stride, row_bytes, rows) = (plane.stride(), plane.row_bytes(), plane.row_count());
        Self { data: Cow::Borrowed(plane.data()), stride, row_bytes, rows }
    }

    /// Chroma samples between the given ones: each is the mean of itself and the one before it, in the directions that
    /// are asked for. At an odd side, the last sample covers a single column or row; seen from there, samples cover
    /// other pairs.
    fn between(self, x: bool, y: bool) -> Self {
        if !x && !y {
            return self;
        }
        let mut data = Vec::with_capacity(self.row_bytes * self.rows);
        for row in 0..self.rows {
            let (this, above) = (self.row(row), self.row(if y { row.saturating_sub(1) } else { row }));
            let both = |at: usize| u16::from(this[at]) + u16::from(above[at]);
            let mean = |at: usize| both(at) + both(if x { at.saturating_sub(1) } else { at });
            data.extend((0..self.row_bytes).map(|at| ((mean(at) + 2) / 4) as u8));
        }
        Self { data: Cow::Owned(data), stride: self.row_bytes, ..self }
    }

    fn row(&self, y: usize) -> &[u8] {
        &self.data[y * self.stride..][..self.row_bytes]
    }
}

/// A turn as what it does to the source: which of its directions run the other way, and whether its columns become
/// rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    flip_x: bool,
    flip_y: bool,
    sideways: bool,
}

impl Turn {
    fn new(rotation: Rotation, mirror: bool) -> Self {
        let (flip_x, flip_y, sideways) = match rotation {
            Rotation::None => (false, false, false),
            Rotation::Clockwise90 => (false, true, true),
            Rotation::Half => (true, true, false),
            Rotation::Clockwise270 => (true, false, true),
        };
        Self { flip_x: flip_x != mirror, flip_y, sideways }
    }

    /// `STEP` is the bytes of a pixel.
    fn apply<const STEP: usize>(self, from: &Samples<'_>, to: &mut PlaneMut<'_>) {
        if self.sideways {
            self.apply_sideways::<STEP>(from, to);
            return;
        }
        for (y, to) in to.rows_mut().enumerate() {
            let from = from.row(if self.flip_y { from.rows - 1 - y } else { y });
            if self.flip_x {
                let (to, from) = (to.as_chunks_mut::<STEP>().0, from.as_chunks::<STEP>().0);
                to.iter_mut().zip(from.iter().rev()).for_each(|(to, from)| *to = *from);
            } else {
                to.copy_from_slice(from);
            }
        }
    }

    fn apply_sideways<const STEP: usize>(self, from: &Samples<'_>, to: &mut PlaneMut<'_>) {
        let (columns, rows) = (from.row_bytes / STEP, from.rows);
        let stride = to.stride();
        let to = to.data_mut();
        for top in (0..rows).step_by(TILE) {
            for left in (0..columns).step_by(TILE) {
                let (bottom, right) = ((top + TILE).min(rows), (left + TILE).min(columns));
                let mut y = top;
                if STEP == 1 {
                    while y + BLOCK <= bottom {
                        let mut x = left;
                        while x + BLOCK <= right {
                            self.block(from, (x, y), to, stride);
                            x += BLOCK;
                        }
                        self.single::<STEP>(from, (x..right, y..y + BLOCK), to, stride);
                        y += BLOCK;
                    }
                }
                self.single::<STEP>(from, (left..right, y..bottom), to, stride);
            }
        }
    }

    /// Where a source column and a source row come to lie.
    fn place(self, from: &Samples<'_>, columns: usize, x: usize, y: usize) -> (usize, usize) {
        let row = if self.flip_x { columns - 1 - x } else { x };
        let column = if self.flip_y { from.rows - 1 - y } else { y };
        (row, column)
    }

    /// One block of samples, its upper left corner at (x, y).
    fn block(self, from: &Samples<'_>, (x, y): (usize, usize), to: &mut [u8], stride: usize) {
        let mut rows = [0u64; BLOCK];
        for (n, row) in rows.iter_mut().enumerate() {
            // The order of source rows becomes the order within destination rows.
            let y = if self.flip_y { y + BLOCK - 1 - n } else { y + n };
            let bytes = from.data[y * from.stride + x..].first_chunk::<BLOCK>();
            // Invariant: the block lies within the plane.
            *row = bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        }
        transpose(&mut rows);
        let last = if self.flip_y { y + BLOCK - 1 } else { y };
        for (n, bytes) in rows.into_iter().enumerate() {
            let (row, column) = self.place(from, from.row_bytes, x + n, last);
            to[row * stride + column..][..BLOCK].copy_from_slice(&bytes.to_le_bytes());
        }
    }

    /// Pixel by pixel: what fills no block.
    fn single<const STEP: usize>(
        self,
        from: &Samples<'_>,
        (columns, rows): (std::ops::Range<usize>, std::ops::Range<usize>),
        to: &mut [u8],
        stride: usize,
    ) {
        for x in columns {
            for y in rows.clone() {
                let (row, column) = self.place(from, from.row_bytes / STEP, x, y);
                let pixel = &from.data[y * from.stride + x * STEP..][..STEP];
                to[row * stride + column * STEP..][..STEP].copy_from_slice(pixel);
            }
        }
    }
}

/// Swaps rows and columns of 8 by 8 bytes: the off-diagonal quarters, then those of the quarters, then single bytes.
fn transpose(rows: &mut [u64; BLOCK]) {
    for (distance, mask) in
        [(4, 0x0000_0000_FFFF_FFFF), (2, 0x0000_FFFF_0000_FFFF), (1, 0x00FF_00FF_00FF_00FF_u64)]
    {
        for first in (0..BLOCK).filter(|n| n & distance == 0) {
            let swap = (rows[first] >> (8 * distance) ^ rows[first + distance]) & mask;
            rows[first + distance] ^= swap;
            rows[first] ^= swap << (8 * distance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel::ColorSpace;
    use crate::testing::random_image;

    const TURNS: [Rotation; 4] =
        [Rotation::None, Rotation::Clockwise90, Rotation::Half, Rotation::Clockwise270];

    /// Components of a pixel, chroma repeated.
    fn pixel(image: &Image, x: usize, y: usize) -> Vec<u32> {
        let of = |plane: usize, halved: usize| {
            let step = image.format().interleaved(plane);
            let row = image.plane(plane).expect("host").row(y >> halved).to_vec();
            row[(x >> halved) * step..][..step].iter().map(|v| u32::from(*v)).collect::<Vec<_>>()
        };
        let count = image.format().plane_count();
        (0..count).flat_map(|plane| of(plane, usize::from(plane > 0))).collect()
    }

    /// Where the pixel (x, y) of the result comes from, by the definition of the turns.
    fn origin(
        rotation: Rotation,
        mirror: bool,
        (w, h): (usize, usize),
        (x, y): (usize, usize),
    ) -> (usize, usize) {
        let (x, y) = match rotation {
            Rotation::None => (x, y),
            Rotation::Clockwise90 => (y, h - 1 - x),
            Rotation::Half => (w - 1 - x, h - 1 - y),
            Rotation::Clockwise270 => (w - 1 - y, x),
        };
        (if mirror { w - 1 - x } else { x }, y)
    }

    #[test]
    fn every_pixel_comes_to_lie_where_it_belongs_and_chroma_is_the_mean_of_what_it_covers() {
        let pool = BufferPool::default();
        let sizes = [(1, 1), (2, 1), (3, 5), (8, 8), (9, 16), (16, 7), (65, 17), (130, 70), (71, 133)];
        for format in PixelFormat::ALL {
            for (width, height) in sizes {
                let image = random_image(format, width, height, ColorSpace::BT601, 5, 3);
                let size = (width as usize, height as usize);
                for (rotation, mirror) in TURNS.into_iter().flat_map(|r| [(r, false), (r, true)]) {
                    let out = rotate(&image, rotation, mirror, &pool).expect("host");
                    let what = format!("{format:?} {width}x{height} {rotation:?} {mirror}");
                    assert_eq!(out.color(), image.color());
                    let (w, h) = (out.width() as usize, out.height() as usize);
                    let sideways = matches!(rotation, Rotation::Clockwise90 | Rotation::Clockwise270);
                    assert_eq!((w, h), if sideways { (size.1, size.0) } else { size }, "{what}");
                    let from = |x, y| {
                        let (x, y) = origin(rotation, mirror, size, (x, y));
                        pixel(&image, x, y)
                    };
                    let whole = if format.is_yuv() { 1 } else { format.interleaved(0) };
                    for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))) {
                        let got = pixel(&out, x, y);
                        assert_eq!(got[..whole], from(x, y)[..whole], "{what} at {x} {y}");
                        if got.len() > whole && x % 2 == 0 && y % 2 == 0 {
                            let covered: Vec<_> = [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)]
                                .into_iter()
                                .filter(|&(x, y)| x < w && y < h)
                                .map(|(x, y)| from(x, y))
                                .collect();
                            let count = covered.len() as u32;
                            for c in whole..got.len() {
                                let sum: u32 = covered.iter().map(|px| px[c]).sum();
                                assert_eq!(got[c], (sum + count / 2) / count, "{what} chroma at {x} {y}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn four_quarter_turns_or_two_mirror_images_of_an_even_picture_change_nothing() {
        let pool = BufferPool::default();
        let image = random_image(PixelFormat::I420, 84, 46, ColorSpace::BT709, 3, 9);
        let packed = image.to_packed().expect("host");
        let quarter = |image: &Image| rotate(image, Rotation::Clockwise90, false, &pool).expect("host");
        let turned = quarter(&quarter(&quarter(&quarter(&image))));
        assert_eq!(turned.to_packed().expect("host"), packed);
        let mirrored = |image: &Image| rotate(image, Rotation::None, true, &pool).expect("host");
        assert_eq!(mirrored(&mirrored(&image)).to_packed().expect("host"), packed);
    }
}
