//! The processed picture on its way back to its publisher, on the connection that it came by.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ooblex_core::StreamId;
use tokio::sync::watch;

use super::super::handle::SessionHandle;
use super::{Broadcast, Feed, FeedPicture, ReturnInfo, Showing};
use crate::decode::VideoCodec;

/// The feed is told about the way this often.
const FEEDBACK: Duration = Duration::from_millis(500);
/// Sender reports, and looks for a stream that was not there, every so many of these.
const REPORT_TICKS: u32 = 2;

/// Shows a publisher its stream, from when that begins until the connection is gone.
pub(in super::super) struct Returning {
    pub(in super::super) handle: Arc<SessionHandle>,
    pub(in super::super) broadcast: Arc<dyn Broadcast>,
    pub(in super::super) codec: VideoCodec,
    /// Rises when streams begin or end.
    pub(in super::super) changes: watch::Receiver<u64>,
    pub(in super::super) showing: Showing,
}

impl Returning {
    /// Runs until the connection is gone; safe to abort.
    pub(in super::super) async fn run(mut self) {
        let stream = self.handle.stream.clone();
        let mut tick = tokio::time::interval(FEEDBACK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = 0u32;
        let mut feed = self.open(&stream);
        loop {
            tokio::select! {
                heard = self.showing.heard() => {
                    let Some(heard) = heard else { return };
                    let feed = feed.as_mut().map(|feed| &mut **feed as &mut dyn Feed);
                    self.showing.heed(&heard, feed, Instant::now());
                }
                picture = next(&mut feed), if feed.is_some() => match picture {
                    Some(picture) if self.showing.show(&picture).await => {}
                    Some(_) => return,
                    None => feed = None,
                },
                changed = self.changes.changed(), if feed.is_none() => {
                    if changed.is_err() {
                        return;
                    }
                    feed = self.open(&stream);
                }
                _ = tick.tick() => {
                    ticks = ticks.wrapping_add(1);
                    if ticks.is_multiple_of(REPORT_TICKS) {
                        self.showing.report(Instant::now()).await;
                        feed = feed.or_else(|| self.open(&stream));
                    }
                    self.tell(feed.as_mut());
                }
            }
        }
    }

    /// The stream, if it has begun.
    fn open(&mut self, stream: &StreamId) -> Option<Box<dyn Feed>> {
        self.changes.borrow_and_update();
        let opened = self.broadcast.open(Some(stream), self.codec);
        opened.inspect_err(|problem| tracing::trace!(%stream, %problem, "nothing to send back yet")).ok()
    }

    /// Tells the feed about the way, and the handle about both.
    fn tell(&mut self, feed: Option<&mut Box<dyn Feed>>) {
        let now = Instant::now();
        let feedback = self.showing.feedback(now);
        let quality = feed.map_or((0, 0), |feed| {
            feed.heed(&feedback, now);
            feed.quality()
        });
        let counters = self.showing.counters();
        let codec = self.codec;
        let (estimate_kbps, loss) = (feedback.estimate_kbps, feedback.loss);
        let info = ReturnInfo { codec, quality, estimate_kbps, loss, counters };
        self.handle.shared.status().returned = Some(info);
    }
}

async fn next(feed: &mut Option<Box<dyn Feed>>) -> Option<FeedPicture> {
    match feed {
        Some(feed) => feed.next().await,
        None => std::future::pending().await,
    }
}
