//! What encoders in the field do, whatever the standard says.

use std::time::{Duration, Instant};

use axum::Router;
use ooblex_ingest::ice::IceServer;
use ooblex_ingest::whip::WhipConfig;

use crate::publisher::{Codec, Pattern, Publisher};
use crate::server::{OBS, SDP, Server, config, until};

/// OBS up to version 32 offers no candidates and never trickles: it is found by its checks alone.
#[tokio::test]
async fn an_offer_without_candidates_connects() {
    let server = Server::start().await;
    let mut publisher = Publisher::new(Codec::H264).await;
    let offer = publisher.offer().await;
    let bare: String = offer
        .split_inclusive('\n')
        .filter(|l| !l.starts_with("a=candidate") && !l.starts_with("a=end-of-candidates"))
        .collect();
    assert!(bare.len() < offer.len());
    let answer = server.offer("/whip", &bare).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(answer.body.contains("a=candidate:"), "the server's own candidates are in the answer");
    publisher.accept(&answer.body).await;
    publisher.connected().await;
    publisher.send(&Pattern::new(320, 240).unit()).await;
    until("a picture", || server.sinks.frames("default") > 0).await;
}

/// OBS takes 201 alone, with a body, and a `Location` from which it clears the query; it wants 200 for its `DELETE`.
#[tokio::test]
async fn the_location_is_a_path_without_a_query() {
    let server = Server::start().await;
    let bearer = format!("{SDP}Authorization: Bearer verysecret\r\n");
    let answer = server.send("POST", "/whip/cam?token=verysecret&effect=blur", &bearer, OBS.as_bytes()).await;
    let location = answer.location();
    let name = location.strip_prefix("/whip/sessions/").expect("an absolute path on the same origin");
    assert!(name.len() >= 22, "at least 128 bits: {name}");
    assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{name}");
    assert!(!format!("{answer:?}").contains("verysecret"), "no token in the answer");
    assert_eq!(answer.header("content-type"), Some("application/sdp"));
    assert!(answer.body.starts_with("v=0\r\n") && answer.header("etag").is_some());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        server.send("DELETE", location, "Authorization: Bearer verysecret\r\n", b"").await.status,
        200
    );
}

/// The answer keeps OBS's media ids, receives only, and takes the audio (OBS and others stumble over a refused one).
#[tokio::test]
async fn every_section_is_answered_and_nothing_is_refused() {
    let server = Server::start().await;
    let answer = server.offer("/whip", OBS).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let sections: Vec<&str> = answer.body.split("\r\nm=").skip(1).collect();
    assert_eq!(sections.len(), 2);
    for (section, kind, mid, codec) in
        [(sections[0], "audio ", "0", "opus/48000/2"), (sections[1], "video ", "1", "H264/90000")]
    {
        assert!(section.starts_with(kind) && !section.starts_with(&format!("{kind}0 ")), "{section}");
        for line in [&format!("a=mid:{mid}"), "a=recvonly", "a=rtcp-mux"] {
            assert!(section.lines().any(|l| l == line), "{line} is not in {section}");
        }
        assert!(section.contains(codec), "{section}");
    }
    assert!(!answer.body.contains("a=setup:actpass"));
}

/// OBS announces constrained baseline whatever it sends; others announce what they send.
#[tokio::test]
async fn every_announced_profile_and_both_packetization_modes_are_taken() {
    let server = Server::start().await;
    let announced = "profile-level-id=42e01f;packetization-mode=1";
    for (n, fmtp) in [
        "profile-level-id=640c1f;packetization-mode=1",
        "profile-level-id=64001f;packetization-mode=1",
        "profile-level-id=4d001f;packetization-mode=1",
        "profile-level-id=42001f;packetization-mode=0",
        "profile-level-id=42e034;packetization-mode=1",
        "packetization-mode=1",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = server.offer(&format!("/whip/s{n}"), &OBS.replace(announced, fmtp)).await;
        assert_eq!(answer.status, 201, "{fmtp}: {answer:?}");
        assert!(answer.body.contains("H264/90000"), "{fmtp}: {}", answer.body);
    }
}

/// HEVC is a setting in OBS; the text tells its user what to choose instead.
#[tokio::test]
async fn hevc_alone_is_refused_with_a_text_that_helps() {
    let server = Server::start().await;
    let problem = server.offer("/whip", &OBS.replace("H264/90000", "H265/90000")).await.problem();
    let detail = problem["detail"].as_str().expect("a text");
    assert_eq!(problem["status"], 422);
    assert!(detail.contains("H265") && detail.contains("H264"), "{detail}");
}

/// OBS gives up after 8 s, so servers that do not answer must not hold back the answer.
#[tokio::test]
async fn dead_ice_servers_do_not_delay_the_answer() {
    let dead = ["stun:127.0.0.1:9", "turn:127.0.0.1:9?transport=udp,user,secret"];
    let ice = dead.map(|s| s.parse::<IceServer>().expect("a server")).to_vec();
    let server = Server::with(WhipConfig::default(), config(), ice, |router| router).await;
    let began = Instant::now();
    let answer = server.offer("/whip", OBS).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

/// OBS reads `Link` by cutting it at `,` and `;` and looks for `<stun:` and `<turn:` at the very beginning.
#[tokio::test]
async fn links_are_one_field_each_and_plain() {
    let ice = [
        "stun:stun.example:3478",
        "turn:turn.example:3478?transport=udp,1735689600:me,aB+/9=",
        "turns:turn.example:5349?transport=tcp,1735689600:me,aB+/9=",
        "turn:own.example:3478,private,for-the-server-alone",
    ];
    let ice = ice.map(|s| s.parse::<IceServer>().expect("a server")).to_vec();
    let mut config = config();
    config.gather_timeout = Duration::from_millis(50);
    let server = Server::with(WhipConfig::default(), config, ice, |router| router).await;
    let answer = server.offer("/whip", OBS).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let links = answer.all("link");
    assert_eq!(links.len(), 3, "credentials of long life are not for publishers");
    for (link, url) in links.iter().zip(["<stun:stun", "<turn:turn", "<turns:turn"]) {
        assert!(link.starts_with(url) && !link.contains(','), "{link}");
        assert_eq!(link.split(';').nth(1), Some(" rel=\"ice-server\""));
    }
    let secret = "; username=\"1735689600:me\"; credential=\"aB+/9=\"; credential-type=\"password\"";
    assert!(!links[0].contains("username") && links[1].ends_with(secret) && links[2].ends_with(secret));
}

/// A router inside another one says where its sessions are from outside.
#[tokio::test]
async fn the_location_is_right_behind_a_prefix() {
    let nest = |router| Router::new().nest("/studio/in", router);
    let server = Server::with(WhipConfig::default(), config(), Vec::new(), nest).await;
    let answer = server.offer("/studio/in/whip/cam", OBS).await;
    let location = answer.location();
    assert!(location.starts_with("/studio/in/whip/sessions/"), "{location}");
    assert_eq!(server.send("DELETE", location, "", b"").await.status, 200);
}
