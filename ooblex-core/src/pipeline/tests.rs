mod hangs;
mod pending;
mod swaps;

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

use super::*;
use crate::prelude::*;
use crate::stats::DropReason;
use crate::testing::{CollectingSink, ScriptedSource, Step};
use crate::{Clock, PassThrough, QueuePolicy, Stage};

const SOON: Duration = Duration::from_secs(20);

fn black() -> Frame {
    black_at(Instant::now())
}

fn black_at(received: Instant) -> Frame {
    let pool = BufferPool::default();
    let image = Image::black(16, 16, &pool).expect("valid");
    Frame::new(StreamId::default(), 0, received, Picture::new(image, pool))
}

/// Writes `value` into the first luma sample.
fn stamp(value: u8) -> Box<dyn FrameProcessor> {
    Box::new(processor_fn(move |frame, _| {
        frame.image.make_i420()?[0].fill(value);
        Ok(Verdict::Emit)
    }))
}

fn first_luma(frame: &Frame) -> u8 {
    frame.clone().image.pixels().expect("pixels").plane(0).expect("plane").row(0)[0]
}

fn builder() -> PipelineBuilder {
    Pipeline::builder(StreamId::new("test").expect("valid"))
}

#[tokio::test]
async fn lossless_mode_delivers_everything_in_order() {
    let sink = CollectingSink::default();
    let pipeline =
        builder().mode(Mode::Lossless).source(ScriptedSource::black(500, 8, 8)).sink(sink.clone()).start();
    let pipeline = pipeline.expect("starts");
    assert_eq!(pipeline.finished().await, PipelineState::Ended);
    assert_eq!(sink.sequences(), (1..=500).collect::<Vec<_>>());
    assert!(sink.is_finished());
    assert_eq!(pipeline.stats().dropped.total(), 0);
    assert!(sink.frames().iter().all(|f| f.stream.as_str() == "test"));
}

#[tokio::test]
async fn a_frame_carries_its_ledger() {
    let sink = CollectingSink::default();
    let pipeline =
        builder().mode(Mode::Lossless).source(ScriptedSource::black(1, 8, 8)).sink(sink.clone()).start();
    pipeline.expect("starts").finished().await;
    let frame = sink.frames().remove(0);
    let stages: Vec<Stage> = frame.trace.marks().iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, [Stage::Receive, Stage::Queue, Stage::Process(0), Stage::Handover]);
}

/// A processor ten times slower than the source: what comes out is never older than two processing times plus the
/// pace of the source, nothing queues up, and every frame is accounted for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_slow_processor_the_newest_frame_wins() {
    let clock = Clock::manual(Instant::now());
    let (started, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let gates = (started.clone(), go_on.clone());
    let slow = processor_fn(move |_, _| {
        gates.0.wait();
        gates.1.wait();
        Ok(Verdict::Emit)
    });
    let sink = CollectingSink::default();
    let pipeline =
        builder().processor("slow", slow).sink(sink.clone()).clock(clock.clone()).start().expect("starts");
    let mut pushed = 0u64;
    let push = |pushed: &mut u64| {
        *pushed += 1;
        assert!(pipeline.input().push(black_at(clock.now())).is_ok());
    };
    push(&mut pushed);
    let mut emitted = Vec::new();
    for round in 0..20u64 {
        tokio::task::block_in_place(|| started.wait());
        // Ten frames arrive while one is processed.
        for _ in 0..10 {
            clock.advance(Duration::from_millis(10));
            push(&mut pushed);
        }
        assert!(pipeline.input().queue_counts().waiting <= 1, "nothing queues up");
        tokio::task::block_in_place(|| go_on.wait());
        assert!(sink.wait_for(round as usize + 1, SOON).await);
        emitted.push(sink.sequences()[round as usize]);
    }
    assert_eq!(emitted, (0..20).map(|n| n * 10 + 1).collect::<Vec<u64>>(), "each the newest of its time");
    let oldest = sink.frames().iter().map(|f| f.trace.total()).max().expect("frames");
    assert!(oldest <= Duration::from_millis(200), "two processing times, was {oldest:?}");
    let stats = pipeline.stats();
    let waiting = pipeline.input().queue_counts().waiting;
    // The newest frame has been taken by the thread, which waits at its gate.
    assert!(waiting <= 1);
    assert_eq!(stats.received.get(), pushed);
    assert_eq!(stats.dropped.get(DropReason::Superseded), pushed - 20 - 1);
    // Let the thread end.
    tokio::task::block_in_place(|| (started.wait(), go_on.wait()));
    assert_eq!(pipeline.stop(SOON).await, Ok(()));
    assert_eq!(stats.received.get(), stats.processed.get() + stats.dropped.get(DropReason::Superseded));
}

/// Takes frames at once unless told to be busy, and notes which way each came.
struct Quick {
    busy: Arc<AtomicBool>,
    came: Arc<Mutex<Vec<(u64, bool, String)>>>,
}

impl Quick {
    fn note(&self, frame: &Frame, at_once: bool) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.came.lock().expect("whole").push((frame.sequence, at_once, thread));
    }
}

#[async_trait]
impl FrameSink for Quick {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        while self.busy.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        self.note(&frame, false);
        Ok(())
    }

    fn try_consume(&mut self, frame: Frame) -> Option<Frame> {
        if self.busy.load(Ordering::Acquire) {
            return Some(frame);
        }
        self.note(&frame, true);
        None
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_free_takes_no_detour_and_never_overtakes() {
    let (busy, came) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<_>>>::default());
    let sink = Quick { busy: busy.clone(), came: came.clone() };
    let pipeline = builder().sink(sink).start().expect("starts");
    let taken = || came.lock().expect("whole").clone();
    let here = std::thread::current().name().unwrap_or_default().to_owned();
    pipeline.input().push(black()).expect("open");
    assert_eq!(taken(), [(1, true, here.clone())], "processed and consumed before the push returned");
    let ledger = pipeline.stats().stage_latency();
    assert!(ledger.iter().any(|(stage, _)| *stage == Stage::Handover), "{ledger:?}");
    // A sink that would have to wait gets its frames through the queue, and those that come then wait behind them.
    busy.store(true, Ordering::Release);
    pipeline.input().push(black()).expect("open");
    while pipeline.stats().dropped.get(DropReason::SinkBusy) == 0 {
        pipeline.input().push(black()).expect("open");
        tokio::task::yield_now().await;
    }
    busy.store(false, Ordering::Release);
    let newest = pipeline.input().push(black()).expect("open").sequence();
    while taken().last().map(|(sequence, ..)| *sequence) != Some(newest) {
        tokio::task::yield_now().await;
    }
    let sequences: Vec<u64> = taken().iter().map(|(sequence, ..)| *sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    assert!(taken().iter().any(|(_, at_once, _)| !at_once), "one waited");
    // A processor with work to do stays on its thread.
    pipeline.swap().to(Effect::prepare("stamp", 1, stamp(7)).expect("ready"));
    let stamped = pipeline.input().push(black()).expect("open").sequence();
    while taken().last().map(|(sequence, ..)| *sequence) != Some(stamped) {
        tokio::task::yield_now().await;
    }
    assert_eq!(taken().last().map(|(.., thread)| thread.clone()), Some("proc-test".into()));
    pipeline.swap().to(Effect::prepare("none", 2, Box::new(PassThrough)).expect("ready"));
    let last = pipeline.input().push(black()).expect("open").sequence();
    assert_eq!(taken().last(), Some(&(last, true, here)), "a swap back is seen at once");
    pipeline.stop(SOON).await.expect("in time");
    assert!(pipeline.input().push(black()).is_err());
    assert_eq!(taken().last().map(|(sequence, ..)| *sequence), Some(last));
}

#[tokio::test]
async fn a_swap_takes_effect_between_two_frames_without_a_gap() {
    let sink = CollectingSink::default();
    let pipeline =
        builder().mode(Mode::Lossless).processor("1", stamp(1)).sink(sink.clone()).start().expect("starts");
    for n in 1..=100u8 {
        let effect = Effect::prepare(n.to_string(), n.into(), stamp(n)).expect("warm");
        pipeline.swap().to(effect);
        assert_eq!(pipeline.swap().active().name, n.to_string());
        pipeline.input().push_wait(black()).await.expect("open");
        assert!(sink.wait_for(n.into(), SOON).await);
        assert_eq!(first_luma(&sink.frames()[usize::from(n) - 1]), n);
    }
    assert_eq!(pipeline.stop(SOON).await, Ok(()));
    assert_eq!(sink.sequences(), (1..=100).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_older_effect_never_replaces_a_newer_one() {
    let pipeline = builder().sink(CollectingSink::default()).start().expect("starts");
    for generation in [3, 2] {
        pipeline.swap().to(Effect::prepare(generation.to_string(), generation, stamp(0)).expect("warm"));
    }
    assert_eq!(pipeline.swap().active().generation, 3);
}

#[test]
fn an_effect_that_cannot_warm_up_is_refused() {
    struct Cold;
    impl FrameProcessor for Cold {
        fn process(&mut self, _: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
            Ok(Verdict::Emit)
        }
        fn warm_up(&mut self) -> Result<(), BoxError> {
            Err("no weights".into())
        }
    }
    assert_eq!(Effect::prepare("cold", 1, Box::new(Cold)).err().expect("refused").to_string(), "no weights");
}

/// Fails in the given way and declares a policy.
struct Failing {
    policy: FailurePolicy,
    fatal: bool,
    panics: bool,
}

impl FrameProcessor for Failing {
    fn process(&mut self, frame: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        frame.image.make_i420()?[0].fill(99);
        match (self.panics, self.fatal) {
            (true, _) => panic!("on purpose"),
            (_, true) => Err(ProcessError::Fatal("for good".into())),
            _ => Err(ProcessError::Frame("this one".into())),
        }
    }
    fn on_failure(&self) -> FailurePolicy {
        self.policy
    }
}

async fn fail_once(policy: FailurePolicy, fatal: bool, panics: bool) -> (Vec<u8>, Option<String>, u64) {
    let sink = CollectingSink::default();
    let pipeline = builder().mode(Mode::Lossless).processor("failing", Failing { policy, fatal, panics });
    let pipeline =
        pipeline.source(ScriptedSource::black(3, 8, 8)).sink(sink.clone()).start().expect("starts");
    pipeline.finished().await;
    let failure = pipeline.swap().active().failure().map(str::to_owned);
    (sink.frames().iter().map(first_luma).collect(), failure, pipeline.stats().process_errors.get())
}

#[tokio::test]
async fn failure_policies_decide_what_leaves() {
    assert_eq!(fail_once(FailurePolicy::Pass, false, false).await, (vec![99; 3], None, 3));
    assert_eq!(fail_once(FailurePolicy::Hold, false, false).await, (vec![], None, 3));
    assert_eq!(fail_once(FailurePolicy::Blank, false, false).await, (vec![0; 3], None, 3));
}

#[tokio::test]
async fn a_fatal_error_or_panic_discards_the_processor_and_the_policy_goes_on() {
    let (seen, failure, errors) = fail_once(FailurePolicy::Blank, true, false).await;
    assert_eq!((seen, failure.as_deref(), errors), (vec![0; 3], Some("for good"), 1));
    let (seen, failure, errors) = fail_once(FailurePolicy::Blank, true, true).await;
    assert_eq!((seen, failure.as_deref(), errors), (vec![0; 3], Some("panicked: on purpose"), 1));
    let (seen, ..) = fail_once(FailurePolicy::Hold, true, true).await;
    assert_eq!(seen, []);
}

#[tokio::test]
async fn frames_that_fail_in_a_row_discard_the_processor_and_a_swap_heals() {
    let sink = CollectingSink::default();
    let failing = Failing { policy: FailurePolicy::Hold, fatal: false, panics: false };
    let pipeline = builder().mode(Mode::Lossless).processor("failing", failing).sink(sink.clone()).start();
    let pipeline = pipeline.expect("starts");
    for _ in 0..runner::MAX_ERRORS_IN_A_ROW + 5 {
        pipeline.input().push_wait(black()).await.expect("open");
    }
    while pipeline.stats().dropped.get(DropReason::ProcessFailed) < u64::from(runner::MAX_ERRORS_IN_A_ROW) + 5
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(pipeline.stats().process_errors.get(), runner::MAX_ERRORS_IN_A_ROW.into());
    assert!(pipeline.swap().active().failure().is_some());
    pipeline.swap().to(Effect::prepare("healed", 1, stamp(7)).expect("warm"));
    pipeline.input().push_wait(black()).await.expect("open");
    assert!(sink.wait_for(1, SOON).await);
    assert_eq!((first_luma(&sink.frames()[0]), pipeline.swap().active().failure()), (7, None));
}

#[tokio::test]
async fn a_lost_frame_is_not_a_dead_source() {
    let sink = CollectingSink::default();
    let source = ScriptedSource::new([
        Step::Frame(Box::new(black())),
        Step::Error(SourceError::Frame("corrupt".into())),
        Step::Frame(Box::new(black())),
    ]);
    let pipeline = builder().mode(Mode::Lossless).source(source).sink(sink.clone()).start().expect("starts");
    assert_eq!(pipeline.finished().await, PipelineState::Ended);
    assert_eq!(sink.sequences(), [1, 2]);
    assert_eq!(pipeline.stats().dropped.get(DropReason::DecodeFailed), 1);
    assert_eq!(pipeline.stats().received.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_source_is_opened_again_and_the_stream_says_so() {
    let sink = CollectingSink::default();
    let gate = Arc::new(Notify::new());
    let source = ScriptedSource::new([
        Step::Error(SourceError::Transient("unplugged".into())),
        Step::Wait(gate.clone()),
        Step::Frame(Box::new(black())),
    ]);
    let reopened = source.reopened.clone();
    let pipeline = builder().source(source).sink(sink.clone()).start().expect("starts");
    let mut state = pipeline.watch_state();
    let away =
        state.wait_for(|s| matches!(s, PipelineState::Reconnecting { .. })).await.expect("open").clone();
    assert_eq!(away, PipelineState::Reconnecting { reason: "unplugged".into() });
    state.wait_for(|s| *s == PipelineState::Running).await.expect("back");
    gate.notify_one();
    assert_eq!(pipeline.finished().await, PipelineState::Ended);
    assert_eq!(
        (sink.sequences(), *reopened.lock().expect("lock"), pipeline.stats().source_restarts.get()),
        (vec![1], 1, 1)
    );
}

#[tokio::test]
async fn a_fatal_source_fails_its_stream_with_the_reason() {
    let source = ScriptedSource::new([Step::Error(SourceError::Fatal("no such file".into()))]);
    let pipeline = builder().source(source).sink(CollectingSink::default()).start().expect("starts");
    assert_eq!(pipeline.finished().await, PipelineState::Failed { reason: "no such file".into() });
    assert!(pipeline.input().push(black()).is_err());
}

#[tokio::test]
async fn a_failed_sink_leaves_the_others_alone() {
    let sink = CollectingSink::default();
    let calls = Arc::new(AtomicU64::new(0));
    let counted = calls.clone();
    let broken = sink_fn(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Err(SinkError::Fatal("disk full".into()))
    });
    let pipeline = builder()
        .mode(Mode::Lossless)
        .source(ScriptedSource::black(50, 8, 8))
        .sink(broken)
        .sink(sink.clone());
    pipeline.start().expect("starts").finished().await;
    assert_eq!((calls.load(Ordering::Relaxed), sink.sequences().len()), (1, 50));
}

#[tokio::test]
async fn a_stop_names_who_is_late_and_a_second_stop_is_harmless() {
    struct Stuck {
        entered: Arc<Notify>,
        release: Arc<Notify>,
    }
    #[async_trait]
    impl FrameSink for Stuck {
        async fn consume(&mut self, _: Frame) -> Result<(), SinkError> {
            self.entered.notify_one();
            self.release.notified().await;
            Ok(())
        }
    }
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let stuck = Stuck { entered: entered.clone(), release: release.clone() };
    let sink = CollectingSink::default();
    let pipeline = builder().sink(sink.clone()).sink(stuck).start().expect("starts");
    pipeline.input().push(black()).expect("open");
    assert!(sink.wait_for(1, SOON).await);
    entered.notified().await;
    let late = pipeline.stop(Duration::from_millis(50)).await.expect_err("stuck");
    assert_eq!(late.stages, ["sink 1"]);
    assert_eq!(pipeline.stop(Duration::from_millis(50)).await, Ok(()));
    assert!(sink.is_finished());
    release.notify_one();
}

#[tokio::test]
async fn rates_are_capped_and_sampled_before_processing() {
    let clock = Clock::manual(Instant::now());
    let pipeline = builder().clock(clock.clone()).target_fps(10).input_policy(QueuePolicy::DropOldest(1000));
    let pipeline = pipeline.sink(CollectingSink::default()).start().expect("starts");
    for _ in 0..100 {
        clock.advance(Duration::from_millis(50));
        pipeline.input().push(black()).expect("open");
    }
    let dropped = pipeline.stats().dropped.get(DropReason::RateCap);
    assert!((49..=50).contains(&dropped), "20 a second against a cap of 10: {dropped} of 100 dropped");
    let pipeline =
        builder().sample_every(3).input_policy(QueuePolicy::DropOldest(1000)).start().expect("starts");
    let kept = (0..9).filter(|_| matches!(pipeline.input().push(black()), Ok(Pushed::Queued(_)))).count();
    assert_eq!((kept, pipeline.stats().dropped.get(DropReason::Sampled)), (3, 6));
}

#[tokio::test]
async fn of_a_burst_above_the_cap_the_last_frame_is_shown() {
    let sink = CollectingSink::default();
    let pipeline = builder().target_fps(20).sink(sink.clone()).start().expect("starts");
    let begun = Instant::now();
    for _ in 0..40 {
        pipeline.input().push(black()).expect("open");
    }
    let end = Instant::now() + SOON;
    while sink.sequences().last() != Some(&40) && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let shown = sink.sequences();
    assert_eq!(shown.last(), Some(&40), "{shown:?}");
    let allowed = 3.0 + begun.elapsed().as_secs_f64() * 20.0;
    assert!(shown.len() as f64 <= allowed, "the credit and what the time allows: {shown:?}");
    let stats = pipeline.stats();
    let reasons = [DropReason::RateCap, DropReason::Superseded, DropReason::SinkBusy];
    let dropped: u64 = reasons.iter().map(|r| stats.dropped.get(*r)).sum();
    assert_eq!(dropped + shown.len() as u64, 40, "each frame was shown or dropped for one reason");
    // A frame that waits for its turn does not keep the pipeline from stopping.
    for _ in 0..5 {
        pipeline.input().push(black()).expect("open");
    }
    assert_eq!(pipeline.stop(SOON).await, Ok(()));
}

#[tokio::test]
async fn a_little_above_the_cap_one_frame_is_left_out_and_none_is_late() {
    let clock = Clock::manual(Instant::now());
    let sink = CollectingSink::default();
    let pipeline = builder().clock(clock.clone()).target_fps(1).sink(sink.clone()).start().expect("starts");
    let push = |seconds: f64| {
        clock.advance(Duration::from_secs_f64(seconds));
        pipeline.input().push(black()).expect("open");
    };
    push(0.0);
    assert!(sink.wait_for(1, SOON).await);
    push(0.0);
    assert!(sink.wait_for(2, SOON).await);
    // A thousandth of a second too early, it waits for the next one, which need not wait.
    push(0.999);
    tokio::time::sleep(Duration::from_millis(20)).await;
    push(0.5);
    assert!(sink.wait_for(3, SOON).await);
    assert_eq!((sink.sequences(), pipeline.stats().dropped.get(DropReason::RateCap)), (vec![1, 2, 4], 1));
}

#[tokio::test]
async fn a_frame_beyond_its_budget_is_dropped_unprocessed() {
    let clock = Clock::manual(Instant::now());
    let sink = CollectingSink::default();
    let pipeline =
        builder().mode(Mode::Lossless).clock(clock.clone()).latency_budget(Some(Duration::from_millis(100)));
    let pipeline = pipeline.sink(sink.clone()).start().expect("starts");
    let old = black_at(clock.now());
    clock.advance(Duration::from_millis(101));
    pipeline.input().push_wait(old).await.expect("open");
    pipeline.input().push_wait(black_at(clock.now())).await.expect("open");
    assert!(sink.wait_for(1, SOON).await);
    assert_eq!((sink.sequences(), pipeline.stats().dropped.get(DropReason::Expired)), (vec![2], 1));
}

#[test]
fn backoff_grows_to_its_cap_with_jitter_and_resets() {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(1000), 7);
    for full in [100, 200, 400, 800, 1000, 1000] {
        let pause = backoff.pause().as_millis();
        assert!((full * 3 / 4..=full).contains(&pause), "{pause} of {full}");
    }
    backoff.reset();
    assert!(backoff.pause() <= Duration::from_millis(100));
}
