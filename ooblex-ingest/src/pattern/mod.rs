//! A test picture with a moving shape, and a frame counter and clock that machines can read back.
//!
//! # The mark
//!
//! The lowest sixth of the picture is a strip of black and white cells: 4 rows of 32. All positions are fractions
//! of the picture, so that the mark is found again after the whole picture was scaled:
//!
//! ```text
//! cell (column c of 0..32, row r of 0..4) covers   x from W*c/32 to W*(c+1)/32,   y from H*(20+r)/24 to H*(21+r)/24
//!
//! column   0      1      2 .. 29         30     31
//!          white  black  28 data cells   black  white        (the same in every row)
//! ```
//!
//! The 112 data cells, row by row and left to right, are bits, white meaning 1, most significant first:
//!
//! | bits | what |
//! |---|---|
//! | 32 | frame counter |
//! | 48 | timecode: milliseconds since 1970-01-01 UTC |
//! | 32 | CRC-32 (as in zlib) of the ten bytes before it |
//!
//! To read it, take the mean luma of the middle half of each cell both ways, samples at its edges weighted by the
//! part of them that lies inside. In each row, white is the mean of columns 0 and 31 and black that of columns 1 and
//! 30; white must be at least 64 levels above black. A data cell is a 1 if it is above the middle between them. The
//! numbers count only if the checksum fits: a damaged mark reads as nothing, never as a wrong number. This survives
//! JPEG at quality 50, 4:2:0 and scaling to half, from 160x120 up.
//!
//! In Python, `y` being the luma plane as an array:
//!
//! ```python
//! import zlib
//! import numpy as np
//!
//! def weights(length, cell, cells):
//!     n, start, end = np.arange(length), length * (cell + .25) / cells, length * (cell + .75) / cells
//!     overlap = np.clip(np.minimum(n + 1, end) - np.maximum(n, start), 0, None)
//!     return overlap / overlap.sum()
//!
//! def read_mark(y):
//!     columns = np.stack([weights(y.shape[1], c, 32) for c in range(32)])
//!     rows = np.stack([weights(y.shape[0], r, 24) for r in range(20, 24)])
//!     bits = ""
//!     for cells in rows @ y @ columns.T:
//!         white, black = (cells[0] + cells[31]) / 2, (cells[1] + cells[30]) / 2
//!         if white - black < 64:
//!             return None
//!         bits += "".join("1" if v > (white + black) / 2 else "0" for v in cells[2:30])
//!     data = int(bits, 2).to_bytes(14, "big")
//!     if zlib.crc32(data[:10]) != int.from_bytes(data[10:], "big"):
//!         return None
//!     return int.from_bytes(data[:4], "big"), int.from_bytes(data[4:10], "big")
//! ```

mod source;

use ooblex_core::{ColorRange, Image, ImageError, PixelFormat, Plane};

pub use self::source::TestPattern;
use crate::crc::crc32;

const COLUMNS: usize = 32;
const ROWS: usize = 4;
/// The picture is this many cells high; the mark takes the lowest [`ROWS`].
const GRID_ROWS: usize = 24;
const DATA_COLUMNS: std::ops::Range<usize> = 2..30;
/// White must be this much above black.
const MIN_CONTRAST: f32 = 64.0;
/// Smallest picture that the mark is promised to survive in.
const MIN_SIZE: (u32, u32) = (160, 120);

/// What a mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Number of the frame; wraps at 2^32.
    pub counter: u32,
    /// Milliseconds since 1970-01-01 UTC; the lowest 48 bits.
    pub timecode_ms: u64,
}

impl Mark {
    /// Bits of a timecode.
    pub const TIMECODE_BITS: u32 = 48;

    /// The payload with its checksum.
    fn to_bytes(self) -> [u8; 14] {
        let mut bytes = [0; 14];
        bytes[..4].copy_from_slice(&self.counter.to_be_bytes());
        bytes[4..10].copy_from_slice(&self.timecode_ms.to_be_bytes()[2..]);
        let crc = crc32(&bytes[..10]);
        bytes[10..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; 14]) -> Option<Self> {
        let [c0, c1, c2, c3, t0, t1, t2, t3, t4, t5, crc @ ..] = *bytes;
        (u32::from_be_bytes(crc) == crc32(&bytes[..10])).then(|| Self {
            counter: u32::from_be_bytes([c0, c1, c2, c3]),
            timecode_ms: u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
        })
    }

    /// Whether the cell is white.
    fn cell(bytes: &[u8; 14], row: usize, column: usize) -> bool {
        match column {
            0 | 31 => true,
            1 | 30 => false,
            _ => {
                let bit = row * DATA_COLUMNS.len() + column - DATA_COLUMNS.start;
                bytes[bit / 8] >> (7 - bit % 8) & 1 == 1
            }
        }
    }
}

/// Reads the mark back from a luma plane (full or limited range), or any other single plane that follows
/// brightness. `None` if there is no mark or it is damaged.
pub fn read(luma: &Plane<'_>) -> Option<Mark> {
    let (width, height) = (luma.row_bytes(), luma.row_count());
    let mut bytes = [0u8; 14];
    let mut bit = 0;
    for row in 0..ROWS {
        let ys = middle(height, GRID_ROWS - ROWS + row, GRID_ROWS);
        let cells: [f32; COLUMNS] =
            std::array::from_fn(|column| mean(luma, middle(width, column, COLUMNS), ys.clone()));
        let (white, black) = ((cells[0] + cells[31]) / 2.0, (cells[1] + cells[30]) / 2.0);
        if white - black < MIN_CONTRAST {
            return None;
        }
        for value in &cells[DATA_COLUMNS] {
            bytes[bit / 8] |= u8::from(*value > (white + black) / 2.0) << (7 - bit % 8);
            bit += 1;
        }
    }
    Mark::from_bytes(&bytes)
}

/// Draws `mark` into the lowest sixth of a picture of any format, in black and white of its range. Pictures smaller
/// than 160x120 are drawn into as well, but are not promised to survive compression.
///
/// # Errors
/// [`ImageError::DeviceMemory`].
pub fn draw(image: &mut Image, mark: Mark) -> Result<(), ImageError> {
    let bytes = mark.to_bytes();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let format = image.format();
    let (black, white) = match (format.is_yuv(), image.color().range) {
        (true, ColorRange::Limited) => (16, 235),
        _ => (0, 255),
    };
    let pixel_bytes = match format {
        PixelFormat::Rgb | PixelFormat::Bgr => 3,
        PixelFormat::Rgba => 4,
        _ => 1,
    };
    let mut plane = image.plane_mut(0)?;
    for row in 0..ROWS {
        let grid_row = GRID_ROWS - ROWS + row;
        let rows = height * grid_row / GRID_ROWS..height * (grid_row + 1) / GRID_ROWS;
        for y in rows {
            let line = plane.row_mut(y);
            for column in 0..COLUMNS {
                let xs = width * column / COLUMNS..width * (column + 1) / COLUMNS;
                let value = if Mark::cell(&bytes, row, column) { white } else { black };
                line[xs.start * pixel_bytes..xs.end * pixel_bytes].fill(value);
            }
            if format == PixelFormat::Rgba {
                line.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 255);
            }
        }
    }
    for index in 1..format.plane_count() {
        let mut chroma = image.plane_mut(index)?;
        let from = chroma.row_count() * (GRID_ROWS - ROWS) / GRID_ROWS;
        chroma.rows_mut().skip(from).for_each(|row| row.fill(128));
    }
    Ok(())
}

/// The middle half of cell `index` of `count` on a side of `length` samples.
fn middle(length: usize, index: usize, count: usize) -> std::ops::Range<f32> {
    let quarter = length as f32 / (4 * count) as f32;
    quarter * (4 * index + 1) as f32..quarter * (4 * index + 3) as f32
}

/// The samples that `span` touches, each with the part of it that lies inside.
fn weighted(span: std::ops::Range<f32>, length: usize) -> impl Iterator<Item = (usize, f32)> {
    let last = (span.end.ceil() as usize).min(length);
    (span.start as usize..last).map(move |n| (n, span.end.min(n as f32 + 1.0) - span.start.max(n as f32)))
}

fn mean(luma: &Plane<'_>, xs: std::ops::Range<f32>, ys: std::ops::Range<f32>) -> f32 {
    let (mut sum, mut area) = (0.0, 0.0);
    for (y, height) in weighted(ys, luma.row_count()) {
        let row = luma.row(y);
        for (x, width) in weighted(xs.clone(), row.len()) {
            sum += f32::from(row[x]) * width * height;
            area += width * height;
        }
    }
    if area > 0.0 { sum / area } else { 0.0 }
}

#[cfg(test)]
mod tests;
