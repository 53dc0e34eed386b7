//! The one thing in EXIF that matters here: how the picture must be turned.

use ooblex_core::Rotation;

/// How a stored picture becomes upright: mirrored left to right if `mirror`, then turned clockwise by `rotation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Orientation {
    /// The turn.
    pub rotation: Rotation,
    /// Whether it is mirrored before it is turned.
    pub mirror: bool,
}

/// Tag `Orientation` (TIFF 6.0, also Exif 2.32 section 4.6.4).
const TAG_ORIENTATION: u16 = 0x0112;
const TYPE_SHORT: u16 = 3;
/// More entries than any camera writes; the rest of a longer directory is not read.
const MAX_ENTRIES: usize = 512;

impl Orientation {
    /// Nothing to do.
    pub const UPRIGHT: Self = Self { rotation: Rotation::None, mirror: false };

    /// From the value of the tag, 1 to 8; anything else counts as upright.
    pub const fn from_tag(value: u16) -> Self {
        let (rotation, mirror) = match value {
            2 => (Rotation::None, true),
            3 => (Rotation::Half, false),
            4 => (Rotation::Half, true),
            5 => (Rotation::Clockwise270, true),
            6 => (Rotation::Clockwise90, false),
            7 => (Rotation::Clockwise90, true),
            8 => (Rotation::Clockwise270, false),
            _ => (Rotation::None, false),
        };
        Self { rotation, mirror }
    }

    /// From a TIFF structure as EXIF embeds it (`II*\0` or `MM\0*` first). Upright if there is no such tag, or if
    /// the structure makes no sense: bad metadata is no reason to refuse a good picture.
    pub(super) fn from_tiff(tiff: &[u8]) -> Self {
        Self::from_tag(find_orientation(tiff).unwrap_or(1))
    }
}

fn find_orientation(tiff: &[u8]) -> Option<u16> {
    let big = match tiff.get(..4)? {
        b"II*\0" => false,
        b"MM\0*" => true,
        _ => return None,
    };
    let u16_at = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let directory = u32_at(4)? as usize;
    let count = usize::from(u16_at(directory)?).min(MAX_ENTRIES);
    for index in 0..count {
        let entry = directory.checked_add(2 + 12 * index)?;
        if u16_at(entry)? == TAG_ORIENTATION {
            let single_short = u16_at(entry + 2)? == TYPE_SHORT && u32_at(entry + 4)? == 1;
            return if single_short { u16_at(entry + 8) } else { None };
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiff(big: bool, value: u16) -> Vec<u8> {
        let mut out = if big { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
        let n16 = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let n32 = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        out.extend(n32(8));
        out.extend(n16(2));
        for (tag, value) in [(0x0100, 7), (TAG_ORIENTATION, value)] {
            out.extend(n16(tag));
            out.extend(n16(TYPE_SHORT));
            out.extend(n32(1));
            out.extend(n16(value));
            out.extend(n16(0));
        }
        out
    }

    #[test]
    fn both_byte_orders_are_read() {
        for big in [false, true] {
            for value in 1..=8 {
                assert_eq!(Orientation::from_tiff(&tiff(big, value)), Orientation::from_tag(value));
            }
        }
        assert_eq!(Orientation::from_tag(6), Orientation { rotation: Rotation::Clockwise90, mirror: false });
    }

    #[test]
    fn nonsense_is_upright() {
        let good = tiff(true, 6);
        for cut in 0..good.len() - 2 {
            assert_eq!(Orientation::from_tiff(&good[..cut]), Orientation::UPRIGHT, "cut at {cut}");
        }
        assert_eq!(Orientation::from_tiff(&tiff(false, 9)), Orientation::UPRIGHT);
        let mut far = good;
        far[4..8].fill(0xFF);
        assert_eq!(Orientation::from_tiff(&far), Orientation::UPRIGHT);
    }
}
