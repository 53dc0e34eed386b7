//! What the numbers of a YUV picture mean to an effect.

use ooblex_core::{ColorMatrix, ColorRange, ColorSpace};

/// Black, white and the factors between YUV and RGB for one colour space, in the picture's own 8-bit steps:
/// R, G and B run from 0 to [`white`](Self::white) here, so that no sample needs to be rescaled first.
///
/// Source: ITU-R BT.601-7 and BT.709-6, luma weights Kr and Kb; limited range has 219 luma and 224 chroma steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Levels {
    /// Luma of black: 0 or 16.
    pub(crate) black: u8,
    /// Steps from black to white: 255 or 219.
    pub(crate) white: u8,
    /// Luma weights of red, green, blue.
    pub(crate) weights: [f32; 3],
    /// R = Y + `rv` V; V centred on 0.
    pub(crate) rv: f32,
    /// G = Y - `gu` U - `gv` V.
    pub(crate) gu: f32,
    /// See [`gu`](Self::gu).
    pub(crate) gv: f32,
    /// B = Y + `bu` U.
    pub(crate) bu: f32,
}

impl Levels {
    pub(crate) fn of(color: ColorSpace) -> Self {
        let (kr, kb) = match color.matrix {
            ColorMatrix::Bt601 => (0.299f32, 0.114),
            ColorMatrix::Bt709 => (0.2126, 0.0722),
        };
        let (black, white, chroma) = match color.range {
            ColorRange::Full => (0, 255, 255.0),
            ColorRange::Limited => (16, 219, 224.0),
        };
        let kg = 1.0 - kr - kb;
        let step = f32::from(white) / chroma;
        let (rv, bu) = (2.0 * (1.0 - kr) * step, 2.0 * (1.0 - kb) * step);
        Self { black, white, weights: [kr, kg, kb], rv, gu: bu * kb / kg, gv: rv * kr / kg, bu }
    }

    /// Y, U and V, black and 128 included, of a colour that is given as R, G, B from 0 to 255.
    pub(crate) fn yuv(&self, rgb: [u8; 3]) -> [f32; 3] {
        let [r, g, b] = rgb.map(|v| self.scale(v.into()));
        let y = self.weights[0] * r + self.weights[1] * g + self.weights[2] * b;
        [f32::from(self.black) + y, 128.0 + (b - y) / self.bu, 128.0 + (r - y) / self.rv]
    }

    /// `v` (0 to 255 on a full scale) in this picture's steps, black excluded.
    pub(crate) fn scale(&self, v: f32) -> f32 {
        v * f32::from(self.white) / 255.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_has_no_chroma_and_the_weights_add_up() {
        for color in [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709] {
            let l = Levels::of(color);
            assert!((l.weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            // Luma of (Y + rv V, Y - gu U - gv V, Y + bu U) is Y for any U and V.
            assert!((l.weights[0] * l.rv - l.weights[1] * l.gv).abs() < 1e-5);
            assert!((l.weights[2] * l.bu - l.weights[1] * l.gu).abs() < 1e-5);
        }
    }

    #[test]
    fn known_colours() {
        // ITU-R BT.601-7: 100 % colour bars.
        let near = |color, rgb, yuv: [f32; 3]| {
            let got = Levels::of(color).yuv(rgb);
            assert!(got.iter().zip(yuv).all(|(a, b)| (a - b).abs() < 0.6), "{rgb:?}: {got:?} {yuv:?}");
        };
        near(ColorSpace::BT601, [255; 3], [235.0, 128.0, 128.0]);
        near(ColorSpace::BT601, [0; 3], [16.0, 128.0, 128.0]);
        near(ColorSpace::BT601, [255, 0, 0], [81.0, 90.0, 240.0]);
        near(ColorSpace::BT601, [0, 255, 0], [145.0, 54.0, 34.0]);
        near(ColorSpace::BT709, [0, 0, 255], [32.0, 240.0, 118.0]);
        near(ColorSpace::JPEG, [255, 255, 0], [226.0, 0.5, 149.0]);
    }

    #[test]
    fn known_coefficients() {
        let l = Levels::of(ColorSpace::JPEG);
        assert!((l.rv - 1.402).abs() < 1e-4 && (l.bu - 1.772).abs() < 1e-4);
        assert!((l.gu - 0.344_136).abs() < 1e-4 && (l.gv - 0.714_136).abs() < 1e-4);
        // Pure limited-range red, BT.601: Y 81, U 90, V 240.
        let l = Levels::of(ColorSpace::BT601);
        let (u, v) = (-65.0 / l.bu, (219.0 - 65.0) / l.rv);
        assert!((u + 38.0).abs() < 1.0 && (v - 112.0).abs() < 1.0, "{u} {v}");
    }
}
