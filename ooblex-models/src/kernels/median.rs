//! Median of 5x5 neighbourhoods, exact, by minima and maxima of whole registers.

use super::padded::Padded;
use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Scratch rows: the five samples above one another, sorted, for every column.
#[derive(Debug, Default)]
pub(crate) struct Median {
    sorted: [Vec<u16>; 5],
}

impl Median {
    /// Writes the median of the 25 samples around each one to `to`, which gets `margin`; its border is left to the
    /// caller. `from` has a margin of 2.
    pub(crate) fn run(
        &mut self,
        simd: Simd,
        from: &Padded,
        (width, height): (usize, usize),
        to: &mut Padded,
        margin: usize,
    ) {
        to.resize(width, height, margin);
        let columns = width.next_multiple_of(LANES) + LANES;
        self.sorted.iter_mut().for_each(|row| row.resize(columns, 0));
        simd.run(Filter { sorted: &mut self.sorted, from, height, to });
    }
}

struct Filter<'a> {
    sorted: &'a mut [Vec<u16>; 5],
    from: &'a Padded,
    height: usize,
    to: &'a mut Padded,
}

impl Kernel for Filter<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { sorted: [s0, s1, s2, s3, s4], from, height, to } = self;
        for y in 0..height {
            let row = |dy: isize| from.row(y as isize + dy);
            let (r0, r1, r2, r3, r4) = (row(-2), row(-1), row(0), row(1), row(2));
            let end = r0.len();
            for x in (0..s0.len()).step_by(LANES) {
                // The last lanes overlap the ones before: the padded row may end within them.
                let x = x.min(end - LANES);
                let column = [&r0[x..], &r1[x..], &r2[x..], &r3[x..], &r4[x..]];
                let [a, b, c, d, e] = column;
                let v = sort_5([L::widen(a), L::widen(b), L::widen(c), L::widen(d), L::widen(e)]);
                v[0].store(&mut s0[x..]);
                v[1].store(&mut s1[x..]);
                v[2].store(&mut s2[x..]);
                v[3].store(&mut s3[x..]);
                v[4].store(&mut s4[x..]);
            }
            let out = to.inner_mut(y);
            for x in (0..out.len()).step_by(LANES) {
                // Rows and columns of the 5x5 matrix are now sorted; twelve of its 25 cannot be the median, because
                // more than twelve others are known to be larger (or smaller). Six of them lie on either side.
                let [_, _, _, a3, a4] = across::<L>(s0, x);
                let [_, _, b2, b3, b4] = across::<L>(s1, x);
                let [_, c1, c2, c3, _] = across::<L>(s2, x);
                let [d0, d1, d2, _, _] = across::<L>(s3, x);
                let [e0, e1, _, _, _] = across::<L>(s4, x);
                median_13([a3, a4, b2, b3, b4, c1, c2, c3, d0, d1, d2, e0, e1]).narrow(&mut out[x..]);
            }
        }
    }
}

/// The sorted five neighbours in one sorted row.
#[inline(always)]
fn across<L: Lanes>(row: &[u16], x: usize) -> [L; 5] {
    sort_5([
        L::load(&row[x..]),
        L::load(&row[x + 1..]),
        L::load(&row[x + 2..]),
        L::load(&row[x + 3..]),
        L::load(&row[x + 4..]),
    ])
}

#[inline(always)]
fn order<L: Lanes>(a: &mut L, b: &mut L) {
    (*a, *b) = (a.min(*b), a.max(*b));
}

/// Sorts five by nine exchanges, the fewest possible.
#[inline(always)]
fn sort_5<L: Lanes>([mut a, mut b, mut c, mut d, mut e]: [L; 5]) -> [L; 5] {
    order(&mut a, &mut d);
    order(&mut b, &mut e);
    order(&mut a, &mut c);
    order(&mut b, &mut d);
    order(&mut a, &mut b);
    order(&mut c, &mut e);
    order(&mut b, &mut c);
    order(&mut d, &mut e);
    order(&mut c, &mut d);
    [a, b, c, d, e]
}

/// The seventh of thirteen. Of any eight, the least and the greatest cannot be it: they are forgotten and the next
/// one taken in, until three are left.
#[inline(always)]
fn median_13<L: Lanes>([a, b, c, d, e, f, g, h, i, j, k, l, m]: [L; 13]) -> L {
    let [a, b, c, d, e, f] = inner_8([a, b, c, d, e, f, g, h]);
    let [a, b, c, d, e] = inner_7([a, b, c, d, e, f, i]);
    let [a, b, c, d] = inner_6([a, b, c, d, e, j]);
    let [a, b, c] = inner_5([a, b, c, d, k]);
    let [a, b] = inner_4([a, b, c, l]);
    // The middle one of three.
    a.min(b).max(a.max(b).min(m))
}

/// All but the least and the greatest, in any order; so are the next ones.
#[inline(always)]
fn inner_8<L: Lanes>([mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h]: [L; 8]) -> [L; 6] {
    order(&mut a, &mut b);
    order(&mut c, &mut d);
    order(&mut e, &mut f);
    order(&mut g, &mut h);
    order(&mut a, &mut c);
    order(&mut e, &mut g);
    order(&mut a, &mut e);
    order(&mut b, &mut d);
    order(&mut f, &mut h);
    order(&mut d, &mut h);
    [b, c, d, e, f, g]
}

#[inline(always)]
fn inner_7<L: Lanes>([mut a, mut b, mut c, mut d, mut e, mut f, mut g]: [L; 7]) -> [L; 5] {
    order(&mut a, &mut b);
    order(&mut c, &mut d);
    order(&mut e, &mut f);
    order(&mut a, &mut c);
    order(&mut e, &mut g);
    order(&mut a, &mut e);
    order(&mut b, &mut d);
    order(&mut f, &mut g);
    order(&mut d, &mut g);
    [b, c, d, e, f]
}

#[inline(always)]
fn inner_6<L: Lanes>([mut a, mut b, mut c, mut d, mut e, mut f]: [L; 6]) -> [L; 4] {
    order(&mut a, &mut b);
    order(&mut c, &mut d);
    order(&mut e, &mut f);
    order(&mut a, &mut c);
    order(&mut a, &mut e);
    order(&mut b, &mut d);
    order(&mut d, &mut f);
    [b, c, d, e]
}

#[inline(always)]
fn inner_5<L: Lanes>([mut a, mut b, mut c, mut d, mut e]: [L; 5]) -> [L; 3] {
    order(&mut a, &mut b);
    order(&mut c, &mut d);
    order(&mut a, &mut c);
    order(&mut b, &mut d);
    order(&mut a, &mut e);
    order(&mut e, &mut d);
    [b, c, e]
}

#[inline(always)]
fn inner_4<L: Lanes>([mut a, mut b, mut c, mut d]: [L; 4]) -> [L; 2] {
    order(&mut a, &mut b);
    order(&mut c, &mut d);
    order(&mut a, &mut c);
    order(&mut b, &mut d);
    [b, c]
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;

    use super::super::padded::Border;
    use super::*;

    #[test]
    fn equals_sorting_every_neighbourhood() {
        let mut random = Random::new(5);
        for (width, height, levels) in [(1, 1, 256), (5, 4, 256), (16, 9, 3), (17, 9, 256), (70, 31, 40)] {
            let pixels: Vec<u8> = (0..width * height).map(|_| random.below(levels) as u8).collect();
            let (mut from, mut to) = (Padded::default(), Padded::default());
            from.copy(pixels.chunks(width), (width, height), 2, Border::Repeat);
            for simd in [Simd::detect(), Simd::portable()] {
                Median::default().run(simd, &from, (width, height), &mut to, 4);
                for y in 0..height {
                    let out = &to.row(y as isize)[4..];
                    for (x, &got) in out.iter().enumerate().take(width) {
                        let mut all: Vec<u8> =
                            (0..25).map(|i| from.row(y as isize + i as isize / 5 - 2)[x + i % 5]).collect();
                        all.sort_unstable();
                        assert_eq!(got, all[12], "{width}x{height} at {x},{y}");
                    }
                }
            }
        }
    }
}
