//! Streams that pause, end, begin again; the newest stream; shutdown.

use std::time::{Duration, Instant};

use ooblex_core::Clock;

use crate::common::*;

#[tokio::test]
async fn the_last_part_is_repeated_while_nothing_new_comes() {
    let clock = Clock::manual(Instant::now());
    let site = Site::start(|c| {
        c.clock = clock.clone();
        c.repeat_after = Duration::from_millis(40);
    })
    .await;
    let stream = site.publish("cam");
    let mut viewer = site.viewer("/cam.mjpg").await.preamble().await;
    push(&stream, pixels(1));
    let first = viewer.part().await;
    for _ in 0..3 {
        clock.advance(Duration::from_millis(40));
        assert_eq!(viewer.part().await, first, "the same bytes again");
    }
    assert_eq!(site.mjpeg.counters().encoded.get(), 1);
    // While the clock stands still nothing is repeated.
    site.until("the count", || site.mjpeg.counters().parts_sent.get() == 4).await;
    push(&stream, pixels(2));
    assert_eq!(viewer.part().await.sequence, 2);
}

#[tokio::test]
async fn a_stream_that_pauses_shows_the_placeholder_in_its_own_size() {
    let clock = Clock::manual(Instant::now());
    let site = Site::start(|c| {
        c.clock = clock.clone();
        c.repeat_after = Duration::from_millis(100);
        c.placeholder_after = Duration::from_millis(250);
    })
    .await;
    let stream = site.publish("cam");
    let mut viewer = site.viewer("/cam.mjpg").await.preamble().await;
    push(&stream, encoded(jpeg(1)));
    let picture = viewer.part().await;
    clock.advance(Duration::from_millis(100));
    assert_eq!(viewer.part().await, picture, "the last good picture first");
    clock.advance(Duration::from_millis(200));
    let placeholder = viewer.part_number(0).await;
    let header = turbojpeg::read_header(&placeholder.jpeg).unwrap();
    assert_eq!((header.width, header.height), (64, 48));
    clock.advance(Duration::from_millis(100));
    assert_eq!(viewer.part().await, placeholder, "drawn once");
    // Whoever comes now sees it at once, and everybody sees the next picture.
    let mut late = site.viewer("/cam.mjpg").await.preamble().await;
    assert_eq!(late.part().await.sequence, 0);
    let sequence = push(&stream, encoded(jpeg(2)));
    assert_eq!(viewer.part_number(sequence).await.jpeg, jpeg(2));
    assert_eq!(late.part_number(sequence).await.jpeg, jpeg(2));
}

#[tokio::test]
async fn the_newest_stream_is_followed_until_it_ends() {
    let clock = Clock::manual(Instant::now());
    let site = Site::start(|c| c.clock = clock.clone()).await;
    // Nothing is live: the placeholder, at once.
    let mut viewer = site.viewer("/stream.mjpg").await.preamble().await;
    let placeholder = viewer.part().await;
    assert_eq!(placeholder.sequence, 0);
    assert_eq!(turbojpeg::read_header(&placeholder.jpeg).map(|h| (h.width, h.height)).unwrap(), (640, 480));

    let first = site.publish("first");
    push(&first, encoded(jpeg(1)));
    assert_eq!(viewer.part_number(1).await.jpeg, jpeg(1));
    assert_eq!(site.mjpeg.viewers(&id("first")), 1);

    // A later stream does not take the viewer away, but a new viewer sees it.
    let second = site.publish("second");
    push(&second, encoded(jpeg(100)));
    let mut other = site.viewer("/stream.mjpg").await.preamble().await;
    assert_eq!(other.part().await.jpeg, jpeg(100));
    push(&first, encoded(jpeg(2)));
    assert_eq!(viewer.part_number(2).await.jpeg, jpeg(2));

    // The end of its stream sends it to the other one without ending the response.
    site.hub.end(&id("first"));
    let moved = async {
        let mut n = 100;
        loop {
            n += 1;
            push(&second, encoded(jpeg(n)));
            let part = viewer.part().await;
            if part.jpeg == jpeg(n) {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, moved).await.expect("is shown the second stream");
    site.until("two viewers there", || site.mjpeg.viewers(&id("second")) == 2).await;

    // With the last stream gone the placeholder comes back when it is due; a new stream of an old name goes on.
    site.hub.end(&id("second"));
    site.until("nobody there", || site.mjpeg.viewers(&id("second")) == 0).await;
    clock.advance(Duration::from_secs(3));
    viewer.part_number(0).await;
    let again = site.publish("first");
    push(&again, encoded(jpeg(7)));
    loop {
        if viewer.part().await.jpeg == jpeg(7) {
            break;
        }
    }
    assert_eq!(site.mjpeg.total_viewers(), 2);
}

#[tokio::test]
async fn a_stream_of_the_same_name_is_another_stream() {
    let site = Site::start(|_| {}).await;
    let stream = site.publish("cam");
    push(&stream, encoded(jpeg(1)));
    let mut old = site.viewer("/cam.mjpg").await.preamble().await;
    old.part_number(1).await;
    site.hub.end(&id("cam"));
    assert!(old.rest().await.ends_with(b"--frame--\r\n"));
    assert_eq!(site.get("/cam.mjpg").await.status, 404, "an ended stream has no viewers");
    let again = site.publish("cam");
    let mut new = site.viewer("/cam.mjpg").await.preamble().await;
    push(&again, encoded(jpeg(2)));
    assert_eq!(new.part().await.jpeg, jpeg(2), "nothing of the old stream is shown");
}

#[tokio::test]
async fn shutdown_ends_every_response_properly() {
    let site = Site::start(|_| {}).await;
    let stream = site.publish("cam");
    push(&stream, encoded(jpeg(1)));
    let mut following = site.viewer("/stream.mjpg").await.preamble().await;
    following.part_number(1).await;
    let mut plain = Viewer::open(site.plain, "/stream.mjpg").await;
    site.until("two viewers", || site.mjpeg.viewers(&id("cam")) == 2).await;
    site.mjpeg.shutdown(Duration::from_secs(5));
    assert!(following.rest().await.ends_with(b"--frame--\r\n"));
    assert!(dechunked(&plain.rest().await).ends_with(b"--frame--\r\n"));
    site.until("nobody there", || site.mjpeg.total_viewers() == 0).await;
    // Whoever comes later is not left waiting.
    let mut late = TcpLate::open(&site).await;
    late.closes().await;
    assert_eq!(site.mjpeg.total_viewers(), 0);
}

/// A viewer after the end.
struct TcpLate(Viewer);

impl TcpLate {
    async fn open(site: &Site) -> Self {
        Self(site.viewer("/stream.mjpg").await)
    }

    async fn closes(&mut self) {
        self.0.rest().await;
    }
}
