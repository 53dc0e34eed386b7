//! One model, many streams: a thread that owns a processor and batches frames across streams.
//!
//! The thread takes whole frames by value; nothing is copied. It never waits for a batch to fill unless its
//! [`BatchHint`](crate::BatchHint) says so: whatever waits when it becomes free is the next batch. Each stream has at most one
//! frame here, because its own thread waits for the result, so order within a stream is kept.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::buffer::BufferPool;
use crate::clock::Clock;
use crate::error::BoxError;
use crate::frame::Frame;
use crate::processor::{FailurePolicy, FrameProcessor, ProcessContext, ProcessError, Verdict};
use crate::queue::{QueuePolicy, QueueReceiver, QueueSender, Sent, queue};
use crate::stats::Counter;

/// More streams than this waiting at once means the limit on streams is not set.
const MAX_WAITING: usize = 4096;

/// Owner of a shared processor. When the last of it and its [`Handle`]s is gone, the thread ends.
#[derive(Clone)]
pub struct Worker {
    jobs: QueueSender<Job>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stats: WorkerStats,
    on_failure: FailurePolicy,
    failure: Mutex<Option<String>>,
}

/// Counters of a worker.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Batches run.
    pub batches: Counter,
    /// Frames run.
    pub frames: Counter,
    /// Frames returned unrun because their deadline had passed.
    pub expired: Counter,
}

struct Job {
    frame: Frame,
    deadline: Option<Instant>,
    generation: u64,
    reply: mpsc::SyncSender<(Frame, Result<Verdict, ProcessError>)>,
}

impl Worker {
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
        let (jobs, waiting) = queue(QueuePolicy::Block(MAX_WAITING));
        let (ready, built) = mpsc::sync_channel(1);
        std::thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || {
            let prepared = build().and_then(|mut processor| processor.warm_up().map(|()| processor));
            let processor = match prepared {
                Ok(processor) => processor,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let shared = Arc::new(Shared { on_failure: processor.on_failure(), ..Shared::default() });
            if ready.send(Ok(shared.clone())).is_ok() {
                run(processor, waiting, &shared, &clock);
            }
        })?;
        let shared = built.recv().map_err(|_| "building the shared processor panicked")??;
        Ok(Self { jobs, shared })
    }

    /// A processor for one stream that sends its frames here.
    pub fn handle(&self) -> Handle {
        let (reply, done) = mpsc::sync_channel(1);
        Handle { worker: self.clone(), reply, done }
    }

    /// Counters.
    pub fn stats(&self) -> &WorkerStats {
        &self.shared.stats
    }

    /// Why the thread has given up, if it has.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A stream's share of a [`Worker`].
pub struct Handle {
    worker: Worker,
    reply: mpsc::SyncSender<(Frame, Result<Verdict, ProcessError>)>,
    done: mpsc::Receiver<(Frame, Result<Verdict, ProcessError>)>,
}

impl FrameProcessor for Handle {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let vacant = Frame::new(frame.stream.clone(), frame.sequence, frame.received, frame.image.vacant());
        let taken = std::mem::replace(frame, vacant);
        let (deadline, generation, reply) = (cx.deadline, cx.generation, self.reply.clone());
        let gone = || self.worker.failure().unwrap_or_else(|| "the shared processor has ended".into());
        match self.worker.jobs.send_blocking(Job { frame: taken, deadline, generation, reply }) {
            Sent::Queued => {}
            Sent::Closed(job) | Sent::Displaced(job) | Sent::Rejected(job) => {
                *frame = job.frame;
                return Err(ProcessError::Fatal(gone().into()));
            }
        }
        match self.done.recv() {
            Ok((back, result)) => {
                *frame = back;
                result
            }
            Err(mpsc::RecvError) => Err(ProcessError::Fatal(gone().into())),
        }
    }

    fn on_failure(&self) -> FailurePolicy {
        self.worker.shared.on_failure
    }
}

fn run<P: FrameProcessor>(mut processor: P, mut waiting: QueueReceiver<Job>, shared: &Shared, clock: &Clock) {
    let pool = BufferPool::default();
    let hint = processor.batch_hint();
    let max_frames = hint.max_frames.max(1);
    while let Some(first) = waiting.recv_blocking() {
        let mut jobs = Vec::with_capacity(max_frames);
        jobs.push(first);
        let until = Instant::now() + hint.max_wait;
        while jobs.len() < max_frames {
            match waiting.try_recv() {
                Some(job) => jobs.push(job),
                None => match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(Some(job)) => jobs.push(job),
                    Ok(None) | Err(_) => break,
                },
            }
        }
        let now = clock.now();
        let (late, jobs): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|j| j.deadline.is_some_and(|d| d < now));
        for job in late {
            shared.stats.expired.increment();
            drop(job.reply.send((job.frame, Ok(Verdict::Drop))));
        }
        if jobs.is_empty() {
            continue;
        }
        if let Err(reason) = run_batch(&mut processor, jobs, shared, clock, &pool) {
            tracing::error!(%reason, "shared processor discarded");
            *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
            for job in waiting.close() {
                drop(job.reply.send((job.frame, Err(ProcessError::Fatal(reason.clone().into())))));
            }
            return;
        }
    }
}

/// Runs one batch and answers every job; an error means the processor must not be used again.
fn run_batch<P: FrameProcessor>(
    processor: &mut P,
    jobs: Vec<Job>,
    shared: &Shared,
    clock: &Clock,
    pool: &BufferPool,
) -> Result<(), String> {
    let generation = jobs.iter().map(|j| j.generation).max().unwrap_or_default();
    let deadline = jobs.iter().filter_map(|j| j.deadline).min();
    let (mut frames, replies): (Vec<_>, Vec<_>) = jobs.into_iter().map(|j| (j.frame, j.reply)).unzip();
    shared.stats.batches.increment();
    shared.stats.frames.add(frames.len() as u64);
    let mut cx = ProcessContext::new(clock, pool).with_generation(generation).with_deadline(deadline);
    let results = catch_unwind(AssertUnwindSafe(|| processor.process_batch(&mut frames, &mut cx)));
    let (results, failed) = match results {
        Ok(results) if results.len() == frames.len() => (results, None),
        Ok(results) => {
            let reason =
                format!("the shared processor gave {} results for {} frames", results.len(), frames.len());
            (fatal(&reason, frames.len()), Some(reason))
        }
        Err(_) => {
            let reason = "the shared processor panicked".to_owned();
            (fatal(&reason, frames.len()), Some(reason))
        }
    };
    for ((frame, reply), result) in frames.into_iter().zip(replies).zip(results) {
        // A stream that ended meanwhile no longer waits.
        drop(reply.send((frame, result)));
    }
    failed.map_or(Ok(()), Err)
}

fn fatal(reason: &str, count: usize) -> Vec<Result<Verdict, ProcessError>> {
    (0..count).map(|_| Err(ProcessError::Fatal(reason.to_owned().into()))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;
    use crate::frame::StreamId;
    use crate::image::Image;
    use crate::picture::Picture;
    use crate::processor::BatchHint;

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
    fn worker(gated: bool) -> (Worker, Arc<Barrier>) {
        let gate = Arc::new(Barrier::new(2));
        let theirs = gate.clone();
        let build = move || Ok(Batcher { gate: theirs, first: gated });
        (Worker::spawn("batcher", Clock::system(), build).expect("starts"), gate)
    }

    fn frame(value: u8) -> Frame {
        let pool = BufferPool::default();
        let mut image = Image::black(2, 2, &pool).expect("valid");
        image.plane_mut(0).expect("plane").fill(value);
        Frame::new(StreamId::default(), 1, Instant::now(), Picture::new(image, pool))
    }

    fn send(worker: &Worker, value: u8, deadline: Option<Instant>) -> (u8, Result<Verdict, ProcessError>) {
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
            while worker.jobs.counts().waiting < 3 {
                std::thread::yield_now();
            }
            gate.wait();
            assert_eq!(first.join().expect("first").0, 101);
            let got: Vec<_> = others.into_iter().map(|t| t.join().expect("other")).collect();
            assert_eq!((got[0].0, got[2].0), (23, 43));
            assert!(matches!(got[1], (13, Err(ProcessError::Frame(_)))));
        });
        assert_eq!((worker.stats().batches.get(), worker.stats().frames.get()), (2, 4));
    }

    #[test]
    fn an_expired_frame_is_not_run() {
        let (worker, _) = worker(false);
        let past = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        assert!(matches!(send(&worker, 50, Some(past)), (50, Ok(Verdict::Drop))));
        assert_eq!((worker.stats().expired.get(), worker.stats().frames.get()), (1, 0));
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
        let result = Worker::spawn("none", Clock::system(), || Err::<Batcher, _>("no model".into()));
        assert_eq!(result.err().expect("an error").to_string(), "no model");
    }
}
