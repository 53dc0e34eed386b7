use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use ooblex_core::hub::HubConfig;
use ooblex_core::pipeline::EffectState;
use ooblex_core::{
    BoxError, FailurePolicy, Frame, FrameProcessor, Image, KindSpec, Options, PassThrough, Picture,
    ProcessContext, ProcessError, Registry, Verdict,
};

use super::*;
use crate::effect::Params;
use crate::effect::tests::{Plain, id, until};

/// What the processors of the kind `model` do; shared by all of them.
struct Script {
    built: AtomicUsize,
    /// Each warm-up takes one; it waits for it.
    warm_ups: Mutex<Receiver<Result<(), &'static str>>>,
    process: Mutex<Process>,
}

type Process = fn(&mut Frame) -> Result<Verdict, ProcessError>;

struct Scripted(Arc<Script>);

impl FrameProcessor for Scripted {
    fn process(&mut self, frame: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let process = *lock(&self.0.process);
        process(frame)
    }
    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(lock(&self.0.warm_ups).recv()??)
    }
}

fn fine(_: &mut Frame) -> Result<Verdict, ProcessError> {
    Ok(Verdict::Emit)
}

/// Effects `none`, and `model`, which needs one and protects privacy.
fn control(effect: &str) -> (EffectControl, Arc<Script>, SyncSender<Result<(), &'static str>>) {
    let (allow, warm_ups) = sync_channel(100);
    let built = AtomicUsize::new(0);
    let script = Arc::new(Script { built, warm_ups: Mutex::new(warm_ups), process: Mutex::new(fine) });
    let mut registry = Registry::new();
    registry.add(KindSpec::new("none", ""), |_: &Options| Ok::<_, BoxError>(PassThrough));
    let model = KindSpec::new("model", "").needs_model("m").on_failure(FailurePolicy::Blank);
    let theirs = script.clone();
    registry.add(model, move |_: &Options| {
        theirs.built.fetch_add(1, Ordering::SeqCst);
        Ok::<_, BoxError>(Scripted(theirs.clone()))
    });
    (EffectControl::new(registry, effect).expect("a good effect"), script, allow)
}

fn stream(control: &EffectControl) -> (Hub, Arc<Stream>) {
    let hub = Hub::new(HubConfig::default(), Plain(control.clone()));
    let stream = hub.publish(&id("cam"), "upload").expect("begins");
    (hub, stream)
}

fn state(stream: &Stream) -> EffectState {
    stream.pipeline().swap().active().state
}

fn is_failed(stream: &Stream) -> bool {
    matches!(state(stream), EffectState::Failed { .. })
}

fn push(stream: &Stream) {
    let image = Image::black(48, 32, stream.pool()).expect("a size");
    stream.push(Picture::new(image, stream.pool().clone()), None, None).expect("live");
}

#[tokio::test]
async fn a_stream_begins_at_once_and_its_model_is_loaded_in_the_background() {
    let (control, script, allow) = control("none|model");
    assert_eq!(script.built.load(Ordering::SeqCst), 0, "a server starts without waiting for it");
    let (hub, stream) = stream(&control);
    let active = stream.pipeline().swap().active();
    assert_eq!((active.name.as_str(), active.on_failure), ("none|model", FailurePolicy::Blank));
    assert_eq!(active.state, EffectState::Loading);
    for _ in 0..5 {
        control.attend(&hub, Instant::now());
    }
    allow.send(Ok(())).expect("somebody waits");
    until("the model", || state(&stream) == EffectState::Running).await;
    let active = stream.pipeline().swap().active();
    assert_eq!(active.on_failure, FailurePolicy::Blank, "the kind's policy, though the processor has none");
    assert_eq!((script.built.load(Ordering::SeqCst), stream.stats().recoveries.get()), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_loaded_is_tried_again_until_it_works() {
    let (control, script, allow) = control("model");
    allow.send(Err("no weights")).expect("open");
    let (hub, stream) = stream(&control);
    until("the failure", || is_failed(&stream)).await;
    let reason = "model could not be made ready: no weights";
    assert_eq!(stream.pipeline().swap().active().failure(), Some(reason));
    let start = Instant::now();
    control.attend(&hub, start);
    assert_eq!(control.outlook(&stream, start).as_deref(), Some("it is built again in 1 s"));
    control.attend(&hub, start + Duration::from_millis(900));
    assert_eq!(script.built.load(Ordering::SeqCst), 1, "not yet");
    allow.send(Ok(())).expect("open");
    control.attend(&hub, start + Duration::from_secs(1));
    until("the model", || state(&stream) == EffectState::Running).await;
    until("the count", || stream.stats().recoveries.get() == 1).await;
}

#[tokio::test]
async fn after_five_tries_only_a_switch_helps() {
    let (control, script, allow) = control("model");
    let (hub, stream) = stream(&control);
    let mut now = Instant::now();
    for tries in 1..=6 {
        allow.send(Err("no weights")).expect("open");
        until("a try", || {
            control.attend(&hub, now);
            script.built.load(Ordering::SeqCst) == tries
        })
        .await;
        let busy = || control.outlook(&stream, now).is_some_and(|next| next.contains("being built"));
        until("its failure", || !busy() && is_failed(&stream)).await;
        control.attend(&hub, now);
        now += Duration::from_secs(17);
    }
    control.attend(&hub, now);
    let outlook = control.outlook(&stream, now);
    assert_eq!(outlook.as_deref(), Some("it was built again 5 times; choose an effect to try again"));
    now += Duration::from_secs(3600);
    control.attend(&hub, now);
    assert_eq!(script.built.load(Ordering::SeqCst), 6);
    allow.send(Ok(())).expect("open");
    let (theirs, of) = (control.clone(), stream.clone());
    let switched = tokio::task::spawn_blocking(move || theirs.switch(&of, "model", Params::new()));
    switched.await.expect("returns").expect("switches");
    assert_eq!((state(&stream), control.outlook(&stream, now)), (EffectState::Running, None));
}

#[tokio::test]
async fn a_processor_that_panicked_is_built_again() {
    let (control, script, allow) = control("model");
    allow.send(Ok(())).expect("open");
    let (hub, stream) = stream(&control);
    until("the model", || state(&stream) == EffectState::Running).await;
    *lock(&script.process) = |_| panic!("on purpose");
    push(&stream);
    until("the panic", || is_failed(&stream)).await;
    let now = Instant::now();
    control.attend(&hub, now);
    // It would fail again: a rehearsal shows that, and no frame has to.
    allow.send(Ok(())).expect("open");
    control.attend(&hub, now + Duration::from_secs(1));
    let reason = "model could not be made ready: in a rehearsal: panicked: on purpose";
    until("the rehearsal", || stream.pipeline().swap().active().failure() == Some(reason)).await;
    assert_eq!(stream.stats().process_errors.get(), 1);
    *lock(&script.process) = fine;
    allow.send(Ok(())).expect("open");
    let due = now + Duration::from_secs(10);
    until("another try", || {
        control.attend(&hub, due);
        control.attend(&hub, due + Duration::from_secs(2));
        state(&stream) == EffectState::Running
    })
    .await;
    until("the count", || stream.stats().recoveries.get() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_is_rehearsed_and_the_old_effect_stays_if_that_fails() {
    let (control, script, allow) = control("none");
    let (_, stream) = stream(&control);
    let switch = || {
        allow.send(Ok(())).expect("open");
        tokio::task::block_in_place(|| control.switch(&stream, "model", Params::new()))
    };
    *lock(&script.process) = |_| Err("out of memory".into());
    switch().expect("nothing to try it on before the first frame");
    tokio::task::block_in_place(|| control.switch(&stream, "none", Params::new())).expect("switches");
    push(&stream);
    // The stream stands still, so it is tried on a frame of the same size.
    let error = switch().expect_err("refused").to_string();
    assert_eq!(error, "model could not be made ready: in a rehearsal: out of memory");
    assert_eq!(stream.pipeline().swap().active().name, "none");
    assert_eq!(control.of(&id("cam")).chain.to_string(), "none");
    *lock(&script.process) = |frame| {
        assert_eq!((frame.image.width(), frame.image.height()), (48, 32));
        Ok(Verdict::Emit)
    };
    switch().expect("switches");
    assert_eq!(stream.stats().process_errors.get(), 0);
}

#[tokio::test]
async fn of_switches_that_overlap_the_last_one_wins() {
    let (control, script, allow) = control("none");
    let (hub, stream) = stream(&control);
    let (theirs, of) = (control.clone(), hub.clone());
    let slow = tokio::task::spawn_blocking(move || theirs.switch_all(&of, "model", Params::new()));
    until("the slow one", || script.built.load(Ordering::SeqCst) == 1).await;
    let (theirs, of) = (control.clone(), hub.clone());
    let quick = tokio::task::spawn_blocking(move || theirs.switch_all(&of, "none|none", Params::new()));
    let quick = quick.await.expect("returns").expect("does not wait for the slow one");
    allow.send(Ok(())).expect("somebody waits");
    assert!(slow.await.expect("returns").expect("is outdone").generation < quick.generation);
    assert_eq!(stream.pipeline().swap().active().name, "none|none");
    assert_eq!(control.of(&id("cam")).chain.to_string(), "none|none");
}

#[tokio::test]
async fn a_stream_that_missed_a_switch_shows_nothing_of_what_that_hides() {
    let (control, _, allow) = control("none");
    let (hub, stream) = stream(&control);
    allow.send(Ok(())).expect("open");
    let empty = Hub::new(HubConfig::default(), Plain(control.clone()));
    // As if the stream had begun while all others were switched.
    let theirs = control.clone();
    let switched = tokio::task::spawn_blocking(move || theirs.switch_all(&empty, "model", Params::new()));
    switched.await.expect("returns").expect("switches");
    control.attend(&hub, Instant::now());
    let active = stream.pipeline().swap().active();
    assert_eq!((active.name.as_str(), active.on_failure), ("model", FailurePolicy::Blank));
    assert_eq!(active.state, EffectState::Loading);
    allow.send(Ok(())).expect("open");
    until("the model", || state(&stream) == EffectState::Running).await;
}
