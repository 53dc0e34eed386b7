//! Encoders that viewers share: who watches what, and what runs for them.

mod config;
mod seat;
mod station;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use ooblex_core::hub::Beginning;
use ooblex_core::{Clearance, Frame, FrameSink, LatencyTrace, SinkError, StreamId, StreamStats};

pub use self::config::{LADDER, LiveConfig, LiveCounters, Quality};
use self::station::Station;
pub use self::watch::{Watch, WatchError};
use crate::codec::Codec;

/// One encoded picture, shared by all viewers of a codec and quality.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unit {
    /// How it is compressed.
    pub codec: Codec,
    /// It depends on no other picture.
    pub is_key: bool,
    /// Number within the stream.
    pub sequence: u64,
    /// When it was captured if its publisher said so, else when it was received.
    pub captured: SystemTime,
    /// When it was received.
    pub received: Instant,
    /// An H.264 access unit in Annex B form, a VP8 frame, or a JPEG.
    pub data: Bytes,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Whether it may still be shown.
    pub clearance: Clearance,
    /// Its way so far, up to the encoder.
    pub trace: LatencyTrace,
}

/// The encoders of all streams. Cheap to clone.
///
/// ```
/// use ooblex_core::hub::Beginning;
/// use ooblex_core::prelude::*;
/// use ooblex_live::{Codec, LiveConfig, LiveHub};
///
/// # fn main() -> Result<(), BoxError> {
/// let live = LiveHub::new(LiveConfig::default());
/// // A hub makes a sink for each stream: see `ooblex_core::hub::StreamFactory`.
/// let (id, stats) = (StreamId::new("cam")?, Default::default());
/// let sink = live.sink(&Beginning::new(&id, "camera", &stats));
/// assert!(!sink.has_demand());
/// let watch = live.watch(&id, Codec::Jpeg, 0)?;
/// assert!(sink.has_demand());
/// # drop(watch);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct LiveHub(Arc<Inner>);

struct Inner {
    config: LiveConfig,
    counters: Arc<LiveCounters>,
    channels: Mutex<HashMap<StreamId, Arc<Channel>>>,
}

/// One stream's encoders.
struct Channel {
    id: StreamId,
    stats: Arc<StreamStats>,
    stations: Mutex<Stations>,
}

#[derive(Default)]
struct Stations {
    running: Vec<Arc<Station>>,
    /// The stream has ended.
    ended: bool,
}

impl Channel {
    fn stations(&self) -> MutexGuard<'_, Stations> {
        self.stations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the stream for everybody who watches it.
    fn end(&self) {
        let running = {
            let mut stations = self.stations();
            stations.ended = true;
            std::mem::take(&mut stations.running)
        };
        running.iter().for_each(|station| station.end());
    }
}

impl LiveHub {
    /// Starts nothing: threads come with viewers.
    pub fn new(config: LiveConfig) -> Self {
        Self(Arc::new(Inner { config, counters: Arc::default(), channels: Mutex::default() }))
    }

    /// The sink that brings a stream's frames to viewers. A later sink of the same name takes its place.
    pub fn sink(&self, stream: &Beginning<'_>) -> LiveSink {
        let channel = Arc::new(Channel {
            id: stream.id.clone(),
            stats: stream.stats.clone(),
            stations: Mutex::default(),
        });
        if let Some(old) = self.channels().insert(stream.id.clone(), channel.clone()) {
            old.end();
        }
        LiveSink { hub: self.clone(), channel }
    }

    /// Watches a stream in `codec`, at the quality [`LADDER`]`[rung]`. Its encoder is started if nobody else watches
    /// the same. Pictures come with the stream's next frame, a key frame first.
    ///
    /// # Errors
    /// [`WatchError`].
    pub fn watch(&self, stream: &StreamId, codec: Codec, rung: usize) -> Result<Watch, WatchError> {
        let quality = *LADDER.get(rung).ok_or(WatchError::NoSuchRung(rung))?;
        let channel = self.channels().get(stream).cloned();
        let channel = channel.ok_or_else(|| WatchError::UnknownStream(stream.clone()))?;
        let mut stations = channel.stations();
        if stations.ended {
            return Err(WatchError::UnknownStream(stream.clone()));
        }
        let key = (codec, rung);
        let usable = |station: &&Arc<Station>| station.key == key && !station.is_closed();
        let station = match stations.running.iter().find(usable) {
            Some(station) => station.clone(),
            None => {
                let most = self.0.config.max_encoders;
                if !self.0.counters.claim_encoder(most) {
                    return Err(WatchError::TooManyEncoders(most));
                }
                let station =
                    Station::start(key, quality, &channel, &self.0.config, self.0.counters.clone())?;
                stations.running.push(station.clone());
                station
            }
        };
        let seat = station.take_seat();
        drop(stations);
        Ok(Watch::new(channel, station, seat))
    }

    /// Viewers of one stream now.
    pub fn viewers(&self, stream: &StreamId) -> usize {
        let channel = self.channels().get(stream).cloned();
        channel.map_or(0, |channel| channel.stations().running.iter().map(|station| station.viewers()).sum())
    }

    /// Encoders that run now.
    pub fn encoders(&self) -> usize {
        self.0.counters.encoders()
    }

    /// Counts since the start.
    pub fn counters(&self) -> &LiveCounters {
        &self.0.counters
    }

    /// Limits.
    pub fn config(&self) -> &LiveConfig {
        &self.0.config
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Channel>>> {
        self.0.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings a stream's frames to its encoders. While nobody watches it wants none.
pub struct LiveSink {
    hub: LiveHub,
    channel: Arc<Channel>,
}

#[async_trait]
impl FrameSink for LiveSink {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        self.pass(&frame);
        Ok(())
    }

    fn try_consume(&mut self, frame: Frame) -> Option<Frame> {
        self.pass(&frame);
        None
    }

    fn has_demand(&self) -> bool {
        !self.channel.stations().running.is_empty()
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        self.channel.end();
        Ok(())
    }
}

impl LiveSink {
    fn pass(&self, frame: &Frame) {
        self.channel.stations().running.iter().for_each(|station| station.give(frame.clone()));
    }
}

impl Drop for LiveSink {
    fn drop(&mut self) {
        self.channel.end();
        let mut channels = self.hub.channels();
        if channels.get(&self.channel.id).is_some_and(|channel| Arc::ptr_eq(channel, &self.channel)) {
            channels.remove(&self.channel.id);
        }
    }
}
