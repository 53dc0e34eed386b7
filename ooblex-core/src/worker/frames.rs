//! One processor, many streams.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::{CallError, Caller, Work, Worker, WorkerStats};
use crate::buffer::BufferPool;
use crate::clock::Clock;
use crate::error::{BoxError, panicked};
use crate::frame::Frame;
use crate::processor::{BatchHint, FailurePolicy, FrameProcessor, ProcessContext, ProcessError, Verdict};

/// Owner of a processor that several streams share. Frames are batched across streams as its
/// [`batch_hint`](FrameProcessor::batch_hint) says.
#[derive(Clone)]
pub struct FrameWorker {
    worker: Worker<Job>,
    on_failure: FailurePolicy,
}

struct Job {
    frame: Frame,
    generation: u64,
    deadline: Option<Instant>,
    result: Result<Verdict, ProcessError>,
}

impl FrameWorker {
    /// Starts the thread, which calls `build` and warms the processor up; returns when it is ready. Blocks: call it
    /// off the hot path.
    ///
    /// # Errors
    /// What `build` or the warm-up said, or that the system refused the thread.
    pub fn spawn<P, F>(name: &str, clock: Clock, build: F) -> Result<Self, BoxError>
    where
        P: FrameProcessor,
        F: FnOnce() -> Result<P, BoxError> + Send + 'static,
    {
        let policy = Arc::new(OnceLock::new());
        let (theirs, their_clock) = (policy.clone(), clock.clone());
        let worker = Worker::spawn(name, clock, move || {
            let mut processor = build()?;
            processor.warm_up()?;
            theirs.get_or_init(|| processor.on_failure());
            Ok(Shared { processor, pool: BufferPool::default(), clock: their_clock })
        })?;
        Ok(Self { worker, on_failure: policy.get().copied().unwrap_or_default() })
    }

    /// A processor for one stream that sends its frames here.
    pub fn handle(&self) -> Handle {
        Handle { caller: self.worker.caller(), on_failure: self.on_failure }
    }

    /// Counters.
    pub fn stats(&self) -> &WorkerStats {
        self.worker.stats()
    }

    /// Why the thread has given up, if it has.
    pub fn failure(&self) -> Option<String> {
        self.worker.failure()
    }
}

/// A stream's share of a [`FrameWorker`].
pub struct Handle {
    caller: Caller<Job>,
    on_failure: FailurePolicy,
}

impl FrameProcessor for Handle {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let taken = frame.take();
        let (generation, deadline) = (cx.generation, cx.deadline);
        let job = Job { frame: taken, generation, deadline, result: Ok(Verdict::Drop) };
        let (job, result) = match self.caller.call(job, deadline, None) {
            Ok(mut job) => {
                let result = std::mem::replace(&mut job.result, Ok(Verdict::Drop));
                (job, result)
            }
            Err(CallError::Expired(job)) => (job, Ok(Verdict::Drop)),
            Err(CallError::Ended(job, reason) | CallError::Unrun(job, reason)) => {
                (job, Err(ProcessError::Fatal(format!("the shared processor: {reason}").into())))
            }
            Err(error) => return Err(ProcessError::Fatal(error.to_string().into())),
        };
        *frame = job.frame;
        result
    }

    fn on_failure(&self) -> FailurePolicy {
        self.on_failure
    }
}

struct Shared<P> {
    processor: P,
    pool: BufferPool,
    clock: Clock,
}

impl<P: FrameProcessor> Work<Job> for Shared<P> {
    fn run(&mut self, batch: &mut [Job]) -> Result<(), String> {
        let generation = batch.iter().map(|j| j.generation).max().unwrap_or_default();
        let deadline = batch.iter().filter_map(|j| j.deadline).min();
        let mut cx =
            ProcessContext::new(&self.clock, &self.pool).with_generation(generation).with_deadline(deadline);
        // Lent to the processor as one slice; what stands in their places is never looked at.
        let mut frames: Vec<Frame> = batch.iter_mut().map(|job| job.frame.take()).collect();
        let run = std::panic::AssertUnwindSafe(|| self.processor.process_batch(&mut frames, &mut cx));
        let results = std::panic::catch_unwind(run);
        let count = frames.len();
        for (job, frame) in batch.iter_mut().zip(frames) {
            job.frame = frame;
        }
        match results {
            Ok(results) if results.len() == count => {
                batch.iter_mut().zip(results).for_each(|(job, result)| job.result = result);
                Ok(())
            }
            Ok(results) => Err(format!("gave {} results for {count} frames", results.len())),
            Err(panic) => Err(panicked(&*panic)),
        }
    }

    fn hint(&self) -> BatchHint {
        self.processor.batch_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;
    use crate::frame::StreamId;
    use crate::image::Image;
    use crate::picture::Picture;

    /// Adds the size of its batch to every pixel; fails on pictures that begin with 13, panics on 66.
    struct Batcher {
        gate: Arc<Barrier>,
        first: bool,
    }

    impl FrameProcessor for Batcher {
        fn process(&mut self, _: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
            unreachable!("only batches are run")
        }
        fn process_batch(
            &mut self,
            frames: &mut [Frame],
            _: &mut ProcessContext<'_>,
        ) -> Vec<Result<Verdict, ProcessError>> {
            if std::mem::take(&mut self.first) {
                self.gate.wait();
            }
            let size = frames.len() as u8;
            let one = |frame: &mut Frame| {
                let mut plane = frame.image.pixels_mut()?.plane_mut(0)?;
                match plane.row_mut(0)[0] {
                    13 => return Err("unlucky".into()),
                    66 => panic!("asked to"),
                    v => plane.fill(v + size),
                }
                Ok(Verdict::Emit)
            };
            frames.iter_mut().map(one).collect()
        }
        fn batch_hint(&self) -> BatchHint {
            BatchHint { max_frames: 8, max_wait: Duration::ZERO }
        }
    }

    /// A worker whose first batch waits at the gate if it is `gated`.
    fn worker(gated: bool) -> (FrameWorker, Arc<Barrier>) {
        let gate = Arc::new(Barrier::new(2));
        let theirs = gate.clone();
        let build = move || Ok(Batcher { gate: theirs, first: gated });
        (FrameWorker::spawn("batcher", Clock::system(), build).expect("starts"), gate)
    }

    fn frame(value: u8) -> Frame {
        let pool = BufferPool::default();
        let mut image = Image::black(2, 2, &pool).expect("valid");
        image.plane_mut(0).expect("plane").fill(value);
        Frame::new(StreamId::default(), 1, Instant::now(), Picture::new(image, pool))
    }

    fn send(
        worker: &FrameWorker,
        value: u8,
        deadline: Option<Instant>,
    ) -> (u8, Result<Verdict, ProcessError>) {
        let (clock, pool) = (Clock::system(), BufferPool::default());
        let mut cx = ProcessContext::new(&clock, &pool).with_deadline(deadline);
        let mut frame = frame(value);
        let result = worker.handle().process(&mut frame, &mut cx);
        (frame.image.pixels().expect("pixels").plane(0).expect("plane").row(0)[0], result)
    }

    #[test]
    fn frames_that_wait_form_the_next_batch_and_one_error_spares_the_others() {
        let (worker, gate) = worker(true);
        std::thread::scope(|scope| {
            let first = scope.spawn(|| send(&worker, 100, None));
            while worker.stats().batches.get() == 0 {
                std::thread::yield_now();
            }
            let others: Vec<_> = [20, 13, 40]
                .map(|v| {
                    scope.spawn({
                        let worker = &worker;
                        move || send(worker, v, None)
                    })
                })
                .into();
            while worker.worker.waiting() < 3 {
                std::thread::yield_now();
            }
            gate.wait();
            assert_eq!(first.join().expect("first").0, 101);
            let got: Vec<_> = others.into_iter().map(|t| t.join().expect("other")).collect();
            assert_eq!((got[0].0, got[2].0), (23, 43));
            assert!(matches!(got[1], (13, Err(ProcessError::Frame(_)))));
        });
        assert_eq!((worker.stats().batches.get(), worker.stats().items.get()), (2, 4));
    }

    #[test]
    fn an_expired_frame_is_not_run() {
        let (worker, _) = worker(false);
        let past = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        assert!(matches!(send(&worker, 50, Some(past)), (50, Ok(Verdict::Drop))));
        assert_eq!((worker.stats().expired.get(), worker.stats().items.get()), (1, 0));
    }

    #[test]
    fn a_panic_ends_the_worker_and_frames_come_back() {
        let (worker, gate) = worker(true);
        std::thread::scope(|scope| {
            let panicking = scope.spawn(|| send(&worker, 66, None));
            gate.wait();
            let (value, result) = panicking.join().expect("thread");
            assert_eq!(value, 66);
            assert!(matches!(result, Err(ProcessError::Fatal(_))));
        });
        assert!(matches!(send(&worker, 1, None), (1, Err(ProcessError::Fatal(_)))));
        assert!(worker.failure().is_some());
    }

    #[test]
    fn a_build_that_fails_says_why() {
        let result = FrameWorker::spawn("none", Clock::system(), || Err::<Batcher, _>("no model".into()));
        assert_eq!(result.err().expect("an error").to_string(), "no model");
    }
}
