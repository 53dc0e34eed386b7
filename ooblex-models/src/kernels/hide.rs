//! Making a part of a picture unrecognisable.

use ooblex_core::{Image, ImageError, PlaneMut};

use crate::color::Levels;

/// What is left of the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Blocks of one colour each: the mean of what was there.
    Mosaic,
    /// The same means, blended into one another.
    Blur,
    /// Nothing.
    Black,
}

/// Hides parts of pictures. Keeps its memory.
#[derive(Debug, Default)]
pub(crate) struct Hide {
    /// Means of blocks, and those of one row of samples.
    means: Vec<u8>,
    row: Vec<f32>,
    /// For each column of samples: the blocks beside it, and the weight of the second one.
    across: Vec<(usize, usize, f32)>,
}

impl Hide {
    /// Hides what lies within left, top, width and height, in pixels, of an I420 or Gray8 picture. Blocks have sides of
    /// `block` pixels, or as much more as it takes for whole ones to fill the part; the part is widened to even columns and
    /// rows.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub(crate) fn run(
        &mut self,
        image: &mut Image,
        [left, top, width, height]: [f32; 4],
        block: f32,
        style: Style,
    ) -> Result<(), ImageError> {
        let (columns, rows) = (image.width() as usize, image.height() as usize);
        // Conversion saturates, and what is not a number is 0.
        let even = |v: f32| 2 * (v / 2.0) as usize;
        let (x, y) = (even(left.max(0.0)), even(top.max(0.0)));
        let end = |v: f32, size: usize| ((v.max(0.0) / 2.0).ceil() as usize).saturating_mul(2).min(size);
        let (right, bottom) = (end(left + width, columns), end(top + height, rows));
        if x >= right || y >= bottom {
            return Ok(());
        }
        let side = |len: usize| {
            let count = (len / even(block.max(2.0))).max(1);
            len.div_ceil(count).next_multiple_of(2)
        };
        let (block_width, block_height) = (side(right - x), side(bottom - y));
        let black = Levels::of(image.color()).black;
        for index in 0..image.format().plane_count() {
            let shift = usize::from(index > 0);
            let area = [x >> shift, y >> shift, (right + shift) >> shift, (bottom + shift) >> shift];
            let plane = &mut image.plane_mut(index)?;
            match style {
                Style::Black => fill(plane, area, if index == 0 { black } else { 128 }),
                Style::Mosaic | Style::Blur => {
                    self.blocks(plane, area, [block_width >> shift, block_height >> shift], style);
                }
            }
        }
        Ok(())
    }

    fn blocks(&mut self, plane: &mut PlaneMut<'_>, area: [usize; 4], side: [usize; 2], style: Style) {
        let [left, top, right, bottom] = area;
        let (columns, rows) = ((right - left).div_ceil(side[0]), (bottom - top).div_ceil(side[1]));
        let place = |column: usize, row: usize| {
            let (x, y) = (left + column * side[0], top + row * side[1]);
            [x, y, (x + side[0]).min(right), (y + side[1]).min(bottom)]
        };
        self.means.clear();
        for row in 0..rows {
            self.means.extend((0..columns).map(|column| mean(plane, place(column, row))));
        }
        if style == Style::Mosaic {
            for (i, value) in self.means.iter().enumerate() {
                fill(plane, place(i % columns, i / columns), *value);
            }
            return;
        }
        // The two blocks beside a sample, and the weight of the second one.
        let beside = |at: usize, side: usize, count: usize| {
            let place = ((at as f32 + 0.5) / side as f32 - 0.5).clamp(0.0, (count - 1) as f32);
            (place as usize, (place as usize + 1).min(count - 1), place.fract())
        };
        self.across.clear();
        self.across.extend((0..right - left).map(|x| beside(x, side[0], columns)));
        for y in top..bottom {
            let (above, below, down) = beside(y - top, side[1], rows);
            let row = |row: usize| &self.means[row * columns..][..columns];
            let mix = |a: f32, b: f32, weight: f32| a + (b - a) * weight;
            let both = row(above).iter().zip(row(below));
            self.row.clear();
            self.row.extend(both.map(|(a, b)| mix((*a).into(), (*b).into(), down)));
            for (v, (a, b, across)) in plane.row_mut(y)[left..right].iter_mut().zip(&self.across) {
                *v = (mix(self.row[*a], self.row[*b], *across) + 0.5) as u8;
            }
        }
    }
}

fn mean(plane: &mut PlaneMut<'_>, [left, top, right, bottom]: [usize; 4]) -> u8 {
    let rows = top..bottom;
    let sum: u64 =
        rows.map(|y| plane.row_mut(y)[left..right].iter().map(|v| u64::from(*v)).sum::<u64>()).sum();
    let count = ((right - left) * (bottom - top)) as u64;
    ((sum + count / 2) / count.max(1)) as u8
}

fn fill(plane: &mut PlaneMut<'_>, [left, top, right, bottom]: [usize; 4], value: u8) {
    (top..bottom).for_each(|y| plane.row_mut(y)[left..right].fill(value));
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{ColorSpace, PixelFormat};

    use super::*;

    const STYLES: [Style; 3] = [Style::Mosaic, Style::Blur, Style::Black];

    fn hidden(format: PixelFormat, size: (u32, u32), area: [f32; 4], block: f32, style: Style) -> [Image; 2] {
        let before = random_image(format, size.0, size.1, ColorSpace::BT709, 3, 7);
        let mut after = before.clone();
        Hide::default().run(&mut after, area, block, style).expect("hides");
        [before, after]
    }

    #[test]
    fn every_sample_inside_is_replaced_and_none_outside() {
        for style in STYLES {
            for format in [PixelFormat::I420, PixelFormat::Gray8] {
                // 9 to 30 and 6 to 21 become 8 to 30 and 6 to 22.
                let [before, after] = hidden(format, (41, 33), [9.3, 6.5, 20.6, 14.2], 8.0, style);
                for index in 0..format.plane_count() {
                    let shift = usize::from(index > 0);
                    let (before, after) =
                        (before.plane(index).expect("plane"), after.plane(index).expect("plane"));
                    let mut kept = 0;
                    for y in 0..before.row_count() {
                        for x in 0..before.row_bytes() {
                            let inside = (8 >> shift..30 >> shift).contains(&x)
                                && (6 >> shift..22 >> shift).contains(&y);
                            let same = before.row(y)[x] == after.row(y)[x];
                            assert!(inside || same, "{style:?} {index}: {x} {y} outside changed");
                            kept += usize::from(inside && same);
                        }
                    }
                    assert!(kept <= 8, "{style:?} {index}: {kept} of noise kept by chance");
                }
            }
        }
    }

    #[test]
    fn a_mosaic_is_made_of_means() {
        let [before, after] = hidden(PixelFormat::I420, (40, 40), [4.0, 4.0, 30.0, 30.0], 8.9, Style::Mosaic);
        // Three blocks of 10 fill 30 pixels.
        for (index, block, start) in [(0, 10, 4), (1, 5, 2), (2, 5, 2)] {
            let (before, after) = (before.plane(index).expect("plane"), after.plane(index).expect("plane"));
            let values = (start..start + block).flat_map(|y| &before.row(y)[start..start + block]);
            let sum: usize = values.map(|v| usize::from(*v)).sum();
            let mean = ((sum + block * block / 2) / (block * block)) as u8;
            assert!(
                (start..start + block).all(|y| after.row(y)[start..start + block].iter().all(|v| *v == mean))
            );
            assert_ne!(after.row(start)[start + block], mean, "the next block is another one");
        }
    }

    #[test]
    fn black_is_black_in_the_pictures_range() {
        let [_, after] = hidden(PixelFormat::I420, (9, 9), [-5.0, -5.0, 99.0, 99.0], 4.0, Style::Black);
        let all = |index: usize, value: u8| {
            after.plane(index).expect("plane").rows().flatten().all(|v| *v == value)
        };
        assert!(all(0, 16) && all(1, 128) && all(2, 128));
    }

    #[test]
    fn anything_stays_inside() {
        for style in STYLES {
            for size in [(1, 1), (1, 7), (5, 2), (33, 31)] {
                for area in [
                    [0.0; 4],
                    [-9.0, -9.0, 4.0, 4.0],
                    [0.2, 0.2, 0.1, 0.1],
                    [f32::NAN; 4],
                    [-1e30, 0.0, 2e30, 9.0],
                ] {
                    for block in [0.0, 1.0, 3.0, 1e30, f32::NAN] {
                        hidden(PixelFormat::I420, size, area, block, style);
                    }
                }
            }
        }
    }
}
