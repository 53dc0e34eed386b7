//! What the assembler needs from the payload format of a codec.

use crate::decode::VideoCodec;

use super::av1::Av1;
use super::h264::H264;
use super::vp8::Vp8;
use super::vp9::Vp9;

/// The payload breaks the rules of its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// How the collecting of a frame ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// Whether every packet of the frame is there, as far as sequence numbers tell.
    pub(super) whole: bool,
    /// Packets lost between the last packet of the frame before and the first of this one; what they held, whole
    /// frames maybe, is unknown.
    pub(super) lost_before: u64,
}

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It can be decoded.
    Show {
        /// Decoding can start with it.
        keyframe: bool,
    },
    /// It holds no picture: parameter sets sent ahead. The format keeps what later frames need.
    NoPicture,
    /// It is not whole.
    Broken,
    /// It refers, or may refer, to what was lost.
    Unreferenced,
}

/// The payload format of a codec, and what it tells about references.
///
/// Sees the payloads of one frame after the other in the order of sequence numbers: `append` for each,
/// `hole` where packets are missing inside a frame, `finish` after the last.
pub(super) trait Format: Send {
    /// Whether this payload surely is the first of its frame.
    fn starts_frame(&self, payload: &[u8]) -> bool;

    /// Appends the payload to the access unit. After an error the rest of the frame may still be appended, so that
    /// the format learns from it.
    fn append(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed>;

    /// Packets of the frame are missing between the last payload and the next.
    fn hole(&mut self);

    /// The frame has ended; completes `out`.
    fn finish(&mut self, ending: Ending, out: &mut Vec<u8>) -> Verdict;

    /// Whether the picture stands still, or runs at a reduced rate, until the next key frame.
    fn needs_keyframe(&self) -> bool;

    /// Everything that frames could refer to is gone.
    fn forget(&mut self);
}

pub(super) fn of(codec: VideoCodec) -> Box<dyn Format> {
    match codec {
        VideoCodec::Vp8 => Box::new(Vp8::default()),
        VideoCodec::H264 => Box::new(H264::default()),
        VideoCodec::Vp9 => Box::new(Vp9::default()),
        VideoCodec::Av1 => Box::new(Av1::default()),
    }
}
