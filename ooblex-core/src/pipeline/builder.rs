//! Describing and starting a pipeline.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use super::effect::{ActiveEffect, Effect};
use super::job::Tools;
use super::outlet::outlet;
use super::runner::{Core, Runner};
use super::supervise::SourceTask;
use super::swap::Swap;
use super::watchdog::Watchdog;
use super::{Backoff, Input, Pipeline, PipelineState};
use crate::buffer::BufferPool;
use crate::clock::Clock;
use crate::frame::StreamId;
use crate::processor::{FrameProcessor, Mode, PassThrough};
use crate::queue::{QueuePolicy, queue};
use crate::sink::FrameSink;
use crate::source::FrameSource;
use crate::stats::{RateCap, StreamStats};

/// Frames that may wait in front of each stage in lossless mode.
const LOSSLESS_DEPTH: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How long a processor may take for a frame, unless told otherwise.
pub(crate) const HANG_AFTER: Duration = Duration::from_secs(10);

/// Describes a pipeline; [`start`](Self::start) runs it.
///
/// ```
/// use ooblex_core::prelude::*;
/// use std::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let mut left = 3;
/// let pipeline = Pipeline::builder(StreamId::default())
///     .mode(Mode::Lossless)
///     .source(source_fn(move || {
///         left -= 1;
///         let pool = BufferPool::default();
///         let image = Image::black(64, 48, &pool).map_err(|e| SourceError::Fatal(e.into()))?;
///         let frame = Frame::new(StreamId::default(), 0, Instant::now(), Picture::new(image, pool));
///         Ok((left >= 0).then_some(frame))
///     }))
///     .processor("fill", processor_fn(|frame, _cx| {
///         frame.image.make_i420()?[0].fill(200);
///         Ok(Verdict::Emit)
///     }))
///     .sink(sink_fn(|frame| { println!("frame {}", frame.sequence); Ok(()) }))
///     .start()
///     .expect("starts");
/// pipeline.finished().await;
/// assert_eq!(pipeline.stats().processed.get(), 3);
/// # }
/// ```
pub struct PipelineBuilder {
    stream: StreamId,
    source: Option<Box<dyn FrameSource>>,
    effect: Effect,
    sinks: Vec<Box<dyn FrameSink>>,
    mode: Mode,
    input_policy: Option<QueuePolicy>,
    clock: Clock,
    pool: BufferPool,
    stats: Arc<StreamStats>,
    target_fps: u32,
    sample_every: u32,
    budget: Option<Duration>,
    hang_after: Duration,
}

impl PipelineBuilder {
    pub(super) fn new(stream: StreamId) -> Self {
        Self {
            stream,
            source: None,
            effect: Effect::new("none".into(), 0, Box::new(PassThrough)),
            sinks: Vec::new(),
            mode: Mode::Live,
            input_policy: None,
            clock: Clock::system(),
            pool: BufferPool::default(),
            stats: Arc::default(),
            target_fps: 0,
            sample_every: 1,
            budget: None,
            hang_after: HANG_AFTER,
        }
    }

    /// Where frames come from. Without one they are pushed through [`Pipeline::input`].
    pub fn source(mut self, source: impl FrameSource) -> Self {
        self.source = Some(Box::new(source));
        self
    }

    /// What happens to frames; it must be warmed up or need no warming up.
    pub fn processor(mut self, name: &str, processor: impl FrameProcessor) -> Self {
        self.effect = Effect::new(name.into(), 0, Box::new(processor));
        self
    }

    /// The same, prepared beforehand, or still being loaded.
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Adds a place where frames go.
    pub fn sink(mut self, sink: impl FrameSink) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// Live (default) or lossless.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Another policy for the queue in front of the processors than the mode's own.
    pub fn input_policy(mut self, policy: QueuePolicy) -> Self {
        self.input_policy = Some(policy);
        self
    }

    /// Another clock: for tests.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The pool that processors take memory from.
    pub fn pool(mut self, pool: BufferPool) -> Self {
        self.pool = pool;
        self
    }

    /// Counters that somebody else reads, too.
    pub fn stats(mut self, stats: Arc<StreamStats>) -> Self {
        self.stats = stats;
        self
    }

    /// Most frames a second that are processed; 0 for no limit.
    pub fn target_fps(mut self, fps: u32) -> Self {
        self.target_fps = fps;
        self
    }

    /// Processes only every n-th frame.
    pub fn sample_every(mut self, n: u32) -> Self {
        self.sample_every = n;
        self
    }

    /// Drops frames that are older than this when their turn comes.
    pub fn latency_budget(mut self, budget: Option<Duration>) -> Self {
        self.budget = budget;
        self
    }

    /// Gives a processor up that has not returned a frame for this long (10 s unless told otherwise): the stream goes
    /// on with another thread and the effect's failure policy. Whatever comes of the frame later is thrown away, and the
    /// processor with it.
    pub fn hang_after(mut self, limit: Duration) -> Self {
        self.hang_after = limit;
        self
    }

    /// Starts the source and the sinks as tasks on the current runtime and the processors on a thread of their own.
    ///
    /// # Errors
    /// If the system refuses the thread.
    ///
    /// # Panics
    /// Outside of a Tokio runtime; its timer must be enabled.
    pub fn start(self) -> io::Result<Pipeline> {
        let runtime = Handle::current();
        let default = match self.mode {
            Mode::Live => QueuePolicy::LatestWins,
            Mode::Lossless => QueuePolicy::Block(LOSSLESS_DEPTH),
        };
        let policy = self.input_policy.unwrap_or(default);
        let (frames_in, frames) = queue(policy);
        // Where the newest frame wins the runner paces itself; elsewhere frames above the rate are refused.
        let paced = self.mode == Mode::Live && policy == QueuePolicy::LatestWins;
        let (refused_above, run_at) = if paced { (0, self.target_fps) } else { (self.target_fps, 0) };
        let (stop, stopped) = watch::channel(false);
        let state = Arc::new(watch::Sender::new(PipelineState::Running));
        let active = ActiveEffect::of(&self.effect);
        let swap = Swap::new(active.clone(), runtime.clone());
        let mut stages = Vec::new();
        let mut outlets = Vec::new();
        let mut sinks = Vec::new();
        for sink in self.sinks {
            let (outlet, task) = outlet(sink, default, self.mode, &self.stats, &self.clock, &stopped);
            outlets.push(outlet);
            sinks.push(task);
        }
        let (done, thread_done) = oneshot::channel::<()>();
        let span = tracing::info_span!("stream", stream = %self.stream);
        let core = Core {
            outlets,
            processor: self.effect.processor,
            clearance: swap.clearance(active.generation),
            active,
            swap: swap.clone(),
            stats: self.stats.clone(),
            tools: Tools { clock: self.clock.clone(), pool: self.pool, mode: self.mode },
            budget: self.budget,
            cap: RateCap::new(run_at),
            stopped: stopped.clone(),
            errors_in_a_row: 0,
            last_log: None,
            turn: 0,
            busy: None,
            waited: false,
            done: Some(done),
        };
        let runner = Arc::new(Runner::new(thread_name(&self.stream), span.clone(), frames, core));
        let input = Input::new(
            self.stream.clone(),
            frames_in,
            self.stats.clone(),
            self.clock.clone(),
            refused_above,
            self.sample_every,
            paced.then(|| runner.clone()),
        );
        runner.spawn()?;
        stages.push(("processors".to_owned(), runtime.spawn(async move { drop(thread_done.await) })));
        let watchdog = Watchdog { runner, limit: self.hang_after, state: state.clone() };
        runtime.spawn(tracing::Instrument::instrument(watchdog.run(), span.clone()));
        for (index, sink) in sinks.into_iter().enumerate() {
            stages.push((
                format!("sink {index}"),
                runtime.spawn(tracing::Instrument::instrument(sink.run(), span.clone())),
            ));
        }
        if let Some(source) = self.source {
            let seed = jitter_seed();
            let task = SourceTask {
                source,
                input: input.clone(),
                mode: self.mode,
                state: state.clone(),
                stopped,
                stats: self.stats.clone(),
                backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, seed),
            };
            stages.push((
                "source".to_owned(),
                runtime.spawn(tracing::Instrument::instrument(task.run(), span)),
            ));
        }
        Ok(Pipeline { input, swap, stats: self.stats, state, stop, stages: Mutex::new(stages) })
    }
}

/// A number that differs between processes and streams: the standard library seeds its hash maps at random.
fn jitter_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(())
}

/// Linux shows 15 bytes of a thread's name.
fn thread_name(stream: &StreamId) -> String {
    format!("proc-{stream}").chars().take(15).collect()
}
