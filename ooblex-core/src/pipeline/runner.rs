//! The thread that runs a stream's processors, and its replacement when it does not come back.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::effect::{ActiveEffect, EffectState};
use super::job::{Job, Outcome, Tools, fail};
use super::outlet::Outlet;
use super::swap::Swap;
use crate::clearance::Clearance;
use crate::clock::Stage;
use crate::frame::Frame;
use crate::processor::{FrameProcessor, Mode, ProcessError, Verdict};
use crate::queue::QueueReceiver;
use crate::stats::{DropReason, RateCap, StreamStats};

/// Frames in a row that may fail before the processor is discarded.
pub(super) const MAX_ERRORS_IN_A_ROW: u32 = 30;
/// Repeated warnings are logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// The first frame of an effect that is being loaded waits this long for it: most are ready sooner.
const LOADING_PATIENCE: Duration = Duration::from_millis(500);

/// What the threads of a stream share. One of them at a time has the turn.
pub(super) struct Runner {
    pub(super) name: String,
    pub(super) span: tracing::Span,
    pub(super) frames: QueueReceiver<Frame>,
    core: Mutex<Core>,
}

/// What surrounds a frame's run. It is locked to take a frame and to give one away, not while a processor works: so
/// a processor that never returns keeps nothing but itself.
pub(super) struct Core {
    pub(super) outlets: Vec<Outlet>,
    /// `None` while it works, while it is loaded, and after it was discarded.
    pub(super) processor: Option<Box<dyn FrameProcessor>>,
    pub(super) active: ActiveEffect,
    pub(super) clearance: Clearance,
    pub(super) swap: Swap,
    pub(super) stats: Arc<StreamStats>,
    pub(super) tools: Tools,
    /// A frame older than this when its turn comes is dropped unprocessed; `None` for no limit.
    pub(super) budget: Option<Duration>,
    /// How often a frame may be processed. Kept here and not where frames come in, so that of a burst the last frame
    /// is shown and not the first.
    pub(super) cap: RateCap,
    pub(super) stopped: tokio::sync::watch::Receiver<bool>,
    pub(super) errors_in_a_row: u32,
    pub(super) last_log: Option<Instant>,
    /// Number of the thread whose results count.
    pub(super) turn: u64,
    /// The frame that a processor works on, and since when.
    pub(super) busy: Option<(u64, Instant)>,
    /// Whether a frame has waited for the effect that is being loaded.
    pub(super) waited: bool,
    /// Dropped when the last frame has left.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// What was found by whoever looked after the thread.
pub(super) enum Checkup {
    /// All is well.
    Well,
    /// The thread was given up; another one has to take its turn.
    GivenUp,
    /// There is nothing to look after any more.
    Over,
}

impl Runner {
    pub(super) fn new(name: String, span: tracing::Span, frames: QueueReceiver<Frame>, core: Core) -> Self {
        Self { name, span, frames, core: Mutex::new(core) }
    }

    /// Starts the thread whose turn it is.
    ///
    /// # Errors
    /// If the system refuses the thread; the sinks' end has come then.
    pub(super) fn spawn(self: &Arc<Self>) -> io::Result<()> {
        let (runner, turn) = (self.clone(), self.lock().turn);
        let run = move || {
            runner.span.in_scope(|| {
                // Processors' panics are caught closer by. A sink that panics must not leave the others without an end.
                if catch_unwind(AssertUnwindSafe(|| runner.run(turn))).is_err() {
                    tracing::error!("the stream's thread panicked");
                    runner.end(turn);
                }
            });
        };
        let spawned = std::thread::Builder::new().name(self.name.clone()).spawn(run);
        spawned.map(drop).inspect_err(|_| self.end(turn))
    }

    /// Runs until the queue ends or the thread is given up. In live mode a stop discards what waits.
    fn run(&self, turn: u64) {
        let (tools, swap) = {
            let core = self.lock();
            (core.tools.clone(), core.swap.clone())
        };
        while self.frames.ready_blocking() {
            // First the core, then the frame: whoever finds the core idle and the queue empty knows that no frame is
            // under way.
            let mut core = self.lock();
            if core.is_first_of_loading() {
                drop(core);
                swap.wait(LOADING_PATIENCE);
                core = self.lock();
            }
            if core.turn != turn {
                return;
            }
            let Some(frame) = self.frames.try_recv() else { continue };
            let frame = core.paced(frame, &self.frames);
            let Some(mut job) = core.begin(frame) else { continue };
            drop(core);
            let result = job.run(&tools);
            let mut core = self.lock();
            if core.turn != turn {
                // Too late: the frame was counted as lost, and the processor goes with this thread.
                return;
            }
            core.finish(job, result);
        }
        self.end(turn);
    }

    /// Runs a frame on the caller's thread if that costs next to nothing and nothing else is under way; gives it back
    /// if not.
    pub(super) fn run_free(&self, frame: Frame, is_idle: impl FnOnce() -> bool) -> Option<Frame> {
        let Some(mut core) = self.try_lock() else { return Some(frame) };
        // The thread takes frames out of the queue only while it holds the core.
        if core.busy.is_some() || !is_idle() {
            return Some(frame);
        }
        core.heed(&frame);
        let free = core.processor.as_ref().is_some_and(|p| p.is_free());
        if !free || !core.cap.admit(core.tools.clock.now()) {
            return Some(frame);
        }
        if let Some(mut job) = core.begin(frame) {
            let result = job.run(&core.tools);
            core.finish(job, result);
        }
        None
    }

    /// Gives the thread up if its processor has worked for `limit` by now, and had begun when this was last called:
    /// a program that was stopped for a while is no hang. `seen` is what the last call left.
    pub(super) fn check(&self, limit: Duration, seen: &mut Option<u64>) -> Checkup {
        // Whoever holds the core now is not inside a processor of its own.
        let Some(mut core) = self.try_lock() else { return Checkup::Well };
        if core.done.is_none() {
            return Checkup::Over;
        }
        let Some((sequence, begun)) = core.busy else {
            *seen = None;
            return Checkup::Well;
        };
        let known = seen.replace(sequence) == Some(sequence);
        if !known || core.tools.clock.now().saturating_duration_since(begun) < limit {
            return Checkup::Well;
        }
        core.give_up(limit);
        Checkup::GivenUp
    }

    /// Ends the stream for its sinks, unless another thread has the turn.
    fn end(&self, turn: u64) {
        let mut core = self.lock();
        if core.turn == turn {
            let rest = self.frames.close().len() as u64;
            core.stats.dropped.add(DropReason::Shutdown, rest);
            core.end();
        }
    }

    /// The core, whatever happened to the last one who held it.
    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Core>> {
        match self.core.try_lock() {
            Ok(core) => Some(core),
            Err(TryLockError::Poisoned(core)) => Some(core.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Core {
    /// Waits until the rate allows another frame, and gives the newest one that has come by then.
    fn paced(&mut self, mut frame: Frame, frames: &QueueReceiver<Frame>) -> Frame {
        while !self.cap.admit(self.tools.clock.now()) {
            let patience = self.cap.patience(self.tools.clock.now());
            // Nothing newer within that time, or the end: the wait is over either way.
            let Ok(Some(newer)) = frames.recv_timeout(patience) else {
                self.cap.admit(self.tools.clock.now());
                break;
            };
            self.stats.dropped.count(DropReason::RateCap);
            frame = newer;
        }
        frame
    }

    /// Whether the frame that waits is the first since an effect began to be loaded. True once.
    fn is_first_of_loading(&mut self) -> bool {
        self.active.state == EffectState::Loading && !std::mem::replace(&mut self.waited, true)
    }

    /// Takes a frame up: a job for its processor, or `None` if it was dealt with.
    fn begin(&mut self, mut frame: Frame) -> Option<Job> {
        if self.tools.mode == Mode::Live && *self.stopped.borrow() {
            self.stats.dropped.count(DropReason::Shutdown);
            return None;
        }
        self.heed(&frame);
        let now = self.tools.clock.now();
        frame.trace.mark(Stage::Queue, now);
        if self.budget.is_some_and(|b| now.saturating_duration_since(frame.received) > b) {
            self.stats.dropped.count(DropReason::Expired);
            return None;
        }
        frame.clearance = self.clearance.clone();
        let Some(processor) = self.processor.take() else {
            let loading = self.active.state == EffectState::Loading;
            let reason = if loading { DropReason::NotReady } else { DropReason::ProcessFailed };
            let outcome = fail(self.active.on_failure, reason, &mut frame);
            self.settle(frame, outcome);
            return None;
        };
        self.busy = Some((frame.sequence, now));
        Some(Job {
            begun: now,
            deadline: self.budget.map(|b| frame.received + b),
            generation: self.active.generation,
            counts: frame.image.counts(),
            marks: frame.trace.marks().len(),
            frame,
            processor,
        })
    }

    /// Changes the effect if another one waits.
    fn heed(&mut self, frame: &Frame) {
        let Some(effect) = self.swap.take(frame) else { return };
        self.active = ActiveEffect::of(&effect);
        self.clearance = self.swap.clearance(effect.generation);
        self.errors_in_a_row = 0;
        self.waited = false;
        if let Some(old) = std::mem::replace(&mut self.processor, effect.processor) {
            self.swap.retire(old);
        }
        let state = self.active.state.as_str();
        tracing::info!(effect = %self.active.name, generation = self.active.generation, state, "effect switched");
    }

    /// Takes a job back and gives its frame away.
    fn finish(&mut self, job: Job, result: Result<Verdict, ProcessError>) {
        let Job { mut frame, processor, begun, counts, marks, .. } = job;
        self.busy = None;
        self.processor = Some(processor);
        self.stats.add_picture_counts(counts, frame.image.counts());
        let outcome = match result {
            Ok(verdict) => {
                self.errors_in_a_row = 0;
                if frame.trace.marks().len() == marks {
                    frame.trace.mark(Stage::Process(0), self.tools.clock.now());
                }
                match verdict {
                    Verdict::Emit => Outcome::Emit,
                    Verdict::Drop => Outcome::Drop(DropReason::Processor),
                }
            }
            Err(error) => {
                self.note(&error, frame.sequence, begun);
                fail(self.active.on_failure, DropReason::ProcessFailed, &mut frame)
            }
        };
        self.settle(frame, outcome);
    }

    /// Counts an error, and discards the processor if it is one too many.
    fn note(&mut self, error: &ProcessError, sequence: u64, now: Instant) {
        self.errors_in_a_row += 1;
        self.stats.process_errors.increment();
        if self.last_log.is_none_or(|t| now.saturating_duration_since(t) >= LOG_EVERY) {
            self.last_log = Some(now);
            let total = self.stats.process_errors.get();
            tracing::warn!(error = %error.inner(), sequence, total, effect = %self.active.name, "processing failed");
        }
        match error {
            ProcessError::Fatal(error) => self.discard(error.to_string()),
            ProcessError::Frame(error) if self.errors_in_a_row >= MAX_ERRORS_IN_A_ROW => {
                self.discard(format!("{MAX_ERRORS_IN_A_ROW} frames in a row failed: {error}"));
            }
            ProcessError::Frame(_) => {}
        }
    }

    /// Goes on without the processor.
    fn discard(&mut self, reason: String) {
        tracing::error!(%reason, effect = %self.active.name, policy = ?self.active.on_failure, "processor discarded");
        self.active.state = EffectState::Failed { reason: reason.clone() };
        self.swap.discarded(reason);
        if let Some(processor) = self.processor.take() {
            self.swap.retire(processor);
        }
    }

    /// Goes on without the thread that has the turn, and without the processor and the frame in its hands.
    fn give_up(&mut self, limit: Duration) {
        self.turn += 1;
        self.busy = None;
        self.stats.hangs.increment();
        self.stats.process_errors.increment();
        self.stats.dropped.count(DropReason::ProcessFailed);
        self.discard(format!("it did not return within {limit:?}"));
    }

    fn settle(&mut self, frame: Frame, outcome: Outcome) {
        match outcome {
            Outcome::Emit => self.emit(frame),
            Outcome::Drop(reason) => self.stats.dropped.count(reason),
        }
    }

    fn emit(&mut self, frame: Frame) {
        self.stats.on_processed(self.tools.clock.now(), &frame.trace);
        let Some((last, others)) = self.outlets.split_last() else { return };
        for outlet in others {
            outlet.hand_over(frame.clone());
        }
        last.hand_over(frame);
    }

    /// Nothing more will come: the sinks end with what feeds them, however long somebody keeps the input.
    fn end(&mut self) {
        self.outlets.clear();
        self.done = None;
        if let Some(processor) = self.processor.take() {
            self.swap.retire(processor);
        }
    }
}
