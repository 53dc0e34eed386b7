//! The ways of transport of the page, each forced in headless Chromium: what comes back is processed, fresh and in order.

use std::path::PathBuf;

use ooblex_tests::browser::{Browser, Scripted, installed, write_camera};
use ooblex_tests::mark::READ_MARK_JS;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::{self, Server};
use ooblex_tests::tunnel::{self, Flaw};
use ooblex_tests::{skip, wait_for};
use serde_json::{Value, json};

use crate::page::{assert_no_sideways_scroll, click, text};

/// Frames of the camera's film, which begins again at its end.
const FILM: u32 = 240;
pub(crate) const CAMERA: u8 = 9;
pub(crate) const PICTURE: &str = "#picture";

/// Chromium with a camera of marked pictures.
pub(crate) fn with_camera(programs: (PathBuf, PathBuf)) -> (Browser, tempfile::TempDir) {
    with_camera_and(programs, &[])
}

/// The same with more arguments for Chromium.
pub(crate) fn with_camera_and(programs: (PathBuf, PathBuf), more: &[String]) -> (Browser, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("camera.y4m");
    write_camera(&film, CAMERA, FILM, 640, 480);
    (Browser::start_with(programs, Some(&film), more), folder)
}

/// Which rungs run, up and down.
fn ways(browser: &impl Scripted) -> (String, String) {
    let found = browser.run("return [document.body.dataset.up ?? '', document.body.dataset.down ?? '']");
    let name = |at: usize| found[at].as_str().unwrap_or_default().to_owned();
    (name(0), name(1))
}

#[track_caller]
pub(crate) fn wait_for_ways(browser: &impl Scripted, up: &str, down: &str) {
    wait_for(&format!("{up:?} up and {down:?} down"), || {
        (ways(browser) == (up.to_owned(), down.to_owned())).then_some(())
    });
}

/// The counters of the next pictures that the page shows, each as soon as it is there, and how colourful they were.
#[track_caller]
pub(crate) fn shown(browser: &Browser, pictures: usize) -> (Vec<u32>, f64) {
    let script = format!(
        "{READ_MARK_JS} return new Promise((done) => {{
           const counters = [];
           let colour = 0;
           const start = performance.now();
           const look = () => {{
             const image = document.querySelector('{PICTURE}');
             const mark = image && readMark(image);
             if (mark && mark.id === {CAMERA} && mark.counter !== counters.at(-1)) {{
               counters.push(mark.counter);
               colour = Math.max(colour, colourOf(image));
             }}
             if (counters.length >= {pictures} || performance.now() - start > 15000) done([counters, colour]);
             else setTimeout(look, 10);
           }};
           look();
         }})"
    );
    let found = browser.run(&script);
    let counters: Vec<u32> =
        found[0].as_array().unwrap().iter().map(|counter| counter.as_u64().unwrap() as u32).collect();
    assert_eq!(counters.len(), pictures, "pictures in time: {counters:?}");
    (counters, found[1].as_f64().unwrap())
}

/// Each is newer than the one before it. A film of 240 pictures has gone round where it seems otherwise.
#[track_caller]
pub(crate) fn assert_in_order(counters: &[u32]) {
    let steps: Vec<u32> = counters.windows(2).map(|pair| (pair[1] + FILM - pair[0]) % FILM).collect();
    assert!(steps.iter().all(|step| *step < FILM / 2), "{counters:?}");
}

/// The stream of the page.
#[track_caller]
pub(crate) fn own_stream(browser: &impl Scripted) -> String {
    wait_for("the name of the stream", || {
        browser.run("return sessionStorage.getItem('ooblex-stream')").as_str().map(str::to_owned)
    })
}

#[test]
fn the_logic_of_the_page_is_right() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/client.html"));
    let script =
        format!("const base = '/page/'; return (async () => {{ {} }})()", include_str!("page_modules.js"));
    assert_eq!(browser.run(&script), json!([]));
}

/// Publishes the camera by one rung, switches the effect while it runs, and holds what comes back against what was sent.
#[track_caller]
fn rung_works(forced: &str, up: &str, down: &str) {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&["--model-name", "grayscale"]);
    let (browser, _film) = with_camera(programs);
    browser.open(&server.url(&format!("/?transport={forced}")));
    click(&browser, "#camera");
    // A server may take WebRTC without giving it; the next best way then brings the picture back.
    let status = server.json("/status");
    let whep = status["transports"].as_array().unwrap().iter().find(|t| t["name"] == "whep").unwrap();
    let down = if down == "webrtc" && whep["state"] != "running" { "ws" } else { down };
    wait_for_ways(&browser, up, down);
    let (counters, colour) = shown(&browser, 25);
    assert_in_order(&counters);
    assert!(colour < 3.0, "not processed: {colour}");
    // The effect is switched while pictures flow.
    click(&browser, "#gallery [data-effect=none]");
    server.wait_for_stream(&own_stream(&browser), "the effect", |stream| stream["effect"] == "none");
    wait_for("colours", || {
        browser.mark(PICTURE).filter(|(mark, colour)| mark.id == CAMERA && *colour > 20.0)
    });
    let (counters, _) = shown(&browser, 10);
    assert_in_order(&counters);
    assert_eq!(ways(&browser), (up.to_owned(), down.to_owned()), "still the same way");
    // Nothing that was shown on a canvas was older than the budget, and the page says what runs.
    if down.starts_with("ws") {
        let oldest = "return document.querySelector('#age99').title.match(/: (\\d+) ms/)?.[1] ?? null";
        let oldest = wait_for("ages", || browser.run(oldest).as_str()?.parse::<u32>().ok());
        assert!((1..=250).contains(&oldest), "{oldest} ms old");
    }
    assert!(!text(&browser, "#up").contains('–') && !text(&browser, "#down").contains('–'));
    browser.screenshot(&format!("rung_{forced}"));
    click(&browser, "#camera");
    server.wait_for_stream(&own_stream(&browser), "the end", |stream| stream["state"] != "live");
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // The viewer's session ends with the stream: it is not ended twice.
    let ended = "return performance.getEntriesByType('resource').filter(e => e.name.includes('/whep/sessions/')).length";
    assert_eq!(browser.run(ended), 0);
}

#[test]
fn video_goes_both_ways_over_one_websocket() {
    rung_works("ws&codec=h264", "ws", "ws");
}

#[test]
fn video_goes_both_ways_as_vp8() {
    rung_works("ws&codec=vp8", "ws", "ws");
}

#[test]
fn pictures_go_both_ways_over_one_websocket() {
    rung_works("ws-jpeg", "ws-jpeg", "ws-jpeg");
}

#[test]
fn webrtc_is_the_best_way() {
    rung_works("webrtc", "webrtc", "webrtc");
}

#[test]
fn pictures_go_up_by_http_and_come_back_as_mjpeg() {
    rung_works("http", "http", "http");
}

#[test]
fn pictures_go_up_by_http_and_come_back_as_snapshots() {
    rung_works("snapshot", "http", "snapshot");
}

#[test]
fn the_best_way_is_taken_and_the_reasons_are_given() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let (browser, _film) = with_camera(programs);
    browser.open(&server.url("/"));
    // A browser without WebRTC and without an encoder of video: two rungs fall away, each with its reason.
    browser.run("delete window.RTCPeerConnection; delete window.VideoEncoder");
    click(&browser, "#camera");
    wait_for_ways(&browser, "ws-jpeg", "ws-jpeg");
    shown(&browser, 5);
    let reasons =
        wait_for("reasons", || Some(text(&browser, "#reasons")).filter(|text| text.contains("WebRTC")));
    assert!(reasons.contains("this browser has no WebRTC"), "{reasons}");
    assert!(reasons.contains("WebCodecs"), "{reasons}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_way_that_dies_is_left_for_the_next_one() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let (browser, _film) = with_camera(programs);
    browser.open(&server.url("/"));
    browser.run(
        "delete window.RTCPeerConnection; const Socket = window.WebSocket; window.sockets = []; \
         window.WebSocket = class extends Socket { constructor(...a) { \
           if (window.shut) throw new Error('no WebSocket passes any more'); super(...a); window.sockets.push(this); } }",
    );
    click(&browser, "#camera");
    wait_for_ways(&browser, "ws", "ws");
    shown(&browser, 5);
    // From now on no WebSocket passes.
    browser.run("window.shut = true; window.sockets.forEach((socket) => socket.close())");
    wait_for("the way by HTTP", || (ways(&browser).0 == "http").then_some(()));
    let (counters, _) = shown(&browser, 10);
    assert_in_order(&counters);
    let reasons = text(&browser, "#reasons");
    assert!(reasons.contains("no WebSocket passes any more"), "{reasons}");
}

#[test]
fn the_page_publishes_on_after_the_server_was_restarted() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let port = server.addr.port().to_string();
    let (browser, _film) = with_camera(programs);
    browser.open(&server.url("/?transport=ws"));
    click(&browser, "#camera");
    wait_for_ways(&browser, "ws", "ws");
    shown(&browser, 5);
    let stream = own_stream(&browser);
    drop(server);
    wait_for("the loss to be noticed", || (ways(&browser).0 != "ws").then_some(()));
    let mut command = server::command();
    command.args(["--mjpeg-port", &port, "--model-name", "grayscale"]);
    let server = Server::launch(command);
    wait_for_ways(&browser, "ws", "ws");
    let (counters, colour) = shown(&browser, 10);
    assert_in_order(&counters);
    assert!(colour < 3.0, "of the new server");
    server.wait_for_stream(&stream, "the same name", |stream| stream["state"] == "live");
}

#[test]
fn viewers_have_a_page_without_controls() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let publisher =
        Publisher::start(server.addr, "cam", CAMERA, Plan { width: 640, height: 480, ..Plan::default() });
    server.wait_for_stream("cam", "a stream", |_| true);
    let browser = Browser::start(programs, None);
    for (forced, down) in [("ws", "ws"), ("ws-jpeg", "ws-jpeg"), ("http", "http"), ("snapshot", "snapshot")] {
        browser.open(&server.url(&format!("/view?stream=cam&transport={forced}")));
        wait_for_ways(&browser, "", down);
        let mut last = None;
        for _ in 0..5 {
            let (mark, _) =
                wait_for("a newer picture", || browser.mark(PICTURE).filter(|found| Some(found.0) > last));
            let behind = publisher.accepted() - mark.counter;
            assert!(behind <= 60, "{forced}: {behind} pictures behind");
            last = Some(mark);
        }
    }
    assert_eq!(
        browser.run("return document.querySelectorAll('select, input:not([type=password])').length"),
        0
    );
    browser.resize(390, 844, true);
    wait_for("the phone's width", || (browser.run("return innerWidth") == 390).then_some(()));
    assert_no_sideways_scroll(&browser);
    browser.screenshot("view_phone_390");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn without_a_camera_the_test_pattern_is_sent_and_the_reason_is_said() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/?transport=ws"));
    browser.run(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))",
    );
    click(&browser, "#camera");
    wait_for_ways(&browser, "ws", "ws");
    let said = text(&browser, "#message");
    assert!(said.contains("does not allow") && said.contains("test pattern"), "{said}");
    let counts = |browser: &Browser| -> Value {
        browser.run(&format!("const c = document.querySelector('{PICTURE}'); return [c.width, c.height]"))
    };
    wait_for("the pattern", || (counts(&browser) == json!([1280, 720])).then_some(()));
    // Recording what is shown, and saving it.
    browser.run(
        "window.saved = []; HTMLAnchorElement.prototype.click = function () { window.saved.push(this.download) }",
    );
    click(&browser, "#record");
    wait_for("recording", || (text(&browser, "#record") == "Stop and save").then_some(()));
    click(&browser, "#snapshot");
    std::thread::sleep(std::time::Duration::from_millis(300));
    click(&browser, "#record");
    let saved = wait_for("two files", || {
        let saved = browser.run("return window.saved");
        (saved.as_array()?.len() == 2).then_some(saved)
    });
    // In either order: the picture takes as long as its compression.
    let names: Vec<&str> = saved.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(names.iter().all(|name| name.starts_with("ooblex-camera-")), "{saved}");
    assert!(names.iter().any(|name| name.ends_with(".png")), "{saved}");
    assert!(names.iter().any(|name| name.ends_with(".mp4") || name.ends_with(".webm")), "{saved}");
    browser.screenshot("pattern");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// A page behind a tunnel with a flaw, whose camera is started once `prepare` has run.
#[track_caller]
fn behind(flaw: Flaw, prepare: &str) -> Option<(Server, Browser, tempfile::TempDir)> {
    let programs = installed()?;
    let server = Server::start(&[]);
    let tunnel = tunnel::start(server.addr, flaw);
    let (browser, film) = with_camera(programs);
    browser.open(&format!("http://{tunnel}/"));
    browser.run(prepare);
    click(&browser, "#camera");
    Some((server, browser, film))
}

#[test]
fn through_a_tunnel_without_websockets_the_page_uploads() {
    let Some((_server, browser, _film)) = behind(Flaw::NoWebSocket, "delete window.RTCPeerConnection") else {
        skip!("Chromium or chromedriver is not installed")
    };
    wait_for_ways(&browser, "http", "http");
    assert_in_order(&shown(&browser, 5).0);
    let reasons = text(&browser, "#reasons");
    assert!(reasons.contains("passes no WebSocket"), "{reasons}");
}

#[test]
fn through_a_tunnel_that_holds_streams_snapshots_are_shown() {
    let without = "delete window.RTCPeerConnection; window.WebSocket = class { constructor() { throw new Error('none') } }";
    let Some((_server, browser, _film)) = behind(Flaw::HoldsStreams, without) else {
        skip!("Chromium or chromedriver is not installed")
    };
    wait_for_ways(&browser, "http", "snapshot");
    assert_in_order(&shown(&browser, 5).0);
    let reasons = text(&browser, "#reasons");
    assert!(reasons.contains("holds streamed answers back"), "{reasons}");
}

#[test]
fn a_tunnels_own_page_before_the_picture_is_said_to_be_one() {
    let without = "delete window.RTCPeerConnection; window.WebSocket = class { constructor() { throw new Error('none') } }";
    let Some((_server, browser, _film)) = behind(Flaw::Interstitial, without) else {
        skip!("Chromium or chromedriver is not installed")
    };
    // Snapshots are asked for with the header that skips it.
    wait_for_ways(&browser, "http", "snapshot");
    assert_in_order(&shown(&browser, 5).0);
    let reasons = text(&browser, "#reasons");
    assert!(reasons.contains("shows a page of its own"), "{reasons}");
}

#[test]
fn the_plain_client_publishes_to_a_server_of_another_origin() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let home = Server::start(&[]);
    let origin = format!("http://{}", home.addr);
    let server = Server::start(&["--cors-origins", &origin]);
    let (browser, _film) = with_camera(programs);
    browser.open(&home.url("/client.html"));
    assert_eq!(text(&browser, "#status"), "Disconnected");
    let options = "return [...document.querySelectorAll('#modelSelect option')].map((o) => o.value)";
    let models = ["face_detection", "background_blur", "edge_detection", "style_transfer"];
    assert_eq!(browser.run(options), json!(models));
    click(&browser, "#connect");
    assert_eq!(text(&browser, "#status"), "Please start camera first");
    click(&browser, "#startCamera");
    wait_for("the camera", || (text(&browser, "#status") == "Camera started").then_some(()));
    browser.run("document.querySelector('#serverUrl').value = ''");
    click(&browser, "#connect");
    assert_eq!(text(&browser, "#status"), "Please enter the server URL");
    browser.run(&format!(
        "document.querySelector('#serverUrl').value = 'http://{}'; document.querySelector('#modelSelect').value = 'edge_detection'",
        server.addr
    ));
    click(&browser, "#connect");
    wait_for("the connection", || (text(&browser, "#status") == "Connected").then_some(()));
    wait_for("frames", || text(&browser, "#framesSent").parse::<u32>().ok().filter(|sent| *sent > 10));
    assert_eq!(text(&browser, "#connectionState"), "connected");
    let width = "return document.querySelector('#mjpegOutput').naturalWidth";
    wait_for("the picture", || browser.run(width).as_u64().filter(|width| *width > 64));
    let streams = server.json("/streams");
    assert_eq!(streams[0]["effect"], "edge_detection");
    browser.resize(390, 844, true);
    wait_for("the phone's width", || (browser.run("return innerWidth") == 390).then_some(()));
    assert_no_sideways_scroll(&browser);
    browser.screenshot("client_phone_390");
    click(&browser, "#disconnect");
    assert_eq!(text(&browser, "#status"), "Disconnected");
    click(&browser, "#stopCamera");
    assert_eq!(text(&browser, "#status"), "Camera stopped");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
