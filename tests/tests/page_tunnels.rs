//! The page in headless Chromium behind tunnels that hold back, cut and refuse: what it shows meanwhile, and how it goes on.

use std::path::PathBuf;
use std::time::Instant;

use ooblex_tests::browser::{Browser, installed};
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;
use ooblex_tests::tunnel::{Flaw, IDLE, Tunnel};
use ooblex_tests::{skip, wait_for};

use crate::page::{click, text};
use crate::rungs::{CAMERA, PICTURE, assert_in_order, own_stream, shown, wait_for_ways, with_camera};

/// So that pictures come as MJPEG or snapshots.
const HTTP_ONLY: &str =
    "delete window.RTCPeerConnection; window.WebSocket = class { constructor() { throw new Error('none') } }";

/// A page behind a tunnel whose camera is on.
struct Studio {
    server: Server,
    tunnel: Tunnel,
    browser: Browser,
    _film: tempfile::TempDir,
}

#[track_caller]
fn studio(programs: (PathBuf, PathBuf), flaw: Flaw, query: &str, prepare: &str) -> Studio {
    let server = Server::start(&[]);
    let tunnel = Tunnel::start(server.addr, flaw);
    let (browser, film) = with_camera(programs);
    browser.open(&format!("http://{}/{query}", tunnel.addr));
    browser.run(prepare);
    click(&browser, "#camera");
    Studio { server, tunnel, browser, _film: film }
}

/// One whose video goes both ways over WebSockets, and the name of its stream.
#[track_caller]
fn by_socket(programs: (PathBuf, PathBuf)) -> (Studio, String) {
    let studio = studio(programs, Flaw::None, "?transport=ws", "");
    wait_for_ways(&studio.browser, "ws", "ws");
    shown(&studio.browser, 5);
    let stream = own_stream(&studio.browser);
    (studio, stream)
}

#[test]
fn snapshots_are_shown_while_mjpeg_is_waited_for_and_not_asked_for_twice() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let studio = studio(programs, Flaw::HoldsStreams, "", HTTP_ONLY);
    let Studio { tunnel, browser, .. } = &studio;
    wait_for_ways(browser, "http", "snapshot");
    assert_in_order(&shown(browser, 3).0);
    let reason = |words: &str| text(browser, "#reasons").contains(words).then_some(());
    // At first it may still come; in the end it is the tunnel's fault.
    wait_for("the reason", || reason("it is still waited for"));
    wait_for("the end of the wait", || reason("s: a tunnel or proxy holds streamed answers back"));
    assert_in_order(&shown(browser, 3).0);
    let seen = tunnel.seen();
    let of = |end: &str| seen.iter().position(|seen| seen.request.ends_with(end));
    let streams = seen.iter().filter(|seen| seen.request.ends_with(".mjpg")).count();
    assert_eq!(streams, 1, "{seen:?}");
    assert!(of(".mjpg") < of("snapshot.jpg"), "the better way is tried first: {seen:?}");
}

#[test]
fn mjpeg_that_comes_late_takes_over_from_snapshots() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    // Streams pass this tunnel once a snapshot has: only a page that shows snapshots meanwhile gets to see MJPEG.
    let studio = studio(programs, Flaw::LateStreams, "", HTTP_ONLY);
    let Studio { tunnel, browser, .. } = &studio;
    wait_for_ways(browser, "http", "http");
    assert_in_order(&shown(browser, 5).0);
    assert!(!text(browser, "#reasons").contains("MJPEG"), "it runs");
    let snapshots = || tunnel.seen().iter().filter(|seen| seen.request.ends_with("snapshot.jpg")).count();
    let asked = snapshots();
    assert!(asked > 0);
    shown(browser, 10);
    assert!(snapshots() <= asked + 1, "none are asked for any more");
}

#[test]
fn sessions_are_ended_through_a_tunnels_own_page() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let studio = studio(programs, Flaw::Interstitial, "?transport=webrtc", "");
    wait_for("WebRTC", || (studio.browser.run("return document.body.dataset.up") == "webrtc").then_some(()));
    click(&studio.browser, "#camera");
    wait_for("the end of the session", || (studio.tunnel.count("DELETE ", true) > 0).then_some(()));
    assert_eq!(studio.tunnel.count("DELETE ", false), 0, "{:?}", studio.tunnel.seen());
    // The same from the plain client.
    studio.browser.open(&format!("http://{}/client.html", studio.tunnel.addr));
    let ended = studio.tunnel.count("DELETE ", true);
    click(&studio.browser, "#startCamera");
    wait_for("the camera", || (text(&studio.browser, "#status") == "Camera started").then_some(()));
    click(&studio.browser, "#connect");
    wait_for("the connection", || (text(&studio.browser, "#status") == "Connected").then_some(()));
    click(&studio.browser, "#disconnect");
    wait_for("its end", || (studio.tunnel.count("DELETE ", true) > ended).then_some(()));
    assert_eq!(studio.tunnel.count("DELETE ", false), 0, "{:?}", studio.tunnel.seen());
}

#[test]
fn a_connection_on_which_no_picture_comes_is_not_idle() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let tunnel = Tunnel::start(server.addr, Flaw::CutsIdle);
    let publisher =
        Publisher::start(server.addr, "cam", CAMERA, Plan { width: 320, height: 240, ..Plan::default() });
    server.wait_for_stream("cam", "a stream", |_| true);
    let browser = Browser::start(programs, None);
    browser.open(&format!("http://{}/view?stream=cam&transport=ws", tunnel.addr));
    wait_for_ways(&browser, "", "ws");
    shown(&browser, 3);
    // From now on the stream stands still.
    drop(publisher);
    let quiet = Instant::now();
    wait_for("as much silence as the tunnel cuts twice over", || (quiet.elapsed() > 2 * IDLE).then_some(()));
    let _publisher = Publisher::start(server.addr, "cam", 4, Plan::default());
    wait_for("pictures on the same connection", || browser.mark(PICTURE).filter(|(mark, _)| mark.id == 4));
    assert!(!tunnel.has_cut(), "it was idle");
    assert_eq!(tunnel.count("GET /ws/view", true), 1, "{:?}", tunnel.seen());
}

#[test]
fn a_page_whose_connections_are_cut_goes_on_with_the_same_stream() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let (studio, stream) = by_socket(programs);
    let Studio { server, tunnel, browser, .. } = &studio;
    for round in 2..=3 {
        tunnel.cut();
        wait_for("another connection", || (tunnel.count("GET /ws/live", true) >= round).then_some(()));
        wait_for_ways(browser, "ws", "ws");
        assert_in_order(&shown(browser, 5).0);
        assert_eq!(own_stream(browser), stream);
    }
    let streams = server.json("/streams");
    let live: Vec<_> = streams.as_array().unwrap().iter().filter(|s| s["state"] != "ended").collect();
    assert_eq!((live.len(), &live[0]["id"]), (1, &serde_json::json!(stream)), "{streams}");
}

#[test]
fn a_quota_that_is_used_up_is_said_and_not_hammered() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let (studio, stream) = by_socket(programs);
    let Studio { server, tunnel, browser, .. } = &studio;
    tunnel.exhaust(true);
    let said = wait_for("what has happened", || {
        Some(text(browser, "#connection")).filter(|said| said.contains("quota"))
    });
    assert!(said.contains("used up (429)") && said.contains("asked again in"), "{said}");
    // The sockets' attempts before the first answer, a few requests that were on their way, and then one for each pause.
    let reasons =
        wait_for("reasons", || Some(text(browser, "#reasons")).filter(|said| said.contains("quota")));
    assert!(reasons.contains("used up (429)"), "{reasons}");
    let before = tunnel.count("", false);
    wait_for("the next question", || (tunnel.count("", false) > before).then_some(()));
    let refused = tunnel.count("", false);
    assert!(refused <= 12, "{refused} requests: {:?}", tunnel.seen());
    tunnel.exhaust(false);
    wait_for_ways(browser, "ws", "ws");
    assert_in_order(&shown(browser, 5).0);
    server.wait_for_stream(&stream, "the same name", |stream| stream["state"] == "live");
    wait_for("that all is well", || text(browser, "#connection").contains("live").then_some(()));
}
