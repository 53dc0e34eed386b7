//! A mask as translucent colour.

use ooblex_core::{Mask, PlaneMut};

use super::canvas::{Canvas, Ink};

/// Weight of the colour where a mask is certain, in parts of 256.
const OPACITY: u32 = 128;

/// Scratch memory.
#[derive(Debug, Default)]
pub(super) struct Stretch {
    /// For each column of chroma: the columns of the mask beside it, and the weight of the second one.
    columns: Vec<(usize, usize, u32)>,
    /// Two rows of the mask, blended.
    row: Vec<u32>,
    /// Weight of the colour for one row of chroma, and for the rows of luma beside it.
    weights: Vec<u8>,
    doubled: Vec<u8>,
}

/// Whether there is anything to see; a mask whose size is not what it says shows nothing.
pub(super) fn is_visible(mask: &Mask) -> bool {
    let pixels = mask.width as usize * mask.height as usize;
    pixels == mask.values.len() && mask.values.iter().any(|v| *v > 0)
}

impl Stretch {
    /// Mixes `ink` in where [visible](is_visible) `mask` says so, bilinearly enlarged to the canvas at chroma's
    /// resolution.
    pub(super) fn blend(&mut self, mask: &Mask, Ink(ink): Ink, canvas: &mut Canvas<'_>) {
        let (width, height) = (canvas.luma.row_bytes(), canvas.luma.row_count());
        let (half, half_rows) = (width.div_ceil(2), height.div_ceil(2));
        let mask_width = mask.width as usize;
        self.columns.clear();
        self.columns.extend((0..half).map(|x| beside(x, width, mask_width)));
        self.weights.resize(half, 0);
        for y in 0..half_rows {
            let (above, below, weight) = beside(y, height, mask.height as usize);
            let row = |y: usize| &mask.values[y * mask_width..][..mask_width];
            let both = row(above).iter().zip(row(below));
            self.row.clear();
            self.row.extend(both.map(|(a, b)| u32::from(*a) * (256 - weight) + u32::from(*b) * weight));
            if self.row.iter().all(|v| *v == 0) {
                continue;
            }
            for (to, &(left, right, weight)) in self.weights.iter_mut().zip(&self.columns) {
                let value = self.row[left] * (256 - weight) + self.row[right] * weight;
                *to = ((value >> 8) * OPACITY / (255 * 256)) as u8;
            }
            self.doubled.clear();
            self.doubled.extend(self.weights.iter().flat_map(|weight| [*weight; 2]));
            for y in 2 * y..(2 * y + 2).min(height) {
                mix_row(&mut canvas.luma, y, ink[0], &self.doubled);
            }
            let planes = canvas.chroma.iter_mut().flatten().zip([ink[1], ink[2]]);
            planes.for_each(|(plane, value)| mix_row(plane, y, value, &self.weights));
        }
    }
}

/// For sample `at` of a chroma plane of a picture of `size` pixels: where it lies among `count` samples of a mask.
fn beside(at: usize, size: usize, count: usize) -> (usize, usize, u32) {
    let place = (2 * at + 1) as f32 / size as f32 * count as f32 - 0.5;
    let place = place.clamp(0.0, (count - 1) as f32);
    (place as usize, (place as usize + 1).min(count - 1), (place.fract() * 256.0) as u32)
}

fn mix_row(plane: &mut PlaneMut<'_>, y: usize, value: u8, weights: &[u8]) {
    for (v, weight) in plane.row_mut(y).iter_mut().zip(weights) {
        // At most 256 * 255 + 128: 16 bits are enough, and twice as fast as 32.
        let weight = u16::from(*weight);
        *v = ((u16::from(*v) * (256 - weight) + u16::from(value) * weight + 128) >> 8) as u8;
    }
}
