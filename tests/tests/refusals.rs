//! What is refused, how, and that a refusal leaves no trace.

use std::io::Write;

use ooblex_tests::browser::to_base64;
use ooblex_tests::http::{Connection, send};
use ooblex_tests::jpeg;
use ooblex_tests::mark::{self, Mark, Rgb};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::pattern::crc32;
use ooblex_tests::problem::expect_problem;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::Server;

use crate::marked;

/// A PNG that claims to be huge. The checksum is right: only the claim is wrong.
fn png_bomb() -> Vec<u8> {
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    image::ImageEncoder::write_image(encoder, &[0; 64 * 48 * 3], 64, 48, image::ExtendedColorType::Rgb8)
        .unwrap();
    png[16..20].copy_from_slice(&60_000u32.to_be_bytes());
    png[20..24].copy_from_slice(&60_000u32.to_be_bytes());
    let check = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&check.to_be_bytes());
    png
}

#[test]
fn bad_pictures_are_refused_by_kind() {
    let server = Server::start(&[]);
    let good = marked(1, 1);
    let mut corrupt = good.clone();
    let middle = corrupt.len() / 2;
    // A restart marker, which this picture does not use, in the middle of the data, and then nonsense.
    corrupt[middle..middle + 40].copy_from_slice(&[0xFF, 0xD3].repeat(20));
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("nothing", Vec::new(), 400),
        ("text", b"hello, this is no picture at all".to_vec(), 415),
        (
            "a GIF",
            b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xF9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x01D\0;"
                .to_vec(),
            415,
        ),
        ("two bytes of a JPEG", good[..2].to_vec(), 422),
        ("a JPEG header", good[..200].to_vec(), 422),
        ("half a JPEG", jpeg::truncated(&good), 422),
        ("a JPEG without its end", good[..good.len() - 20].to_vec(), 422),
        ("half a PNG", png_bomb()[..20].to_vec(), 422),
        ("a JPEG that claims 65000x65000", jpeg::with_dimensions(&good, 65_000, 65_000), 413),
        ("a PNG that claims 60000x60000", png_bomb(), 413),
        ("a JPEG without pixels", jpeg::with_dimensions(&good, 0, 240), 422),
        ("a JPEG of 12 bits", jpeg::with_twelve_bits(&good), 422),
    ];
    for (what, body, status) in &cases {
        println!("{what}");
        let problem = server.refused("/upload?stream=bad", body, *status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    // Whether a damaged middle is noticed depends on the decoder: it must not be a 5xx, nor end anything.
    let status = server.post("/upload?stream=maybe", &corrupt).status;
    assert!(status == 200 || status == 422, "{status}");
    assert_eq!(server.stream("bad"), None, "a refused upload begins no stream");
    server.upload("good", &good);
}

#[test]
fn limits_are_configuration_and_named_in_the_answer() {
    let server = Server::start(&["--max-body-bytes", "20000", "--max-pixels", "80000"]);
    server.upload("small", &marked(1, 1));
    let large = vec![0xFF; 20_001];
    let problem = server.refused("/upload?stream=small", &large, 413);
    assert_eq!(problem["limit"], 20_000, "{problem}");
    assert_eq!(problem["value"], 20_001, "{problem}");
    assert_eq!(problem["code"], "body_too_large", "{problem}");
    assert_eq!(problem["field"], "body", "{problem}");

    let wide = jpeg::encode(&Rgb::plain(400, 201, [90; 3]), 50);
    assert!(wide.len() < 20_000);
    let problem = server.refused("/upload?stream=small", &wide, 413);
    assert_eq!(problem["limit"], 80_000, "{problem}");
    assert_eq!(problem["value"], 80_400, "{problem}");

    // Base64 is longer than what it holds: the limit is on the picture, so this body may be a third larger.
    let picture = Plan { width: 320, height: 240, fps: 1, noisy: true }.picture(1, 1);
    assert!(picture.len() > 20_000);
    server.refused("/frame?stream=small", to_base64(&picture).as_bytes(), 413);
}

#[test]
fn an_endless_body_without_a_length_is_cut_off() {
    let server = Server::start(&["--max-body-bytes", "100000"]);
    let connection = Connection::open(server.addr).unwrap();
    let head =
        b"POST /upload?stream=endless HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.socket().write_all(head).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[0x20; 0x10000], b"\r\n"].concat();
    // The server answers and hangs up long before 1 GB.
    let sent = (0..16_384).take_while(|_| connection.socket().write_all(&chunk).is_ok()).count();
    assert!(sent < 16_384, "the server read 1 GB");
    assert_eq!(server.stream("endless"), None);
    server.get("/health").expect(200);
}

#[test]
fn bad_names_and_bad_base64_are_refused() {
    let server = Server::start(&[]);
    let picture = marked(1, 1);
    let long = "x".repeat(65);
    for name in ["", "with%20blank", "a/b", "a.b", "%C3%A9", "../etc", long.as_str(), "stream", "snapshot"] {
        let problem = server.refused(&format!("/upload?stream={name}"), &picture, 400);
        assert_eq!(problem["field"], "stream", "{name}: {problem}");
    }
    let longest = "x".repeat(64);
    server.upload(&longest, &picture);
    server.upload("A-z_09", &picture);

    for body in ["", "data:image/jpeg;base64,"] {
        server.refused("/frame", body.as_bytes(), 400);
    }
    for body in ["not base64!", "data:image/jpeg;base64,====", "abc\u{e9}"] {
        server.refused("/frame", body.as_bytes(), 400);
    }
    server.refused("/frame", to_base64(b"valid base64 of no picture").as_bytes(), 415);
}

#[test]
fn wrong_methods_name_the_right_ones() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(1, 1));
    let cases = [
        ("GET", "/upload", "POST"),
        ("PUT", "/upload_frame", "POST"),
        ("GET", "/frame", "POST"),
        ("POST", "/stream.mjpg", "GET"),
        ("DELETE", "/streams/cam/stream.mjpg", "GET"),
        ("POST", "/cam.mjpg", "GET"),
        ("POST", "/snapshot.jpg", "GET"),
        ("POST", "/cam.jpg", "GET"),
        ("GET", "/effect", "POST"),
        ("POST", "/effects", "GET"),
        ("POST", "/health", "GET"),
        ("DELETE", "/streams", "GET"),
        ("POST", "/metrics", "GET"),
        ("PUT", "/", "GET"),
    ];
    for (method, target, allowed) in cases {
        let response = send(server.addr, method, target, &[], &[]);
        expect_problem(&response, 405);
        let allow = response.header("Allow").unwrap_or_default();
        assert!(allow.split(',').any(|name| name.trim() == allowed), "{method} {target}: Allow: {allow}");
    }
}

#[test]
fn what_does_not_exist_is_404() {
    let server = Server::start(&[]);
    server.upload("cam", &marked(1, 1));
    for target in [
        "/nothing/here",
        "/nobody.mjpg",
        "/nobody.jpg",
        "/streams/nobody/stream.mjpg",
        "/streams/nobody/snapshot.jpg",
        "/streams/nobody/snapshot.png",
        "/cam.gif",
        "/favicon.png",
    ] {
        expect_problem(&server.get(target), 404);
    }
    let problem = expect_problem(&server.get("/nobody.mjpg"), 404);
    assert!(
        problem["known"].as_array().is_some_and(|known| known.iter().any(|name| name == "cam")),
        "{problem}"
    );
}

#[test]
fn streams_are_limited() {
    let server = Server::start(&["--max-streams", "2"]);
    server.upload("one", &marked(1, 1));
    server.upload("two", &marked(2, 1));
    let response = server.post("/upload?stream=three", &marked(3, 1));
    let problem = expect_problem(&response, 429);
    assert_eq!(problem["limit"], 2, "{problem}");
    let after: u64 = response.header("Retry-After").expect("when to try again").parse().expect("seconds");
    assert!(after >= 1);
    assert_eq!(server.stream("three"), None);
    // The streams that are there go on.
    server.upload("one", &marked(1, 2));
    server.upload("two", &marked(2, 2));
}

#[test]
fn viewers_are_limited() {
    let server = Server::start(&["--max-viewers", "2"]);
    server.upload("cam", &marked(1, 1));
    let mut viewers: Vec<Viewer> = (0..2).map(|_| Viewer::open(server.addr, "/cam.mjpg")).collect();
    for viewer in &mut viewers {
        viewer.next();
    }
    let response = server.get("/cam.mjpg");
    expect_problem(&response, 429);
    assert!(response.header("Retry-After").is_some());
    viewers.pop().unwrap().close();
    server.wait_for_stream("cam", "one viewer", |stream| stream["viewers"] == 1);
    Viewer::open(server.addr, "/cam.mjpg").next();
}

#[test]
fn a_refused_upload_disturbs_nobody() {
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "live", 4, Plan::default());
    server.wait_for_stream("live", "the first picture", |_| true);
    let mut viewer = Viewer::open(server.addr, "/live.mjpg");
    let good = marked(4, 1);
    let bodies: [(Vec<u8>, u16); 5] = [
        (Vec::new(), 400),
        (b"no picture".to_vec(), 415),
        (jpeg::truncated(&good), 422),
        (jpeg::with_dimensions(&good, 65_000, 65_000), 413),
        (vec![0; 9_000_001], 413),
    ];
    let mut last = None;
    for round in 0..20 {
        let (body, status) = &bodies[round % bodies.len()];
        let target = if round % 2 == 0 { "/upload?stream=live" } else { "/upload?stream=other" };
        server.refused(target, body, *status);
        let mark = viewer.next().mark().expect("a whole mark");
        assert_eq!(mark.id, 4);
        assert!(last <= Some(mark), "{last:?} {mark:?}");
        last = Some(mark);
    }
    assert_eq!(server.stream("other"), None);
    let sent = publisher.stop();
    let bare = sent.windows(2).all(|pair| pair[1].sequence == pair[0].sequence + 1);
    assert!(bare, "refused uploads take no sequence numbers");
}

#[test]
fn a_refused_body_shows_the_documented_example() {
    let server = Server::start(&[]);
    let problem = server.refused("/upload", &vec![0; 9_000_001], 413);
    assert_eq!(
        problem,
        serde_json::json!({
            "type": "about:blank", "title": "Payload Too Large", "status": 413, "code": "body_too_large",
            "detail": "body is 9000001 bytes, limit 8388608", "field": "body", "value": 9_000_001, "limit": 8_388_608,
        })
    );
}

#[test]
fn unusual_coding_is_refused_or_made_usual() {
    let server = Server::start(&[]);
    let picture = mark::draw(Mark { id: 1, counter: 1 }, 320, 240);
    let cases =
        [("cmyk", jpeg::encode_cmyk(320, 240)), ("arithmetic", jpeg::encode_unusual(&picture, false, true))];
    for (name, body) in cases {
        let response = server.post(&format!("/upload?stream={name}"), &body);
        if response.status == 422 {
            expect_problem(&response, 422);
            continue;
        }
        response.expect(200);
        let seen = server.get(&format!("/{name}.jpg")).expect(200).body;
        let (marker, header) = jpeg::segments(&seen)
            .into_iter()
            .find(|(marker, _)| (0xC0..0xD0).contains(marker) && *marker != 0xC4)
            .unwrap();
        assert!(marker <= 0xC2, "{name}: no Huffman coding");
        assert!(header[5] <= 3, "{name}: {} components", header[5]);
    }
}
