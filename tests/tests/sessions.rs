//! How WebRTC sessions begin, change hands and end, and what bad ones leave behind.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use ooblex_tests::http::{self, Connection};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::problem::expect_problem;
use ooblex_tests::server::{Server, signal};
use ooblex_tests::tools::{output, start};
use ooblex_tests::{PATIENCE, frames, peers, sdp, skip, wait_for};
use serde_json::json;

use crate::publishers::viewer_of;

/// POST of an offer.
#[track_caller]
fn offer(server: &Server, target: &str, sdp: &[u8]) -> http::Response {
    http::send(server.addr, "POST", target, &[("Content-Type", "application/sdp")], sdp)
}

/// Waits until a stream is over: gone, or ended.
#[track_caller]
fn wait_for_end(server: &Server, stream: &str, patience: Duration) -> Duration {
    let start = Instant::now();
    while server.stream(stream).is_some_and(|entry| entry["state"] != "ended") {
        assert!(start.elapsed() < patience, "not over after {patience:?}: {:?}", server.stream(stream));
        std::thread::sleep(Duration::from_millis(20));
    }
    start.elapsed()
}

#[test]
fn a_session_ends_at_once_by_delete_and_by_dtls_close() {
    let server = Server::start(&[]);
    for (stream, way) in [("deleted", "delete"), ("closed", "close")] {
        let url = server.url(&format!("/whip/{stream}"));
        let mut peer = match peers::aiortc(&[&url, "--loopback"]) {
            Ok(peer) => peer,
            Err(reason) => skip!("{reason}"),
        };
        let mut viewer = viewer_of(&server, stream);
        viewer.until("a picture", |part| part.mark().is_some());
        peer.command(&json!({ "do": way }));
        let took = wait_for_end(&server, stream, Duration::from_secs(3));
        println!("{way}: over after {took:?}");
        if way == "delete" {
            let (_, line) = peer.line("answer to DELETE", 0, |line| line["event"] == "deleted");
            assert_eq!(line["status"], 200);
        }
        // Who watches is told, not left with the last picture.
        viewer.set_patience(Duration::from_secs(5));
        let start = Instant::now();
        let told = loop {
            match viewer.try_next() {
                Ok(Some(part)) if part.mark().is_none() => break true,
                Ok(Some(_)) if start.elapsed() < PATIENCE => {}
                Ok(None) => break true,
                _ => break false,
            }
        };
        assert!(told, "{way}: the last picture stays");
    }
    // Nothing is left of either.
    wait_for("no session", || {
        (server.json("/status")["transports"].to_string().matches("\"live\"").count() == 0).then_some(())
    });
}

#[test]
fn a_publisher_that_comes_back_takes_over_and_a_stranger_does_not() {
    let server = Server::start(&[]);
    let url = server.url("/whip/cam");
    let first = match peers::aiortc(&[&url, "--id", "1", "--loopback"]) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    let mut viewer = viewer_of(&server, "cam");
    viewer.until("the first publisher", |part| part.mark().is_some_and(|mark| mark.id == 1));
    // While it sends nobody else is let in, not even from its own address.
    expect_problem(&offer(&server, "/whip/cam", sdp::offer().as_bytes()), 409);
    // The network of the first one is gone; its process will never say so.
    signal(first.pid(), "STOP");
    std::thread::sleep(Duration::from_millis(2300));
    // A stranger: another address of the loopback.
    let stranger = IpAddr::from([127, 0, 0, 2]);
    let mut connection = Connection::open_from(stranger, server.addr).unwrap();
    let headers = [("Content-Type", "application/sdp"), ("Connection", "close")];
    let refused = connection.request("POST", "/whip/cam", &headers, sdp::offer().as_bytes()).unwrap();
    assert_eq!(expect_problem(&refused, 409)["code"], "name_taken");
    let second = peers::aiortc(&[&url, "--id", "2", "--loopback"]).unwrap();
    // The same connection of the same viewer: the old pictures end, the new ones follow, with rising numbers.
    let parts = viewer.until("the second publisher", |part| part.mark().is_some_and(|mark| mark.id == 2));
    let parts: Vec<_> = parts.into_iter().chain((0..20).map(|_| viewer.next())).collect();
    assert!(parts.is_sorted_by(|a, b| a.sequence <= b.sequence), "numbered on");
    let ids: Vec<u8> = parts.iter().filter_map(|part| part.mark().map(|mark| mark.id)).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    // What is left of the first one cannot come back.
    signal(first.pid(), "CONT");
    let shots = frames::watch(&mut viewer, 2, Duration::from_secs(2));
    assert!(shots.len() > 20);
    drop(second);
}

#[test]
fn silence_stalls_a_stream_and_the_end_of_consent_removes_it() {
    let server = Server::start(&[]);
    let url = server.url("/whip/cam");
    let mut peer = match peers::aiortc(&[&url, "--loopback"]) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    let mut viewer = viewer_of(&server, "cam");
    viewer.until("a picture", |part| part.mark().is_some());

    // No pictures, but a peer that answers: stalled, with the placeholder, and live again.
    peer.command(&json!({ "do": "pause", "on": true }));
    let start = Instant::now();
    server.wait_for_stream("cam", "a stalled stream", |entry| entry["state"] == "stalled");
    let stalled = start.elapsed();
    assert!(
        stalled > Duration::from_secs(3) && stalled < Duration::from_secs(9),
        "stalled after {stalled:?}"
    );
    viewer.until("the placeholder", |part| part.mark().is_none());
    peer.command(&json!({ "do": "pause", "on": false }));
    viewer.until("pictures again", |part| part.mark().is_some());
    server.wait_for_stream("cam", "a live stream", |entry| entry["state"] == "live");

    // A peer that is gone without a word.
    signal(peer.pid(), "KILL");
    let start = Instant::now();
    server.wait_for_stream("cam", "a stalled stream", |entry| entry["state"] == "stalled");
    wait_for_end(&server, "cam", Duration::from_secs(60));
    let took = start.elapsed();
    println!("removed {took:?} after the last sign of life");
    // Consent lasts 30 s (RFC 7675 section 5.1); a stream must not go with the first lost check, either.
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(45), "{took:?}");
}

#[test]
fn a_publisher_that_answers_hardly_any_checks_stays_while_it_sends() {
    // FFmpeg's muxer reads its socket only now and then. Its packets show as well that it is there.
    let ffmpeg = match peers::ffmpeg_with_whip() {
        Ok(path) => path,
        Err(reason) => skip!("{reason}"),
    };
    let server = Server::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(ffmpeg);
    command
        .args([
            "-hide_banner",
            "-loglevel",
            "warning",
            "-re",
            "-f",
            "lavfi",
            "-i",
            "testsrc=size=320x240:rate=10",
        ])
        .args(["-c:v", "libx264", "-profile:v", "baseline", "-preset", "ultrafast", "-tune", "zerolatency"])
        .args(["-pix_fmt", "yuv420p", "-g", "20", "-f", "whip", &server.url("/whip/cam")]);
    let process = start(&mut command, folder.path(), "ffmpeg");
    viewer_of(&server, "cam").close();
    // Longer than consent lasts without an answer (RFC 7675 section 5.1: 30 s).
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(38) {
        let entry = server.stream("cam").expect("the stream is there");
        assert_eq!(
            entry["state"],
            "live",
            "after {:?}: {}",
            begin.elapsed(),
            output(folder.path(), "ffmpeg")
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(process);
}

#[test]
fn bad_offers_are_refused_quickly_and_leave_nothing() {
    let server = Server::start(&[]);
    // What a first session costs once, such as threads of a pool, is no leak.
    let accepted = offer(&server, "/whip/warm", sdp::offer().as_bytes()).expect(201);
    let place = accepted.header("Location").unwrap().to_owned();
    http::send(server.addr, "DELETE", &place, &[], &[]).expect(200);
    wait_for_end(&server, "warm", PATIENCE);
    let streams = server.json("/streams");

    let random: Vec<u8> = (0..4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut huge = sdp::offer();
    huge += &"a=x-padding:0123456789\r\n".repeat(200_000);
    let mut long_line = sdp::offer();
    long_line += &format!("a=x-padding:{}\r\n", "0".repeat(40_000));
    let bad: Vec<(&str, Vec<u8>, &[u16])> = vec![
        ("empty", Vec::new(), &[400]),
        ("binary", random, &[400]),
        ("no SDP", b"hello there".to_vec(), &[400]),
        ("cut off", sdp::offer().as_bytes()[..60].to_vec(), &[400, 422]),
        ("huge", huge.into_bytes(), &[413]),
        ("no fingerprint", sdp::without(&["a=fingerprint"]).into_bytes(), &[400, 422]),
        ("a broken fingerprint", sdp::offer().replace("1F:2E", "XY:").into_bytes(), &[400, 422]),
        ("no ICE credentials", sdp::without(&["a=ice-"]).into_bytes(), &[400, 422]),
        ("no media", sdp::without(&["m=", "c=", "a="]).into_bytes(), &[400, 422]),
        ("hundreds of media sections", sdp::with_sections(300).into_bytes(), &[400, 413, 422]),
        ("odd codecs", sdp::of_odd_codecs().into_bytes(), &[400, 422]),
        ("nothing to receive", sdp::offer().replace("a=sendonly", "a=recvonly").into_bytes(), &[400, 422]),
    ];
    let (threads, files) = server.threads_and_files();
    let memory = server.memory_bytes();
    for round in 0..5 {
        for (what, body, expected) in &bad {
            let target = format!("/whip/bad{round}");
            let start = Instant::now();
            let answer = offer(&server, &target, body);
            assert!(
                expected.contains(&answer.status),
                "{what}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            );
            expect_problem(&answer, answer.status);
            assert!(start.elapsed() < Duration::from_secs(2), "{what} took {:?}", start.elapsed());
            let as_json = json!({ "type": "offer", "sdp": String::from_utf8_lossy(body), "stream": "bad" });
            let answer = server.post_json("/webrtc/offer", &as_json);
            assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
        }
    }
    // An odd line does not make an offer bad.
    let odd = offer(&server, "/whip/odd", long_line.as_bytes());
    assert!([201, 400, 413].contains(&odd.status), "{}", odd.status);
    if odd.status == 201 {
        http::send(server.addr, "DELETE", odd.header("Location").unwrap(), &[], &[]).expect(200);
    }
    wait_for("threads and files as before", || {
        let (now_threads, now_files) = server.threads_and_files();
        (now_threads <= threads && now_files <= files).then_some(())
    });
    wait_for("streams as before", || {
        (server.json("/streams").as_array()?.len() <= streams.as_array()?.len()).then_some(())
    });
    let grown = server.memory_bytes().zip(memory).map(|(after, before)| after.saturating_sub(before));
    println!("{grown:?} bytes more after {} bad offers", bad.len() * 10);
    assert!(grown < Some(16 << 20), "{grown:?} bytes more");
    assert_eq!(server.json("/health")["status"], "healthy");
}

#[test]
fn half_open_sessions_are_capped_and_reaped() {
    let server = Server::start(&[]);
    let (threads, files) = server.threads_and_files();
    // Offers that nobody is behind, from many addresses, until no more are taken.
    let start = Instant::now();
    let mut taken = 0;
    let refusal = loop {
        let from = IpAddr::from([127, 0, 1, (taken % 200 + 1) as u8]);
        let mut connection = Connection::open_from(from, server.addr).unwrap();
        let headers = [("Content-Type", "application/sdp"), ("Connection", "close")];
        let target = format!("/whip/half{taken}");
        let answer = connection.request("POST", &target, &headers, sdp::offer().as_bytes()).unwrap();
        if answer.status != 201 {
            break answer;
        }
        taken += 1;
        assert!(taken < 200, "no cap");
    };
    println!("{taken} half-open sessions in {:?}", start.elapsed());
    assert!(taken >= 4, "only {taken}");
    assert!([429, 503].contains(&refusal.status), "{refusal:?}");
    expect_problem(&refusal, refusal.status);
    let wait: u64 = refusal.header("Retry-After").expect("when to come back").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    // They go by themselves, and everything that they held.
    let start = Instant::now();
    let (mut streams, mut now) = (usize::MAX, (0, 0));
    while streams > 0 || now.1 > files + 2 {
        assert!(start.elapsed() < Duration::from_secs(50), "{streams} streams, {now:?} after {files} files");
        std::thread::sleep(Duration::from_millis(500));
        streams = server
            .json("/streams")
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["state"] != "ended")
            .count();
        now = server.threads_and_files();
    }
    println!("reaped after {:?}; {now:?} threads and files, {threads} and {files} before", start.elapsed());
    assert_eq!(offer(&server, "/whip/again", sdp::offer().as_bytes()).status, 201);
}

#[test]
fn a_viewer_of_a_name_that_nobody_publishes_yet_gets_the_first_picture() {
    let server = Server::start(&[]);
    // The general stream shows the placeholder until the first publisher comes.
    let mut viewer = Viewer::open(server.addr, "/stream.mjpg");
    viewer.next();
    let url = server.url("/whip/cam");
    let _peer = match peers::aiortc(&[&url, "--id", "9", "--loopback"]) {
        Ok(peer) => peer,
        Err(reason) => skip!("{reason}"),
    };
    viewer.until("the publisher", |part| part.mark().is_some_and(|mark| mark.id == 9));
    assert_eq!(server.stream("cam").unwrap()["kind"], "webrtc");
}
