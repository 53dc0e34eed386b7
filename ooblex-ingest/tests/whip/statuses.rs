//! Every status code that the routes have, each with its problem document.

use std::time::Duration;

use ooblex_ingest::whip::WhipConfig;

use crate::publisher::{Codec, Publisher};
use crate::server::{FRAGMENT, OBS, SDP, Server, config};

const NOBODY: &str = "/whip/sessions/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const PAIR: &str = "a=ice-ufrag:Ls0A\r\na=ice-pwd:mYbSbnuQm4wRhG7Kq2fD9a\r\n";
const CANDIDATE: &str =
    "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n";

#[tokio::test]
async fn offers_that_cannot_be_answered() {
    let server = Server::start().await;
    let long = "v=0\r\n".repeat(20_000);
    let hevc = OBS.replace("H264/90000", "H265/90000");
    let no_video = &OBS[..OBS.find("m=video").expect("a video section")];
    let no_fingerprint: String =
        OBS.split_inclusive('\n').filter(|l| !l.starts_with("a=fingerprint")).collect();
    let many = format!("{OBS}{}", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".repeat(300));
    for (path, headers, body, status, code, field) in [
        ("/whip", "", OBS, 415, "unsupported_type", "Content-Type"),
        ("/whip", "Content-Type: text/plain\r\n", OBS, 415, "unsupported_type", "Content-Type"),
        ("/whip", "Content-Type: application/json\r\n", "{}", 415, "unsupported_type", "Content-Type"),
        ("/whip/a.b", SDP, OBS, 400, "bad_name", "stream"),
        ("/whip/snapshot", SDP, OBS, 400, "bad_name", "stream"),
        ("/whip/%FF", SDP, OBS, 400, "bad_name", "stream"),
        ("/whip?stream=", SDP, OBS, 400, "bad_name", "stream"),
        ("/whip/a?stream=b", SDP, OBS, 400, "two_names", "stream"),
        ("/whip", SDP, "", 400, "empty_body", "body"),
        ("/whip", SDP, " \r\n", 400, "empty_body", "body"),
        ("/whip", SDP, "hello", 400, "bad_offer", "sdp"),
        ("/whip", SDP, "{\"sdp\":\"v=0\",\"type\":\"offer\"}", 400, "bad_offer", "sdp"),
        ("/whip", SDP, &no_fingerprint, 400, "bad_offer", "sdp"),
        ("/whip", SDP, &long, 413, "body_too_large", "body"),
        ("/whip", SDP, no_video, 422, "offer_unsupported", "sdp"),
        ("/whip", SDP, &hevc, 422, "offer_unsupported", "sdp"),
        ("/whip?effect=nosuch", SDP, OBS, 404, "unknown_effect", "effect"),
        ("/whip", &format!("{SDP}X-Transform-Type: nosuch\r\n"), OBS, 404, "unknown_effect", "effect"),
    ] {
        let answer = server.send("POST", path, headers, body.as_bytes()).await;
        let problem = answer.expect(status, code);
        assert_eq!(problem["field"], field, "{problem}");
        assert_eq!(answer.header("accept-post").is_some(), status == 415, "{path} {headers}");
    }
    let binary = server.send("POST", "/whip", SDP, &[0xFF, 0xFE, 0, 1, 2]).await;
    assert_eq!(binary.expect(400, "bad_offer")["value"], 0);
    let many = server.offer("/whip", &many).await;
    assert!(matches!(many.status, 400 | 413 | 422), "{many:?}");
    many.problem();
    let unknown = server.offer("/whip?effect=nosuch", OBS).await.problem();
    assert_eq!(unknown["known"][0], "blur");

    // Longer than allowed without having said so.
    let chunk = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let headers = format!("{SDP}Transfer-Encoding: chunked\r\n");
    server.send_raw("POST", "/whip", &headers, chunk.as_bytes()).await.expect(413, "body_too_large");

    assert!(server.webrtc.sessions().is_empty(), "nothing is left behind");
    assert!(server.webrtc.hub().streams().is_empty());
    assert!(server.chosen.0.lock().expect("lock").is_empty(), "no effect was chosen for a refused offer");
}

#[tokio::test]
async fn reserved_methods_are_refused() {
    let server = Server::start().await;
    for path in ["/whip", "/whip/cam", "/webrtc/offer", "/offer"] {
        for method in ["GET", "PUT", "PATCH", "DELETE", "BREW"] {
            let answer = server.send(method, path, "", b"").await;
            answer.expect(405, "method_not_allowed");
            assert_eq!(answer.header("allow"), Some("POST, OPTIONS"), "{method} {path}");
        }
        assert_eq!(server.send("HEAD", path, "", b"").await.status, 405);
    }
    for method in ["GET", "PUT", "POST"] {
        let answer = server.send(method, NOBODY, "", b"").await;
        answer.expect(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("PATCH, DELETE, OPTIONS"), "{method}");
    }
    assert_eq!(server.send("HEAD", NOBODY, "", b"").await.status, 405);
}

#[tokio::test]
async fn a_session_is_known_by_its_name_alone() {
    let server = Server::start().await;
    let answer = server.offer("/whip/cam", OBS).await;
    let session = answer.location().to_owned();
    let damaged = format!("{}A", &session[..session.len() - 1]);
    let damaged = if damaged == session { format!("{}B", &session[..session.len() - 1]) } else { damaged };
    let others =
        [NOBODY, "/whip/sessions/x", "/whip/sessions/%FF", "/whip/sessions/cam", "/whip/sessions/default"];
    for path in others.into_iter().chain([damaged.as_str()]) {
        server.send("DELETE", path, "", b"").await.expect(404, "unknown_session");
        // Even a request that is wrong in every other way.
        server.send("PATCH", path, "", b"").await.expect(404, "unknown_session");
    }
    assert_eq!(server.webrtc.sessions().len(), 1, "nobody else's request ended it");
}

#[tokio::test]
async fn requests_about_a_session() {
    let server = Server::start().await;
    let created = server.offer("/whip/cam", OBS).await;
    let (session, etag) = (created.location(), created.etag());
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag} is not a strong tag");
    let current = format!("{FRAGMENT}If-Match: {etag}\r\n");
    let stale = format!("{FRAGMENT}If-Match: \"stale\"\r\n");
    let weak = format!("{FRAGMENT}If-Match: W/{etag}\r\n");
    let malformed = format!("{FRAGMENT}If-Match: stale\r\n");
    let listed = format!("{FRAGMENT}If-Match: \"stale\", {etag}\r\n");
    let any = format!("{FRAGMENT}If-Match: *\r\n");
    let trickle = format!("{PAIR}{CANDIDATE}a=end-of-candidates\r\n");
    let long = format!("a=x:{}\r\n", "y".repeat(200)).repeat(400);
    let crowd: String =
        (0..300).map(|n| format!("a=candidate:{n} 1 udp 1 192.0.2.1 9 typ host\r\n")).collect();
    for (headers, body, status, code) in [
        ("", trickle.as_str(), 415, "unsupported_type"),
        (SDP, &trickle, 415, "unsupported_type"),
        (FRAGMENT, &trickle, 428, "if_match_required"),
        (malformed.as_str(), &trickle, 400, "bad_if_match"),
        (stale.as_str(), &trickle, 412, "etag_mismatch"),
        (weak.as_str(), &trickle, 412, "etag_mismatch"),
        (current.as_str(), "", 400, "empty_body"),
        (current.as_str(), "hello", 400, "malformed_fragment"),
        (current.as_str(), "a=ice-ufrag:Ls0A\r\n", 400, "malformed_fragment"),
        (current.as_str(), "a=candidate:1 1 udp\r\n", 400, "malformed_fragment"),
        (current.as_str(), &crowd, 422, "too_many_candidates"),
        (current.as_str(), &long, 413, "body_too_large"),
        // A restart with half of the credentials kept.
        (any.as_str(), "a=ice-ufrag:New1\r\na=ice-pwd:mYbSbnuQm4wRhG7Kq2fD9a\r\n", 422, "bad_fragment"),
    ] {
        let answer = server.send("PATCH", session, headers, body.as_bytes()).await;
        answer.expect(status, code);
        assert_eq!(answer.header("accept-patch").is_some(), status == 415, "{headers}");
    }
    let without: String = trickle.replace(PAIR, "");
    let nobody_else =
        "m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 tcp 1 x.local 9 typ host tcptype active\r\n";
    for (headers, body) in [
        (&current, trickle.as_str()),
        (&listed, &trickle),
        (&any, &trickle),
        (&current, &without),
        (&current, nobody_else),
    ] {
        let answer = server.send("PATCH", session, headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{headers} {body}: {answer:?}");
        assert_eq!(answer.header("etag"), None, "RFC 9725: no ETag here");
    }

    // Conditions do not matter to the end.
    let answer = server.send("DELETE", session, "If-Match: \"stale\"\r\n", b"").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    server.send("DELETE", session, "", b"").await.expect(404, "unknown_session");
    server.send("PATCH", session, &current, trickle.as_bytes()).await.expect(404, "unknown_session");
    assert!(server.webrtc.sessions().is_empty());
}

#[tokio::test]
async fn too_many_at_once_are_told_when_to_try_again() {
    let mut config = config();
    (config.max_half_open, config.max_sessions) = (2, 64);
    let server = Server::with(WhipConfig::default(), config, Vec::new(), |router| router).await;
    for stream in ["a", "b"] {
        assert_eq!(server.offer(&format!("/whip/{stream}"), OBS).await.status, 201);
    }
    let answer = server.offer("/whip/c", OBS).await;
    answer.expect(503, "too_many_sessions");
    let wait: u64 = answer.header("retry-after").and_then(|v| v.parse().ok()).expect("Retry-After");
    assert!((1..=60).contains(&wait));
    // The caps hold for both kinds of offers.
    let offer = serde_json::json!({"sdp": OBS, "type": "offer", "stream": "c"}).to_string();
    server.send("POST", "/offer", "", offer.as_bytes()).await.expect(503, "too_many_sessions");
    let first = server.offer("/whip/a", OBS).await;
    first.expect(409, "name_taken");
    let wait: u64 = first.header("retry-after").and_then(|v| v.parse().ok()).expect("Retry-After");
    assert!((1..=2).contains(&wait), "the same publisher may come back after 2 s");
}

#[tokio::test]
async fn an_effect_is_chosen_with_the_offer_and_nothing_is_left_if_it_fails() {
    let server = Server::start().await;
    let first = server.offer("/whip/a?effect=blur%7Csepia", OBS).await;
    assert_eq!(first.status, 201, "{first:?}");
    let headers = format!("{SDP}X-Transform-Type: sepia\r\n");
    assert_eq!(server.send("POST", "/whip/b", &headers, OBS.as_bytes()).await.status, 201);
    assert_eq!(
        server.offer("/whip/c?fps=9&x=%20", OBS).await.status,
        201,
        "unknown parameters do not matter"
    );
    let chosen = |stream: &str, chain: &str| (stream.to_owned(), chain.to_owned());
    assert_eq!(*server.chosen.0.lock().expect("lock"), [chosen("a", "blur|sepia"), chosen("b", "sepia")]);

    server.offer("/whip/d?effect=broken", OBS).await.expect(503, "effect_unavailable");
    crate::server::until("the end of the session", || server.webrtc.sessions().len() == 3).await;
    // A stranger's wish does not reach a stream that has a publisher.
    server.offer("/whip/a?effect=sepia", OBS).await.expect(409, "name_taken");
    assert_eq!(server.chosen.0.lock().expect("lock").len(), 2);
}

#[tokio::test]
async fn an_effect_that_is_slow_to_load_does_not_hold_back_the_answer() {
    let server = Server::start().await;
    let began = std::time::Instant::now();
    let mut publisher = Publisher::new(Codec::H264).await;
    let answer = server.offer("/whip?effect=slow", &publisher.offer().await).await;
    assert_eq!(answer.status, 201);
    assert!(began.elapsed() < Duration::from_secs(6), "OBS gives up after 8 s: {:?}", began.elapsed());
}
