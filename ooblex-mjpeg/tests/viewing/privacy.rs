//! Once an effect that protects privacy is chosen, nobody gets a picture from before.

use std::time::Duration;

use ooblex_core::hub::Stream;
use ooblex_core::pipeline::Effect;
use ooblex_core::{ColorSpace, FailurePolicy, PixelFormat};
use ooblex_mjpeg::{Framing, Target};

use crate::common::*;

/// Chooses an effect that is never ready: its frames are black.
fn protect(stream: &Stream) {
    let generation = stream.pipeline().swap().active().generation + 1;
    assert!(stream.pipeline().swap().to(Effect::pending("private", generation, FailurePolicy::Blank)));
}

fn is_black(jpeg: &[u8]) -> bool {
    let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).expect("a JPEG");
    image.pixels.iter().all(|value| *value < 8)
}

/// A picture that hardly fits into the buffers of a socket.
fn large() -> bytes::Bytes {
    let image = ooblex_core::testing::random_image(PixelFormat::I420, 1600, 1200, ColorSpace::JPEG, 0, 1);
    ooblex_mjpeg::encode::jpeg_encoder().unwrap().encode(&image, 95).unwrap()
}

#[tokio::test]
async fn snapshots_and_repetitions_forget_what_was_shown_before() {
    let site = Site::start(|c| {
        c.repeat_after = Duration::from_millis(50);
        c.snapshot_wait = Duration::from_millis(30);
        c.placeholder_after = SOON;
    })
    .await;
    let stream = site.publish("cam");
    let mut before = site.viewer("/cam.mjpg").await.preamble().await;
    push(&stream, pixels(1));
    assert_eq!(before.part().await.sequence, 1);
    assert_eq!(site.get("/cam.jpg").await.status, 200);
    protect(&stream);
    for path in ["/cam.jpg", "/snapshot.jpg", "/cam.jpg?width=16", "/streams/cam/snapshot.png"] {
        assert_eq!(site.get(path).await.status, 503, "{path}");
    }
    assert_eq!(site.mjpeg.newest_sequence(&id("cam")), None);
    // Whoever watches, and whoever comes now, sees the placeholder until there is something to show.
    let mut after = site.viewer("/cam.mjpg").await.preamble().await;
    assert_eq!(after.part().await.sequence, 0);
    while before.part().await.sequence != 0 {
        // What was repeated before the switch was on its way.
    }
    let sequence = push(&stream, pixels(2));
    for viewer in [&mut before, &mut after] {
        loop {
            let part = viewer.part().await;
            assert!([0, sequence].contains(&part.sequence), "{}", part.sequence);
            if part.sequence == sequence {
                assert!(is_black(&part.jpeg));
                break;
            }
        }
    }
    assert!(is_black(&site.get("/cam.jpg").await.body));
}

#[tokio::test]
async fn a_snapshot_that_waits_gets_the_first_picture_that_may_be_shown() {
    let site = Site::start(|c| c.snapshot_wait = SOON).await;
    let stream = site.publish("cam");
    push(&stream, pixels(1));
    site.taken(1).await;
    protect(&stream);
    let later = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        push(&stream, pixels(2))
    };
    let (answer, sequence) = tokio::join!(site.get("/cam.jpg"), later);
    assert_eq!(answer.header("x-ooblex-sequence"), Some(sequence.to_string()));
    assert!(is_black(&answer.body));
}

#[tokio::test]
async fn what_waits_for_a_slow_viewer_is_not_sent() {
    let site = Site::start(|c| {
        c.repeat_after = Duration::from_millis(50);
        c.placeholder_after = SOON;
    })
    .await;
    let stream = site.publish("cam");
    let mut slow = site.viewer("/cam.mjpg").await.preamble().await;
    let picture = large();
    let mut waiting = 0;
    while site.mjpeg.counters().parts_skipped.get() < 2 {
        waiting = push(&stream, encoded(picture.clone()));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    site.taken(waiting).await;
    protect(&stream);
    // The part whose writing had begun is sent to its end; behind it comes the placeholder.
    loop {
        let part = slow.part().await;
        assert!(part.sequence < waiting, "{waiting} waited");
        if part.sequence == 0 {
            return;
        }
    }
}

#[tokio::test]
async fn what_waits_in_a_response_body_is_not_sent() {
    let site = Site::start(|c| c.repeat_after = SOON).await;
    let stream = site.publish("cam");
    let mut parts = site.mjpeg.admit(Target::Stream(id("cam")), None).expect("room").into_parts();
    assert_eq!(parts.next().await.expect("the beginning"), &b"--frame\r\n"[..]);
    site.until("the viewer", || site.mjpeg.viewers(&id("cam")) == 1).await;
    push(&stream, encoded(jpeg(1)));
    site.until("the part", || site.mjpeg.counters().parts_sent.get() == 1).await;
    protect(&stream);
    let later = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        push(&stream, encoded(jpeg(2)))
    };
    let (head, _) = tokio::join!(parts.next(), later);
    let head = head.expect("a head");
    assert!(String::from_utf8_lossy(&head).contains("X-Ooblex-Sequence: 2"), "{head:?}");
    assert!(is_black(&parts.next().await.expect("a picture")));
}

#[tokio::test]
async fn the_end_of_a_response_does_not_repeat_it() {
    for takeover in [true, false] {
        let site = Site::start(|c| c.repeat_after = SOON).await;
        let stream = site.publish("cam");
        push(&stream, encoded(jpeg(1)));
        site.taken(1).await;
        let body = if takeover {
            let mut viewer = site.viewer("/cam.mjpg?advance_headers=1").await;
            viewer.exactly(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n").await;
            viewer.exactly(&jpeg(1)).await;
            protect(&stream);
            site.hub.end(&id("cam"));
            viewer.rest().await
        } else {
            let ticket = site.mjpeg.admit(Target::Stream(id("cam")), None).expect("room");
            let mut parts = ticket.framing(Framing::Ahead).into_parts();
            while parts.next().await.expect("more") != jpeg(1) {}
            protect(&stream);
            site.hub.end(&id("cam"));
            let mut rest = Vec::new();
            while let Some(piece) = parts.next().await {
                rest.extend_from_slice(&piece);
            }
            rest
        };
        assert!(!body.windows(100).any(|w| w == &jpeg(1)[..100]), "takeover {takeover}");
        assert!(body.ends_with(b"--frame--\r\n"), "takeover {takeover}");
    }
}
