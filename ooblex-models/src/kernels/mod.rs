//! Loops over planes that several effects share. Each works in place or row by row, keeps its scratch memory
//! between pictures, and is compiled for the processor at hand by [`Simd`](crate::simd::Simd).

pub(crate) mod bilateral;
pub(crate) mod blend;
pub(crate) mod canny;
pub(crate) mod gamut;
pub(crate) mod gaussian;
pub(crate) mod grid;
pub(crate) mod grow;
pub(crate) mod guided;
pub(crate) mod hide;
pub(crate) mod median;
pub(crate) mod nlm;
pub(crate) mod padded;
pub(crate) mod pairs;
pub(crate) mod resize;
pub(crate) mod stencil;
pub(crate) mod surround;
pub(crate) mod warp;

/// Index of row or column `i` in a picture of `len`, mirrored at the borders without repeating the border
/// itself: -1 is 1, `len` is `len - 2` (OpenCV's `BORDER_REFLECT_101`).
pub(crate) fn mirrored(i: isize, len: usize) -> usize {
    if len <= 1 {
        return 0;
    }
    let period = 2 * (len as isize - 1);
    let i = i.rem_euclid(period);
    if i < len as isize { i as usize } else { (period - i) as usize }
}

/// `(a * b) >> 16`, the high half of an unsigned 16-bit product: one instruction for 16 lanes.
#[inline(always)]
pub(crate) fn high(a: u16, b: u16) -> u16 {
    ((u32::from(a) * u32::from(b)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_mirrored_without_repetition() {
        let at = |i| mirrored(i, 4);
        assert_eq!([-3, -2, -1, 0, 3, 4, 5, 6, 7].map(at), [3, 2, 1, 0, 3, 2, 1, 0, 1]);
        assert_eq!([-9, 0, 9].map(|i| mirrored(i, 1)), [0, 0, 0]);
        assert_eq!([-2, -1, 2, 3].map(|i| mirrored(i, 2)), [0, 1, 0, 1]);
    }
}
