//! Publishers of other makes on the loopback: what they send is what viewers see, in order, fresh and whole.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ooblex_tests::browser::write_camera;
use ooblex_tests::child::Child;
use ooblex_tests::frames::{self, Shot, check_order, check_pixels};
use ooblex_tests::mark::{Mark, draw};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::server::Server;
use ooblex_tests::tools::{Process, output, start};
use ooblex_tests::{peers, skip, wait_for};
use serde_json::json;

/// Pictures behind the newest that was sent, at most, on a machine with other things to do. A publisher that encodes and
/// a server that decodes hold one each; a third of a second is what a wrong jitter buffer would add.
const FRESH: usize = 8;

/// A viewer of a stream that has begun.
#[track_caller]
pub(crate) fn viewer_of(server: &Server, stream: &str) -> Viewer {
    server.wait_for_stream(stream, "live video", |entry| {
        entry["state"] == "live" && entry["width"].as_u64() > Some(0)
    });
    Viewer::open(server.addr, &format!("/streams/{stream}/stream.mjpg"))
}

/// Everything of a healthy publisher: in order, as it was drawn, nearly all of it, and young.
#[track_caller]
fn check_healthy(server: &Server, stream: &str, peer: &Child, shots: &[Shot]) {
    check_order(shots);
    check_pixels(shots);
    let mut ages = frames::ages(shots, &frames::sent(peer));
    ages.sort_unstable();
    let (missing, all) = frames::missing(shots);
    println!("{missing} of {all} missing; behind by {} to {} pictures", ages[0], ages[ages.len() - 1]);
    assert!(ages[ages.len() / 2] <= 2, "the median is {} pictures behind", ages[ages.len() / 2]);
    assert!(ages[ages.len() * 9 / 10] <= FRESH, "{ages:?}");
    // Newest wins: what a busy machine left out was counted.
    let dropped = server.metric("ooblex_frames_dropped_total", &[("stream", stream)]).unwrap_or(0.0);
    assert!(missing as f64 <= dropped, "{missing} missing, but {dropped} dropped");
    assert!(missing * 10 <= all, "{missing} of {all} missing");
}

/// aiortc sends 30 pictures a second; each of them is processed, and shown in time.
fn aiortc_publishes(codec: &str) {
    let server = Server::start(&[]);
    let url = server.url("/whip/cam");
    let mut peer = match peers::aiortc(&[&url, "--codec", codec, "--id", "6", "--loopback"]) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    let mut viewer = viewer_of(&server, "cam");
    let shots = frames::watch(&mut viewer, 6, Duration::from_secs(4));
    assert!(shots.len() > 60, "{} pictures in 4 s", shots.len());
    check_healthy(&server, "cam", &peer, &shots);

    // By count: every picture from the first that the server took on.
    peer.command(&json!({ "do": "pause", "on": true }));
    server.wait_for_stream("cam", "silence", |entry| entry["fps_in"].as_f64() < Some(1.0));
    let sent = frames::sent(&peer).len() as f64;
    let received = server.metric("ooblex_frames_received_total", &[("stream", "cam")]).unwrap();
    println!("{sent} sent, {received} received");
    // The first picture may have come before this side's half of the handshake was over; from then on none is lost.
    assert!(received <= sent && sent - received <= 3.0, "{received} of {sent} pictures");
    let first = shots[0].counter;
    assert!(f64::from(first) + 1.0 >= shots[0].sequence as f64, "numbered as they came");

    // It goes on where it stopped.
    peer.command(&json!({ "do": "pause", "on": false }));
    let last = shots.last().unwrap().counter;
    viewer.until("pictures after a pause", |part| part.mark().is_some_and(|mark| mark.counter > last + 10));
}

#[test]
fn aiortc_publishes_vp8_by_whip() {
    aiortc_publishes("vp8");
}

#[test]
fn aiortc_publishes_h264_by_whip() {
    aiortc_publishes("h264");
}

/// Sizes change in the middle of a stream, as a phone's do; every picture is whole in each of them.
fn the_size_changes(codec: &str) {
    let server = Server::start(&[]);
    let url = server.url("/whip/cam");
    let mut peer = match peers::aiortc(&[&url, "--codec", codec, "--id", "7", "--loopback"]) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    let mut viewer = viewer_of(&server, "cam");
    let mut shots = frames::watch(&mut viewer, 7, Duration::from_millis(700));
    for (width, height) in [(640, 480), (240, 320), (176, 144)] {
        peer.command(&json!({ "do": "size", "width": width, "height": height }));
        viewer.until("the new size", |part| {
            let picture = part.picture();
            (picture.width, picture.height) == (width, height)
        });
        shots.extend(frames::watch(&mut viewer, 7, Duration::from_millis(700)));
        assert_eq!(shots.last().unwrap().size, (width, height));
        let entry = server.stream("cam").unwrap();
        assert_eq!(
            (entry["width"].as_u64(), entry["height"].as_u64()),
            (Some(width as u64), Some(height as u64))
        );
    }
    check_order(&shots);
    check_pixels(&shots);
}

#[test]
fn vp8_changes_its_size_in_the_middle() {
    the_size_changes("vp8");
}

#[test]
fn h264_changes_its_size_in_the_middle() {
    the_size_changes("h264");
}

#[test]
fn an_effect_is_chosen_in_the_address_and_by_the_data_channel() {
    let server = Server::start(&[]);
    let url = server.url("/whip/cam?effect=grayscale");
    let mut peer = match peers::aiortc(&[&url, "--id", "8", "--loopback", "--channel"]) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    let mut viewer = viewer_of(&server, "cam");
    let shots = frames::watch(&mut viewer, 8, Duration::from_millis(500));
    assert!(shots.iter().all(|shot| shot.colour < 4.0), "grey from the first picture on: {shots:?}");

    let mut say = |text: String, answer: &dyn Fn(&serde_json::Value) -> bool| {
        let before = peer.lines().len();
        peer.command(&json!({ "do": "say", "text": text }));
        let (_, line) = peer.line("answer", before, |line| line["event"] == "message");
        let said: serde_json::Value = serde_json::from_str(line["text"].as_str().unwrap()).unwrap();
        assert!(answer(&said), "{text}: {said}");
    };
    let ack = |command: &'static str| {
        move |said: &serde_json::Value| *said == json!({ "type": "ack", "command": command, "status": "ok" })
    };
    say(json!({ "type": "set_transform", "name": "invert" }).to_string(), &ack("set_transform"));
    viewer.until("the other effect", |part| part.picture().colourfulness() > 20.0 && part.mark().is_none());
    say(json!({ "type": "toggle_transform", "enabled": false }).to_string(), &ack("toggle_transform"));
    viewer.until("no effect", |part| part.mark().is_some());
    say(json!({ "type": "toggle_transform", "enabled": true }).to_string(), &ack("toggle_transform"));
    viewer.until("the effect again", |part| part.mark().is_none());
    // What is no command is answered, and ends nothing.
    for text in ["no json", r#"{"type":"set_transform","name":"no such effect"}"#, r#"{"type":"dance"}"#] {
        say(text.into(), &|said| said["type"] != "ack" || said["status"] != "ok");
    }
    assert_eq!(server.stream("cam").unwrap()["effect"], "invert");
}

#[test]
fn the_json_offer_names_a_stream_and_a_chain() {
    let server = Server::start(&[]);
    for (path, stream) in [("/webrtc/offer", "one"), ("/offer", "two")] {
        let url = server.url(path);
        let peer = match peers::aiortc(&[
            &url,
            "--stream",
            stream,
            "--model",
            "blur|grayscale",
            "--id",
            "5",
            "--loopback",
        ]) {
            Ok(peer) => peer,
            Err(reason) => skip!("{reason}"),
        };
        let mut viewer = viewer_of(&server, stream);
        let shots = frames::watch(&mut viewer, 5, Duration::from_millis(500));
        assert!(shots.iter().all(|shot| shot.colour < 4.0), "{shots:?}");
        assert_eq!(server.stream(stream).unwrap()["effect"], "blur|grayscale");
        let (_, answer) = peer.line("answer", 0, |line| line["event"] == "answer");
        let body: serde_json::Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["type"], "answer");
        assert!(body["pc_id"].as_str().is_some_and(|id| id.len() >= 22), "{body}");
    }
}

#[test]
fn offers_without_usable_candidates_connect() {
    let server = Server::start(&[]);
    for candidates in ["none", "local"] {
        let url = server.url(&format!("/whip/{candidates}"));
        let _peer = match peers::aiortc(&[&url, "--candidates", candidates, "--id", "4", "--loopback"]) {
            Ok(peer) => peer,
            Err(reason) => skip!("{reason}"),
        };
        let shots = frames::watch(&mut viewer_of(&server, candidates), 4, Duration::from_millis(500));
        assert!(shots.len() > 5, "{candidates}: {shots:?}");
    }
}

/// A file of raw marked I420 pictures for so many seconds.
fn film(path: &Path, id: u8, seconds: u32) {
    write_camera(path, id, seconds * 30, 320, 240);
    // The pictures of a Y4M file without its headers.
    let y4m = std::fs::read(path).unwrap();
    let begin = y4m.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let pictures: Vec<u8> =
        y4m[begin..].chunks_exact(6 + 320 * 240 * 3 / 2).flat_map(|frame| frame[6..].to_vec()).collect();
    std::fs::write(path, pictures).unwrap();
}

/// webrtcbin's certificate is RSA, and its DTLS is as old as Debian 12.
fn webrtcbin_publishes(codec: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.i420");
    film(&path, 3, 12);
    // Without the cap on the rate: what waited for the connection comes in one go.
    let server = Server::start(&["--target-fps", "0"]);
    let url = server.url("/whip/cam");
    let file = path.display().to_string();
    let peer = match peers::webrtcbin(&[&url, &file, "320x240", "--codec", codec, "--loopback"]) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    let mut viewer = viewer_of(&server, "cam");
    frames::watch(&mut viewer, 3, Duration::from_secs(1));
    let shots = frames::watch(&mut viewer, 3, Duration::from_secs(3));
    assert!(shots.len() > 45, "{} pictures in 3 s", shots.len());
    check_healthy(&server, "cam", &peer, &shots);
}

#[test]
fn webrtcbin_publishes_vp8() {
    webrtcbin_publishes("vp8");
}

#[test]
fn webrtcbin_publishes_h264() {
    webrtcbin_publishes("h264");
}

#[test]
fn ffmpeg_publishes_by_its_whip_muxer() {
    let ffmpeg = match peers::ffmpeg_with_whip() {
        Ok(path) => path,
        Err(reason) => skip!("{reason}"),
    };
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.y4m");
    write_camera(&film, 2, 300, 320, 240);
    // Without the cap on the rate: FFmpeg makes up for the time that it took to connect.
    let server = Server::start(&["--target-fps", "0"]);
    let mut command = Command::new(ffmpeg);
    command
        .args(["-hide_banner", "-loglevel", "warning", "-re", "-i"])
        .arg(&film)
        .args(["-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-tune", "zerolatency"])
        .args(["-b:v", "1500k", "-g", "30", "-f", "whip", &server.url("/whip/cam?effect=none")]);
    let process: Process = start(&mut command, folder.path(), "ffmpeg");
    let mut viewer = viewer_of(&server, "cam");
    let shots = frames::watch(&mut viewer, 2, Duration::from_secs(4));
    let said = || output(folder.path(), "ffmpeg");
    assert!(shots.len() > 60, "{} pictures in 4 s: {}", shots.len(), said());
    check_order(&shots);
    check_pixels(&shots);
    let (missing, all) = frames::missing(&shots);
    let dropped = server.metric("ooblex_frames_dropped_total", &[("stream", "cam")]).unwrap_or(0.0);
    assert!(
        missing as f64 <= dropped && missing * 10 <= all,
        "{missing} of {all} missing, {dropped} dropped"
    );
    // When it is told to end it says so by DELETE, and is gone.
    ooblex_tests::server::signal(process.0.id(), "INT");
    wait_for("the end of the stream", || {
        server.stream("cam").is_none_or(|entry| entry["state"] == "ended").then_some(())
    });
    drop(process);
}

#[test]
fn two_publishers_at_once_are_not_mixed() {
    let server = Server::start(&[]);
    let mut peers_running = Vec::new();
    for (stream, id, codec) in [("left", "1", "vp8"), ("right", "2", "h264")] {
        let url = server.url(&format!("/whip/{stream}"));
        match peers::aiortc(&[&url, "--id", id, "--codec", codec, "--loopback", "--fps", "15"]) {
            Ok(peer) => peers_running.push(peer),
            Err(reason) => skip!("{reason}"),
        }
    }
    let (mut left, mut right) = (viewer_of(&server, "left"), viewer_of(&server, "right"));
    std::thread::scope(|scope| {
        scope.spawn(|| check_order(&frames::watch(&mut left, 1, Duration::from_secs(2))));
        scope.spawn(|| check_order(&frames::watch(&mut right, 2, Duration::from_secs(2))));
    });
    // The drawing of the peers and that of the tests are one.
    let part = left.until("a picture", |part| part.mark().is_some()).pop().unwrap();
    let Mark { id, counter } = part.mark().unwrap();
    let (mean, worst) = frames::difference(&part.picture(), &draw(Mark { id, counter }, 320, 240));
    assert!(id == 1 && mean < 3.0 && worst < 100.0, "{mean} {worst}");
}
