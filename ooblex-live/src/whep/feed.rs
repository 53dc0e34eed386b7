//! The pictures of one viewer: of one encoder, then of another when the quality changes, or of the next stream.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use ooblex_core::StreamId;
use ooblex_core::hub::Hub;
use ooblex_ingest::webrtc::{Feed, FeedPicture, Feedback};
use tokio::sync::watch::Receiver;

use super::rung::RungChoice;
use crate::codec::Codec;
use crate::output::{LADDER, LiveHub, Unit, Watch, WatchError};

/// See [`Whep`](super::Whep).
pub(super) struct StreamFeed {
    live: LiveHub,
    hub: Hub,
    /// Rises when streams begin or end.
    changes: Receiver<u64>,
    /// The stream that was asked for; `None` for the newest.
    wanted: Option<StreamId>,
    codec: Codec,
    choice: RungChoice,
    now: Option<Watching>,
    /// Another quality, which takes over with its first key frame.
    next: Option<Watch>,
}

/// What is watched.
struct Watching {
    stream: StreamId,
    watch: Watch,
    /// Of the last picture.
    sequence: Option<u64>,
}

/// What came of one wait.
enum Came {
    Unit(Arc<Unit>),
    /// The first one of another quality.
    Other(Arc<Unit>),
    /// The other quality ended before it began.
    OtherEnded,
    Ended,
}

impl StreamFeed {
    pub(super) fn new(hub: Hub, live: LiveHub, wanted: Option<StreamId>, codec: Codec) -> Self {
        let changes = hub.watch();
        Self { live, hub, changes, wanted, codec, choice: RungChoice::default(), now: None, next: None }
    }

    /// Begins to watch, or waits until there is something to watch. `None` if there will not be.
    async fn begin(&mut self) -> Option<()> {
        while self.now.is_none() {
            // Before the look, so that no change after it is missed.
            self.changes.borrow_and_update();
            let stream = self.wanted.clone().or_else(|| self.hub.newest().map(|stream| stream.id().clone()));
            let watch = stream.map(|id| (self.live.watch(&id, self.codec, self.choice.rung()), id));
            match watch {
                Some((Ok(watch), stream)) => self.now = Some(Watching { stream, watch, sequence: None }),
                // The newest one ends at this moment, or there is none.
                Some((Err(WatchError::UnknownStream(_)), _)) | None if self.wanted.is_none() => {
                    self.changes.changed().await.ok()?;
                }
                Some((Err(error), stream)) => {
                    tracing::warn!(%stream, codec = %self.codec, %error, "a WebRTC viewer sees nothing");
                    return None;
                }
                None => return None,
            }
        }
        Some(())
    }

    async fn wait(&mut self) -> Option<Came> {
        let now = self.now.as_mut()?;
        let Some(next) = &mut self.next else {
            return Some(now.watch.next().await.map_or(Came::Ended, Came::Unit));
        };
        Some(tokio::select! {
            biased;
            unit = next.next() => unit.map_or(Came::OtherEnded, Came::Other),
            unit = now.watch.next() => unit.map_or(Came::Ended, Came::Unit),
        })
    }

    fn picture(&mut self, unit: &Unit) -> FeedPicture {
        if let Some(now) = &mut self.now {
            now.sequence = Some(unit.sequence);
        }
        FeedPicture {
            data: unit.data.clone(),
            is_key: unit.is_key,
            captured: Some(unit.captured),
            received: unit.received,
        }
    }
}

#[async_trait]
impl Feed for StreamFeed {
    async fn next(&mut self) -> Option<FeedPicture> {
        loop {
            self.begin().await?;
            match self.wait().await? {
                Came::Unit(unit) => return Some(self.picture(&unit)),
                Came::Other(unit) => {
                    let Some(now) = &mut self.now else { continue };
                    if now.sequence.is_some_and(|last| unit.sequence <= last) {
                        // Its encoder is behind the one before: no picture is shown twice, nor after a later one.
                        if let Some(next) = &self.next {
                            next.skip_to_key();
                        }
                        continue;
                    }
                    if let Some(next) = self.next.take() {
                        now.watch = next;
                    }
                    return Some(self.picture(&unit));
                }
                Came::OtherEnded => self.next = None,
                Came::Ended => {
                    let ended = self.now.take();
                    self.next = None;
                    let failure = ended.as_ref().and_then(|ended| ended.watch.failure());
                    if let (Some(ended), Some(error)) = (ended, failure) {
                        tracing::warn!(stream = %ended.stream, codec = %self.codec, error, "an encoder was given up");
                        return None;
                    }
                    if self.wanted.is_some() {
                        return None;
                    }
                }
            }
        }
    }

    fn request_key(&mut self) {
        if let Some(now) = &self.now {
            now.watch.request_key();
        }
    }

    fn heed(&mut self, feedback: &Feedback, now: Instant) {
        let Some(rung) = self.choice.heed(feedback, now) else { return };
        let Some(watching) = &self.now else { return };
        match self.live.watch(&watching.stream, self.codec, rung) {
            Ok(watch) => {
                tracing::debug!(
                    stream = %watching.stream,
                    rung,
                    estimate_kbps = feedback.estimate_kbps,
                    sent_kbps = feedback.sent_kbps,
                    loss = feedback.loss,
                    "a WebRTC viewer gets another quality",
                );
                self.next = Some(watch);
            }
            Err(error) => {
                tracing::debug!(%error, "a WebRTC viewer keeps its quality");
                let (_, rung) = watching.watch.quality();
                self.choice.stay(rung);
            }
        }
    }

    fn quality(&self) -> (u32, u32) {
        let rung = self.now.as_ref().map(|now| now.watch.quality().1);
        rung.and_then(|rung| LADDER.get(rung)).map_or((0, 0), |quality| (quality.max_height, quality.kbps))
    }
}

#[cfg(test)]
mod tests;
