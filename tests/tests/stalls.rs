//! Video over a WebSocket through a slow line that stalls: what is shown is never old, and soon new again.

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use ooblex_tests::browser::{Browser, installed};
use ooblex_tests::link::{Line, Link};
use ooblex_tests::mark::READ_MARK_JS;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;
use ooblex_tests::{skip, wait_for};

use crate::rungs::wait_for_ways;

/// A tunnel to somewhere on the continent, over a line of 8 Mbit a second.
const LINE: Line = Line { delay: Duration::from_millis(40), bytes_per_second: 1_000_000 };
const FPS: u32 = 30;
/// Pictures that are sent within the budget of 250 ms.
const BUDGET: u32 = FPS / 4;
/// Notes each picture that is drawn on the page, and when.
const NOTE: &str = "window.noted = []; const draw = CanvasRenderingContext2D.prototype.drawImage; \
    CanvasRenderingContext2D.prototype.drawImage = function (...a) { draw.apply(this, a); \
      if (this.canvas.id === 'picture') window.noted.push([readMark(this.canvas)?.counter ?? -1, Date.now()]); };";

/// A picture that was shown: its number, and how many had been sent by then.
#[derive(Clone, Copy, Debug)]
struct Shown {
    counter: u32,
    sent: u32,
}

/// Shows a stream over a line that stalls again and again; gives what was shown, and how many pictures had been sent at the
/// end of each stall.
#[track_caller]
fn watch(programs: (PathBuf, PathBuf), stalls: &[Duration]) -> (Vec<Shown>, Vec<u32>) {
    let server = Server::start(&[]);
    let link = Link::start(server.addr, LINE);
    let (epoch, start) = (SystemTime::now(), Instant::now());
    let plan = Plan { width: 640, height: 480, fps: FPS, noisy: false };
    let publisher = Publisher::start(server.addr, "cam", 9, plan);
    server.wait_for_stream("cam", "a stream", |_| true);
    let browser = Browser::start(programs, None);
    browser.open(&format!("http://{}/view?stream=cam&transport=ws", link.addr));
    browser.run(&format!("{READ_MARK_JS} {NOTE}"));
    wait_for_ways(&browser, "", "ws");
    let last = || browser.run("return window.noted.at(-1)?.[0] ?? -1").as_i64().unwrap();
    let mut ends = Vec::new();
    for stall in stalls {
        // The picture runs again before the next stall.
        let from = i64::from(publisher.accepted());
        wait_for("new pictures", || (last() > from + i64::from(FPS)).then_some(()));
        ends.push(link.stall(*stall));
    }
    let from = i64::from(publisher.accepted());
    wait_for("new pictures", || (last() > from + i64::from(FPS)).then_some(()));
    let noted = browser.run("return window.noted");
    let log = publisher.stop();
    let sent_by = |time: SystemTime| {
        let at = start + time.duration_since(epoch).unwrap();
        log.partition_point(|sent| sent.at <= at) as u32
    };
    let shown = noted.as_array().unwrap().iter().map(|one| {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(one[1].as_u64().unwrap());
        Shown { counter: u32::try_from(one[0].as_i64().unwrap()).expect("a whole mark"), sent: sent_by(at) }
    });
    (shown.collect(), ends.into_iter().map(sent_by).collect())
}

#[test]
fn after_each_stall_the_newest_picture_is_shown() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let short = Duration::from_millis(300);
    let stalls = [short, short, short, short, short, Duration::from_secs(1)];
    let (shown, ends) = watch(programs, &stalls);
    assert!(shown.is_sorted_by(|a, b| a.counter < b.counter), "in order, none twice: {shown:?}");
    // Twice the budget is for the machine, which notes a picture after it was shown.
    let old: Vec<_> = shown.iter().filter(|one| one.sent > one.counter + 2 * BUDGET).collect();
    assert!(old.is_empty(), "older than the budget: {old:?}");
    for (stall, end) in stalls.iter().zip(ends) {
        let after: Vec<_> = shown.iter().filter(|one| one.sent > end).collect();
        let fresh = after.iter().position(|one| one.counter >= end).expect("something new");
        let took = after[fresh].sent - end;
        println!("{stall:?}: {fresh} old pictures, then a new one {took} pictures after the stall");
        assert!(fresh as u32 <= 2 * BUDGET, "{fresh} pictures from before the end of the stall: {after:?}");
        assert!(took <= 3 * FPS / 2, "new again after {took} pictures: {after:?}");
    }
}
