//! What the frame headers of VP8 (RFC 6386 section 9.1) and VP9 ("VP9 Bitstream & Decoding Process Specification"
//! sections 6.2, 7.2 and annex B) say before anything is decoded.

use crate::decode::bits::Bits;
use crate::decode::{VideoError, check_size};

/// The three bytes that follow the frame tag of a VP8 key frame.
const VP8_START: [u8; 3] = [0x9D, 0x01, 0x2A];
/// `frame_sync_code` of VP9.
const VP9_SYNC: u32 = 0x49_83_42;
/// `color_space` of VP9 for RGB, which needs 4:4:4.
const VP9_RGB: u32 = 7;
/// Frames in a VP9 superframe at most.
const MAX_FRAMES: usize = 8;

fn cut() -> VideoError {
    VideoError::Corrupt("the frame header is cut or damaged".into())
}

/// Whether a VP8 frame is a key frame; its size and version are checked if so.
pub(super) fn check_vp8(frame: &[u8]) -> Result<bool, VideoError> {
    let (tag, rest) = frame.split_first_chunk::<3>().ok_or_else(cut)?;
    let version = tag[0] >> 1 & 7;
    if version > 3 {
        return Err(VideoError::Unsupported(format!("VP8 of version {version} (only 0 to 3 are)")));
    }
    if tag[0] & 1 == 1 {
        return Ok(false);
    }
    let head = rest.first_chunk::<7>().filter(|head| head[..3] == VP8_START).ok_or_else(cut)?;
    // The two highest bits ask the viewer to scale.
    let side = |at: usize| u32::from(u16::from_le_bytes([head[at], head[at + 1]]) & 0x3FFF);
    check_size(side(3), side(5))?;
    Ok(true)
}

/// The frames of a VP9 access unit: those that its superframe index lists, or all of it as one frame.
pub(super) struct Frames<'a> {
    pub(super) frames: [&'a [u8]; MAX_FRAMES],
    pub(super) count: usize,
    /// Whether the access unit ends with an index.
    pub(super) indexed: bool,
}

/// Splits an access unit at its superframe index (annex B).
pub(super) fn split_vp9(unit: &[u8]) -> Result<Frames<'_>, VideoError> {
    let mut frames: [&[u8]; MAX_FRAMES] = [&[]; MAX_FRAMES];
    let &marker = unit.last().ok_or_else(cut)?;
    if marker & 0xE0 != 0xC0 {
        frames[0] = unit;
        return Ok(Frames { frames, count: 1, indexed: false });
    }
    let count = usize::from(marker & 7) + 1;
    let width = usize::from(marker >> 3 & 3) + 1;
    let index = unit.len().checked_sub(2 + count * width).ok_or_else(cut)?;
    if unit[index] != marker {
        return Err(cut());
    }
    let mut rest = &unit[..index];
    for (frame, size) in frames.iter_mut().zip(unit[index + 1..unit.len() - 1].chunks_exact(width)) {
        let size = size.iter().rev().fold(0, |size, &byte| size << 8 | usize::from(byte));
        (*frame, rest) = rest.split_at_checked(size).filter(|_| size > 0).ok_or_else(cut)?;
    }
    Ok(Frames { frames, count, indexed: true })
}

/// Whether a VP9 frame is a key frame; profile and size are checked wherever the header gives them.
pub(super) fn check_vp9(frame: &[u8]) -> Result<bool, VideoError> {
    read_vp9(&mut Bits::new(frame)).unwrap_or_else(|| Err(cut()))
}

fn read_vp9(b: &mut Bits<'_>) -> Option<Result<bool, VideoError>> {
    if b.bits(2)? != 2 {
        return None;
    }
    let profile = b.bits(1)? | b.bits(1)? << 1;
    if profile != 0 {
        let name = format!("VP9 profile {profile} (only profile 0, 8 bits and 4:2:0, is)");
        return Some(Err(VideoError::Unsupported(name)));
    }
    if b.bit()? {
        // A frame that was decoded before is shown.
        return Some(Ok(false));
    }
    let inter = b.bit()?;
    let (shown, resilient) = (b.bit()?, b.bit()?);
    if !inter {
        sync(b)?;
        if b.bits(3)? == VP9_RGB {
            return Some(Err(VideoError::Unsupported("VP9 with RGB (only 4:2:0 is)".into())));
        }
        b.bit()?;
        return Some(size(b)?.map(|()| true));
    }
    let intra_only = !shown && b.bit()?;
    if !resilient {
        b.bits(2)?;
    }
    if intra_only {
        sync(b)?;
        b.bits(8)?;
        return Some(size(b)?.map(|()| false));
    }
    b.bits(8)?;
    for _ in 0..3 {
        b.bits(4)?;
    }
    for _ in 0..3 {
        if b.bit()? {
            // The size of a reference, which was checked.
            return Some(Ok(false));
        }
    }
    Some(size(b)?.map(|()| false))
}

fn sync(b: &mut Bits<'_>) -> Option<()> {
    (b.bits(24)? == VP9_SYNC).then_some(())
}

fn size(b: &mut Bits<'_>) -> Option<Result<(), VideoError>> {
    Some(check_size(b.bits(16)? + 1, b.bits(16)? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vp8_key(width: u16, height: u16) -> Vec<u8> {
        let [w, h] = [width, height].map(u16::to_le_bytes);
        [&[0x10, 0, 0], &VP8_START[..], &w, &h].concat()
    }

    /// A header from (value, bits).
    fn bits(parts: &[(u32, u32)]) -> Vec<u8> {
        let flat: Vec<bool> =
            parts.iter().flat_map(|&(v, n)| (0..n).rev().map(move |i| v >> i & 1 == 1)).collect();
        flat.chunks(8)
            .map(|c| c.iter().enumerate().fold(0, |v, (i, &b)| v | u8::from(b) << (7 - i)))
            .collect()
    }

    fn vp9_key(profile: u32, space: u32, width: u32, height: u32) -> Vec<u8> {
        let profile = (profile & 1) << 1 | profile >> 1;
        bits(&[
            (2, 2),
            (profile, 2),
            (0, 1),
            (0, 1),
            (1, 1),
            (0, 1),
            (VP9_SYNC, 24),
            (space, 3),
            (0, 1),
            (width - 1, 16),
            (height - 1, 16),
        ])
    }

    /// An inter frame that gives its size: no reference's size is taken.
    fn vp9_sized(width: u32, height: u32) -> Vec<u8> {
        bits(&[
            (2, 2),
            (0, 2),
            (0, 1),
            (1, 1),
            (1, 1),
            (1, 1),
            (0, 8),
            (0, 12),
            (0, 3),
            (width - 1, 16),
            (height - 1, 16),
        ])
    }

    fn unsupported(result: Result<bool, VideoError>) -> String {
        match result {
            Err(VideoError::Unsupported(what)) => what,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn vp8_sizes_are_checked_and_scaling_bits_ignored() {
        assert!(check_vp8(&vp8_key(1280 | 0x4000, 720 | 0xC000)).expect("fits"));
        assert!(unsupported(check_vp8(&vp8_key(16_383, 16_383))).contains("16383x16383"));
        assert!(unsupported(check_vp8(&vp8_key(0, 16))).contains("0x16"));
        assert!(!check_vp8(&[0x31, 0, 0]).expect("an inter frame has no size"));
        assert!(unsupported(check_vp8(&[0x39, 0, 0])).contains("version 4"));
    }

    #[test]
    fn vp9_sizes_and_profiles_are_checked_in_every_kind_of_frame() {
        assert!(check_vp9(&vp9_key(0, 2, 1280, 720)).expect("fits"));
        assert!(unsupported(check_vp9(&vp9_key(0, 2, 65_536, 300))).contains("65536x300"));
        assert!(unsupported(check_vp9(&vp9_key(1, 2, 64, 64))).contains("profile 1"));
        assert!(unsupported(check_vp9(&vp9_key(2, 2, 64, 64))).contains("profile 2"));
        assert!(unsupported(check_vp9(&vp9_key(0, VP9_RGB, 64, 64))).contains("RGB"));
        assert!(!check_vp9(&vp9_sized(640, 360)).expect("fits"));
        assert!(unsupported(check_vp9(&vp9_sized(65_536, 65_536))).contains("65536x65536"));
        let intra = |side: u32| {
            bits(&[
                (2, 2),
                (0, 2),
                (0, 1),
                (1, 1),
                (0, 1),
                (0, 1),
                (1, 1),
                (0, 2),
                (VP9_SYNC, 24),
                (1, 8),
                (side - 1, 16),
                (side - 1, 16),
            ])
        };
        assert!(!check_vp9(&intra(64)).expect("fits"));
        assert!(unsupported(check_vp9(&intra(40_000))).contains("40000x40000"));
        assert!(!check_vp9(&[0x88]).expect("shows an earlier frame"));
    }

    #[test]
    fn every_cut_header_is_an_error() {
        for good in [vp8_key(64, 64), vp9_key(0, 2, 64, 64), vp9_sized(64, 64)] {
            let check = if good.starts_with(&[0x10]) { check_vp8 } else { check_vp9 };
            check(&good).expect("sound");
            for length in 0..good.len() - 1 {
                assert!(matches!(check(&good[..length]), Err(VideoError::Corrupt(_))), "{length} bytes");
            }
        }
    }

    #[test]
    fn a_superframe_is_split_at_its_index() {
        let unit = [&[1, 1, 1][..], &[2, 2], &[0xC9, 3, 0, 2, 0, 0xC9]].concat();
        let frames = split_vp9(&unit).expect("sound");
        assert!(frames.indexed);
        assert_eq!(&frames.frames[..frames.count], &[&[1, 1, 1][..], &[2, 2]]);
        let single = split_vp9(&[5, 5]).expect("no index");
        assert_eq!((single.count, single.indexed), (1, false));
        for bad in [
            &[][..],
            &[0xC9],
            &[1, 1, 1, 2, 2, 0xC8, 3, 0, 2, 0, 0xC9],
            &[1, 0xC9, 3, 0, 2, 0, 0xC9],
            &[1, 0xC0, 0, 0xC0],
        ] {
            assert!(split_vp9(bad).is_err(), "{bad:?}");
        }
    }
}
