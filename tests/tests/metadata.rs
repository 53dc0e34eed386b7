//! What a picture says about its owner stays with the server; how it is to be held is honoured.

use ooblex_tests::jpeg::{self, SECRET_SECONDS};
use ooblex_tests::mark::{self, Mark, Rgb};
use ooblex_tests::server::Server;

use crate::{marked, shown};

/// The file without its APPn and COM segments, except JFIF and Adobe.
fn stripped(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF, 0xD8];
    let mut at = 2;
    loop {
        let marker = data[at + 1];
        let end = at + 2 + usize::from(u16::from_be_bytes([data[at + 2], data[at + 3]]));
        let payload = &data[at + 4..end];
        let kept = match marker {
            0xE0 => payload.starts_with(b"JFIF\0"),
            0xEE => payload.starts_with(b"Adobe"),
            0xE1..=0xEF | 0xFE => false,
            _ => true,
        };
        if kept {
            out.extend_from_slice(&data[at..end]);
        }
        at = end;
        if marker == 0xDA {
            out.extend_from_slice(&data[at..]);
            return out;
        }
    }
}

fn contains(data: &[u8], needle: &[u8]) -> bool {
    data.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn a_picture_that_passes_loses_its_metadata_and_nothing_else() {
    let server = Server::start(&[]);
    let plain = marked(1, 40);
    let adobe = jpeg::with_segment(&plain, 0xEE, b"Adobe\0\x64\0\0\0\0\x01");
    let mut full = jpeg::with_segment(&adobe, 0xFE, b"written by: a person");
    full = jpeg::with_segment(&full, 0xE1, &jpeg::exif(1));
    full =
        jpeg::with_segment(&full, 0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>secret place</x:xmpmeta>");
    full = jpeg::with_segment(&full, 0xE2, b"ICC_PROFILE\0\x01\x01profile of a named camera");
    full = jpeg::with_segment(&full, 0xE0, b"JFXX\0\x10a small picture of the owner");
    full = jpeg::with_segment(&full, 0xED, b"Photoshop 3.0\0caption");
    full = jpeg::with_segment(&full, 0xEE, b"something else");
    assert!(contains(&full, &SECRET_SECONDS.to_le_bytes()));
    assert!(jpeg::decode(&full).mark().is_some());

    server.upload("cam", &full);
    let seen = server.get("/cam.jpg").expect(200).body;
    assert_eq!(seen, stripped(&full));
    assert_eq!(seen, adobe, "JFIF and Adobe stay, in their order");
    for secret in
        [SECRET_SECONDS.to_le_bytes().as_slice(), b"Exif", b"secret", b"person", b"camera", b"owner", b"CAM"]
    {
        assert!(!contains(&seen, secret));
    }
}

#[test]
fn metadata_behind_the_first_scan_is_removed_too() {
    let server = Server::start(&[]);
    let picture = mark::draw(Mark { id: 1, counter: 4 }, 320, 240);
    let mut data = jpeg::encode_unusual(&picture, true, false);
    // Before the last scan of a progressive picture, where a reader that stops at the first scan does not look.
    let last_scan = data.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
    let comment = b"\xFF\xFE\x00\x10where they live";
    assert_eq!(comment.len(), 2 + 0x10 + 1);
    data.splice(last_scan..last_scan, comment[..2 + 0x10].iter().copied());
    assert_eq!(jpeg::decode(&data).mark(), Some(Mark { id: 1, counter: 4 }));
    server.upload("cam", &data);
    let seen = server.get("/cam.jpg").expect(200).body;
    assert!(!contains(&seen, b"where they"));
    assert_eq!(jpeg::decode(&seen).mark(), Some(Mark { id: 1, counter: 4 }));
    // What follows the end of the picture is not part of it.
    let trailing = [marked(1, 5), b"and a secret behind the end".to_vec()].concat();
    let sequence = server.upload("cam", &trailing);
    let seen = shown(&server, "cam", sequence);
    assert_eq!(seen, marked(1, 5));
}

/// How the camera stored an upright picture, after the table of the EXIF standard.
fn stored(upright: &Rgb, orientation: u16) -> Rgb {
    let (w, h) = (upright.width, upright.height);
    let (width, height) = if orientation >= 5 { (h, w) } else { (w, h) };
    let mut out = Rgb::plain(width, height, [0; 3]);
    for y in 0..h {
        for x in 0..w {
            let (column, row) = match orientation {
                1 => (x, y),
                2 => (w - 1 - x, y),
                3 => (w - 1 - x, h - 1 - y),
                4 => (x, h - 1 - y),
                5 => (y, x),
                6 => (y, w - 1 - x),
                7 => (h - 1 - y, w - 1 - x),
                _ => (h - 1 - y, x),
            };
            let at = (row * width + column) * 3;
            out.data[at..at + 3].copy_from_slice(&upright.at(x, y));
        }
    }
    out
}

#[test]
fn every_orientation_is_honoured() {
    let server = Server::start(&[]);
    for effect in ["none", "grayscale"] {
        for orientation in 1..=8u16 {
            let mark = Mark { id: 1, counter: u32::from(orientation) };
            // Not a multiple of the block size: an edge block cannot be turned without decoding.
            for (width, height) in [(320, 240), (325, 243)] {
                let upright = mark::draw(mark, width, height);
                let sent = jpeg::encode(&stored(&upright, orientation), 90);
                let stream = format!("o{orientation}_{width}_{effect}");
                server.post_json("/effect", &serde_json::json!({ "effect": effect })).expect(200);
                server.upload(&stream, &jpeg::with_segment(&sent, 0xE1, &jpeg::exif(orientation)));
                let seen = server.get(&format!("/{stream}.jpg")).expect(200).body;
                assert!(!contains(&seen, b"Exif"), "a viewer would turn it once more");
                let seen = jpeg::decode(&seen);
                assert_eq!((seen.width, seen.height), (width, height), "orientation {orientation}");
                assert_eq!(seen.mark(), Some(mark), "orientation {orientation} at {width}x{height}");
            }
        }
        // At most 32 streams at once.
        if effect == "none" {
            assert_eq!(server.json("/streams").as_array().unwrap().len(), 16);
        }
    }
}

#[test]
fn an_orientation_that_does_not_exist_is_ignored() {
    let server = Server::start(&[]);
    for orientation in [0, 9, 65_535] {
        let picture = jpeg::with_segment(&marked(1, 9), 0xE1, &jpeg::exif(orientation));
        server.upload("cam", &picture);
        assert_eq!(server.get("/cam.jpg").expect(200).body, marked(1, 9));
    }
    // Broken EXIF: every prefix of a good block, and one that points at itself.
    let whole = jpeg::exif(6);
    for length in 0..whole.len() {
        server.upload("cam", &jpeg::with_segment(&marked(1, 9), 0xE1, &whole[..length]));
    }
    let mut looping = whole.clone();
    let next = 6 + 8 + 2 + 36;
    looping[next..next + 4].copy_from_slice(&8u32.to_le_bytes());
    server.upload("cam", &jpeg::with_segment(&marked(1, 9), 0xE1, &looping));
}
