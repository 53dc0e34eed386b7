//! The front door of a pipeline: numbers frames, counts them, keeps them within their rate, and queues them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::runner::Runner;
use crate::clock::Clock;
use crate::frame::{Frame, StreamId};
use crate::queue::{QueueCounts, QueueSender, Sent};
use crate::stats::{DropReason, RateCap, StreamStats};

/// What became of a pushed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pushed {
    /// It was accepted under this sequence number and waits for the processors, or has passed them.
    Queued(u64),
    /// It was accepted under this number, but dropped at once for this reason.
    Dropped(u64, DropReason),
}

impl Pushed {
    /// The sequence number it got.
    pub const fn sequence(self) -> u64 {
        match self {
            Self::Queued(sequence) | Self::Dropped(sequence, _) => sequence,
        }
    }
}

/// The pipeline has ended and takes no more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream has ended")]
pub struct Rejected;

/// Takes frames into a pipeline. Cheap to clone; may be used from tasks and threads.
#[derive(Clone)]
pub struct Input(Arc<Inner>);

struct Inner {
    stream: StreamId,
    queue: QueueSender<Frame>,
    stats: Arc<StreamStats>,
    clock: Clock,
    cap: RateCap,
    sample_every: u64,
    /// Where a frame may be run at once. Only in live mode, where a push never waits.
    runner: Option<Arc<Runner>>,
    /// Held while numbering and queueing, so that the order of numbers is the order in the queue.
    sequence: Mutex<Numbering>,
}

#[derive(Default)]
struct Numbering {
    last: u64,
    last_at: Option<Instant>,
}

impl Input {
    pub(super) fn new(
        stream: StreamId,
        queue: QueueSender<Frame>,
        stats: Arc<StreamStats>,
        clock: Clock,
        target_fps: u32,
        sample_every: u32,
        runner: Option<Arc<Runner>>,
    ) -> Self {
        Self(Arc::new(Inner {
            stream,
            queue,
            stats,
            clock,
            cap: RateCap::new(target_fps),
            sample_every: u64::from(sample_every.max(1)),
            runner,
            sequence: Mutex::default(),
        }))
    }

    /// Pushes without waiting. In lossless mode a full queue drops the frame; use [`push_wait`](Self::push_wait)
    /// there.
    ///
    /// # Errors
    /// [`Rejected`] once the pipeline has ended.
    pub fn push(&self, frame: Frame) -> Result<Pushed, Rejected> {
        let mut numbering = self.0.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = match self.accept(frame, &mut numbering)? {
            Ok(frame) => frame,
            Err(dropped) => return Ok(dropped),
        };
        let sequence = frame.sequence;
        let Some(frame) = self.run_free(frame) else { return Ok(Pushed::Queued(sequence)) };
        let sent = self.0.queue.try_send(frame);
        drop(numbering);
        self.settle(sequence, sent)
    }

    /// Pushes; in lossless mode waits for room. Callers that push concurrently in lossless mode may be numbered in
    /// another order than they are queued.
    ///
    /// # Errors
    /// [`Rejected`] once the pipeline has ended.
    pub async fn push_wait(&self, frame: Frame) -> Result<Pushed, Rejected> {
        let accepted = {
            let mut numbering = self.0.sequence.lock().unwrap_or_else(PoisonError::into_inner);
            self.accept(frame, &mut numbering)?
        };
        match accepted {
            Err(dropped) => Ok(dropped),
            Ok(frame) => {
                let sequence = frame.sequence;
                let sent = self.0.queue.send(frame).await;
                self.settle(sequence, sent)
            }
        }
    }

    /// Counts a frame that the source received but could not decode.
    pub fn lost(&self, reason: DropReason) {
        self.0.stats.received.increment();
        self.0.stats.dropped.count(reason);
    }

    /// When the newest frame was accepted.
    pub fn last_at(&self) -> Option<Instant> {
        self.0.sequence.lock().unwrap_or_else(PoisonError::into_inner).last_at
    }

    /// Counts of the queue in front of the processors.
    pub fn queue_counts(&self) -> QueueCounts {
        self.0.queue.counts()
    }

    pub(super) fn close(&self) {
        self.0.queue.close();
    }

    /// Numbers and counts a frame; `Ok(Err(..))` if its rate does not allow it.
    fn accept(&self, mut frame: Frame, numbering: &mut Numbering) -> Result<Result<Frame, Pushed>, Rejected> {
        if self.0.queue.is_closed() {
            return Err(Rejected);
        }
        let now = self.0.clock.now();
        numbering.last += 1;
        numbering.last_at = Some(now);
        frame.sequence = numbering.last;
        frame.stream = self.0.stream.clone();
        self.0.stats.on_received(now, frame.image.width(), frame.image.height());
        let reason = if !(frame.sequence - 1).is_multiple_of(self.0.sample_every) {
            DropReason::Sampled
        } else if !self.0.cap.admit(now) {
            DropReason::RateCap
        } else {
            return Ok(Ok(frame));
        };
        self.0.stats.dropped.count(reason);
        Ok(Err(Pushed::Dropped(frame.sequence, reason)))
    }

    /// Runs the frame here if the processor is free and nothing else is under way; gives it back if not.
    fn run_free(&self, frame: Frame) -> Option<Frame> {
        match &self.0.runner {
            Some(runner) => runner.run_free(frame, || self.0.queue.is_idle()),
            None => Some(frame),
        }
    }

    fn settle(&self, sequence: u64, sent: Sent<Frame>) -> Result<Pushed, Rejected> {
        match sent {
            Sent::Queued => Ok(Pushed::Queued(sequence)),
            Sent::Displaced(_) => {
                self.0.stats.dropped.count(DropReason::Superseded);
                Ok(Pushed::Queued(sequence))
            }
            Sent::Rejected(_) => {
                self.0.stats.dropped.count(DropReason::QueueFull);
                Ok(Pushed::Dropped(sequence, DropReason::QueueFull))
            }
            Sent::Closed(_) => {
                self.0.stats.dropped.count(DropReason::Shutdown);
                Err(Rejected)
            }
        }
    }
}
