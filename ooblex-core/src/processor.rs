//! What happens to frames on their way.

use std::time::{Duration, Instant};

use crate::buffer::BufferPool;
use crate::clock::{Clock, Stage};
use crate::error::BoxError;
use crate::frame::Frame;

/// What a processor decided about a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Pass it on.
    Emit,
    /// Do not show it; counted as [`DropReason::Processor`](crate::DropReason::Processor).
    Drop,
}

/// Why a processor failed. `?` on any error means [`ProcessError::Frame`].
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessError {
    /// This frame failed; the next may be fine.
    Frame(BoxError),
    /// The processor cannot go on; it is discarded and its [`FailurePolicy`] applies to the stream.
    Fatal(BoxError),
}

impl<E: Into<BoxError>> From<E> for ProcessError {
    fn from(error: E) -> Self {
        Self::Frame(error.into())
    }
}

impl ProcessError {
    /// The error inside.
    pub fn inner(&self) -> &BoxError {
        match self {
            Self::Frame(error) | Self::Fatal(error) => error,
        }
    }
}

/// What viewers see of a stream whose processor failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// The frame as it is. Only for effects whose absence harms nobody.
    #[default]
    Pass,
    /// The last good picture.
    Hold,
    /// A black picture of the same size. For effects that protect privacy: no unprocessed pixel leaves.
    Blank,
}

impl FailurePolicy {
    /// The stricter one: what holds for processors in a row.
    pub fn strictest(self, other: Self) -> Self {
        let rank = |policy| match policy {
            Self::Pass => 0,
            Self::Hold => 1,
            Self::Blank => 2,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Whether frames may be dropped to stay current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// The newest frame wins; old ones are dropped and counted.
    #[default]
    Live,
    /// Every frame is processed in order; a slow stage slows the source.
    Lossless,
}

/// What a processor may know and use beside the frame.
#[non_exhaustive]
pub struct ProcessContext<'a> {
    /// The time when processing of this frame began.
    pub now: Instant,
    /// When the result is no longer wanted, if there is a limit.
    pub deadline: Option<Instant>,
    /// Memory for output images.
    pub pool: &'a BufferPool,
    /// Live or lossless.
    pub mode: Mode,
    /// Number of the running effect, rising with every switch; goes into annotations.
    pub generation: u64,
    clock: &'a Clock,
}

impl<'a> ProcessContext<'a> {
    /// A context for `now` by `clock`: made by runners, and by tests that call processors directly.
    pub fn new(clock: &'a Clock, pool: &'a BufferPool) -> Self {
        Self { now: clock.now(), deadline: None, pool, mode: Mode::Live, generation: 0, clock }
    }

    /// Sets live or lossless.
    pub fn with_mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the number of the running effect.
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// Sets when the result is no longer wanted.
    pub fn with_deadline(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline;
        self
    }

    /// Notes in the frame's trace that step `step` of a chain is done. Called by processors made of several
    /// steps; the runner does it for all others.
    pub fn mark_step(&self, frame: &mut Frame, step: u8) {
        frame.trace.mark(Stage::Process(step), self.clock.now());
    }
}

/// How many frames a processor likes to see at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHint {
    /// Most frames in one call of [`FrameProcessor::process_batch`].
    pub max_frames: usize,
    /// How long to wait for more once one is there. Zero takes what is there.
    pub max_wait: Duration,
}

impl Default for BatchHint {
    fn default() -> Self {
        Self { max_frames: 1, max_wait: Duration::ZERO }
    }
}

/// Changes or examines frames.
///
/// A plain function on a thread of the stream's own: it may block and compute, and it keeps per-stream state in
/// `self`. Frames are edited in place. Panics are caught, cost this stream its processor, and count as bugs.
///
/// ```
/// use ooblex_core::prelude::*;
///
/// /// Quantizes each RGB channel; `step` is the level width in 8-bit units.
/// struct Posterize { step: u8 }
///
/// impl FrameProcessor for Posterize {
///     fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
///         for row in frame.image.make_rgb()?.rows_mut() {
///             for v in row { *v -= *v % self.step; }
///         }
///         Ok(Verdict::Emit)
///     }
/// }
/// ```
pub trait FrameProcessor: Send + 'static {
    /// Processes one frame in place.
    ///
    /// # Errors
    /// [`ProcessError::Frame`] for this frame alone, [`ProcessError::Fatal`] when nothing more can come.
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError>;

    /// Processes several frames, of different streams when shared by a [`FrameWorker`](crate::worker::FrameWorker). One
    /// result a frame, in order.
    fn process_batch(
        &mut self,
        frames: &mut [Frame],
        cx: &mut ProcessContext<'_>,
    ) -> Vec<Result<Verdict, ProcessError>> {
        frames.iter_mut().map(|frame| self.process(frame, cx)).collect()
    }

    /// How many frames to give [`process_batch`](Self::process_batch) at once.
    fn batch_hint(&self) -> BatchHint {
        BatchHint::default()
    }

    /// Does whatever would make the first frame slow. Runs off the hot path, before a swap.
    ///
    /// # Errors
    /// Anything that shows the processor cannot work; the swap is then called off.
    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// What viewers see when this processor fails.
    fn on_failure(&self) -> FailurePolicy {
        FailurePolicy::Pass
    }

    /// Names of the steps that [`ProcessContext::mark_step`] numbers; empty for a processor of one step.
    fn steps(&self) -> Vec<String> {
        Vec::new()
    }

    /// Gives away the drawing of what this processor finds, if it draws at all, so that it can be done after later
    /// steps of a chain. From then on the processor itself only annotates.
    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        None
    }

    /// Whether a frame costs less to process than to hand to another thread: no pixel is looked at, nothing waits.
    /// In live mode such a processor runs where frames arrive, which may be a network task.
    fn is_free(&self) -> bool {
        false
    }
}

impl<P: FrameProcessor + ?Sized> FrameProcessor for Box<P> {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        (**self).process(frame, cx)
    }
    fn process_batch(
        &mut self,
        frames: &mut [Frame],
        cx: &mut ProcessContext<'_>,
    ) -> Vec<Result<Verdict, ProcessError>> {
        (**self).process_batch(frames, cx)
    }
    fn batch_hint(&self) -> BatchHint {
        (**self).batch_hint()
    }
    fn warm_up(&mut self) -> Result<(), BoxError> {
        (**self).warm_up()
    }
    fn on_failure(&self) -> FailurePolicy {
        (**self).on_failure()
    }
    fn steps(&self) -> Vec<String> {
        (**self).steps()
    }
    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        (**self).take_overlay()
    }
    fn is_free(&self) -> bool {
        (**self).is_free()
    }
}

/// A processor from a closure.
pub fn processor_fn<F>(process: F) -> impl FrameProcessor
where
    F: FnMut(&mut Frame, &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> + Send + 'static,
{
    struct ProcessorFn<F>(F);

    impl<F> FrameProcessor for ProcessorFn<F>
    where
        F: FnMut(&mut Frame, &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> + Send + 'static,
    {
        fn process(
            &mut self,
            frame: &mut Frame,
            cx: &mut ProcessContext<'_>,
        ) -> Result<Verdict, ProcessError> {
            (self.0)(frame, cx)
        }
    }
    ProcessorFn(process)
}

/// Leaves frames as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassThrough;

impl FrameProcessor for PassThrough {
    fn process(&mut self, _frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        Ok(Verdict::Emit)
    }

    fn is_free(&self) -> bool {
        true
    }
}
