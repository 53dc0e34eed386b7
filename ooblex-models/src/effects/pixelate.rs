//! Large square pixels.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, PlaneMut, ProcessContext, ProcessError,
    RegistryError, Verdict,
};

use super::{Effect, make_planar};
use crate::simd::{Kernel, Lanes, Simd};

const BLOCK: u16 = 10;
const MIN: i64 = 2;
const MAX: i64 = 200;

/// Replaces each block of `block` by `block` pixels by its mean; blocks cut by the right and lower border by the
/// mean of what is there.
///
/// A plain mean (`cv::INTER_AREA`), where the usual bilinear shrinking looks at only four pixels of a block. Where
/// a block is odd its chroma begins at the next pair of pixels.
#[derive(Debug)]
pub struct Pixelate {
    block: usize,
    /// Sums of the columns of one row of blocks.
    sums: Vec<u32>,
    simd: Simd,
}

impl Pixelate {
    /// `block` is the side of a block in pixels, 2 to 200.
    pub fn new(block: u16) -> Self {
        let block = i64::from(block).clamp(MIN, MAX) as usize;
        Self { block, sums: Vec::new(), simd: Simd::detect() }
    }
}

impl Default for Pixelate {
    /// Blocks of 10 pixels.
    fn default() -> Self {
        Self::new(BLOCK)
    }
}

impl FrameProcessor for Pixelate {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = make_planar(&mut frame.image)?;
        for index in 0..image.format().plane_count() {
            let step = if index == 0 { 1 } else { 2 };
            let plane = &mut image.plane_mut(index)?;
            self.simd.run(Blocks { plane, block: self.block, step, sums: &mut self.sums });
        }
        Ok(Verdict::Emit)
    }
}

struct Blocks<'a, 'b> {
    plane: &'a mut PlaneMut<'b>,
    block: usize,
    /// Picture pixels from one sample of the plane to the next.
    step: usize,
    sums: &'a mut Vec<u32>,
}

impl Kernel for Blocks<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { plane, block, step, sums } = self;
        let (width, height) = (plane.row_bytes(), plane.row_count());
        // First sample of block n.
        let start = |n: usize, end: usize| (n * block).div_ceil(step).min(end);
        let mut row = 0;
        while start(row, height) < height {
            let (top, bottom) = (start(row, height), start(row + 1, height));
            sums.clear();
            sums.resize(width, 0);
            for y in top..bottom {
                for (sum, &v) in sums.iter_mut().zip(&*plane.row_mut(y)) {
                    *sum += u32::from(v);
                }
            }
            if bottom > top {
                let first = plane.row_mut(top);
                let mut column = 0;
                while start(column, width) < width {
                    let (left, right) = (start(column, width), start(column + 1, width));
                    let count = ((right - left) * (bottom - top)) as u32;
                    let sum = sums[left..right].iter().sum::<u32>() + count / 2;
                    // A chroma block may be empty where blocks are smaller than two pixels' worth.
                    first[left..right].fill(sum.checked_div(count).unwrap_or(0) as u8);
                    column += 1;
                }
                let stride = plane.stride();
                let data = plane.data_mut();
                for y in top + 1..bottom {
                    data.copy_within(top * stride..top * stride + width, y * stride);
                }
            }
            row += 1;
        }
    }
}

impl Effect for Pixelate {
    fn spec() -> KindSpec {
        KindSpec::new("pixelate", "Large square pixels").param(
            ParamSpec::new("block", ParamType::Int(MIN..=MAX), i64::from(BLOCK), "side of a block")
                .unit("px"),
        )
    }

    fn from_options(options: &Options) -> Result<Self, RegistryError> {
        Ok(Self::new(options.get_or("block", BLOCK)?))
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::{frame_of, process_one};
    use ooblex_core::{ColorSpace, Image, PixelFormat};

    use super::*;

    #[test]
    fn odd_blocks_cover_every_sample_once() {
        // Five columns, blocks of three: columns 0-2 and 3-4; chroma columns 0-1 (pixels 0-3) and 2 (pixel 4).
        let luma = [10, 20, 30, 100, 200];
        let data = [luma.repeat(2), vec![50, 70, 90], vec![0, 255, 8]].concat();
        let image = Image::from_vec(PixelFormat::I420, 5, 2, ColorSpace::JPEG, data).expect("a picture");
        let mut frame = frame_of(image);
        process_one(&mut Pixelate::new(3), &mut frame).expect("pixelates");
        let out = frame.image.pixels().expect("pixels").to_packed().expect("host");
        assert_eq!(out[..10], [20, 20, 20, 150, 150, 20, 20, 20, 150, 150]);
        assert_eq!(out[10..], [60, 60, 90, 128, 128, 8]);
    }
}
