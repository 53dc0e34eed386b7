//! What is told about viewers.

use std::time::Duration;

use ooblex_core::StreamId;

use super::super::{CandidatePath, FailedPath, HeldBack, SessionState};
use crate::decode::VideoCodec;
use crate::ice::ServerReport;

/// What a session has sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewerCounters {
    /// Bytes of RTP payload, without what was sent again.
    pub bytes: u64,
    /// RTP packets, likewise.
    pub packets: u64,
    /// Packets that the viewer asked to be sent again.
    pub packets_asked_again: u64,
    /// Pictures.
    pub pictures: u64,
    /// Key frames among them.
    pub key_frames: u64,
    /// Key frames that the viewer asked for.
    pub key_requests: u64,
}

/// The state of one viewer's session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ViewerInfo {
    /// The stream that it asked for; `None` for the one that began last.
    pub stream: Option<StreamId>,
    /// How far it is.
    pub state: SessionState,
    /// The codec.
    pub codec: VideoCodec,
    /// Height in pixels, at most, of what it gets, and the bit rate that this is encoded for in kbit/s; zeros before the
    /// first picture.
    pub quality: (u32, u32),
    /// Since it was answered.
    pub age: Duration,
    /// What carries it, once connected.
    pub path: Option<CandidatePath>,
    /// What else was tried, and why it does not carry the session.
    pub failed: Vec<FailedPath>,
    /// What was tried with each STUN and TURN server.
    pub servers: Vec<ServerReport>,
    /// Packets to addresses that the viewer named which were not sent, and why.
    pub held_back: HeldBack,
    /// What its way carries in kbit/s, as far as known.
    pub estimate_kbps: Option<u32>,
    /// Share of packets that did not arrive, 0 to 1, by its last report.
    pub loss: f32,
    /// Counters.
    pub counters: ViewerCounters,
}

impl ViewerInfo {
    /// What it is sent, told as of a publisher that gets its picture back.
    pub fn sent(&self) -> ReturnInfo {
        let Self { codec, quality, estimate_kbps, loss, counters, .. } = *self;
        ReturnInfo { codec, quality, estimate_kbps, loss, counters }
    }
}

/// What a publisher gets back on its own connection.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReturnInfo {
    /// The codec.
    pub codec: VideoCodec,
    /// As of [`ViewerInfo::quality`].
    pub quality: (u32, u32),
    /// As of [`ViewerInfo::estimate_kbps`].
    pub estimate_kbps: Option<u32>,
    /// As of [`ViewerInfo::loss`].
    pub loss: f32,
    /// Counters.
    pub counters: ViewerCounters,
}
