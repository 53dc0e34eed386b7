//! What is chosen on the page is kept: before there is a stream, while it begins, and however late the answers come.

use ooblex_tests::browser::{Browser, installed};
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;
use ooblex_tests::{skip, wait_for};
use serde_json::json;

use crate::page::{click, text};
use crate::rungs::{PICTURE, own_stream, with_camera};

/// Has the page note whenever an effect is shown as chosen, or no longer.
const NOTE_PRESSED: &str = "window.pressed = []; \
    new MutationObserver((all) => all.forEach(({ target }) => pressed.push([target.dataset.effect, target.ariaPressed]))) \
    .observe(document.querySelector('#gallery'), { subtree: true, attributeFilter: ['aria-pressed'] }); return null";

/// Checks that an effect is shown as chosen, and was all the time since it was clicked.
#[track_caller]
fn assert_kept(browser: &Browser, effect: &str) {
    let script = format!(
        "const lost = pressed.some(([name, is]) => name === '{effect}' && is === 'false' && (pressed.length = 1)); \
         return !lost && document.querySelector('#gallery [data-effect={effect}]').ariaPressed === 'true'"
    );
    assert!(browser.run(&script) == true, "{}", browser.run("return pressed"));
}

#[track_caller]
fn wait_for_effect(server: &Server, effect: &str) {
    wait_for(&format!("{effect} for all"), || (server.json("/status")["effect"] == effect).then_some(()));
}

/// Waits until the page has asked for the state this often from now on.
#[track_caller]
fn wait_for_polls(browser: &Browser, polls: u64) {
    let script = "return performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/status')).length";
    let count = || browser.run(script).as_u64().unwrap();
    let before = count();
    wait_for("the page to ask", || (count() >= before + polls).then_some(()));
}

fn choose(browser: &Browser, effect: &str) {
    click(browser, &format!("#gallery [data-effect={effect}]"));
}

#[test]
fn what_is_chosen_before_the_camera_starts_is_what_it_starts_with() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let (browser, _film) = with_camera(programs);
    browser.open(&server.url("/"));
    choose(&browser, "sepia");
    browser.run(NOTE_PRESSED);
    choose(&browser, "grayscale");
    click(&browser, "#camera");
    let stream = own_stream(&browser);
    let begun = server.wait_for_stream(&stream, "the camera", |_| true);
    assert_eq!(begun["effect"], "grayscale", "from the first frame on");
    wait_for("the picture", || browser.mark(PICTURE).filter(|(_, colour)| *colour < 3.0));
    assert_kept(&browser, "grayscale");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn what_is_chosen_for_one_stream_waits_for_it() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let _other = Publisher::start(server.addr, "other", 2, Plan::default());
    server.wait_for_stream("other", "a stream", |_| true);
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/?stream=late"));
    wait_for("the scope", || text(&browser, "#scope-one").contains("late").then_some(()));
    click(&browser, "#scope [value=one]");
    browser.run(NOTE_PRESSED);
    choose(&browser, "grayscale");
    wait_for_polls(&browser, 2);
    assert_kept(&browser, "grayscale");
    assert_eq!(server.stream("other").unwrap()["effect"], "none", "it is not for all");
    let _late = Publisher::start(server.addr, "late", 3, Plan::default());
    server.wait_for_stream("late", "its effect", |stream| stream["effect"] == "grayscale");
    assert_eq!(server.stream("other").unwrap()["effect"], "none", "it is for one");
    wait_for_polls(&browser, 2);
    assert_kept(&browser, "grayscale");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn an_answer_from_before_a_choice_does_not_undo_it() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/"));
    choose(&browser, "none");
    // The next answer about the state is held back.
    browser.run(
        "const { fetch } = window; window.held = 0; const free = new Promise((done) => (window.letGo = done)); \
         window.fetch = async (url, init) => { const response = await fetch(url, init); \
         if (String(url).endsWith('/status') && !window.held++) await free; return response; }; return null",
    );
    wait_for("an answer", || (browser.run("return window.held") == 1).then_some(()));
    browser.run(NOTE_PRESSED);
    choose(&browser, "grayscale");
    wait_for_effect(&server, "grayscale");
    wait_for("its answer", || {
        let asked = "return performance.getEntriesByType('resource').some(({ name, responseEnd }) => \
            name.endsWith('/effect') && responseEnd > 0)";
        (browser.run(asked) == true).then_some(())
    });
    browser.run("window.letGo(); return null");
    wait_for_polls(&browser, 2);
    assert_kept(&browser, "grayscale");
}

#[test]
fn an_effect_that_takes_long_to_load_is_waited_for() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/"));
    choose(&browser, "none");
    let generation = || server.json("/status")["generation"].as_u64().unwrap();
    let before = wait_for("the first choice", || Some(generation()).filter(|now| *now > 1));
    // Longer than the page waits for other answers.
    browser.run(
        "const { fetch } = window; window.fetch = async (url, init) => { \
         if (String(url).endsWith('/effect')) await new Promise((done) => setTimeout(done, 6000)); \
         return fetch(url, init); }; return null",
    );
    browser.run(NOTE_PRESSED);
    choose(&browser, "grayscale");
    wait_for_effect(&server, "grayscale");
    wait_for_polls(&browser, 2);
    assert_kept(&browser, "grayscale");
    assert_eq!(text(&browser, "#message"), "");
    assert_eq!(generation(), before + 1, "it was asked for once");
}

#[test]
fn what_the_server_refuses_is_said_and_taken_back() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/"));
    choose(&browser, "overlay");
    let colour = "#chain input[type=text]";
    wait_for_effect(&server, "overlay");
    let write = format!(
        "const input = document.querySelector({}); if (!input) return false; input.value = 'nonsense'; \
         input.dispatchEvent(new Event('change', {{ bubbles: true }})); return true",
        json!(colour)
    );
    wait_for("a parameter", || (browser.run(&write) == true).then_some(()));
    let said = wait_for("the refusal", || Some(text(&browser, "#message")).filter(|said| !said.is_empty()));
    assert!(said.contains("not changed") && said.contains("nonsense") && said.contains("allowed"), "{said}");
    let value = format!("return document.querySelector({}).value", json!(colour));
    assert_eq!(browser.run(&value), "green", "what the server has");
    assert_eq!(text(&browser, "#message"), said, "it stays said");
    // What is chosen next goes its way.
    choose(&browser, "grayscale");
    wait_for_effect(&server, "grayscale");
    wait_for("no complaint", || text(&browser, "#message").is_empty().then_some(()));
}
