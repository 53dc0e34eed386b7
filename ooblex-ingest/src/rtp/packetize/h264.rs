//! H.264 in packetization mode 1 (RFC 6184): single NAL units, STAP-A for small ones, FU-A for large ones.

use bytes::{BufMut as _, Bytes, BytesMut};

/// Access unit delimiters and filler say nothing that a viewer needs.
const LEFT_OUT: [u8; 2] = [9, 12];
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// Start and end of a fragmented unit.
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
/// `nal_ref_idc` and `nal_unit_type` of a NAL unit's first byte.
const REF_IDC: u8 = 0x60;
const TYPE: u8 = 0x1F;
/// Length in front of each unit of a STAP-A.
const LENGTH: usize = 2;

/// The payloads of an access unit. Neighbours that fit into one packet share it.
pub(super) fn split(unit: &Bytes, max_payload: usize) -> Vec<Bytes> {
    let mut payloads = Vec::new();
    let mut small: Vec<Bytes> = Vec::new();
    let mut size = 1;
    for nal in nal_units(unit).filter(|nal| !LEFT_OUT.contains(&(nal[0] & TYPE))) {
        if size + LENGTH + nal.len() > max_payload {
            flush(&mut small, &mut payloads);
            size = 1;
        }
        if nal.len() > max_payload {
            fragment(&nal, max_payload, &mut payloads);
        } else {
            size += LENGTH + nal.len();
            small.push(nal);
        }
    }
    flush(&mut small, &mut payloads);
    payloads
}

/// One unit as it is, several as STAP-A (section 5.7.1).
fn flush(small: &mut Vec<Bytes>, payloads: &mut Vec<Bytes>) {
    if small.len() < 2 {
        payloads.append(small);
        return;
    }
    let importance = small.iter().map(|nal| nal[0] & REF_IDC).max().unwrap_or_default();
    let mut payload = BytesMut::with_capacity(1 + small.iter().map(|nal| LENGTH + nal.len()).sum::<usize>());
    payload.put_u8(importance | STAP_A);
    for nal in small.drain(..) {
        // Invariant: all of them together fit into a payload.
        payload.put_u16(nal.len() as u16);
        payload.put(nal);
    }
    payloads.push(payload.freeze());
}

/// A unit that does not fit, as FU-A (section 5.8): pieces of nearly equal size.
fn fragment(nal: &Bytes, max_payload: usize, payloads: &mut Vec<Bytes>) {
    let (first, rest) = (nal[0], &nal[1..]);
    let pieces = rest.len().div_ceil(max_payload - 2);
    let piece = rest.len().div_ceil(pieces);
    let last = rest.len().div_ceil(piece) - 1;
    for (n, piece) in rest.chunks(piece).enumerate() {
        let start = if n == 0 { FU_START } else { 0 };
        let end = if n == last { FU_END } else { 0 };
        let mut payload = BytesMut::with_capacity(2 + piece.len());
        payload.put_u8((first & REF_IDC) | FU_A);
        payload.put_u8(start | end | (first & TYPE));
        payload.put_slice(piece);
        payloads.push(payload.freeze());
    }
}

/// The NAL units of an access unit in Annex B form, without start codes; none of them is empty.
fn nal_units(unit: &Bytes) -> impl Iterator<Item = Bytes> {
    let starts = memchr::memmem::find_iter(unit, &[0, 0, 1]).map(|at| at + 3);
    let starts: Vec<usize> = starts.collect();
    let ends: Vec<usize> = starts.iter().skip(1).map(|next| next - 3).chain([unit.len()]).collect();
    starts.into_iter().zip(ends).filter_map(move |(start, end)| {
        // Zeros before a start code belong to it.
        let length = unit[start..end].iter().rposition(|byte| *byte != 0)? + 1;
        Some(unit.slice(start..start + length))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(nals: &[&[u8]]) -> Bytes {
        nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect()
    }

    #[test]
    fn small_units_share_a_packet_and_large_ones_are_cut() {
        let large = [&[0x65][..], &[7; 25]].concat();
        let payloads = split(&unit(&[&[9, 0xF0], &[0x27, 1, 2], &[0x48, 3], &large]), 12);
        assert_eq!(payloads[0][..], [0x58, 0, 3, 0x27, 1, 2, 0, 2, 0x48, 3], "the higher importance counts");
        let heads: Vec<_> = payloads[1..].iter().map(|p| (p[0], p[1], p.len())).collect();
        assert_eq!(heads, [(0x7C, 0x85, 11), (0x7C, 0x05, 11), (0x7C, 0x45, 9)]);
        let rest: Vec<u8> = payloads[1..].iter().flat_map(|p| p[2..].to_vec()).collect();
        assert_eq!(rest, large[1..]);
    }

    #[test]
    fn a_unit_alone_travels_as_it_is_and_order_is_kept() {
        assert_eq!(split(&unit(&[&[0x41, 5, 6]]), 12), [&[0x41, 5, 6][..]]);
        let payloads = split(&unit(&[&[0x41, 1, 1, 1, 1, 1], &[0x41, 2, 2, 2, 2, 2], &[0x41; 12]]), 12);
        assert_eq!(payloads.iter().map(|p| p[1]).collect::<Vec<_>>(), [1, 2, 0x41]);
        for empty in [&[][..], &[0, 0, 1], &[0, 0, 0, 1, 0, 0, 0, 1, 0], &[1, 2, 3]] {
            assert!(split(&Bytes::copy_from_slice(empty), 12).is_empty(), "{empty:?}");
        }
    }
}
