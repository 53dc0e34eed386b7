//! One owner, many callers: a thread that owns something expensive and works off what its callers hand it.
//!
//! [`Worker`] is that thread for any kind of item; [`FrameWorker`] shares a whole processor between streams. Items
//! travel by value and come back by value, so nothing is copied. The thread never waits for a batch to fill unless its
//! [`BatchHint`] says so: whatever waits when it becomes free is the next batch. A caller has at most one item here,
//! because it waits for the result, so each caller's order is kept and nothing piles up.

mod frames;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use self::frames::{FrameWorker, Handle};
use crate::clock::Clock;
use crate::error::BoxError;
use crate::processor::BatchHint;
use crate::queue::{QueuePolicy, QueueReceiver, QueueSender, Sent, queue};
use crate::stats::Counter;

/// More callers than this waiting at once means the limit on streams is not set.
const MAX_WAITING: usize = 4096;

/// What a [`Worker`]'s thread does.
pub trait Work<T>: 'static {
    /// Works on a batch in place: each item carries its own result, so that one item's failure spares the others.
    ///
    /// # Errors
    /// Why the owner must not be used again. The items go back to their callers as they are.
    fn run(&mut self, batch: &mut [T]) -> Result<(), String>;

    /// How many items to take at once.
    fn hint(&self) -> BatchHint {
        BatchHint::default()
    }
}

/// Handle of a thread that owns a [`Work`]. When the last of these and of its [`Caller`]s is gone, the thread ends.
pub struct Worker<T> {
    jobs: QueueSender<Job<T>>,
    shared: Arc<Shared>,
}

impl<T> Clone for Worker<T> {
    fn clone(&self) -> Self {
        Self { jobs: self.jobs.clone(), shared: self.shared.clone() }
    }
}

#[derive(Default)]
struct Shared {
    stats: WorkerStats,
    failure: Mutex<Option<String>>,
}

impl Shared {
    fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counters of a worker.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Batches run.
    pub batches: Counter,
    /// Items run.
    pub items: Counter,
    /// Items returned unrun because their deadline had passed.
    pub expired: Counter,
}

struct Job<T> {
    item: T,
    deadline: Option<Instant>,
    reply: mpsc::SyncSender<Done<T>>,
}

enum Done<T> {
    Ran(T),
    Expired(T),
    Ended(T, String),
}

/// Why an item was not worked on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<T> {
    /// Its deadline passed before its turn came.
    #[error("its deadline passed before its turn came")]
    Expired(T),
    /// The thread has given up or ended.
    #[error("{1}")]
    Ended(T, String),
    /// No answer came within the caller's patience. The thread still has the item, and is probably stuck: replace it.
    #[error("no answer within {0:?}")]
    Hung(Duration),
}

impl<T: Send + 'static> Worker<T> {
    /// Starts the thread, which calls `build`; returns when that is done. Blocks: call it off the hot path.
    ///
    /// # Errors
    /// What `build` said, or that the system refused the thread.
    pub fn spawn<W, F>(name: &str, clock: Clock, build: F) -> Result<Self, BoxError>
    where
        W: Work<T>,
        F: FnOnce() -> Result<W, BoxError> + Send + 'static,
    {
        let (jobs, waiting) = queue(QueuePolicy::Block(MAX_WAITING));
        let (ready, built) = mpsc::sync_channel(1);
        let shared: Arc<Shared> = Arc::default();
        let own = shared.clone();
        std::thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || match build() {
            Err(error) => drop(ready.send(Err(error))),
            Ok(work) => {
                if ready.send(Ok(())).is_ok() {
                    run(work, waiting, &own, &clock);
                }
            }
        })?;
        built.recv().map_err(|_| "building what the worker owns panicked")??;
        Ok(Self { jobs, shared })
    }

    /// A way to hand items over, for one caller.
    pub fn caller(&self) -> Caller<T> {
        let (reply, done) = mpsc::sync_channel(1);
        Caller { worker: self.clone(), reply, done }
    }

    /// Items that wait for their turn now.
    pub fn waiting(&self) -> u64 {
        self.jobs.counts().waiting
    }

    /// Counters.
    pub fn stats(&self) -> &WorkerStats {
        &self.shared.stats
    }

    /// Why the thread has given up, if it has.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure()
    }
}

/// One caller's way to a [`Worker`].
pub struct Caller<T> {
    worker: Worker<T>,
    reply: mpsc::SyncSender<Done<T>>,
    done: mpsc::Receiver<Done<T>>,
}

impl<T: Send + 'static> Caller<T> {
    /// Has `item` worked on and waits for it. Past `deadline` it comes back unrun; without an answer within `patience`
    /// the wait is given up (`None` waits for ever).
    ///
    /// # Errors
    /// [`CallError`]. The item itself may carry an error of its own.
    pub fn call(
        &mut self,
        item: T,
        deadline: Option<Instant>,
        patience: Option<Duration>,
    ) -> Result<T, CallError<T>> {
        let job = Job { item, deadline, reply: self.reply.clone() };
        match self.worker.jobs.send_blocking(job) {
            Sent::Queued => {}
            Sent::Closed(job) | Sent::Displaced(job) | Sent::Rejected(job) => {
                let reason = self.worker.failure().unwrap_or_else(|| "the worker has ended".into());
                return Err(CallError::Ended(job.item, reason));
            }
        }
        let done = match patience {
            Some(patience) => self.done.recv_timeout(patience).map_err(|e| (e, patience)),
            None => self.done.recv().map_err(|_| (RecvTimeoutError::Disconnected, Duration::ZERO)),
        };
        match done {
            Ok(Done::Ran(item)) => Ok(item),
            Ok(Done::Expired(item)) => Err(CallError::Expired(item)),
            Ok(Done::Ended(item, reason)) => Err(CallError::Ended(item, reason)),
            Err((_, patience)) => {
                // An answer that comes later must not be taken for that of the next item.
                (self.reply, self.done) = mpsc::sync_channel(1);
                Err(CallError::Hung(patience))
            }
        }
    }

    /// The worker.
    pub fn worker(&self) -> &Worker<T> {
        &self.worker
    }
}

fn run<T, W: Work<T>>(mut work: W, mut waiting: QueueReceiver<Job<T>>, shared: &Shared, clock: &Clock) {
    let hint = work.hint();
    let max_items = hint.max_frames.max(1);
    while let Some(first) = waiting.recv_blocking() {
        let mut jobs = Vec::with_capacity(max_items);
        jobs.push(first);
        let until = Instant::now() + hint.max_wait;
        while jobs.len() < max_items {
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
            drop(job.reply.send(Done::Expired(job.item)));
        }
        if jobs.is_empty() {
            continue;
        }
        shared.stats.batches.increment();
        shared.stats.items.add(jobs.len() as u64);
        let (mut items, replies): (Vec<_>, Vec<_>) = jobs.into_iter().map(|j| (j.item, j.reply)).unzip();
        let failed = catch_unwind(AssertUnwindSafe(|| work.run(&mut items)))
            .unwrap_or_else(|panic| Err(format!("panicked: {}", panic_text(&*panic))));
        let done = |item| match &failed {
            Ok(()) => Done::Ran(item),
            Err(reason) => Done::Ended(item, reason.clone()),
        };
        if let Err(reason) = &failed {
            tracing::error!(%reason, "what a worker owned was discarded");
            *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.clone());
        }
        for (item, reply) in items.into_iter().zip(replies) {
            // A caller that has gone meanwhile no longer waits.
            drop(reply.send(done(item)));
        }
        if let Err(reason) = failed {
            for job in waiting.close() {
                drop(job.reply.send(Done::Ended(job.item, reason.clone())));
            }
            return;
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "no message".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubles numbers; waits for ever on 13 until told otherwise.
    struct Doubler(mpsc::Receiver<()>);

    impl Work<u32> for Doubler {
        fn run(&mut self, batch: &mut [u32]) -> Result<(), String> {
            for item in batch {
                match *item {
                    13 => drop(self.0.recv()),
                    66 => panic!("asked to"),
                    99 => return Err("worn out".into()),
                    _ => *item *= 2,
                }
            }
            Ok(())
        }
    }

    fn doubler() -> (Worker<u32>, mpsc::Sender<()>) {
        let (go, wait) = mpsc::channel();
        (Worker::spawn("doubler", Clock::system(), move || Ok(Doubler(wait))).expect("starts"), go)
    }

    #[test]
    fn a_late_answer_is_not_taken_for_the_next_one() {
        let (worker, go) = doubler();
        let mut caller = worker.caller();
        assert_eq!(caller.call(4, None, None).expect("runs"), 8);
        let patience = Duration::from_millis(5);
        assert!(matches!(caller.call(13, None, Some(patience)), Err(CallError::Hung(p)) if p == patience));
        go.send(()).expect("waits");
        assert_eq!(caller.call(7, None, None).expect("runs again"), 14);
    }

    #[test]
    fn whoever_gives_up_says_why_and_returns_the_item() {
        for (item, reason) in [(66, "panicked: asked to"), (99, "worn out")] {
            let (worker, _go) = doubler();
            let mut caller = worker.caller();
            assert!(
                matches!(caller.call(item, None, None), Err(CallError::Ended(i, r)) if i == item && r == reason)
            );
            assert_eq!(worker.failure().as_deref(), Some(reason));
            assert!(matches!(caller.call(1, None, None), Err(CallError::Ended(1, r)) if r == reason));
        }
    }
}
