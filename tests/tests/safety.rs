//! Safe by default: a server that others can reach asks for tokens, forgets those that are taken back, answers only to
//! its own name, and keeps secrets to itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ooblex_tests::browser::{Browser, installed};
use ooblex_tests::http::{self, Connection, Response};
use ooblex_tests::multipart::Viewer;
use ooblex_tests::netns::{LEFT, Network};
use ooblex_tests::problem::expect_problem;
use ooblex_tests::publisher::{Plan, Publisher};
use ooblex_tests::server::{self, Server};
use ooblex_tests::ws::{Reply, Socket};
use ooblex_tests::{sdp, skip, wait_for};
use serde_json::Value;

use crate::marked;
use crate::page::{click, text};

const PUBLISH: &str = "publish-0123456789abcdef";
const VIEW: &str = "view-0123456789abcdef";
const CONTROL: &str = "control-0123456789abcdef";
const TOKENS: [&str; 6] = ["--publish-token", PUBLISH, "--view-token", VIEW, "--control-token", CONTROL];

fn with(server: &Server, token: &str, method: &str, target: &str, body: &[u8]) -> Response {
    let bearer = format!("Bearer {token}");
    http::send(server.addr, method, target, &[("Authorization", &bearer)], body)
}

/// What a server says at its start, as JSON.
fn announced(server: &Server) -> Value {
    let log = server.log();
    let line = log.lines().find(|line| line.starts_with('{') && line.contains("\"ready\"")).expect("a line");
    serde_json::from_str(line).unwrap()
}

/// A server that others could reach, and what it says.
fn exposed(arguments: &[&str]) -> (Server, Value) {
    let server = Server::start(&[&["--bind", "0.0.0.0", "--announce", "json"], arguments].concat());
    let ready = announced(&server);
    (server, ready)
}

fn made(ready: &Value, kind: &str) -> String {
    ready["tokens"][kind].as_str().unwrap_or_else(|| panic!("no {kind}: {ready}")).to_owned()
}

/// What a template is asked for as.
fn example(path: &str) -> String {
    ["name", "stream", "session"]
        .iter()
        .fold(path.to_owned(), |path, part| path.replace(&format!("{{{part}}}"), "cam"))
        .replace("{kind}", "link")
        .replace("{model}", "blazeface_short_128")
        .replace("{file}", "app.js")
}

#[test]
fn beyond_the_loopback_every_route_asks_for_a_token() {
    let (server, ready) = exposed(&[]);
    assert_eq!((&ready["guarded"], &ready["warnings"]), (&Value::from(true), &serde_json::json!([])));
    let [control, publish, view, link] =
        ["control", "publish", "view", "link"].map(|kind| made(&ready, kind));
    let own = [&control, &publish, &view, &link];
    assert!(own.iter().all(|token| token.len() == 43), "256 bits");
    let document = with(&server, &control, "GET", "/openapi.json", &[]).expect(200).json();
    let mut public = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let (method, target) = (method.to_uppercase(), example(path));
            let asked = if target.ends_with(".mjpg") { "HEAD" } else { &method };
            let bare = http::send(server.addr, asked, &target, &[], &[]).status;
            match operation["x-ooblex-right"].as_str().unwrap() {
                "public" => public.push(path.as_str()),
                _ => assert!(bare == 401 || bare == 404, "{method} {path}: {bare}"),
            }
            let by_link = with(&server, &link, asked, &target, &[]).status;
            match operation["x-ooblex-right"].as_str().unwrap() {
                "publish" | "control" => assert_eq!(by_link, 403, "{method} {path}"),
                _ => assert!(![401, 403].contains(&by_link), "{method} {path}: {by_link}"),
            }
        }
    }
    public.sort_unstable();
    let expected = ["/", "/client.html", "/health", "/page/{file}", "/tunnel/probe/{nonce}/{step}", "/view"];
    assert_eq!(public, expected);
    assert_eq!(server.json("/health"), serde_json::json!({"status": "healthy"}));
    with(&server, &publish, "POST", "/upload?stream=cam", &marked(1, 1)).expect(200);
    assert_eq!(with(&server, &view, "POST", "/upload?stream=cam", &marked(1, 2)).status, 403);
    let url = ready["urls"]["snapshot"].as_str().unwrap();
    let target = &url[url.find("/snapshot").unwrap()..];
    assert!(target.contains(&link), "{target}");
    server.get(target).expect(200);

    let (open, ready) = exposed(&["--open-access"]);
    assert_eq!((&ready["guarded"], &ready["tokens"]["control"]), (&Value::from(false), &Value::Null));
    let warning = ready["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("everybody who reaches 0.0.0.0 can watch, publish and change effects"),
        "{warning}"
    );
    open.json("/status");
}

#[test]
fn a_token_that_is_replaced_ends_what_it_let_in() {
    let server = Server::start(&["--view-token", VIEW, "--control-token", CONTROL]);
    let publisher = Publisher::start(server.addr, "cam", 1, Plan::default());
    wait_for("pictures", || {
        (with(&server, VIEW, "GET", "/streams/cam/snapshot.jpg", &[]).status == 200).then_some(())
    });
    let access = with(&server, CONTROL, "GET", "/access", &[]).expect(200).json();
    let link = access["link"].as_str().unwrap();
    let mut by_view: Vec<Viewer> = [format!("/cam.mjpg?token={VIEW}"), format!("/t/{VIEW}/stream.mjpg")]
        .iter()
        .map(|target| Viewer::open(server.addr, target))
        .collect();
    let mut others: Vec<Viewer> = [format!("/cam.mjpg?token={link}"), format!("/t/{CONTROL}/cam.mjpg")]
        .iter()
        .map(|target| Viewer::open(server.addr, target))
        .collect();
    let mut events = Connection::open(server.addr).unwrap();
    let target = format!("/t/{VIEW}/streams/cam/annotations");
    assert_eq!(events.start("GET", &target, &[("Accept", "text/event-stream")], &[]).unwrap().0, 200);
    by_view.iter_mut().chain(&mut others).for_each(|viewer| drop(viewer.next()));

    let port = server.addr.port().to_string();
    let mut command = server::command();
    command.env("OOBLEX_CONTROL_TOKEN", CONTROL).args(["tokens", "rotate", "view", "--mjpeg-port", &port]);
    let (code, said, error) = server::finish(command);
    assert_eq!(code, 0, "{said}{error}");
    let new = said.lines().find_map(|line| line.strip_prefix("the new view token: ")).expect("the new one");
    assert!(said.contains("3 connections"), "{said}");

    for viewer in &mut by_view {
        assert!(viewer.closed_within(Duration::from_secs(10)), "a viewer of the old token goes on");
    }
    assert_eq!(with(&server, VIEW, "GET", "/status", &[]).status, 401);
    with(&server, new, "GET", "/status", &[]).expect(200);
    for viewer in &mut others {
        (0..30).for_each(|_| drop(viewer.next()));
    }
    publisher.stop();
}

#[test]
fn publishers_end_with_their_token() {
    let server = Server::start(&TOKENS);
    let mut socket = Socket::open(server.addr, &format!("/t/{PUBLISH}/ws/upload?stream=ws")).unwrap();
    socket.send(&marked(1, 1)).unwrap();
    assert!(matches!(socket.reply(), Reply::Json(reply) if reply["type"] == "ack"));
    let offer = sdp::offer();
    let bearer = format!("Bearer {PUBLISH}");
    let headers = [("Content-Type", "application/sdp"), ("Authorization", &*bearer)];
    let answer = http::send(server.addr, "POST", "/whip/rtc", &headers, offer.as_bytes()).expect(201);
    let place = answer.header("Location").unwrap().to_owned();
    let told = with(&server, CONTROL, "POST", "/tokens/publish/revoke", &[]).expect(200).json();
    assert_eq!((&told["token"], &told["sessions"]), (&Value::Null, &Value::from(1)), "{told}");
    expect_problem(&with(&server, CONTROL, "DELETE", &place, &[]), 404);
    wait_for("the socket to end", || socket.send(&marked(1, 3)).is_err().then_some(()));
    assert_eq!(with(&server, PUBLISH, "POST", "/upload", &marked(1, 2)).status, 401);
    let refused = http::send(server.addr, "POST", "/whip/rtc", &headers, offer.as_bytes());
    expect_problem(&refused, 401);
}

#[test]
fn a_name_that_was_rebound_is_not_answered() {
    let server = Server::start(&["--allowed-hosts", "cam.example"]);
    for (host, status) in [("evil.example", 403), ("cam.example", 200), ("localhost", 200)] {
        let mut connection = Connection::open(server.addr).unwrap();
        let request = format!("GET /streams HTTP/1.1\r\nHost: {host}:80\r\nConnection: close\r\n\r\n");
        std::io::Write::write_all(&mut connection.socket(), request.as_bytes()).unwrap();
        assert_eq!(connection.read_head().unwrap().0, status, "{host}");
    }
}

#[test]
fn whoever_comes_from_outside_is_counted() {
    let network = match Network::new() {
        Ok(network) => network,
        Err(reason) => skip!("{reason}"),
    };
    let server = network.left.enter(|| {
        let mut command = server::command();
        let limits = ["--max-requests-per-second", "5", "--max-connections-per-address", "3"];
        command.args(["--mjpeg-port", "8081", "--bind", "0.0.0.0", "--announce", "json"]).args(limits);
        Server::launch(command)
    });
    let control = made(&announced(&server), "control");
    let outside = std::net::SocketAddr::from((LEFT, 8081));
    network.right.enter(|| {
        let bearer = format!("Bearer {control}");
        let ask = || http::send(outside, "GET", "/status", &[("Authorization", &bearer)], &[]);
        let answers: Vec<Response> = (0..40).map(|_| ask()).collect();
        assert_eq!(answers[0].status, 200);
        let refused = answers.iter().find(|answer| answer.status == 429).expect("too many");
        assert!(refused.header("Retry-After").is_some());
        let held: Vec<Connection> = (0..3).map(|_| Connection::open(outside).unwrap()).collect();
        let refused = ask();
        assert_eq!((refused.status, refused.header("Retry-After").is_some()), (429, true));
        drop(held);
    });
    network.left.enter(|| {
        (0..40).for_each(|_| drop(with(&server, &control, "GET", "/status", &[]).expect(200)));
    });
}

/// Secrets for every setting that takes one, each a word of its own.
const CANARIES: [(&str, &str); 6] = [
    ("OOBLEX_PUBLISH_TOKEN", "canary-publish-4f1d9a"),
    ("OOBLEX_VIEW_TOKEN", "canary-view-77c0e2"),
    ("OOBLEX_CONTROL_TOKEN", "canary-control-b3358f"),
    ("OOBLEX_ICE_SERVER", "turn:127.0.0.1:9,canary-user-19ac,canary-credential-55d1"),
    ("OOBLEX_TURN", "coturn:127.0.0.1:9,canary-secret-e07b"),
    ("OOBLEX_MODEL_URL", "https://canary-name-2b:canary-password-90fe@models.example/"),
];

/// Parts that must not be told. Names of users and hosts are no secrets.
const HUSH: [&str; 8] = [
    "canary-publish",
    "canary-view",
    "canary-control",
    "canary-credential",
    "canary-secret",
    "canary-password",
    "canary-wrong",
    "canary-query",
];

#[test]
fn no_secret_is_told() {
    let launch = |arguments: &[&str]| {
        let mut command = server::command();
        for (name, value) in CANARIES.iter().filter(|(name, _)| *name != "OOBLEX_MODEL_URL") {
            command.env(name, value);
        }
        command.args(arguments);
        command
    };
    let common = ["--mjpeg-port", "0", "--model-name", "none", "--log-level", "trace"];
    let server = Server::launch(launch(&common));
    let [publish, view, control] = [0, 1, 2].map(|at| CANARIES[at].1);
    let mut heard = String::new();
    let mut ask = |method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]| {
        let answer = http::send(server.addr, method, target, headers, body);
        let kept: Vec<String> = ["Location", "WWW-Authenticate", "Content-Security-Policy"]
            .iter()
            .filter_map(|name| answer.header(name).map(str::to_owned))
            .collect();
        heard.push_str(&format!(
            "{method}: {} {kept:?} {}\n",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        ));
        answer.status
    };
    for token in [publish, view, control, "canary-wrong-00000000", "short"] {
        let (bearer, cookie) = (format!("Bearer {token}"), format!("ooblex_token={token}"));
        let protocol = format!("ooblex, ooblex.token.{token}");
        for path in [
            "/status",
            "/health",
            "/metrics",
            "/openapi.json",
            "/streams",
            "/effect",
            "/nothing",
            "/ice-servers",
        ] {
            for method in ["GET", "POST"] {
                // The TURN server's long-lived credential would be no secret of pages that may publish.
                ask(method, path, &[("Authorization", &bearer)], b"{\"effect\":\"canary\"}");
                ask(method, path, &[("Cookie", &cookie)], b"nonsense");
                ask(method, path, &[("Sec-WebSocket-Protocol", &protocol)], b"");
                ask(method, &format!("{path}?token={token}"), &[], b"");
            }
            // What a path holds in front comes back in a Location alone, to whoever sent it.
            ask("GET", &format!("/t/{token}{path}"), &[], b"");
        }
        ask("POST", "/upload?stream=cam", &[("Authorization", &bearer)], &marked(1, 1));
        ask(
            "POST",
            "/whip/cam",
            &[("Authorization", &bearer), ("Content-Type", "application/sdp")],
            sdp::offer().as_bytes(),
        );
        ask("GET", "/health?token=canary-query-11112222", &[], b"");
    }
    let argv = std::fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap();
    heard.push_str(&String::from_utf8_lossy(&argv));
    heard.push_str(&server.log());
    for arguments in
        [["--print-config"].as_slice(), &["doctor"], &["tokens", "rotate", "view", "--mjpeg-port", "1"]]
    {
        let mut command = launch(arguments);
        command.env(CANARIES[5].0, CANARIES[5].1);
        let (_, out, error) = server::finish(command);
        heard.push_str(&out);
        heard.push_str(&error);
    }
    // Values that are refused are as secret as those that are taken.
    for (name, wrong) in [
        ("OOBLEX_VIEW_TOKEN", "canary-view with blanks"),
        ("OOBLEX_TURN", "nonsense:127.0.0.1:9,canary-secret"),
        ("OOBLEX_ICE_SERVER", "turn:127.0.0.1:99999,me,canary-credential"),
    ] {
        let mut command = launch(&[]);
        command.env(name, wrong);
        let (code, out, error) = server::finish(command);
        assert_eq!(code, 2, "{name}: {out}{error}");
        heard.push_str(&out);
        heard.push_str(&error);
    }
    assert!(
        server.log().contains("TRACE") || server.log().contains("DEBUG"),
        "there is something to look at"
    );
    for secret in HUSH {
        let found = heard
            .find(secret)
            .map(|at| heard[at.saturating_sub(300)..].chars().take(400).collect::<String>());
        assert_eq!(found, None, "{secret} is told");
    }
}

#[test]
fn the_printed_page_works_and_hides_its_token() {
    let Some(programs) = installed() else { skip!("Chromium or chromedriver is not installed") };
    let (server, ready) = exposed(&[]);
    let [control, publish, link] = ["control", "publish", "link"].map(|kind| made(&ready, kind));
    let stop = Arc::new(AtomicBool::new(false));
    let (publishing, addr) = (Arc::clone(&stop), server.addr);
    let publisher = std::thread::spawn(move || {
        let bearer = format!("Bearer {publish}");
        for counter in 0.. {
            if publishing.load(Ordering::Relaxed) {
                break;
            }
            http::send(
                addr,
                "POST",
                "/upload?stream=cam",
                &[("Authorization", &bearer)],
                &marked(1, counter),
            )
            .expect(200);
            std::thread::sleep(Duration::from_millis(60));
        }
    });
    let browser = Browser::start(programs, None);
    let page = ready["urls"]["page"].as_str().unwrap();
    assert!(page.ends_with(&format!("/t/{control}/")), "{page}");
    browser.devtools("Page.navigate", &serde_json::json!({ "url": format!("{page}?transport=http") }));
    wait_for("the address without a token", || {
        (browser.run("return location.pathname + location.search") == "/?transport=http").then_some(())
    });
    wait_for("a picture by the tag's address", || {
        let source = browser.run("return document.querySelector('#figure img')?.src ?? ''");
        source.as_str().filter(|source| source.contains("stream.mjpg?token=tag.")).map(drop)
    });
    click(&browser, "#gallery [data-effect=sepia]");
    wait_for("the effect", || {
        let streams = with(&server, &control, "GET", "/streams", &[]).expect(200).json();
        (streams[0]["effect"] == "sepia").then_some(())
    });
    let shared = browser.run("return document.querySelector('#share-link').value");
    assert!(shared.as_str().unwrap().contains(&format!("/t/{link}/view")), "{shared}");
    let shown = browser.run(
        "return document.documentElement.outerHTML + [...document.querySelectorAll('input')].map((i) => i.value) + location.href",
    );
    assert!(!shown.as_str().unwrap().contains(&control), "the control token is shown");
    // The cookie has taken its place.
    browser.run("location.reload()");
    wait_for("live again", || Some(()).filter(|()| text(&browser, "#connection").contains("live")));
    assert_eq!(browser.complaints(), Vec::<String>::new());

    // The link shows the picture and nothing to change it, also beside the operator's own page.
    browser.open(shared.as_str().unwrap());
    wait_for("the viewers' page", || Some(()).filter(|()| text(&browser, "#connection").contains("live")));
    assert!(browser.run("return location.pathname").as_str().unwrap().contains(&link));
    browser.open(ready["urls"]["base"].as_str().unwrap());
    click(&browser, "#gallery [data-effect=grayscale]");
    wait_for("the operator's rights", || {
        let streams = with(&server, &control, "GET", "/streams", &[]).expect(200).json();
        (streams[0]["effect"] == "grayscale").then_some(())
    });
    assert_eq!(browser.complaints(), Vec::<String>::new());
    stop.store(true, Ordering::Relaxed);
    publisher.join().unwrap();
}
