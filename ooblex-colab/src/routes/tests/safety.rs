use super::*;
use crate::arrival::Arrival;

/// What anybody may ask for: files that are the same on every server, and whether it is alive.
const PUBLIC: [&str; 6] =
    ["/", "/view", "/client.html", "/page/{file}", "/health", "/tunnel/probe/{nonce}/{step}"];

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn with(site: &Site, token: &str, method: &str, path: &str) -> (u16, Value) {
    read(site.ask(method, path, &[("authorization", &bearer(token))], "").await).await
}

#[test]
fn what_is_public_is_listed_here() {
    let public: Vec<&str> = ROUTES.iter().filter(|r| r.right == Right::Public).map(|r| r.path).collect();
    assert_eq!(public, PUBLIC);
}

#[test]
fn what_changes_something_is_listed_here() {
    // None of them writes a setting or a file, or runs a program.
    let changes: Vec<(&str, &str, &str)> = ROUTES
        .iter()
        .filter(|r| r.method != "GET" || !matches!(r.right, Right::Public | Right::View))
        .map(|r| (r.right.as_str(), r.method, r.path))
        .collect();
    assert_eq!(
        changes,
        [
            ("publish", "POST", "/upload"),
            ("publish", "POST", "/upload_frame"),
            ("publish", "POST", "/frame"),
            ("publish", "GET", "/ws/upload"),
            ("publish", "GET", "/ws/live"),
            ("publish", "POST", "/whip"),
            ("publish", "POST", "/whip/{stream}"),
            ("publish", "PATCH", "/whip/sessions/{session}"),
            ("publish", "DELETE", "/whip/sessions/{session}"),
            ("view", "POST", "/whep"),
            ("view", "POST", "/whep/{stream}"),
            ("view", "PATCH", "/whep/sessions/{session}"),
            ("view", "DELETE", "/whep/sessions/{session}"),
            ("publish", "POST", "/webrtc/offer"),
            ("publish", "POST", "/offer"),
            ("publish", "GET", "/ice-servers"),
            ("control", "POST", "/effect"),
            ("control", "POST", "/streams/{name}/effect"),
            ("control", "GET", "/set_effect/{name}"),
            ("control", "POST", "/models/{model}/load"),
            ("control", "POST", "/models/{model}/unload"),
            ("control", "POST", "/tokens/{kind}/rotate"),
            ("control", "POST", "/tokens/{kind}/revoke"),
        ]
    );
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let site = guarded_site();
    let mut asked = 0;
    for route in ROUTES {
        let (method, path) = example(route);
        for (method, path, token) in [
            (method, path.as_str(), CONTROL),
            (method, path.as_str(), "wrong-wrong-wrong-1"),
            ("OPTIONS", path.as_str(), CONTROL),
            ("PUT", path.as_str(), CONTROL),
            ("GET", "/nothing/at/all", CONTROL),
        ] {
            asked += 1u32;
            let headers = [("authorization", &*bearer(token)), ("x-forwarded-proto", "https")];
            let from = (0x0a00_0000 + asked).to_be_bytes();
            let response = site.ask_from(from, method, path, &headers).await;
            let headers = response.headers();
            let text = |name: &str| {
                let value = headers.get(name).unwrap_or_else(|| panic!("{method} {path} has no {name}"));
                value.to_str().expect("text").to_owned()
            };
            assert_eq!(text("x-content-type-options"), "nosniff");
            assert_eq!(text("referrer-policy"), "no-referrer");
            assert_eq!(text("cross-origin-opener-policy"), "same-origin");
            let policy = text("content-security-policy");
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            assert!(policy.contains("frame-ancestors 'self'"), "{policy}");
            assert!(headers.get("access-control-allow-origin").is_none(), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn other_names_are_not_answered() {
    let site = site();
    for (host, status) in [("evil.example", 403), ("localhost:8081", 200), ("192.0.2.1:8081", 200)] {
        for path in ["/", "/health", "/status"] {
            let response = site.ask("GET", path, &[("host", host)], "").await;
            assert_eq!(response.status().as_u16(), status, "{host} {path}");
        }
    }
    let named = site_with(&["--allowed-hosts", "cam.example"]);
    assert_eq!(named.ask("GET", "/status", &[("host", "cam.example")], "").await.status(), 200);
}

#[tokio::test]
async fn links_and_tags_let_watch_and_nothing_else() {
    let site = guarded_site();
    let (_, access) = with(&site, CONTROL, "GET", "/access").await;
    assert_eq!(access["rights"], json!(["view", "publish", "control"]));
    assert_eq!((&access["guarded"], &access["tag"]["expires_s"]), (&json!(true), &json!(600)));
    let token = |value: &Value| value.as_str().expect("a token").to_owned();
    let (link, tag) = (token(&access["link"]), token(&access["tag"]["token"]));
    for weak in [&link, &tag] {
        for route in ROUTES.iter().filter(|r| matches!(r.right, Right::Publish | Right::Control)) {
            let (method, path) = example(route);
            assert_eq!(with(&site, weak, method, &path).await.0, 403, "{method} {path}");
        }
        assert_eq!(with(&site, weak, "GET", "/status").await.0, 200);
        assert_eq!(site.ask("GET", &format!("/streams?token={weak}"), &[], "").await.status(), 200);
        let (_, access) = with(&site, weak, "GET", "/access").await;
        assert_eq!(access["rights"], json!(["view"]));
        // What ends soon gets nothing that lasts, nor another one.
        assert_eq!(access["link"].is_null(), weak == &tag);
        assert_eq!(access["tag"].is_null(), weak == &tag);
    }
    let (_, access) = with(&site, VIEW, "GET", "/access").await;
    assert_eq!((&access["rights"], token(&access["link"])), (&json!(["view"]), link));
    assert_eq!(with(&site, PUBLISH, "GET", "/access").await.0, 403);
    let open = site_with(&[]).get("/access").await;
    assert_eq!((&open["guarded"], &open["link"], &open["tag"]), (&json!(false), &Value::Null, &Value::Null));
}

#[tokio::test]
async fn tokens_are_replaced_and_taken_back() {
    let site = guarded_site();
    let tag_of = async |token: &str| {
        let (_, access) = with(&site, token, "GET", "/access").await;
        access["tag"]["token"].as_str().expect("a tag").to_owned()
    };
    let status = async |token: &str| with(&site, token, "GET", "/status").await.0;
    let (of_view, of_control) = (tag_of(VIEW).await, tag_of(CONTROL).await);
    for token in [VIEW, PUBLISH] {
        assert_eq!(with(&site, token, "POST", "/tokens/view/rotate").await.0, 403);
    }
    let (code, answer) = with(&site, CONTROL, "POST", "/tokens/view/rotate").await;
    let new = answer["token"].as_str().expect("a token").to_owned();
    assert_eq!((code, new.len()), (200, 43));
    assert_eq!((status(VIEW).await, status(&of_view).await), (401, 401), "the old one and its tag");
    assert_eq!((status(&new).await, status(&of_control).await), (200, 200));
    assert_eq!(with(&site, CONTROL, "POST", "/tokens/view/revoke").await.0, 200);
    assert_eq!(status(&new).await, 401);
    assert_eq!(site.ask("GET", "/status", &[], "").await.status(), 401, "the right stays guarded");
    let (_, answer) = with(&site, CONTROL, "POST", "/tokens/link/revoke").await;
    assert_eq!(answer["token"], Value::Null);
    assert_eq!(with(&site, CONTROL, "GET", "/access").await.1["link"], Value::Null);
    let (_, answer) = with(&site, CONTROL, "POST", "/tokens/link/rotate").await;
    assert_eq!(status(answer["token"].as_str().expect("a token")).await, 200);
    assert_eq!(with(&site, CONTROL, "POST", "/tokens/control/revoke").await.1["code"], "control_needed");
    let (_, answer) = with(&site, CONTROL, "POST", "/tokens/control/rotate").await;
    assert_eq!(with(&site, CONTROL, "POST", "/effect").await.0, 401);
    let control = answer["token"].as_str().expect("a token");
    let (code, answer) = with(&site, control, "POST", "/tokens/other/rotate").await;
    assert_eq!((code, &answer["known"]), (404, &json!(["control", "publish", "view", "link"])));
    let half = site_with(&["--control-token", CONTROL]);
    assert_eq!(with(&half, CONTROL, "POST", "/tokens/view/rotate").await.1["code"], "no_such_token");
}

#[tokio::test]
async fn who_asks_too_much_waits_and_others_do_not() {
    let site = site_with(&["--max-requests-per-second", "5"]);
    let from = async |ip: [u8; 4]| site.ask_from(ip, "GET", "/status", &[]).await;
    let mut statuses = Vec::new();
    for _ in 0..30 {
        statuses.push(from([192, 0, 2, 1]).await.status().as_u16());
    }
    assert_eq!(statuses[..10], [200; 10]);
    assert!(statuses[10..].contains(&429), "{statuses:?}");
    let refused = from([192, 0, 2, 1]).await;
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(from([192, 0, 2, 2]).await.status(), 200);
    for _ in 0..30 {
        assert_eq!(from([127, 0, 0, 1]).await.status(), 200);
    }
}

#[tokio::test]
async fn behind_a_tunnel_everybody_has_an_address_of_their_own() {
    let site = site_with(&["--max-requests-per-second", "5"]);
    let from = async |forwarded: &str| {
        let mut request = Request::builder().uri("/status").header("x-forwarded-for", forwarded);
        let extensions = request.extensions_mut().expect("good so far");
        extensions.insert(ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 5))));
        extensions.insert(Arrival::Tunnel);
        let request = request.body(Body::empty()).expect("a request");
        Service::call(&mut site.router.clone(), request).await.expect("answers").status().as_u16()
    };
    let mut statuses = Vec::new();
    for n in 0..30 {
        // What a client puts before its own address does not count.
        statuses.push(from(&format!("198.51.100.{n}, 192.0.2.1")).await);
    }
    assert_eq!(statuses[..10], [200; 10]);
    assert!(statuses[10..].contains(&429), "{statuses:?}");
    assert_eq!(from("192.0.2.1, 192.0.2.2").await, 200);
}
