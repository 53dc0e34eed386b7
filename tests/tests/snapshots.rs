//! Single pictures: `/snapshot.jpg` and its relatives.

use std::time::{Duration, Instant};

use ooblex_tests::http::send;
use ooblex_tests::jpeg;
use ooblex_tests::mark::{Mark, Rgb};
use ooblex_tests::problem::expect_problem;
use ooblex_tests::server::Server;

use crate::{marked, shown};

#[test]
fn without_a_stream_there_is_none() {
    let server = Server::start(&[]);
    let problem = expect_problem(&server.get("/snapshot.jpg"), 503);
    assert!(problem.to_string().contains("No frame available"), "{problem}");
    expect_problem(&server.get("/streams/nobody/snapshot.jpg"), 404);
}

#[test]
fn every_route_gives_the_newest_picture() {
    let server = Server::start(&[]);
    server.upload("old", &marked(1, 1));
    let picture = marked(2, 2);
    let sequence = server.upload("new", &picture);
    shown(&server, "new", sequence);
    for target in ["/snapshot.jpg", "/streams/new/snapshot.jpg", "/new.jpg"] {
        let response = server.get(target).expect(200);
        assert_eq!(response.header("Content-Type"), Some("image/jpeg"));
        assert!(response.header("Cache-Control").is_some_and(|value| value.contains("no-store")), "{target}");
        assert_eq!(response.body, picture, "{target}");
        let head = send(server.addr, "HEAD", target, &[], &[]);
        assert_eq!((head.status, head.body.len()), (200, 0), "{target}");
    }
    assert_eq!(jpeg::decode(&server.get("/old.jpg").expect(200).body).mark().unwrap().id, 1);
}

#[test]
fn width_scales_and_keeps_the_proportions() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(3, 77));
    for width in [64, 161, 320] {
        let picture = jpeg::decode(&server.get(&format!("/cam.jpg?width={width}")).expect(200).body);
        assert_eq!(picture.width, width);
        assert!(picture.height.abs_diff(width * 3 / 4) <= 1, "{width}x{}", picture.height);
        assert_eq!(picture.mark(), Some(Mark { id: 3, counter: 77 }), "{width}");
    }
    for width in ["0", "-5", "abc", "99999999999", ""] {
        let response = server.get(&format!("/cam.jpg?width={width}"));
        assert!([400, 422].contains(&response.status), "width={width}: {}", response.status);
        expect_problem(&response, response.status);
    }
}

#[test]
fn the_effect_is_in_the_snapshot() {
    let server = Server::start(&["--model-name", "grayscale"]);
    server.upload("cam", &marked(1, 1));
    let picture = jpeg::decode(&server.get("/cam.jpg").expect(200).body);
    assert_eq!(picture.mark(), Some(Mark { id: 1, counter: 1 }));
    assert!(picture.colourfulness() < 3.0);
}

#[test]
fn a_png_snapshot_has_the_same_pixels() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(4, 44));
    let response = server.get("/streams/cam/snapshot.png").expect(200);
    assert_eq!(response.header("Content-Type"), Some("image/png"));
    let png = image::load_from_memory_with_format(&response.body, image::ImageFormat::Png).unwrap().to_rgb8();
    let picture = Rgb { width: png.width() as usize, height: png.height() as usize, data: png.into_raw() };
    assert_eq!(picture.mark(), Some(Mark { id: 4, counter: 44 }));
    let sent = jpeg::decode(&marked(4, 44));
    for (seen, sent) in picture.field().iter().zip(sent.field()) {
        assert!((seen - sent).abs() < 3.0, "{seen} instead of {sent}");
    }
}

#[test]
fn an_old_picture_waits_for_a_newer_one_then_serves_and_then_expires() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(1, 1));
    let uploaded = Instant::now();
    let fresh = server.get("/cam.jpg").expect(200);
    assert_eq!(jpeg::decode(&fresh.body).mark().unwrap().counter, 1);
    let age = |age: f64| std::thread::sleep(Duration::from_secs_f64(age).saturating_sub(uploaded.elapsed()));

    // Between one and ten seconds old: it waits for a newer one, up to a second, and serves the old one then.
    age(1.5);
    let asked = Instant::now();
    let old = server.get("/cam.jpg").expect(200);
    assert!(asked.elapsed() > Duration::from_millis(500), "it waited {:?}", asked.elapsed());
    assert_eq!(jpeg::decode(&old.body).mark().unwrap().counter, 1);

    age(11.5);
    let problem = expect_problem(&server.get("/cam.jpg"), 503);
    assert!(problem.to_string().contains("No frame available"), "{problem}");

    // A picture that comes while it waits is served.
    let addr = server.addr;
    let waiting = std::thread::spawn(move || send(addr, "GET", "/cam.jpg", &[], &[]));
    std::thread::sleep(Duration::from_millis(200));
    server.upload("cam", &marked(1, 2));
    let served = waiting.join().unwrap().expect(200);
    assert_eq!(jpeg::decode(&served.body).mark().unwrap().counter, 2);
}

#[test]
fn a_snapshot_needs_no_viewer_and_costs_no_encoding() {
    let server = Server::start(&["--model-name", "invert"]);
    // Nobody watches: the effect's picture is made when a snapshot asks, not before.
    server.upload("cam", &marked(1, 1));
    let mut picture = jpeg::decode(&server.get("/cam.jpg").expect(200).body);
    picture.data.iter_mut().for_each(|value| *value = 255 - *value);
    assert_eq!(picture.mark(), Some(Mark { id: 1, counter: 1 }));
}
