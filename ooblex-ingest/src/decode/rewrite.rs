//! Sequence parameter sets that make OpenH264 give out every picture at once.
//!
//! For every profile but two, OpenH264 (2.6) brings pictures into the order of showing itself: by the lower bits of their
//! order counts alone, one picture late even where nothing is out of order, and when it is told to flush after every
//! picture it never frees the ones that it flushed, until it has none left. The two are baseline (66) and scalable
//! baseline (83). Scalable baseline is otherwise decoded like high profile: CABAC, 8x8 transforms and B slices follow
//! other parameters. So streams of other profiles are passed off as scalable baseline. Pictures do not change by it.

use super::bits::Bits;
use super::sps::without_emulation;

const MAIN: u8 = 77;
const EXTENDED: u8 = 88;
const HIGH: u8 = 100;
const SCALABLE_BASELINE: u8 = 83;

/// What high profile and scalable baseline have behind the identifier and others imply: 4:2:0 (`010`), 8 bits (`1`) for
/// luma and chroma, no lossless mode, no scaling lists.
const IMPLIED: [bool; 7] = [false, true, false, true, true, false, false];

/// Appends a sequence parameter set NAL unit to `out` as one of scalable baseline; baseline stays as it is. `None` if
/// it is cut.
pub(super) fn append_immediate(nal: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match *nal.get(1)? {
        HIGH => {
            out.extend_from_slice(nal);
            let profile = out.len() - nal.len() + 1;
            out[profile] = SCALABLE_BASELINE;
        }
        MAIN | EXTENDED => {
            out.extend_from_slice(&[nal[0], SCALABLE_BASELINE]);
            let payload = without_emulation(&nal[2..]);
            let mut bits = Bits::new(&payload);
            // Constraints and level, then the identifier.
            bits.bits(16)?;
            bits.ue()?;
            let head = bits.position();
            let bit = |n: usize| payload[n / 8] >> (7 - n % 8) & 1 == 1;
            let all: Vec<bool> =
                (0..head).map(bit).chain(IMPLIED).chain((head..payload.len() * 8).map(bit)).collect();
            append_escaped(&all, out);
        }
        _ => out.extend_from_slice(nal),
    }
    Some(())
}

/// Appends bits as bytes, with emulation prevention (section 7.4.1). The last byte is padded with zeros, which may
/// follow a NAL unit; whole zero bytes at the end are left out.
fn append_escaped(bits: &[bool], out: &mut Vec<u8>) {
    let byte = |chunk: &[bool]| chunk.iter().enumerate().fold(0, |v, (n, &bit)| v | u8::from(bit) << (7 - n));
    let mut bytes: Vec<u8> = bits.chunks(8).map(byte).collect();
    bytes.truncate(bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1));
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::SequenceParameters;

    /// Main profile, level 3, 160x128, two reference pictures; its timing holds many zeros.
    fn main_profile() -> Vec<u8> {
        // profile, constraints, level; sps id 0 `1`, log2 frame num 0 `1`, order type 2 `011`, references 2 `011`,
        // no gaps `0`, width 10 `0001010`, height 8 `0001000`, frames only `1`, direct `1`, no crop `0`, usability `1`;
        // aspect, overscan, signal, chroma position `0000`, timing `1`, 32 bits of 1, 32 bits of 30, `1`, HRD `00`,
        // structure `0`, restriction `0`, stop `1`.
        let text = format!("1 1 011 011 0 0001010 0001000 1 1 0 1 0000 1 {:032b} {:032b} 1 00 0 0 1", 1, 30);
        let bits: Vec<bool> = text.bytes().filter(|b| *b != b' ').map(|b| b == b'1').collect();
        let mut nal = vec![0x67, MAIN, 0, 30];
        append_escaped(&bits, &mut nal);
        nal
    }

    #[test]
    fn everything_but_the_profile_stays() {
        for (nal, inserted) in [(main_profile(), true), (high_profile(), false)] {
            let mut out = vec![9];
            append_immediate(&nal, &mut out).expect("whole");
            assert_eq!(out[0], 9);
            let (before, after) = (SequenceParameters::parse(&nal), SequenceParameters::parse(&out[1..]));
            let (mut before, after) = (before.expect("parses"), after.expect("parses"));
            assert_eq!((before.coded_width, before.references), (160, 2));
            assert_eq!(after.profile, SCALABLE_BASELINE);
            assert_eq!(out.len() - 1 > nal.len(), inserted);
            before.profile = after.profile;
            assert_eq!(after, before);
        }
    }

    /// The same parameters in high profile.
    fn high_profile() -> Vec<u8> {
        let payload = without_emulation(&main_profile()[4..]);
        let bits = payload.iter().flat_map(|b| (0..8).rev().map(move |n| b >> n & 1 == 1));
        let all: Vec<bool> = [true].into_iter().chain(IMPLIED).chain(bits.skip(1)).collect();
        let mut nal = vec![0x67, HIGH, 0, 30];
        append_escaped(&all, &mut nal);
        nal
    }

    #[test]
    fn baseline_stays_and_what_is_cut_is_refused() {
        let baseline = [0x67, 66, 0, 30, 0xF8];
        let mut out = Vec::new();
        append_immediate(&baseline, &mut out).expect("whole");
        assert_eq!(out, baseline);
        assert_eq!(append_immediate(&[0x67], &mut out), None);
        assert_eq!(append_immediate(&[0x67, MAIN, 0], &mut out), None);
    }

    #[test]
    fn start_codes_are_never_made() {
        let mut out = Vec::new();
        append_escaped(&[[false; 22].as_slice(), &[true, true], &[false; 16], &[true; 8]].concat(), &mut out);
        assert_eq!(out, [0, 0, 3, 3, 0, 0, 0xFF]);
    }
}
