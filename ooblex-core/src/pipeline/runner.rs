//! The thread that runs a stream's processors.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::outlet::Outlet;
use super::swap::{ActiveEffect, Swap};
use crate::buffer::BufferPool;
use crate::clock::{Clock, Stage};
use crate::frame::Frame;
use crate::image::Image;
use crate::picture::Picture;
use crate::processor::{FailurePolicy, FrameProcessor, Mode, ProcessContext, ProcessError, Verdict};
use crate::queue::QueueReceiver;
use crate::stats::{DropReason, RateCap, StreamStats};

/// Frames in a row that may fail before the processor is discarded.
pub(super) const MAX_ERRORS_IN_A_ROW: u32 = 30;
/// Repeated warnings are logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The thread's own part: where it gets frames.
pub(super) struct Runner {
    pub(super) frames: QueueReceiver<Frame>,
    pub(super) core: Arc<Mutex<Core>>,
}

/// What runs a frame. The thread holds it while it works; a push borrows it when the thread is idle and the processor
/// is free.
pub(super) struct Core {
    pub(super) outlets: Vec<Outlet>,
    pub(super) processor: Option<Box<dyn FrameProcessor>>,
    pub(super) active: ActiveEffect,
    pub(super) swap: Swap,
    pub(super) stats: Arc<StreamStats>,
    pub(super) clock: Clock,
    pub(super) pool: BufferPool,
    pub(super) mode: Mode,
    /// A frame older than this when its turn comes is dropped unprocessed; `None` for no limit.
    pub(super) budget: Option<Duration>,
    /// How often a frame may be processed. Kept here and not where frames come in, so that of a burst the last frame
    /// is shown and not the first.
    pub(super) cap: RateCap,
    pub(super) stopped: tokio::sync::watch::Receiver<bool>,
    pub(super) errors_in_a_row: u32,
    pub(super) last_log: Option<Instant>,
}

/// What is to be done with a frame after the processor has seen it.
enum Outcome {
    Emit,
    Drop(DropReason),
}

impl Runner {
    /// Runs until the queue ends. In live mode a stop discards what waits.
    pub(super) fn run(mut self) {
        while self.frames.ready_blocking() {
            // First the core, then the frame: whoever finds the core free and the queue empty knows that no frame is
            // under way.
            let mut core = lock(&self.core);
            let Some(frame) = self.frames.try_recv() else { continue };
            let frame = core.paced(frame, &mut self.frames);
            core.work_off(frame);
        }
        let mut core = lock(&self.core);
        // The sinks end with what feeds them, however long somebody keeps the input.
        core.outlets.clear();
        if let Some(processor) = core.processor.take() {
            core.swap.retire(processor);
        }
    }
}

/// The core, whatever happened to the last one who held it: panics of processors are caught inside.
pub(super) fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Runs a frame on the caller's thread if that costs next to nothing; gives it back if it does not.
    pub(super) fn run_free(&mut self, frame: Frame) -> Option<Frame> {
        self.apply_swap();
        let free = self.processor.as_ref().is_some_and(|p| p.is_free());
        if !free || !self.cap.admit(self.clock.now()) {
            return Some(frame);
        }
        self.work_off(frame);
        None
    }

    fn work_off(&mut self, mut frame: Frame) {
        if self.mode == Mode::Live && *self.stopped.borrow() {
            self.stats.dropped.count(DropReason::Shutdown);
            return;
        }
        self.apply_swap();
        let now = self.clock.now();
        frame.trace.mark(Stage::Queue, now);
        if self.budget.is_some_and(|b| now.saturating_duration_since(frame.received) > b) {
            self.stats.dropped.count(DropReason::Expired);
            return;
        }
        let before = frame.image.counts();
        let outcome = self.process(&mut frame, now);
        self.stats.add_picture_counts(before, frame.image.counts());
        match outcome {
            Outcome::Emit => self.emit(frame),
            Outcome::Drop(reason) => self.stats.dropped.count(reason),
        }
    }

    /// Waits until the rate allows another frame, and gives the newest one that has come by then.
    fn paced(&mut self, mut frame: Frame, frames: &mut QueueReceiver<Frame>) -> Frame {
        while let Some(wait) = self.cap.wait(self.clock.now()) {
            // Nothing newer within that time, or the end: the wait is over either way.
            let Ok(Some(newer)) = frames.recv_timeout(wait) else { break };
            self.stats.dropped.count(DropReason::RateCap);
            frame = newer;
        }
        self.cap.admit(self.clock.now());
        frame
    }

    fn apply_swap(&mut self) {
        let Some(effect) = self.swap.take() else { return };
        self.active = ActiveEffect::of(&effect);
        self.errors_in_a_row = 0;
        if let Some(old) = self.processor.replace(effect.processor) {
            self.swap.retire(old);
        }
        tracing::info!(effect = %self.active.name, generation = self.active.generation, "effect switched");
    }

    fn process(&mut self, frame: &mut Frame, now: Instant) -> Outcome {
        let Some(processor) = &mut self.processor else { return fail(self.active.on_failure, frame) };
        let marks = frame.trace.marks().len();
        let mut cx = ProcessContext::new(&self.clock, &self.pool)
            .with_mode(self.mode)
            .with_generation(self.active.generation)
            .with_deadline(self.budget.map(|b| frame.received + b));
        cx.now = now;
        let result =
            catch_unwind(AssertUnwindSafe(|| processor.process(frame, &mut cx))).unwrap_or_else(|panic| {
                let what = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
                let what = what
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "panic".into());
                Err(ProcessError::Fatal(format!("panicked: {what}").into()))
            });
        let error = match result {
            Ok(verdict) => {
                self.errors_in_a_row = 0;
                if frame.trace.marks().len() == marks {
                    frame.trace.mark(Stage::Process(0), self.clock.now());
                }
                return match verdict {
                    Verdict::Emit => Outcome::Emit,
                    Verdict::Drop => Outcome::Drop(DropReason::Processor),
                };
            }
            Err(error) => error,
        };
        self.errors_in_a_row += 1;
        self.stats.process_errors.increment();
        let sequence = frame.sequence;
        if self.last_log.is_none_or(|t| now.saturating_duration_since(t) >= LOG_EVERY) {
            self.last_log = Some(now);
            let total = self.stats.process_errors.get();
            tracing::warn!(error = %error.inner(), sequence, total, effect = %self.active.name, "processing failed");
        }
        if matches!(error, ProcessError::Fatal(_)) || self.errors_in_a_row >= MAX_ERRORS_IN_A_ROW {
            let reason = match &error {
                ProcessError::Fatal(error) => error.to_string(),
                ProcessError::Frame(error) => {
                    format!("{MAX_ERRORS_IN_A_ROW} frames in a row failed: {error}")
                }
            };
            tracing::error!(%reason, effect = %self.active.name, policy = ?self.active.on_failure, "processor discarded");
            self.swap.failed(reason);
            if let Some(processor) = self.processor.take() {
                self.swap.retire(processor);
            }
        }
        fail(self.active.on_failure, frame)
    }

    fn emit(&mut self, frame: Frame) {
        self.stats.on_processed(self.clock.now(), &frame.trace);
        let Some((last, others)) = self.outlets.split_last() else { return };
        for outlet in others {
            outlet.hand_over(frame.clone());
        }
        last.hand_over(frame);
    }
}

/// Applies a failure policy. The frame may hold half-changed pixels, so `Pass` is only for harmless effects.
fn fail(policy: FailurePolicy, frame: &mut Frame) -> Outcome {
    match policy {
        FailurePolicy::Pass => Outcome::Emit,
        FailurePolicy::Hold => Outcome::Drop(DropReason::ProcessFailed),
        FailurePolicy::Blank => {
            frame.annotations.clear();
            let pool = frame.image.pool().clone();
            match Image::black(frame.image.width(), frame.image.height(), &pool) {
                Ok(black) => {
                    // A new picture, so that nothing of the old one remains reachable.
                    frame.image = Picture::new(black, pool);
                    Outcome::Emit
                }
                Err(_) => Outcome::Drop(DropReason::ProcessFailed),
            }
        }
    }
}
