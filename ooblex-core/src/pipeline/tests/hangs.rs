//! Processors that do not come back.

use std::sync::mpsc::{self, Receiver, SyncSender};

use super::*;
use crate::QueueCounts;

/// Soon for a test, and longer than a thread is kept from running.
const LIMIT: Duration = Duration::from_millis(50);

/// Brightens pictures; on one of them it does not return until it is released.
struct Stuck {
    on: u64,
    policy: FailurePolicy,
    entered: SyncSender<()>,
    release: Receiver<()>,
    /// Becomes free when the processor is dropped.
    _alive: Arc<()>,
}

/// What the test keeps of a [`Stuck`].
struct Held {
    entered: Receiver<()>,
    release: SyncSender<()>,
    alive: std::sync::Weak<()>,
}

fn stuck(on: u64, policy: FailurePolicy) -> (Stuck, Held) {
    let ((entered, has_entered), (release, released)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
    let alive = Arc::new(());
    let held = Held { entered: has_entered, release, alive: Arc::downgrade(&alive) };
    (Stuck { on, policy, entered, release: released, _alive: alive }, held)
}

impl FrameProcessor for Stuck {
    fn process(&mut self, frame: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        frame.image.make_i420()?[0].fill(99);
        if frame.sequence == self.on {
            self.entered.send(())?;
            self.release.recv()?;
        }
        Ok(Verdict::Emit)
    }
    fn on_failure(&self) -> FailurePolicy {
        self.policy
    }
}

async fn until(what: &str, ready: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !ready() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn is_balanced(counts: QueueCounts) -> bool {
    counts.sent == counts.delivered + counts.dropped + counts.waiting
}

async fn push(pipeline: &Pipeline, count: u64) {
    for _ in 0..count {
        pipeline.input().push_wait(black()).await.expect("open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_is_cut_and_the_policy_applies_at_once() {
    for (policy, shown) in [
        (FailurePolicy::Blank, vec![(1, 99), (3, 0), (4, 0)]),
        (FailurePolicy::Pass, vec![(1, 99), (3, 0), (4, 0)]),
        (FailurePolicy::Hold, vec![(1, 99)]),
    ] {
        let (processor, held) = stuck(2, policy);
        let sink = CollectingSink::default();
        let pipeline = builder().mode(Mode::Lossless).processor("stuck", processor).hang_after(LIMIT);
        let pipeline = pipeline.sink(sink.clone()).start().expect("starts");
        push(&pipeline, 4).await;
        let (stats, input) = (pipeline.stats(), pipeline.input());
        until("the cut", || stats.hangs.get() == 1).await;
        let failure = "it did not return within 50ms";
        assert_eq!(pipeline.swap().active().failure(), Some(failure), "{policy:?}");
        let lost = 4 - shown.len() as u64;
        until("the rest", || stats.processed.get() + stats.dropped.get(DropReason::ProcessFailed) == 4).await;
        assert_eq!((stats.dropped.total(), stats.process_errors.get()), (lost, 1), "{policy:?}");
        assert!(is_balanced(input.queue_counts()), "{:?}", input.queue_counts());
        // It comes back after all: with a frame that nobody waits for any more.
        assert!(held.alive.upgrade().is_some(), "the stuck thread still has it");
        held.release.send(()).expect("waits");
        until("the end of the processor", || held.alive.upgrade().is_none()).await;
        push(&pipeline, 1).await;
        assert_eq!(pipeline.stop(SOON).await, Ok(()));
        let expected = shown.into_iter().chain((policy != FailurePolicy::Hold).then_some((5, 0)));
        let seen: Vec<_> = sink.frames().iter().map(|f| (f.sequence, first_luma(f))).collect();
        assert_eq!(seen, expected.collect::<Vec<_>>(), "{policy:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_a_hang_costs_one_frame_and_a_swap_heals() {
    let (processor, held) = stuck(1, FailurePolicy::Blank);
    let sink = CollectingSink::default();
    let pipeline = builder().processor("stuck", processor).hang_after(LIMIT).sink(sink.clone());
    let pipeline = pipeline.start().expect("starts");
    pipeline.input().push(black()).expect("open");
    tokio::task::block_in_place(|| held.entered.recv()).expect("enters");
    // Those that come meanwhile replace each other, and the newest is shown in the end.
    for _ in 2..=5 {
        pipeline.input().push(black()).expect("open");
    }
    assert!(sink.wait_for(1, SOON).await);
    let stats = pipeline.stats();
    assert_eq!((sink.sequences(), stats.dropped.get(DropReason::Superseded)), (vec![5], 3));
    assert_eq!((stats.hangs.get(), stats.dropped.get(DropReason::ProcessFailed)), (1, 1));
    // An effect that is free runs where frames arrive, with the old thread still stuck.
    pipeline.swap().to(Effect::prepare("none", 1, Box::new(PassThrough)).expect("ready"));
    pipeline.input().push(black()).expect("open");
    assert!(sink.wait_for(2, SOON).await);
    pipeline.swap().to(Effect::prepare("stamp", 2, stamp(7)).expect("ready"));
    pipeline.input().push(black()).expect("open");
    assert!(sink.wait_for(3, SOON).await);
    held.release.send(()).expect("waits");
    until("the end of the processor", || held.alive.upgrade().is_none()).await;
    let seen: Vec<_> = sink.frames().iter().map(|f| (f.sequence, first_luma(f))).collect();
    assert_eq!(seen, [(5, 0), (6, 0), (7, 7)]);
    assert_eq!(pipeline.swap().active().state, EffectState::Running);
    assert!(is_balanced(pipeline.input().queue_counts()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_a_thread_that_was_given_up() {
    let (processor, held) = stuck(1, FailurePolicy::Hold);
    let sink = CollectingSink::default();
    let pipeline = builder().processor("stuck", processor).hang_after(LIMIT).sink(sink.clone());
    let pipeline = pipeline.start().expect("starts");
    pipeline.input().push(black()).expect("open");
    tokio::task::block_in_place(|| held.entered.recv()).expect("enters");
    let late = pipeline.stop(Duration::ZERO).await.expect_err("it is still inside");
    assert!(late.stages.contains(&"processors".to_owned()), "{late}");
    until("the sink's end", || sink.is_finished()).await;
    assert!(held.alive.upgrade().is_some());
    held.release.send(()).expect("waits");
    until("the end of the processor", || held.alive.upgrade().is_none()).await;
    assert_eq!(sink.sequences(), []);
}

#[tokio::test]
async fn a_program_that_stood_still_is_no_hang() {
    let clock = Clock::manual(Instant::now());
    let (processor, held) = stuck(1, FailurePolicy::Hold);
    // Looked after at once, and then once a second.
    let pipeline = builder().clock(clock.clone()).processor("stuck", processor).hang_after(SOON);
    let pipeline = pipeline.start().expect("starts");
    // Nothing is awaited, so the runtime stands still like a program that was stopped.
    pipeline.input().push(black_at(clock.now())).expect("open");
    held.entered.recv().expect("enters");
    clock.advance(Duration::from_secs(3600));
    tokio::time::sleep(Duration::from_millis(10)).await;
    held.release.send(()).expect("waits");
    until("the frame", || pipeline.stats().processed.get() == 1).await;
    assert_eq!((pipeline.stats().hangs.get(), pipeline.stats().dropped.total()), (0, 0));
}
