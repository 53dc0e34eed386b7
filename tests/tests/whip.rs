//! WHIP as RFC 9725 has it, and the habits of real clients, byte by byte.

use ooblex_tests::http::{self, Response};
use ooblex_tests::problem::expect_problem;
use ooblex_tests::sdp;
use ooblex_tests::server::Server;

const SDP: (&str, &str) = ("Content-Type", "application/sdp");
const FRAGMENT: (&str, &str) = ("Content-Type", "application/trickle-ice-sdpfrag");

#[track_caller]
fn send(server: &Server, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Response {
    http::send(server.addr, method, target, headers, body.as_bytes())
}

/// The items of a list header field, in lower case.
fn list(response: &Response, name: &str) -> Vec<String> {
    let text = response.header(name).unwrap_or_default().to_ascii_lowercase();
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

#[test]
fn a_session_has_an_address_an_answer_and_an_end() {
    let server = Server::start(&[
        "--ice-server",
        "stun:127.0.0.1:3479",
        "--ice-server",
        "stun:127.0.0.1:3480",
        "--ice-server",
        "turn:127.0.0.1:3478?transport=udp,someone,something",
    ]);
    let answer =
        send(&server, "POST", "/whip/cam?effect=sepia&token=0123456789abcdef", &[SDP], &sdp::offer())
            .expect(201);
    assert_eq!(answer.header("Content-Type"), Some("application/sdp"));
    // OBS takes it as a path and clears the query; nobody may guess it.
    let place = answer.header("Location").expect("a place").to_owned();
    assert!(place.starts_with('/') && !place.starts_with("//") && !place.contains('?'), "{place}");
    assert!(place.rsplit('/').next().is_some_and(|name| name.len() >= 22), "{place}");
    assert!(!place.contains("0123456789abcdef"), "{place}");
    let tag = answer.header("ETag").expect("a tag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "strong: {tag}");
    // One line a server: OBS splits at commas. Whoever publishes learns no password that does not end soon.
    let links: Vec<&String> = answer
        .headers
        .0
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("Link"))
        .map(|(_, value)| value)
        .collect();
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(links.iter().all(|link| link.contains("rel=\"ice-server\"")), "{links:?}");
    assert!(links[0].starts_with("<stun:127.0.0.1:3479>"), "{links:?}");
    assert!(links[1].starts_with("<stun:127.0.0.1:3480>"), "{links:?}");
    assert!(!format!("{:?}", answer.headers).contains("something"), "{links:?}");

    // Section by section what was offered, refused or taken, with candidates of the server's own.
    let text = answer.text();
    assert_eq!(text.matches("m=video").count(), 1, "{text}");
    assert!(
        text.contains("a=recvonly") && text.contains("a=candidate:") && text.contains("a=fingerprint:"),
        "{text}"
    );
    assert!(text.contains("a=setup:passive") || text.contains("a=setup:active"), "{text}");
    assert!(!text.contains("a=sendrecv") && text.contains("a=rtcp-mux"), "{text}");

    for method in ["GET", "HEAD", "PUT"] {
        let answer = send(&server, method, &place, &[], "");
        assert!(
            answer.status == 405 || (method != "PUT" && answer.status == 204),
            "{method}: {}",
            answer.status
        );
    }
    // A trickled candidate: only with the tag, only as a fragment.
    let fragment = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef01234567\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
        a=mid:0\r\na=candidate:1 1 UDP 2130706431 127.0.0.1 9 typ host\r\na=end-of-candidates\r\n";
    expect_problem(&send(&server, "PATCH", &place, &[FRAGMENT], fragment), 428);
    expect_problem(&send(&server, "PATCH", &place, &[FRAGMENT, ("If-Match", "\"another\"")], fragment), 412);
    expect_problem(
        &send(&server, "PATCH", &place, &[("Content-Type", "text/plain"), ("If-Match", &tag)], fragment),
        415,
    );
    let broken = send(&server, "PATCH", &place, &[FRAGMENT, ("If-Match", &tag)], "no fragment");
    assert!([400, 422].contains(&broken.status), "{}", broken.status);
    send(&server, "PATCH", &place, &[FRAGMENT, ("If-Match", &tag)], fragment).expect(204);

    // An ICE restart: other credentials, a new tag, and the old one is worth nothing.
    let restart =
        fragment.replace("abcd", "efgh").replace("0123456789abcdef01234567", "76543210fedcba9876543210");
    let answer = send(&server, "PATCH", &place, &[FRAGMENT, ("If-Match", "*")], &restart).expect(200);
    assert_eq!(answer.header("Content-Type"), Some("application/trickle-ice-sdpfrag"));
    let new_tag = answer.header("ETag").expect("a new tag").to_owned();
    assert_ne!(new_tag, tag);
    for attribute in ["a=ice-ufrag:", "a=ice-pwd:", "a=candidate:"] {
        assert!(answer.text().contains(attribute), "{}", answer.text());
        let old = text.lines().find(|line| line.starts_with(attribute)).unwrap();
        assert!(attribute == "a=candidate:" || !answer.text().contains(old), "{attribute} is the old one");
    }
    expect_problem(&send(&server, "PATCH", &place, &[FRAGMENT, ("If-Match", &tag)], fragment), 412);

    send(&server, "DELETE", &place, &[], "").expect(200);
    let gone = send(&server, "DELETE", &place, &[], "");
    assert!([404, 410].contains(&gone.status), "{}", gone.status);
    expect_problem(&send(&server, "PATCH", &place, &[FRAGMENT, ("If-Match", &new_tag)], fragment), 404);
    assert!(!server.log().contains("ice-pwd") && !server.log().contains("something"), "secrets in the log");
}

#[test]
fn the_endpoint_says_what_it_takes() {
    let server = Server::start(&["--cors-origins", "https://studio.example"]);
    for target in ["/whip", "/whip/cam"] {
        let origin = ("Origin", "https://studio.example");
        let asked = [
            origin,
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "authorization,content-type"),
        ];
        let answer = send(&server, "OPTIONS", target, &asked, "");
        assert!([200, 204].contains(&answer.status), "{}", answer.status);
        assert_eq!(list(&answer, "Accept-Post"), ["application/sdp"]);
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("https://studio.example"));
        let methods = list(&answer, "Access-Control-Allow-Methods");
        assert!(methods.iter().any(|allowed| allowed == "post"), "{methods:?}");
        let headers = list(&answer, "Access-Control-Allow-Headers");
        for header in ["authorization", "content-type", "if-match"] {
            assert!(headers.iter().any(|allowed| allowed == header), "{headers:?}");
        }
        let answer = send(&server, "POST", &format!("{target}?effect=none"), &[SDP, origin], &sdp::offer())
            .expect(201);
        let exposed = list(&answer, "Access-Control-Expose-Headers");
        for header in ["location", "link", "etag"] {
            assert!(exposed.iter().any(|shown| shown == header), "{exposed:?}");
        }
        // A browser asks for each address: that of the session takes the others.
        let place = answer.header("Location").unwrap();
        let asked = [
            origin,
            ("Access-Control-Request-Method", "PATCH"),
            ("Access-Control-Request-Headers", "if-match"),
        ];
        let answer = send(&server, "OPTIONS", place, &asked, "");
        assert_eq!(list(&answer, "Accept-Patch"), ["application/trickle-ice-sdpfrag"]);
        let methods = list(&answer, "Access-Control-Allow-Methods");
        for method in ["patch", "delete"] {
            assert!(methods.iter().any(|allowed| allowed == method), "{methods:?}");
        }
        send(&server, "DELETE", place, &[], "").expect(200);
        expect_problem(&send(&server, "POST", target, &[("Content-Type", "text/plain")], &sdp::offer()), 415);
        for method in ["GET", "HEAD", "PUT"] {
            let answer = send(&server, method, target, &[], "");
            assert!(
                answer.status == 405 || (method != "PUT" && answer.status == 204),
                "{method} {target}: {}",
                answer.status
            );
        }
    }
    let unknown = send(&server, "POST", "/whip/cam?effect=no_such_effect", &[SDP], &sdp::offer());
    expect_problem(&unknown, 404);
    expect_problem(&send(&server, "POST", "/whip/no%20name", &[SDP], &sdp::offer()), 400);
    assert!(
        server.stream("cam").is_none_or(|entry| entry["state"] == "ended"),
        "a refused offer makes no stream"
    );
}

#[test]
fn rights_are_asked_for() {
    let (publish, view) = ("publish-0123456789abcdef", "view-0123456789abcdef");
    let server = Server::start(&["--publish-token", publish, "--view-token", view]);
    let bearer = |token: &str| format!("Bearer {token}");
    expect_problem(&send(&server, "POST", "/whip/cam", &[SDP], &sdp::offer()), 401);
    let wrong = bearer("wrong-0123456789abcdef");
    expect_problem(
        &send(&server, "POST", "/whip/cam", &[SDP, ("Authorization", &wrong)], &sdp::offer()),
        401,
    );
    let other = bearer(view);
    expect_problem(
        &send(&server, "POST", "/whip/cam", &[SDP, ("Authorization", &other)], &sdp::offer()),
        403,
    );
    // By header, as OBS does, and in the path, for what knows only an address.
    let right = bearer(publish);
    let answer =
        send(&server, "POST", "/whip/one", &[SDP, ("Authorization", &right)], &sdp::offer()).expect(201);
    let place = answer.header("Location").unwrap().to_owned();
    expect_problem(&send(&server, "DELETE", &place, &[], ""), 401);
    send(&server, "DELETE", &place, &[("Authorization", &right)], "").expect(200);
    let answer = send(&server, "POST", &format!("/t/{publish}/whip/two"), &[SDP], &sdp::offer()).expect(201);
    let place = answer.header("Location").unwrap().to_owned();
    // Relative to the address that the client knows: with the token in front it must lead back.
    assert!(!place.contains('?'), "{place}");
    send(&server, "DELETE", &place, &[("Authorization", &right)], "").expect(200);
    assert!(!server.log().contains(publish) && !server.log().contains(view), "a token in the log");
}
