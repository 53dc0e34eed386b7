//! Pictures that say who made them and which one they are.
//!
//! The upper quarter of a marked picture is a grid of 16 by 3 cells, black for 0 and white for 1, most significant
//! bit first, row after row: 8 bits sync ([`SYNC`]), 8 bits publisher, 24 bits counter, 8 bits check. The grid grows
//! with the picture, so that it survives scaling, and each cell is read from the mean of its middle, so that it
//! survives JPEG, blurring and sharpening. Below lies a plain field in the publisher's colour with a bright box that
//! moves with the counter. It is the tests' own: a bug in the server's test pattern cannot hide in it.
//! `python/mark.py` and [`READ_MARK_JS`] read the same.

/// First byte of the grid. Not its own complement, mirror image or part of a plain field.
pub const SYNC: u8 = 0b1011_0010;

const COLUMNS: usize = 16;
const ROWS: usize = 3;
/// The grid's rows are this part of the picture's height each.
const HEIGHT_IN_ROWS: usize = 12;

/// Pixels as red, green, blue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Three bytes a pixel, rows without padding.
    pub data: Vec<u8>,
}

impl Rgb {
    /// A picture of one colour.
    pub fn plain(width: usize, height: usize, colour: [u8; 3]) -> Self {
        Self { width, height, data: colour.repeat(width * height) }
    }

    /// The pixel at a place.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let start = (y * self.width + x) * 3;
        [self.data[start], self.data[start + 1], self.data[start + 2]]
    }

    fn fill(&mut self, columns: std::ops::Range<usize>, rows: std::ops::Range<usize>, colour: [u8; 3]) {
        for y in rows {
            let start = (y * self.width + columns.start) * 3;
            let end = (y * self.width + columns.end) * 3;
            for pixel in self.data[start..end].chunks_exact_mut(3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    /// Full-range luma after BT.601.
    pub fn luma(&self) -> Vec<u8> {
        self.data
            .chunks_exact(3)
            .map(|p| ((u32::from(p[0]) * 299 + u32::from(p[1]) * 587 + u32::from(p[2]) * 114) / 1000) as u8)
            .collect()
    }

    /// The mark, if there is a whole one.
    pub fn mark(&self) -> Option<Mark> {
        read(&self.luma(), self.width, self.height)
    }

    /// How colourful the lower half is: the mean distance of the largest and the smallest channel of a pixel.
    pub fn colourfulness(&self) -> f64 {
        let lower = &self.data[self.height / 2 * self.width * 3..];
        let sum: u64 =
            lower.chunks_exact(3).map(|p| u64::from(p.iter().max().unwrap() - p.iter().min().unwrap())).sum();
        sum as f64 / (lower.len() / 3) as f64
    }

    /// The mean colour of the strip between the grid and the box, which is plain.
    pub fn field(&self) -> [f64; 3] {
        let (from, to) = (self.height * 7 / 24, self.height * 9 / 24);
        let mut sum = [0.0; 3];
        let rows = &self.data[from * self.width * 3..to * self.width * 3];
        for pixel in rows.chunks_exact(3) {
            for (sum, value) in sum.iter_mut().zip(pixel) {
                *sum += f64::from(*value);
            }
        }
        sum.map(|sum| sum / (rows.len() / 3) as f64)
    }
}

/// Who made a picture and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The publisher.
    pub id: u8,
    /// Its count of pictures, 24 bits.
    pub counter: u32,
}

impl Mark {
    fn bits(self) -> u64 {
        let [_, high, middle, low] = self.counter.to_be_bytes();
        let bytes = [SYNC, self.id, high, middle, low, check(self.id, high, middle, low)];
        bytes.iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte))
    }
}

fn check(id: u8, high: u8, middle: u8, low: u8) -> u8 {
    id.wrapping_mul(3) ^ high.rotate_left(1) ^ middle.rotate_left(3) ^ low.rotate_left(5) ^ 0x5A
}

/// The colour of a publisher's field: far apart for neighbouring numbers, never grey.
pub fn colour(id: u8) -> [u8; 3] {
    [[200, 60, 40], [40, 160, 60], [50, 80, 200], [190, 170, 40], [160, 50, 170]][usize::from(id) % 5]
}

/// Draws a marked picture.
pub fn draw(mark: Mark, width: usize, height: usize) -> Rgb {
    assert!(width >= 64 && height >= 48, "{width}x{height} is too small for the grid");
    let mut picture = Rgb::plain(width, height, colour(mark.id));
    let bits = mark.bits();
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let bit = bits >> (COLUMNS * ROWS - 1 - row * COLUMNS - column) & 1;
            picture.fill(
                column * width / COLUMNS..(column + 1) * width / COLUMNS,
                row * height / HEIGHT_IN_ROWS..(row + 1) * height / HEIGHT_IN_ROWS,
                if bit == 1 { [255; 3] } else { [0; 3] },
            );
        }
    }
    let side = height / 6;
    let x = mark.counter as usize * 3 % (width - side);
    picture.fill(x..x + side, height * 5 / 8..height * 5 / 8 + side, [240, 240, 220]);
    picture
}

/// Reads the mark of a full-range luma plane without padding.
pub fn read(luma: &[u8], width: usize, height: usize) -> Option<Mark> {
    if width < 64 || height < 48 {
        return None;
    }
    let mut bits = 0u64;
    for row in 0..ROWS {
        for column in 0..COLUMNS {
            let (x0, x1) = (column * width / COLUMNS, (column + 1) * width / COLUMNS);
            let (y0, y1) = (row * height / HEIGHT_IN_ROWS, (row + 1) * height / HEIGHT_IN_ROWS);
            let (dx, dy) = ((x1 - x0) / 4, (y1 - y0) / 4);
            let (mut sum, mut count) = (0u32, 0u32);
            for y in y0 + dy..y1 - dy {
                for value in &luma[y * width + x0 + dx..y * width + x1 - dx] {
                    sum += u32::from(*value);
                    count += 1;
                }
            }
            bits = bits << 1 | u64::from(sum >= 128 * count);
        }
    }
    let [_, _, sync, id, high, middle, low, checked] = bits.to_be_bytes();
    let whole = sync == SYNC && checked == check(id, high, middle, low);
    whole.then(|| Mark { id, counter: u32::from_be_bytes([0, high, middle, low]) })
}

/// JavaScript functions over an `<img>`, `<video>` or `<canvas>`: `readMark(image)` answers `{id, counter, width,
/// height}`, or null without a whole mark; `colourOf(image)` is [`Rgb::colourfulness`].
pub const READ_MARK_JS: &str = include_str!("mark.js");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jpeg;

    #[test]
    fn a_mark_survives_jpeg_at_odd_sizes() {
        for (width, height) in [(64, 48), (161, 121), (320, 240), (641, 479)] {
            for counter in [0, 1, 255, 256, 65_535, 0x00AB_CDEF, 0x00FF_FFFF] {
                let mark = Mark { id: 7, counter };
                let picture = draw(mark, width, height);
                assert_eq!(picture.mark(), Some(mark));
                let decoded = jpeg::decode(&jpeg::encode(&picture, 50));
                assert_eq!(decoded.mark(), Some(mark), "{width}x{height}");
            }
        }
    }

    #[test]
    fn a_picture_without_a_mark_has_none() {
        for grey in [0, 100, 128, 255] {
            assert_eq!(Rgb::plain(320, 240, [grey; 3]).mark(), None);
        }
        let picture = draw(Mark { id: 1, counter: 5 }, 320, 240);
        let mut inverted = picture.clone();
        inverted.data.iter_mut().for_each(|value| *value = 255 - *value);
        assert_eq!(inverted.mark(), None);
        let mut torn = draw(Mark { id: 1, counter: 6 }, 320, 240);
        let half = torn.data.len() / 8;
        torn.data[..half].copy_from_slice(&draw(Mark { id: 2, counter: 77 }, 320, 240).data[..half]);
        assert_eq!(torn.mark(), None);
    }
}
