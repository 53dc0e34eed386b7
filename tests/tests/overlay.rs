//! Detectors draw on the page's own picture: what was found in a frame is drawn on that frame.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ooblex_tests::browser::{Browser, installed, write_film};
use ooblex_tests::mark::{self, Mark, READ_MARK_JS, Rgb};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::server::Server;
use ooblex_tests::{skip, wait_for};
use serde_json::Value;

use crate::page::{assert_no_sideways_scroll, click, text};
use crate::rungs::{CAMERA, assert_in_order, own_stream, wait_for_ways};

const FILM: u32 = 240;
/// Pixels by which the face moves from one picture to the next: far more than a detector is wrong by.
const STEP: i64 = 24;
/// Steps from one side to the other.
const STEPS: u32 = 16;

/// Where the face is in a picture of the film: to and fro.
fn place(counter: u32) -> i64 {
    let phase = counter % (2 * STEPS);
    20 + STEP * i64::from(phase.min(2 * STEPS - phase))
}

/// A film of marked pictures in which a face moves.
fn write_faces(path: &Path) {
    let portrait = ooblex_tests::server::root().join("ooblex-models/tests/golden/models/astronaut.png");
    let portrait = image::open(portrait).unwrap().into_rgb8();
    write_film(path, FILM, 640, 480, |counter| {
        let mut picture = mark::draw(Mark { id: CAMERA, counter }, 640, 480);
        paste(&mut picture, &portrait, place(counter) as usize);
        picture
    });
}

/// Puts head and shoulders into the lower part of a picture.
fn paste(picture: &mut Rgb, portrait: &image::RgbImage, x: usize) {
    for row in 0..220 {
        for column in 0..200 {
            let at = ((200 + row) * picture.width + x + column) * 3;
            let pixel = portrait.get_pixel(130 + column as u32, 10 + row as u32);
            picture.data[at..at + 3].copy_from_slice(&pixel.0);
        }
    }
}

/// A picture as the page showed it.
#[derive(Debug)]
struct Drawn {
    /// The stream's number of what was drawn.
    frame: u64,
    /// The number in the picture itself.
    counter: u32,
    /// The left side of the box.
    left: Option<i64>,
}

/// The next pictures that the page shows, with what was drawn on them.
#[track_caller]
fn drawn(browser: &Browser, pictures: usize) -> Vec<Drawn> {
    let script = format!(
        "{READ_MARK_JS} return new Promise((done) => {{
           const all = [];
           const start = performance.now();
           const look = () => {{
             const canvas = document.querySelector('#picture');
             const frame = Number(canvas.dataset.frame ?? -1);
             const mark = frame >= 0 && frame !== all.at(-1)?.[0] && readMark(canvas);
             if (mark) {{
               const {{ data, width, height }} = pixelsOf(canvas);
               let left = width;
               for (let i = 4 * width * Math.floor(height * 0.3); i < data.length; i += 4)
                 if (data[i + 1] > 200 && data[i] < 80 && data[i + 2] < 80) left = Math.min(left, (i / 4) % width);
               all.push([frame, mark.counter, left < width ? left : null]);
             }}
             if (all.length >= {pictures} || performance.now() - start > 15000) done(all);
             else setTimeout(look, 5);
           }};
           look();
         }})"
    );
    let found = browser.run(&script);
    let one = |one: &Value| Drawn {
        frame: one[0].as_u64().unwrap(),
        counter: one[1].as_u64().unwrap() as u32,
        left: one[2].as_i64(),
    };
    let drawn: Vec<Drawn> = found.as_array().unwrap().iter().map(one).collect();
    assert_eq!(drawn.len(), pictures, "pictures in time: {drawn:?}");
    drawn
}

/// Chromium with a camera of faces.
fn with_faces(programs: (PathBuf, PathBuf)) -> (Browser, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("faces.y4m");
    write_faces(&film);
    (Browser::start(programs, Some(&film)), folder)
}

/// Switches to drawing here, as soon as that is offered.
#[track_caller]
fn click_draw_here(browser: &Browser) {
    wait_for("the switch", || {
        (browser.run("return document.querySelector('#draw-here-switch').hidden") == false).then_some(())
    });
    click(browser, "#draw-here");
}

/// Draws on the page what a stream of the page's way finds, and holds it against what the server says of each frame.
#[track_caller]
fn alignment(forced: &str, ways: [&str; 2], pictures: usize) {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&["--model-name", "face_detection"]);
    let (browser, _film) = with_faces(programs);
    browser.open(&server.url(&format!("/?transport={forced}")));
    click(&browser, "#camera");
    let stream = own_stream(&browser);
    click_draw_here(&browser);
    wait_for_ways(&browser, ways[0], ways[1]);
    drawn(&browser, 3);
    server.wait_for_stream(&stream, "no picture comes back", |stream| stream["viewers"] == 0);

    // What the server's frames show, by their numbers.
    let stop = AtomicBool::new(false);
    let (drawn, frames) = thread::scope(|both| {
        let watching = both.spawn(|| {
            let mut viewer = Viewer::open(server.addr, &format!("/{stream}.mjpg"));
            let mut frames = HashMap::new();
            while !stop.load(Ordering::SeqCst) {
                let part = viewer.next();
                if let Some(mark) = part.mark() {
                    frames.insert(part.sequence, mark.counter);
                }
            }
            frames
        });
        let drawn = drawn(&browser, pictures);
        stop.store(true, Ordering::SeqCst);
        (drawn, watching.join().unwrap())
    });
    let counters: Vec<u32> = drawn.iter().map(|one| one.counter).collect();
    assert_in_order(&counters);
    let both: Vec<_> = drawn.iter().filter_map(|one| Some((one, *frames.get(&one.frame)?))).collect();
    let wrong: Vec<_> = both.iter().filter(|(one, counter)| one.counter != *counter).collect();
    println!(
        "{} of {} pictures also seen at the server, {} of another frame",
        both.len(),
        drawn.len(),
        wrong.len()
    );
    assert!(both.len() >= pictures / 4 && wrong.is_empty(), "{wrong:?}");

    // And what is drawn is where the face is in the very picture.
    let off: Vec<i64> = drawn.iter().filter_map(|one| Some(one.left? - place(one.counter))).collect();
    assert!(off.len() >= pictures / 2, "a face in {} of {} pictures", off.len(), drawn.len());
    let mut sorted = off.clone();
    sorted.sort_unstable();
    let usual = sorted[sorted.len() / 2];
    let most = off.iter().map(|off| (off - usual).abs()).max().unwrap();
    println!("{} boxes, off by {most} px at most; one frame would be {STEP} px", off.len());
    assert!(most < STEP / 2, "boxes of other frames: {off:?}");

    let volume = wait_for("bytes a minute", || {
        Some(text(&browser, "#down")).filter(|text| text.contains("MB/min") && text.contains("Findings"))
    });
    println!("down: {volume}; up: {}", text(&browser, "#up"));
    browser.screenshot(&format!("overlay_{forced}"));
    browser.resize(390, 844, true);
    assert_no_sideways_scroll(&browser);
    browser.screenshot(&format!("overlay_{forced}_phone_390"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    // An effect that changes the picture has it come back.
    click(&browser, "#gallery [data-effect=grayscale]");
    wait_for("the picture", || {
        (browser.run("return document.body.dataset.down") != ways[1]).then_some(())?;
        browser.mark("#picture").filter(|(_, colour)| *colour < 3.0)
    });
}

#[test]
fn what_is_found_is_drawn_on_the_picture_it_was_found_in() {
    alignment("ws", ["ws", "findings"], 60);
}

#[test]
fn lines_join_the_points_of_a_mesh() {
    const LINES: u64 = 1322;
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&["--model-name", "face_mesh"]);
    let (browser, _film) = with_faces(programs);
    browser.open(&server.url("/?transport=ws"));
    browser.run(
        "const { prototype } = CanvasRenderingContext2D; const { lineTo } = prototype; window.lines = 0; \
         prototype.lineTo = function (...to) { window.lines += 1; return lineTo.apply(this, to); }; return null",
    );
    click(&browser, "#camera");
    click_draw_here(&browser);
    wait_for_ways(&browser, "ws", "findings");
    let lines = wait_for("lines of some faces", || {
        browser.run("return window.lines").as_u64().filter(|lines| *lines >= 5 * LINES)
    });
    assert_eq!(lines % LINES, 0, "every line of each face");
    browser.screenshot("overlay_mesh");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn the_same_by_plain_requests() {
    alignment("http", ["http", "asked"], 24);
}
