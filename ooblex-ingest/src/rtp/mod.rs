//! From RTP packets to whole access units: reordering, loss, and what a frame may be shown on; and the way back.
//!
//! Nothing here reads a clock or a socket: packets and instants go in, access units come out.
//!
//! ```
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use ooblex_ingest::decode::VideoCodec;
//! use ooblex_ingest::rtp::{Assembler, AssemblerConfig, Packet};
//!
//! let mut assembler = Assembler::new(VideoCodec::Vp8, AssemblerConfig::default());
//! let now = Instant::now();
//! // A key frame of 16x16 pixels in one packet: payload descriptor, frame tag, start code, size.
//! let payload = Bytes::from_static(&[0x10, 0x10, 0, 0, 0x9D, 0x01, 0x2A, 16, 0, 16, 0]);
//! assembler.push(Packet { sequence: 7, timestamp: 3000, marker: true, payload }, now);
//! let unit = assembler.pop(now).expect("whole as soon as the marker bit is there");
//! assert!(unit.keyframe && !unit.gap);
//! assert_eq!(&unit.data[3..6], &[0x9D, 0x01, 0x2A]);
//! assert!(!assembler.take_keyframe_request(now));
//! ```
//!
//! # Stages
//! 1. The reorder buffer puts packets in the order of their sequence numbers. A packet that is due passes at once;
//!    behind a gap packets wait for what is missing, as long as waiting has helped lately and at most
//!    [`AssemblerConfig::max_wait`].
//! 2. The payload format of the codec appends each payload to the access unit that is being collected. The marker
//!    bit ends it; without one the first packet with another timestamp does.
//! 3. The same format decides from what it knows of references whether the access unit can be decoded after what
//!    was lost. What cannot be is dropped and counted, and a key frame is asked for.
//!
//! # Payload formats
//! They are our own, not those of the `rtc` crate (0.21.1), for they need what those do not tell and must stand any
//! input: its H.264 depacketizer reads past the end of an aggregation packet that ends in one stray byte, and joins
//! fragments across a loss; its VP8 one keeps optional fields of the packet before; none says which frames refer
//! to which.

mod assembler;
mod av1;
mod bits;
mod format;
mod h264;
pub mod orientation;
mod packetize;
mod reorder;
mod request;
mod stats;
mod vp8;
mod vp9;
mod wait;

use std::time::Instant;

use bytes::Bytes;

pub use self::assembler::{Assembler, AssemblerConfig};
pub use self::packetize::{MAX_PAYLOAD, Packetizer};
pub use self::stats::AssemblerStats;

/// One RTP packet (RFC 3550 section 5.1) of a single SSRC and payload type, without header and padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    /// Sequence number.
    pub sequence: u16,
    /// Media time in ticks of 90 kHz, from a random origin.
    pub timestamp: u32,
    /// Set on the last packet of a picture.
    pub marker: bool,
    /// Payload in the format of the codec; empty if the packet was nothing but padding.
    pub payload: Bytes,
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sequence, timestamp, marker, payload } = self;
        write!(f, "Packet({sequence}, time {timestamp}, marker {marker}, {} bytes)", payload.len())
    }
}

/// One compressed picture that can be decoded after those before it.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// H.264: NAL units in Annex B form. VP8: a frame. VP9: a frame, or a superframe of all spatial layers.
    /// AV1: a temporal unit in the low-overhead format, every OBU with its size.
    pub data: Bytes,
    /// Media time in ticks of 90 kHz, unwrapped to 64 bits: grows by the difference of the RTP timestamps.
    pub pts: i64,
    /// Whether decoding can start here.
    pub keyframe: bool,
    /// When the last of its packets came.
    pub received: Instant,
    /// Whether something between the access unit before and this one was lost or left out.
    pub gap: bool,
}

impl std::fmt::Debug for AccessUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { data, pts, keyframe, gap, .. } = self;
        write!(f, "AccessUnit(pts {pts}, keyframe {keyframe}, gap {gap}, {} bytes)", data.len())
    }
}
