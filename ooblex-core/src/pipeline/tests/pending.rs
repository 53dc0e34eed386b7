//! Effects that are still being loaded, that were chosen to protect privacy, and that are tried out beforehand.

use super::*;
use crate::FrameProcessor;

/// A processor with a failure policy of its own.
struct Guarded<P>(P, FailurePolicy);

impl<P: FrameProcessor> FrameProcessor for Guarded<P> {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        self.0.process(frame, cx)
    }
    fn on_failure(&self) -> FailurePolicy {
        self.1
    }
}

fn ready(generation: u64, value: u8, policy: FailurePolicy) -> Effect {
    Effect::prepare("stamp", generation, Box::new(Guarded(stamp(value), policy))).expect("ready")
}

fn bright() -> Frame {
    let mut frame = black();
    frame.image.make_i420().expect("planes")[0].fill(200);
    frame
}

async fn shown(sink: &CollectingSink, count: usize) -> Vec<(u64, u8)> {
    assert!(sink.wait_for(count, SOON).await, "{:?}", sink.sequences());
    sink.frames().iter().map(|f| (f.sequence, first_luma(f))).collect()
}

#[tokio::test]
async fn until_it_is_loaded_the_policy_applies() {
    for (policy, before) in
        [(FailurePolicy::Blank, Some(0)), (FailurePolicy::Pass, Some(200)), (FailurePolicy::Hold, None)]
    {
        let sink = CollectingSink::default();
        let pipeline = builder().mode(Mode::Lossless).effect(Effect::pending("slow", 3, policy));
        let pipeline = pipeline.sink(sink.clone()).start().expect("starts");
        let active = pipeline.swap().active();
        assert_eq!((active.state.as_str(), active.on_failure, active.failure()), ("loading", policy, None));
        for _ in 0..2 {
            pipeline.input().push_wait(bright()).await.expect("open");
        }
        let mut expected: Vec<_> = before.into_iter().flat_map(|value| [(1, value), (2, value)]).collect();
        while pipeline.stats().processed.get() + pipeline.stats().dropped.get(DropReason::NotReady) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(shown(&sink, expected.len()).await, expected, "{policy:?}");
        assert!(pipeline.swap().to(ready(3, 7, policy)));
        assert!(!pipeline.swap().to(Effect::pending("slow", 3, policy)), "it is there already");
        assert_eq!(pipeline.swap().active().state, EffectState::Running);
        pipeline.input().push_wait(bright()).await.expect("open");
        expected.push((3, 7));
        assert_eq!(shown(&sink, expected.len()).await, expected, "{policy:?}");
        assert_eq!(pipeline.stats().process_errors.get(), 0);
    }
}

#[tokio::test]
async fn the_first_frame_waits_for_what_is_nearly_ready() {
    let sink = CollectingSink::default();
    let pipeline = builder().effect(Effect::pending("quick", 1, FailurePolicy::Blank)).sink(sink.clone());
    let pipeline = pipeline.start().expect("starts");
    pipeline.input().push(bright()).expect("open");
    tokio::time::sleep(Duration::from_millis(20)).await;
    pipeline.swap().to(ready(1, 7, FailurePolicy::Blank));
    assert_eq!(shown(&sink, 1).await, [(1, 7)]);
}

#[tokio::test]
async fn what_cannot_be_loaded_says_why_until_something_newer_is_chosen() {
    let sink = CollectingSink::default();
    let pipeline = builder().effect(Effect::pending("slow", 3, FailurePolicy::Blank)).sink(sink.clone());
    let pipeline = pipeline.start().expect("starts");
    let swap = pipeline.swap();
    let failure = || swap.active().failure().map(str::to_owned);
    swap.fail(2, "of another one".into());
    assert_eq!(failure(), None);
    swap.fail(3, "no weights".into());
    assert_eq!(failure().as_deref(), Some("no weights"));
    pipeline.input().push(bright()).expect("open");
    assert_eq!(shown(&sink, 1).await, [(1, 0)]);
    // The same of one that waits for a frame.
    assert!(swap.to(Effect::pending("slower", 4, FailurePolicy::Blank)));
    assert_eq!((swap.active().state, failure()), (EffectState::Loading, None));
    swap.fail(4, "no weights either".into());
    assert_eq!(failure().as_deref(), Some("no weights either"));
    assert!(swap.to(ready(4, 7, FailurePolicy::Blank)));
    swap.fail(4, "too late".into());
    assert!(!swap.to(ready(3, 9, FailurePolicy::Blank)), "an older one comes too late");
    assert_eq!(swap.active().state, EffectState::Running);
    pipeline.input().push(bright()).expect("open");
    assert_eq!(shown(&sink, 2).await, [(1, 0), (2, 7)]);
}

#[tokio::test]
async fn the_stricter_policy_holds() {
    let effect = ready(1, 7, FailurePolicy::Hold).at_least(FailurePolicy::Blank);
    let pipeline = builder().effect(effect).start().expect("starts");
    assert_eq!(pipeline.swap().active().on_failure, FailurePolicy::Blank);
    pipeline.swap().to(ready(2, 7, FailurePolicy::Hold).at_least(FailurePolicy::Pass));
    assert_eq!(pipeline.swap().active().on_failure, FailurePolicy::Hold);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choosing_privacy_withdraws_what_was_let_pass_before() {
    for mode in [Mode::Live, Mode::Lossless] {
        let (entered, go_on) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let gates = (entered.clone(), go_on.clone());
        let old = processor_fn(move |frame, _| {
            if frame.sequence == 2 {
                gates.0.wait();
                gates.1.wait();
            }
            Ok(Verdict::Emit)
        });
        let sink = CollectingSink::default();
        let pipeline = builder().mode(mode).processor("old", old).sink(sink.clone()).start().expect("starts");
        pipeline.input().push_wait(bright()).await.expect("open");
        assert!(sink.wait_for(1, SOON).await);
        pipeline.input().push_wait(bright()).await.expect("open");
        tokio::task::block_in_place(|| entered.wait());
        let first = sink.frames().remove(0);
        pipeline.swap().to(ready(1, 6, FailurePolicy::Hold));
        assert!(first.clearance.holds(), "nothing to hide");
        pipeline.swap().to(ready(2, 7, FailurePolicy::Blank));
        assert!(!first.clearance.holds(), "from the moment on that it is chosen");
        tokio::task::block_in_place(|| go_on.wait());
        pipeline.input().push_wait(bright()).await.expect("open");
        let outdated = || pipeline.stats().dropped.get(DropReason::Outdated);
        match mode {
            Mode::Live => assert_eq!((shown(&sink, 2).await, outdated()), (vec![(1, 200), (3, 7)], 1)),
            Mode::Lossless => {
                assert_eq!((shown(&sink, 3).await, outdated()), (vec![(1, 200), (2, 200), (3, 7)], 0));
                assert!(!sink.frames()[1].clearance.holds(), "a sink that shows pictures asks");
            }
        }
        let last = sink.frames().pop().expect("a frame");
        assert!(last.clearance.holds() && last.clearance.generation() == 2);
        pipeline.swap().to(ready(3, 8, FailurePolicy::Pass));
        assert!(last.clearance.holds(), "what was protected may be shown");
    }
}

#[tokio::test]
async fn whoever_asks_gets_a_clone_of_the_next_frame_as_it_came_in() {
    for processor in [stamp(7), Box::new(PassThrough) as Box<dyn FrameProcessor>] {
        let sink = CollectingSink::default();
        let pipeline = builder().processor("any", processor).sink(sink.clone()).start().expect("starts");
        assert!(pipeline.swap().ask().wait(Duration::ZERO).is_none(), "none has come");
        pipeline.input().push(bright()).expect("open");
        assert!(sink.wait_for(1, SOON).await);
        assert!(pipeline.swap().ask().wait(Duration::ZERO).is_none(), "none is kept");
        let (first, second) = (pipeline.swap().ask(), pipeline.swap().ask());
        pipeline.input().push(bright()).expect("open");
        assert!(sink.wait_for(2, SOON).await);
        for sample in [first, second] {
            let frame = sample.wait(SOON).expect("a frame");
            assert_eq!((frame.sequence, first_luma(&frame)), (2, 200));
        }
    }
}

#[test]
fn a_rehearsal_shows_what_does_not_work() {
    let rehearse = |processor: Box<dyn FrameProcessor>| {
        let input = bright();
        let mut effect = Effect::prepare("any", 1, processor).expect("ready");
        let result = effect.rehearse(input.clone()).map_err(|e| e.to_string());
        assert_eq!(first_luma(&input), 200, "the stream's own picture is left alone");
        result
    };
    let of = |process: fn(&mut Frame) -> Result<Verdict, ProcessError>| -> Box<dyn FrameProcessor> {
        Box::new(processor_fn(move |frame, _| process(frame)))
    };
    assert_eq!(rehearse(stamp(7)), Ok(()));
    assert_eq!(rehearse(of(|_| Ok(Verdict::Drop))), Ok(()));
    assert_eq!(rehearse(of(|_| Err(ProcessError::Frame("no".into())))), Err("no".into()));
    assert_eq!(rehearse(of(|_| Err(ProcessError::Fatal("never".into())))), Err("never".into()));
    assert_eq!(rehearse(of(|_| panic!("at once"))), Err("panicked: at once".into()));
    let renumbered = of(|frame| {
        frame.sequence += 1;
        Ok(Verdict::Emit)
    });
    assert_eq!(rehearse(renumbered), Err("it changed the identity of a frame".into()));
    let lost = of(|frame| {
        drop(frame.take());
        Ok(Verdict::Emit)
    });
    assert_eq!(rehearse(lost), Err("the picture is no longer here".into()));
    assert!(Effect::pending("slow", 1, FailurePolicy::Pass).rehearse(bright()).is_ok(), "nothing to try");
}

#[test]
fn a_warm_up_that_panics_is_an_error() {
    struct Explosive;
    impl FrameProcessor for Explosive {
        fn process(&mut self, _: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
            Ok(Verdict::Emit)
        }
        fn warm_up(&mut self) -> Result<(), BoxError> {
            panic!("too warm")
        }
    }
    let error = Effect::prepare("explosive", 1, Box::new(Explosive)).err().expect("refused");
    assert_eq!(error.to_string(), "panicked: too warm");
}
