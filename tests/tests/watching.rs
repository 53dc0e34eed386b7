//! The bytes that viewers get. Every test here reads through [`Viewer`], which accepts nothing but the contract.

use std::io::Read;
use std::time::{Duration, Instant, SystemTime};

use ooblex_tests::http::{Connection, send};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::problem::expect_problem;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;

use crate::marked;

#[test]
fn a_single_picture_is_followed_by_the_next_delimiter_at_once() {
    // Chromium shows a part when it sees the delimiter behind it: a still picture must not wait for a second one.
    let server = Server::start(&[]);
    let picture = marked(1, 1);
    server.upload("still", &picture);
    let mut connection = Connection::open(server.addr).unwrap();
    let (status, headers) = connection.start("GET", "/still.mjpg", &[], &[]).unwrap();
    assert_eq!(status, 200);
    let mut body = connection.into_body(&headers);
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    let wanted = [picture.as_slice(), b"\r\n--frame"].concat();
    while !seen.windows(wanted.len()).any(|window| window == wanted) {
        let read = body.read(&mut buffer).expect("the delimiter comes without another picture");
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..read]);
    }
    let text = String::from_utf8_lossy(&seen);
    assert_eq!(text.matches("Content-Type: image/jpeg").count(), 1, "it came before the repetition");
}

#[test]
fn the_head_keeps_proxies_and_caches_away() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(1, 1));
    for target in ["/stream.mjpg", "/streams/cam/stream.mjpg", "/cam.mjpg"] {
        let viewer = Viewer::open(server.addr, target);
        assert!(viewer.headers.get("Cache-Control").unwrap().contains("no-store"), "{target}");
        assert_eq!(viewer.headers.get("Access-Control-Allow-Origin"), Some("*"), "{target}");
        let head = send(server.addr, "HEAD", target, &[], &[]);
        assert_eq!(head.status, 200, "{target}");
        assert_eq!(head.header("Content-Type"), viewer.headers.get("Content-Type"));
        assert!(head.body.is_empty());
    }
}

#[test]
fn an_idle_stream_repeats_its_last_picture_once_a_second() {
    let server = Server::start(&[]);
    let picture = marked(1, 1);
    let sequence = server.upload("cam", &picture);
    let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
    let first = viewer.next();
    assert_eq!((first.sequence, &first.body), (sequence, &picture));
    let second = viewer.next();
    let gap = second.at - first.at;
    assert!(gap > Duration::from_millis(500), "{gap:?}");
    assert_eq!((second.sequence, second.body), (sequence, picture));
    // A new picture does not wait for the beat.
    let sequence = server.upload("cam", &marked(1, 2));
    let part = viewer.next();
    assert_eq!(part.sequence, sequence);
    assert_eq!(part.mark().unwrap().counter, 2);
}

#[test]
fn without_a_stream_there_is_a_placeholder_until_there_is_one() {
    let server = Server::start(&[]);
    let mut viewer = Viewer::open(server.addr, "/stream.mjpg");
    let placeholder = viewer.next().picture();
    assert!(placeholder.width >= 64 && placeholder.mark().is_none());
    let plain = placeholder.data.iter().all(|value| *value == placeholder.data[0]);
    assert!(!plain, "it says something");
    viewer.next();
    let _publisher = Publisher::start(server.addr, "cam", 3, Plan::default());
    viewer.until("the new stream", |part| part.mark().is_some_and(|mark| mark.id == 3));
}

#[test]
fn a_stream_whose_source_went_away_shows_the_placeholder_and_comes_back() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(1, 1));
    let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
    let parts = viewer.until("the placeholder", |part| part.mark().is_none());
    assert!(parts.len() >= 2, "the last picture was shown before");
    let _publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    viewer.until("the stream again", |part| part.mark().is_some_and(|mark| mark.counter > 1));
}

#[test]
fn part_headers_carry_order_capture_time_and_latency() {
    let server = Server::start(&[]);
    let _publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    server.wait_for_stream("cam", "a stream", |_| true);
    let mut viewer = Viewer::open(server.addr, "/cam.mjpg");
    let wall = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as i64;
    let parts: Vec<_> = (0..60).map(|_| (viewer.next(), wall())).collect();
    for pair in parts.windows(2) {
        let (before, after) = (&pair[0].0, &pair[1].0);
        assert!(after.sequence > before.sequence || after.body == before.body);
        assert!(after.captured_ms >= before.captured_ms);
    }
    for (part, now) in &parts {
        let age = now - part.captured_ms as i64;
        assert!((-1000..10_000).contains(&age), "captured {age} ms ago");
        assert!(part.latency_ms < 10_000.0);
    }
}

#[test]
fn fps_caps_a_viewer_and_only_that_viewer() {
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    server.wait_for_stream("cam", "a stream", |_| true);
    let mut capped = Viewer::open(server.addr, "/cam.mjpg?fps=5");
    let mut free = Viewer::open(server.addr, "/cam.mjpg");
    let first = free.next().sequence;
    let reader = std::thread::spawn(move || {
        let start = capped.next();
        let mut sequences = vec![start.sequence];
        while start.at.elapsed() < Duration::from_secs(4) {
            sequences.push(capped.next().sequence);
        }
        sequences
    });
    let start = Instant::now();
    let mut parts = 0;
    let mut last = first;
    while start.elapsed() < Duration::from_secs(4) {
        last = free.next().sequence;
        parts += 1;
    }
    let capped = reader.join().unwrap();
    assert!((8..=24).contains(&capped.len()), "{} parts in 4 s at 5 a second", capped.len());
    assert!(capped.is_sorted_by(|a, b| a < b), "every one is new: {capped:?}");
    assert!(parts >= 2 * capped.len(), "the other viewer got {parts}");
    assert!(last - first >= parts as u64 - 1);
    drop(publisher);
    for fps in ["0", "-1", "abc", "1e9999"] {
        let response = server.get(&format!("/cam.mjpg?fps={fps}"));
        assert!([400, 422].contains(&response.status), "fps={fps}: {}", response.status);
        expect_problem(&response, response.status);
    }
}

#[test]
fn a_hundred_viewers_get_the_same_bytes() {
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 1, Plan { fps: 15, ..Plan::default() });
    server.wait_for_stream("cam", "a stream", |_| true);
    let mut viewers: Vec<Viewer> = (0..100).map(|_| Viewer::open(server.addr, "/cam.mjpg")).collect();
    let mut seen = std::collections::HashMap::new();
    for _ in 0..10 {
        for viewer in &mut viewers {
            let part = viewer.next();
            let body = seen.entry(part.sequence).or_insert_with(|| part.body.clone());
            assert!(*body == part.body, "two pictures under sequence {}", part.sequence);
        }
    }
    assert!(seen.len() >= 5);
    for entry in publisher.stop() {
        if let Some(body) = seen.get(&entry.sequence) {
            assert_eq!(*body, marked(1, entry.counter), "sequence {} is another picture", entry.sequence);
        }
    }
}

#[test]
fn a_viewer_that_hangs_up_is_forgotten() {
    let server = Server::start(&[]);
    let _publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    server.wait_for_stream("cam", "a stream", |_| true);
    let viewers: Vec<Viewer> = (0..5).map(|_| Viewer::open(server.addr, "/cam.mjpg")).collect();
    server.wait_for_stream("cam", "five viewers", |stream| stream["viewers"] == 5);
    viewers.into_iter().for_each(Viewer::close);
    server.wait_for_stream("cam", "no viewer", |stream| stream["viewers"] == 0);
}
