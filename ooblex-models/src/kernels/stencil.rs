//! A 3x3 convolution in place on the planes of an I420 picture, clamped as if it had been done in RGB.

use ooblex_core::PlaneMut;

use super::gamut::Gamut;
use super::mirrored;
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Integer weights of a 3x3 kernel that add up to 1, rows first.
pub(crate) trait Taps: Copy {
    /// The weights.
    const LUMA: [i16; 9];

    /// Four times the kernel that does the same to planes of half the resolution: what averaging 2x2 gives after
    /// every sample was repeated 2x2 and convolved with [`LUMA`](Self::LUMA).
    const CHROMA: [i16; 9] = halved(Self::LUMA);
}

/// See [`Taps::CHROMA`]. A sample at distance 2d + a - b for a, b in {0, 1} belongs to the half-size distance d.
const fn halved(full: [i16; 9]) -> [i16; 9] {
    let mut out = [0; 9];
    let mut i = 0;
    while i < 9 * 16 {
        let (cell, sub) = (i / 16, i % 16);
        let (dy, dx) = (cell as isize / 3 - 1, cell as isize % 3 - 1);
        let y = 2 * dy + (sub & 1) as isize - (sub >> 1 & 1) as isize;
        let x = 2 * dx + (sub >> 2 & 1) as isize - (sub >> 3 & 1) as isize;
        if -1 <= y && y <= 1 && -1 <= x && x <= 1 {
            out[cell] += full[((y + 1) * 3 + x + 1) as usize];
        }
        i += 1;
    }
    out
}

/// The plan's emboss: light from the upper left, sum 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emboss;

impl Taps for Emboss {
    const LUMA: [i16; 9] = [-2, -1, 0, -1, 1, 1, 0, 1, 2];
}

/// The plan's sharpening: centre 9, every neighbour -1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sharpen;

impl Taps for Sharpen {
    const LUMA: [i16; 9] = [-1, -1, -1, -1, 9, -1, -1, -1, -1];
}

/// Scratch rows; original pixels of the rows that are being overwritten.
#[derive(Debug, Default)]
pub(crate) struct Stencil {
    /// Luma rows 2c - 1 to 2c + 2 of chroma row c, one mirrored pixel on the left and enough on the right.
    luma: [Vec<u8>; 4],
    /// Chroma rows c - 1 to c + 1 of U and V.
    chroma: [[Vec<u8>; 3]; 2],
    /// Finished rows: two of luma, U, V.
    out: [Vec<u8>; 4],
}

impl Stencil {
    /// Convolves Y, U and V in place and adds `offset`, in the picture's own steps, to R, G and B before they
    /// are clamped. Borders are mirrored.
    pub(crate) fn run<T: Taps>(
        &mut self,
        simd: Simd,
        taps: T,
        offset: i16,
        gamut: Gamut,
        planes: [PlaneMut<'_>; 3],
    ) {
        let chroma = planes[1].row_bytes().next_multiple_of(LANES);
        self.luma.iter_mut().for_each(|row| row.resize(2 * chroma + 2, 0));
        self.chroma.iter_mut().flatten().for_each(|row| row.resize(chroma + 2, 0));
        for (row, len) in self.out.iter_mut().zip([2 * chroma, 2 * chroma, chroma, chroma]) {
            row.resize(len, 0);
        }
        simd.run(Convolve { scratch: self, taps, offset, gamut, planes });
    }
}

struct Convolve<'a, 'b, T> {
    scratch: &'a mut Stencil,
    #[allow(dead_code)] // Only its type matters.
    taps: T,
    offset: i16,
    gamut: Gamut,
    planes: [PlaneMut<'b>; 3],
}

impl<T: Taps> Kernel for Convolve<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { scratch, offset, gamut, planes: [mut y_plane, mut u_plane, mut v_plane], .. } = self;
        let Stencil { luma, chroma, out } = scratch;
        let (width, height) = (y_plane.row_bytes(), y_plane.row_count());
        let (half, rows) = (u_plane.row_bytes(), u_plane.row_count());
        for (i, row) in luma.iter_mut().enumerate() {
            pad_mirrored(y_plane.row_mut(mirrored(i as isize - 1, height)), row);
        }
        for (plane, ring) in [&mut u_plane, &mut v_plane].into_iter().zip(chroma.iter_mut()) {
            for (i, row) in ring.iter_mut().enumerate() {
                pad_repeated(plane.row_mut(i.saturating_sub(1).min(rows - 1)), row);
            }
        }
        for c in 0..rows {
            if c > 0 {
                luma.rotate_left(2);
                for i in 2..4 {
                    let from = mirrored((2 * c + i) as isize - 1, height);
                    if from >= 2 * c {
                        pad_mirrored(y_plane.row_mut(from), &mut luma[i]);
                    } else {
                        // Below the last row of an odd height: row 2c - 1, already overwritten but in the ring.
                        let (kept, new) = luma.split_at_mut(i);
                        new[0].copy_from_slice(&kept[0]);
                    }
                }
                for (plane, ring) in [&mut u_plane, &mut v_plane].into_iter().zip(chroma.iter_mut()) {
                    ring.rotate_left(1);
                    if c + 1 < rows {
                        pad_repeated(plane.row_mut(c + 1), &mut ring[2]);
                    } else {
                        let (kept, new) = ring.split_at_mut(2);
                        new[0].copy_from_slice(&kept[1]);
                    }
                }
            }
            // The last luma row of an odd height has its chroma row for itself and counts twice.
            let second = if 2 * c + 1 < height { 1 } else { 0 };
            let black = L::i_splat(offset - gamut.black() as i16);
            for x in (0..out[2].len()).step_by(LANES) {
                let four = L::splat(4 * 128);
                let u4 = convolve::<L>(&chroma[0][0], &chroma[0][1], &chroma[0][2], x, T::CHROMA).minus(four);
                let v4 = convolve::<L>(&chroma[1][0], &chroma[1][1], &chroma[1][2], x, T::CHROMA).minus(four);
                let [r, g, b] = gamut.offsets(u4, v4);
                let (r, g, b) = (r.doubled(), g.doubled(), b.doubled());
                let (mut left, mut right) = ([L::splat(0); 3], [L::splat(0); 3]);
                let [first_out, second_out, ..] = &mut *out;
                for (row, to) in [first_out, second_out].into_iter().enumerate() {
                    let top = row.min(second);
                    let (rows, at) = ([&luma[top][..], &luma[top + 1], &luma[top + 2]], 2 * x);
                    let value = convolve::<L>(rows[0], rows[1], rows[2], at, T::LUMA).plus(black);
                    let rgb = gamut.rgb(value, [r.0, g.0, b.0]);
                    left = [left[0].plus(rgb[0]), left[1].plus(rgb[1]), left[2].plus(rgb[2])];
                    gamut.luma(rgb).narrow(&mut to[at..]);
                    let at = at + LANES;
                    let value = convolve::<L>(rows[0], rows[1], rows[2], at, T::LUMA).plus(black);
                    let rgb = gamut.rgb(value, [r.1, g.1, b.1]);
                    right = [right[0].plus(rgb[0]), right[1].plus(rgb[1]), right[2].plus(rgb[2])];
                    gamut.luma(rgb).narrow(&mut to[at..]);
                }
                let [u, v] = gamut.chroma([
                    left[0].pair_sums(right[0]),
                    left[1].pair_sums(right[1]),
                    left[2].pair_sums(right[2]),
                ]);
                u.narrow(&mut out[2][x..]);
                v.narrow(&mut out[3][x..]);
            }
            for (row, from) in out.iter().enumerate().take(second + 1) {
                y_plane.row_mut(2 * c + row).copy_from_slice(&from[..width]);
            }
            u_plane.row_mut(c).copy_from_slice(&out[2][..half]);
            v_plane.row_mut(c).copy_from_slice(&out[3][..half]);
        }
    }
}

/// Copies a row to `to[1..]`, mirrored on the left and as far on the right as there is room.
#[inline(always)]
fn pad_mirrored(row: &[u8], to: &mut [u8]) {
    let width = row.len();
    to[1..=width].copy_from_slice(row);
    to[0] = row[mirrored(-1, width)];
    for (i, to) in to.iter_mut().enumerate().skip(width + 1) {
        *to = row[mirrored(i as isize - 1, width)];
    }
}

/// Copies a row to `to[1..]`, its ends repeated: luma mirrored at a pixel boundary repeats its chroma.
#[inline(always)]
fn pad_repeated(row: &[u8], to: &mut [u8]) {
    let width = row.len();
    to[1..=width].copy_from_slice(row);
    to[0] = row[0];
    to[width + 1..].fill(row[width - 1]);
}

/// Weighted sum of the 3x3 neighbourhoods of 16 pixels from `x` on, in rows padded by one on the left.
#[inline(always)]
fn convolve<L: Lanes>(above: &[u8], row: &[u8], below: &[u8], x: usize, taps: [i16; 9]) -> L {
    let [a, b, c, d, e, f, g, h, i] = taps;
    let sum = add_tap(L::splat(0), above, x, a);
    let sum = add_tap(add_tap(sum, above, x + 1, b), above, x + 2, c);
    let sum = add_tap(add_tap(add_tap(sum, row, x, d), row, x + 1, e), row, x + 2, f);
    add_tap(add_tap(add_tap(sum, below, x, g), below, x + 1, h), below, x + 2, i)
}

/// `sum + tap * row[x..]`; the tap is a constant wherever this is called.
#[inline(always)]
fn add_tap<L: Lanes>(sum: L, row: &[u8], x: usize, tap: i16) -> L {
    match tap {
        0 => sum,
        1 => sum.plus(L::widen(&row[x..])),
        -1 => sum.minus(L::widen(&row[x..])),
        _ => sum.plus(L::widen(&row[x..]).times(L::i_splat(tap))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halved_kernels_keep_the_sum_and_match_the_derivation() {
        assert_eq!(Emboss::CHROMA, [-2, -4, 0, -4, 4, 4, 0, 4, 2]);
        assert_eq!(Sharpen::CHROMA, [-1, -4, -1, -4, 24, -4, -1, -4, -1]);
        for taps in [Emboss::LUMA, Sharpen::LUMA] {
            assert_eq!(taps.iter().sum::<i16>(), 1);
            assert_eq!(halved(taps).iter().sum::<i16>(), 4);
        }
    }

    /// Without colour the result is the plain saturating convolution of luma.
    #[test]
    fn a_grey_picture_is_convolved_exactly_at_any_size() {
        use ooblex_core::testing::random_image;
        use ooblex_core::{ColorSpace, PixelFormat};

        use crate::color::Levels;

        for (width, height) in [(1, 1), (2, 2), (1, 4), (5, 1), (3, 5), (33, 18), (64, 7)] {
            let mut image = random_image(PixelFormat::I420, width, height, ColorSpace::JPEG, 3, 4);
            for index in 1..3 {
                image.plane_mut(index).expect("host").fill(128);
            }
            let source = image.clone();
            let luma = source.plane(0).expect("host");
            let gamut = Gamut::new(&Levels::of(ColorSpace::JPEG));
            Stencil::default().run(Simd::detect(), Emboss, 100, gamut, image.i420_mut().expect("planes"));
            let (w, h) = (width as usize, height as usize);
            for y in 0..h {
                for x in 0..w {
                    let at = |i: usize| {
                        let row = luma.row(mirrored((y + i / 3) as isize - 1, h));
                        i32::from(row[mirrored((x + i % 3) as isize - 1, w)])
                    };
                    let sum: i32 = (0..9).map(|i| i32::from(Emboss::LUMA[i]) * at(i)).sum();
                    let got = i32::from(image.plane(0).expect("host").row(y)[x]);
                    let wanted = (sum + 100).clamp(0, 255);
                    assert!((got - wanted).abs() <= 1, "{width}x{height} {x},{y}: {got} {wanted}");
                }
            }
            for index in 1..3 {
                let chroma = image.plane(index).expect("host");
                assert!(chroma.rows().flatten().all(|&v| v == 128), "{width}x{height}");
            }
        }
    }
}
