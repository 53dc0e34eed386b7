//! Many swaps while frames pass: no gap, no duplicate, and nobody waits for a new effect.

use super::*;
use crate::testing::Random;

const SWAPS: u64 = 100;

/// Takes some milliseconds of a manual clock for a frame, and some real time to be made ready.
struct Takes {
    cost_ms: u64,
    clock: Clock,
    ready_in: Duration,
    policy: FailurePolicy,
}

/// The most that one of them takes.
const LONGEST_MS: u64 = 7;

impl Takes {
    fn any(random: &mut Random, clock: &Clock, policies: &[FailurePolicy]) -> Box<dyn FrameProcessor> {
        Box::new(Self {
            cost_ms: 1 + random.below(LONGEST_MS),
            clock: clock.clone(),
            ready_in: Duration::from_micros(random.below(1_500)),
            policy: policies[random.below(policies.len() as u64) as usize],
        })
    }
}

impl FrameProcessor for Takes {
    fn process(&mut self, frame: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        frame.image.make_i420()?[0].fill(self.cost_ms as u8);
        self.clock.advance(Duration::from_millis(self.cost_ms));
        Ok(Verdict::Emit)
    }
    fn warm_up(&mut self) -> Result<(), BoxError> {
        std::thread::sleep(self.ready_in);
        Ok(())
    }
    fn on_failure(&self) -> FailurePolicy {
        self.policy
    }
}

/// Prepares one effect after the other on a thread, as fast as that goes; rehearses some if `rehearse`.
fn swapping(
    swap: Swap,
    clock: Clock,
    policies: &'static [FailurePolicy],
    rehearse: bool,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut random = Random::new(SWAPS);
        for generation in 1..=SWAPS {
            let processor = Takes::any(&mut random, &clock, policies);
            let mut effect = Effect::prepare("takes", generation, processor).expect("ready");
            if random.below(4) == 0
                && let Some(frame) = swap.ask().wait(Duration::from_millis(2))
                && rehearse
            {
                effect.rehearse(frame).expect("works");
            }
            assert!(swap.to(effect));
        }
    })
}

/// Every frame once and in order, each by one effect, and none by an older one than the frame before.
fn check(frames: &[Frame]) {
    let sequences: Vec<u64> = frames.iter().map(|f| f.sequence).collect();
    assert_eq!(sequences, (1..=frames.len() as u64).collect::<Vec<_>>());
    let generations: Vec<u64> = frames.iter().map(|f| f.clearance.generation()).collect();
    assert!(generations.is_sorted(), "{generations:?}");
    assert!(generations.windows(2).filter(|pair| pair[0] != pair[1]).count() > 10, "{generations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lossless_nothing_is_lost_or_doubled_by_a_hundred_swaps() {
    let clock = Clock::manual(Instant::now());
    let swapped = Arc::new(AtomicBool::new(false));
    let sink = CollectingSink::default();
    let (over, time) = (swapped.clone(), clock.clone());
    let source =
        source_fn(move || Ok((!over.load(Ordering::Acquire)).then(|| black_at(time.now())).map(pausing)));
    let pipeline = builder().mode(Mode::Lossless).clock(clock.clone()).source(source).sink(sink.clone());
    let pipeline = pipeline.start().expect("starts");
    let all = &[FailurePolicy::Pass, FailurePolicy::Hold, FailurePolicy::Blank];
    let swaps = swapping(pipeline.swap().clone(), clock, all, true);
    tokio::task::block_in_place(|| swaps.join()).expect("swaps");
    swapped.store(true, Ordering::Release);
    assert_eq!(pipeline.finished().await, PipelineState::Ended);
    check(&sink.frames());
    let stats = pipeline.stats();
    assert_eq!((stats.dropped.total(), stats.process_errors.get()), (0, 0));
    assert_eq!(stats.received.get(), sink.frames().len() as u64);
    assert_eq!(pipeline.swap().active().generation, SWAPS);
}

/// A source as fast as it goes would fill the sink while an effect is made ready.
fn pausing(frame: Frame) -> Frame {
    std::thread::sleep(Duration::from_micros(50));
    frame
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_no_frame_is_later_than_its_own_processing_time() {
    let clock = Clock::manual(Instant::now());
    let sink = CollectingSink::default();
    let pipeline = builder().clock(clock.clone()).sink(sink.clone()).start().expect("starts");
    let harmless = &[FailurePolicy::Pass, FailurePolicy::Hold];
    // A rehearsal would move the clock.
    let swaps = swapping(pipeline.swap().clone(), clock.clone(), harmless, false);
    let mut count = 0;
    while !swaps.is_finished() {
        pipeline.input().push(black_at(clock.now())).expect("open");
        count += 1;
        assert!(sink.wait_for(count, SOON).await);
    }
    swaps.join().expect("swaps");
    let frames = sink.frames();
    check(&frames);
    for frame in &frames {
        // The first effect takes no time. Nobody else moves the clock, so waiting for anything would show.
        assert_eq!(
            frame.trace.total(),
            Duration::from_millis(first_luma(frame).into()),
            "{}",
            frame.sequence
        );
    }
    assert_eq!(pipeline.stats().dropped.total(), 0);
}

/// A new effect that is not ready, and an old one that is not gone, cost no frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_pass_while_effects_come_and_go() {
    struct Slow(Arc<Barrier>);
    impl FrameProcessor for Slow {
        fn process(&mut self, _: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
            Ok(Verdict::Emit)
        }
        fn warm_up(&mut self) -> Result<(), BoxError> {
            self.0.wait();
            Ok(())
        }
    }
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.wait();
        }
    }
    let gate = Arc::new(Barrier::new(2));
    let sink = CollectingSink::default();
    let pipeline = builder().processor("1", stamp(1)).sink(sink.clone()).start().expect("starts");
    let push = async |pipeline: &Pipeline, count: u64| {
        for _ in 0..count {
            let sequence = pipeline.input().push(black()).expect("open").sequence();
            assert!(sink.wait_for(sequence as usize, SOON).await);
        }
    };
    let (swap, theirs) = (pipeline.swap().clone(), gate.clone());
    let coming = tokio::task::spawn_blocking(move || {
        swap.to(Effect::prepare("slow", 1, Box::new(Slow(theirs))).expect("ready"))
    });
    push(&pipeline, 20).await;
    tokio::task::block_in_place(|| gate.wait());
    assert!(coming.await.expect("prepared"));
    push(&pipeline, 5).await;
    pipeline.swap().to(Effect::prepare("2", 2, stamp(2)).expect("ready"));
    push(&pipeline, 20).await;
    // The old one is still waiting to be dropped.
    tokio::task::block_in_place(|| gate.wait());
    assert_eq!(sink.sequences(), (1..=45).collect::<Vec<_>>());
    assert_eq!(pipeline.stats().dropped.total(), 0);
}

/// An effect that is free runs where frames arrive, but not beside a processor that still works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_frame_overtakes_the_one_before_a_swap() {
    let (entered, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let gates = (entered.clone(), go_on.clone());
    let slow = processor_fn(move |_, _| {
        gates.0.wait();
        gates.1.wait();
        Ok(Verdict::Emit)
    });
    let came = Arc::<Mutex<Vec<_>>>::default();
    let sink = Quick { busy: Arc::default(), came: came.clone() };
    let pipeline = builder().processor("slow", slow).sink(sink).start().expect("starts");
    pipeline.input().push(black()).expect("open");
    tokio::task::block_in_place(|| entered.wait());
    pipeline.swap().to(Effect::prepare("none", 1, Box::new(PassThrough)).expect("ready"));
    pipeline.input().push(black()).expect("open");
    assert_eq!(pipeline.input().queue_counts().waiting, 1, "it waits for its turn");
    tokio::task::block_in_place(|| go_on.wait());
    for count in 2..=3 {
        while came.lock().expect("whole").len() < count {
            tokio::task::yield_now().await;
        }
        pipeline.input().push(black()).expect("open");
    }
    pipeline.stop(SOON).await.expect("in time");
    let sequences: Vec<u64> = came.lock().expect("whole").iter().map(|(sequence, ..)| *sequence).collect();
    assert_eq!(sequences[..3], [1, 2, 3]);
    assert_eq!(pipeline.swap().active().name, "none");
}
