//! Smaller pictures: every sample becomes the mean of the area it covers.

use crate::buffer::BufferPool;
use crate::error::ImageError;
use crate::image::Image;

/// Fractional bits of a position.
const BITS: u32 = 8;

/// Scales `image`, which must be in host memory, down to `width` by `height`; a side that would grow repeats
/// samples. Chroma planes are scaled like the luma plane.
///
/// # Errors
/// [`ImageError::Size`] for a side of zero, [`ImageError::DeviceMemory`].
pub fn resize(image: &Image, width: u32, height: u32, pool: &BufferPool) -> Result<Image, ImageError> {
    let mut out = Image::alloc(image.format(), width, height, image.color(), pool)?;
    for index in 0..image.format().plane_count() {
        let step = image.format().interleaved(index);
        let source = image.plane(index)?;
        let mut target = out.plane_mut(index)?;
        let columns = spans(source.row_bytes() / step, target.row_bytes() / step);
        let rows = spans(source.row_count(), target.row_count());
        // Vertical sums of one target row, then horizontal ones: each source sample is read once or twice.
        let mut sums = vec![0u32; source.row_bytes()];
        for (to, span) in target.rows_mut().zip(&rows) {
            sums.fill(0);
            for (y, weight) in span.weights() {
                for (sum, v) in sums.iter_mut().zip(source.row(y)) {
                    *sum += weight * u32::from(*v);
                }
            }
            for (px, column) in to.chunks_exact_mut(step).zip(&columns) {
                let total = u64::from(column.total()) * u64::from(span.total());
                for (c, v) in px.iter_mut().enumerate() {
                    let weighted =
                        column.weights().map(|(x, w)| u64::from(w) * u64::from(sums[x * step + c]));
                    *v = ((weighted.sum::<u64>() + total / 2) / total) as u8;
                }
            }
        }
    }
    Ok(out)
}

/// Source samples under one target sample, with fractional weights at both ends.
struct Span {
    first: usize,
    last: usize,
    head: u32,
    tail: u32,
}

impl Span {
    fn weights(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        (self.first..=self.last).map(|i| match i {
            i if i == self.first => (i, self.head),
            i if i == self.last => (i, self.tail),
            i => (i, 1 << BITS),
        })
    }

    fn total(&self) -> u32 {
        self.weights().map(|(_, weight)| weight).sum()
    }
}

fn spans(from: usize, to: usize) -> Vec<Span> {
    let position = |i: usize| ((i as u64) << BITS) * from as u64 / to as u64;
    (0..to)
        .map(|i| {
            let (start, end) = (position(i), position(i + 1).max(position(i) + 1));
            let first = (start >> BITS) as usize;
            let last = (((end - 1) >> BITS) as usize).min(from - 1);
            let border = |i: usize| (i as u64) << BITS;
            let head = border(first + 1).min(end) - start;
            Span { first, last, head: head as u32, tail: (end - border(last)).min(1 << BITS) as u32 }
        })
        .collect()
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::*;
    use crate::testing::random_image;
    use crate::{ColorSpace, PixelFormat};

    #[test]
    fn a_flat_picture_stays_flat_at_every_size() {
        let pool = BufferPool::default();
        for format in PixelFormat::ALL {
            let mut image = Image::alloc(format, 37, 23, ColorSpace::JPEG, &pool).expect("size");
            for plane in 0..format.plane_count() {
                image.plane_mut(plane).expect("plane").fill(77);
            }
            for (width, height) in [(1, 1), (2, 5), (18, 11), (36, 22), (37, 23), (50, 40)] {
                let small = resize(&image, width, height, &pool).expect("resizes");
                assert_eq!((small.width(), small.height()), (width, height));
                assert!(
                    small.to_packed().expect("host").iter().all(|v| *v == 77),
                    "{format:?} {width}x{height}"
                );
            }
        }
    }

    #[test]
    fn halves_are_means_and_the_same_size_is_the_same_picture() {
        let pool = BufferPool::default();
        let data = vec![0, 10, 20, 30, 40, 50, 60, 70];
        let image = Image::from_vec(PixelFormat::Gray8, 4, 2, ColorSpace::JPEG, data).expect("size");
        let small = resize(&image, 2, 1, &pool).expect("resizes");
        assert_eq!(small.to_packed().expect("host"), [25, 45]);
        let image = random_image(PixelFormat::Nv12, 19, 13, ColorSpace::JPEG, 5, 3);
        let same = resize(&image, 19, 13, &pool).expect("resizes");
        assert_eq!(same.to_packed().expect("host"), image.to_packed().expect("host"));
    }

    #[test]
    fn the_mean_is_kept_at_odd_ratios() {
        let pool = BufferPool::default();
        let image = random_image(PixelFormat::Gray8, 101, 67, ColorSpace::JPEG, 0, 9);
        let mean = |image: &Image| {
            let packed = image.to_packed().expect("host");
            packed.iter().map(|v| f64::from(*v)).sum::<f64>() / packed.len() as f64
        };
        let small = resize(&image, 13, 29, &pool).expect("resizes");
        assert!((mean(&image) - mean(&small)).abs() < 1.0);
    }
}
