//! Whole sessions: offer, candidates, pictures, another network, the end.

use std::time::{Duration, Instant};

use crate::publisher::{Codec, Pattern, Publisher, SOON};
use crate::server::{Answer, FRAGMENT, Server, until};

/// The lines of a description that make a fragment.
fn fragment(description: &str, candidates: bool) -> String {
    let first = |name: &str| {
        let found = description.lines().find(|line| line.starts_with(name));
        format!("{}\r\n", found.unwrap_or_else(|| panic!("no {name}")))
    };
    let mut text = first("a=ice-ufrag:") + &first("a=ice-pwd:");
    if candidates {
        text += &format!("m=video 9 RTP/AVP 0\r\n{}", first("a=mid:"));
        for line in description.lines().filter(|line| line.starts_with("a=candidate:")) {
            text += &format!("{line}\r\n");
        }
        text += "a=end-of-candidates\r\n";
    }
    text
}

fn without_candidates(description: &str) -> String {
    let kept = description.split_inclusive('\n');
    kept.filter(|l| !l.starts_with("a=candidate") && !l.starts_with("a=end-of-candidates")).collect()
}

async fn patch(server: &Server, session: &str, condition: &str, fragment: &str) -> Answer {
    let headers = format!("{FRAGMENT}If-Match: {condition}\r\n");
    server.send("PATCH", session, &headers, fragment.as_bytes()).await
}

/// Sends pictures as a camera does, and key frames when asked to, until `count` more have come through.
async fn pictures(
    server: &Server,
    publisher: &mut Publisher,
    pattern: &mut Pattern,
    stream: &str,
    count: usize,
) {
    let (have, began) = (server.sinks.frames(stream), Instant::now());
    let mut asked = publisher.asked();
    while server.sinks.frames(stream) < have + count {
        assert!(began.elapsed() < SOON, "{} pictures came", server.sinks.frames(stream) - have);
        if asked != publisher.asked() {
            asked = publisher.asked();
            pattern.force_keyframe();
        }
        publisher.send(&pattern.unit()).await;
        tokio::time::sleep(Duration::from_millis(33)).await;
    }
}

#[tokio::test]
async fn a_session_from_the_offer_to_the_end() {
    let server = Server::start().await;
    let mut publisher = Publisher::new(Codec::H264).await;
    let offer = publisher.offer().await;
    let created = server.offer("/whip/cam", &without_candidates(&offer)).await;
    let (session, etag) = (created.location().to_owned(), created.etag().to_owned());
    publisher.accept(&created.body).await;
    let trickled = patch(&server, &session, &etag, &fragment(&offer, true)).await;
    assert_eq!((trickled.status, trickled.body.as_str()), (204, ""), "{trickled:?}");
    publisher.connected().await;
    let mut pattern = Pattern::new(320, 240);
    pictures(&server, &mut publisher, &mut pattern, "cam", 10).await;

    // Another network: new credentials, the same session, the pictures go on.
    publisher.connection.restart_ice().await.expect("a restart");
    let offer = publisher.connection.create_offer(None).await.expect("an offer");
    let restart = fragment(&offer.sdp, false);
    assert_ne!(restart, fragment(&created.body, false));
    publisher.connection.set_local_description(offer).await.expect("a local description");
    let restarted = patch(&server, &session, "*", &restart).await;
    assert_eq!(restarted.status, 200, "{restarted:?}");
    assert_eq!(restarted.header("content-type"), Some("application/trickle-ice-sdpfrag"));
    assert_ne!(restarted.etag(), etag, "another ICE session has another tag");
    assert_ne!(fragment(&restarted.body, false), fragment(&created.body, false));
    publisher.accept(&answer_of(&created.body, &restarted.body)).await;
    pictures(&server, &mut publisher, &mut pattern, "cam", 10).await;

    // What was meant for the old ICE session is refused; the new one takes it.
    let late =
        patch(&server, &session, &etag, &fragment(&publisher_description(&publisher).await, true)).await;
    late.expect(412, "etag_mismatch");
    let current = fragment(&publisher_description(&publisher).await, true);
    let more = patch(&server, &session, restarted.etag(), &current).await;
    assert_eq!(more.status, 204, "{more:?}");
    pictures(&server, &mut publisher, &mut pattern, "cam", 10).await;

    let began = Instant::now();
    assert_eq!(server.send("DELETE", &session, "", b"").await.status, 200);
    assert!(server.webrtc.sessions().is_empty());
    let stream = ooblex_core::StreamId::new("cam").expect("a name");
    until("the end of the stream", || {
        server.webrtc.hub().get(&stream).is_none_or(|stream| stream.pipeline().state().is_over())
    })
    .await;
    assert!(began.elapsed().as_secs_f64() < 1.0, "the stream ends at once, not after {:?}", began.elapsed());
}

async fn publisher_description(publisher: &Publisher) -> String {
    publisher.connection.local_description().await.expect("described").sdp
}

/// The first answer with the credentials and candidates of a fragment, as a client makes it.
fn answer_of(answer: &str, fragment: &str) -> String {
    let new = |name: &str| fragment.lines().find(|line| line.starts_with(name)).expect("a line");
    let mut text = String::new();
    for line in without_candidates(answer).lines() {
        let line = ["a=ice-ufrag:", "a=ice-pwd:"].into_iter().find(|n| line.starts_with(n)).map_or(line, new);
        text += &format!("{line}\r\n");
    }
    for line in fragment.lines().filter(|l| l.starts_with("a=candidate:") || *l == "a=end-of-candidates") {
        text += &format!("{line}\r\n");
    }
    text
}

#[tokio::test]
async fn a_restart_that_names_the_present_ice_session_is_one_too() {
    let server = Server::start().await;
    let created = server.offer("/whip", crate::server::OBS).await;
    let new = "a=ice-ufrag:New1\r\na=ice-pwd:anotherPasswordOf22Char\r\n";
    let answer = patch(&server, created.location(), created.etag(), new).await;
    assert_eq!(answer.status, 200, "RFC 9725: other credentials ask for a restart: {answer:?}");
    let again = patch(&server, created.location(), "*", new).await;
    assert_eq!(again.status, 204, "the same credentials once more restart nothing");
}

#[tokio::test]
async fn a_client_that_goes_away_before_its_answer_leaves_nothing() {
    use tokio::io::AsyncWriteExt;
    let server = Server::start().await;
    let offer = crate::server::OBS;
    let mut socket = tokio::net::TcpStream::connect(server.address).await.expect("connected");
    let head = format!(
        "POST /whip?effect=slow HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n{offer}",
        crate::server::SDP,
        offer.len()
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    until("the session", || server.webrtc.sessions().len() == 1).await;
    drop(socket);
    until("its end", || server.webrtc.sessions().is_empty()).await;
}
