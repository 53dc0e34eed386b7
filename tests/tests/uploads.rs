//! Publishing pictures: what is accepted, and that it arrives as it was sent.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder, ImageFormat};
use ooblex_tests::browser::to_base64;
use ooblex_tests::http::{Connection, send};
use ooblex_tests::jpeg;
use ooblex_tests::mark::{self, Mark, Rgb};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::server::Server;
use turbojpeg::Subsamp;

use crate::marked;

fn encode(picture: &Rgb, format: ImageFormat) -> Vec<u8> {
    let (width, height) = (picture.width as u32, picture.height as u32);
    let mut out = Vec::new();
    image::write_buffer_with_format(
        &mut Cursor::new(&mut out),
        &picture.data,
        width,
        height,
        ExtendedColorType::Rgb8,
        format,
    )
    .unwrap();
    out
}

#[test]
fn an_upload_reaches_viewers_byte_for_byte() {
    let server = Server::start(&[]);
    let picture = marked(1, 1);
    let sequence = server.upload("cam", &picture);
    let mut viewer = Viewer::open(server.addr, "/streams/cam/stream.mjpg");
    let part = viewer.next();
    assert_eq!(part.sequence, sequence);
    assert_eq!(part.body, picture, "an untouched JPEG is passed on as it is");

    let next = marked(1, 2);
    let later = server.upload("cam", &next);
    assert!(later > sequence);
    let parts = viewer.until("the second picture", |part| part.sequence == later);
    assert_eq!(parts.last().unwrap().body, next);
}

#[test]
fn every_alias_takes_pictures() {
    let server = Server::start(&[]);
    let picture = marked(1, 7);
    let plain = to_base64(&picture);
    let url = format!("data:image/jpeg;base64,{plain}");
    let requests: [(&str, &[u8]); 4] = [
        ("/upload", &picture),
        ("/upload_frame", &picture),
        ("/frame", plain.as_bytes()),
        ("/frame", url.as_bytes()),
    ];
    for (number, (route, body)) in requests.into_iter().enumerate() {
        let stream = format!("alias_{number}");
        let response = server.post(&format!("{route}?stream={stream}"), body).expect(200);
        assert_eq!(response.text(), "OK", "{route}");
        assert_eq!(response.header("X-Ooblex-Stream"), Some(stream.as_str()));
        assert!(response.header("X-Ooblex-Sequence").is_some_and(|number| number.parse::<u64>().is_ok()));
        assert_eq!(server.get(&format!("/{stream}.jpg")).expect(200).body, picture, "{route}");
    }
    let response = server.post("/upload", &picture).expect(200);
    assert_eq!(response.header("X-Ooblex-Stream"), Some("default"));
    assert_eq!(server.get("/default.jpg").expect(200).body, picture);
}

#[test]
fn the_type_is_told_by_the_content() {
    let server = Server::start(&[]);
    let picture = mark::draw(Mark { id: 2, counter: 99 }, 320, 240);
    let bodies =
        [jpeg::encode(&picture, 90), encode(&picture, ImageFormat::Png), encode(&picture, ImageFormat::WebP)];
    for (body, stream) in bodies.iter().zip(["jpeg", "png", "webp"]) {
        for kind in
            ["image/jpeg", "image/png", "application/octet-stream", "application/x-www-form-urlencoded"]
        {
            let target = format!("/upload?stream={stream}");
            send(server.addr, "POST", &target, &[("Content-Type", kind)], body).expect(200);
        }
        let seen = server.get(&format!("/{stream}.jpg")).expect(200);
        assert_eq!(seen.header("Content-Type"), Some("image/jpeg"));
        let seen = jpeg::decode(&seen.body);
        assert_eq!((seen.width, seen.height), (320, 240));
        assert_eq!(seen.mark(), Some(Mark { id: 2, counter: 99 }), "{stream}");
        for (seen, sent) in seen.field().iter().zip(picture.field()) {
            assert!((seen - sent).abs() < 4.0, "{stream}: {seen} instead of {sent}");
        }
    }
}

#[test]
fn a_png_with_alpha_and_grey_pictures_are_accepted() {
    let server = Server::start(&[]);
    let mut png = Vec::new();
    let pixels = [200u8, 40, 40, 128].repeat(64 * 48);
    image::codecs::png::PngEncoder::new(&mut png)
        .write_image(&pixels, 64, 48, ExtendedColorType::Rgba8)
        .unwrap();
    server.upload("alpha", &png);
    let seen = jpeg::decode(&server.get("/alpha.jpg").expect(200).body);
    assert_eq!((seen.width, seen.height), (64, 48));

    let picture = mark::draw(Mark { id: 1, counter: 3 }, 321, 241);
    server.upload("grey", &jpeg::encode_as(&picture, 85, Subsamp::Gray));
    let seen = jpeg::decode(&server.get("/grey.jpg").expect(200).body);
    assert_eq!(seen.mark(), Some(Mark { id: 1, counter: 3 }));
    assert!(seen.colourfulness() < 3.0);
}

#[test]
fn every_chroma_layout_and_odd_size_survives_an_effect() {
    let server = Server::start(&["--model-name", "invert"]);
    for (number, chroma) in [Subsamp::None, Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::Sub1x2, Subsamp::Gray]
        .into_iter()
        .enumerate()
    {
        let mark = Mark { id: 3, counter: number as u32 };
        let picture = mark::draw(mark, 333, 251);
        let stream = format!("chroma_{number}");
        server.upload(&stream, &jpeg::encode_as(&picture, 92, chroma));
        let mut seen = jpeg::decode(&server.get(&format!("/{stream}.jpg")).expect(200).body);
        assert_eq!((seen.width, seen.height), (333, 251), "{chroma:?}");
        seen.data.iter_mut().for_each(|value| *value = 255 - *value);
        assert_eq!(seen.mark(), Some(mark), "{chroma:?}");
        if chroma != Subsamp::Gray {
            for (seen, sent) in seen.field().iter().zip(picture.field()) {
                assert!((seen - sent).abs() < 6.0, "{chroma:?}: {seen} instead of {sent}");
            }
        }
    }
}

#[test]
fn progressive_pictures_are_accepted() {
    let server = Server::start(&[]);
    let picture = mark::draw(Mark { id: 2, counter: 12 }, 320, 240);
    server.upload("progressive", &jpeg::encode_unusual(&picture, true, false));
    let seen = jpeg::decode(&server.get("/progressive.jpg").expect(200).body);
    assert_eq!(seen.mark(), Some(Mark { id: 2, counter: 12 }));
}

#[test]
fn sequence_numbers_rise_by_one_on_a_connection() {
    let server = Server::start(&[]);
    let mut connection = Connection::open(server.addr).unwrap();
    let sequences: Vec<u64> = (0..50)
        .map(|counter| {
            let answer = connection
                .request("POST", "/upload?stream=many", &[], &marked(1, counter))
                .unwrap()
                .expect(200);
            answer.header("X-Ooblex-Sequence").unwrap().parse().unwrap()
        })
        .collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequences:?}");
}

#[test]
fn a_chunked_body_is_accepted() {
    let server = Server::start(&[]);
    let picture = marked(1, 5);
    let mut body = Vec::new();
    for chunk in picture.chunks(1000) {
        body.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    // The client would add a length of its own to any body: this one is part of the head as far as it knows.
    let mut connection = Connection::open(server.addr).unwrap();
    std::io::Write::write_all(
        &mut connection.socket(),
        &[
            b"POST /upload?stream=chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
            &body[..],
        ]
        .concat(),
    )
    .unwrap();
    // Its answer is the first of two.
    let (status, _) = connection.start("GET", "/health", &[], &[]).unwrap();
    assert_eq!(status, 200);
    assert_eq!(server.get("/chunked.jpg").expect(200).body, picture);
}

#[test]
fn a_client_that_asks_first_is_answered() {
    // What curl does with larger pictures.
    let server = Server::start(&["--max-body-bytes", "50000"]);
    let picture = marked(1, 6);
    let ask = |length: usize| {
        let connection = Connection::open(server.addr).unwrap();
        let head = format!(
            "POST /upload?stream=asked HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        );
        std::io::Write::write_all(&mut connection.socket(), head.as_bytes()).unwrap();
        connection
    };
    let mut connection = ask(picture.len());
    assert_eq!(connection.read_head().unwrap().0, 100);
    std::io::Write::write_all(&mut connection.socket(), &picture).unwrap();
    assert_eq!(connection.read_head().unwrap().0, 200);
    // A body that is too large is refused before it is sent.
    assert_eq!(ask(50_001).read_head().unwrap().0, 413);
}
