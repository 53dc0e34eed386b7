//! H.264 sequence parameter sets (ITU-T H.264 section 7.3.2.1.1 and annex E.1.1): what the decoder does not tell.

use ooblex_core::{ColorMatrix, ColorRange, ColorSpace};

use super::assumed_color;
use super::bits::Bits;

/// Why a sequence parameter set cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("sequence parameter set is cut or damaged")]
pub struct SpsError;

/// What an H.264 stream says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SequenceParameters {
    /// `profile_idc`: 66 baseline, 77 main, 100 high, ...
    pub profile: u8,
    /// `level_idc`: ten times the level.
    pub level: u8,
    /// Chroma sampling: 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u32,
    /// Bits a luma sample.
    pub bit_depth: u32,
    /// Width of `frame_num` in slice headers, in bits, 4..=16.
    pub frame_number_bits: u32,
    /// Visible width in pixels.
    pub width: u32,
    /// Visible height in pixels.
    pub height: u32,
    /// Width that is coded, whole macroblocks.
    pub coded_width: u32,
    /// Height that is coded, whole macroblocks.
    pub coded_height: u32,
    /// `max_num_ref_frames`: pictures that later ones may refer to.
    pub references: u32,
    /// Whether pictures may be coded as two fields.
    pub interlaced: bool,
    /// Whether the order of decoding may differ from the order of showing.
    pub may_reorder: bool,
    /// `max_num_reorder_frames`, if present: pictures that may precede another one in the order of decoding and follow
    /// it in the order of showing.
    pub max_reorder: Option<u32>,
    /// `video_full_range_flag`, if present.
    pub range: Option<ColorRange>,
    /// `matrix_coefficients`, if present and known.
    pub matrix: Option<ColorMatrix>,
}

impl SequenceParameters {
    /// Reads a sequence parameter set NAL unit, its header byte included, without start code or length.
    ///
    /// # Errors
    /// [`SpsError`] if it is cut or makes no sense.
    pub fn parse(nal: &[u8]) -> Result<Self, SpsError> {
        let (&header, payload) = nal.split_first().ok_or(SpsError)?;
        if header & 0x1F != 7 {
            return Err(SpsError);
        }
        read(&mut Bits::new(&without_emulation(payload))).ok_or(SpsError)
    }

    /// Range and matrix: what the stream says, else those of `assumed`.
    pub fn color_or(&self, assumed: ColorSpace) -> ColorSpace {
        let range = self.range.unwrap_or(assumed.range);
        ColorSpace { range, matrix: self.matrix.unwrap_or(assumed.matrix) }
    }

    /// Range and matrix: what the stream says, else limited range with BT.709 from 720 rows on and BT.601 below,
    /// as browsers assume.
    pub fn color(&self) -> ColorSpace {
        let assumed = assumed_color(self.height, self.range);
        ColorSpace { matrix: self.matrix.unwrap_or(assumed.matrix), ..assumed }
    }
}

/// Removes the emulation prevention bytes (section 7.4.1).
pub(super) fn without_emulation(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len());
    let mut zeros = 0;
    for &byte in payload {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// Exponential Golomb codes.
impl Bits<'_> {
    fn skip_ue(&mut self, count: usize) -> Option<()> {
        (0..count).try_for_each(|_| self.ue().map(drop))
    }

    /// Signed Exp-Golomb.
    fn se(&mut self) -> Option<i32> {
        let k = i64::from(self.ue()?);
        i32::try_from(if k % 2 == 1 { (k + 1) / 2 } else { -(k / 2) }).ok()
    }
}

fn read(b: &mut Bits<'_>) -> Option<SequenceParameters> {
    let profile = b.bits(8)? as u8;
    let constraints = b.bits(8)?;
    let level = b.bits(8)? as u8;
    b.ue()?;
    let (mut chroma_format, mut bit_depth, mut separate_planes) = (1, 8, false);
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma_format = b.ue()?;
        if chroma_format == 3 {
            separate_planes = b.bit()?;
        }
        bit_depth = b.ue()?.checked_add(8)?;
        b.ue()?;
        b.bit()?;
        if b.bit()? {
            for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                if b.bit()? {
                    skip_scaling_list(b, if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    let frame_number_bits = b.ue()?.checked_add(4).filter(|&bits| bits <= 16)?;
    let order_type = b.ue()?;
    match order_type {
        0 => b.skip_ue(1)?,
        1 => {
            b.bit()?;
            b.se()?;
            b.se()?;
            for _ in 0..b.ue().filter(|&n| n <= 255)? {
                b.se()?;
            }
        }
        2 => {}
        _ => return None,
    }
    let references = b.ue()?;
    b.bit()?;
    let map_width = b.ue()?.checked_add(1)?;
    let map_height = b.ue()?.checked_add(1)?;
    let frames_only = b.bit()?;
    if !frames_only {
        b.bit()?;
    }
    b.bit()?;
    let crop = if b.bit()? { [b.ue()?, b.ue()?, b.ue()?, b.ue()?] } else { [0; 4] };
    let fields = if frames_only { 1 } else { 2 };
    let (unit_x, unit_y) = match chroma_format {
        1 => (2, 2 * fields),
        2 => (2, fields),
        _ => (1, fields),
    };
    let unit_x = if separate_planes { 1 } else { unit_x };
    let coded_width = map_width.checked_mul(16)?;
    let coded_height = map_height.checked_mul(16)?.checked_mul(fields)?;
    let visible = |coded: u32, unit: u32, from: u32, to: u32| {
        let cut = from.checked_add(to)?.checked_mul(unit)?;
        coded.checked_sub(cut).filter(|&side| side > 0)
    };
    let width = visible(coded_width, unit_x, crop[0], crop[1])?;
    let height = visible(coded_height, unit_y, crop[2], crop[3])?;
    // Baseline has no B slices, and type 2 forbids reordering; so does an intra-only constraint.
    let intra_only = constraints & 0x10 != 0 && matches!(profile, 100 | 110 | 122 | 244);
    let may_reorder = profile != 66 && order_type != 2 && references > 0 && !intra_only;
    let mut sps = SequenceParameters {
        profile,
        level,
        chroma_format,
        bit_depth,
        frame_number_bits,
        width,
        height,
        coded_width,
        coded_height,
        references,
        interlaced: !frames_only,
        may_reorder,
        max_reorder: None,
        range: None,
        matrix: None,
    };
    if b.bit()? {
        // Extra information that is cut is no reason to refuse the stream.
        let _ = read_usability(b, &mut sps);
    }
    Some(sps)
}

fn skip_scaling_list(b: &mut Bits<'_>, size: usize) -> Option<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = (last + b.se()?).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// The head of the video usability information, as far as colour, and its tail about reordering.
fn read_usability(b: &mut Bits<'_>, sps: &mut SequenceParameters) -> Option<()> {
    const EXTENDED_SAR: u32 = 255;
    if b.bit()? && b.bits(8)? == EXTENDED_SAR {
        b.bits(32)?;
    }
    if b.bit()? {
        b.bit()?;
    }
    if b.bit()? {
        b.bits(3)?;
        sps.range = Some(if b.bit()? { ColorRange::Full } else { ColorRange::Limited });
        if b.bit()? {
            b.bits(16)?;
            sps.matrix = match b.bits(8)? {
                1 => Some(ColorMatrix::Bt709),
                // FCC and SMPTE 240M are closest to BT.601; 5 and 6 are BT.601 itself.
                4..=7 => Some(ColorMatrix::Bt601),
                _ => None,
            };
        }
    }
    if b.bit()? {
        b.skip_ue(2)?;
    }
    if b.bit()? {
        b.bits(32)?;
        b.bits(32)?;
        b.bit()?;
    }
    let (nal_hrd, vcl_hrd) = (skip_hrd(b)?, skip_hrd(b)?);
    if nal_hrd || vcl_hrd {
        b.bit()?;
    }
    b.bit()?;
    if b.bit()? {
        b.bit()?;
        b.skip_ue(4)?;
        let reorder = b.ue()?;
        sps.may_reorder &= reorder > 0;
        sps.max_reorder = Some(reorder);
    }
    Some(())
}

fn skip_hrd(b: &mut Bits<'_>) -> Option<bool> {
    if !b.bit()? {
        return Some(false);
    }
    let count = b.ue().filter(|&n| n < 32)? + 1;
    b.bits(8)?;
    for _ in 0..count {
        b.skip_ue(2)?;
        b.bit()?;
    }
    b.bits(20)?;
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes bits as an encoder would.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn bits(&mut self, value: u32, count: u32) -> &mut Self {
            self.0.extend((0..count).rev().map(|n| value >> n & 1 == 1));
            self
        }
        fn ue(&mut self, value: u32) -> &mut Self {
            let length = 32 - (value + 1).leading_zeros();
            self.bits(0, length - 1).bits(value + 1, length)
        }
        fn nal(&self) -> Vec<u8> {
            let mut out = vec![0x67];
            for chunk in self.0.chunks(8) {
                out.push(chunk.iter().enumerate().fold(0, |v, (n, &bit)| v | u8::from(bit) << (7 - n)));
            }
            out.push(0x80);
            out
        }
    }

    /// Baseline, 1920x1088 cropped to 1080 rows, colour description as given.
    fn full_hd(range_and_matrix: Option<(bool, u32)>) -> Vec<u8> {
        let mut w = Writer::default();
        w.bits(66, 8).bits(0, 8).bits(40, 8).ue(0).ue(0).ue(0).ue(0).ue(1).bits(0, 1);
        w.ue(119).ue(67).bits(1, 1).bits(1, 1);
        w.bits(1, 1).ue(0).ue(0).ue(0).ue(4);
        match range_and_matrix {
            None => w.bits(0, 1),
            Some((full, matrix)) => {
                w.bits(1, 1).bits(0, 2).bits(1, 1).bits(5, 3).bits(u32::from(full), 1);
                w.bits(1, 1).bits(1, 8).bits(1, 8).bits(matrix, 8).bits(0, 16)
            }
        };
        w.nal()
    }

    #[test]
    fn size_is_cropped_and_colour_assumed() {
        let sps = SequenceParameters::parse(&full_hd(None)).expect("parses");
        assert_eq!((sps.width, sps.height, sps.bit_depth), (1920, 1080, 8));
        assert_eq!((sps.coded_width, sps.coded_height, sps.references), (1920, 1088, 1));
        assert_eq!(sps.frame_number_bits, 4);
        assert!(!sps.may_reorder && !sps.interlaced);
        assert_eq!(sps.color(), ColorSpace::BT709);
        assert_eq!(sps.color_or(ColorSpace::JPEG), ColorSpace::JPEG);
    }

    #[test]
    fn colour_is_read() {
        let sps = SequenceParameters::parse(&full_hd(Some((true, 6)))).expect("parses");
        assert_eq!(sps.color(), ColorSpace::JPEG);
        let sps = SequenceParameters::parse(&full_hd(Some((false, 1)))).expect("parses");
        assert_eq!(sps.color(), ColorSpace::BT709);
    }

    #[test]
    fn how_far_pictures_are_moved_is_read() {
        for (profile, moved) in [(66, 0), (77, 0), (77, 2)] {
            let mut w = Writer::default();
            w.bits(profile, 8).bits(0, 8).bits(40, 8).ue(0).ue(0).ue(0).ue(0).ue(4).bits(0, 1);
            w.ue(9).ue(9).bits(0b1101, 4);
            // No aspect ratio, overscan, video signal, chroma position, timing, HRD, picture structure.
            w.bits(0, 8).bits(1, 1).bits(1, 1).ue(0).ue(0).ue(9).ue(9).ue(moved).ue(4);
            let sps = SequenceParameters::parse(&w.nal()).expect("parses");
            assert_eq!((sps.max_reorder, sps.may_reorder), (Some(moved), moved > 0), "{profile}");
        }
    }

    #[test]
    fn small_video_without_colour_is_bt601() {
        assert_eq!(assumed_color(719, None), ColorSpace::BT601);
        assert_eq!(assumed_color(720, None), ColorSpace::BT709);
        assert_eq!(assumed_color(480, Some(ColorRange::Full)), ColorSpace::JPEG);
    }

    #[test]
    fn every_cut_is_an_error_and_none_panics() {
        let good = full_hd(Some((true, 1)));
        for cut in 0..10 {
            assert_eq!(SequenceParameters::parse(&good[..cut]), Err(SpsError), "cut at {cut}");
        }
        for cut in 10..good.len() {
            let _ = SequenceParameters::parse(&good[..cut]);
        }
        assert_eq!(SequenceParameters::parse(&[0x68, 1, 2, 3]), Err(SpsError));
    }
}
