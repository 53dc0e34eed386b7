//! Streams from files, folders, the test pattern and other servers.

use std::time::SystemTime;

use ooblex_tests::browser::write_camera;
use ooblex_tests::mark::{self, Mark};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::pattern;
use ooblex_tests::problem::expect_problem;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::{self, Server, demo_clip};
use ooblex_tests::wait_for;

use crate::marked;

fn source(name: &str, place: impl std::fmt::Display) -> [String; 2] {
    ["--source".to_owned(), format!("{name}={place}")]
}

fn start(arguments: &[String]) -> Server {
    Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn the_test_pattern_counts_and_tells_the_time() {
    let server = Server::start(&["--source", "test=pattern"]);
    for effect in ["none", "grayscale", "sharpen"] {
        server.set_effect("test", effect);
        let mut viewer = Viewer::open(server.addr, "/test.mjpg");
        viewer.next();
        let mut last: Option<(u64, pattern::PatternMark)> = None;
        for _ in 0..40 {
            let part = viewer.next();
            let mark = pattern::read(&part.picture()).unwrap_or_else(|| panic!("{effect}: the mark is lost"));
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64;
            assert!(wall.abs_diff(mark.timecode_ms) < 5000, "{mark:?} at {wall}");
            if let Some((sequence, last)) = last {
                let repeated = part.sequence == sequence;
                assert_eq!(repeated, mark == last, "{last:?} {mark:?}");
                if !repeated {
                    // The pattern's own count and the stream's rise together: nothing is numbered twice or out of order.
                    let step = (part.sequence - sequence) as u32;
                    assert!(
                        mark.counter >= last.counter + step && mark.timecode_ms > last.timecode_ms,
                        "{last:?} {mark:?}"
                    );
                }
            }
            last = Some((part.sequence, mark));
        }
    }
}

#[test]
fn a_y4m_clip_plays_in_order_over_and_over() {
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("marked.y4m");
    write_camera(&clip, 3, 20, 320, 240);
    let server = start(&source("clip", clip.display()));
    let mut viewer = Viewer::open(server.addr, "/clip.mjpg");
    let mut marks = Vec::new();
    while marks.len() < 70 {
        let picture = viewer.next().picture();
        // Before the first frame of the clip there is the placeholder.
        let Some(mark) = picture.mark() else {
            assert!(marks.is_empty(), "a broken picture");
            continue;
        };
        for (seen, drawn) in picture.field().iter().zip(mark::colour(3)) {
            assert!(
                (seen - f64::from(drawn)).abs() < 8.0,
                "limited range was not expanded: {:?}",
                picture.field()
            );
        }
        marks.push(mark.counter);
    }
    let loops = marks.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(loops >= 2, "{marks:?}");
    let steps: Vec<u32> = marks.windows(2).map(|pair| (pair[1] + 20 - pair[0]) % 20).collect();
    assert!(steps.iter().all(|step| *step < 10), "never backwards but at the end: {marks:?}");
    assert!(
        steps.iter().filter(|step| **step == 1).count() * 2 > steps.len(),
        "most frames are shown: {marks:?}"
    );
}

#[test]
fn a_folder_of_pictures_plays_by_name_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    for counter in 0..6 {
        std::fs::write(folder.path().join(format!("{counter:03}.jpg")), marked(4, counter)).unwrap();
    }
    std::fs::write(folder.path().join("readme.txt"), "no picture").unwrap();
    let server = start(&source("album", folder.path().display()));
    let mut viewer = Viewer::open(server.addr, "/album.mjpg");
    let mut seen = Vec::new();
    while seen.len() < 15 {
        let part = viewer.next();
        if let Some(mark) = part.mark() {
            assert_eq!(part.body, marked(4, mark.counter), "untouched");
            seen.push(mark.counter);
        }
    }
    assert!((0..6).all(|counter| seen.contains(&counter)), "{seen:?}");
    let steps: Vec<u32> = seen.windows(2).map(|pair| (pair[1] + 6 - pair[0]) % 6).collect();
    assert!(steps.iter().filter(|step| **step == 1).count() * 2 > steps.len(), "{seen:?}");
}

#[test]
fn another_servers_stream_is_pulled_and_pulled_again_after_it_went_away() {
    let first = Server::start(&[]);
    let publisher = Publisher::start(first.addr, "cam", 6, Plan::default());
    first.wait_for_stream("cam", "a stream", |_| true);
    let second = start(&source("copy", first.url("/cam.mjpg")));
    let mut viewer = Viewer::open(second.addr, "/copy.mjpg");
    viewer.until("the first server's pictures", |part| part.mark().is_some_and(|mark| mark.id == 6));
    let mut last = 0;
    for _ in 0..40 {
        let part = viewer.next();
        let mark = part.mark().expect("a whole picture");
        assert!(mark.id == 6 && mark.counter >= last, "{mark:?} after {last}");
        assert_eq!(part.body, Plan::default().picture(6, mark.counter), "passed on as it is");
        last = mark.counter;
    }
    publisher.stop();
    let port = first.addr.port().to_string();
    drop(first);
    viewer.until("the placeholder", |part| part.mark().is_none());
    let mut command = server::command();
    command.args(["--mjpeg-port", &port]);
    let first = Server::launch(command);
    let _publisher = Publisher::start(first.addr, "cam", 9, Plan::default());
    viewer.until("the new server's pictures", |part| part.mark().is_some_and(|mark| mark.id == 9));
}

#[test]
fn a_source_that_cannot_be_opened_is_named() {
    let (code, _, error) = server::run(&["--mjpeg-port", "0", "--source", "door=/no/such/clip.mp4"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("door") && error.contains("/no/such/clip.mp4"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let clip = folder.path().join("broken.mp4");
    let whole = std::fs::read(demo_clip()).unwrap();
    std::fs::write(&clip, &whole[..whole.len() / 10]).unwrap();
    let (code, _, error) =
        server::run(&["--mjpeg-port", "0", "--source", &format!("door={}", clip.display())]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("broken.mp4") && !error.contains("panicked"), "{error}");
}

#[test]
fn the_name_of_a_source_is_taken() {
    let server = Server::start(&["--source", "test=pattern"]);
    server.wait_for_stream("test", "the pattern", |_| true);
    let response = server.post("/upload?stream=test", &marked(1, 1));
    expect_problem(&response, 409);
    let mut viewer = Viewer::open(server.addr, "/test.mjpg");
    for _ in 0..5 {
        assert_eq!(viewer.next().mark(), None::<Mark>, "no picture of a stranger");
    }
}

#[test]
fn target_fps_and_sample_every_thin_out_a_stream() {
    let server = Server::start(&["--source", "test=pattern", "--target-fps", "5"]);
    let entry = wait_for("a rate", || {
        server
            .stream("test")
            .filter(|entry| entry["fps_in"].as_f64() > Some(15.0) && entry["fps_out"].as_f64() > Some(0.0))
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    let later = server.stream("test").unwrap_or(entry);
    let out = later["fps_out"].as_f64().unwrap();
    assert!(out > 2.0 && out < 8.0, "{later}");
    assert!(server.metric("ooblex_frames_dropped_total", &[("reason", "rate_cap")]) > Some(10.0));

    let server = Server::start(&["--source", "test=pattern", "--sample-every", "5"]);
    let mut viewer = Viewer::open(server.addr, "/test.mjpg");
    viewer.next();
    let mut last = None;
    for _ in 0..10 {
        let part = viewer.next();
        if let Some((sequence, last)) = last.filter(|(sequence, _)| *sequence != part.sequence) {
            assert!(part.sequence >= sequence + 5 || part.body == last, "{} after {sequence}", part.sequence);
        }
        last = Some((part.sequence, part.body));
    }
    assert!(server.metric("ooblex_frames_dropped_total", &[("reason", "sampled")]) > Some(10.0));
}
