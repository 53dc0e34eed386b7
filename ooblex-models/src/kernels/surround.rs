//! Blurs what lies outside a mask without what lies inside: a weighted mean of the neighbourhood, in which samples
//! count by how far outside they are (normalised convolution, H. Knutsson and C.-F. Westin, 1993). A plain blur would
//! put a halo of the person's own colours around the person.

use ooblex_core::{Image, ImageError};

use super::gaussian::{Gaussian, Weights};
use super::grid::{FRACTION, FULL, Grid, MAX_LEVELS, Reduce, halve};
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// The largest standard deviation that is blurred as it is, in samples; for a larger one everything is halved once more.
const LARGEST: f64 = 4.0;

/// Blurs surroundings; keeps its scratch memory.
#[derive(Debug, Default)]
pub(crate) struct Surround {
    reduce: Reduce,
    gaussian: Gaussian,
    weights: Grid,
    planes: [Grid; 3],
    spare: Grid,
    /// The kernel, and the deviation in samples that it is for.
    kernel: Option<(f64, Weights)>,
}

/// A blurred surrounding.
pub(crate) struct Surroundings<'a> {
    /// Y, U and V, all of the same size; of a Gray8 picture only the first means anything.
    pub(crate) planes: [&'a Grid; 3],
    /// How often the picture's sides were halved.
    pub(crate) levels: u32,
}

impl Surround {
    /// Reads an I420 or Gray8 `image`. `keep` has the luma plane's sides divided by 2^`levels`, `levels` at least 1,
    /// and is 0 outside and [`FULL`] inside. `sigma` is the standard deviation in pixels of the picture.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub(crate) fn run(
        &mut self,
        simd: Simd,
        image: &Image,
        keep: &Grid,
        levels: u32,
        sigma: f64,
    ) -> Result<Surroundings<'_>, ImageError> {
        let mut sigma = sigma / f64::from(1u32 << levels);
        let mut more = 0;
        while sigma > LARGEST && levels + more < MAX_LEVELS {
            (sigma, more) = (sigma / 2.0, more + 1);
        }
        let kernel = match &mut self.kernel {
            Some((known, kernel)) if *known == sigma => kernel,
            other => &mut other.insert((sigma, Weights::with_sigma(sigma))).1,
        };
        self.weights.resize(keep.width(), keep.height());
        simd.run(Outside { keep, weights: &mut self.weights });
        let planes = &mut self.planes[..image.format().plane_count()];
        for (index, grid) in planes.iter_mut().enumerate() {
            let levels = if index == 0 { levels } else { levels - 1 };
            self.reduce.run(simd, image.plane(index)?, levels, grid);
            simd.run(Multiply { weights: &self.weights, grid });
        }
        for grid in planes.iter_mut().chain([&mut self.weights]) {
            for _ in 0..more {
                halve(simd, grid, &mut self.spare);
                std::mem::swap(grid, &mut self.spare);
            }
            self.gaussian.run_wide(simd, kernel, grid);
        }
        for grid in planes {
            simd.run(Divide { weights: &self.weights, grid });
        }
        Ok(Surroundings { planes: self.planes.each_ref(), levels: levels + more })
    }
}

/// Fractional bits of a weight: what a sample weighs at most is just below 2^15.
const WEIGHT: i32 = 7;

/// Weights from what is kept. Even what is fully inside weighs a little, so that the mean is defined everywhere.
struct Outside<'a> {
    keep: &'a Grid,
    weights: &'a mut Grid,
}

impl Kernel for Outside<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let pairs =
            self.keep.samples().chunks_exact(LANES).zip(self.weights.samples_mut().chunks_exact_mut(LANES));
        for (keep, to) in pairs {
            let outside = L::splat(FULL).minus_to_zero(L::load(keep)).down::<FRACTION>();
            outside.max(L::splat(1)).up::<WEIGHT>().store(to);
        }
    }
}

/// Samples times weights, below 2^15.
struct Multiply<'a> {
    weights: &'a Grid,
    grid: &'a mut Grid,
}

impl Kernel for Multiply<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (weight, to) in
            self.weights.samples().chunks_exact(LANES).zip(self.grid.samples_mut().chunks_exact_mut(LANES))
        {
            // With v and w from 0 to 255: 256 v times 128 w, without the lower 16 bits, is half of v w.
            L::load(to).up::<2>().high(L::load(weight)).store(to);
        }
    }
}

/// Back to samples.
struct Divide<'a> {
    weights: &'a Grid,
    grid: &'a mut Grid,
}

impl Kernel for Divide<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (weight, to) in
            self.weights.samples().chunks_exact(LANES).zip(self.grid.samples_mut().chunks_exact_mut(LANES))
        {
            L::load(to).ratio(L::load(weight).max(L::splat(1)), 256.0).up::<FRACTION>().store(to);
        }
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{BufferPool, ColorSpace, PixelFormat};

    use super::*;
    use crate::kernels::mirrored;

    #[test]
    fn nothing_of_the_inside_bleeds_out() {
        let mut image = Image::black(120, 80, &BufferPool::default()).expect("a picture");
        // A white person on a dark wall.
        for (y, row) in image.plane_mut(0).expect("host").rows_mut().enumerate() {
            row.iter_mut()
                .enumerate()
                .for_each(|(x, v)| *v = if (40..80).contains(&x) && y >= 20 { 255 } else { 30 });
        }
        let keep = Grid::from_fn(60, 40, |x, y| if (20..40).contains(&x) && y >= 10 { FULL } else { 0 });
        let mut surround = Surround::default();
        for (sigma, levels) in [(6.0, 1), (12.0, 2), (40.0, 4)] {
            let blurred = surround.run(Simd::detect(), &image, &keep, 1, sigma).expect("blurs");
            assert_eq!(blurred.levels, levels);
            let [luma, u, _] = blurred.planes;
            let more = levels - 1;
            for y in 0..luma.height() {
                for x in 0..luma.width() {
                    if keep.row((y << more).min(39))[(x << more).min(59)] > 0 {
                        continue;
                    }
                    let [got, u] = [luma, u].map(|grid| grid.row(y)[x] >> FRACTION);
                    assert!(got.abs_diff(30) <= 3, "sigma {sigma}: {got} at {x},{y}");
                    assert!(u.abs_diff(128) <= 1, "sigma {sigma}: {u} at {x},{y}");
                }
            }
        }
    }

    #[test]
    fn close_to_the_exact_weighted_mean() {
        for (width, height) in [(1u32, 1u32), (3, 9), (64, 41)] {
            let image = random_image(PixelFormat::Gray8, width, height, ColorSpace::JPEG, 0, 5);
            let (w, h) = ((width as usize).div_ceil(2), (height as usize).div_ceil(2));
            let keep = Grid::from_fn(w, h, |x, y| ((x * 7 + y * 3) % 11) as u16 * (FULL / 10));
            let sigma = 2.0;
            let mut surround = Surround::default();
            let blurred = surround.run(Simd::detect(), &image, &keep, 1, 2.0 * sigma).expect("blurs");
            let [luma, ..] = blurred.planes;
            let mut small = Grid::default();
            Reduce::default().run(Simd::detect(), image.plane(0).expect("host"), 1, &mut small);
            let bell = |d: isize| (-((d * d) as f64) / (2.0 * sigma * sigma)).exp();
            for y in 0..h {
                for x in 0..w {
                    let (mut sum, mut total) = (0.0, 0.0);
                    for (dy, dx) in (-5..=5).flat_map(|dy| (-5..=5).map(move |dx| (dy, dx))) {
                        let (y, x) = (mirrored(y as isize + dy, h), mirrored(x as isize + dx, w));
                        let outside = f64::from((FULL - keep.row(y)[x]) >> FRACTION).max(1.0);
                        let weight = outside * bell(dy) * bell(dx);
                        (sum, total) = (sum + weight * f64::from(small.row(y)[x]) / 64.0, total + weight);
                    }
                    let got = f64::from(luma.row(y)[x] >> FRACTION);
                    assert!(
                        (got - sum / total).abs() < 2.5,
                        "{width}x{height} at {x},{y}: {got} {}",
                        sum / total
                    );
                }
            }
        }
    }
}
