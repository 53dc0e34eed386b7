//! WebRTC viewers: from encoded pictures to packets, and what viewers say about them.
//!
//! Nothing is encoded here. Whoever encodes implements [`Broadcast`]; this module adds what a connection needs, which
//! it shares with publishers' sessions: limits, ports, ICE, `PATCH`, reports.

mod clock;
mod endpoint;
mod estimate;
mod handle;
mod info;
mod listen;
mod returning;
mod send;
mod showing;
mod task;

use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use ooblex_core::StreamId;
use ooblex_http::Problem;

pub(super) use self::estimate::{Estimate, engine, heeding, sending};
pub(super) use self::handle::ViewerHandle;
pub use self::info::{ReturnInfo, ViewerCounters, ViewerInfo};
pub(super) use self::returning::Returning;
pub(super) use self::send::{CAPTURE_TIME, Sender};
pub(super) use self::showing::Showing;
pub(super) use self::task::Viewing;
use crate::decode::VideoCodec;

/// What can be watched, encoded. Implemented by whoever encodes.
pub trait Broadcast: Send + Sync + 'static {
    /// The codecs that pictures can be had in, the one to prefer first. Only those that a
    /// [`Packetizer`](crate::rtp::Packetizer) takes are ever asked for.
    fn codecs(&self) -> &[VideoCodec];

    /// What one viewer of a stream gets; without a name, of the stream that began last, and when that ends, of the next
    /// one. Cheap: nothing is encoded before the first [`Feed::next`].
    ///
    /// # Errors
    /// A [`Problem`]: 404 for an unknown stream, 429 or 503 where there is no room.
    fn open(&self, stream: Option<&StreamId>, codec: VideoCodec) -> Result<Box<dyn Feed>, Problem>;
}

/// The encoded pictures of one viewer. Dropping it tells the encoder that the viewer is gone.
#[async_trait]
pub trait Feed: Send {
    /// The newest picture that can be decoded after those before it; the first one is a key frame, and after a gap,
    /// too. Waits for it; `None` once there will be no more. Must be safe to cancel.
    async fn next(&mut self) -> Option<FeedPicture>;

    /// The viewer cannot go on without a key frame. Called as often as viewers ask.
    fn request_key(&mut self);

    /// What is known about the way to the viewer at `now`; called about twice a second.
    fn heed(&mut self, feedback: &Feedback, now: Instant);

    /// What the viewer gets, for reports: height in pixels, and kbit/s.
    fn quality(&self) -> (u32, u32);
}

/// One encoded picture.
#[derive(Clone, Debug)]
pub struct FeedPicture {
    /// A VP8 frame, or an H.264 access unit in Annex B form with parameter sets before each key frame.
    pub data: Bytes,
    /// Whether decoding can start here.
    pub is_key: bool,
    /// When it was captured, by the clock of whoever captured it.
    pub captured: Option<SystemTime>,
    /// When it was received.
    pub received: Instant,
}

/// What is known about the way to a viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Feedback {
    /// What the way carries as far as known, in kbit/s: by the viewer's own estimate (REMB) or ours from its reports of
    /// arrivals (transport-wide feedback), whichever is less. `None` before the first.
    pub estimate_kbps: Option<u32>,
    /// What was sent in the last while, in kbit/s.
    pub sent_kbps: u32,
    /// Share of packets that did not arrive, 0 to 1, by the viewer's last report.
    pub loss: f32,
}

/// Who wants to watch what.
#[derive(Clone, Debug)]
pub struct ViewRequest {
    /// The stream; `None` for the one that began last.
    pub stream: Option<StreamId>,
    /// From where, for limits; `None` exempts from the limit per address.
    pub address: Option<IpAddr>,
}
