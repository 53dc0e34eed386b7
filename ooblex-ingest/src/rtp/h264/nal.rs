//! NAL units and how packets carry them.

use crate::rtp::bits::Bits;
use crate::rtp::format::Malformed;

/// Types of NAL units (ITU-T H.264 table 7-1) and of payloads (RFC 6184 table 1).
pub(super) mod kind {
    pub(in super::super) const SLICE: u8 = 1;
    pub(in super::super) const PARTITION_A: u8 = 2;
    pub(in super::super) const IDR: u8 = 5;
    pub(in super::super) const SEI: u8 = 6;
    pub(in super::super) const SPS: u8 = 7;
    pub(in super::super) const PPS: u8 = 8;
    pub(in super::super) const DELIMITER: u8 = 9;
    pub(in super::super) const FILLER: u8 = 12;
    pub(in super::super) const STAP_A: u8 = 24;
    pub(in super::super) const FU_A: u8 = 28;
}

/// `slice_type` modulo 5 of an I slice (ITU-T H.264 table 7-6).
pub(super) const I_SLICE: u32 = 2;
/// `payloadType` of the recovery point message (annex D.1.1).
const RECOVERY_POINT: u32 = 6;

/// Whether a payload surely begins an access unit: with what comes first in one, or with the first slice of a picture
/// that needs no parameter sets of its own.
pub(super) fn starts_frame(payload: &[u8]) -> bool {
    let (header, body) = match *payload {
        [header, ref body @ ..] if (1..=23).contains(&(header & 0x1F)) => (header, body),
        [stap, _, _, header, ref body @ ..] if stap & 0x1F == kind::STAP_A => (header, body),
        [fu, head, ref body @ ..] if fu & 0x1F == kind::FU_A && head & 0x80 != 0 => (head, body),
        _ => return false,
    };
    match header & 0x1F {
        // first_mb_in_slice is 0, which is coded as a single 1 bit.
        kind::SLICE | kind::PARTITION_A => body.first().is_some_and(|byte| byte & 0x80 != 0),
        kind::SEI | kind::SPS | kind::DELIMITER => true,
        _ => false,
    }
}

/// The NAL units of a STAP-A payload (RFC 6184 section 5.7.1) without its first byte.
pub(super) fn aggregated(mut body: &[u8], mut unit: impl FnMut(&[u8])) -> Result<(), Malformed> {
    while let Some((size, rest)) = body.split_first_chunk::<2>() {
        let (whole, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size))).ok_or(Malformed)?;
        unit(whole);
        body = rest;
    }
    if body.is_empty() { Ok(()) } else { Err(Malformed) }
}

/// Whether an SEI NAL unit, its header included, says that decoding can start at this very picture.
pub(super) fn is_zero_recovery_point(unit: &[u8]) -> bool {
    let mut bits = Bits::new(unit.get(1..).unwrap_or_default());
    let mut messages = || -> Option<bool> {
        loop {
            let (kind, size) = (sei_number(&mut bits)?, sei_number(&mut bits)?);
            if kind == RECOVERY_POINT {
                return Some(bits.ue()? == 0);
            }
            for _ in 0..size {
                bits.bits(8)?;
            }
        }
    };
    messages().unwrap_or(false)
}

/// A number written as bytes to be added, all but the last 255 (ITU-T H.264 section 7.3.2.3.1).
fn sei_number(bits: &mut Bits<'_>) -> Option<u32> {
    let mut number = 0u32;
    loop {
        let byte = bits.bits(8)?;
        number = number.saturating_add(byte);
        if byte < 255 {
            return Some(number);
        }
    }
}
