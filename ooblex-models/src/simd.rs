//! Run-time choice of instruction set, and 16 lanes of 16 bits: the only module of this crate with `unsafe`.
//!
//! A [`Kernel`] is written once, over any [`Lanes`]. [`Simd::run`] holds it compiled twice, for the target's
//! baseline with lanes as an array and for AVX2 with lanes as a register, and picks by what the processor
//! reports. Both do the same integer or IEEE arithmetic, so their results are identical; tests hold every
//! operation and every effect to that.

#![allow(unsafe_code)]

/// How many 16-bit numbers are worked on at once.
pub(crate) const LANES: usize = 16;

/// How many sums [`Lanes::dots`] makes at once.
pub(crate) const DOTS: usize = 16;

/// How many products each of them is made of.
pub(crate) const TERMS: usize = 8;

/// A loop that is compiled for several instruction sets.
///
/// `run` and what it calls must be `#[inline(always)]`, so that they are compiled inside the function that
/// enables the instruction set.
pub(crate) trait Kernel {
    /// What the loop returns.
    type Out;
    /// The loop.
    fn run<L: Lanes>(self) -> Self::Out;
}

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Simd(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
}

impl Simd {
    /// The best set that this processor has.
    pub(crate) fn detect() -> Self {
        #[cfg(test)]
        if tests::portable_only() {
            return Self::portable();
        }
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            return Self(Level::Avx2);
        }
        Self::portable()
    }

    /// The target's baseline: SSE2 on x86-64, NEON on AArch64.
    pub(crate) fn portable() -> Self {
        Self(Level::Portable)
    }

    /// Runs `kernel` compiled for this set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Out {
        match self.0 {
            Level::Portable => kernel.run::<array::Lanes16>(),
            // SAFETY: `Level::Avx2` is made by `detect` alone, after the processor reported AVX2.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { run_avx2(kernel) },
        }
    }
}

impl Default for Simd {
    fn default() -> Self {
        Self::detect()
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Out {
    kernel.run::<avx2::Lanes16>()
}

/// Sixteen 16-bit numbers. Arithmetic wraps; names that start with `i` read the lanes as signed, the others as
/// unsigned or do not care.
pub(crate) trait Lanes: Copy {
    /// The same number in every lane.
    fn splat(v: u16) -> Self;
    /// The first 16 numbers of `from`.
    ///
    /// # Panics
    /// If there are fewer; so do the other loads and stores.
    fn load(from: &[u16]) -> Self;
    /// The first 16 bytes of `from`.
    fn widen(from: &[u8]) -> Self;
    /// To the first 16 numbers of `to`.
    fn store(self, to: &mut [u16]);
    /// To the first 16 bytes of `to`; lanes read as signed and clamped to 0..=255.
    fn narrow(self, to: &mut [u8]);
    /// `self + other`.
    fn plus(self, other: Self) -> Self;
    /// `self - other`.
    fn minus(self, other: Self) -> Self;
    /// `self - other`, at least 0.
    fn minus_to_zero(self, other: Self) -> Self;
    /// The low half of `self * other`.
    fn times(self, other: Self) -> Self;
    /// The high half of `self * other`.
    fn high(self, other: Self) -> Self;
    /// `(self * other + 2^14) / 2^15`, rounded down; signed.
    fn i_scale(self, other: Self) -> Self;
    /// The smaller one.
    fn min(self, other: Self) -> Self;
    /// The larger one.
    fn max(self, other: Self) -> Self;
    /// The smaller one, signed.
    fn i_min(self, other: Self) -> Self;
    /// The larger one, signed.
    fn i_max(self, other: Self) -> Self;
    /// `self * 2^N`.
    fn up<const N: i32>(self) -> Self;
    /// `self / 2^N`, rounded down.
    fn down<const N: i32>(self) -> Self;
    /// `self / 2^N`, rounded down; signed.
    fn i_down<const N: i32>(self) -> Self;

    /// Lanes of both in turn: 0 of `self`, 0 of `other`, 1 of `self` and so on to 7; then from 8 to 15.
    fn interleaved(self, other: Self) -> (Self, Self);
    /// Sums of neighbours: lanes 0 + 1, 2 + 3 and so on of `self`, then of `other`.
    fn pair_sums(self, other: Self) -> Self;

    /// `self * unit / by`, rounded to the nearest (halves to even), at most 255; `by` is not 0.
    fn ratio(self, by: Self, unit: f32) -> Self;

    /// Each lane twice: lanes 0, 0, 1, 1 to 7, 7, then 8, 8 to 15, 15.
    #[inline(always)]
    fn doubled(self) -> (Self, Self) {
        self.interleaved(self)
    }
    /// Sums of [`TERMS`] products: of the numbers from number `starts[i]` of `from` on with `weights[i]`; signed, in 32
    /// bits that wrap.
    ///
    /// # Panics
    /// If there are fewer numbers.
    fn dots(from: &[u16], starts: &[usize; DOTS], weights: &[[u16; TERMS]; DOTS]) -> [i32; DOTS];

    /// Signed clamp.
    #[inline(always)]
    fn i_clamp(self, low: Self, high: Self) -> Self {
        self.i_max(low).i_min(high)
    }

    /// `|self - other|`, unsigned.
    #[inline(always)]
    fn distance(self, other: Self) -> Self {
        self.max(other).minus(self.min(other))
    }

    /// A signed number in every lane.
    #[inline(always)]
    fn i_splat(v: i16) -> Self {
        Self::splat(v as u16)
    }
}

mod array {
    use super::{DOTS, LANES, TERMS};

    #[derive(Clone, Copy, Debug)]
    pub(super) struct Lanes16([u16; LANES]);

    impl Lanes16 {
        #[inline(always)]
        fn zip(self, other: Self, f: impl Fn(u16, u16) -> u16) -> Self {
            Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
        }

        #[inline(always)]
        fn i_zip(self, other: Self, f: impl Fn(i16, i16) -> i16) -> Self {
            self.zip(other, |a, b| f(a as i16, b as i16) as u16)
        }
    }

    impl super::Lanes for Lanes16 {
        #[inline(always)]
        fn splat(v: u16) -> Self {
            Self([v; LANES])
        }
        #[inline(always)]
        fn load(from: &[u16]) -> Self {
            let from = &from[..LANES];
            Self(std::array::from_fn(|i| from[i]))
        }
        #[inline(always)]
        fn widen(from: &[u8]) -> Self {
            let from = &from[..LANES];
            Self(std::array::from_fn(|i| u16::from(from[i])))
        }
        #[inline(always)]
        fn store(self, to: &mut [u16]) {
            to[..LANES].copy_from_slice(&self.0);
        }
        #[inline(always)]
        fn narrow(self, to: &mut [u8]) {
            for (to, v) in to[..LANES].iter_mut().zip(self.0) {
                *to = (v as i16).clamp(0, 255) as u8;
            }
        }
        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            self.zip(other, u16::wrapping_add)
        }
        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            self.zip(other, u16::wrapping_sub)
        }
        #[inline(always)]
        fn minus_to_zero(self, other: Self) -> Self {
            self.zip(other, u16::saturating_sub)
        }
        #[inline(always)]
        fn times(self, other: Self) -> Self {
            self.zip(other, u16::wrapping_mul)
        }
        #[inline(always)]
        fn high(self, other: Self) -> Self {
            self.zip(other, |a, b| ((u32::from(a) * u32::from(b)) >> 16) as u16)
        }
        #[inline(always)]
        fn i_scale(self, other: Self) -> Self {
            self.i_zip(other, |a, b| ((i32::from(a) * i32::from(b) + (1 << 14)) >> 15) as i16)
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            self.zip(other, Ord::min)
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            self.zip(other, Ord::max)
        }
        #[inline(always)]
        fn i_min(self, other: Self) -> Self {
            self.i_zip(other, Ord::min)
        }
        #[inline(always)]
        fn i_max(self, other: Self) -> Self {
            self.i_zip(other, Ord::max)
        }
        #[inline(always)]
        fn up<const N: i32>(self) -> Self {
            Self(self.0.map(|v| v << N))
        }
        #[inline(always)]
        fn down<const N: i32>(self) -> Self {
            Self(self.0.map(|v| v >> N))
        }
        #[inline(always)]
        fn i_down<const N: i32>(self) -> Self {
            Self(self.0.map(|v| ((v as i16) >> N) as u16))
        }
        #[inline(always)]
        fn interleaved(self, other: Self) -> (Self, Self) {
            let half = |start: usize| {
                Self(std::array::from_fn(|i| {
                    if i % 2 == 0 { self.0[start + i / 2] } else { other.0[start + i / 2] }
                }))
            };
            (half(0), half(LANES / 2))
        }
        #[inline(always)]
        fn pair_sums(self, other: Self) -> Self {
            Self(std::array::from_fn(|i| {
                let from = if i < LANES / 2 { &self.0 } else { &other.0 };
                let at = i % (LANES / 2) * 2;
                from[at].wrapping_add(from[at + 1])
            }))
        }
        #[inline(always)]
        fn ratio(self, by: Self, unit: f32) -> Self {
            self.zip(by, |a, b| (f32::from(a) * unit / f32::from(b)).min(255.0).round_ties_even() as u16)
        }
        #[inline(always)]
        fn dots(from: &[u16], starts: &[usize; DOTS], weights: &[[u16; TERMS]; DOTS]) -> [i32; DOTS] {
            std::array::from_fn(|i| {
                let terms = from[starts[i]..][..TERMS].iter().zip(&weights[i]);
                terms.map(|(&a, &b)| i32::from(a as i16) * i32::from(b as i16)).fold(0, i32::wrapping_add)
            })
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::{DOTS, LANES, TERMS};

    /// Lives only inside `run_avx2`: no other code can name this type, so AVX2 is there whenever one exists.
    #[derive(Clone, Copy, Debug)]
    pub(super) struct Lanes16(__m256i);

    /// `_mm256_mulhi_epu16`, spelled out: the compiler knows that intrinsic as a widening multiplication and a
    /// shift, and splits chains of them into 32-bit halves, at several times the cost.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn multiply_high(a: __m256i, b: __m256i) -> __m256i {
        let product;
        // SAFETY: one instruction on registers, available by the attribute above.
        unsafe {
            std::arch::asm!(
                "vpmulhuw {product}, {a}, {b}",
                product = lateout(ymm_reg) product,
                a = in(ymm_reg) a,
                b = in(ymm_reg) b,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        product
    }

    /// Sums number `i` to `i + 7` of [`dots`](super::Lanes::dots).
    #[inline]
    #[target_feature(enable = "avx2")]
    fn eight_dots(from: &[u16], starts: &[usize; DOTS], weights: &[[u16; TERMS]; DOTS], i: usize) -> __m256i {
        // Two sums a register, so that adding neighbours within 128-bit halves brings four and four into order.
        let a = products(from, [starts[i], starts[i + 4]], [&weights[i], &weights[i + 4]]);
        let b = products(from, [starts[i + 1], starts[i + 5]], [&weights[i + 1], &weights[i + 5]]);
        let c = products(from, [starts[i + 2], starts[i + 6]], [&weights[i + 2], &weights[i + 6]]);
        let d = products(from, [starts[i + 3], starts[i + 7]], [&weights[i + 3], &weights[i + 7]]);
        _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d))
    }

    /// Sums of pairs of products, four for each of two places.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn products(from: &[u16], [low, high]: [usize; 2], [c, d]: [&[u16; TERMS]; 2]) -> __m256i {
        // One comparison each, where slices need two.
        assert!(from.len() >= TERMS && low.max(high) <= from.len() - TERMS);
        // SAFETY: 16 bytes are readable from each place, and these loads need no alignment.
        let [a, b, c, d] = unsafe {
            [
                _mm_loadu_si128(from.as_ptr().add(low).cast()),
                _mm_loadu_si128(from.as_ptr().add(high).cast()),
                _mm_loadu_si128(c.as_ptr().cast()),
                _mm_loadu_si128(d.as_ptr().cast()),
            ]
        };
        _mm256_madd_epi16(_mm256_set_m128i(b, a), _mm256_set_m128i(d, c))
    }

    macro_rules! two {
        ($($name:ident = $intrinsic:ident;)*) => {$(
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                // SAFETY: the processor has AVX2, see the type.
                Self(unsafe { $intrinsic(self.0, other.0) })
            }
        )*};
    }

    macro_rules! shift {
        ($($name:ident = $intrinsic:ident;)*) => {$(
            #[inline(always)]
            fn $name<const N: i32>(self) -> Self {
                // SAFETY: the processor has AVX2, see the type.
                Self(unsafe { $intrinsic::<N>(self.0) })
            }
        )*};
    }

    impl super::Lanes for Lanes16 {
        #[inline(always)]
        fn splat(v: u16) -> Self {
            // SAFETY: the processor has AVX2, see the type.
            Self(unsafe { _mm256_set1_epi16(v as i16) })
        }
        #[inline(always)]
        fn load(from: &[u16]) -> Self {
            let from = &from[..LANES];
            // SAFETY: AVX2, see the type; 32 bytes are readable, and this load needs no alignment.
            Self(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
        }
        #[inline(always)]
        fn widen(from: &[u8]) -> Self {
            let from = &from[..LANES];
            // SAFETY: AVX2, see the type; 16 bytes are readable, and this load needs no alignment.
            Self(unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(from.as_ptr().cast())) })
        }
        #[inline(always)]
        fn store(self, to: &mut [u16]) {
            let to = &mut to[..LANES];
            // SAFETY: AVX2, see the type; 32 bytes are writable, and this store needs no alignment.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) };
        }
        #[inline(always)]
        fn narrow(self, to: &mut [u8]) {
            let to = &mut to[..LANES];
            // SAFETY: AVX2, see the type; 16 bytes are writable, and this store needs no alignment.
            unsafe {
                let packed =
                    _mm_packus_epi16(_mm256_castsi256_si128(self.0), _mm256_extracti128_si256::<1>(self.0));
                _mm_storeu_si128(to.as_mut_ptr().cast(), packed);
            }
        }
        #[inline(always)]
        fn interleaved(self, other: Self) -> (Self, Self) {
            // SAFETY: the processor has AVX2, see the type.
            unsafe {
                // Unpacking works within 128-bit halves: quarters 0 2 1 3 first, so that it ends in order.
                let a = _mm256_permute4x64_epi64::<0b11_01_10_00>(self.0);
                let b = _mm256_permute4x64_epi64::<0b11_01_10_00>(other.0);
                (Self(_mm256_unpacklo_epi16(a, b)), Self(_mm256_unpackhi_epi16(a, b)))
            }
        }
        #[inline(always)]
        fn pair_sums(self, other: Self) -> Self {
            // SAFETY: the processor has AVX2, see the type.
            unsafe {
                let sums = _mm256_hadd_epi16(self.0, other.0);
                Self(_mm256_permute4x64_epi64::<0b11_01_10_00>(sums))
            }
        }
        #[inline(always)]
        fn high(self, other: Self) -> Self {
            // SAFETY: the processor has AVX2, see the type.
            Self(unsafe { multiply_high(self.0, other.0) })
        }
        #[inline(always)]
        fn ratio(self, by: Self, unit: f32) -> Self {
            // SAFETY: the processor has AVX2, see the type.
            unsafe {
                let half = |a: __m128i, b: __m128i| {
                    let (a, b) = (_mm256_cvtepu16_epi32(a), _mm256_cvtepu16_epi32(b));
                    let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(a), _mm256_set1_ps(unit));
                    let quotient = _mm256_div_ps(scaled, _mm256_cvtepi32_ps(b));
                    _mm256_cvtps_epi32(_mm256_min_ps(quotient, _mm256_set1_ps(255.0)))
                };
                let low = half(_mm256_castsi256_si128(self.0), _mm256_castsi256_si128(by.0));
                let high = half(_mm256_extracti128_si256::<1>(self.0), _mm256_extracti128_si256::<1>(by.0));
                // Packing works within 128-bit halves: quarters 0 2 1 3 restore the order.
                Self(_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high)))
            }
        }
        #[inline(always)]
        fn dots(from: &[u16], starts: &[usize; DOTS], weights: &[[u16; TERMS]; DOTS]) -> [i32; DOTS] {
            let mut sums = [0; DOTS];
            for (half, to) in sums.as_chunks_mut::<8>().0.iter_mut().enumerate() {
                // SAFETY: AVX2, see the type; 32 bytes are writable, and this store needs no alignment.
                unsafe {
                    _mm256_storeu_si256(to.as_mut_ptr().cast(), eight_dots(from, starts, weights, 8 * half))
                };
            }
            sums
        }
        two! {
            plus = _mm256_add_epi16;
            minus = _mm256_sub_epi16;
            minus_to_zero = _mm256_subs_epu16;
            times = _mm256_mullo_epi16;
            i_scale = _mm256_mulhrs_epi16;
            min = _mm256_min_epu16;
            max = _mm256_max_epu16;
            i_min = _mm256_min_epi16;
            i_max = _mm256_max_epi16;
        }
        shift! {
            up = _mm256_slli_epi16;
            down = _mm256_srli_epi16;
            i_down = _mm256_srai_epi16;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static PORTABLE_ONLY: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn portable_only() -> bool {
        PORTABLE_ONLY.get()
    }

    /// Runs `build` while [`Simd::detect`] finds nothing but the baseline.
    pub(crate) fn without_simd<T>(build: impl FnOnce() -> T) -> T {
        PORTABLE_ONLY.set(true);
        let built = build();
        PORTABLE_ONLY.set(false);
        built
    }

    /// Every operation on one pair of inputs, results one after another.
    struct All<'a>(&'a [u16], &'a [u16]);

    impl Kernel for All<'_> {
        type Out = Vec<u16>;
        #[inline(always)]
        fn run<L: Lanes>(self) -> Vec<u16> {
            let (a, b) = (L::load(self.0), L::load(self.1));
            let bytes: Vec<u8> = self.0.iter().map(|v| *v as u8).collect();
            let mut narrowed = [0u8; LANES];
            a.narrow(&mut narrowed);
            let results = [
                a.plus(b),
                a.minus(b),
                a.minus_to_zero(b),
                a.times(b),
                a.high(b),
                a.i_scale(b),
                a.min(b),
                a.max(b),
                a.i_min(b),
                a.i_max(b),
                a.up::<3>(),
                a.down::<3>(),
                a.i_down::<3>(),
                a.distance(b),
                a.i_clamp(L::i_splat(-7), L::splat(300)),
                L::widen(&bytes),
                L::widen(&narrowed),
                a.doubled().0,
                a.doubled().1,
                a.pair_sums(b),
                a.ratio(b.max(L::splat(1)), 256.0),
                a.interleaved(b).0,
                a.interleaved(b).1,
            ];
            let mut out = vec![0; results.len() * LANES];
            for (lanes, to) in results.into_iter().zip(out.chunks_exact_mut(LANES)) {
                lanes.store(to);
            }
            let starts = std::array::from_fn(|i| i * 7 % (out.len() - TERMS));
            let weights = std::array::from_fn(|i| std::array::from_fn(|k| self.1[(i + 3 * k) % LANES]));
            let sums = L::dots(&out, &starts, &weights);
            out.extend(sums.into_iter().flat_map(|sum| [sum as u16, (sum >> 16) as u16]));
            out
        }
    }

    #[test]
    fn every_level_gives_the_same_result() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Extremes are as likely as anything else.
            match state >> 61 {
                0 => 0x8000,
                1 => 0x7fff,
                2 => 0xffff,
                3 => (state >> 55) as u16 & 0x3f,
                _ => (state >> 40) as u16,
            }
        };
        for _ in 0..2000 {
            let (a, b): (Vec<u16>, Vec<u16>) = (0..LANES).map(|_| (random(), random())).unzip();
            assert_eq!(Simd::detect().run(All(&a, &b)), Simd::portable().run(All(&a, &b)), "{a:?} {b:?}");
        }
    }

    #[test]
    fn lanes_are_doubled_and_paired_in_order() {
        let (a, b): (Vec<u16>, Vec<u16>) = (0..16).map(|i| (i, 100 + i)).unzip();
        let out = Simd::detect().run(All(&a, &b));
        let op = |i: usize| &out[i * LANES..(i + 1) * LANES];
        assert_eq!(op(17), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]);
        assert_eq!(op(18), [8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15]);
        assert_eq!(op(21), [0, 100, 1, 101, 2, 102, 3, 103, 4, 104, 5, 105, 6, 106, 7, 107]);
        assert_eq!(op(22), [8, 108, 9, 109, 10, 110, 11, 111, 12, 112, 13, 113, 14, 114, 15, 115]);
        assert_eq!(op(19), [1, 5, 9, 13, 17, 21, 25, 29, 201, 205, 209, 213, 217, 221, 225, 229]);
    }

    struct Dots<'a>(&'a [u16], [usize; DOTS], [[u16; TERMS]; DOTS]);

    impl Kernel for Dots<'_> {
        type Out = [i32; DOTS];
        #[inline(always)]
        fn run<L: Lanes>(self) -> Self::Out {
            L::dots(self.0, &self.1, &self.2)
        }
    }

    #[test]
    fn sums_of_products_come_in_order() {
        let numbers = [0i16, 1, -1, 2, 300, -32768, 32767, 7, 5].map(|v| v as u16);
        for simd in [Simd::detect(), Simd::portable()] {
            for only in 0..TERMS {
                let mut weights = [[0; TERMS]; DOTS];
                weights.iter_mut().enumerate().for_each(|(i, w)| w[only] = (i as i16 - 8) as u16);
                let starts = std::array::from_fn(|i| i % 2);
                let expected =
                    std::array::from_fn(|i| i32::from(numbers[i % 2 + only] as i16) * (i as i32 - 8));
                assert_eq!(simd.run(Dots(&numbers, starts, weights)), expected);
            }
        }
    }

    #[test]
    fn sums_beyond_the_end_are_refused() {
        for simd in [Simd::detect(), Simd::portable()] {
            for far in [2, usize::MAX] {
                for place in 0..DOTS {
                    let mut starts = [0; DOTS];
                    starts[place] = far;
                    let run = || simd.run(Dots(&[1; TERMS + 1], starts, [[1; TERMS]; DOTS]));
                    assert!(std::panic::catch_unwind(run).is_err(), "{place} {far}");
                }
            }
        }
    }

    #[test]
    fn operations_mean_what_they_say() {
        let at = |a: u16, b: u16, op: usize| Simd::detect().run(All(&[a; LANES], &[b; LANES]))[op * LANES];
        let signed = |v: i16| v as u16;
        assert_eq!(at(65535, 2, 0), 1);
        assert_eq!(at(3, 5, 2), 0);
        assert_eq!(at(40_000, 50_000, 4), 30_517);
        assert_eq!(at(signed(-1000), 16_384, 5), signed(-500));
        assert_eq!(at(signed(-1), 1, 8), signed(-1));
        assert_eq!(at(signed(-1), 1, 6), 1);
        assert_eq!(at(signed(-9), 0, 12), signed(-2));
        assert_eq!(at(10, 250, 13), 240);
        assert_eq!((at(500, 1000, 20), at(5, 2, 20), at(3, 512, 20), at(5, 512, 20)), (128, 255, 2, 2));
        assert_eq!((at(signed(-5), 0, 16), at(300, 0, 16), at(77, 0, 16)), (0, 255, 77));
    }
}
