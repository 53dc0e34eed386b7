//! What the transport says about colours: Chromium sends pages that it captures as full-range BT.709, which VP8 and VP9
//! streams of it do not say; an RTP header extension can.

use ooblex_core::{ColorMatrix, ColorRange, ColorSpace};

/// URI of the RTP header extension that says which colours pictures have.
pub const COLOR_EXTENSION: &str = "http://www.webrtc.org/experiments/rtp-hdrext/color-space";

/// Reads that extension: primaries, transfer function, matrix (numbered as in ITU-T H.273), and a byte that holds the range
/// in bits 4 and 5 (1 limited, 2 full) above the chroma siting. What may follow describes high dynamic range.
///
/// `None` if it is cut or says what is not known here. Source: `docs/native-code/rtp-hdrext/color-space` of the WebRTC
/// project.
pub fn color_extension(data: &[u8]) -> Option<ColorSpace> {
    let &[_, _, matrix, range_and_siting, ..] = data else { return None };
    let matrix = match matrix {
        // BT.709, and BT.2020, which is closer to it than to BT.601.
        1 | 9 => ColorMatrix::Bt709,
        4..=7 => ColorMatrix::Bt601,
        _ => return None,
    };
    let range = match range_and_siting >> 4 & 3 {
        1 => ColorRange::Limited,
        2 => ColorRange::Full,
        _ => return None,
    };
    Some(ColorSpace { range, matrix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_and_matrix_are_read() {
        let full = ColorSpace { range: ColorRange::Full, ..ColorSpace::BT709 };
        assert_eq!(color_extension(&[1, 13, 1, 0x20]), Some(full));
        assert_eq!(color_extension(&[1, 1, 1, 0x15]), Some(ColorSpace::BT709));
        assert_eq!(color_extension(&[6, 6, 6, 0x10]), Some(ColorSpace::BT601));
        assert_eq!(
            color_extension(&[[9, 16, 9, 0x10].as_slice(), &[0; 24]].concat()),
            Some(ColorSpace::BT709)
        );
    }

    #[test]
    fn what_is_cut_or_unknown_says_nothing() {
        for data in
            [&[][..], &[1, 1, 1], &[1, 1, 0, 0x10], &[1, 1, 2, 0x10], &[1, 1, 1, 0x00], &[1, 1, 1, 0x30]]
        {
            assert_eq!(color_extension(data), None, "{data:?}");
        }
    }
}
