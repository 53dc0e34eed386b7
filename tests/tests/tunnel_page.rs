//! The page behind a tunnel, in headless Chromium: it begins with what passes, and says what is left.

use ooblex_tests::browser::{Browser, installed, write_camera};
use ooblex_tests::{skip, wait_for};

use crate::page::{click, text};
use crate::tunnels::{CONTROL, Tunnelled};

/// Notes each socket that is opened, and each MJPEG picture that is asked for.
const NOTE: &str = "delete window.RTCPeerConnection; window.tried = []; const Socket = window.WebSocket; \
    window.WebSocket = class extends Socket { constructor(...a) { window.tried.push('socket'); super(...a); } }; \
    const src = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, 'src'); \
    Object.defineProperty(HTMLImageElement.prototype, 'src', { ...src, set(value) { \
      if (String(value).includes('stream.mjpg')) window.tried.push('mjpeg'); src.set.call(this, value); } });";

/// Opens the page through a tunnel with a flaw, prepares the browser, starts the camera, and waits for the ways; gives what was tried.
#[track_caller]
fn ways_through(flaw: &str, prepare: &str, ways: [&str; 2]) -> Option<(String, String)> {
    let programs = installed()?;
    let tunnelled = Tunnelled::start(flaw, &[]);
    tunnelled.probed();
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("camera.y4m");
    write_camera(&film, 9, 240, 640, 480);
    let browser = Browser::start(programs, Some(&film));
    browser.open(&format!("http://{}/t/{CONTROL}/", tunnelled.public()));
    browser.run(&format!("{NOTE} {prepare}"));
    click(&browser, "#camera");
    let state = "return [document.body.dataset.up ?? '', document.body.dataset.down ?? '']";
    wait_for(&format!("{ways:?}"), || (browser.run(state) == serde_json::json!(ways)).then_some(()));
    let tried = browser.run("return window.tried.join()").as_str().unwrap_or_default().to_owned();
    Some((tried, text(&browser, "#reasons")))
}

#[test]
fn behind_a_tunnel_without_websockets_the_page_does_not_try_any() {
    let Some((tried, reasons)) = ways_through("no-websocket", "", ["http", "http"]) else {
        skip!("Chromium or chromedriver is not installed")
    };
    assert!(!tried.contains("socket"), "{tried}");
    assert!(reasons.contains("the server found that the tunnel passes no WebSockets"), "{reasons}");
}

#[test]
fn behind_a_tunnel_that_passes_everything_the_page_takes_a_websocket() {
    let Some((tried, reasons)) = ways_through("none", "", ["ws", "ws"]) else {
        skip!("Chromium or chromedriver is not installed")
    };
    assert!(tried.contains("socket") && !reasons.contains("the server found"), "{tried} {reasons}");
}

#[test]
fn behind_a_tunnel_that_holds_streams_the_page_asks_for_no_mjpeg() {
    let without = "window.WebSocket = class { constructor() { throw new Error('none') } }";
    let Some((tried, reasons)) = ways_through("holds-streams", without, ["http", "snapshot"]) else {
        skip!("Chromium or chromedriver is not installed")
    };
    assert!(!tried.contains("mjpeg"), "{tried}");
    assert!(reasons.contains("the server found that the tunnel holds streamed answers back"), "{reasons}");
}

#[test]
fn the_page_shows_the_tunnels_address_and_what_is_left() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let tunnelled = Tunnelled::start(
        "none",
        &["--demo", "--tunnel-quota-mb=20", "--tunnel-quota-requests=500", "--tunnel-quota-minutes=1"],
    );
    tunnelled.probed();
    let public = tunnelled.public();
    let browser = Browser::start(programs, None);
    // On this machine: others are sent to the tunnel.
    browser.open(&tunnelled.server.url(&format!("/t/{CONTROL}/")));
    let link = "return document.querySelector('#share-link').value";
    wait_for("the address of the tunnel", || {
        browser
            .run(link)
            .as_str()
            .is_some_and(|link| link.starts_with(&format!("http://{public}/t/")) && link.contains("/view"))
            .then_some(())
    });
    let shown = wait_for("the tunnel", || {
        Some(text(&browser, "#tunnel")).filter(|text| text.contains("of 20 MB sent"))
    });
    assert!(shown.contains("of 500 requests"), "{shown}");
    // Through the tunnel: its traffic is what is counted, and requests are asked for sparingly.
    browser.open(&format!("http://{public}/t/{CONTROL}/"));
    wait_for("minutes", || Some(text(&browser, "#tunnel")).filter(|text| text.contains("left at this rate")));
    assert_eq!(browser.run("return document.querySelector('#moved').hidden"), true);
    // The tunnel takes another address, while the old one still works: the page says where it has to be opened.
    tunnelled.tell("move");
    let moved = wait_for("another address", || Some(tunnelled.public()).filter(|address| *address != public));
    wait_for("the page says so", || {
        text(&browser, "#moved").contains(&format!("http://{moved}/")).then_some(())
    });
}

#[test]
fn video_through_a_tunnel_gets_smaller_before_the_quota_ends() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    // 400 kbit a second at first, of which the page itself takes some: too little for video of 480 lines.
    let quota = ["--demo", "--tunnel-quota-mb=3", "--tunnel-quota-minutes=1"];
    let tunnelled = Tunnelled::start("none", &quota);
    tunnelled.probed();
    let (local, outside) = (Browser::start(programs.clone(), None), Browser::start(programs, None));
    let path = format!("/t/{CONTROL}/view?stream=demo&transport=ws");
    local.open(&tunnelled.server.url(&path));
    outside.open(&format!("http://{}{path}", tunnelled.public()));
    let height = "return document.querySelector('#picture')?.height ?? 0";
    wait_for("smaller video", || {
        outside.run(height).as_u64().is_some_and(|height| (200..480).contains(&height)).then_some(())
    });
    assert_eq!(local.run(height), 480, "whoever watches on this machine is not slowed");
    assert_eq!(crate::tunnels::tunnel_of(&tunnelled.server)["traffic"]["slowed"], true);
}
