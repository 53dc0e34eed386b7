//! What the page itself measures in headless Chromium: the age of its pictures, from the camera to the screen, and what part
//! of a core the browser and the server take.
//!
//! ```text
//! page_latency [--height 720] [--film CAMERA.y4m] [--codec h264|vp8] [--effect CHAIN] [--seconds 20] [--slow]
//! ```
//!
//! The page publishes and shows over `/ws/live`. Quantiles are of the last 300 pictures that it showed. `--slow` puts a line
//! of 40 ms each way and 8 Mbit/s between, which stands still for 300 ms each third second. The browser renders in
//! software, on the same cores.
#![allow(clippy::print_stdout)]

use std::thread::sleep;
use std::time::{Duration, Instant};

use ooblex_tests::browser::{Browser, installed, write_camera};
use ooblex_tests::link::{Line, Link};
use ooblex_tests::server::Server;
use ooblex_tests::tools::cpu_seconds;
use ooblex_tests::wait_for;

const LINE: Line = Line { delay: Duration::from_millis(40), bytes_per_second: 1_000_000 };
const STALL: Duration = Duration::from_millis(300);
const FILM: u32 = 120;

struct Options {
    height: usize,
    film: Option<std::path::PathBuf>,
    codec: String,
    effect: String,
    seconds: u64,
    slow: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        height: 720,
        film: None,
        codec: "h264".into(),
        effect: "edge_detection".into(),
        seconds: 20,
        slow: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        if name == "--slow" {
            options.slow = true;
            continue;
        }
        let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{name}: {value:?} is no number"));
        match name.as_str() {
            "--height" => options.height = number()?,
            "--seconds" => options.seconds = number()? as u64,
            "--film" => options.film = Some(value.into()),
            "--codec" => options.codec = value,
            "--effect" => options.effect = value,
            _ => return Err(format!("there is no {name}")),
        }
    }
    Ok(options)
}

/// Seconds of CPU that the processes have taken so far whose command line has a word in it.
fn cpu_seconds_of(word: &str) -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mine = processes.filter(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    });
    mine.filter_map(|entry| cpu_seconds(entry.file_name().to_str()?.parse().ok()?)).sum()
}

fn main() -> Result<(), String> {
    let options = options()?;
    let programs = installed().ok_or("install Chromium and chromedriver")?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    // Even, as 4:2:0 wants it, and as browsers round it.
    let width = (options.height * 16 / 9).next_multiple_of(2);
    let film = options.film.unwrap_or_else(|| {
        let film = folder.path().join("camera.y4m");
        write_camera(&film, 9, FILM, width, options.height);
        film
    });
    let server = Server::start(&["--model-name", &options.effect]);
    let link = options.slow.then(|| Link::start(server.addr, LINE));
    let addr = link.as_ref().map_or(server.addr, |link| link.addr);
    let browser = Browser::start(programs, Some(&film));
    browser.open(&format!("http://{addr}/?transport=ws&codec={}", options.codec));
    browser.run(&format!(
        "document.getElementById('height').value = '{}'; document.getElementById('camera').click()",
        options.height
    ));
    wait_for("pictures", || {
        (browser.run("return document.getElementById('age50').textContent") != "–").then_some(())
    });
    // The first seconds are those of starting.
    sleep(Duration::from_secs(5));
    let words = ["chromium", "ooblex-colab"];
    let (before, at) = (words.map(cpu_seconds_of), Instant::now());
    let end = at + Duration::from_secs(options.seconds);
    while Instant::now() < end {
        match &link {
            Some(link) => {
                sleep(Duration::from_millis(2700));
                link.stall(STALL);
            }
            None => sleep(Duration::from_secs(1)),
        }
    }
    let took = at.elapsed().as_secs_f64();
    let after = words.map(cpu_seconds_of);
    let text = |id: &str| browser.run(&format!("return document.getElementById('{id}').innerText"));
    println!("{}x{} {} {}", width, options.height, options.codec, options.effect);
    for id in ["age50", "age99", "fps-in", "fps-out", "size", "drops", "stages"] {
        println!("{id}: {}", text(id).as_str().unwrap_or_default().replace('\n', " | ").replace('\t', " "));
    }
    println!(
        "oldest: {}",
        browser.run("return document.getElementById('age99').title").as_str().unwrap_or_default()
    );
    println!(
        "browser {:.2} cores, server {:.2}",
        (after[0] - before[0]) / took,
        (after[1] - before[1]) / took
    );
    Ok(())
}
