//! Convolution of each channel by a kernel of its own, on the CPU.
//!
//! candle computes one convolution for each group, with everything that has to be set up for it: on nets for phones,
//! whose groups are single channels, most of the time goes there. This is the formula itself.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape};

/// `[n,c,h,w]` with `[c,1,kh,kw]`, the same stride and padding in both directions.
pub(super) struct Depthwise {
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }

    fn cpu_fwd(
        &self,
        picture: &CpuStorage,
        picture_layout: &Layout,
        kernel: &CpuStorage,
        kernel_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, channels, height, width) = picture_layout.shape().dims4()?;
        let (_, _, kernel_height, kernel_width) = kernel_layout.shape().dims4()?;
        let (picture, kernel) = (data(picture, picture_layout)?, data(kernel, kernel_layout)?);
        let out = |side: usize, kernel: usize| (side + 2 * self.padding - kernel) / self.stride + 1;
        let (rows, columns) = (out(height, kernel_height), out(width, kernel_width));
        let mut result = vec![0f32; n * channels * rows * columns];
        let planes = picture.chunks_exact(height * width).zip(result.chunks_exact_mut(rows * columns));
        for (index, (from, to)) in planes.enumerate() {
            let size = kernel_height * kernel_width;
            let kernel = &kernel[index % channels * size..][..size];
            for (y, row) in to.chunks_exact_mut(columns).enumerate() {
                for (tap, &weight) in kernel.iter().enumerate() {
                    let (dy, dx) = (tap / kernel_width, tap % kernel_width);
                    let source = (y * self.stride + dy).checked_sub(self.padding).filter(|y| *y < height);
                    let Some(source) = source.and_then(|y| from.chunks_exact(width).nth(y)) else { continue };
                    self.add(source, weight, dx, row);
                }
            }
        }
        Ok((CpuStorage::F32(result), (n, channels, rows, columns).into()))
    }
}

impl Depthwise {
    /// Adds a row of the picture, `dx` to the left and times `weight`, to a row of the result.
    fn add(&self, source: &[f32], weight: f32, dx: usize, row: &mut [f32]) {
        // The first column of the result that reads within the picture, and what it reads.
        let first = self.padding.saturating_sub(dx).div_ceil(self.stride);
        let (Some(row), start) = (row.get_mut(first..), first * self.stride + dx - self.padding) else {
            return;
        };
        let Some(source) = source.get(start..) else { return };
        if self.stride == 1 {
            row.iter_mut().zip(source).for_each(|(to, from)| *to += weight * from);
        } else {
            row.iter_mut()
                .zip(source.iter().step_by(self.stride))
                .for_each(|(to, from)| *to += weight * from);
        }
    }
}

fn data<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a tensor has gaps"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn it_equals_candles_own_convolution_by_groups() {
        let random = |shape: (usize, usize, usize, usize)| {
            Tensor::randn(0f32, 1f32, shape, &Device::Cpu).expect("random")
        };
        for (size, kernel, stride, padding) in [
            ((7, 9), 3, 1, 1),
            ((8, 6), 3, 2, 0),
            ((9, 9), 5, 1, 2),
            ((9, 7), 5, 2, 2),
            ((3, 3), 3, 1, 0),
            ((4, 5), 1, 2, 0),
        ] {
            let x = random((2, 5, size.0, size.1));
            let k = random((5, 1, kernel, kernel));
            let ours = x.apply_op2_no_bwd(&k, &Depthwise { stride, padding }).expect("ours");
            let theirs = x.conv2d(&k, padding, stride, 1, 5).expect("candle's");
            assert_eq!(ours.dims(), theirs.dims());
            let difference =
                (ours - theirs).and_then(|d| d.abs()?.max_all()?.to_scalar::<f32>()).expect("compared");
            assert!(difference < 1e-5, "{size:?} {kernel} {stride} {padding}: {difference}");
        }
    }
}
