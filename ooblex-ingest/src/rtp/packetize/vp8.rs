//! VP8 (RFC 7741 section 4.2).

use bytes::{BufMut as _, Bytes, BytesMut};

/// Picture numbers have 15 bits.
pub(super) const PICTURE_IDS: u16 = 0x7FFF;
/// X, then I, then M and 15 bits of picture number.
const DESCRIPTOR: usize = 4;
/// Extended control bits are present.
const X: u8 = 0x80;
/// Start of a partition.
const S: u8 = 0x10;
/// A picture number is present.
const I: u8 = 0x80;
/// It has 15 bits.
const M: u16 = 0x8000;

/// Cuts a frame into pieces of nearly equal size, each behind a payload descriptor.
pub(super) fn split(frame: &Bytes, picture_id: u16, max_payload: usize) -> Vec<Bytes> {
    if frame.is_empty() {
        return Vec::new();
    }
    let pieces = frame.len().div_ceil(max_payload - DESCRIPTOR);
    let piece = frame.len().div_ceil(pieces);
    let with_descriptor = |(n, piece): (usize, &[u8])| {
        let mut payload = BytesMut::with_capacity(DESCRIPTOR + piece.len());
        payload.put_u8(X | if n == 0 { S } else { 0 });
        payload.put_u8(I);
        payload.put_u16(M | picture_id);
        payload.put_slice(piece);
        payload.freeze()
    };
    frame.chunks(piece).enumerate().map(with_descriptor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_cut_evenly_and_only_its_first_piece_starts_a_partition() {
        let frame = Bytes::from((0..250u32).map(|n| n as u8).collect::<Vec<_>>());
        let payloads = split(&frame, 0x1234, 104);
        assert_eq!(payloads.iter().map(|p| p.len() - DESCRIPTOR).collect::<Vec<_>>(), [84, 84, 82]);
        assert_eq!(payloads[0][..5], [0x90, 0x80, 0x92, 0x34, 0]);
        assert_eq!(payloads[1][..5], [0x80, 0x80, 0x92, 0x34, 84]);
        let whole = split(&frame.slice(..100), PICTURE_IDS, 104);
        assert_eq!((whole.len(), &whole[0][..4]), (1, &[0x90, 0x80, 0xFF, 0xFF][..]));
    }
}
