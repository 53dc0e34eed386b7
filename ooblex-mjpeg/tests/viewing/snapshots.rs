//! Which picture a snapshot is, and in which form.

use std::time::{Duration, Instant};

use ooblex_core::{BufferPool, Clock, ColorSpace, Image, Picture, PixelFormat};

use crate::common::*;

#[tokio::test]
async fn the_rules_of_age() {
    let clock = Clock::manual(Instant::now());
    let site = Site::start(|c| {
        c.clock = clock.clone();
        c.snapshot_wait = Duration::from_millis(30);
    })
    .await;
    for path in ["/snapshot.jpg", "/snapshot.jpg?width=3"] {
        let none = site.get(path).await;
        assert_eq!(none.status, 503);
        assert!(none.text().contains("\"detail\":\"No frame available\""), "{}", none.text());
        assert!(none.header("retry-after").is_some());
    }
    let stream = site.publish("cam");
    assert_eq!(site.get("/cam.jpg").await.status, 503, "live, but without a picture");
    push(&stream, encoded(jpeg(1)));
    site.taken(1).await;
    // Fresh: at once. Older than a second: after waiting in vain. Older than ten: none.
    for (advance, status) in [(0, 200), (999, 200), (2_000, 200), (7_000, 200), (2, 503)] {
        clock.advance(Duration::from_millis(advance));
        for path in ["/snapshot.jpg", "/streams/cam/snapshot.jpg", "/cam.jpg", "/streams/cam/snapshot.png"] {
            let answer = site.get(path).await;
            assert_eq!(answer.status, status, "{path} after {advance} ms more: {}", answer.text());
        }
    }
    let before = site.mjpeg.counters().encoded.get();
    push(&stream, encoded(jpeg(2)));
    site.taken(2).await;
    let answer = site.get("/cam.jpg").await;
    assert!(answer.body == jpeg(2), "passed on byte by byte");
    assert_eq!(answer.header("content-type").as_deref(), Some("image/jpeg"));
    assert_eq!(answer.header("x-ooblex-stream").as_deref(), Some("cam"));
    assert_eq!(answer.header("x-ooblex-sequence").as_deref(), Some("2"));
    assert_eq!(answer.header("x-ooblex-captured-ms").as_deref(), Some("1234"));
    assert!(answer.header("x-ooblex-latency-ms").is_some());
    assert!(answer.header("cache-control").is_some_and(|v| v.contains("no-store")));
    assert_eq!(site.mjpeg.counters().encoded.get(), before);
}

#[tokio::test]
async fn an_old_picture_waits_for_the_next_one() {
    let clock = Clock::manual(Instant::now());
    let site = Site::start(|c| {
        c.clock = clock.clone();
        c.snapshot_wait = SOON;
    })
    .await;
    let stream = site.publish("cam");
    push(&stream, encoded(jpeg(1)));
    site.taken(1).await;
    clock.advance(Duration::from_millis(1_500));
    let (answer, ()) = tokio::join!(site.get("/cam.jpg"), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        push(&stream, encoded(jpeg(2)));
    });
    assert!(answer.body == jpeg(2));
}

#[tokio::test]
async fn snapshots_of_one_frame_share_its_encode() {
    let site = Site::start(|_| {}).await;
    let stream = site.publish("cam");
    push(&stream, pixels(1));
    site.taken(1).await;
    let (a, b, c) = tokio::join!(site.get("/cam.jpg"), site.get("/cam.jpg"), site.get("/snapshot.jpg"));
    assert!(a.status == 200 && a.body == b.body && b.body == c.body);
    assert_eq!(site.mjpeg.counters().encoded.get(), 1);
    assert_eq!(stream.stats().decoded_full.get(), 0);
}

#[tokio::test]
async fn widths_are_scaled_in_proportion() {
    let site = Site::start(|_| {}).await;
    let stream = site.publish("cam");
    push(&stream, encoded(jpeg(1)));
    site.taken(1).await;
    for (width, height) in [(64, 48), (63, 47), (32, 24), (20, 15), (8, 6), (7, 5), (1, 1)] {
        let answer = site.get(&format!("/cam.jpg?width={width}")).await;
        let header = turbojpeg::read_header(&answer.body).expect("a JPEG");
        assert_eq!((header.width, header.height), (width, height));
    }
    let answer = site.get("/cam.jpg?width=65").await;
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("\"value\":65,\"limit\":64"), "{}", answer.text());
    assert_eq!(
        stream.stats().decoded_full.get(),
        1,
        "one full decode for width 63; halves are decoded as such"
    );
}

#[tokio::test]
async fn png_keeps_alpha_and_pixels() {
    let site = Site::start(|_| {}).await;
    let stream = site.publish("cam");
    let data: Vec<u8> = (0..5 * 3 * 4).map(|n| n as u8 * 4).collect();
    let pool = BufferPool::default();
    for (n, (format, channels)) in [(PixelFormat::Rgba, 4), (PixelFormat::Rgb, 3)].into_iter().enumerate() {
        let data = data[..5 * 3 * channels].to_vec();
        let image = Image::from_vec(format, 5, 3, ColorSpace::JPEG, data.clone()).unwrap();
        push(&stream, Picture::new(image, pool.clone()));
        site.taken(n as u64 + 1).await;
        let answer = site.get("/streams/cam/snapshot.png").await;
        assert_eq!(answer.header("content-type").as_deref(), Some("image/png"));
        let png = image::load_from_memory_with_format(&answer.body, image::ImageFormat::Png).expect("a PNG");
        assert_eq!((png.width(), png.height()), (5, 3));
        assert_eq!(png.color().has_alpha(), format == PixelFormat::Rgba);
        assert_eq!(png.as_bytes(), data);
    }
}
