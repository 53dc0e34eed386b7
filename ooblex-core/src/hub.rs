//! All live streams: limits, lifecycle, and the way to every one of them.
//!
//! A stream begins with its first picture ([`Hub::publish`]) or with a source ([`Hub::attach`]). What it is made
//! of comes from a [`StreamFactory`]. It is `stalled` while nothing arrives, and ends when its source ends, when a
//! publisher has been silent for long enough, or when the hub shuts down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use crate::buffer::BufferPool;
use crate::clock::{Clock, MediaTime};
use crate::error::BoxError;
use crate::frame::{Frame, StreamId};
use crate::picture::Picture;
use crate::pipeline::{Effect, HANG_AFTER, Laggards, Pipeline, PipelineState, Pushed, Rejected};
use crate::processor::Mode;
use crate::sink::FrameSink;
use crate::source::FrameSource;
use crate::stats::StreamStats;

/// Limits and times of a hub.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubConfig {
    /// Most streams at once.
    pub max_streams: usize,
    /// A stream without a frame for this long is stalled.
    pub stalled_after: Duration,
    /// A stream that is pushed to ends after this long without a frame.
    pub idle_after: Duration,
    /// An ended stream stays listed for this long.
    pub forget_after: Duration,
    /// Most frames a second that a stream processes; 0 for no limit.
    pub target_fps: u32,
    /// Every n-th frame is processed.
    pub sample_every: u32,
    /// Pixel buffers that a stream may keep for reuse.
    pub pooled_frames: usize,
    /// A processor that has not returned a frame for this long is given up with its thread.
    pub hang_after: Duration,
    /// The clock.
    pub clock: Clock,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            max_streams: 32,
            stalled_after: Duration::from_secs(2),
            idle_after: Duration::from_secs(30),
            forget_after: Duration::from_secs(30),
            target_fps: 30,
            sample_every: 1,
            pooled_frames: 30,
            hang_after: HANG_AFTER,
            clock: Clock::system(),
        }
    }
}

/// How long a stream that is pushed to outlasts silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The stream is `stalled` after this long without a frame.
    pub stalled_after: Duration,
    /// The stream ends after this long without a frame; `None` if its owner ends it ([`Hub::end`]).
    pub idle_after: Option<Duration>,
}

/// A stream that is about to begin.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Beginning<'a> {
    /// Its name.
    pub id: &'a StreamId,
    /// What feeds it.
    pub kind: &'static str,
    /// Its counters.
    pub stats: &'a Arc<StreamStats>,
    /// How long it outlasts silence.
    pub patience: Patience,
}

impl<'a> Beginning<'a> {
    /// A stream with the patience of an uploaded one: for sinks that are used without a hub.
    pub fn new(id: &'a StreamId, kind: &'static str, stats: &'a Arc<StreamStats>) -> Self {
        let HubConfig { stalled_after, idle_after, .. } = HubConfig::default();
        Self { id, kind, stats, patience: Patience { stalled_after, idle_after: Some(idle_after) } }
    }
}

/// Decides what a new stream is made of.
pub trait StreamFactory: Send + Sync + 'static {
    /// The effect that a new stream begins with.
    ///
    /// # Errors
    /// Whatever keeps it from being built; the stream is then refused.
    fn effect(&self, stream: &StreamId) -> Result<Effect, BoxError>;

    /// Where a new stream's frames go.
    fn sinks(&self, stream: &Beginning<'_>) -> Vec<Box<dyn FrameSink>>;

    /// The stream has begun and is listed, and nothing has been pushed to it; a source may have delivered frames. Called
    /// within the hub's runtime; must not block.
    fn begun(&self, stream: &Arc<Stream>) {
        let _ = stream;
    }
}

/// Why a hub refuses a stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// As many streams as allowed are live.
    #[error("{limit} streams are live, the limit; end one or raise the limit")]
    TooManyStreams {
        /// The limit.
        limit: usize,
    },
    /// The name belongs to a stream of another kind.
    #[error("stream {id} is live and fed by {kind}; choose another name")]
    NameTaken {
        /// The name.
        id: StreamId,
        /// What feeds it.
        kind: &'static str,
    },
    /// The effect could not be built.
    #[error("stream {id} could not begin: {source}")]
    Start {
        /// The name.
        id: StreamId,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The hub is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

/// Whether frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamState {
    /// Frames come.
    Live,
    /// None came for a while.
    Stalled,
    /// None will come.
    Ended,
}

impl StreamState {
    /// `live`, `stalled` or `ended`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stalled => "stalled",
            Self::Ended => "ended",
        }
    }
}

/// One stream of a hub.
pub struct Stream {
    id: StreamId,
    kind: &'static str,
    background: bool,
    /// Order of beginning among all streams of the hub.
    order: u64,
    started: Instant,
    patience: Patience,
    pipeline: Pipeline,
    pool: BufferPool,
    clock: Clock,
    ended: Mutex<Option<Instant>>,
}

impl Stream {
    /// The name.
    pub fn id(&self) -> &StreamId {
        &self.id
    }

    /// What feeds it: `upload`, `file`, `webrtc`, ...
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Whether it counts last when the newest stream is looked for.
    pub fn is_background(&self) -> bool {
        self.background
    }

    /// Its pipeline: state, counters, effect.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Counters.
    pub fn stats(&self) -> &Arc<StreamStats> {
        self.pipeline.stats()
    }

    /// The pool for this stream's pictures.
    pub fn pool(&self) -> &BufferPool {
        &self.pool
    }

    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Whether frames come at `now`.
    pub fn state(&self, now: Instant) -> StreamState {
        if lock(&self.ended).is_some() || self.pipeline.state().is_over() {
            return StreamState::Ended;
        }
        let last = self.pipeline.input().last_at().unwrap_or(self.started);
        if now.saturating_duration_since(last) >= self.patience.stalled_after {
            StreamState::Stalled
        } else {
            StreamState::Live
        }
    }

    /// Pushes a picture that arrived just now; never waits, the newest wins.
    ///
    /// # Errors
    /// [`Rejected`] once the stream has ended.
    pub fn push(
        &self,
        picture: Picture,
        captured: Option<SystemTime>,
        pts: Option<MediaTime>,
    ) -> Result<Pushed, Rejected> {
        let frame = Frame::new(self.id.clone(), 0, self.clock.now(), picture);
        self.pipeline.input().push(frame.with_captured(captured).with_pts(pts))
    }
}

/// All live streams. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    config: HubConfig,
    factory: Box<dyn StreamFactory>,
    streams: Mutex<Streams>,
    changed: watch::Sender<u64>,
    runtime: tokio::runtime::Handle,
}

#[derive(Default)]
struct Streams {
    by_id: BTreeMap<StreamId, Arc<Stream>>,
    begun: u64,
    closed: bool,
}

impl Hub {
    /// An empty hub on the current runtime.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn new(config: HubConfig, factory: impl StreamFactory) -> Self {
        Self(Arc::new(Inner {
            config,
            factory: Box::new(factory),
            streams: Mutex::default(),
            changed: watch::Sender::new(0),
            runtime: tokio::runtime::Handle::current(),
        }))
    }

    /// The stream of that name that pictures can be pushed to; begins it if there is none.
    ///
    /// # Errors
    /// [`HubError`]: too many streams, a name that belongs to another kind, an effect that cannot be built.
    pub fn publish(&self, id: &StreamId, kind: &'static str) -> Result<Arc<Stream>, HubError> {
        let HubConfig { stalled_after, idle_after, .. } = self.0.config;
        self.publish_with(id, kind, Patience { stalled_after, idle_after: Some(idle_after) })
    }

    /// Like [`Hub::publish`] for a publisher that is connected: it knows better than a timer when the stream ends.
    /// A stream that exists keeps the patience with which it began.
    ///
    /// # Errors
    /// As for [`Hub::publish`].
    pub fn publish_with(
        &self,
        id: &StreamId,
        kind: &'static str,
        patience: Patience,
    ) -> Result<Arc<Stream>, HubError> {
        if let Some(stream) = self.get(id).filter(|s| !s.pipeline.state().is_over()) {
            return self.same_kind(stream, kind);
        }
        self.begin(id, kind, None, patience, false)
    }

    /// Begins a stream that is fed by a source. A `background` stream, such as a demo clip, counts last when the
    /// newest stream is looked for.
    ///
    /// # Errors
    /// [`HubError`]: too many streams, a name that is live, an effect that cannot be built.
    pub fn attach(
        &self,
        id: &StreamId,
        kind: &'static str,
        source: impl FrameSource,
        background: bool,
    ) -> Result<Arc<Stream>, HubError> {
        let patience = Patience { stalled_after: self.0.config.stalled_after, idle_after: None };
        self.begin(id, kind, Some(Box::new(source)), patience, background)
    }

    /// The stream of that name, ended or not, as long as it is listed.
    pub fn get(&self, id: &StreamId) -> Option<Arc<Stream>> {
        lock(&self.0.streams).by_id.get(id).cloned()
    }

    /// Every listed stream by name, recently ended ones included.
    pub fn streams(&self) -> Vec<Arc<Stream>> {
        lock(&self.0.streams).by_id.values().cloned().collect()
    }

    /// The stream that began last and has not ended; background streams only if there is no other.
    pub fn newest(&self) -> Option<Arc<Stream>> {
        let streams = lock(&self.0.streams);
        let open = streams.by_id.values().filter(|s| !s.pipeline.state().is_over());
        open.max_by_key(|s| (!s.background, s.order)).cloned()
    }

    /// Rises whenever a stream begins or ends.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The limits and times.
    pub fn config(&self) -> &HubConfig {
        &self.0.config
    }

    /// Ends the stream of that name; true if it was live.
    pub fn end(&self, id: &StreamId) -> bool {
        let stream = self.get(id).filter(|s| !s.pipeline.state().is_over());
        stream.inspect(|s| self.end_stream(s, self.0.config.clock.now())).is_some()
    }

    /// Ends streams that were silent for too long, and forgets those that ended long ago. Called about twice a
    /// second by the owner.
    pub fn sweep(&self, now: Instant) {
        let config = &self.0.config;
        for stream in self.streams() {
            let ended = *lock(&stream.ended);
            match ended {
                Some(at) if now.saturating_duration_since(at) >= config.forget_after => {
                    let mut streams = lock(&self.0.streams);
                    if streams.by_id.get(&stream.id).is_some_and(|s| Arc::ptr_eq(s, &stream)) {
                        streams.by_id.remove(&stream.id);
                    }
                }
                Some(_) => {}
                None if stream.pipeline.state().is_over() => self.end_stream(&stream, now),
                None => {
                    let last = stream.pipeline.input().last_at().unwrap_or(stream.started);
                    let silent = now.saturating_duration_since(last);
                    if stream.patience.idle_after.is_some_and(|limit| silent >= limit) {
                        tracing::info!(stream = %stream.id, "stream ended: its publisher fell silent");
                        self.end_stream(&stream, now);
                    }
                }
            }
        }
    }

    /// Refuses new streams, stops all that run and waits until they have finished or `deadline` has passed.
    ///
    /// # Errors
    /// [`Laggards`] naming stream and stage.
    pub async fn shutdown(&self, deadline: Duration) -> Result<(), Laggards> {
        let streams: Vec<_> = {
            let mut streams = lock(&self.0.streams);
            streams.closed = true;
            streams.by_id.values().cloned().collect()
        };
        let tasks: Vec<_> = streams
            .into_iter()
            .map(|stream| {
                *lock(&stream.ended) = Some(self.0.config.clock.now());
                tokio::spawn(async move {
                    let late = stream.pipeline.stop(deadline).await.err();
                    late.map(|l| {
                        l.stages.into_iter().map(|s| format!("{}: {s}", stream.id)).collect::<Vec<_>>()
                    })
                })
            })
            .collect();
        let mut late = Vec::new();
        for task in tasks {
            late.extend(task.await.ok().flatten().into_iter().flatten());
        }
        self.note_change();
        if late.is_empty() { Ok(()) } else { Err(Laggards { stages: late, waited: deadline }) }
    }

    fn same_kind(&self, stream: Arc<Stream>, kind: &'static str) -> Result<Arc<Stream>, HubError> {
        if stream.kind == kind {
            Ok(stream)
        } else {
            Err(HubError::NameTaken { id: stream.id.clone(), kind: stream.kind })
        }
    }

    fn begin(
        &self,
        id: &StreamId,
        kind: &'static str,
        source: Option<Box<dyn FrameSource>>,
        patience: Patience,
        background: bool,
    ) -> Result<Arc<Stream>, HubError> {
        let start = |source: BoxError| HubError::Start { id: id.clone(), source };
        self.check_room(&lock(&self.0.streams))?;
        // Building may take long, so it happens outside the lock; the room is checked again below.
        let effect = self.0.factory.effect(id).map_err(start)?;
        let mut streams = lock(&self.0.streams);
        self.check_room(&streams)?;
        if let Some(other) = streams.by_id.get(id).filter(|s| !s.pipeline.state().is_over()).cloned() {
            drop(streams);
            // Two first pictures at once: the second joins the first.
            return if source.is_none() {
                self.same_kind(other, kind)
            } else {
                Err(HubError::NameTaken { id: id.clone(), kind: other.kind })
            };
        }
        let config = &self.0.config;
        let pool = BufferPool::new(config.pooled_frames);
        let stats: Arc<StreamStats> = Arc::default();
        let mut builder = Pipeline::builder(id.clone())
            .mode(Mode::Live)
            .effect(effect)
            .clock(config.clock.clone())
            .pool(pool.clone())
            .stats(stats.clone())
            .target_fps(config.target_fps)
            .sample_every(config.sample_every)
            .hang_after(config.hang_after);
        for sink in self.0.factory.sinks(&Beginning { id, kind, stats: &stats, patience }) {
            builder = builder.sink(sink);
        }
        if let Some(source) = source {
            builder = builder.source(source);
        }
        let _in_runtime = self.0.runtime.enter();
        let pipeline = builder.start().map_err(|e| start(e.into()))?;
        streams.begun += 1;
        let stream = Arc::new(Stream {
            id: id.clone(),
            kind,
            background,
            order: streams.begun,
            started: config.clock.now(),
            patience,
            pipeline,
            pool,
            clock: config.clock.clone(),
            ended: Mutex::default(),
        });
        streams.by_id.insert(id.clone(), stream.clone());
        drop(streams);
        tracing::info!(stream = %id, kind, "stream began");
        self.0.factory.begun(&stream);
        self.watch_end(&stream);
        self.note_change();
        Ok(stream)
    }

    fn check_room(&self, streams: &Streams) -> Result<(), HubError> {
        let limit = self.0.config.max_streams;
        let live = streams.by_id.values().filter(|s| !s.pipeline.state().is_over()).count();
        match () {
            () if streams.closed => Err(HubError::ShuttingDown),
            () if live >= limit => Err(HubError::TooManyStreams { limit }),
            () => Ok(()),
        }
    }

    /// Tells watchers at once when a stream's source ends by itself.
    fn watch_end(&self, stream: &Arc<Stream>) {
        let mut state = stream.pipeline.watch_state();
        let (hub, stream) = (Arc::downgrade(&self.0), Arc::downgrade(stream));
        self.0.runtime.spawn(async move {
            let _ = state.wait_for(PipelineState::is_over).await;
            if let (Some(hub), Some(stream)) = (hub.upgrade(), stream.upgrade()) {
                let hub = Hub(hub);
                hub.end_stream(&stream, hub.0.config.clock.now());
            }
        });
    }

    fn end_stream(&self, stream: &Arc<Stream>, now: Instant) {
        {
            let mut ended = lock(&stream.ended);
            if ended.is_some() {
                return;
            }
            *ended = Some(now);
        }
        tracing::info!(stream = %stream.id, kind = stream.kind, "stream ended");
        stream.pipeline.begin_stop();
        let stopping = stream.clone();
        self.0.runtime.spawn(async move {
            if let Err(late) = stopping.pipeline.stop(Duration::from_secs(5)).await {
                tracing::warn!(stream = %stopping.id, %late, "stream ended late");
            }
        });
        self.note_change();
    }

    fn note_change(&self) {
        self.0.changed.send_modify(|n| *n += 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
