//! From limited range and BT.709 to what JPEG carries, row by row.
//!
//! All of it is integer arithmetic on 16 bits with six fractional ones, written so that compilers turn the loops
//! into SIMD code; where the processor has AVX2, loops written for it do most of the work.

#[cfg(target_arch = "x86_64")]
mod avx2;

use ooblex_core::ColorMatrix;

/// Fractional bits of intermediate values.
const BITS: u32 = 6;
const HALF: i32 = 1 << (BITS - 1);
/// 64 * 255/219 * 256, rounded: limited luma steps to full-range ones.
const LUMA: u32 = 19_077;
/// 64 * 255/224 * 256: limited chroma steps to full-range ones. One less than the rounded value, which together with
/// the bias gives exactly the rounded formula for all 256 values.
const CHROMA: u32 = 18_650;
/// 64 * 128 * (255/224 - 1): what a chroma of 128 becomes too large by.
const CHROMA_BIAS: u16 = 1_133;

/// Samples that are worked on at a time.
const BLOCK: usize = 256;

/// Limited luma with fractional bits: 0 for 16 and below.
#[inline(always)]
fn luma64(v: u8) -> u16 {
    ((u32::from(luma_steps(v)) * LUMA) >> 16) as u16
}

/// Steps above black, in the upper half of 16 bits.
#[inline(always)]
fn luma_steps(v: u8) -> u16 {
    u16::from(v.saturating_sub(16)) << 8
}

/// Expands limited-range luma (16 to 235) to 0 to 255; what lies outside is clamped.
pub(super) fn expand_luma(from: &[u8], to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    let done = avx2::expand_luma(from, to);
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    portable_luma(&from[done..], &mut to[done..]);
}

fn portable_luma(from: &[u8], to: &mut [u8]) {
    scale(from, to, luma_steps, LUMA, |v| byte((v + HALF as u16) >> BITS));
}

/// Expands limited-range chroma (16 to 240) to the full range around 128; what lies outside is clamped.
pub(super) fn expand_chroma(from: &[u8], to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    let done = avx2::expand_chroma(from, to);
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    portable_chroma(&from[done..], &mut to[done..]);
}

fn portable_chroma(from: &[u8], to: &mut [u8]) {
    let finish = |v: u16| byte((v + HALF as u16).saturating_sub(CHROMA_BIAS) >> BITS);
    scale(from, to, |v| u16::from(v) << 8, CHROMA, finish);
}

/// The signed comparison is the one that every x86-64 has an instruction for.
#[inline(always)]
fn byte(v: u16) -> u8 {
    (v as i16).clamp(0, 255) as u8
}

/// Widens each sample, keeps the upper half of its product with `factor`, and finishes it. Three simple loops over a
/// block become the 16-bit multiplication that gives upper halves; one loop becomes a 32-bit one at half the speed.
#[inline(always)]
fn scale(from: &[u8], to: &mut [u8], widen: impl Fn(u8) -> u16, factor: u32, finish: impl Fn(u16) -> u8) {
    let mut block = [0u16; BLOCK];
    for (from, to) in from.chunks(BLOCK).zip(to.chunks_mut(BLOCK)) {
        block.iter_mut().zip(from).for_each(|(wide, v)| *wide = widen(*v));
        block.iter_mut().for_each(|v| *v = ((u32::from(*v) * factor) >> 16) as u16);
        to.iter_mut().zip(&block).for_each(|(to, v)| *to = finish(*v));
    }
}

/// Factors, times 64, from BT.709 chroma to BT.601: what is added to luma, and the new chroma.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    y: [i32; 2],
    u: [i32; 2],
    v: [i32; 2],
    limited: bool,
}

impl Matrix {
    /// Follows from writing R'G'B' once with each set of luma weights (ITU-R BT.601-7 and BT.709-6, section on
    /// signal format): luma changes by a sum of the two chroma values, chroma is scaled and mixed.
    pub(super) fn bt709_to_bt601(limited: bool) -> Self {
        let (kr, kb) = weights(ColorMatrix::Bt709);
        let (to_kr, to_kb) = weights(ColorMatrix::Bt601);
        let (kg, to_kg) = (1.0 - kr - kb, 1.0 - to_kr - to_kb);
        let (red, blue) = (2.0 * (1.0 - kr), 2.0 * (1.0 - kb));
        let y = [to_kb * blue - to_kg * kb * blue / kg, to_kr * red - to_kg * kr * red / kg];
        let (to_red, to_blue) = (2.0 * (1.0 - to_kr), 2.0 * (1.0 - to_kb));
        let u = [(blue - y[0]) / to_blue, -y[1] / to_blue];
        let v = [-y[0] / to_red, (red - y[1]) / to_red];
        let scale = if limited { 255.0 / 224.0 } else { 1.0 };
        // Eight more bits than the result has, so that rounding the factors does not matter.
        let fixed = |k: [f64; 2]| k.map(|f| (f * scale * f64::from(1 << (BITS + 8))).round() as i32);
        Self { y: fixed(y), u: fixed(u), v: fixed(v), limited }
    }

    /// New chroma of one row, and what luma beneath it changes by, with fractional bits: `change` has two values
    /// for each chroma sample.
    pub(super) fn chroma_row(
        &self,
        u: &[u8],
        v: &[u8],
        to_u: &mut [u8],
        to_v: &mut [u8],
        change: &mut [i16],
    ) {
        #[cfg(target_arch = "x86_64")]
        let done = avx2::chroma_row(self, [u, v], [&mut *to_u, &mut *to_v], change);
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        let (to_u, to_v) = (&mut to_u[done..], &mut to_v[done..]);
        self.portable_chroma(&u[done..], &v[done..], to_u, to_v, &mut change[2 * done..]);
    }

    fn portable_chroma(&self, u: &[u8], v: &[u8], to_u: &mut [u8], to_v: &mut [u8], change: &mut [i16]) {
        let mix = |k: [i32; 2], u: i32, v: i32| (k[0] * u + k[1] * v) >> 8;
        let clamp = |c: i32| ((c + HALF) >> BITS).clamp(-128, 127) + 128;
        let samples = u.iter().zip(v).zip(to_u.iter_mut().zip(to_v).zip(change.chunks_exact_mut(2)));
        for ((u, v), ((to_u, to_v), change)) in samples {
            let (u, v) = (i32::from(*u) - 128, i32::from(*v) - 128);
            *to_u = clamp(mix(self.u, u, v)) as u8;
            *to_v = clamp(mix(self.v, u, v)) as u8;
            change.fill(mix(self.y, u, v) as i16);
        }
    }

    /// New luma of one row.
    pub(super) fn luma_row(&self, from: &[u8], to: &mut [u8], change: &[i16]) {
        #[cfg(target_arch = "x86_64")]
        let done = avx2::luma_row(self.limited, from, to, change);
        #[cfg(not(target_arch = "x86_64"))]
        let done = 0;
        self.portable_luma(&from[done..], &mut to[done..], &change[done..]);
    }

    fn portable_luma(&self, from: &[u8], to: &mut [u8], change: &[i16]) {
        let rows = from.iter().zip(to).zip(change);
        let finish = |y: i16, change: i16| ((y + change + HALF as i16) >> BITS).clamp(0, 255) as u8;
        if self.limited {
            rows.for_each(|((from, to), change)| *to = finish(luma64(*from) as i16, *change));
        } else {
            rows.for_each(|((from, to), change)| *to = finish(i16::from(*from) << BITS, *change));
        }
    }
}

/// Luma weights of red and blue.
fn weights(matrix: ColorMatrix) -> (f64, f64) {
    match matrix {
        ColorMatrix::Bt601 => (0.299, 0.114),
        ColorMatrix::Bt709 => (0.2126, 0.0722),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ooblex_core::ColorRange::{Full, Limited};
    use ooblex_core::convert::{chroma_table, luma_table};

    #[test]
    fn expansion_is_the_rounded_formula_for_every_value() {
        let all: Vec<u8> = (0..=255).collect();
        let mut out = vec![0; 256];
        expand_luma(&all, &mut out);
        assert_eq!(out, luma_table(Limited, Full));
        expand_chroma(&all, &mut out);
        assert_eq!(out, chroma_table(Limited, Full));
    }

    /// The exact change of matrix by way of R'G'B'.
    fn exact(y: f64, u: f64, v: f64) -> [f64; 3] {
        let ((kr, kb), (to_kr, to_kb)) = (weights(ColorMatrix::Bt709), weights(ColorMatrix::Bt601));
        let (r, b) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
        let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
        let y = to_kr * r + (1.0 - to_kr - to_kb) * g + to_kb * b;
        [y, (b - y) / (2.0 * (1.0 - to_kb)), (r - y) / (2.0 * (1.0 - to_kr))]
    }

    #[test]
    fn the_change_of_matrix_is_within_one_of_the_exact_formula() {
        for limited in [false, true] {
            let matrix = Matrix::bt709_to_bt601(limited);
            for y in (0..=255u8).step_by(15) {
                for u in (0..=255u8).step_by(5) {
                    for v in (0..=255u8).step_by(5) {
                        let (mut to_u, mut to_v, mut to_y, mut change) = ([0], [0], [0, 0], [0, 0]);
                        matrix.chroma_row(&[u], &[v], &mut to_u, &mut to_v, &mut change);
                        matrix.luma_row(&[y, y], &mut to_y, &change);
                        let luma = if limited {
                            (f64::from(y.max(16)) - 16.0) / 219.0
                        } else {
                            f64::from(y) / 255.0
                        };
                        let scale = if limited { 224.0 } else { 255.0 };
                        let of = |c: u8| (f64::from(c) - 128.0) / scale;
                        let [ey, eu, ev] = exact(luma, of(u), of(v));
                        let want =
                            [ey * 255.0, eu * 255.0 + 128.0, ev * 255.0 + 128.0].map(|x| x.clamp(0.0, 255.0));
                        for (got, want) in [to_y[0], to_u[0], to_v[0]].into_iter().zip(want) {
                            assert!(
                                (f64::from(got) - want).abs() <= 1.0,
                                "{limited} {y} {u} {v}: {got} {want}"
                            );
                        }
                    }
                }
            }
        }
    }
}
