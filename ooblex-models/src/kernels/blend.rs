//! Lays a picture over something else: `behind + (picture - behind) * keep`, plane by plane, in place.

use ooblex_core::{Image, ImageError, PlaneMut};

use super::grid::{FRACTION, FULL, Grid};
use super::grow::Grow;
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// What shows where the picture is not kept. Methods must be `#[inline(always)]`.
pub(crate) trait Behind {
    /// Prepares row `y` of plane `index`, `width` samples wide.
    fn begin<L: Lanes>(&mut self, index: usize, y: usize, width: usize);
    /// 16 samples from column `x` on, in [`FRACTION`] bits; those beyond the width are unspecified.
    fn at<L: Lanes>(&self, x: usize) -> L;
}

/// Lays pictures over something; keeps its scratch memory.
#[derive(Debug, Default)]
pub(crate) struct Blend {
    luma: Grow,
    chroma: Grow,
    tail: Vec<u8>,
}

impl Blend {
    /// Blends every plane of an I420 or Gray8 `image`. `keep` has the luma plane's sides divided by 2^`levels`,
    /// `levels` at least 1, and says from 0 to [`FULL`] how much of the picture stays: all of it,
    /// bit by bit, at the upper end, and nothing at the lower.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub(crate) fn run<B: Behind>(
        &mut self,
        simd: Simd,
        image: &mut Image,
        keep: &Grid,
        levels: u32,
        behind: &mut B,
    ) -> Result<(), ImageError> {
        self.luma.set_levels(levels);
        self.chroma.set_levels(levels - 1);
        self.tail.resize(LANES, 0);
        for index in 0..image.format().plane_count() {
            let grow = if index == 0 { &mut self.luma } else { &mut self.chroma };
            let plane = image.plane_mut(index)?;
            simd.run(Plane { grow, tail: &mut self.tail, keep, behind, index, plane });
        }
        Ok(())
    }
}

struct Plane<'a, 'b, B> {
    grow: &'a mut Grow,
    tail: &'a mut [u8],
    keep: &'a Grid,
    behind: &'a mut B,
    index: usize,
    plane: PlaneMut<'b>,
}

impl<B: Behind> Kernel for Plane<'_, '_, B> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { grow, tail, keep, behind, index, mut plane } = self;
        let width = plane.row_bytes();
        let whole = width / LANES * LANES;
        for y in 0..plane.row_count() {
            let keep = grow.row::<L>(keep, y);
            behind.begin::<L>(index, y, width);
            let row = plane.row_mut(y);
            for x in (0..whole).step_by(LANES) {
                mix(L::widen(&row[x..]), L::load(&keep[x..]), behind.at(x)).narrow(&mut row[x..]);
            }
            if whole < width {
                let rest = &mut row[whole..];
                tail[..rest.len()].copy_from_slice(rest);
                mix(L::widen(tail), L::load(&keep[whole..]), behind.at(whole)).narrow(tail);
                rest.copy_from_slice(&tail[..rest.len()]);
            }
        }
    }
}

/// Bytes of the picture, weights and background to bytes.
#[inline(always)]
fn mix<L: Lanes>(picture: L, keep: L, behind: L) -> L {
    // From 0..=255 * 64 to 0..=32767, so that nothing of the background is left at the upper end.
    let keep = keep.min(L::splat(FULL));
    let keep = keep.up::<1>().plus(keep.down::<7>());
    let difference = picture.up::<FRACTION>().minus(behind);
    let half = L::splat(1 << (FRACTION - 1));
    behind.plus(difference.i_scale(keep)).plus(half).down::<FRACTION>()
}

/// A colour, or one that changes evenly from the upper border to the lower.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flat {
    /// Y, U, V at the upper and at the lower border.
    pub(crate) ends: [[f32; 3]; 2],
    /// Rows of each plane.
    pub(crate) rows: [usize; 3],
    /// The current row's value.
    value: u16,
}

impl Flat {
    /// For a picture of `height` rows.
    pub(crate) fn new(top: [f32; 3], bottom: [f32; 3], height: usize) -> Self {
        let half = height.div_ceil(2);
        Self { ends: [top, bottom], rows: [height, half, half], value: 0 }
    }
}

impl Behind for Flat {
    #[inline(always)]
    fn begin<L: Lanes>(&mut self, index: usize, y: usize, _: usize) {
        let [top, bottom] = self.ends.map(|end| end[index]);
        let share = (y as f32 + 0.5) / self.rows[index] as f32;
        self.value = ((top + (bottom - top) * share) * f32::from(1u16 << FRACTION)) as u16;
    }

    #[inline(always)]
    fn at<L: Lanes>(&self, _: usize) -> L {
        L::splat(self.value)
    }
}

/// A picture of the same size and format.
pub(crate) struct Picture<'a> {
    image: &'a Image,
    row: &'a mut Vec<u8>,
}

impl<'a> Picture<'a> {
    /// `image` is in host memory; `row` is scratch memory.
    pub(crate) fn new(image: &'a Image, row: &'a mut Vec<u8>) -> Self {
        Self { image, row }
    }
}

impl Behind for Picture<'_> {
    #[inline(always)]
    fn begin<L: Lanes>(&mut self, index: usize, y: usize, width: usize) {
        self.row.resize(width.next_multiple_of(LANES), 0);
        // Invariant: the caller's picture has this plane and this row, in host memory; black would show otherwise.
        match self.image.plane(index) {
            Ok(plane) => self.row[..width].copy_from_slice(&plane.row(y)[..width]),
            Err(_) => self.row.fill(0),
        }
    }

    #[inline(always)]
    fn at<L: Lanes>(&self, x: usize) -> L {
        L::widen(&self.row[x..]).up::<FRACTION>()
    }
}

/// Small planes, enlarged.
pub(crate) struct Grown<'a> {
    /// Y, U and V, all of the same size.
    pub(crate) grids: [&'a Grid; 3],
    /// For luma and for chroma.
    pub(crate) grow: [&'a mut Grow; 2],
    /// Which of the two made the current row.
    current: usize,
}

impl<'a> Grown<'a> {
    /// The grids have the luma plane's sides divided by 2^`levels`, `levels` at least 1.
    pub(crate) fn new(grids: [&'a Grid; 3], levels: u32, grow: &'a mut [Grow; 2]) -> Self {
        let [luma, chroma] = grow;
        luma.set_levels(levels);
        chroma.set_levels(levels - 1);
        Self { grids, grow: [luma, chroma], current: 0 }
    }
}

impl Behind for Grown<'_> {
    #[inline(always)]
    fn begin<L: Lanes>(&mut self, index: usize, y: usize, _: usize) {
        self.current = index.min(1);
        self.grow[self.current].row::<L>(self.grids[index], y);
    }

    #[inline(always)]
    fn at<L: Lanes>(&self, x: usize) -> L {
        L::load(&self.grow[self.current].current()[x..])
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{ColorSpace, PixelFormat};

    use super::*;

    #[test]
    fn all_or_nothing_is_kept_to_the_bit() {
        for (width, height) in [(1, 1), (2, 3), (31, 18), (64, 33), (90, 50)] {
            for format in [PixelFormat::I420, PixelFormat::Gray8] {
                let original = random_image(format, width, height, ColorSpace::JPEG, 3, 7);
                let other = random_image(format, width, height, ColorSpace::JPEG, 1, 8);
                for (levels, keep) in [(1, FULL), (2, 0), (3, FULL), (4, 0)] {
                    let sides = [width, height].map(|side| (side as usize).div_ceil(1 << levels));
                    let mask = Grid::from_fn(sides[0], sides[1], |_, _| keep);
                    let mut image = original.clone();
                    let mut row = Vec::new();
                    let mut behind = Picture::new(&other, &mut row);
                    Blend::default()
                        .run(Simd::detect(), &mut image, &mask, levels, &mut behind)
                        .expect("blends");
                    let wanted = if keep == 0 { &other } else { &original };
                    let same = image.to_packed().expect("host") == wanted.to_packed().expect("host");
                    assert!(same, "{format:?} {width}x{height} {levels} {keep}");
                }
            }
        }
    }

    #[test]
    fn between_the_ends_weights_are_linear() {
        let mut image = random_image(PixelFormat::I420, 64, 64, ColorSpace::JPEG, 0, 1);
        (0..3).for_each(|i| image.plane_mut(i).expect("host").fill(200));
        // From nothing on the left to everything on the right.
        let mask = Grid::from_fn(32, 32, |x, _| (x as u16).min(31) * (FULL / 31));
        let mut flat = Flat::new([100.0; 3], [100.0; 3], 64);
        Blend::default().run(Simd::detect(), &mut image, &mask, 1, &mut flat).expect("blends");
        for (index, shift) in [(0, 1), (1, 0), (2, 0)] {
            let plane = image.plane(index).expect("host");
            for row in plane.rows() {
                for (x, &v) in row.iter().enumerate().skip(2).take(row.len() - 4) {
                    let place = (x as f32 + 0.5) / (1 << shift) as f32 - 0.5;
                    let wanted = 100.0 + 100.0 * place / 31.0;
                    assert!((f32::from(v) - wanted).abs() < 1.2, "plane {index} at {x}: {v} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_gradient_runs_from_top_to_bottom() {
        let mut image = random_image(PixelFormat::I420, 20, 100, ColorSpace::JPEG, 0, 1);
        let nothing = Grid::from_fn(10, 50, |_, _| 0);
        let mut flat = Flat::new([0.0, 10.0, 250.0], [250.0, 110.0, 50.0], 100);
        Blend::default().run(Simd::detect(), &mut image, &nothing, 1, &mut flat).expect("blends");
        let at = |plane: usize, y: usize| image.plane(plane).expect("host").row(y)[7];
        assert_eq!([at(0, 0), at(0, 49), at(0, 50), at(0, 99)], [1, 124, 126, 249]);
        assert_eq!([at(1, 0), at(1, 49), at(2, 0), at(2, 49)], [11, 109, 248, 52]);
    }

    #[test]
    fn grids_show_where_nothing_is_kept() {
        let mut image = random_image(PixelFormat::I420, 70, 40, ColorSpace::JPEG, 0, 1);
        let (nothing, half) =
            (Grid::from_fn(18, 10, |_, _| 0), Grid::from_fn(18, 10, |x, _| if x < 9 { 0 } else { FULL }));
        let mut grow = Default::default();
        let mut grown = Grown::new([&half, &half, &half], 2, &mut grow);
        Blend::default().run(Simd::detect(), &mut image, &nothing, 2, &mut grown).expect("blends");
        for (index, middle) in [(0, 36), (1, 18), (2, 18)] {
            for row in image.plane(index).expect("host").rows() {
                assert!(
                    row[..middle - 4].iter().all(|v| *v == 0) && row[middle + 4..].iter().all(|v| *v == 255)
                );
                assert!(row.windows(2).all(|pair| pair[0] <= pair[1]));
            }
        }
    }
}
