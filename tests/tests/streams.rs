//! Several streams at once: never mixed, chosen as documented, listed as they are.

use ooblex_tests::multipart::Viewer;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;

use crate::marked;

#[test]
fn two_publishers_are_never_mixed() {
    let server = Server::start(&[]);
    let plans = [Plan::default(), Plan { width: 400, height: 304, fps: 25, noisy: false }];
    let publishers = [11u8, 22]
        .map(|id| Publisher::start(server.addr, &format!("p{id}"), id, plans[usize::from(id == 22)]));
    for id in [11u8, 22] {
        server.wait_for_stream(&format!("p{id}"), "a stream", |_| true);
    }
    // One of the two is worked on: two pipelines share buffers and threads.
    server.set_effect("p22", "blur");
    let watchers: Vec<_> = [11u8, 22, 11, 22]
        .map(|id| {
            let addr = server.addr;
            std::thread::spawn(move || {
                let mut viewer = Viewer::open(addr, &format!("/p{id}.mjpg"));
                let mut last = None;
                let mut fresh = 0;
                while fresh < 60 {
                    let part = viewer.next();
                    let picture = part.picture();
                    let mark = picture.mark().unwrap_or_else(|| panic!("a torn picture in p{id}"));
                    assert_eq!(mark.id, id, "a picture of another stream");
                    assert_eq!(picture.width, if id == 11 { 320 } else { 400 });
                    let now = (part.sequence, mark.counter);
                    if let Some(last) = last {
                        let same = now == last;
                        let newer = now.0 > last.0 && now.1 > last.1;
                        assert!(same || newer, "p{id} went from {last:?} to {now:?}");
                        fresh += u32::from(newer);
                    }
                    last = Some(now);
                }
            })
        })
        .into_iter()
        .collect();
    for watcher in watchers {
        watcher.join().expect("no watcher complains");
    }
    drop(publishers);
}

#[test]
fn the_general_stream_keeps_its_choice_until_it_ends() {
    let server = Server::start(&["--stream-idle-timeout", "2"]);
    let first = Publisher::start(server.addr, "first", 1, Plan::default());
    server.wait_for_stream("first", "the first stream", |_| true);
    let mut early = Viewer::open(server.addr, "/stream.mjpg");
    assert_eq!(early.next().mark().unwrap().id, 1);

    let second = Publisher::start(server.addr, "second", 2, Plan::default());
    server.wait_for_stream("second", "the second stream", |_| true);
    let mut late = Viewer::open(server.addr, "/stream.mjpg");
    assert_eq!(late.next().mark().unwrap().id, 2, "a new viewer gets the stream that started last");
    for _ in 0..20 {
        assert_eq!(early.next().mark().unwrap().id, 1, "a viewer keeps its stream");
    }

    drop(first);
    // Repeats and the placeholder may come first; no picture of the first stream after one of the second.
    let parts = early.until("the second stream", |part| part.mark().is_some_and(|mark| mark.id == 2));
    assert!(parts.iter().rev().skip(1).all(|part| part.mark().is_none_or(|mark| mark.id == 1)));
    for _ in 0..10 {
        assert_eq!(early.next().mark().unwrap().id, 2);
        assert_eq!(late.next().mark().unwrap().id, 2);
    }
    drop(second);
}

#[test]
fn a_demo_counts_last() {
    let server = Server::start(&["--demo"]);
    server.wait_for_stream("demo", "the demo", |demo| demo["state"] == "live");
    let mut viewer = Viewer::open(server.addr, "/stream.mjpg");
    let picture = viewer.next().picture();
    assert_eq!((picture.width, picture.height), (640, 480), "with nothing else the demo is shown");
    assert!(picture.colourfulness() > 10.0, "a colour clip, not the placeholder");

    let _camera = Publisher::start(server.addr, "camera", 5, Plan::default());
    server.wait_for_stream("camera", "the camera", |_| true);
    assert_eq!(Viewer::open(server.addr, "/stream.mjpg").next().mark().map(|mark| mark.id), Some(5));
    // The demo has not ended, so whoever watches it keeps it.
    assert_eq!(viewer.next().picture().width, 640);
}

#[test]
fn a_stream_is_stalled_and_then_ends() {
    let server = Server::start(&["--stream-idle-timeout", "3"]);
    server.upload("cam", &marked(1, 1));
    assert_eq!(server.stream("cam").unwrap()["state"], "live");
    server.wait_for_stream("cam", "a stalled stream", |stream| stream["state"] == "stalled");
    server.upload("cam", &marked(1, 2));
    server.wait_for_stream("cam", "a live stream again", |stream| stream["state"] == "live");
    let mut viewer = Viewer::open(server.addr, "/streams/cam/stream.mjpg");
    assert_eq!(viewer.next().mark().unwrap().counter, 2);
    // The closing delimiter comes at the end of the stream, and only then.
    let mut parts = 0;
    while viewer.try_next().expect("a proper end").is_some() {
        parts += 1;
    }
    assert!(parts >= 1, "the last picture is repeated while nothing comes");
    let gone = server.stream("cam").is_none_or(|stream| stream["state"] == "ended");
    assert!(gone);
    // The name is free again.
    server.upload("cam", &marked(1, 3));
    let part = Viewer::open(server.addr, "/streams/cam/stream.mjpg").next();
    assert_eq!(part.mark().unwrap().counter, 3);
}

#[test]
fn an_entry_of_streams_has_the_documented_shape() {
    let server = Server::start(&[]);
    assert_eq!(server.json("/streams"), serde_json::json!([]));
    let _publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    server.wait_for_stream("cam", "a stream", |_| true);
    let _viewers: Vec<_> = (0..3)
        .map(|_| {
            let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
            std::thread::spawn(move || while matches!(viewer.try_next(), Ok(Some(_))) {})
        })
        .collect();
    let entry = server.wait_for_stream("cam", "rates", |stream| {
        // A publisher that was held up by the machine sends a burst: wait until that has left the window.
        let plausible =
            |rate: &serde_json::Value| rate.as_f64().is_some_and(|rate| (10.0..45.0).contains(&rate));
        stream["viewers"] == 3 && plausible(&stream["fps_in"]) && stream["fps_out"].as_f64() > Some(10.0)
    });
    assert_eq!(entry["id"], "cam");
    assert!(entry["kind"].is_string());
    assert_eq!(entry["state"], "live");
    assert_eq!(entry["effect"], "none");
    assert_eq!((&entry["width"], &entry["height"]), (&320.into(), &240.into()));
    assert!(entry["dropped"].as_object().is_some_and(|dropped| dropped.values().all(|count| count.is_u64())));
    let (p50, p99) = (entry["latency_ms"]["p50"].as_f64(), entry["latency_ms"]["p99"].as_f64());
    assert!(p50 > Some(0.0) && p99 >= p50, "{entry}");
    assert!(entry.as_object().unwrap().contains_key("whep_url"));
}
