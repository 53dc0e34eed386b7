//! H.264: RFC 6184 (payload format, modes 0 and 1) and ITU-T H.264 (NAL units).
//!
//! An access unit starts decoding anew if it holds an IDR picture whose parameter sets are known, or nothing but
//! I slices with a recovery point of zero frames (annex D.1.8), which is how some encoders write the key frames
//! between IDR pictures. A recovery point that lies ahead (gradual refresh) does not count: pictures up to it would
//! show what was lost.

mod nal;
mod parameters;

use self::nal::kind;
use self::parameters::ParameterSets;
use super::bits::Bits;
use super::format::{Ending, Format, Malformed, Verdict};

/// In front of each NAL unit (ITU-T H.264 annex B).
const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Parameter sets and messages that are sent ahead of their picture, as an access unit without one.
const MAX_CARRIED_BYTES: usize = 64 << 10;

/// What is known of the access unit that is being collected.
#[derive(Debug, Default)]
struct Current {
    begun: bool,
    /// Parameter sets came with it, in the same packets or ahead of them.
    has_sps: bool,
    has_pps: bool,
    /// The parameter sets of the first slice are known.
    parameters_known: bool,
    parameters_added: bool,
    slices: u32,
    /// Every slice belongs to an IDR picture.
    idr: bool,
    /// Every slice is an I slice.
    intra: bool,
    /// Other pictures may refer to this one.
    reference: bool,
    recovery_point: bool,
    /// Something is missing in front of the first slice, where parameter sets may have been.
    doubtful_head: bool,
    frame_number: Option<FrameNumber>,
    fragment: Option<Fragment>,
}

/// A NAL unit of which more is to come. Filler has no place in the access unit.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    header: u8,
    start: Option<usize>,
}

/// `frame_num` of a slice header (ITU-T H.264 section 7.4.3) and how many values it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameNumber {
    value: u32,
    modulus: u32,
}

/// Collects access units in Annex B form, and knows whether their references are whole.
#[derive(Debug, Default)]
pub(super) struct H264 {
    current: Current,
    parameters: ParameterSets,
    /// NAL units of access units without a picture, for the next one; and whether an SPS and a PPS are among them.
    carried: Vec<u8>,
    carried_sets: (bool, bool),
    /// All that the next picture may refer to came out.
    intact: bool,
    /// Of the last reference picture.
    frame_number: Option<FrameNumber>,
}

impl H264 {
    fn begin(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.current.begun, true) {
            out.append(&mut self.carried);
            (self.current.has_sps, self.current.has_pps) = std::mem::take(&mut self.carried_sets);
        }
    }

    fn whole_unit(&mut self, unit: &[u8], out: &mut Vec<u8>) {
        if let Some((&header, body)) = unit.split_first() {
            let fragment = self.open_unit(header, body, out);
            self.close_unit(fragment, out);
        }
    }

    /// Writes a NAL unit up to the end of `body`, which is what is there of it.
    fn open_unit(&mut self, header: u8, body: &[u8], out: &mut Vec<u8>) -> Fragment {
        match header & 0x1F {
            kind::FILLER => return Fragment { header, start: None },
            kind::SLICE | kind::PARTITION_A | kind::IDR => self.slice(header, body, out),
            _ => {}
        }
        out.extend_from_slice(&START_CODE);
        let start = out.len();
        out.push(header);
        out.extend_from_slice(body);
        Fragment { header, start: Some(start) }
    }

    fn close_unit(&mut self, fragment: Fragment, out: &[u8]) {
        // What grew beyond the limit was thrown away.
        let Some(unit) = fragment.start.and_then(|start| out.get(start..)) else { return };
        match fragment.header & 0x1F {
            kind::SPS => {
                self.current.has_sps = true;
                self.parameters.learn_sequence(unit);
            }
            kind::PPS => {
                self.current.has_pps = true;
                self.parameters.learn_picture(unit);
            }
            kind::SEI => self.current.recovery_point |= nal::is_zero_recovery_point(unit),
            _ => {}
        }
    }

    /// A piece of a NAL unit (RFC 6184 section 5.8).
    fn fragment(&mut self, indicator: u8, body: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        let (&head, data) = body.split_first().ok_or(Malformed)?;
        let header = indicator & 0xE0 | head & 0x1F;
        let fragment = match (head & 0x80 != 0, self.current.fragment.take()) {
            (true, None) => self.open_unit(header, data, out),
            (false, Some(fragment)) if fragment.header == header => {
                if fragment.start.is_some() {
                    out.extend_from_slice(data);
                }
                fragment
            }
            _ => return Err(Malformed),
        };
        if head & 0x40 != 0 {
            self.close_unit(fragment, out);
        } else {
            self.current.fragment = Some(fragment);
        }
        Ok(())
    }

    /// Learns from the head of a slice (ITU-T H.264 section 7.3.3) and puts parameter sets in front of it that an
    /// IDR picture lacks.
    fn slice(&mut self, header: u8, body: &[u8], out: &mut Vec<u8>) {
        let mut bits = Bits::new(body);
        let (_first_block, kind, set) = (bits.ue(), bits.ue(), bits.ue());
        let current = &mut self.current;
        let idr = header & 0x1F == kind::IDR;
        if current.slices == 0 {
            (current.idr, current.intra) = (idr, true);
            current.parameters_known = set.is_some_and(|set| self.parameters.has(set));
            current.frame_number = set
                .and_then(|set| self.parameters.frame_number_bits(set))
                .and_then(|count| Some(FrameNumber { value: bits.bits(count)?, modulus: 1 << count }));
        }
        current.slices += 1;
        current.idr &= idr;
        current.intra &= kind.is_some_and(|kind| kind % 5 == nal::I_SLICE);
        current.reference |= header & 0x60 != 0;
        if let Some(set) = set.filter(|_| idr && !current.parameters_added) {
            current.parameters_added = true;
            self.parameters.complete(set, current.has_sps, current.has_pps, out);
        }
    }

    fn damaged(&mut self) {
        self.current.fragment = None;
        self.current.doubtful_head |= self.current.slices == 0;
    }

    /// Whether the loss of so many packets before this picture took no reference picture with it.
    ///
    /// `frame_num` grows by one after each reference picture. Each picture has at least one packet, so it cannot
    /// have gone round, nor have begun again at an IDR picture and come to the same value, within fewer packets.
    fn no_reference_lost(&self, lost: u64) -> bool {
        let (Some(last), Some(this)) = (self.frame_number, self.current.frame_number) else { return false };
        last.modulus == this.modulus
            && lost <= u64::from(last.value)
            && lost < u64::from(last.modulus)
            && this.value == (last.value + 1) % last.modulus
    }

    fn judge(&mut self, ending: Ending, out: &[u8]) -> Verdict {
        let current = &self.current;
        let lost = ending.lost_before;
        if !ending.whole || current.fragment.is_some() {
            let discardable = current.slices > 0 && !current.reference && !current.doubtful_head && lost == 0;
            self.intact &= discardable;
            return Verdict::Broken;
        }
        if current.slices == 0 {
            if out.len() <= MAX_CARRIED_BYTES {
                self.carried.extend_from_slice(out);
                self.carried_sets = (current.has_sps, current.has_pps);
            }
            return Verdict::NoPicture;
        }
        if current.idr || current.intra && current.recovery_point {
            // Parameter sets may have been among what was lost just before.
            self.intact = current.parameters_known && (lost == 0 || current.has_sps);
            return if self.intact { Verdict::Show { keyframe: true } } else { Verdict::Unreferenced };
        }
        self.intact &= lost == 0 || self.no_reference_lost(lost);
        if self.intact { Verdict::Show { keyframe: false } } else { Verdict::Unreferenced }
    }
}

impl Format for H264 {
    fn starts_frame(&self, payload: &[u8]) -> bool {
        nal::starts_frame(payload)
    }

    fn append(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        self.begin(out);
        let (&indicator, body) = payload.split_first().ok_or(Malformed)?;
        let kind = indicator & 0x1F;
        let result = match kind {
            kind::FU_A => self.fragment(indicator, body, out),
            // The end of a fragmented unit is missing although no packet is.
            _ if self.current.fragment.is_some() => Err(Malformed),
            kind::STAP_A => nal::aggregated(body, |unit| self.whole_unit(unit, out)),
            1..=23 => {
                self.whole_unit(payload, out);
                Ok(())
            }
            // Interleaved mode (STAP-B, MTAP, FU-B) is never negotiated; the rest is reserved.
            _ => Err(Malformed),
        };
        if result.is_err() {
            self.damaged();
        }
        result
    }

    fn hole(&mut self) {
        self.damaged();
    }

    fn finish(&mut self, ending: Ending, out: &mut Vec<u8>) -> Verdict {
        let verdict = self.judge(ending, out);
        if self.current.reference {
            self.frame_number = self.current.frame_number;
        }
        self.current = Current::default();
        verdict
    }

    fn needs_keyframe(&self) -> bool {
        !self.intact
    }

    fn forget(&mut self) {
        self.intact = false;
        self.current = Current::default();
        self.frame_number = None;
        self.carried.clear();
        self.carried_sets = (false, false);
    }
}
