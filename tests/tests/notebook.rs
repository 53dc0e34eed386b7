//! The page in the output of a notebook's cell, behind a port proxy that passes less than others: what the page does then,
//! and who may use the line to the kernel.

use ooblex_tests::browser::{self, Browser};
use ooblex_tests::notebook::{self, Notebook};
use ooblex_tests::tunnel::Flaw;
use ooblex_tests::{http, skip, wait_for};
use serde_json::json;

use crate::page::{click, text};
use crate::rungs::{CAMERA, PICTURE, assert_in_order, own_stream, shown, wait_for_ways, with_camera};

const FRAME: &str = "iframe";
const WITHOUT_WEBRTC: &str = "delete window.RTCPeerConnection";

/// Opens the notebook and turns to the page inside, whose camera is started once `prepare` has run.
#[track_caller]
fn open(proxy: Flaw, prepare: &str) -> Option<(Notebook, Browser, tempfile::TempDir)> {
    let programs = browser::installed().filter(|_| notebook::installed())?;
    let notebook = Notebook::start(proxy);
    let (browser, film) = with_camera(programs);
    browser.open(&notebook.url());
    enter(&browser);
    browser.run(prepare);
    click(&browser, "#camera");
    Some((notebook, browser, film))
}

/// Turns to the page inside once it is there.
#[track_caller]
fn enter(browser: &Browser) {
    let there = format!("return document.querySelector('{FRAME}') !== null");
    wait_for("the output", || (browser.run(&there) == true).then_some(()));
    enter_frame(browser, FRAME);
}

#[track_caller]
fn enter_frame(browser: &Browser, frame: &str) {
    browser.enter(frame);
    let ready = "return document.querySelector('#gallery [data-effect]') !== null";
    wait_for("the page inside", || (browser.run(ready) == true).then_some(()));
}

macro_rules! open {
    ($proxy:expr, $prepare:expr) => {{
        let Some(opened) = open($proxy, $prepare) else {
            skip!("Chromium, chromedriver, or IPython in .venv is not installed")
        };
        opened
    }};
}

#[test]
fn where_the_proxy_refuses_posts_pictures_go_up_through_the_kernel() {
    let (notebook, browser, _film) = open!(Flaw::Notebook, WITHOUT_WEBRTC);
    wait_for_ways(&browser, "kernel", "snapshot");
    let (counters, colour) = shown(&browser, 10);
    assert_in_order(&counters);
    assert!(colour < 3.0, "not processed: {colour}");
    // It says which way runs and why each better one does not.
    assert!(text(&browser, "#up").starts_with("Upload through the notebook"), "{}", text(&browser, "#up"));
    let reasons = text(&browser, "#reasons");
    for reason in
        ["passes no WebSocket", "answered 500 in place of the server", "holds streamed answers back"]
    {
        assert!(reasons.contains(reason), "{reason:?} in {reasons}");
    }
    // Commands take the same way.
    click(&browser, "#gallery [data-effect=none]");
    wait_for("colours", || {
        browser.mark(PICTURE).filter(|(mark, colour)| mark.id == CAMERA && *colour > 20.0)
    });
    wait_for("the detour to be said", || {
        text(&browser, "#reasons").contains("the notebook's proxy answered 500 to a POST").then_some(())
    });
    let streams = http::send(notebook.server, "GET", "/streams", &[], &[]).json();
    assert_eq!((&streams[0]["id"], &streams[0]["effect"]), (&json!(own_stream(&browser)), &json!("none")));
    browser.screenshot("notebook");
}

#[test]
fn offers_of_webrtc_go_through_the_kernel_too() {
    let (_notebook, browser, _film) = open!(Flaw::Notebook, "");
    wait_for_ways(&browser, "webrtc", "snapshot");
    assert_in_order(&shown(&browser, 5).0);
}

#[test]
fn where_the_proxy_takes_posts_nothing_goes_through_the_kernel() {
    let (_notebook, browser, _film) = open!(Flaw::NotebookWithPost, WITHOUT_WEBRTC);
    wait_for_ways(&browser, "http", "http");
    let (counters, colour) = shown(&browser, 10);
    assert_in_order(&counters);
    assert!(colour < 3.0, "not processed: {colour}");
    let reasons = text(&browser, "#reasons");
    assert!(
        reasons.contains("passes no WebSocket") && !reasons.contains("through the notebook"),
        "{reasons}"
    );
    browser.leave();
    assert_eq!(browser.run("return window.invoked ?? 0"), 0);
}

#[test]
fn as_a_last_resort_pictures_come_back_through_the_kernel() {
    let Some(programs) = browser::installed().filter(|_| notebook::installed()) else {
        skip!("Chromium, chromedriver, or IPython in .venv is not installed")
    };
    let notebook = Notebook::start(Flaw::Notebook);
    let (browser, _film) = with_camera(programs);
    browser.open(&notebook.url());
    wait_for("the output", || {
        (browser.run("return document.querySelector('iframe') !== null") == true).then_some(())
    });
    browser
        .run("const f = document.querySelector('iframe'); f.src = f.src.replace('#', '?transport=kernel#')");
    wait_for("the other address", || {
        browser.enter(FRAME);
        let there = browser.run("return location.search") == "?transport=kernel";
        if !there {
            browser.leave();
        }
        there.then_some(())
    });
    click(&browser, "#camera");
    wait_for_ways(&browser, "kernel", "kernel");
    let (counters, colour) = shown(&browser, 10);
    assert_in_order(&counters);
    assert!(colour < 3.0, "not processed: {colour}");
}

#[test]
fn a_kernel_that_runs_a_cell_is_said_to_be_busy_and_is_not_flooded() {
    let (notebook, browser, _film) = open!(Flaw::Notebook, WITHOUT_WEBRTC);
    wait_for_ways(&browser, "kernel", "snapshot");
    shown(&browser, 3);
    notebook.run_cell();
    browser.leave();
    let before = browser.run("return window.invoked").as_u64().unwrap();
    browser.enter(FRAME);
    wait_for("the reason", || text(&browser, "#reasons").contains("running another cell").then_some(()));
    browser.leave();
    let asked = browser.run("return window.invoked").as_u64().unwrap() - before;
    assert!(asked <= 5, "{asked} requests wait for the kernel");
    notebook.end_cell();
    browser.enter(FRAME);
    wait_for_ways(&browser, "kernel", "snapshot");
    assert_in_order(&shown(&browser, 5).0);
}

#[test]
fn the_cell_listens_to_its_own_page_alone() {
    let Some(programs) = browser::installed().filter(|_| notebook::installed()) else {
        skip!("Chromium, chromedriver, or IPython in .venv is not installed")
    };
    let notebook = Notebook::start(Flaw::Notebook);
    let browser = Browser::start(programs, None);
    browser.open(&notebook.url());
    enter(&browser);
    // Its own page, with a wrong word and then with the right one; messages arrive in order.
    let greet = "const greet = (to, word) => { const { port1, port2 } = new MessageChannel(); \
                   const answer = new Promise((done) => (port1.onmessage = ({ data }) => done([data, port1]))); \
                   to.postMessage({ ooblex: word }, '*', [port2]); \
                   return Promise.race([answer, new Promise((done) => setTimeout(done, 1500, null))]); };";
    let mine = browser.run(&format!(
        "{greet} const word = new URLSearchParams(location.hash.slice(1)).get('kernel'); \
         return (async () => {{ \
           const [wrong, right] = await Promise.all([greet(parent, word.slice(1)), greet(parent, word)]); \
           const ask = (method, path) => new Promise((done) => {{ \
             right[1].onmessage = ({{ data }}) => done(data.status); \
             right[1].postMessage({{ id: 1, method, path, type: '', body: null }}); }}); \
           return [word.length, wrong, right?.[0], await ask('GET', 'status'), await ask('POST', '../effect'), \
             await ask('POST', 'upload?stream=a&x=b'), await ask('GET', 'snapshot.jpg')]; }})()"
    ));
    // Nothing is live, so the one allowed request has no picture to give.
    assert_eq!(mine, json!([43, null, "ready", 403, 403, 403, 503]));
    // Another window that knows the word.
    browser.leave();
    let other = browser.run(&format!(
        "{greet} const address = new URL(document.querySelector('iframe').src); \
         return greet(window, new URLSearchParams(address.hash.slice(1)).get('kernel'))"
    ));
    assert_eq!(other, json!(null));
    // Another page of the same server that knows it.
    let word = browser.run(
        "const { src } = document.querySelector('iframe'); const other = document.createElement('iframe'); \
         Object.assign(other, { id: 'other', src: src.split('#')[0] }); document.body.prepend(other); \
         return new URLSearchParams(new URL(src).hash.slice(1)).get('kernel')",
    );
    enter_frame(&browser, "#other");
    assert_eq!(browser.run(&format!("{greet} return greet(parent, {word})")), json!(null));
}
