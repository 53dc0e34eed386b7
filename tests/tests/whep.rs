//! Viewers by WHEP on the loopback: aiortc and Chromium see what was published, in order, fresh and whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use ooblex_tests::browser::{Browser, installed};
use ooblex_tests::child::Child;
use ooblex_tests::peers::{self, WATCH_JS, watch_aiortc};
use ooblex_tests::problem::expect_problem;
use ooblex_tests::publisher::{Plan, Publisher, Sent};
use ooblex_tests::server::Server;
use ooblex_tests::{PATIENCE, http, sdp, skip, wait_for};
use serde_json::{Value, json};

/// Pictures behind the newest that was published, at most, in nine of ten cases, on a machine with other things to do.
const FRESH: usize = 12;

/// A picture as a viewer saw it: the publisher's number of it, and when, in seconds since 1970.
type Seen = (u32, f64);

fn seen(lines: &[Value], id: u8) -> Vec<Seen> {
    let lines = lines.iter().filter(|line| line["counter"].is_u64());
    let of = |line: &Value| {
        assert_eq!(line["id"], id, "a picture of another publisher");
        (line["counter"].as_u64().unwrap() as u32, line["at"].as_f64().unwrap())
    };
    lines.map(of).collect()
}

/// In order, none twice, nearly all of them, and young.
#[track_caller]
fn check_healthy(seen: &[Seen], sent: &[Sent]) {
    assert!(seen.len() > 60, "{} pictures", seen.len());
    assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "out of order: {seen:?}");
    let (now, wall) = (Instant::now(), SystemTime::now());
    let wall = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let published: BTreeMap<u32, f64> = sent
        .iter()
        .map(|sent| (sent.counter, wall - now.saturating_duration_since(sent.at).as_secs_f64()))
        .collect();
    let behind =
        |(counter, at): &Seen| published.range(counter + 1..).take_while(|(_, sent)| **sent <= *at).count();
    let mut ages: Vec<usize> = seen.iter().map(behind).collect();
    ages.sort_unstable();
    let all = (seen[seen.len() - 1].0 - seen[0].0 + 1) as usize;
    println!("{} of {all} seen; behind by {} to {} pictures", seen.len(), ages[0], ages[ages.len() - 1]);
    assert!(ages[ages.len() * 9 / 10] <= FRESH, "{ages:?}");
    assert!(seen.len() * 2 > all, "{} of {all} seen", seen.len());
}

/// What `/status` says of the viewers.
fn viewers(server: &Server) -> Vec<Value> {
    let status = server.json("/status");
    let whep = status["transports"].as_array().unwrap().iter().find(|entry| entry["name"] == "whep");
    whep.unwrap()["sessions"].as_array().unwrap().clone()
}

fn is_picture(line: &Value) -> bool {
    line["event"] == "seen" && line["counter"].is_u64()
}

/// A server with a publisher, and a viewer that sees it.
fn aiortc_watches(arguments: &[&str], path: &str) -> Result<(Server, Publisher, Child), String> {
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 7, Plan::default());
    wait_for("a stream", || server.stream("cam"));
    let url = server.url(path);
    let peer = watch_aiortc(&[&[url.as_str(), "--loopback"], arguments].concat())?;
    peer.line("a picture", 0, is_picture);
    Ok((server, publisher, peer))
}

fn aiortc_sees(codec: &str, arguments: &[&str]) {
    let (server, publisher, mut peer) = match aiortc_watches(arguments, "/whep/cam") {
        Ok(all) => all,
        Err(reason) => skip!("{reason}"),
    };
    let (_, first) = peer.line("a picture", 0, is_picture);
    let until = first["counter"].as_u64().unwrap() + 100;
    peer.line("more pictures", 0, |line| is_picture(line) && line["counter"].as_u64() > Some(until));
    check_healthy(&seen(&peer.lines(), 7), &publisher.stop());
    let viewer = wait_for("a report", || viewers(&server).into_iter().find(|v| v["path"].is_object()));
    assert_eq!((&viewer["codec"], &viewer["stream"]), (&json!(codec), &json!("cam")), "{viewer}");
    assert_eq!(viewer["path"]["local"], "host", "{viewer}");
    assert_eq!(server.stream("cam").unwrap()["whep_url"], "/whep/cam");
    let pictures = server.metric("ooblex_whep_pictures_total", &[("stream", "cam")]).unwrap();
    assert!(pictures >= 60.0, "{pictures}");

    peer.command(&json!({ "do": "delete" }));
    let (_, deleted) = peer.line("its end", 0, |line| line["event"] == "deleted");
    assert_eq!(deleted["status"], 200);
    assert_eq!(viewers(&server), [json!(null); 0]);
    peer.line("a closed connection", 0, |line| line["event"] == "state" && line["state"] == "closed");
}

#[test]
fn aiortc_watches_vp8() {
    aiortc_sees("VP8", &["--codec", "vp8", "--audio"]);
}

#[test]
fn aiortc_watches_h264() {
    aiortc_sees("H264", &["--codec", "h264"]);
}

#[test]
fn who_takes_both_gets_vp8_and_a_key_frame_when_asked() {
    let (server, _publisher, mut peer) = match aiortc_watches(&[], "/whep") {
        Ok(all) => all,
        Err(reason) => skip!("{reason}"),
    };
    let viewer = wait_for("a report", || viewers(&server).into_iter().find(|v| v["state"] == "live"));
    assert_eq!((&viewer["codec"], &viewer["stream"]), (&json!("VP8"), &json!(null)));
    let counted = |name: &str| viewers(&server)[0][name].as_u64().unwrap();
    let (keys, asked) = (counted("key_frames"), counted("keyframe_requests"));
    peer.command(&json!({ "do": "key" }));
    peer.line("a question", 0, |line| line["event"] == "asked");
    wait_for("a key frame", || {
        (counted("keyframe_requests") > asked && counted("key_frames") > keys).then_some(())
    });
    // Told that the network carries less, the server goes down the ladder.
    wait_for("less", || {
        peer.command(&json!({ "do": "limit", "kbps": 20 }));
        std::thread::sleep(Duration::from_millis(200));
        (viewers(&server)[0]["kbps"] == 150).then_some(())
    });
    assert!(viewers(&server)[0]["estimate_kbps"].as_u64() <= Some(20));
    let from = peer.lines().len();
    peer.line("pictures all the same", from, is_picture);
    peer.command(&json!({ "do": "close" }));
    wait_for("its end", || viewers(&server).is_empty().then_some(()));
}

#[test]
fn the_end_of_the_stream_ends_the_session_of_a_named_one_alone() {
    let server = Server::start(&[]);
    let mut publisher = match peers::aiortc(&[&server.url("/whip/cam"), "--id", "7", "--loopback"]) {
        Ok(publisher) => publisher,
        Err(reason) => skip!("{reason}"),
    };
    server.wait_for_stream("cam", "a picture", |entry| entry["width"].as_u64() > Some(0));
    let named = watch_aiortc(&[&server.url("/whep/cam"), "--loopback"]).unwrap();
    let newest = watch_aiortc(&[&server.url("/whep"), "--loopback"]).unwrap();
    named.line("a picture", 0, is_picture);
    newest.line("a picture", 0, is_picture);
    // One encoder for both.
    assert_eq!(server.stream("cam").unwrap()["viewers"], 2);
    publisher.command(&json!({ "do": "delete" }));
    named.line("the end", 0, |line| line["event"] == "state" && line["state"] == "closed");
    let from = newest.lines().len();
    let _next = Publisher::start(server.addr, "other", 9, Plan::default());
    newest.line("the next stream", from, |line| is_picture(line) && line["id"] == 9);
    assert_eq!(viewers(&server).len(), 1);
}

fn chromium_sees(codecs: &Value, expected: &str) {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let server = Server::start(&[]);
    let publisher = Publisher::start(server.addr, "cam", 8, Plan::default());
    wait_for("a stream", || server.stream("cam"));
    let browser = Browser::start(programs, None);
    browser.open(&server.url("/client.html"));
    let told = browser.run(&format!("{WATCH_JS}; return watch('/whep/cam', {codecs})"));
    assert_eq!(told["status"], 201, "{told}");
    let mark =
        |n: usize| browser.run(&format!("return window.viewer.seen.filter(Boolean).length >= {n}")) == true;
    let deadline = Instant::now() + PATIENCE;
    while !mark(120) {
        let log = || (browser.run("return window.viewer.seen"), browser.complaints(), viewers(&server));
        assert!(Instant::now() < deadline, "too few pictures: {:?}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
    let lines = browser.run("return window.viewer.seen.filter(Boolean)");
    check_healthy(&seen(lines.as_array().unwrap(), 8), &publisher.stop());
    assert_eq!(viewers(&server)[0]["codec"], expected);
    let ended = browser.run("return (await fetch(viewer.session, { method: 'DELETE' })).status");
    assert_eq!(ended, 200);
    assert_eq!(viewers(&server).len(), 0);
}

#[test]
fn chromium_watches_vp8_where_it_takes_all() {
    chromium_sees(&json!([]), "VP8");
}

#[test]
fn chromium_watches_h264() {
    chromium_sees(&json!(["video/h264", "video/rtx"]), "H264");
}

const SDP: (&str, &str) = ("Content-Type", "application/sdp");

#[test]
fn a_session_has_an_address_an_answer_and_an_end() {
    let server = Server::start(&["--ice-server", "stun:127.0.0.1:3479"]);
    let _publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    wait_for("a stream", || server.stream("cam"));
    let send = |method, target: &str, headers: &[(&str, &str)], body: &str| {
        http::send(server.addr, method, target, headers, body.as_bytes())
    };
    let offer = sdp::offer().replace("a=sendonly", "a=recvonly");
    let answer = send("POST", "/whep/cam", &[SDP], &offer).expect(201);
    let place = answer.header("Location").expect("a place").to_owned();
    assert!(place.starts_with("/whep/sessions/"), "{place}");
    assert!(answer.header("ETag").is_some() && answer.header("Link").is_some(), "{:?}", answer.headers);
    let text = answer.text();
    assert!(text.contains("a=sendonly") && text.contains("a=candidate:"), "{text}");
    assert!(text.contains("VP8/90000") && !text.contains("H264/90000"), "one format: {text}");
    // A viewer's session is none of a publisher's.
    let elsewhere = place.replace("/whep/", "/whip/");
    expect_problem(&send("DELETE", &elsewhere, &[], ""), 404);
    let fragment = ("Content-Type", "application/trickle-ice-sdpfrag");
    let candidates = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
        a=mid:0\r\na=candidate:1 1 UDP 2130706431 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n";
    expect_problem(&send("PATCH", &place, &[fragment], candidates), 428);
    let tag = answer.header("ETag").unwrap().to_owned();
    send("PATCH", &place, &[fragment, ("If-Match", &tag)], candidates).expect(204);
    let restart = candidates.replace("abcd", "efgh").replace("0123456789abcdef", "fedcba9876543210");
    let restarted = send("PATCH", &place, &[fragment, ("If-Match", "*")], &restart).expect(200);
    assert_ne!(restarted.header("ETag"), Some(tag.as_str()));
    send("DELETE", &place, &[], "").expect(200);
    expect_problem(&send("DELETE", &place, &[], ""), 404);
}

#[test]
fn a_viewer_past_the_limit_is_refused_until_one_leaves_and_publishers_are_not() {
    let server = Server::start(&["--max-webrtc-viewers", "2"]);
    let _publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    wait_for("a stream", || server.stream("cam"));
    let ask = |target: &str, offer: &str| http::send(server.addr, "POST", target, &[SDP], offer.as_bytes());
    let (sending, watching) = (sdp::offer(), sdp::offer().replace("a=sendonly", "a=recvonly"));
    let places = [(); 2].map(|()| {
        let answer = ask("/whep/cam", &watching).expect(201);
        answer.header("Location").expect("a place").to_owned()
    });
    let refused = ask("/whep/cam", &watching);
    assert!(refused.header("Retry-After").is_some(), "{:?}", refused.headers);
    let problem = expect_problem(&refused, 503);
    assert_eq!((&problem["code"], &problem["limit"]), (&json!("too_many_sessions"), &json!(2)), "{problem}");
    assert_eq!(viewers(&server).len(), 2);
    ask("/whip/other", &sending).expect(201);
    http::send(server.addr, "DELETE", &places[0], &[], &[]).expect(200);
    ask("/whep/cam", &watching).expect(201);
    expect_problem(&ask("/whep/cam", &watching), 503);
}

#[test]
fn bad_offers_get_problems() {
    let server = Server::start(&[]);
    let _publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    wait_for("a stream", || server.stream("cam"));
    let send = |target: &str, headers: &[(&str, &str)], body: &str| {
        http::send(server.addr, "POST", target, headers, body.as_bytes())
    };
    let offer = sdp::offer().replace("a=sendonly", "a=recvonly");
    let unknown = expect_problem(&send("/whep/nobody", &[SDP], &offer), 404);
    assert_eq!((&unknown["code"], &unknown["known"]), (&json!("unknown_stream"), &json!(["cam"])));
    for (target, headers, body, status, code) in [
        ("/whep/cam", &[SDP][..], "", 400, "empty_body"),
        ("/whep/cam", &[SDP], "nonsense", 400, "bad_offer"),
        ("/whep/cam", &[], &*offer, 415, "unsupported_type"),
        ("/whep/a.b", &[SDP], &*offer, 400, "bad_name"),
        ("/whep/cam?stream=other", &[SDP], &*offer, 400, "two_names"),
        ("/whep/cam", &[SDP], &*sdp::offer(), 422, "offer_unsupported"),
        (
            "/whep/cam",
            &[SDP],
            &*offer.replace("VP8/", "H263/").replace("H264/", "theora/"),
            422,
            "offer_unsupported",
        ),
        (
            "/whep/cam",
            &[SDP],
            &*offer.replace("VP8/", "H263/").replace("packetization-mode=1", "packetization-mode=0"),
            422,
            "offer_unsupported",
        ),
    ] {
        let problem = expect_problem(&send(target, headers, body), status);
        assert_eq!(problem["code"], code, "{problem}");
    }
    assert_eq!(viewers(&server), [json!(null); 0], "nothing is left behind");
}
