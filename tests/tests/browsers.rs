//! Chromium publishes its camera.

use std::time::Duration;

use ooblex_tests::browser::{Browser, installed, write_camera};
use ooblex_tests::frames::{self, Shot, check_pixels, check_rising};
use ooblex_tests::peers::{publish_from, with_publisher};
use ooblex_tests::server::Server;
use ooblex_tests::{PATIENCE, skip, wait_for};
use serde_json::{Value, json};

use crate::publishers::viewer_of;

/// Pictures of the camera's film, which begins again at its end.
const FILM: u32 = 120;

struct Studio {
    browser: Browser,
    _folder: tempfile::TempDir,
}

/// A browser on the server's page with a camera of marked pictures.
fn studio(server: &Server, id: u8, width: usize, height: usize) -> Option<Studio> {
    let programs = installed()?;
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("camera.y4m");
    write_camera(&film, id, FILM, width, height);
    let browser = Browser::start(programs, Some(&film));
    browser.open(&server.url("/"));
    Some(Studio { browser, _folder: folder })
}

/// What the browser counts of what it sends: the sum over its layers.
#[track_caller]
fn counted(browser: &Browser, name: &str) -> u64 {
    let script = format!(
        "let sum = 0; for (const entry of (await publisher.pc.getStats()).values()) \
         if (entry.type === 'outbound-rtp') sum += entry['{name}'] ?? 0; return sum"
    );
    with_publisher(browser, &script).as_u64().unwrap()
}

/// Numbers as if the film had no end.
fn unrolled(shots: &[Shot]) -> Vec<Shot> {
    let mut rounds = 0;
    let mut last = 0;
    let unroll = |shot: &Shot| {
        if shot.counter + FILM / 2 < last {
            rounds += 1;
        }
        last = shot.counter;
        Shot { counter: shot.counter + rounds * FILM, ..shot.clone() }
    };
    shots.iter().map(unroll).collect()
}

fn chromium_publishes(codec: &str, path: &str, more: &Value) {
    let server = Server::start(&[]);
    let Some(studio) = studio(&server, 9, 320, 240) else {
        skip!("Chromium or chromedriver is not installed")
    };
    let browser = &studio.browser;
    let mut options = json!({ "codec": codec, "width": 320, "height": 240 });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let told = publish_from(browser, path, &options);
    let json_offer = path.ends_with("/offer");
    assert_eq!(told["status"], if json_offer { 200 } else { 201 }, "{told}");
    if options["trickle"] == true {
        assert_eq!(told["patched"], 204, "{told}");
    }
    let mut viewer = viewer_of(&server, "cam");
    // Its estimate of the network begins low; by then it sends all it has.
    frames::watch(&mut viewer, 9, Duration::from_secs(2));
    let shots = unrolled(&frames::watch(&mut viewer, 9, Duration::from_secs(3)));
    check_rising(&shots);
    check_pixels(&shots);
    assert!(shots.iter().all(|shot| shot.size == (320, 240)));
    let (missing, all) = frames::missing(&shots);
    println!("{missing} of {all} pictures of the film missing");
    // The camera and the encoder of the browser leave some out; far fewer than half.
    assert!(missing * 2 < all && all > 45, "{missing} of {all} missing");
    // What it sent has arrived: all of it.
    with_publisher(browser, "publisher.track.enabled = false; await publisher.sender.replaceTrack(null)");
    let sent = wait_for("the last picture", || {
        let before = counted(browser, "framesSent");
        std::thread::sleep(Duration::from_millis(300));
        (counted(browser, "framesSent") == before).then_some(before)
    });
    let received = server.metric("ooblex_frames_received_total", &[("stream", "cam")]).unwrap();
    println!("{sent} sent, {received} received");
    assert!(received <= sent as f64 && sent as f64 - received <= 3.0, "{received} of {sent}");
    if json_offer {
        let deadline = std::time::Instant::now() + PATIENCE;
        with_publisher(
            browser,
            "publisher.channel.send(JSON.stringify({ type: 'set_transform', name: 'sepia' }))",
        );
        while with_publisher(browser, "return publisher.messages.length") == 0 {
            assert!(std::time::Instant::now() < deadline, "no answer on the data channel");
            std::thread::sleep(Duration::from_millis(50));
        }
        let said = with_publisher(browser, "return JSON.parse(publisher.messages[0])");
        assert_eq!(said, json!({ "type": "ack", "command": "set_transform", "status": "ok" }));
        assert_eq!(server.stream("cam").unwrap()["effect"], "sepia");
        return;
    }
    let ended =
        with_publisher(browser, "return (await fetch(publisher.session, { method: 'DELETE' })).status");
    assert_eq!(ended, 200);
    wait_for("the end", || server.stream("cam").is_none_or(|entry| entry["state"] == "ended").then_some(()));
}

#[test]
fn chromium_publishes_vp8() {
    chromium_publishes("vp8", "/whip/cam", &json!({ "trickle": true }));
}

#[test]
fn chromium_publishes_h264() {
    chromium_publishes("h264", "/whip/cam", &json!({}));
}

#[test]
fn chromium_publishes_by_the_json_offer() {
    chromium_publishes("vp8", "/webrtc/offer", &json!({ "channel": true, "more": { "stream": "cam" } }));
}

#[test]
fn chromium_changes_the_size_in_the_middle() {
    let server = Server::start(&[]);
    let Some(studio) = studio(&server, 5, 640, 480) else {
        skip!("Chromium or chromedriver is not installed")
    };
    for codec in ["vp8", "h264"] {
        let told = publish_from(
            &studio.browser,
            &format!("/whip/{codec}"),
            &json!({ "codec": codec, "width": 640, "height": 480 }),
        );
        assert_eq!(told["status"], 201, "{told}");
        let mut viewer = viewer_of(&server, codec);
        let mut shots = Vec::new();
        for (by, width) in [(2, 320), (1, 640), (4, 160)] {
            let script = format!(
                "const parameters = publisher.sender.getParameters(); \
                 parameters.encodings[0].scaleResolutionDownBy = {by}; await publisher.sender.setParameters(parameters)"
            );
            with_publisher(&studio.browser, &script);
            viewer.until("the new size", |part| part.picture().width == width);
            let watched = frames::watch(&mut viewer, 5, Duration::from_millis(800));
            assert_eq!(watched.last().unwrap().size, (width, width * 3 / 4), "{codec}");
            shots.extend(watched);
        }
        check_rising(&unrolled(&shots));
        // A mark is checked by its sum: no picture of torn sizes has one.
        assert!(shots.len() > 30, "{} pictures", shots.len());
        with_publisher(&studio.browser, "publisher.pc.close(); publisher.track.stop()");
    }
}

#[test]
fn of_simulcast_the_highest_layer_that_is_alive_is_shown() {
    let server = Server::start(&[]);
    let Some(studio) = studio(&server, 7, 640, 480) else {
        skip!("Chromium or chromedriver is not installed")
    };
    let encodings = json!([
        { "rid": "q", "scaleResolutionDownBy": 4 },
        { "rid": "h", "scaleResolutionDownBy": 2 },
        { "rid": "f", "scaleResolutionDownBy": 1 },
    ]);
    let told = publish_from(
        &studio.browser,
        "/whip/cam",
        &json!({ "codec": "vp8", "width": 640, "height": 480, "encodings": encodings }),
    );
    assert_eq!(told["status"], 201, "{told}");
    let mut viewer = viewer_of(&server, "cam");
    let activate = |layers: [bool; 3]| {
        let script = format!(
            "const parameters = publisher.sender.getParameters(); \
             parameters.encodings.forEach((layer, at) => {{ layer.active = {layers:?}[at] }}); \
             await publisher.sender.setParameters(parameters)"
        );
        with_publisher(&studio.browser, &script);
    };
    // Two layers need few bits, so that Chromium sends both from the beginning.
    for (layers, width) in
        [([true, true, false], 320), ([true, false, false], 160), ([true, true, false], 320)]
    {
        activate(layers);
        let parts = viewer.until("the highest layer", |part| part.picture().width == width);
        let marks: Vec<_> = parts.iter().filter_map(|part| part.mark()).collect();
        assert!(marks.iter().all(|mark| mark.id == 7));
        let shots = frames::watch(&mut viewer, 7, Duration::from_secs(1));
        assert!(shots.iter().all(|shot| shot.size.0 == width), "one layer at a time: {shots:?}");
        check_rising(&unrolled(&shots));
    }
}

#[test]
fn chromium_publishes_with_a_token() {
    let token = "publish-0123456789abcdef";
    let server = Server::start(&["--publish-token", token]);
    let Some(studio) = studio(&server, 3, 320, 240) else {
        skip!("Chromium or chromedriver is not installed")
    };
    let mut options = json!({ "codec": "vp8", "width": 320, "height": 240 });
    let told = publish_from(&studio.browser, "/whip/cam", &options);
    assert_eq!(told["status"], 401, "{told}");
    assert!(server.stream("cam").is_none());
    options["headers"] = json!({ "Authorization": format!("Bearer {token}") });
    let told = publish_from(&studio.browser, "/whip/cam", &options);
    assert_eq!(told["status"], 201, "{told}");
    assert!(!told["session"].as_str().unwrap().contains(token));
    let shots = frames::watch(&mut viewer_of(&server, "cam"), 3, Duration::from_secs(1));
    assert!(shots.len() > 5);
}
