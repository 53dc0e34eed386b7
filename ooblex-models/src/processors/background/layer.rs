//! A mask stretched over a picture, and what is laid under or over it.

use ooblex_core::{Image, ImageError, Mask};

use crate::kernels::blend::{Behind, Blend};
use crate::kernels::gaussian::{Gaussian, Weights};
use crate::kernels::grid::{self, FULL, Grid, MAX_LEVELS};
use crate::kernels::resize::{self, Resize};
use crate::simd::Simd;

/// The longer side of a reduced picture is at least this long, unless the picture is smaller: about what masks have.
const REDUCED: u32 = 240;

/// Samples this close to nothing or everything are that, in steps of a grid.
const ROUNDING: u16 = 4;

/// How much of a picture is kept where, at a reduced size; and the blending by it. Keeps its memory.
#[derive(Debug, Default)]
pub(in crate::processors) struct Layer {
    pub(in crate::processors) simd: Simd,
    /// How often the picture's sides are halved.
    pub(in crate::processors) levels: u32,
    /// 0 where nothing of the picture is kept to [`FULL`].
    pub(in crate::processors) keep: Grid,
    resize: Resize,
    gaussian: Gaussian,
    blend: Blend,
}

impl Layer {
    /// Keeps what is inside `mask` of a picture of this size.
    ///
    /// # Errors
    /// If the mask has not as many values as it says.
    pub(in crate::processors) fn keep_inside(
        &mut self,
        mask: &Mask,
        width: u32,
        height: u32,
    ) -> Result<(), String> {
        self.stretch(mask, width, height, |v| v)
    }

    /// Keeps what is outside `mask`, and of what is inside `1 - opacity`.
    ///
    /// # Errors
    /// As [`keep_inside`](Self::keep_inside).
    pub(in crate::processors) fn keep_outside(
        &mut self,
        mask: &Mask,
        opacity: f32,
        width: u32,
        height: u32,
    ) -> Result<(), String> {
        let opacity = (opacity * 65536.0) as u32;
        self.stretch(mask, width, height, |v| FULL - ((u32::from(v) * opacity) >> 16) as u16)
    }

    /// Blends `image`, of the size last given, with what is `behind`.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub(in crate::processors) fn blend<B: Behind>(
        &mut self,
        image: &mut Image,
        behind: &mut B,
    ) -> Result<(), ImageError> {
        self.blend.run(self.simd, image, &self.keep, self.levels, behind)
    }

    /// Takes the stairs out of outlines, which the steep edge of a coarse mask has.
    fn round_off(&mut self) {
        self.gaussian.run_wide(self.simd, &Weights::gaussian(3), &mut self.keep);
        // The blur is within a few steps; nothing and everything are to be exact.
        for v in self.keep.samples_mut() {
            *v = match *v {
                0..=ROUNDING => 0,
                v if v >= FULL - ROUNDING => FULL,
                v => v,
            };
        }
    }

    fn stretch(
        &mut self,
        mask: &Mask,
        width: u32,
        height: u32,
        keep: impl Fn(u16) -> u16,
    ) -> Result<(), String> {
        let (columns, rows) = (mask.width as usize, mask.height as usize);
        if columns * rows != mask.values.len() || mask.values.is_empty() {
            return Err(format!("a mask of {columns}x{rows} has {} values", mask.values.len()));
        }
        self.levels = (width.max(height) / REDUCED).max(1).ilog2().clamp(1, MAX_LEVELS);
        let cells = |side: u32| (side as usize).div_ceil(1 << self.levels);
        self.keep.resize(cells(width), cells(height));
        let over = |side: u32| side as f32 / (1 << self.levels) as f32;
        self.resize
            .prepare((columns, self.keep.width(), over(width)), (rows, self.keep.height(), over(height)));
        for y in 0..self.keep.height() {
            let values = self.resize.row(y, |y| &mask.values[y * columns..][..columns]);
            for (to, v) in self.keep.row_mut(y).iter_mut().zip(values) {
                *to = keep(v >> (resize::FRACTION as i32 - grid::FRACTION));
            }
        }
        self.round_off();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{ColorSpace, PixelFormat};

    use super::*;
    use crate::kernels::blend::Flat;

    /// Left half nothing, right half everything.
    fn half() -> Mask {
        let row = [[0u8; 8], [255; 8]].concat();
        Mask { width: 16, height: 4, values: row.repeat(4).into() }
    }

    fn painted(width: u32, height: u32, inside: bool) -> Image {
        let mut image = random_image(PixelFormat::I420, width, height, ColorSpace::JPEG, 1, 2);
        (0..3).for_each(|i| image.plane_mut(i).expect("host").fill(10));
        let mut layer = Layer::default();
        let stretched = if inside {
            layer.keep_inside(&half(), width, height)
        } else {
            layer.keep_outside(&half(), 0.5, width, height)
        };
        stretched.expect("a whole mask");
        layer.blend(&mut image, &mut Flat::new([210.0; 3], [210.0; 3], height as usize)).expect("blends");
        image
    }

    #[test]
    fn masks_are_stretched_over_the_whole_picture() {
        for (width, height) in [(64, 48), (333, 201), (1280, 720), (3840, 100), (90, 700)] {
            let (inside, outside) = (painted(width, height, true), painted(width, height, false));
            for plane in 0..3 {
                let (inside, outside) =
                    (inside.plane(plane).expect("host"), outside.plane(plane).expect("host"));
                for (inside, outside) in inside.rows().zip(outside.rows()) {
                    let (len, near) = (inside.len(), inside.len() / 6 + 1);
                    assert!(inside[..len / 2 - near].iter().all(|v| *v == 210), "{width}x{height}");
                    assert!(inside[len / 2 + near..].iter().all(|v| *v == 10), "{width}x{height}");
                    assert!(outside[..len / 2 - near].iter().all(|v| *v == 10), "{width}x{height}");
                    assert!(outside[len / 2 + near..].iter().all(|v| *v == 110), "{width}x{height}");
                    // The middle of the edge is the middle of the picture.
                    let middle = (u16::from(inside[(len - 1) / 2]) + u16::from(inside[len / 2])) / 2;
                    assert!(middle.abs_diff(110) <= 20, "{width}x{height}: {middle}");
                }
            }
        }
    }

    #[test]
    fn a_mask_that_is_not_what_it_says_is_refused() {
        let mask = Mask { width: 16, height: 5, values: [0; 64].into() };
        let error = Layer::default().keep_inside(&mask, 100, 100).expect_err("refused");
        assert_eq!(error, "a mask of 16x5 has 64 values");
    }
}
