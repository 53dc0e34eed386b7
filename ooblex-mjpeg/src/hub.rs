//! What viewers of all streams share: newest pictures, encoding on demand, counters, the fan-out thread.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use ooblex_core::hub::Beginning;
use ooblex_core::{Clock, Counter, Frame, FrameSink, ImageCodec, SinkError, Stage, StreamId, StreamStats};
use tokio::sync::watch;

use crate::encode::{EncodeError, EncoderPool};
use crate::fanout::{Command, Fanout};
use crate::multipart::{Part, PictureInfo};

/// Limits and times of a [`MjpegHub`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MjpegConfig {
    /// JPEG quality, 1 to 100.
    pub quality: u8,
    /// Most viewers at once, over all streams.
    pub max_viewers: usize,
    /// The last part is sent again when nothing was sent for this long.
    pub repeat_after: Duration,
    /// Viewers whose stream has ended, and who wait for another one, see the placeholder after this long.
    pub placeholder_after: Duration,
    /// A viewer that takes no byte for this long is closed.
    pub stalled_after: Duration,
    /// A snapshot is served at once if the newest picture is at most this old.
    pub snapshot_fresh: Duration,
    /// Else a snapshot waits this long for the next picture.
    pub snapshot_wait: Duration,
    /// And then serves the newest picture if it is at most this old.
    pub snapshot_oldest: Duration,
    /// The clock that ages are measured by.
    pub clock: Clock,
}

impl Default for MjpegConfig {
    fn default() -> Self {
        Self {
            quality: 85,
            max_viewers: 1024,
            repeat_after: Duration::from_secs(1),
            placeholder_after: Duration::from_secs(2),
            stalled_after: Duration::from_secs(10),
            snapshot_fresh: Duration::from_secs(1),
            snapshot_wait: Duration::from_secs(1),
            snapshot_oldest: Duration::from_secs(10),
            clock: Clock::system(),
        }
    }
}

/// Counts over all streams since the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MjpegCounters {
    /// Pictures encoded for viewers and snapshots.
    pub encoded: Counter,
    /// Pictures that arrived as JPEG and were passed on untouched.
    pub passed_through: Counter,
    /// Pictures that could not be encoded.
    pub encode_errors: Counter,
    /// Parts written in full, all viewers together.
    pub parts_sent: Counter,
    /// Parts left out for a viewer because a newer one was there before it had taken the last.
    pub parts_skipped: Counter,
    /// Bytes written to viewers.
    pub bytes_sent: Counter,
    /// Viewers that were admitted.
    pub viewers_admitted: Counter,
    /// Viewers that were refused because there were too many.
    pub viewers_refused: Counter,
    /// Viewers that were closed because they took nothing for too long.
    pub viewers_stalled: Counter,
}

/// The MJPEG side of all streams. Cheap to clone; the last clone ends the fan-out thread and with it all viewers.
///
/// ```
/// use ooblex_core::hub::Beginning;
/// use ooblex_core::prelude::*;
/// use ooblex_mjpeg::{MjpegConfig, MjpegHub};
///
/// # fn main() -> std::io::Result<()> {
/// let mjpeg = MjpegHub::new(MjpegConfig::default())?;
/// // A sink for the pipeline of the stream `cam`; viewers come through `ooblex_mjpeg::router`.
/// // A hub makes one for each stream: see `ooblex_core::hub::StreamFactory`.
/// let (id, stats) = (StreamId::new("cam").expect("a name"), Default::default());
/// let sink = mjpeg.sink(&Beginning::new(&id, "camera", &stats));
/// # drop(sink);
/// assert_eq!(mjpeg.total_viewers(), 0);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MjpegHub(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) fanout: Fanout,
    channels: Mutex<HashMap<StreamId, Arc<Channel>>>,
}

/// What channels, viewers and the fan-out thread have in common.
pub(crate) struct Shared {
    pub(crate) config: MjpegConfig,
    pub(crate) counters: MjpegCounters,
    pub(crate) encoders: EncoderPool,
    pub(crate) viewers: AtomicUsize,
}

impl MjpegHub {
    /// Starts the fan-out thread.
    ///
    /// # Errors
    /// If the quality is not 1 to 100 or the system refuses the thread.
    pub fn new(config: MjpegConfig) -> io::Result<Self> {
        if !(1..=100).contains(&config.quality) {
            let error = EncodeError::Quality(config.quality);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let shared = Arc::new(Shared {
            config,
            counters: MjpegCounters::default(),
            encoders: EncoderPool::default(),
            viewers: AtomicUsize::new(0),
        });
        let fanout = Fanout::start(shared.clone())?;
        Ok(Self(Arc::new(Inner { shared, fanout, channels: Mutex::default() })))
    }

    /// The sink that brings a stream's frames to viewers, who see the placeholder once the stream counts as stalled.
    /// A later sink of the same name takes its place.
    pub fn sink(&self, stream: &Beginning<'_>) -> MjpegSink {
        let channel = Arc::new(Channel {
            id: stream.id.clone(),
            stats: stream.stats.clone(),
            placeholder_after: stream.patience.stalled_after,
            newest: watch::Sender::new(None),
            viewers: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            shared: self.0.shared.clone(),
        });
        let old = self.channels().insert(stream.id.clone(), channel.clone());
        if let Some(old) = old {
            old.end(&self.0.fanout);
        }
        MjpegSink { inner: self.0.clone(), channel, frames: 0, ended: false }
    }

    /// Viewers of one stream now, those of `/stream.mjpg` that are shown this stream included.
    pub fn viewers(&self, id: &StreamId) -> usize {
        self.channel(id).map_or(0, |channel| channel.viewers())
    }

    /// Sequence number of the newest frame that the stream's sink has taken; `None` before the first.
    pub fn newest_sequence(&self, id: &StreamId) -> Option<u64> {
        self.channel(id)?.newest().map(|shot| shot.frame.sequence)
    }

    /// Viewers of all streams now.
    pub fn total_viewers(&self) -> usize {
        self.0.shared.viewers.load(Ordering::Relaxed)
    }

    /// Counts since the start.
    pub fn counters(&self) -> &MjpegCounters {
        &self.0.shared.counters
    }

    /// Limits and times.
    pub fn config(&self) -> &MjpegConfig {
        &self.0.shared.config
    }

    /// Sends every viewer the closing boundary and ends the fan-out thread. Later viewers are closed at once. Does
    /// not wait; a viewer that does not take what is left is cut off after `within`.
    pub fn shutdown(&self, within: Duration) {
        self.0.fanout.send(Command::Stop { within });
    }

    pub(crate) fn channel(&self, id: &StreamId) -> Option<Arc<Channel>> {
        self.channels().get(id).cloned()
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Channel>>> {
        self.0.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.fanout.send(Command::Stop { within: Duration::ZERO });
    }
}

/// One stream's newest picture and its viewers.
pub(crate) struct Channel {
    pub(crate) id: StreamId,
    pub(crate) stats: Arc<StreamStats>,
    /// How long the last picture is shown when no other comes.
    pub(crate) placeholder_after: Duration,
    /// `None` before the first frame.
    pub(crate) newest: watch::Sender<Option<Arc<Shot>>>,
    pub(crate) viewers: AtomicUsize,
    /// Set by the fan-out thread when it has worked off the end: what was sent before still arrives.
    pub(crate) ended: AtomicBool,
    shared: Arc<Shared>,
}

impl Channel {
    pub(crate) fn viewers(&self) -> usize {
        self.viewers.load(Ordering::Relaxed)
    }

    /// The newest picture, if it may be shown.
    pub(crate) fn newest(&self) -> Option<Arc<Shot>> {
        self.newest.borrow().clone().filter(|shot| shot.frame.clearance.holds())
    }

    fn end(self: &Arc<Self>, fanout: &Fanout) {
        fanout.send(Command::End(self.clone()));
    }
}

/// A frame, encoded at most once.
pub(crate) struct Shot {
    pub(crate) frame: Frame,
    /// When it reached the sink.
    pub(crate) at: Instant,
    /// Frames of the stream up to this one.
    pub(crate) order: u64,
    part: OnceLock<Result<Arc<Part>, String>>,
}

impl Shot {
    fn new(frame: Frame, at: Instant, order: u64) -> Self {
        Self { frame, at, order, part: OnceLock::new() }
    }

    /// The part if it is there, or can be had without encoding because the picture is a JPEG that nobody touched.
    pub(crate) fn ready(&self, channel: &Channel) -> Option<Result<Arc<Part>, String>> {
        if let Some(part) = self.part.get() {
            return Some(part.clone());
        }
        let encoded = self.frame.image.as_encoded().filter(|e| e.codec == ImageCodec::Jpeg)?;
        let make = || {
            channel.shared.counters.passed_through.increment();
            Ok(self.finish(encoded.data.clone(), channel))
        };
        Some(self.part.get_or_init(make).clone())
    }

    /// The part, encoded now if need be. Blocks; whoever comes while another encodes waits for its result.
    pub(crate) fn part(&self, channel: &Channel) -> Result<Arc<Part>, String> {
        if let Some(part) = self.ready(channel) {
            return part;
        }
        let make = || {
            let Shared { config, counters, encoders, .. } = &*channel.shared;
            let start = config.clock.now();
            let mut picture = self.frame.image.clone();
            let before = picture.counts();
            let pixels = picture.pixels().map_err(|e| e.to_string());
            let jpeg = pixels.and_then(|p| encoders.encode(p, config.quality).map_err(|e| e.to_string()));
            channel.stats.add_picture_counts(before, picture.counts());
            match jpeg {
                Ok(jpeg) => {
                    counters.encoded.increment();
                    channel
                        .stats
                        .on_stage(Stage::Encode, config.clock.now().saturating_duration_since(start));
                    Ok(self.finish(jpeg, channel))
                }
                Err(error) => {
                    counters.encode_errors.increment();
                    Err(error)
                }
            }
        };
        self.part.get_or_init(make).clone()
    }

    /// What the picture says about itself now.
    pub(crate) fn info(&self, shared: &Shared) -> PictureInfo {
        PictureInfo::of(&self.frame, shared.config.clock.now(), SystemTime::now())
    }

    fn finish(&self, jpeg: Bytes, channel: &Channel) -> Arc<Part> {
        let info = self.info(&channel.shared);
        let now = channel.shared.config.clock.now();
        let size = (self.frame.image.width(), self.frame.image.height());
        let part = Part::new(jpeg, info, size, self.at, now, Some(channel.stats.clone()));
        Arc::new(part.with_order(self.order).with_clearance(self.frame.clearance.clone()))
    }
}

/// The part of `shot`, encoded on a thread where blocking is allowed, given to `then` where it was made.
pub(crate) async fn part_of<T: Send + 'static>(
    shot: Arc<Shot>,
    channel: Arc<Channel>,
    then: impl FnOnce(Arc<Part>) -> T + Send + 'static,
) -> Result<T, String> {
    if let Some(part) = shot.ready(&channel) {
        return part.map(then);
    }
    let encoding = tokio::task::spawn_blocking(move || shot.part(&channel).map(then));
    encoding.await.unwrap_or_else(|_| Err("the encoder panicked".into()))
}

/// Keeps a stream's newest frame and hands it to viewers. Made by [`MjpegHub::sink`].
///
/// Frames are encoded only while somebody watches, once for all of them, on a thread where that may block. In the
/// meantime newer frames replace each other in the queue in front of the sink and are counted there as
/// [`SinkBusy`](ooblex_core::DropReason::SinkBusy).
pub struct MjpegSink {
    inner: Arc<Inner>,
    channel: Arc<Channel>,
    frames: u64,
    ended: bool,
}

#[async_trait]
impl FrameSink for MjpegSink {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        let Some(shot) = self.keep(frame) else { return Ok(()) };
        // Published from where it was encoded: the way back to this task is not the viewers' way.
        let (inner, channel) = (self.inner.clone(), self.channel.clone());
        let publish = move |part| inner.fanout.publish(&channel, part);
        let done = part_of(shot, self.channel.clone(), publish).await;
        done.map_err(|e| SinkError::Frame(e.into()))
    }

    fn try_consume(&mut self, frame: Frame) -> Option<Frame> {
        let jpeg = frame.image.as_encoded().is_some_and(|e| e.codec == ImageCodec::Jpeg);
        if !jpeg && self.channel.viewers() > 0 {
            return Some(frame);
        }
        let shot = self.keep(frame)?;
        match shot.ready(&self.channel) {
            Some(Ok(part)) => self.inner.fanout.publish(&self.channel, part),
            // The first viewer came this very moment.
            _ => return Some(shot.frame.clone()),
        }
        None
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        self.end();
        Ok(())
    }
}

impl MjpegSink {
    /// Keeps the newest frame; gives it back if somebody watches.
    fn keep(&mut self, frame: Frame) -> Option<Arc<Shot>> {
        self.frames += 1;
        let shot = Arc::new(Shot::new(frame, self.inner.shared.config.clock.now(), self.frames));
        self.channel.newest.send_replace(Some(shot.clone()));
        (self.channel.viewers() > 0).then_some(shot)
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let mut channels = self.inner.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if channels.get(&self.channel.id).is_some_and(|c| Arc::ptr_eq(c, &self.channel)) {
            channels.remove(&self.channel.id);
        }
        drop(channels);
        self.channel.end(&self.inner.fanout);
    }
}

impl Drop for MjpegSink {
    fn drop(&mut self) {
        self.end();
    }
}

/// One viewer's place among [`MjpegConfig::max_viewers`].
pub(crate) struct Permit(Arc<Shared>);

impl Permit {
    /// A place, or `None` if there is none.
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let limit = shared.config.max_viewers;
        let more = |n: usize| (n < limit).then_some(n + 1);
        if shared.viewers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            shared.counters.viewers_refused.increment();
            return None;
        }
        shared.counters.viewers_admitted.increment();
        Some(Self(shared.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A viewer's place at one stream: demand for its frames while it exists.
pub(crate) struct Seat(pub(crate) Arc<Channel>);

impl Seat {
    pub(crate) fn take(channel: &Arc<Channel>) -> Self {
        channel.viewers.fetch_add(1, Ordering::Relaxed);
        Self(channel.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}
