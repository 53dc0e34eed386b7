//! The page in headless Chromium. Screenshots are saved to `target/screenshots`.

use std::time::{Duration, Instant};

use ooblex_tests::browser::{Browser, Scripted, installed, write_camera};
use ooblex_tests::mark::READ_MARK_JS;
use ooblex_tests::multipart::Viewer;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::{self, Server};
use ooblex_tests::{skip, wait_for};
use serde_json::json;

use crate::rungs::wait_for_ways;

const PICTURE: &str = "#picture";

/// Clicks an element as soon as it is there.
#[track_caller]
pub(crate) fn click(browser: &impl Scripted, selector: &str) {
    let script = format!(
        "const found = document.querySelector({}); if (!found || found.disabled) return false; found.click(); return true",
        json!(selector)
    );
    wait_for(&format!("{selector} to click"), || (browser.run(&script) == true).then_some(()));
}

#[track_caller]
pub(crate) fn text(browser: &impl Scripted, selector: &str) -> String {
    let script = format!("return document.querySelector({})?.textContent ?? ''", json!(selector));
    browser.run(&script).as_str().unwrap_or_default().to_owned()
}

/// No part of the page lies beside the screen.
#[track_caller]
pub(crate) fn assert_no_sideways_scroll(browser: &Browser) {
    let widths =
        browser.run("return [document.documentElement.scrollWidth, document.body.scrollWidth, innerWidth]");
    let number = |at: usize| widths[at].as_u64().unwrap();
    assert!(number(0) <= number(2) && number(1) <= number(2), "{widths}");
}

#[test]
fn the_page_shows_what_is_new_and_switches_effects() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let publisher =
        Publisher::start(server.addr, "cam", 3, Plan { width: 640, height: 480, ..Plan::default() });
    server.wait_for_stream("cam", "a stream", |_| true);
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/"));

    // Fresh and rising: what the page shows was sent a moment ago, again and again.
    let mut last = None;
    for _ in 0..5 {
        let (mark, colour) =
            wait_for("a newer picture", || browser.mark(PICTURE).filter(|found| Some(found.0) > last));
        let behind = publisher.accepted() - mark.counter;
        assert_eq!(mark.id, 3);
        assert!(behind <= 60, "{behind} pictures behind");
        assert!(colour > 20.0);
        last = Some(mark);
    }
    let shown = wait_for("live", || Some(text(&browser, "#connection")).filter(|text| text.contains("live")));
    assert!(shown.contains("cam"), "{shown}");
    wait_for("rates", || {
        text(&browser, "#fps-in").parse::<f64>().is_ok_and(|fps| fps > 5.0).then_some(()).or_else(|| {
            // With its unit behind it.
            text(&browser, "#fps-in")
                .split_whitespace()
                .next()?
                .parse::<f64>()
                .ok()
                .filter(|fps| *fps > 5.0)
                .map(drop)
        })
    });
    assert!(text(&browser, "#size").contains("640"));

    for (effect, grey) in [("grayscale", true), ("none", false), ("sketch", true), ("none", false)] {
        click(&browser, &format!("#gallery [data-effect={effect}]"));
        server.wait_for_stream("cam", "the chosen effect", |stream| stream["effect"] == effect);
        wait_for(&format!("{effect} in the picture"), || {
            let script = format!("{READ_MARK_JS} return colourOf(document.querySelector('{PICTURE}'))");
            let colour = browser.run(&script).as_f64()?;
            ((colour < 3.0) == grey).then_some(())
        });
        let pressed = format!("return document.querySelector('#gallery [data-effect={effect}]').ariaPressed");
        assert_eq!(browser.run(&pressed), "true");
    }
    // A parameter that is moved on the page reaches the server.
    click(&browser, "#gallery [data-effect=edge_detection]");
    wait_for("a slider", || {
        let script = "const slider = document.querySelector('#chain input[type=range]'); if (!slider) return false; \
            slider.value = 60; slider.dispatchEvent(new Event('input', { bubbles: true })); return true";
        (browser.run(script) == true).then_some(())
    });
    wait_for("the parameter at the server", || {
        let status = server.json("/status");
        let params = status["streams"][0]["params"]["edge_detection"].as_object()?.clone();
        (!params.is_empty()).then_some(())
    });
    browser.screenshot("desktop");
    assert_no_sideways_scroll(&browser);

    // The same on phones, with as much on the page as there can be.
    click(&browser, "#combine");
    for effect in ["blur", "vintage", "pixelate"] {
        click(&browser, &format!("#gallery [data-effect={effect}]"));
    }
    server.wait_for_stream("cam", "a chain", |stream| {
        stream["effect"] == "edge_detection|blur|vintage|pixelate"
    });
    for width in [390, 320] {
        browser.resize(width, 844, true);
        wait_for("the phone's width", || (browser.run("return innerWidth") == width).then_some(()));
        assert_no_sideways_scroll(&browser);
        browser.screenshot(&format!("phone_{width}"));
    }
    let small = "return [...document.querySelectorAll('button, select')].filter((e) => e.offsetParent && \
        e.getBoundingClientRect().height < 20).map((e) => e.outerHTML.slice(0, 80))";
    assert_eq!(browser.run(small), json!([]), "too small for a finger");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn chromium_shows_a_single_picture_at_once() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/"));
    let mut times = Vec::new();
    for counter in 0..8 {
        let stream = format!("still_{counter}");
        server.upload(&stream, &crate::marked(2, counter));
        let script = format!(
            "{READ_MARK_JS} return new Promise((done) => {{
               const image = new Image();
               const start = performance.now();
               image.src = '/streams/{stream}/stream.mjpg';
               const look = () => {{
                 const mark = readMark(image);
                 if (mark) {{ image.src = ''; done([mark.id, mark.counter, performance.now() - start]); }}
                 else if (performance.now() - start > 5000) done(null);
                 else setTimeout(look, 5);
               }};
               look();
             }})"
        );
        let found = browser.run(&script);
        assert_eq!((&found[0], &found[1]), (&json!(2), &json!(counter)), "{found}");
        times.push(found[2].as_f64().unwrap());
    }
    times.sort_by(f64::total_cmp);
    println!("a still picture is there after {times:.0?} ms");
    // An idle stream repeats its picture after a second. Without the delimiter behind the first one Chromium would
    // need that repetition every time.
    assert!(times[2] < 700.0, "{times:?}");
}

#[test]
fn chromium_shows_each_frame_before_the_next_one_comes() {
    // The publisher waits until the page shows a picture before it sends the next: a browser that is one frame behind
    // would never get past the first.
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let browser = Browser::start(programs, None);
    server.upload("cam", &crate::marked(2, 0));
    // A picture is shown for two seconds before the placeholder takes its place: none is sent to a page that still loads.
    browser.open(&server.url("/?transport=http"));
    wait_for_ways(&browser, "", "http");
    let mut times = Vec::new();
    for counter in 1..=12 {
        server.upload("cam", &crate::marked(2, counter));
        let start = Instant::now();
        wait_for("the picture", || browser.mark(PICTURE).filter(|found| found.0.counter == counter));
        times.push(start.elapsed());
    }
    times.sort();
    println!("a picture is shown after {times:?}");
    // An idle stream repeats its picture after a second, which would hide a browser that is one behind: such a one needs
    // the repetition every time, while a machine with much else to do is late only now and then.
    assert!(times[2] < Duration::from_millis(700), "{times:?}");
}

#[test]
fn the_camera_of_the_page_arrives_processed() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&["--model-name", "grayscale"]);
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("camera.y4m");
    write_camera(&film, 9, 90, 640, 480);
    let browser = Browser::start(programs, Some(&film));
    browser.open(&server.url("/"));
    click(&browser, "#camera");
    let stream = wait_for("the camera's stream", || {
        let streams = server.json("/streams");
        let found = streams.as_array().unwrap().iter().find(|stream| stream["state"] == "live")?;
        Some(found["id"].as_str().unwrap().to_owned())
    });
    let mut viewer = Viewer::open(server.addr, &format!("/{stream}.mjpg"));
    let mut counters = Vec::new();
    while counters.len() < 25 {
        let part = viewer.next();
        let picture = part.picture();
        let Some(mark) = picture.mark() else { panic!("{}x{}, no mark", picture.width, picture.height) };
        assert_eq!(mark.id, 9);
        assert!(picture.colourfulness() < 3.0, "processed");
        if counters.last() != Some(&mark.counter) {
            counters.push(mark.counter);
        }
    }
    // In the order of the film, which begins again at its end.
    let steps: Vec<u32> = counters.windows(2).map(|pair| (pair[1] + 90 - pair[0]) % 90).collect();
    assert!(steps.iter().all(|step| *step < 45), "{counters:?}");
    // The page shows what comes back.
    let (mark, colour) = wait_for("the camera on the page", || browser.mark(PICTURE));
    assert_eq!(mark.id, 9);
    assert!(colour < 3.0);
    wait_for("the count of sent pictures", || {
        text(&browser, "#sending").chars().any(|c| c.is_ascii_digit()).then_some(())
    });
    browser.screenshot("camera_desktop");
    browser.resize(390, 844, true);
    assert_no_sideways_scroll(&browser);
    browser.screenshot("camera_phone_390");

    click(&browser, "#camera");
    server.wait_for_stream(&stream, "the end of the camera", |stream| stream["state"] != "live");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_page_finds_back_to_a_server_that_was_restarted() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&["--demo"]);
    let port = server.addr.port().to_string();
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/"));
    let size = format!(
        "const shown = document.querySelector('{PICTURE}'); return shown.naturalWidth || shown.videoWidth || shown.width"
    );
    wait_for("the demo", || (browser.run(&size) == 640).then_some(()));
    browser.screenshot("demo_desktop");
    drop(server);
    wait_for("the loss to be noticed", || {
        (browser.run("return document.querySelector('#connection').dataset.state") == "lost").then_some(())
    });
    let mut command = server::command();
    command.args(["--mjpeg-port", &port]);
    let server = Server::launch(command);
    let _publisher = Publisher::start(server.addr, "cam", 4, Plan::default());
    let (mark, _) = wait_for("the new picture", || browser.mark(PICTURE));
    assert_eq!(mark.id, 4);
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    let page = server.get("/").expect(200);
    assert!(page.header("Content-Type").unwrap().starts_with("text/html"));
    let mut files = vec![page.text().to_owned()];
    for part in page.text().split(['"', '\'']).filter(|part| part.starts_with("page/")) {
        let file = server.get(&format!("/{part}")).expect(200);
        files.push(file.text().to_owned());
    }
    assert!(files.len() >= 3, "the page has a style and a script");
    for file in files {
        for scheme in ["http://", "https://", "//cdn"] {
            // The name of the SVG language is no address.
            let found = file.matches(scheme).count()
                - file.matches("http://www.w3.org/2000/svg").count() * usize::from(scheme == "http://");
            assert_eq!(found, 0, "{scheme} in {file}");
        }
    }
}
