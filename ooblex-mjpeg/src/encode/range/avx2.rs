//! The loops of this folder's parent with AVX2: 32 samples at a time, the same numbers.
//!
//! Every function works on as many samples as fill whole registers, says how many, and leaves the rest to the portable
//! loops; it says none if the processor has no AVX2. Widening and narrowing both keep to the halves of a register, so
//! samples come out where they went in.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{BITS, CHROMA, CHROMA_BIAS, HALF, LUMA, Matrix};

/// Samples in a register.
const STEP: usize = 32;

/// Limited to full luma.
pub(super) fn expand_luma(from: &[u8], to: &mut [u8]) -> usize {
    // SAFETY: the processor has AVX2.
    if available() { unsafe { luma(from, to) } } else { 0 }
}

/// Limited to full chroma.
pub(super) fn expand_chroma(from: &[u8], to: &mut [u8]) -> usize {
    // SAFETY: the processor has AVX2.
    if available() { unsafe { chroma(from, to) } } else { 0 }
}

/// See [`Matrix::chroma_row`].
pub(super) fn chroma_row(matrix: &Matrix, from: [&[u8]; 2], to: [&mut [u8]; 2], change: &mut [i16]) -> usize {
    // SAFETY: the processor has AVX2.
    if available() { unsafe { mix(matrix, from, to, change) } } else { 0 }
}

/// See [`Matrix::luma_row`].
pub(super) fn luma_row(limited: bool, from: &[u8], to: &mut [u8], change: &[i16]) -> usize {
    // SAFETY: the processor has AVX2.
    if available() { unsafe { shift(limited, from, to, change) } } else { 0 }
}

fn available() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

#[target_feature(enable = "avx2")]
fn load(from: &[u8]) -> __m256i {
    let from = &from[..STEP];
    // SAFETY: 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store(v: __m256i, to: &mut [u8]) {
    let to = &mut to[..STEP];
    // SAFETY: 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
}

/// 16 numbers.
#[target_feature(enable = "avx2")]
fn load16(from: &[i16]) -> __m256i {
    let from = &from[..STEP / 2];
    // SAFETY: 32 readable bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store16(v: __m256i, to: &mut [i16]) {
    let to = &mut to[..STEP / 2];
    // SAFETY: 32 writable bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
}

/// Both halves of 32 samples, each in the upper byte of 16 bits.
#[target_feature(enable = "avx2")]
fn raised(v: __m256i) -> [__m256i; 2] {
    let zero = _mm256_setzero_si256();
    [_mm256_unpacklo_epi8(zero, v), _mm256_unpackhi_epi8(zero, v)]
}

#[target_feature(enable = "avx2")]
fn luma(from: &[u8], to: &mut [u8]) -> usize {
    let (black, factor) = (_mm256_set1_epi8(16), _mm256_set1_epi16(LUMA as i16));
    let half = _mm256_set1_epi16(HALF as i16);
    for (from, to) in from.chunks_exact(STEP).zip(to.chunks_exact_mut(STEP)) {
        let [low, high] = raised(_mm256_subs_epu8(load(from), black)).map(|v| {
            let scaled = _mm256_mulhi_epu16(v, factor);
            _mm256_srli_epi16::<{ BITS as i32 }>(_mm256_add_epi16(scaled, half))
        });
        store(_mm256_packus_epi16(low, high), to);
    }
    whole(from.len().min(to.len()))
}

#[target_feature(enable = "avx2")]
fn chroma(from: &[u8], to: &mut [u8]) -> usize {
    let factor = _mm256_set1_epi16(CHROMA as i16);
    let (half, bias) = (_mm256_set1_epi16(HALF as i16), _mm256_set1_epi16(CHROMA_BIAS as i16));
    for (from, to) in from.chunks_exact(STEP).zip(to.chunks_exact_mut(STEP)) {
        let [low, high] = raised(load(from)).map(|v| {
            let scaled = _mm256_add_epi16(_mm256_mulhi_epu16(v, factor), half);
            _mm256_srli_epi16::<{ BITS as i32 }>(_mm256_subs_epu16(scaled, bias))
        });
        store(_mm256_packus_epi16(low, high), to);
    }
    whole(from.len().min(to.len()))
}

#[target_feature(enable = "avx2")]
fn mix(matrix: &Matrix, [u, v]: [&[u8]; 2], [to_u, to_v]: [&mut [u8]; 2], change: &mut [i16]) -> usize {
    let pair = |[a, b]: [i32; 2]| _mm256_set1_epi32((a & 0xFFFF) | b << 16);
    let [factors_y, factors_u, factors_v] = [matrix.y, matrix.u, matrix.v].map(pair);
    let (half, middle) = (_mm256_set1_epi16(HALF as i16), _mm256_set1_epi8(-128));
    let zero = _mm256_setzero_si256();
    // Factors times both samples, summed in 32 bits; the result fits into 16.
    let mixed = |low: __m256i, high: __m256i, factors: __m256i| {
        let [low, high] = [low, high].map(|v| _mm256_srai_epi32::<8>(_mm256_madd_epi16(v, factors)));
        _mm256_packs_epi32(low, high)
    };
    let rounded = |v: __m256i| _mm256_srai_epi16::<{ BITS as i32 }>(_mm256_add_epi16(v, half));
    let count = whole(u.len().min(v.len()).min(to_u.len()).min(to_v.len()).min(change.len() / 2));
    for at in (0..count).step_by(STEP) {
        // Around zero, and widened with their sign: the sample in the upper byte, shifted down.
        let (u, v) = (_mm256_xor_si256(load(&u[at..]), middle), _mm256_xor_si256(load(&v[at..]), middle));
        let wide = |v: __m256i| {
            [_mm256_unpacklo_epi8(zero, v), _mm256_unpackhi_epi8(zero, v)].map(|v| _mm256_srai_epi16::<8>(v))
        };
        let ([u_low, u_high], [v_low, v_high]) = (wide(u), wide(v));
        let halves = [(u_low, v_low), (u_high, v_high)].map(|(u, v)| {
            let (low, high) = (_mm256_unpacklo_epi16(u, v), _mm256_unpackhi_epi16(u, v));
            [factors_y, factors_u, factors_v].map(|factors| mixed(low, high, factors))
        });
        let [[y_low, new_u_low, new_v_low], [y_high, new_u_high, new_v_high]] = halves;
        let narrow = |low, high| _mm256_xor_si256(_mm256_packs_epi16(rounded(low), rounded(high)), middle);
        store(narrow(new_u_low, new_u_high), &mut to_u[at..]);
        store(narrow(new_v_low, new_v_high), &mut to_v[at..]);
        // `y_low` holds the changes of samples 0 to 7 and 16 to 23, `y_high` the others. Each is needed twice.
        let doubled = |v| [_mm256_unpacklo_epi16(v, v), _mm256_unpackhi_epi16(v, v)];
        let ([a, b], [c, d]) = (doubled(y_low), doubled(y_high));
        let ordered = [
            _mm256_permute2x128_si256::<0x20>(a, b),
            _mm256_permute2x128_si256::<0x20>(c, d),
            _mm256_permute2x128_si256::<0x31>(a, b),
            _mm256_permute2x128_si256::<0x31>(c, d),
        ];
        for (n, v) in ordered.into_iter().enumerate() {
            store16(v, &mut change[2 * at + n * STEP / 2..]);
        }
    }
    count
}

#[target_feature(enable = "avx2")]
fn shift(limited: bool, from: &[u8], to: &mut [u8], change: &[i16]) -> usize {
    let (black, factor) = (_mm256_set1_epi8(16), _mm256_set1_epi16(LUMA as i16));
    let half = _mm256_set1_epi16(HALF as i16);
    let count = whole(from.len().min(to.len()).min(change.len()));
    for at in (0..count).step_by(STEP) {
        let luma = load(&from[at..]);
        let [low, high] = if limited {
            raised(_mm256_subs_epu8(luma, black)).map(|v| _mm256_mulhi_epu16(v, factor))
        } else {
            raised(luma).map(|v| _mm256_srli_epi16::<{ 8 - BITS as i32 }>(v))
        };
        // The halves of `luma` hold samples 0 to 7 and 16 to 23, and the others.
        let (a, b) = (load16(&change[at..]), load16(&change[at + STEP / 2..]));
        let changes = [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)];
        let finish = |v, change| {
            let sum = _mm256_add_epi16(_mm256_add_epi16(v, change), half);
            _mm256_srai_epi16::<{ BITS as i32 }>(sum)
        };
        let (low, high) = (finish(low, changes[0]), finish(high, changes[1]));
        store(_mm256_packus_epi16(low, high), &mut to[at..]);
    }
    count
}

fn whole(samples: usize) -> usize {
    samples - samples % STEP
}

#[cfg(test)]
mod tests {
    use super::*;
    use ooblex_core::testing::Random;

    fn random(len: usize, seed: u64) -> Vec<u8> {
        let mut random = Random::new(seed);
        (0..len).map(|_| random.next_u64() as u8).collect()
    }

    /// Lengths around whole registers.
    const LENGTHS: [usize; 8] = [0, 1, 31, 32, 33, 63, 64, 1280];

    #[test]
    fn expansion_gives_the_portable_numbers() {
        for length in LENGTHS {
            // Every value, at every place of a register.
            for seed in 0..20 {
                let mut from = random(length, seed);
                from.iter_mut()
                    .zip(0..)
                    .for_each(|(v, n): (&mut u8, u64)| *v = v.wrapping_add((n * 37 + seed) as u8));
                let (mut fast, mut slow) = (vec![7; length], vec![7; length]);
                let done = expand_luma(&from, &mut fast);
                super::super::portable_luma(&from[..done], &mut slow[..done]);
                assert_eq!(fast, slow);
                let done = expand_chroma(&from, &mut fast);
                super::super::portable_chroma(&from[..done], &mut slow[..done]);
                assert_eq!(fast, slow);
                assert_eq!(done, if available() { length / STEP * STEP } else { 0 });
            }
        }
    }

    #[test]
    fn the_change_of_matrix_gives_the_portable_numbers() {
        for limited in [false, true] {
            let matrix = Matrix::bt709_to_bt601(limited);
            for length in LENGTHS {
                for seed in 0..100 {
                    let (u, v, y) =
                        (random(length, seed), random(length, seed + 1000), random(2 * length, seed + 2000));
                    let empty = || {
                        (vec![7u8; length], vec![7u8; length], vec![7i16; 2 * length], vec![7u8; 2 * length])
                    };
                    let (mut fast, mut slow) = (empty(), empty());
                    let done = chroma_row(&matrix, [&u, &v], [&mut fast.0, &mut fast.1], &mut fast.2);
                    let (to_u, to_v, change) =
                        (&mut slow.0[..done], &mut slow.1[..done], &mut slow.2[..2 * done]);
                    matrix.portable_chroma(&u[..done], &v[..done], to_u, to_v, change);
                    assert_eq!(fast, slow);
                    let done = luma_row(limited, &y, &mut fast.3, &fast.2);
                    matrix.portable_luma(&y[..done], &mut slow.3[..done], &slow.2[..done]);
                    assert_eq!(fast, slow);
                }
            }
        }
    }
}
