//! Nobody pays for somebody else, and nobody pays for nothing.

use std::sync::Arc;
use std::time::Duration;

use ooblex_core::hub::Beginning;
use ooblex_core::{FrameSink, Stage};
use ooblex_mjpeg::Target;
use tokio::io::AsyncReadExt;

use crate::common::*;

#[tokio::test]
async fn nothing_is_encoded_while_nobody_watches() {
    let site = Site::start(|_| {}).await;
    let stream = site.publish("cam");
    for n in 1..=10 {
        push(&stream, pixels(n));
        site.taken(n).await;
    }
    assert_eq!(site.mjpeg.counters().encoded.get(), 0);
    // The first viewer gets the newest frame at once, without waiting for another.
    let mut viewer = site.viewer("/cam.mjpg").await.preamble().await;
    let part = viewer.part().await;
    assert_eq!(part.sequence, 10);
    assert!(turbojpeg::read_header(&part.jpeg).is_ok());
    assert_eq!(site.mjpeg.counters().encoded.get(), 1);
    // And the second one shares it, as does a snapshot.
    let mut second = site.viewer("/cam.mjpg").await.preamble().await;
    assert_eq!(second.part().await.jpeg, part.jpeg);
    assert_eq!(site.get("/cam.jpg").await.body, part.jpeg);
    assert_eq!(site.mjpeg.counters().encoded.get(), 1);
}

#[tokio::test]
async fn an_encode_serves_fifty_viewers_and_its_times_are_recorded() {
    let site = Site::start(|c| c.repeat_after = SOON).await;
    let stream = site.publish("cam");
    let mut viewers = Vec::new();
    for _ in 0..50 {
        viewers.push(site.viewer("/cam.mjpg").await.preamble().await);
    }
    site.until("fifty viewers", || site.mjpeg.viewers(&id("cam")) == 50).await;
    for n in 1..=5 {
        push(&stream, pixels(n));
        for viewer in &mut viewers {
            assert_eq!(viewer.part().await.sequence, n);
        }
    }
    assert_eq!(site.mjpeg.counters().encoded.get(), 5);
    // Counts follow the bytes by a moment.
    site.until("the count", || site.mjpeg.counters().parts_sent.get() == 250).await;
    assert_eq!(site.mjpeg.counters().parts_skipped.get(), 0);
    for stage in [Stage::Encode, Stage::Send] {
        let recorded = || stream.stats().stage_latency().iter().any(|(s, _)| *s == stage);
        site.until("the time of every stage", recorded).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_stops_reading_delays_nobody_and_is_closed() {
    let site = Site::start(|c| c.stalled_after = Duration::from_millis(400)).await;
    let stream = site.publish("cam");
    let mut stalled = site.viewer("/cam.mjpg").await.preamble().await;
    let mut reading = site.viewer("/cam.mjpg").await.preamble().await;
    site.until("two viewers", || site.mjpeg.viewers(&id("cam")) == 2).await;
    // Large enough to fill any socket buffer within a few parts.
    let image = ooblex_core::testing::random_image(
        ooblex_core::PixelFormat::I420,
        1600,
        1200,
        ooblex_core::ColorSpace::JPEG,
        0,
        1,
    );
    let large = ooblex_mjpeg::encode::jpeg_encoder().unwrap().encode(&image, 95).unwrap();
    let mut sent = 0;
    while site.mjpeg.counters().viewers_stalled.get() == 0 {
        sent += 1;
        assert!(sent < 2_000, "the stalled viewer is still there");
        push(&stream, encoded(large.clone()));
        // Each frame arrives before the next is sent: the other viewer never waits for the stalled one.
        assert_eq!(reading.part().await.sequence, sent);
    }
    site.until("one viewer", || site.mjpeg.total_viewers() == 1).await;
    push(&stream, encoded(jpeg(2)));
    assert_eq!(reading.part().await.sequence, sent + 1);
    // What the stalled one finds is cut off, and does not pretend to be a complete response.
    let rest = stalled.rest().await;
    assert!(!rest.ends_with(b"--frame--\r\n"));
    assert!(site.mjpeg.counters().parts_skipped.get() > 0 || sent < 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_viewer_skips_whole_pictures() {
    let site = Site::start(|c| c.repeat_after = SOON).await;
    let stream = site.publish("cam");
    let mut slow = site.viewer("/cam.mjpg").await.preamble().await;
    let mut plain = Viewer::open(site.plain, "/cam.mjpg").await;
    site.until("two viewers", || site.mjpeg.viewers(&id("cam")) == 2).await;
    let image = ooblex_core::testing::random_image(
        ooblex_core::PixelFormat::I420,
        1600,
        1200,
        ooblex_core::ColorSpace::JPEG,
        0,
        1,
    );
    let large = ooblex_mjpeg::encode::jpeg_encoder().unwrap().encode(&image, 95).unwrap();
    let counters = site.mjpeg.counters();
    let (mut numbers, mut last) = (Vec::new(), 0);
    while counters.parts_skipped.get() < 10 {
        last = push(&stream, encoded(large.clone()));
        let want = last;
        site.taken(want).await;
        assert!(last < 2_000, "nothing is skipped");
        // What was skipped is counted with the next part that is sent, for which there must be room.
        if last % 100 == 0 {
            numbers.push(slow.part().await.sequence);
        }
    }
    // Whole parts only, in order, with gaps, up to the newest.
    let mut before = numbers.last().copied().unwrap_or(0);
    while before < last {
        let part = slow.part().await;
        assert!(part.jpeg == large, "part {} is torn", part.sequence);
        assert!(part.sequence > before, "{} after {before}", part.sequence);
        before = part.sequence;
        numbers.push(before);
    }
    assert!(numbers.len() < last as usize, "{numbers:?}");
    let mut some = vec![0; 1 << 16];
    assert!(plain.stream.read(&mut some).await.unwrap() > 0);
}

#[tokio::test]
async fn a_rate_cap_is_kept_and_full_rate_viewers_do_not_notice() {
    let clock = ooblex_core::Clock::manual(std::time::Instant::now());
    let site = Site::start(|c| c.clock = clock.clone()).await;
    let stream = site.publish("cam");
    let mut full = site.viewer("/cam.mjpg").await.preamble().await;
    let mut capped = site.viewer("/cam.mjpg?fps=10").await.preamble().await;
    site.until("two viewers", || site.mjpeg.viewers(&id("cam")) == 2).await;
    for n in 1..=60 {
        clock.advance(Duration::from_micros(33_334));
        push(&stream, encoded(jpeg(n)));
        assert_eq!(full.part().await.sequence, n);
    }
    site.hub.end(&id("cam"));
    let body = capped.rest().await;
    let parts = body.windows(12).filter(|w| *w == b"Content-Type").count();
    assert!((20..=22).contains(&parts), "{parts} parts in two seconds at 10 a second");
}

#[tokio::test]
async fn viewers_beyond_the_cap_are_told_when_to_return() {
    let site = Site::start(|c| c.max_viewers = 2).await;
    site.publish("cam");
    let first = site.viewer("/cam.mjpg").await.preamble().await;
    let _second = site.viewer("/stream.mjpg").await.preamble().await;
    let refused = site.get("/cam.mjpg").await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(refused.header("retry-after").as_deref(), Some("5"));
    assert!(refused.text().contains("\"limit\":2"), "{}", refused.text());
    assert_eq!(site.mjpeg.counters().viewers_refused.get(), 1);
    drop(first);
    // A departure is noticed with the next write.
    let stream = site.publish("cam");
    let mut n = 0;
    while site.mjpeg.total_viewers() == 2 {
        n += 1;
        push(&stream, encoded(jpeg(n)));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(n < 500, "the departure is not noticed");
    }
    site.viewer("/cam.mjpg").await.preamble().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_viewers_come_and_go_without_a_trace() {
    let site = Site::start(|c| c.repeat_after = Duration::from_millis(40)).await;
    let stream = site.publish("cam");
    push(&stream, encoded(jpeg(1)));
    let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (threads, before) = (|| std::fs::read_dir("/proc/self/task").unwrap().count(), files());
    for n in 0..1000 {
        let address = if n % 3 == 0 { site.plain } else { site.address };
        let path = ["/cam.mjpg", "/stream.mjpg", "/cam.mjpg?fps=5"][n % 3];
        let viewer = Viewer::open(address, path).await;
        if n % 2 == 0 && n % 3 != 0 {
            viewer.preamble().await.part().await;
        }
        if n % 100 == 0 {
            push(&stream, encoded(jpeg(n as u64)));
        }
    }
    let threads_after_use = threads();
    site.until("everybody's departure", || site.mjpeg.total_viewers() == 0 && site.limits.open() == 0).await;
    site.until("all files closed", || files() <= before + 2).await;
    assert_eq!(site.mjpeg.viewers(&id("cam")), 0);
    assert!(threads_after_use < 40, "{threads_after_use} threads");
}

#[tokio::test]
async fn bodies_that_are_dropped_unread_end_the_demand() {
    let site = Site::start(|c| c.repeat_after = Duration::from_millis(20)).await;
    let stats = Arc::default();
    let mut sink = site.mjpeg.sink(&Beginning::new(&id("own"), "test", &stats));
    let ticket = site.mjpeg.admit(Target::Stream(id("own")), None).unwrap();
    assert_eq!(site.mjpeg.viewers(&id("own")), 1, "an admitted viewer is demand already");
    drop(ticket);
    assert_eq!((site.mjpeg.viewers(&id("own")), site.mjpeg.total_viewers()), (0, 0));
    let mut parts = site.mjpeg.admit(Target::Stream(id("own")), None).unwrap().into_parts();
    assert_eq!(parts.next().await.unwrap(), "--frame\r\n");
    sink.consume(ooblex_core::testing::frame_of(
        ooblex_core::Image::black(8, 8, &ooblex_core::BufferPool::default()).unwrap(),
    ))
    .await
    .unwrap();
    assert!(parts.next().await.unwrap().starts_with(b"Content-Type: image/jpeg\r\n"));
    drop(parts);
    site.until("the departure", || site.mjpeg.total_viewers() == 0).await;
    assert_eq!(site.mjpeg.viewers(&id("own")), 0);
}
