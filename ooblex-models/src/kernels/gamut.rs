//! From luma and chroma that may lie outside what RGB can show to the nearest that lies inside: every component
//! is clamped as if the arithmetic had been done in RGB, without ever storing an RGB picture.

use crate::color::Levels;
use crate::simd::Lanes;

/// Factors of one colour space in the fixed point of [`Lanes::i_scale`] and [`Lanes::high`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gamut {
    rv: i16,
    gu: i16,
    gv: i16,
    bu: i16,
    weights: [u16; 3],
    /// Chroma rows U and V; columns R, G, B.
    chroma: [[i16; 3]; 2],
    white: i16,
    black: u16,
}

impl Gamut {
    pub(crate) fn new(levels: &Levels) -> Self {
        // Chroma arrives four times too large.
        let quarter = |v: f32| (v / 4.0 * 32768.0).round() as i16;
        let weights = levels.weights;
        let row = |index: usize, divisor: f32| {
            let mut row = weights.map(|w| -w / divisor);
            row[index] = (1.0 - weights[index]) / divisor;
            row.map(|v| (v * 32768.0).round() as i16)
        };
        Self {
            rv: quarter(levels.rv),
            gu: quarter(levels.gu),
            gv: quarter(levels.gv),
            bu: quarter(levels.bu),
            weights: weights.map(|w| (w * 65536.0).round() as u16),
            chroma: [row(2, levels.bu), row(0, levels.rv)],
            white: i16::from(levels.white),
            black: u16::from(levels.black),
        }
    }

    /// Luma of black.
    #[inline(always)]
    pub(crate) fn black(&self) -> u16 {
        self.black
    }

    /// What to add to luma to get R, G and B, from 4 U and 4 V (signed, up to 6000 either way).
    #[inline(always)]
    pub(crate) fn offsets<L: Lanes>(&self, u4: L, v4: L) -> [L; 3] {
        let k = L::i_splat;
        let green = u4.i_scale(k(-self.gu)).plus(v4.i_scale(k(-self.gv)));
        [v4.i_scale(k(self.rv)), green, u4.i_scale(k(self.bu))]
    }

    /// R, G, B of `luma` (black excluded, signed), each clamped to 0..=white.
    #[inline(always)]
    pub(crate) fn rgb<L: Lanes>(&self, luma: L, offsets: [L; 3]) -> [L; 3] {
        // Written out, here and below: lanes that pass through closures are not always kept in registers.
        let (zero, white) = (L::splat(0), L::i_splat(self.white));
        let [r, g, b] = offsets;
        [
            luma.plus(r).i_clamp(zero, white),
            luma.plus(g).i_clamp(zero, white),
            luma.plus(b).i_clamp(zero, white),
        ]
    }

    /// Luma, black included, of R, G, B between 0 and 255.
    #[inline(always)]
    pub(crate) fn luma<L: Lanes>(&self, [r, g, b]: [L; 3]) -> L {
        let [wr, wg, wb] = self.weights;
        let (r, g, b) =
            (r.up::<8>().high(L::splat(wr)), g.up::<8>().high(L::splat(wg)), b.up::<8>().high(L::splat(wb)));
        // Half a step to round, and half of what three products lost.
        r.plus(g).plus(b).plus(L::splat(129)).down::<8>().plus(L::splat(self.black))
    }

    /// U and V, 128 included, of the sum of four R, G, B; may lie outside 0..=255 by rounding.
    #[inline(always)]
    pub(crate) fn chroma<L: Lanes>(&self, [r4, g4, b4]: [L; 3]) -> [L; 2] {
        let wide = [r4.up::<4>(), g4.up::<4>(), b4.up::<4>()];
        [weighted(wide, self.chroma[0]), weighted(wide, self.chroma[1])]
    }
}

/// One chroma component of 64 R, G, B, rounded and centred on 128.
#[inline(always)]
fn weighted<L: Lanes>([r, g, b]: [L; 3], [kr, kg, kb]: [i16; 3]) -> L {
    let sum = r.i_scale(L::i_splat(kr)).plus(g.i_scale(L::i_splat(kg))).plus(b.i_scale(L::i_splat(kb)));
    sum.plus(L::splat(32)).i_down::<6>().plus(L::splat(128))
}

#[cfg(test)]
mod tests {
    use ooblex_core::ColorSpace;

    use super::*;
    use crate::simd::{Kernel, LANES, Simd};

    struct One(Gamut, i16, i16, i16);

    impl Kernel for One {
        type Out = [i16; 3];
        #[inline(always)]
        fn run<L: Lanes>(self) -> [i16; 3] {
            let Self(gamut, y, u, v) = self;
            let offsets = gamut.offsets(L::i_splat(4 * u), L::i_splat(4 * v));
            let rgb = gamut.rgb(L::i_splat(y), offsets);
            let [u, v] = gamut.chroma(rgb.map(|c| c.up::<2>()));
            [gamut.luma(rgb), u, v].map(|lanes| {
                let mut out = [0; LANES];
                lanes.store(&mut out);
                out[3] as i16
            })
        }
    }

    /// The same in floating point.
    fn exact(levels: &Levels, y: i16, u: i16, v: i16) -> [f32; 3] {
        let (y, u, v) = (f32::from(y), f32::from(u), f32::from(v));
        let rgb = [y + levels.rv * v, y - levels.gu * u - levels.gv * v, y + levels.bu * u]
            .map(|c| c.clamp(0.0, f32::from(levels.white)));
        let luma: f32 = rgb.iter().zip(levels.weights).map(|(c, w)| c * w).sum();
        let (u, v) = ((rgb[2] - luma) / levels.bu, (rgb[0] - luma) / levels.rv);
        [luma + f32::from(levels.black), 128.0 + u, 128.0 + v]
    }

    #[test]
    fn within_one_step_of_the_exact_clamp() {
        for color in [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709] {
            let levels = Levels::of(color);
            let gamut = Gamut::new(&levels);
            for y in (-600..900).step_by(37) {
                for u in (-500..500).step_by(83) {
                    for v in (-500..500).step_by(71) {
                        let got = Simd::detect().run(One(gamut, y, u, v));
                        let wanted = exact(&levels, y, u, v);
                        for (got, wanted) in got.into_iter().zip(wanted) {
                            assert!(
                                (f32::from(got) - wanted).abs() <= 1.3,
                                "{color:?} {y} {u} {v}: {got} {wanted}"
                            );
                        }
                    }
                }
            }
        }
    }
}
