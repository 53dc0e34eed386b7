//! One owner, many callers: a thread that owns something expensive and works off what its callers hand it.
//!
//! [`Worker`] is that thread for any kind of item; [`FrameWorker`] shares a whole processor between streams. Items
//! travel by value and come back by value, so nothing is copied. The thread never waits for a batch to fill unless its
//! [`BatchHint`] says so: whatever waits when it becomes free is the next batch. A caller has at most one item here,
//! because it waits for the result, so each caller's order is kept and nothing piles up.

mod frames;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::frames::{FrameWorker, Handle};
use crate::clock::Clock;
use crate::error::{BoxError, panicked};
use crate::processor::BatchHint;
use crate::queue::{QueuePolicy, QueueReceiver, QueueSender, Sent, TimedOut, queue};
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

    /// After how long without items to [`rest`](Self::rest); `None` never does.
    fn rest_after(&self) -> Option<Duration> {
        None
    }

    /// Gives back what is kept for speed alone. Called once in each pause.
    fn rest(&mut self) {}
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

struct Shared {
    stats: WorkerStats,
    failure: Mutex<Option<String>>,
    progress: Mutex<Progress>,
}

/// When the thread began or ended its last batch.
struct Progress {
    busy: bool,
    since: Instant,
}

impl Shared {
    fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }

    fn fail(&self, reason: &str) {
        lock(&self.failure).get_or_insert_with(|| reason.to_owned());
    }

    fn set_busy(&self, busy: bool) {
        *lock(&self.progress) = Progress { busy, since: Instant::now() };
    }

    /// How long the thread has been at one batch, or an item sent at `sent` has waited for it to begin one.
    fn stuck_for(&self, sent: Instant) -> Duration {
        let progress = lock(&self.progress);
        if progress.busy { progress.since.elapsed() } else { progress.since.max(sent).elapsed() }
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
    Unrun(T, String),
}

/// Why an item was not worked on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<T> {
    /// Its deadline passed before its turn came.
    #[error("its deadline passed before its turn came")]
    Expired(T),
    /// The thread gave up while working on it.
    #[error("{1}")]
    Ended(T, String),
    /// The thread gave up or was told to end before its turn came.
    #[error("{1}")]
    Unrun(T, String),
    /// The thread has been at one batch for longer than the caller's patience. It still has the item, and is probably
    /// stuck: [`end`](Worker::end) and replace it.
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
        Self::spawn_within(name, clock, None, build)
    }

    /// Like [`spawn`](Self::spawn), but waits for `build` no longer than `patience`; what it gives later is dropped.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn), and that it took too long.
    pub fn spawn_within<W, F>(
        name: &str,
        clock: Clock,
        patience: Option<Duration>,
        build: F,
    ) -> Result<Self, BoxError>
    where
        W: Work<T>,
        F: FnOnce() -> Result<W, BoxError> + Send + 'static,
    {
        let (jobs, waiting) = queue(QueuePolicy::Block(MAX_WAITING));
        let (ready, built) = mpsc::sync_channel(1);
        let progress = Mutex::new(Progress { busy: false, since: Instant::now() });
        let shared = Arc::new(Shared { stats: WorkerStats::default(), failure: Mutex::default(), progress });
        let own = shared.clone();
        std::thread::Builder::new().name(name.chars().take(15).collect()).spawn(move || match build() {
            Err(error) => drop(ready.send(Err(error))),
            Ok(work) => {
                if ready.send(Ok(())).is_ok() {
                    run(work, waiting, &own, &clock);
                }
            }
        })?;
        let done = match patience {
            Some(patience) => built.recv_timeout(patience),
            None => built.recv().map_err(RecvTimeoutError::from),
        };
        done.map_err(|error| match (error, patience) {
            (RecvTimeoutError::Timeout, Some(patience)) => {
                format!("building what the worker owns took longer than {patience:?}")
            }
            _ => "building what the worker owns panicked".to_owned(),
        })??;
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

    /// Why the thread has given up or was told to end, if so.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure()
    }

    /// Tells the thread to end after its present batch, whoever still holds a [`Caller`]. What waits and what comes
    /// later goes back with `reason`, unless there is an earlier one.
    pub fn end(&self, reason: &str) {
        self.shared.fail(reason);
        self.jobs.close();
    }
}

/// One caller's way to a [`Worker`].
pub struct Caller<T> {
    worker: Worker<T>,
    reply: mpsc::SyncSender<Done<T>>,
    done: mpsc::Receiver<Done<T>>,
}

impl<T: Send + 'static> Caller<T> {
    /// Has `item` worked on and waits for it. Past `deadline` it comes back unrun. The wait is given up when the thread
    /// has been at one batch for longer than `patience`, this item's or one before it (`None` waits for ever): a long
    /// queue is not a hang.
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
                return Err(CallError::Unrun(job.item, reason));
            }
        }
        match self.wait(patience) {
            Some(Done::Ran(item)) => Ok(item),
            Some(Done::Expired(item)) => Err(CallError::Expired(item)),
            Some(Done::Ended(item, reason)) => Err(CallError::Ended(item, reason)),
            Some(Done::Unrun(item, reason)) => Err(CallError::Unrun(item, reason)),
            None => {
                // An answer that comes later must not be taken for that of the next item.
                (self.reply, self.done) = mpsc::sync_channel(1);
                Err(CallError::Hung(patience.unwrap_or_default()))
            }
        }
    }

    /// The answer; `None` when patience ran out.
    fn wait(&self, patience: Option<Duration>) -> Option<Done<T>> {
        // Invariant: `reply` is kept, so the channel never disconnects.
        let Some(patience) = patience else { return self.done.recv().ok() };
        let sent = Instant::now();
        let mut left = patience;
        loop {
            match self.done.recv_timeout(left) {
                Ok(done) => return Some(done),
                Err(_) => left = patience.saturating_sub(self.worker.shared.stuck_for(sent)),
            }
            if left.is_zero() {
                return None;
            }
        }
    }

    /// The worker.
    pub fn worker(&self) -> &Worker<T> {
        &self.worker
    }
}

fn run<T, W: Work<T>>(mut work: W, waiting: QueueReceiver<Job<T>>, shared: &Shared, clock: &Clock) {
    let hint = work.hint();
    let max_items = hint.max_frames.max(1);
    while let Some(first) = next(&mut work, &waiting) {
        if let Some(reason) = shared.failure() {
            refuse(std::iter::once(first).chain(waiting.close()), &reason);
            return;
        }
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
        shared.set_busy(true);
        let failed = catch_unwind(AssertUnwindSafe(|| work.run(&mut items)))
            .unwrap_or_else(|panic| Err(panicked(&*panic)));
        shared.set_busy(false);
        let done = |item| match &failed {
            Ok(()) => Done::Ran(item),
            Err(reason) => Done::Ended(item, reason.clone()),
        };
        if let Err(reason) = &failed {
            tracing::error!(%reason, "what a worker owned was discarded");
            shared.fail(reason);
        }
        for (item, reply) in items.into_iter().zip(replies) {
            // A caller that has gone meanwhile no longer waits.
            drop(reply.send(done(item)));
        }
        if let Err(reason) = failed {
            refuse(waiting.close(), &reason);
            return;
        }
    }
}

/// The next item, however long it takes to come.
fn next<T, W: Work<T>>(work: &mut W, waiting: &QueueReceiver<Job<T>>) -> Option<Job<T>> {
    if let Some(after) = work.rest_after() {
        match waiting.recv_timeout(after) {
            Ok(next) => return next,
            Err(TimedOut) => work.rest(),
        }
    }
    waiting.recv_blocking()
}

/// Gives back what waits.
fn refuse<T>(jobs: impl IntoIterator<Item = Job<T>>, reason: &str) {
    for job in jobs {
        drop(job.reply.send(Done::Unrun(job.item, reason.to_owned())));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn a_pause_is_for_rest_once() {
        struct Sleeper(mpsc::Sender<()>);
        impl Work<u32> for Sleeper {
            fn run(&mut self, _: &mut [u32]) -> Result<(), String> {
                Ok(())
            }
            fn rest_after(&self) -> Option<Duration> {
                Some(Duration::from_millis(5))
            }
            fn rest(&mut self) {
                self.0.send(()).expect("the test listens");
            }
        }
        let (resting, rested) = mpsc::channel();
        let worker = Worker::spawn("sleeper", Clock::system(), move || Ok(Sleeper(resting))).expect("starts");
        for pause in 0..3 {
            rested.recv().expect("rests");
            assert!(rested.recv_timeout(Duration::from_millis(30)).is_err(), "twice in pause {pause}");
            worker.caller().call(1, None, None).expect("runs");
        }
    }

    #[test]
    fn a_long_queue_is_no_hang() {
        struct Slow;
        impl Work<u32> for Slow {
            fn run(&mut self, _: &mut [u32]) -> Result<(), String> {
                std::thread::sleep(Duration::from_millis(50));
                Ok(())
            }
        }
        let worker = Worker::spawn("slow", Clock::system(), || Ok(Slow)).expect("starts");
        // The last of ten waits for half a second, which is longer than each is patient.
        let call =
            |n| worker.caller().call(n, None, Some(Duration::from_millis(400))).expect("its turn comes");
        std::thread::scope(|scope| (0..10).for_each(|n| drop(scope.spawn(move || call(n)))));
        assert_eq!(worker.stats().items.get(), 10);
    }

    #[test]
    fn whoever_waits_behind_a_stuck_item_gives_up_with_it_and_is_not_run_later() {
        let (worker, go) = doubler();
        let patience = Some(Duration::from_millis(50));
        std::thread::scope(|scope| {
            let stuck = scope.spawn(|| worker.caller().call(13, None, patience).err());
            while worker.stats().batches.get() == 0 {
                std::thread::yield_now();
            }
            let behind = scope.spawn(|| worker.caller().call(4, None, patience).err());
            for thread in [stuck, behind] {
                assert!(matches!(thread.join().expect("no panic"), Some(CallError::Hung(_))));
            }
        });
        worker.end("stuck");
        go.send(()).expect("waits");
        assert!(matches!(worker.caller().call(4, None, None), Err(CallError::Unrun(4, r)) if r == "stuck"));
        // Once the thread has gone, so has what it owned.
        while go.send(()).is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(worker.stats().items.get(), 1, "the stuck one alone");
    }

    #[test]
    fn a_build_that_hangs_is_given_up() {
        let (go, wait) = mpsc::channel::<()>();
        let build = move || {
            let _ = wait.recv();
            Ok(Doubler(mpsc::channel().1))
        };
        let patience = Some(Duration::from_millis(5));
        let error = Worker::<u32>::spawn_within("slow", Clock::system(), patience, build).err();
        assert_eq!(
            error.expect("given up").to_string(),
            "building what the worker owns took longer than 5ms"
        );
        drop(go);
    }

    #[test]
    fn whoever_waits_behind_a_failure_gets_its_item_back_unrun() {
        let (worker, go) = doubler();
        std::thread::scope(|scope| {
            let first = scope.spawn(|| worker.caller().call(13, None, None).is_ok());
            while worker.stats().batches.get() == 0 {
                std::thread::yield_now();
            }
            let failing = scope.spawn(|| worker.caller().call(66, None, None).err());
            while worker.waiting() < 1 {
                std::thread::yield_now();
            }
            let behind = scope.spawn(|| worker.caller().call(4, None, None).err());
            while worker.waiting() < 2 {
                std::thread::yield_now();
            }
            go.send(()).expect("waits");
            assert!(first.join().expect("no panic"));
            assert!(matches!(failing.join().expect("no panic"), Some(CallError::Ended(66, _))));
            assert!(matches!(behind.join().expect("no panic"), Some(CallError::Unrun(4, _))));
        });
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
            assert!(matches!(caller.call(1, None, None), Err(CallError::Unrun(1, r)) if r == reason));
        }
    }
}
