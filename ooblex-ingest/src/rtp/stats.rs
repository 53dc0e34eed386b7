//! What an assembler counts.

use std::time::Duration;

/// Counters since the assembler was made.
///
/// Every frame of which a packet was seen is counted once: in `frames`, or by why it did not come out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssemblerStats {
    /// Packets that were pushed.
    pub packets: u64,
    /// Packets that were nothing but padding.
    pub padding: u64,
    /// Packets that had come before.
    pub duplicates: u64,
    /// Packets that came after they had been given up.
    pub late: u64,
    /// Packets far from all others, or that belong to no frame.
    pub stray: u64,
    /// Packets whose payload breaks the rules of its format; the first of a frame of which nothing was lost.
    pub malformed: u64,
    /// Packets that were missing when a later one came, and came in time.
    pub recovered: u64,
    /// Packets that were given up.
    pub lost: u64,
    /// Access units that came out.
    pub frames: u64,
    /// Access units that came out and start decoding anew.
    pub keyframes: u64,
    /// Frames of which a packet was lost or malformed.
    pub broken: u64,
    /// Whole frames left out because they refer, or may refer, to what was lost.
    pub unreferenced: u64,
    /// Frames larger than the limit.
    pub oversized: u64,
    /// Finished access units thrown away because nobody took them.
    pub overflowed: u64,
    /// Times that the sender's sequence numbers started anew.
    pub restarts: u64,
    /// Key frame requests that were handed out.
    pub keyframe_requests: u64,
    /// How long the reorder buffer waits for a missing packet now.
    pub wait: Duration,
}
