//! VP8: RFC 7741 (payload format) and RFC 6386 (frame header).

use super::format::{Ending, Format, Malformed, Verdict};

/// Temporal layers that the payload descriptor can name.
const LAYERS: usize = 4;
/// A picture runs at a reduced rate for so many frames, then a key frame is asked for to mend it.
const MAX_REDUCED: u32 = 60;
/// Up to this many lost packets a picture id or layer index cannot have gone round unnoticed, for a frame has at
/// least one packet: the 7-bit picture id is the shortest.
const MAX_COUNTABLE: u64 = 100;

/// The payload descriptor (RFC 7741 section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Descriptor {
    /// N: no other frame refers to this one.
    discardable: bool,
    /// S with partition 0: the first payload of a frame.
    starts_frame: bool,
    /// Picture id and the number after the highest.
    picture: Option<(u16, u16)>,
    /// TL0PICIDX: counts frames of the base layer.
    base: Option<u8>,
    /// TID and Y.
    layer: Option<(u8, bool)>,
}

impl Descriptor {
    /// The descriptor and what follows it.
    fn parse(payload: &[u8]) -> Option<(Self, &[u8])> {
        let (&first, mut rest) = payload.split_first()?;
        let mut next = || {
            let (&byte, tail) = rest.split_first()?;
            rest = tail;
            Some(byte)
        };
        let mut descriptor = Self {
            discardable: first & 0x20 != 0,
            starts_frame: first & 0x10 != 0 && first & 0x07 == 0,
            ..Self::default()
        };
        if first & 0x80 != 0 {
            let present = next()?;
            if present & 0x80 != 0 {
                let high = next()?;
                descriptor.picture = Some(match high & 0x80 {
                    0 => (u16::from(high), 1 << 7),
                    _ => (u16::from(high & 0x7F) << 8 | u16::from(next()?), 1 << 15),
                });
            }
            if present & 0x40 != 0 {
                descriptor.base = Some(next()?);
            }
            if present & 0x30 != 0 {
                let byte = next()?;
                descriptor.layer = (present & 0x20 != 0).then_some((byte >> 6, byte & 0x20 != 0));
            }
        }
        (!rest.is_empty()).then_some((descriptor, rest))
    }
}

/// Whether a frame is a key frame with its start code (RFC 6386 section 9.1).
fn is_keyframe(frame: &[u8]) -> bool {
    frame.len() >= 10 && frame[0] & 1 == 0 && frame[3..6] == [0x9D, 0x01, 0x2A]
}

/// Collects frames, and knows for each temporal layer whether its references are whole.
#[derive(Debug, Default)]
pub(super) struct Vp8 {
    /// Of the frame that is being collected.
    current: Option<Descriptor>,
    /// The first payload was not the start of a frame.
    headless: bool,
    /// For each layer whether all that its frames may refer to came out.
    whole: [bool; LAYERS],
    picture: Option<(u16, u16)>,
    base: Option<u8>,
    /// Frames of higher layers left out since all layers were whole.
    reduced: u32,
}

impl Vp8 {
    /// Packets were lost before this whole frame: what of the layers is whole for all that?
    fn account_for_loss(&mut self, frame: &Descriptor, lost: u64) {
        if lost <= MAX_COUNTABLE {
            if let (Some((last, modulus)), Some((this, same))) = (self.picture, frame.picture)
                && modulus == same
                && (last + 1) % modulus == this
            {
                // Nothing but padding.
                return;
            }
            if let (Some((layer, _)), Some(last), Some(this)) = (frame.layer, self.base, frame.base) {
                let expected = if layer == 0 { last.wrapping_add(1) } else { last };
                if this == expected {
                    // No frame of the base layer is missing, and it refers to no other layer.
                    self.whole[1..].fill(false);
                    return;
                }
            }
        }
        self.whole.fill(false);
    }

    /// The frame does not come out; what may refer to it is not whole any more.
    fn leave_out(&mut self, frame: &Descriptor) {
        if !frame.discardable {
            let layer = frame.layer.map_or(0, |(layer, _)| usize::from(layer));
            self.whole[layer..].fill(false);
        }
    }

    fn remember(&mut self, frame: &Descriptor) {
        self.picture = frame.picture;
        if frame.base.is_some() {
            self.base = frame.base;
        }
    }
}

impl Format for Vp8 {
    fn starts_frame(&self, payload: &[u8]) -> bool {
        Descriptor::parse(payload).is_some_and(|(d, _)| d.starts_frame)
    }

    fn append(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let (descriptor, data) = Descriptor::parse(payload).ok_or(Malformed)?;
        if self.current.is_none() {
            self.current = Some(descriptor);
            self.headless = !descriptor.starts_frame;
        }
        out.extend_from_slice(data);
        Ok(())
    }

    fn hole(&mut self) {}

    fn finish(&mut self, ending: Ending, out: &mut Vec<u8>) -> Verdict {
        let Some(frame) = self.current.take() else {
            // Not one payload could be read.
            self.whole.fill(false);
            return Verdict::Broken;
        };
        if ending.whole && !self.headless && is_keyframe(out) {
            self.whole.fill(true);
            self.reduced = 0;
            self.remember(&frame);
            return Verdict::Show { keyframe: true };
        }
        if ending.lost_before > 0 {
            self.account_for_loss(&frame, ending.lost_before);
        }
        if !ending.whole || self.headless {
            self.leave_out(&frame);
            self.remember(&frame);
            return Verdict::Broken;
        }
        let (layer, sync) = frame.layer.unwrap_or((0, false));
        let layer = usize::from(layer);
        // A frame with Y refers to nothing but its base layer frame, and what follows in its layer to nothing older.
        let synced = sync && layer > 0 && self.whole[0] && frame.base == self.base;
        if synced {
            self.whole[layer] = true;
        }
        let whole = synced || self.whole[..=layer].iter().all(|&whole| whole);
        if !whole {
            self.leave_out(&frame);
        }
        self.remember(&frame);
        match whole {
            true => {
                if layer > 0 {
                    self.reduced = 0;
                }
                Verdict::Show { keyframe: false }
            }
            false => {
                self.reduced = self.reduced.saturating_add(1);
                Verdict::Unreferenced
            }
        }
    }

    fn needs_keyframe(&self) -> bool {
        !self.whole[0] || self.reduced > MAX_REDUCED
    }

    fn forget(&mut self) {
        self.whole.fill(false);
        self.current = None;
        self.picture = None;
        self.base = None;
    }
}
