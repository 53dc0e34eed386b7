//! AV1: "RTP Payload Format For AV1" (Alliance for Open Media, version 1.0) and the AV1 bitstream specification.
//!
//! Payloads do not say which frames refer to which (a header extension does, where it was negotiated), so after
//! any loss nothing comes out up to the next key frame.

use super::format::{Ending, Format, Malformed, Verdict};

/// In front of each temporal unit; senders leave it out (RTP payload format section 5).
const TEMPORAL_DELIMITER: [u8; 2] = [0x12, 0x00];
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;

/// Types of open bitstream units (AV1 specification section 6.2.2).
mod kind {
    pub(super) const SEQUENCE_HEADER: u8 = 1;
    pub(super) const TEMPORAL_DELIMITER: u8 = 2;
    pub(super) const FRAME_HEADER: u8 = 3;
    pub(super) const FRAME: u8 = 6;
    pub(super) const TILE_LIST: u8 = 8;
    pub(super) const PADDING: u8 = 15;
}

/// Collects temporal units.
#[derive(Debug, Default)]
pub(super) struct Av1 {
    /// Where the OBU begins of which more is to come.
    fragment: Option<usize>,
    sequence_header: bool,
    /// Whether the first frame header is that of a key frame that is shown.
    key: Option<bool>,
    /// All that the next frame may refer to came out.
    intact: bool,
}

impl Av1 {
    /// Completes the OBU that begins at `start`: gives it a size field, or removes it.
    fn complete(&mut self, start: usize, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let unit = out.get(start..).ok_or(Malformed)?;
        let Some(&header) = unit.first() else { return Ok(()) };
        let head = if header & HAS_EXTENSION == 0 { 1 } else { 2 };
        let body = unit.get(head..).ok_or(Malformed)?;
        if header & 0x80 != 0 {
            return Err(Malformed);
        }
        let body = if header & HAS_SIZE != 0 {
            let (size, body) = leb128(body).ok_or(Malformed)?;
            if size != body.len() {
                return Err(Malformed);
            }
            body
        } else {
            body
        };
        let kind = header >> 3 & 15;
        match kind {
            kind::TEMPORAL_DELIMITER | kind::TILE_LIST | kind::PADDING => {
                out.truncate(start);
                return Ok(());
            }
            kind::SEQUENCE_HEADER => self.sequence_header = true,
            kind::FRAME_HEADER | kind::FRAME => {
                // show_existing_frame, frame_type, show_frame (AV1 specification section 5.9.2).
                let first = *body.first().ok_or(Malformed)?;
                self.key.get_or_insert(first & 0xF0 == 0x10);
            }
            _ => {}
        }
        if header & HAS_SIZE == 0 {
            let size = body.len();
            out[start] |= HAS_SIZE;
            insert_leb128(size, start + head, out);
        }
        Ok(())
    }

    /// One element of a packet.
    fn element(&mut self, data: &[u8], goes_on: bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let start = self.fragment.take().unwrap_or(out.len());
        out.extend_from_slice(data);
        if goes_on {
            self.fragment = Some(start);
            return Ok(());
        }
        self.complete(start, out)
    }
}

/// A little-endian base 128 number (AV1 specification section 4.10.5) and what follows it.
fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (at, &byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &data[at + 1..]));
        }
    }
    None
}

fn insert_leb128(mut value: usize, at: usize, out: &mut Vec<u8>) {
    let mut bytes = [0; 10];
    let mut count = 0;
    loop {
        bytes[count] = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            break;
        }
        bytes[count] |= 0x80;
        count += 1;
    }
    out.splice(at..at, bytes[..=count].iter().copied());
}

impl Format for Av1 {
    fn starts_frame(&self, payload: &[u8]) -> bool {
        // N: the first packet of a coded video sequence. Without it, a payload that begins with a sequence header.
        let [aggregation, ref elements @ ..] = *payload else { return false };
        let (continued, new) = (aggregation & 0x80 != 0, aggregation & 0x08 != 0);
        let first = match aggregation & 0x30 {
            0x10 => Some(elements),
            _ => leb128(elements).map(|(_, rest)| rest),
        };
        let kind = first.and_then(<[u8]>::first).map(|header| header >> 3 & 15);
        !continued && (new || matches!(kind, Some(kind::SEQUENCE_HEADER | kind::TEMPORAL_DELIMITER)))
    }

    fn append(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let (&aggregation, mut rest) = payload.split_first().ok_or(Malformed)?;
        let (continues, goes_on) = (aggregation & 0x80 != 0, aggregation & 0x40 != 0);
        let count = usize::from(aggregation >> 4 & 3);
        if out.is_empty() {
            out.extend_from_slice(&TEMPORAL_DELIMITER);
        }
        if continues != self.fragment.is_some() {
            self.fragment = None;
            return Err(Malformed);
        }
        for at in 1.. {
            let data = if count == at {
                std::mem::take(&mut rest)
            } else {
                let (size, tail) = leb128(rest).ok_or(Malformed)?;
                let (data, tail) = tail.split_at_checked(size).ok_or(Malformed)?;
                rest = tail;
                data
            };
            let last = if count == 0 { rest.is_empty() } else { count == at };
            self.element(data, last && goes_on, out)?;
            if last {
                break;
            }
        }
        Ok(())
    }

    fn hole(&mut self) {
        self.fragment = None;
    }

    fn finish(&mut self, ending: Ending, _out: &mut Vec<u8>) -> Verdict {
        let unit = std::mem::replace(self, Self { intact: self.intact, ..Self::default() });
        let whole = ending.whole && unit.fragment.is_none();
        if whole && unit.key == Some(true) && unit.sequence_header {
            self.intact = true;
            return Verdict::Show { keyframe: true };
        }
        self.intact &= whole && ending.lost_before == 0;
        match (whole, unit.key) {
            (false, _) => Verdict::Broken,
            (true, None) => Verdict::NoPicture,
            (true, Some(_)) if self.intact => Verdict::Show { keyframe: false },
            (true, Some(_)) => Verdict::Unreferenced,
        }
    }

    fn needs_keyframe(&self) -> bool {
        !self.intact
    }

    fn forget(&mut self) {
        *self = Self::default();
    }
}
