//! What exactly is sent.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::*;

#[tokio::test]
async fn a_response_begins_and_ends_like_this() {
    let site = Site::start(|_| {}).await;
    let stream = site.publish("cam");
    let mut viewer = site.viewer("/streams/cam/stream.mjpg").await;
    let head = viewer.head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.0 200 ok\r\n"), "{head}");
    for line in [
        "content-type: multipart/x-mixed-replace; boundary=frame",
        "cache-control: no-store, no-cache, must-revalidate, max-age=0",
        "pragma: no-cache",
        "expires: 0",
        "x-accel-buffering: no",
        "connection: close",
    ] {
        assert!(head.lines().any(|l| l == line), "{line} is missing in {head}");
    }
    assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
    viewer = viewer.preamble().await;

    let picture = jpeg(1);
    let sequence = push(&stream, encoded(picture.clone()));
    // The delimiter after the picture is there although no second picture comes.
    let part = viewer.part().await;
    assert_eq!(part.sequence, sequence);
    assert_eq!(part.jpeg, picture, "an untouched JPEG is passed on byte by byte");
    let latency = part.head.lines().find_map(|l| l.strip_prefix("X-Ooblex-Latency-Ms: ")).unwrap();
    assert_eq!(
        part.head,
        format!(
            "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Ooblex-Sequence: {sequence}\r\n\
             X-Ooblex-Captured-Ms: 1234\r\nX-Ooblex-Latency-Ms: {latency}\r\n\r\n",
            picture.len()
        )
    );
    assert!(latency.parse::<u64>().unwrap() < 5_000);

    assert!(site.hub.end(&id("cam")));
    assert_eq!(viewer.rest().await, b"--frame--\r\n");
    site.until("the viewer's departure", || site.mjpeg.total_viewers() == 0).await;
    assert_eq!(site.limits.open(), 0);
}

#[tokio::test]
async fn every_path_and_connection_gives_the_same_bytes() {
    let site = Site::start(|c| c.repeat_after = SOON).await;
    let stream = site.publish("cam");
    // Fresh, kept alive after an error and a snapshot, by alias, and through a server without takeover.
    let mut kept = TcpStream::connect(site.address).await.unwrap();
    for path in ["/streams/nobody/snapshot.jpg", "/nothing-here"] {
        kept.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let n = kept.read(&mut answer).await.unwrap();
        assert_eq!(Answer::parse(&answer[..n]).status, 404);
    }
    let mut viewers = vec![
        site.viewer("/streams/cam/stream.mjpg").await,
        Viewer::ask(kept, "/cam.mjpg").await,
        site.viewer("/cam.mjpg?t=17").await,
    ];
    let mut plain = Viewer::open(site.plain, "/streams/cam/stream.mjpg").await;
    assert!(plain.head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "{}", plain.head);
    site.until("all four", || site.mjpeg.viewers(&id("cam")) == 4).await;
    let mut chunked = Vec::new();
    for n in 1..=5 {
        let picture = if n % 2 == 0 { encoded(jpeg(n)) } else { pixels(n) };
        push(&stream, picture);
        site.until("the parts", || site.mjpeg.counters().parts_sent.get() == 4 * n).await;
        // A part in a mailbox is skipped if the next one comes before it was taken.
        while chunked.windows(9).filter(|w| w == b"--frame\r\n").count() as u64 <= n {
            plain.stream.read_buf(&mut chunked).await.unwrap();
        }
    }
    site.hub.end(&id("cam"));
    let mut bodies = Vec::new();
    for viewer in &mut viewers {
        bodies.push(viewer.rest().await);
    }
    chunked.extend(plain.rest().await);
    bodies.push(dechunked(&chunked));
    assert!(bodies[0].starts_with(b"--frame\r\nContent-Type: image/jpeg\r\n"));
    assert!(bodies[0].ends_with(b"\r\n--frame\r\n--frame--\r\n"));
    assert_eq!(bodies[0].windows(12).filter(|w| *w == b"Content-Type").count(), 5);
    for body in &bodies[1..] {
        assert!(*body == bodies[0], "{} and {} bytes", body.len(), bodies[0].len());
    }
    assert_eq!(site.mjpeg.counters().encoded.get(), 3, "one encode a frame for four viewers");
    assert_eq!(site.mjpeg.counters().passed_through.get(), 2);
}

#[tokio::test]
async fn head_and_other_methods_and_bad_requests_are_answered() {
    let site = Site::start(|_| {}).await;
    let stream = site.publish("cam");
    push(&stream, encoded(jpeg(1)));
    site.taken(1).await;
    let head = site.request("HEAD", "/cam.mjpg").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type").as_deref(), Some("multipart/x-mixed-replace; boundary=frame"));
    assert_eq!(site.request("HEAD", "/cam.jpg").await.status, 200);
    assert_eq!(site.mjpeg.counters().viewers_admitted.get(), 0);
    for (method, path, status, code) in [
        ("POST", "/stream.mjpg", 405, "method_not_allowed"),
        ("POST", "/cam.mjpg", 405, "method_not_allowed"),
        ("DELETE", "/snapshot.jpg", 405, "method_not_allowed"),
        ("POST", "/elsewhere", 404, "not_found"),
        ("GET", "/elsewhere", 404, "not_found"),
        ("GET", "/nobody.mjpg", 404, "unknown_stream"),
        ("GET", "/streams/nobody/stream.mjpg", 404, "unknown_stream"),
        ("GET", "/streams/nobody/snapshot.jpg", 404, "unknown_stream"),
        ("GET", "/streams/nobody/snapshot.png", 404, "unknown_stream"),
        ("GET", "/streams/sp%20ce/stream.mjpg", 400, "bad_name"),
        ("GET", "/streams/%ff/stream.mjpg", 400, "bad_name"),
        ("GET", "/cam.mjpg?fps=0", 422, "out_of_range"),
        ("GET", "/cam.mjpg?fps=fast", 422, "out_of_range"),
        ("GET", "/cam.jpg?width=65", 422, "out_of_range"),
        ("GET", "/cam.jpg?width=0", 422, "out_of_range"),
        ("GET", "/snapshot.jpg?width=-3", 422, "out_of_range"),
    ] {
        let answer = site.request(method, path).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        assert_eq!(answer.header("content-type").as_deref(), Some("application/problem+json"), "{path}");
        assert!(answer.text().contains(&format!("\"code\":\"{code}\"")), "{path}: {}", answer.text());
        if status == 405 {
            assert_eq!(answer.header("allow").as_deref(), Some("get, head"));
        }
        if code == "unknown_stream" {
            assert!(answer.text().contains("\"known\":[\"cam\"]"), "{}", answer.text());
        }
    }
    assert_eq!(site.mjpeg.total_viewers(), 0);
}
