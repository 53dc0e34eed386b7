//! What is sent to one peer, and what that says about it: the same for viewers and for publishers who see their picture.

use std::time::{Duration, Instant, SystemTime};

use super::estimate::Estimate;
use super::listen::Heard;
use super::{Feed, FeedPicture, Feedback, Sender, ViewerCounters};

/// What a peer said about its bandwidth or loss counts for this long.
const BELIEVED: Duration = Duration::from_secs(3);

/// Sends pictures and keeps what the peer says.
pub(in super::super) struct Showing {
    sender: Sender,
    estimate: Estimate,
    /// What the peer said last, and when.
    bandwidth: Option<(u32, Instant)>,
    loss: Option<(f32, Instant)>,
    /// When the rate was measured last, and the bytes sent by then.
    measured: (Instant, u64),
}

impl Showing {
    pub(in super::super) fn new(sender: Sender, estimate: Estimate, now: Instant) -> Self {
        Self { sender, estimate, bandwidth: None, loss: None, measured: (now, 0) }
    }

    /// What the peer says next; `None` once the connection is gone. Safe to cancel.
    pub(super) async fn heard(&self) -> Option<Heard> {
        self.sender.heard().await
    }

    /// Sends a picture; false once the connection is gone.
    pub(super) async fn show(&mut self, picture: &FeedPicture) -> bool {
        self.sender.send(picture, Instant::now(), SystemTime::now()).await
    }

    /// Remembers what was heard, and asks for a key frame if the peer needs one.
    pub(super) fn heed(&mut self, heard: &Heard, feed: Option<&mut dyn Feed>, now: Instant) {
        if let Some(feed) = feed.filter(|_| heard.key_requests > 0) {
            feed.request_key();
        }
        self.bandwidth = heard.estimate_kbps.map(|kbps| (kbps, now)).or(self.bandwidth);
        self.loss = heard.loss.map(|loss| (loss, now)).or(self.loss);
        self.sender.counters.key_requests += heard.key_requests;
        self.sender.counters.packets_asked_again += heard.nacked;
    }

    /// What is known about the way to the peer; the rate is that since the last call.
    pub(super) fn feedback(&mut self, now: Instant) -> Feedback {
        let total = self.sender.counters.bytes;
        let (since, before) = std::mem::replace(&mut self.measured, (now, total));
        let seconds = now.saturating_duration_since(since).as_secs_f64().max(0.001);
        let sent = (total - before) as f64;
        let fresh = |at: Instant| now.saturating_duration_since(at) < BELIEVED;
        let remb = self.bandwidth.filter(|(_, at)| fresh(*at)).map(|(kbps, _)| kbps);
        Feedback {
            estimate_kbps: remb.into_iter().chain(self.estimate.kbps()).min(),
            sent_kbps: (sent * 8.0 / 1_000.0 / seconds) as u32,
            loss: self.loss.filter(|(_, at)| fresh(*at)).map_or(0.0, |(loss, _)| loss),
        }
    }

    /// Says which media time is which time of day.
    pub(super) async fn report(&self, now: Instant) {
        self.sender.report(now, SystemTime::now()).await;
    }

    pub(super) fn counters(&self) -> ViewerCounters {
        self.sender.counters
    }
}
