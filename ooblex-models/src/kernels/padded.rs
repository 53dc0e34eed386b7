//! A plane with room around it, so that neighbourhoods need no special case at the border.

use super::mirrored;
use crate::simd::LANES;

/// What lies beyond the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Border {
    /// The outermost sample, repeated.
    Repeat,
    /// The picture mirrored without repeating the outermost sample.
    Mirror,
}

/// Bytes of one plane with `margin` more on every side and whole lanes on the right. Keeps its memory.
#[derive(Debug, Default)]
pub(crate) struct Padded {
    data: Vec<u8>,
    stride: usize,
    margin: usize,
    width: usize,
    height: usize,
}

impl Padded {
    /// Prepares for a plane of this size; what it held is lost.
    pub(crate) fn resize(&mut self, width: usize, height: usize, margin: usize) {
        self.stride = width.next_multiple_of(LANES) + 2 * margin;
        (self.width, self.height, self.margin) = (width, height, margin);
        self.data.resize(self.stride * (height + 2 * margin), 0);
    }

    /// Row `y` between `-margin` and `height + margin`, beginning `margin` samples left of the picture.
    #[inline(always)]
    pub(crate) fn row(&self, y: isize) -> &[u8] {
        let start = (y + self.margin as isize) as usize * self.stride;
        &self.data[start..start + self.stride]
    }

    /// Row `y` of the picture itself, whole lanes long; fill it, then call [`fill_border`](Self::fill_border).
    #[inline(always)]
    pub(crate) fn inner_mut(&mut self, y: usize) -> &mut [u8] {
        let start = (y + self.margin) * self.stride + self.margin;
        &mut self.data[start..start + self.width.next_multiple_of(LANES)]
    }

    /// Copies a plane, row by row, and fills the border.
    pub(crate) fn copy<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a [u8]>,
        (width, height): (usize, usize),
        margin: usize,
        border: Border,
    ) {
        self.resize(width, height, margin);
        for (y, row) in rows.enumerate().take(height) {
            self.inner_mut(y)[..width].copy_from_slice(row);
        }
        self.fill_border(border);
    }

    /// Fills everything outside the picture, lanes to its right included.
    pub(crate) fn fill_border(&mut self, border: Border) {
        let (width, height, margin, stride) = (self.width, self.height, self.margin, self.stride);
        let at = |i: isize, len: usize| match border {
            Border::Repeat => i.clamp(0, len as isize - 1) as usize,
            Border::Mirror => mirrored(i, len),
        };
        for row in self.data.chunks_exact_mut(stride).skip(margin).take(height) {
            for x in 0..margin {
                row[x] = row[margin + at(x as isize - margin as isize, width)];
            }
            for x in margin + width..stride {
                row[x] = row[margin + at(x as isize - margin as isize, width)];
            }
        }
        let mut copy = |y: isize| {
            let from = (at(y, height) + margin) * stride;
            self.data.copy_within(from..from + stride, (y + margin as isize) as usize * stride);
        };
        for i in 1..=margin as isize {
            copy(-i);
            copy(height as isize - 1 + i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_filled_on_every_side() {
        let rows: [&[u8]; 2] = [&[1, 2, 3], &[4, 5, 6]];
        let mut padded = Padded::default();
        padded.copy(rows.into_iter(), (3, 2), 2, Border::Repeat);
        assert_eq!(padded.row(-2)[..9], [1, 1, 1, 2, 3, 3, 3, 3, 3]);
        assert_eq!(padded.row(3)[..6], [4, 4, 4, 5, 6, 6]);
        padded.copy(rows.into_iter(), (3, 2), 2, Border::Mirror);
        assert_eq!(padded.row(-1)[..7], [6, 5, 4, 5, 6, 5, 4]);
        assert_eq!(padded.row(0)[..7], [3, 2, 1, 2, 3, 2, 1]);
        assert_eq!(padded.row(2)[..7], [3, 2, 1, 2, 3, 2, 1]);
        assert_eq!(padded.row(3)[..7], [6, 5, 4, 5, 6, 5, 4]);
    }
}
