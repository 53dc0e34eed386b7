//! One frame in the hands of a processor.

use std::time::Instant;

use crate::buffer::BufferPool;
use crate::clock::Clock;
use crate::error::caught;
use crate::frame::Frame;
use crate::image::Image;
use crate::picture::{Picture, PictureCounts};
use crate::processor::{FailurePolicy, FrameProcessor, Mode, ProcessContext, ProcessError, Verdict};
use crate::stats::DropReason;

/// A frame and what runs it, together away from the core: whoever has the job needs nothing else.
pub(super) struct Job {
    pub(super) frame: Frame,
    pub(super) processor: Box<dyn FrameProcessor>,
    pub(super) begun: Instant,
    pub(super) deadline: Option<Instant>,
    pub(super) generation: u64,
    /// What the picture had gone through, and marks in the frame's trace, before.
    pub(super) counts: PictureCounts,
    pub(super) marks: usize,
}

/// What a job needs of its stream.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) clock: Clock,
    pub(super) pool: BufferPool,
    pub(super) mode: Mode,
}

impl Job {
    /// Runs the processor. A panic is a fatal error.
    pub(super) fn run(&mut self, tools: &Tools) -> Result<Verdict, ProcessError> {
        let mut cx = ProcessContext::new(&tools.clock, &tools.pool)
            .with_mode(tools.mode)
            .with_generation(self.generation)
            .with_deadline(self.deadline);
        cx.now = self.begun;
        let run = || Ok(self.processor.process(&mut self.frame, &mut cx));
        caught(run).unwrap_or_else(|panic| Err(ProcessError::Fatal(panic)))
    }
}

/// What is to be done with a frame after the processor has seen it.
pub(super) enum Outcome {
    Emit,
    Drop(DropReason),
}

/// Applies a failure policy; frames that it holds back are dropped for `reason`. The frame may hold half-changed
/// pixels, so `Pass` is only for harmless effects.
pub(super) fn fail(policy: FailurePolicy, reason: DropReason, frame: &mut Frame) -> Outcome {
    match policy {
        FailurePolicy::Pass => Outcome::Emit,
        FailurePolicy::Hold => Outcome::Drop(reason),
        FailurePolicy::Blank => {
            frame.annotations.clear();
            let pool = frame.image.pool().clone();
            match Image::black(frame.image.width(), frame.image.height(), &pool) {
                Ok(black) => {
                    // A new picture, so that nothing of the old one remains reachable.
                    frame.image = Picture::new(black, pool);
                    Outcome::Emit
                }
                Err(_) => Outcome::Drop(reason),
            }
        }
    }
}
