//! Point operations on I420 in place: two rows of luma and their row of chroma at a time.

use ooblex_core::PlaneMut;

use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Where a block of 2 x 32 luma and 16 chroma samples lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Leftmost luma column; the chroma column is half of it.
    pub(crate) x: usize,
    /// Rows of luma; both are the last one where the height is odd and the block is the lowest.
    pub(crate) rows: [usize; 2],
}

/// 2 x 32 luma samples, rows first.
pub(crate) type Luma<L> = [[L; 2]; 2];

/// What is done to every block. `block` must be `#[inline(always)]`.
pub(crate) trait PointOp {
    /// New luma and chroma of a block; both are clamped to bytes when stored.
    fn block<L: Lanes>(&self, place: Place, luma: Luma<L>, u: L, v: L) -> (Luma<L>, [L; 2]);
}

/// Scratch rows: padded copies, so that a block may reach beyond the picture.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    luma: [Vec<u8>; 2],
    chroma: [Vec<u8>; 2],
}

impl Pairs {
    /// Number of luma columns that a block may see in a picture of `width`: padded, so that tables can match.
    pub(crate) fn padded_width(width: usize) -> usize {
        width.div_ceil(2).next_multiple_of(LANES) * 2
    }

    /// Applies `op` to the planes Y, U, V.
    pub(crate) fn run<P: PointOp>(&mut self, simd: Simd, op: &P, planes: [PlaneMut<'_>; 3]) {
        let width = Self::padded_width(planes[0].row_bytes());
        self.luma.iter_mut().for_each(|row| row.resize(width, 0));
        self.chroma.iter_mut().for_each(|row| row.resize(width / 2, 0));
        simd.run(Apply { scratch: self, op, planes });
    }
}

struct Apply<'a, 'b, P> {
    scratch: &'a mut Pairs,
    op: &'a P,
    planes: [PlaneMut<'b>; 3],
}

impl<P: PointOp> Kernel for Apply<'_, '_, P> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { scratch: Pairs { luma: [top, bottom], chroma: [us, vs] }, op, planes } = self;
        let [mut y_plane, mut u_plane, mut v_plane] = planes;
        let height = y_plane.row_count();
        for c in 0..u_plane.row_count() {
            let rows = [2 * c, (2 * c + 1).min(height - 1)];
            pad(y_plane.row_mut(rows[0]), top);
            pad(y_plane.row_mut(rows[1]), bottom);
            pad(u_plane.row_mut(c), us);
            pad(v_plane.row_mut(c), vs);
            for half in (0..us.len()).step_by(LANES) {
                let x = 2 * half;
                let luma = [
                    [L::widen(&top[x..]), L::widen(&top[x + LANES..])],
                    [L::widen(&bottom[x..]), L::widen(&bottom[x + LANES..])],
                ];
                let (u, v) = (L::widen(&us[half..]), L::widen(&vs[half..]));
                let ([[a, b], [c, d]], [u, v]) = op.block(Place { x, rows }, luma, u, v);
                a.narrow(&mut top[x..]);
                b.narrow(&mut top[x + LANES..]);
                c.narrow(&mut bottom[x..]);
                d.narrow(&mut bottom[x + LANES..]);
                u.narrow(&mut us[half..]);
                v.narrow(&mut vs[half..]);
            }
            store(bottom, y_plane.row_mut(rows[1]));
            store(top, y_plane.row_mut(rows[0]));
            store(us, u_plane.row_mut(c));
            store(vs, v_plane.row_mut(c));
        }
    }
}

/// Copies a row and repeats its last sample.
#[inline(always)]
fn pad(row: &[u8], to: &mut [u8]) {
    let (inner, beyond) = to.split_at_mut(row.len());
    inner.copy_from_slice(row);
    beyond.fill(row[row.len() - 1]);
}

#[inline(always)]
fn store(from: &[u8], row: &mut [u8]) {
    let width = row.len();
    row.copy_from_slice(&from[..width]);
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{ColorSpace, PixelFormat};

    use super::*;

    struct Identity;

    impl PointOp for Identity {
        #[inline(always)]
        fn block<L: Lanes>(&self, place: Place, luma: Luma<L>, u: L, v: L) -> (Luma<L>, [L; 2]) {
            assert!(place.x.is_multiple_of(32) && place.rows[1] - place.rows[0] <= 1);
            (luma, [u, v])
        }
    }

    #[test]
    fn every_sample_is_visited_where_it_lies() {
        for (width, height) in [(1, 1), (2, 2), (31, 5), (32, 4), (33, 3), (100, 7)] {
            let original = random_image(PixelFormat::I420, width, height, ColorSpace::JPEG, 3, 9);
            let mut image = original.clone();
            Pairs::default().run(Simd::detect(), &Identity, image.i420_mut().expect("planes"));
            assert_eq!(
                image.to_packed().expect("host"),
                original.to_packed().expect("host"),
                "{width}x{height}"
            );
        }
    }
}
