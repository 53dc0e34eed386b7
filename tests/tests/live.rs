//! Latest wins: viewers see what is new, whatever is slow.

use std::time::{Duration, Instant};

use ooblex_tests::multipart::Viewer;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;
use serde_json::Value;

/// A chain that takes far longer than a frame of the publisher lasts.
const HEAVY: &str = "denoise|cartoon|denoise|sketch|cartoon|denoise|blur";

fn dropped(stream: &Value) -> u64 {
    stream["dropped"].as_object().expect("by reason").values().map(|count| count.as_u64().unwrap()).sum()
}

#[test]
fn with_a_slow_effect_viewers_see_new_pictures_and_memory_is_flat() {
    let server = Server::start(&["--target-fps", "0"]);
    let plan = Plan { width: 1280, height: 960, fps: 60, noisy: false };
    let publisher = Publisher::start(server.addr, "cam", 9, plan);
    server.wait_for_stream("cam", "a stream", |_| true);
    server.set_effect("cam", HEAVY);
    let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
    // Pictures of the time before the switch do not count, nor do the first few: buffers are still being made.
    for _ in 0..5 {
        viewer.next();
    }
    let memory = server.memory_bytes();
    let mut parts = vec![viewer.next()];
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) || parts.len() < 8 {
        let part = viewer.next();
        if part.sequence != parts.last().unwrap().sequence {
            parts.push(part);
        }
    }
    let grown = server.memory_bytes().zip(memory).map(|(after, before)| after.saturating_sub(before));
    let entry = server.stream("cam").unwrap();
    let sent = publisher.stop();

    assert!(parts.is_sorted_by(|a, b| a.sequence < b.sequence), "never backwards");
    let ages: Vec<f64> = parts
        .iter()
        .map(|part| {
            let upload = sent.iter().find(|sent| sent.sequence == part.sequence).expect("an accepted upload");
            (part.at - upload.at).as_secs_f64()
        })
        .collect();
    // One picture is worked on while the next one waits, and the newest of those that came meanwhile is taken: its age
    // is at most two processing times. The third one is for the machine.
    let mut gaps: Vec<f64> = parts.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect();
    gaps.sort_by(f64::total_cmp);
    let processing = gaps[gaps.len() / 2];
    let mut sorted = ages.clone();
    sorted.sort_by(f64::total_cmp);
    println!(
        "{} pictures, {processing:.3} s each, ages {:.3} to {:.3} s, {grown:?} bytes more",
        parts.len(),
        sorted[0],
        sorted[sorted.len() - 1]
    );
    assert!(sorted[sorted.len() / 2] < 3.0 * processing + 0.2, "median age {:.3}", sorted[sorted.len() / 2]);
    let (first, last) = (&ages[..ages.len() / 2], &ages[ages.len() / 2..]);
    let mean = |ages: &[f64]| ages.iter().sum::<f64>() / ages.len() as f64;
    assert!(mean(last) < 2.0 * mean(first) + 0.5, "the delay grows: {ages:?}");
    assert!(grown < Some(48 << 20), "{grown:?} bytes more");

    // Everything that was sent is accounted for: shown, dropped for a reason, or still on its way.
    let received = entry["dropped"].as_object().map(|_| dropped(&entry)).unwrap();
    let shown = parts.last().unwrap().sequence - parts[0].sequence + 1;
    assert!(parts.len() as u64 * 2 < shown, "the effect was not slow enough to show anything");
    assert!(received as f64 > 0.5 * (shown - parts.len() as u64) as f64, "{entry}");
}

#[test]
fn every_frame_is_accounted_for() {
    let server = Server::start(&[]);
    let publisher =
        Publisher::start(server.addr, "cam", 1, Plan { width: 640, height: 480, fps: 60, noisy: false });
    server.wait_for_stream("cam", "a stream", |_| true);
    server.set_effect("cam", "cartoon|denoise");
    let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        viewer.next();
    }
    let sent = publisher.stop().len() as f64;
    // Nothing is in a queue any more once the last picture was shown.
    server.wait_for_stream("cam", "an idle stream", |stream| stream["state"] == "stalled");
    let labels = [("stream", "cam")];
    assert_eq!(server.metric("ooblex_frames_received_total", &labels), Some(sent));
    let processed = server.metric("ooblex_frames_processed_total", &labels).expect("a count");
    let before_the_processor: f64 = [
        "superseded",
        "rate_cap",
        "sampled",
        "expired",
        "decode_failed",
        "process_failed",
        "not_ready",
        "processor",
        "queue_full",
    ]
    .iter()
    .filter_map(|reason| {
        server.metric("ooblex_frames_dropped_total", &[("stream", "cam"), ("reason", reason)])
    })
    .sum();
    assert_eq!(sent, processed + before_the_processor, "received = processed + dropped");
    assert!(before_the_processor > 0.0, "60 a second are more than the 30 that a stream processes");
}

#[test]
fn a_stalled_viewer_disturbs_nobody_and_is_closed() {
    let server = Server::start(&[]);
    let plan = Plan { width: 960, height: 720, fps: 20, noisy: true };
    let publisher = Publisher::start(server.addr, "cam", 1, plan);
    server.wait_for_stream("cam", "a stream", |_| true);
    // It reads one part and then nothing more: buffers fill up and it makes no progress.
    let mut stalled = Viewer::open(server.addr, "/cam.mjpg");
    stalled.next();
    let mut live = Viewer::open(server.addr, "/cam.mjpg");
    let mut last = live.next();
    server.wait_for_stream("cam", "two viewers", |stream| stream["viewers"] == 2);
    let start = Instant::now();
    let first = last.sequence;
    let (mut seen, mut longest, mut closed) = (0u64, Duration::ZERO, false);
    let mut checked = start;
    while !closed {
        let part = live.next();
        assert!(part.sequence >= last.sequence);
        seen += u64::from(part.sequence > last.sequence);
        longest = longest.max(part.at - last.at);
        last = part;
        if checked.elapsed() > Duration::from_secs(1) {
            checked = Instant::now();
            closed = server.stream("cam").unwrap()["viewers"] == 1;
        }
        assert!(start.elapsed() < Duration::from_secs(45), "the stalled viewer is still there");
    }
    let offered = last.sequence - first;
    println!(
        "closed after {:?}; the live viewer saw {seen} of {offered}, longest gap {longest:?}",
        start.elapsed()
    );
    assert!(start.elapsed() > Duration::from_secs(8), "ten seconds without progress are allowed");
    assert!(seen * 2 > offered, "the live viewer saw {seen} of {offered}");
    assert!(longest < Duration::from_secs(3), "it waited {longest:?} once");
    assert!(stalled.closed_within(Duration::from_secs(10)), "its connection is closed");
    drop(publisher);
}

#[test]
fn without_an_effect_nothing_is_decoded_or_encoded() {
    let server = Server::start(&[]);
    let plan = Plan::default();
    let publisher = Publisher::start(server.addr, "cam", 6, plan);
    server.wait_for_stream("cam", "a stream", |_| true);
    let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
    let parts: Vec<_> = (0..60).map(|_| viewer.next()).collect();
    server.get("/cam.jpg").expect(200);
    let labels = [("stream", "cam")];
    for series in [
        "ooblex_decoded_full_total",
        "ooblex_decoded_luma_total",
        "ooblex_decoded_reduced_total",
        "ooblex_encoded_lost_total",
        "ooblex_rgb_conversions_total",
    ] {
        assert_eq!(server.metric(series, &labels), Some(0.0), "{series}");
    }
    let received = server.metric("ooblex_frames_received_total", &labels);
    assert!(received >= Some(50.0), "{received:?}");
    let sent = publisher.stop();
    for part in parts {
        let upload = sent.iter().find(|sent| sent.sequence == part.sequence).expect("an upload");
        assert_eq!(part.body, plan.picture(6, upload.counter), "the very bytes that came");
    }

    // The same counters move as soon as an effect needs pixels.
    server.set_effect("cam", "invert");
    let publisher = Publisher::start(server.addr, "cam", 6, plan);
    for _ in 0..20 {
        viewer.next();
    }
    assert!(server.metric("ooblex_decoded_full_total", &labels) > Some(0.0));
    assert!(server.metric("ooblex_encoded_lost_total", &labels) > Some(0.0));
    drop(publisher);
}

#[test]
fn an_effect_is_switched_while_people_watch() {
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    server.wait_for_stream("cam", "a stream", |_| true);
    let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
    viewer.next();
    let mut last = 0;
    for round in 0..6 {
        let grey = round % 2 == 0;
        server.set_effect("cam", if grey { "grayscale" } else { "none" });
        let parts = viewer.until("the other effect", |part| (part.picture().colourfulness() < 3.0) == grey);
        // One switch between two frames: nothing of the old effect after it, no gap, no end of the connection.
        for part in parts.iter().chain(&[viewer.next(), viewer.next()]) {
            assert!(part.sequence > last || round == 0, "{} after {last}", part.sequence);
            last = part.sequence;
            assert!(part.mark().is_some());
        }
        assert_eq!(viewer.next().picture().colourfulness() < 3.0, grey);
        last = viewer.next().sequence;
    }
    drop(publisher);
}

#[test]
fn of_two_pictures_at_once_the_second_is_what_stays() {
    // Faster than `target_fps` allows: what viewers and snapshots are left with must be the newest, not the first.
    let server = Server::start(&["--target-fps", "5"]);
    for round in 0..3 {
        let mut last = 0;
        for counter in 0..6 {
            last = server.upload("cam", &crate::marked(1, round * 10 + counter));
        }
        let seen = crate::shown(&server, "cam", last);
        assert_eq!(seen, crate::marked(1, round * 10 + 5));
        assert_eq!(server.get("/cam.jpg").expect(200).body, seen);
    }
}
