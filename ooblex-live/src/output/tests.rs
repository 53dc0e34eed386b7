//! Who gets what from shared encoders.

use std::time::Duration;

use ooblex_core::pipeline::{Effect, Pipeline};
use ooblex_core::{BufferPool, ColorSpace, FailurePolicy, Image, PassThrough, Picture, PixelFormat};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

fn id() -> StreamId {
    StreamId::new("cam").expect("a name")
}

fn sink(live: &LiveHub) -> LiveSink {
    live.sink(&Beginning::new(&id(), "test", &Arc::default()))
}

fn frame(n: u64) -> Frame {
    let pool = BufferPool::new(0);
    let mut image = Image::alloc(PixelFormat::I420, 64, 48, ColorSpace::BT601, &pool).expect("a size");
    image.plane_mut(0).expect("host").fill((n * 7) as u8);
    Frame::new(id(), n, Instant::now(), Picture::new(image, pool))
}

async fn next(watch: &mut Watch) -> Option<Arc<Unit>> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time")
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "no {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn an_encoder_runs_only_while_somebody_watches_and_for_all_who_want_the_same() {
    let live = LiveHub::new(LiveConfig::default());
    let sink = sink(&live);
    assert!(!sink.has_demand());
    let first = live.watch(&id(), Codec::Vp8, 0).expect("watches");
    let second = live.watch(&id(), Codec::Vp8, 0).expect("watches");
    let other = live.watch(&id(), Codec::H264, 1).expect("watches");
    assert_eq!((live.viewers(&id()), live.encoders()), (3, 2));
    assert!(sink.has_demand());
    drop(first);
    assert_eq!((live.viewers(&id()), live.encoders()), (2, 2));
    drop((second, other));
    assert!(!sink.has_demand());
    until("end of the threads", || live.encoders() == 0).await;
    assert_eq!(live.counters().encoded.get(), 0);
}

#[tokio::test]
async fn everybody_begins_with_a_key_frame_and_gets_every_picture_in_order() {
    for codec in crate::encode::supported() {
        let live = LiveHub::new(LiveConfig::default());
        let mut sink = sink(&live);
        let mut early = live.watch(&id(), *codec, 4).expect("watches");
        for n in 1..=5 {
            assert!(sink.try_consume(frame(n)).is_none());
            let unit = next(&mut early).await.expect("a picture");
            assert_eq!((unit.sequence, unit.codec), (n, *codec));
            assert_eq!(unit.is_key, n == 1 || *codec == Codec::Jpeg, "{codec} {n}");
        }
        let mut late = live.watch(&id(), *codec, 4).expect("watches");
        // The key frame may have to wait until the last one is long enough ago.
        let mut sent = 5;
        let unit = loop {
            sent += 1;
            assert!(sink.try_consume(frame(sent)).is_none());
            assert_eq!(next(&mut early).await.expect("a picture").sequence, sent);
            tokio::select! {
                biased;
                unit = late.next() => break unit.expect("a picture"),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
        };
        assert!(unit.is_key && unit.sequence == sent, "{codec}");
        assert_eq!(live.counters().encoded.get(), sent, "each once");
    }
}

#[tokio::test]
async fn whoever_lags_behind_gets_a_gap_and_a_key_frame_and_nobody_else_notices() {
    let live = LiveHub::new(LiveConfig { key_gap: Duration::ZERO, ..LiveConfig::default() });
    let mut sink = sink(&live);
    let mut slow = live.watch(&id(), Codec::Vp8, 4).expect("watches");
    let mut quick = live.watch(&id(), Codec::Vp8, 4).expect("watches");
    for n in 1..=30 {
        assert!(sink.try_consume(frame(n)).is_none());
        assert_eq!(next(&mut quick).await.expect("a picture").sequence, n);
    }
    let (mut found, mut sent) = (Vec::new(), 30);
    while found.last().is_none_or(|(sequence, _)| *sequence < sent) {
        // If all that waited was just left out, the next picture is a key frame.
        if let Ok(unit) = tokio::time::timeout(Duration::from_millis(20), slow.next()).await {
            let unit = unit.expect("a picture");
            found.push((unit.sequence, unit.is_key));
        } else {
            sent += 1;
            assert!(sink.try_consume(frame(sent)).is_none());
            assert_eq!(next(&mut quick).await.expect("a picture").sequence, sent);
        }
    }
    assert!(found.len() <= live.config().max_waiting && found[0].1, "{found:?}");
    assert!(found.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1 || pair[1].1), "{found:?}");
    assert_eq!(slow.skipped() + found.len() as u64, sent);
    assert_eq!(quick.skipped(), 0);
}

#[tokio::test]
async fn a_viewer_that_skips_goes_on_with_a_key_frame() {
    let live = LiveHub::new(LiveConfig { key_gap: Duration::ZERO, ..LiveConfig::default() });
    let mut sink = sink(&live);
    let mut watch = live.watch(&id(), Codec::H264, 4).expect("watches");
    for n in 1..=3 {
        assert!(sink.try_consume(frame(n)).is_none());
        until("a picture", || live.counters().encoded.get() == n).await;
    }
    watch.skip_to_key();
    assert_eq!(watch.skipped(), 3);
    assert!(sink.try_consume(frame(4)).is_none());
    let unit = next(&mut watch).await.expect("a picture");
    assert!(unit.is_key && unit.sequence == 4);
}

#[tokio::test]
async fn the_end_reaches_viewers_and_later_ones_are_refused() {
    let live = LiveHub::new(LiveConfig::default());
    let mut sink = sink(&live);
    let mut watch = live.watch(&id(), Codec::Vp8, 0).expect("watches");
    assert!(sink.try_consume(frame(1)).is_none());
    assert!(next(&mut watch).await.is_some());
    sink.finish().await.expect("ends");
    assert!(next(&mut watch).await.is_none());
    assert_eq!(watch.failure(), None);
    assert!(matches!(live.watch(&id(), Codec::Vp8, 0), Err(WatchError::UnknownStream(_))));
    drop(sink);
    until("end of the thread", || live.encoders() == 0).await;
}

#[tokio::test]
async fn mistakes_and_limits_are_said() {
    let live = LiveHub::new(LiveConfig { max_encoders: 1, ..LiveConfig::default() });
    assert!(matches!(live.watch(&id(), Codec::Vp8, 0), Err(WatchError::UnknownStream(_))));
    let _sink = sink(&live);
    assert!(matches!(live.watch(&id(), Codec::Vp8, 9), Err(WatchError::NoSuchRung(9))));
    let _watch = live.watch(&id(), Codec::Vp8, 0).expect("watches");
    let error = live.watch(&id(), Codec::H264, 0).err().expect("refused");
    assert!(matches!(error, WatchError::TooManyEncoders(1)), "{error}");
    assert!(live.watch(&id(), Codec::Vp8, 0).is_ok(), "the same is shared");
}

/// What was before an effect that protects privacy is not sent after it, and leaves no trace in what is.
#[tokio::test]
async fn after_a_switch_of_the_effect_everything_begins_anew() {
    let live = LiveHub::new(LiveConfig { key_gap: PATIENCE, ..LiveConfig::default() });
    let pipeline = Pipeline::builder(id()).processor("first", PassThrough).sink(sink(&live));
    let pipeline = pipeline.start().expect("starts");
    let mut watch = live.watch(&id(), Codec::Vp8, 4).expect("watches");
    let push = |n| pipeline.input().push(frame(n)).expect("open");
    for n in 1..=3 {
        push(n);
        assert_eq!(next(&mut watch).await.expect("a picture").is_key, n == 1);
    }
    // One waits while the private effect is chosen.
    push(4);
    until("a picture", || live.counters().encoded.get() == 4).await;
    pipeline.swap().to(Effect::pending("private", 9, FailurePolicy::Blank));
    pipeline.swap().to(Effect::prepare("private", 9, Box::new(PassThrough)).expect("ready"));
    push(5);
    let unit = next(&mut watch).await.expect("a picture");
    assert!(unit.is_key && unit.sequence == 5 && unit.clearance.generation() == 9, "{unit:?}");
    assert_eq!(watch.skipped(), 1);
}

#[tokio::test]
async fn the_encoder_takes_the_newest_and_leaves_out_what_it_has_no_time_for() {
    let live = LiveHub::new(LiveConfig::default());
    let mut sink = sink(&live);
    let mut watch = live.watch(&id(), Codec::Jpeg, 0).expect("watches");
    for n in 1..=500 {
        assert!(sink.try_consume(frame(n)).is_none());
    }
    while next(&mut watch).await.expect("a picture").sequence < 500 {}
    let counters = live.counters();
    assert_eq!(counters.encoded.get() + counters.superseded.get(), 500);
}

#[tokio::test]
async fn viewers_who_ask_for_key_frames_all_the_time_get_one_now_and_then() {
    for (key_gap, keys) in [(PATIENCE, 1), (Duration::ZERO, 5)] {
        let live = LiveHub::new(LiveConfig { key_gap, ..LiveConfig::default() });
        let mut sink = sink(&live);
        let mut watch = live.watch(&id(), Codec::Vp8, 4).expect("watches");
        for n in 1..=5 {
            watch.request_key();
            assert!(sink.try_consume(frame(n)).is_none());
            assert_eq!(next(&mut watch).await.expect("a picture").sequence, n);
        }
        assert_eq!(live.counters().keys.get(), keys);
    }
}
