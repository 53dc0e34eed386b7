//! The page in headless Firefox: its camera comes back processed by each rung that this browser has, and viewers see what
//! is new.

use std::collections::BTreeSet;

use ooblex_tests::browser::Scripted;
use ooblex_tests::firefox::{Firefox, installed};
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;
use ooblex_tests::{skip, wait_for};

use crate::page::{click, text};
use crate::rungs::{CAMERA, PICTURE, own_stream, wait_for_ways};

/// The mean colour of the picture, and how far its channels lie apart. A small copy is looked at, which is quick.
fn seen(firefox: &Firefox) -> Option<(i64, [i64; 3])> {
    let script = format!(
        "const picture = document.querySelector('{PICTURE}'); \
         const width = picture && (picture.naturalWidth || picture.videoWidth || picture.width); \
         if (!width || width < 100) return null; \
         const canvas = Object.assign(document.createElement('canvas'), {{ width: 32, height: 18 }}); \
         const context = canvas.getContext('2d'); \
         try {{ context.drawImage(picture, 0, 0, 32, 18); }} catch {{ return null; }} \
         const {{ data }} = context.getImageData(0, 0, 32, 18); \
         const sums = [0, 0, 0]; \
         for (let i = 0; i < data.length; i++) if (i % 4 < 3) sums[i % 4] += data[i]; \
         return sums.map((sum) => Math.round(sum / 576))"
    );
    let found = firefox.run(&script);
    let mean = [found[0].as_i64()?, found[1].as_i64()?, found[2].as_i64()?];
    Some((mean.iter().max()? - mean.iter().min()?, mean))
}

/// Starts the camera by a rung, and holds what comes back against what the camera shows.
#[track_caller]
fn camera_comes_back(firefox: &Firefox, forced: &str, up: &str, down: &str) {
    let server = Server::start(&["--model-name", "grayscale"]);
    firefox.open(&server.url(&format!("/?transport={forced}")));
    click(firefox, "#camera");
    wait_for_ways(firefox, up, down);
    wait_for("a grey picture", || seen(firefox).filter(|(colour, _)| *colour < 3));
    for way in ["#up", "#down"] {
        let said = text(firefox, way);
        assert!(!said.is_empty() && !said.contains('–'), "the page does not say what runs {way}: {said}");
    }
    // The page switches the stream that it knows to be its own.
    wait_for("live", || text(firefox, "#connection").contains("live").then_some(()));
    // Switched while pictures flow; then the colours of the camera are there, and change.
    click(firefox, "#gallery [data-effect=none]");
    let stream = own_stream(firefox);
    server.wait_for_stream(&stream, "the effect", |stream| stream["effect"] == "none");
    let mut colours = BTreeSet::new();
    wait_for("colours that change", || {
        let (colour, mean) = seen(firefox)?;
        if colour > 20 {
            // Of shades that differ by more than compression makes of one.
            colours.insert(mean.map(|value| value / 8));
        }
        (colours.len() >= 3).then_some(())
    });
    // The other way again: what is grey was sent after the switch.
    click(firefox, "#gallery [data-effect=grayscale]");
    wait_for("grey again", || seen(firefox).filter(|(colour, _)| *colour < 3));
    wait_for_ways(firefox, up, down);
    firefox.screenshot(&format!("firefox_{forced}"));
    click(firefox, "#camera");
    server.wait_for_stream(&stream, "the end", |stream| stream["state"] != "live");
    assert_eq!(firefox.complaints(), Vec::<String>::new(), "{forced}");
}

#[test]
fn the_camera_of_firefox_comes_back_processed() {
    let Some(program) = installed() else { skip!("Firefox is not installed") };
    let firefox = Firefox::start(program);
    for (forced, up, down) in [
        ("webrtc", "webrtc", "webrtc"),
        ("ws", "ws", "ws"),
        ("ws-jpeg", "ws-jpeg", "ws-jpeg"),
        ("http", "http", "http"),
    ] {
        camera_comes_back(&firefox, forced, up, down);
    }
}

#[test]
fn firefox_takes_the_best_way_by_itself() {
    let Some(program) = installed() else { skip!("Firefox is not installed") };
    let server = Server::start(&[]);
    let firefox = Firefox::start(program);
    firefox.open(&server.url("/"));
    click(&firefox, "#camera");
    wait_for_ways(&firefox, "webrtc", "webrtc");
    wait_for("a picture", || seen(&firefox).filter(|(colour, _)| *colour > 20));
    assert_eq!(firefox.complaints(), Vec::<String>::new());
}

#[test]
fn viewers_in_firefox_see_what_is_new() {
    let Some(program) = installed() else { skip!("Firefox is not installed") };
    let server = Server::start(&[]);
    let publisher =
        Publisher::start(server.addr, "cam", CAMERA, Plan { width: 640, height: 480, ..Plan::default() });
    server.wait_for_stream("cam", "a stream", |_| true);
    let firefox = Firefox::start(program);
    for (forced, down) in [
        ("webrtc", "webrtc"),
        ("ws", "ws"),
        ("ws-jpeg", "ws-jpeg"),
        ("http", "http"),
        ("snapshot", "snapshot"),
    ] {
        firefox.open(&server.url(&format!("/view?stream=cam&transport={forced}")));
        wait_for_ways(&firefox, "", down);
        let mut last = None;
        for _ in 0..5 {
            let (mark, _) =
                wait_for("a newer picture", || firefox.mark(PICTURE).filter(|found| Some(found.0) > last));
            assert_eq!(mark.id, CAMERA);
            let behind = publisher.accepted().saturating_sub(mark.counter);
            assert!(behind <= 60, "{forced}: {behind} pictures behind");
            last = Some(mark);
        }
        assert!(text(&firefox, "#connection").contains("cam is live"));
    }
    firefox.screenshot("firefox_view");
    assert_eq!(firefox.complaints(), Vec::<String>::new());
    publisher.stop();
}
