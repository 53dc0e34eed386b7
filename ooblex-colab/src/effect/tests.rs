use std::sync::atomic::{AtomicUsize, Ordering};

use ooblex_core::hub::{Beginning, HubConfig, StreamFactory};
use ooblex_core::pipeline::{Effect, EffectState};
use ooblex_core::{
    FrameProcessor, FrameSink, KindSpec, ParamSpec, ParamType, PassThrough, ProcessContext, ProcessError,
    Verdict,
};

use super::*;

/// Can be made ready only so many times, over all instances.
struct Scarce(Arc<AtomicUsize>);

impl FrameProcessor for Scarce {
    fn process(
        &mut self,
        _: &mut ooblex_core::Frame,
        _: &mut ProcessContext<'_>,
    ) -> Result<Verdict, ProcessError> {
        Ok(Verdict::Emit)
    }
    fn warm_up(&mut self) -> Result<(), BoxError> {
        let take = |n: usize| n.checked_sub(1);
        self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).map_err(|_| "no memory left")?;
        Ok(())
    }
}

pub(super) struct Plain(pub(super) EffectControl);

impl StreamFactory for Plain {
    fn effect(&self, stream: &StreamId) -> Result<Effect, BoxError> {
        Ok(self.0.begin(stream)?)
    }
    fn sinks(&self, _: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
        Vec::new()
    }
    fn begun(&self, stream: &Arc<Stream>) {
        self.0.look_after(stream, Instant::now());
    }
}

/// Effects `none`, `step` with a parameter, and `scarce`, of which `supply` can be had.
fn control(supply: usize) -> EffectControl {
    let mut registry = Registry::new();
    registry.add(KindSpec::new("none", ""), |_: &Options| Ok::<_, BoxError>(PassThrough));
    let step = KindSpec::new("step", "").param(ParamSpec::new("size", ParamType::Int(1..=9), 3, ""));
    registry.add(step, |_: &Options| Ok::<_, BoxError>(PassThrough));
    let supply = Arc::new(AtomicUsize::new(supply));
    registry.add(KindSpec::new("scarce", ""), move |_: &Options| Ok::<_, BoxError>(Scarce(supply.clone())));
    EffectControl::new(registry, "none").expect("none")
}

/// Waits for what happens in the background.
pub(super) async fn until(what: &str, ready: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) fn id(name: &str) -> StreamId {
    StreamId::new(name).expect("a good name")
}

fn hub(control: &EffectControl, names: &[&str]) -> (Hub, Vec<Arc<Stream>>) {
    let hub = Hub::new(HubConfig::default(), Plain(control.clone()));
    let streams = names.iter().map(|n| hub.publish(&id(n), "upload").expect("begins")).collect();
    (hub, streams)
}

fn names(streams: &[Arc<Stream>]) -> Vec<String> {
    streams.iter().map(|s| s.pipeline().swap().active().name).collect()
}

fn size(n: i64) -> Params {
    [("step".to_owned(), Options::new().with("size", n))].into()
}

#[tokio::test]
async fn a_switch_reaches_live_and_later_streams() {
    let control = control(0);
    let (hub, streams) = hub(&control, &["a", "b"]);
    let selection = control.switch_all(&hub, "step+none", size(5)).expect("switches");
    assert_eq!(selection.generation, 2);
    assert_eq!(names(&streams), ["step|none", "step|none"]);
    let later = hub.publish(&id("c"), "upload").expect("begins");
    let active = later.pipeline().swap().active();
    assert_eq!((active.name.as_str(), active.generation), ("step|none", 2));
    assert_eq!(control.of(&id("c")).params, size(5));
}

#[tokio::test]
async fn a_switch_that_fails_on_one_stream_changes_none() {
    // Enough for two of three streams.
    let control = control(2);
    let (hub, streams) = hub(&control, &["a", "b", "c"]);
    let error = control.switch_all(&hub, "scarce", Params::new()).map(|_| ()).expect_err("too few");
    assert_eq!(error.to_string(), "scarce could not be made ready: no memory left");
    assert_eq!(names(&streams), ["none", "none", "none"]);
    assert_eq!(control.everywhere().chain.to_string(), "none");
    let later = hub.publish(&id("d"), "upload").expect("begins");
    assert_eq!(later.pipeline().swap().active().name, "none");
}

#[tokio::test]
async fn wrong_parameters_are_refused_without_any_stream() {
    let control = control(0);
    let (hub, _) = hub(&control, &[]);
    for (effect, params) in
        [("step", size(10)), ("none", size(1)), ("nothing", Params::new()), ("", Params::new())]
    {
        assert!(control.switch_all(&hub, effect, params).is_err(), "{effect}");
    }
    assert_eq!(control.everywhere().generation, 1);
    assert!(control.switch_all(&hub, "step", size(9)).is_ok());
}

#[tokio::test]
async fn one_stream_may_differ_until_all_are_switched() {
    let control = control(0);
    let (hub, streams) = hub(&control, &["a", "b"]);
    let first = control.switch(&streams[0], "step", size(2)).expect("switches").generation;
    assert_eq!(names(&streams), ["step", "none"]);
    assert_eq!(control.of(&id("a")).params, size(2));
    control.forget_absent(&hub, Instant::now());
    assert_eq!(control.of(&id("a")).chain.to_string(), "step", "a listed stream keeps its choice");
    let second = control.switch_all(&hub, "none", Params::new()).expect("switches").generation;
    assert!(second > first);
    assert_eq!(names(&streams), ["none", "none"]);
    assert_eq!(control.of(&id("a")).generation, second);
}

#[tokio::test]
async fn choices_for_streams_that_are_gone_are_forgotten() {
    let control = control(0);
    let (_, streams) = hub(&control, &["a"]);
    control.switch(&streams[0], "step", size(2)).expect("switches");
    let empty = Hub::new(HubConfig::default(), Plain(control.clone()));
    control.forget_absent(&empty, Instant::now());
    assert_eq!(control.of(&id("a")).chain.to_string(), "none");
}

#[tokio::test]
async fn a_stream_that_began_during_a_switch_follows() {
    let control = control(0);
    let (hub, _) = hub(&control, &[]);
    let old = control.begin(&id("late")).expect("builds");
    control.switch_all(&hub, "step", Params::new()).expect("switches");
    let stream = hub.publish(&id("late"), "upload").expect("begins");
    // As if the stream had been built before the switch and listed after it.
    let before = Pipelines::outdated(&control, old);
    control.attend(&before.0, Instant::now());
    let active = || before.1.pipeline().swap().active();
    assert_eq!(active().name, "step", "at once, ready or not");
    until("the effect", || active().state == EffectState::Running).await;
    assert_eq!(stream.pipeline().swap().active().name, "step");
}

/// A hub whose only stream has an effect from before.
struct Pipelines;

impl Pipelines {
    fn outdated(control: &EffectControl, old: Effect) -> (Hub, Arc<Stream>) {
        struct Old(Mutex<Option<Effect>>);
        impl StreamFactory for Old {
            fn effect(&self, _: &StreamId) -> Result<Effect, BoxError> {
                lock(&self.0).take().ok_or_else(|| "used up".into())
            }
            fn sinks(&self, _: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
                Vec::new()
            }
        }
        assert!(old.generation < control.newest_generation());
        let hub = Hub::new(HubConfig::default(), Old(Mutex::new(Some(old))));
        let stream = hub.publish(&id("late"), "upload").expect("begins");
        (hub, stream)
    }
}

#[tokio::test]
async fn what_is_chosen_before_a_stream_begins_is_what_it_begins_with() {
    let control = control(0);
    let (hub, _) = hub(&control, &["a"]);
    let now = Instant::now();
    control.choose(&hub, &id("b"), "step", size(5), now).expect("chooses");
    control.forget_absent(&hub, now + Duration::from_secs(59));
    let begun = hub.publish(&id("b"), "webrtc").expect("begins");
    assert_eq!(begun.pipeline().swap().active().name, "step");
    // It has begun, so time does not matter any more.
    control.forget_absent(&hub, now + Duration::from_secs(600));
    assert_eq!(control.of(&id("b")).params, size(5));
    let gone = self::hub(&control, &[]).0;
    control.forget_absent(&gone, now + Duration::from_secs(1));
    assert_eq!(control.of(&id("b")).chain.to_string(), "none", "it ended, and took its effect with it");
    control.choose(&hub, &id("b"), "step", size(5), now).expect("switches");
    control.choose(&hub, &id("c"), "step", size(5), now).expect("chooses");
    control.forget_absent(&hub, now + Duration::from_secs(61));
    assert_eq!(control.of(&id("c")).chain.to_string(), "none", "it did not begin in time");
    control.choose(&hub, &id("b"), "step", size(7), now).expect("a live one is switched");
    assert_eq!(control.of(&id("b")).params, size(7));
    let error =
        control.choose(&hub, &id("c"), "scarce", Params::new(), now).expect_err("cannot be made ready");
    assert!(matches!(error, SwitchError::WarmUp { .. }), "{error}");
    assert_eq!(control.of(&id("c")).chain.to_string(), "none");
}

#[tokio::test]
async fn choices_for_streams_that_never_begin_are_bounded() {
    let control = control(0);
    let (hub, _) = hub(&control, &["a"]);
    let now = Instant::now();
    for n in 0..300u64 {
        let at = now + Duration::from_millis(n);
        control.choose(&hub, &id(&format!("s{n}")), "step", Params::new(), at).expect("chooses");
    }
    assert_eq!(control.chosen().by_stream.len(), MOST_ABSENT);
    assert_eq!(control.of(&id("s0")).chain.to_string(), "none", "the oldest are forgotten");
    assert_eq!(control.of(&id("s299")).chain.to_string(), "step");
}

#[tokio::test]
async fn an_effect_is_switched_off_and_on_again() {
    let control = control(0);
    let (hub, streams) = hub(&control, &["a", "b"]);
    let now = Instant::now();
    control.switch(&streams[0], "step", size(5)).expect("switches");
    let off = control.enable(&hub, &id("a"), false, now).expect("off");
    assert_eq!(control.enable(&hub, &id("a"), false, now).expect("still off").generation, off.generation);
    assert_eq!(names(&streams), ["none", "none"]);
    control.enable(&hub, &id("a"), true, now).expect("on");
    assert_eq!(names(&streams), ["step", "none"]);
    assert_eq!(control.of(&id("a")).params, size(5));
    control.enable(&hub, &id("a"), true, now).expect("already on");
    control.enable(&hub, &id("a"), false, now).expect("off");
    control.switch(&streams[0], "step|step", Params::new()).expect("another");
    control.enable(&hub, &id("a"), true, now).expect("on already");
    assert_eq!(names(&streams)[0], "step|step");
    // Of the effect for all streams, too, and before the stream begins.
    control.switch_all(&hub, "step", Params::new()).expect("switches");
    control.enable(&hub, &id("c"), false, now).expect("off");
    let later = hub.publish(&id("c"), "webrtc").expect("begins");
    assert_eq!(later.pipeline().swap().active().name, "none");
    control.enable(&hub, &id("c"), true, now).expect("on");
    assert_eq!(later.pipeline().swap().active().name, "step");
}
