//! Parameter sets that were sent before.

use std::collections::BTreeMap;

use super::START_CODE;
use crate::decode::SequenceParameters;
use crate::rtp::bits::Bits;

/// Highest ids (ITU-T H.264 sections 7.4.2.1.1 and 7.4.2.2).
const MAX_SEQUENCE_ID: u32 = 31;
const MAX_PICTURE_ID: u32 = 255;
/// Real ones take 10 to 100 bytes; custom scaling lists add some hundred.
const MAX_SET_BYTES: usize = 2048;

/// The newest parameter set of each id.
#[derive(Debug, Default)]
pub(super) struct ParameterSets {
    sequence: BTreeMap<u32, Sequence>,
    picture: BTreeMap<u32, Picture>,
}

#[derive(Debug)]
struct Sequence {
    unit: Vec<u8>,
    /// Width of `frame_num` in bits.
    frame_number_bits: Option<u32>,
}

#[derive(Debug)]
struct Picture {
    unit: Vec<u8>,
    sequence: u32,
}

impl ParameterSets {
    /// Keeps a sequence parameter set, its header byte included.
    pub(super) fn learn_sequence(&mut self, unit: &[u8]) {
        let Some(id) = sequence_id(unit).filter(|_| unit.len() <= MAX_SET_BYTES) else { return };
        match self.sequence.get(&id) {
            Some(known) if known.unit == unit => {}
            _ => {
                let frame_number_bits = SequenceParameters::parse(unit).ok().map(|sps| sps.frame_number_bits);
                self.sequence.insert(id, Sequence { unit: unit.to_vec(), frame_number_bits });
            }
        }
    }

    /// Keeps a picture parameter set, its header byte included.
    pub(super) fn learn_picture(&mut self, unit: &[u8]) {
        let Some((id, sequence)) = picture_ids(unit).filter(|_| unit.len() <= MAX_SET_BYTES) else { return };
        match self.picture.get(&id) {
            Some(known) if known.unit == unit => {}
            _ => {
                self.picture.insert(id, Picture { unit: unit.to_vec(), sequence });
            }
        }
    }

    /// Whether slices with this picture parameter set can be decoded.
    pub(super) fn has(&self, picture: u32) -> bool {
        self.find(picture).is_some()
    }

    pub(super) fn frame_number_bits(&self, picture: u32) -> Option<u32> {
        self.find(picture)?.1.frame_number_bits
    }

    /// Appends those of the two parameter sets that are not there yet, if both are known.
    pub(super) fn complete(&self, picture: u32, has_sequence: bool, has_picture: bool, out: &mut Vec<u8>) {
        let Some((picture, sequence)) = self.find(picture) else { return };
        for (unit, there) in [(&sequence.unit, has_sequence), (&picture.unit, has_picture)] {
            if !there {
                out.extend_from_slice(&START_CODE);
                out.extend_from_slice(unit);
            }
        }
    }

    fn find(&self, picture: u32) -> Option<(&Picture, &Sequence)> {
        let picture = self.picture.get(&picture)?;
        Some((picture, self.sequence.get(&picture.sequence)?))
    }
}

fn sequence_id(unit: &[u8]) -> Option<u32> {
    // After profile, constraints and level.
    let mut bits = Bits::new(unit.get(1..)?);
    bits.bits(24)?;
    bits.ue().filter(|&id| id <= MAX_SEQUENCE_ID)
}

fn picture_ids(unit: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(unit.get(1..)?);
    let (picture, sequence) = (bits.ue()?, bits.ue()?);
    (picture <= MAX_PICTURE_ID && sequence <= MAX_SEQUENCE_ID).then_some((picture, sequence))
}
