//! Secrets of the server, looked for where a tunnel's program and whoever comes through it could find them.

use ooblex_tests::http::{self, Response};
use ooblex_tests::server::Server;
use ooblex_tests::{sdp, wait_for};
use serde_json::Value;

use crate::tunnels::{CONTROL, PUBLISH, VIEW, children, launch, stand_in, tunnel_of, wait_for_tunnel};

/// The tokens of tunnels: the first is nobody's business here, the second that of cloudflared alone.
const NGROK: &str = "2canaryNgrok_5b1e7f90aa";
const CLOUDFLARED: &str = "eyJhIjoiY2FuYXJ5LTM3ZDEifQ";
/// What else there is, as variables, and the part that must not be told.
const OTHERS: [(&str, &str, &str); 3] = [
    ("OOBLEX_ICE_SERVER", "turn:127.0.0.1:9,me,canary-credential-91", "canary-credential-91"),
    ("OOBLEX_TURN", "coturn:127.0.0.1:9,canary-secret-4c", "canary-secret-4c"),
    ("OOBLEX_NGROK_AUTH_TOKEN", NGROK, NGROK),
];

/// Every secret but the token of cloudflared.
fn secrets() -> Vec<&'static str> {
    OTHERS.iter().map(|(_, _, secret)| *secret).chain([CONTROL, PUBLISH, VIEW]).collect()
}

#[track_caller]
fn assert_untold(place: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!text.contains(secret), "{place} tells {secret}: {text}");
    }
}

/// The arguments and the variables of a process.
fn given_to(pid: u32) -> [String; 2] {
    ["cmdline", "environ"].map(|file| {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap();
        String::from_utf8_lossy(&bytes).replace('\0', "\n")
    })
}

/// What a server says at every turn: its log, its state, and each answer with all its headers.
fn said(server: &Server) -> String {
    let mut said = server.log();
    for path in ["/status", "/health", "/metrics", "/ice-servers", "/access", "/openapi.json"] {
        let bearer = format!("Bearer {CONTROL}");
        let answer = http::send(server.addr, "GET", path, &[("Authorization", &bearer)], &[]).expect(200);
        said.push_str(&format!("{path}: {:?} {}\n", answer.headers, answer.text()));
    }
    said
}

#[test]
fn the_program_of_a_tunnel_gets_no_secret_but_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let program = format!("--cloudflared-program={}", stand_in(folder.path()).display());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let named = [format!("--tunnel-port={port}"), "--tunnel-url=https://live.example.org".to_owned()];
    let named: Vec<&str> = named.iter().map(String::as_str).collect();
    let others = OTHERS.map(|(name, value, _)| (name, value));
    let variables = [&others[..], &[("NGROK_AUTH_TOKEN", NGROK), ("KEPT", "kept")]].concat();
    let with_token = [&variables[..], &[("OOBLEX_CLOUDFLARED_TOKEN", CLOUDFLARED)]].concat();
    for (settings, variables, own) in
        [(&[][..], &variables, None), (&named, &with_token, Some(format!("TUNNEL_TOKEN={CLOUDFLARED}")))]
    {
        let base = ["--tunnel=cloudflared", &program, "--log-level=trace"];
        let server = launch(folder.path(), &[&base[..], settings].concat(), variables);
        wait_for_tunnel(&server, "the tunnel", |tunnel| tunnel["state"] == "up");
        let [child] = children(server.pid())[..] else { panic!("{:?}", children(server.pid())) };
        let [arguments, environment] = given_to(child);
        assert_untold("its arguments", &arguments, &[&secrets()[..], &[CLOUDFLARED]].concat());
        assert_untold("its environment", &environment, &secrets());
        assert!(!environment.contains("OOBLEX_"), "{environment}");
        assert!(environment.lines().any(|line| line == "KEPT=kept"), "what is not ours stays: {environment}");
        let tokens: Vec<&str> = environment.lines().filter(|line| line.contains(CLOUDFLARED)).collect();
        assert_eq!(tokens, Vec::from_iter(own.as_deref()));

        // It repeats what it knows, and ends.
        let runs = std::fs::read_to_string(folder.path().join("arguments")).unwrap().lines().count();
        std::fs::write(folder.path().join(format!("end-{runs}")), "").unwrap();
        wait_for_tunnel(&server, "its end", |tunnel| tunnel["opened"].as_u64() > Some(1));
        wait_for("the line", || server.log().contains("Unable to reach the origin").then_some(()));
        let told = said(&server) + &tunnel_of(&server).to_string();
        assert!(told.contains("TRACE") || told.contains("DEBUG"), "there is something to look at");
        assert_untold("the server", &told, &[&secrets()[..], &[CLOUDFLARED]].concat());
    }
}

/// The header fields of an answer in which a text stands.
fn fields_with(answer: &Response, text: &str) -> Vec<String> {
    let fields = answer.headers.0.iter().filter(|(_, value)| value.contains(text));
    fields.map(|(name, _)| name.to_ascii_lowercase()).collect()
}

#[test]
fn a_token_comes_back_in_two_headers_alone_and_to_its_owner() {
    let server =
        Server::start(&["--publish-token", PUBLISH, "--view-token", VIEW, "--control-token", CONTROL]);
    let ask = |method: &str, target: &str, body: &[u8]| {
        http::send(server.addr, method, target, &[("Content-Type", "application/sdp")], body)
    };
    let offer = sdp::offer();
    for (method, target, body, fields) in [
        ("GET", "", &[][..], &["location"][..]),
        ("GET", "/", &[], &["set-cookie"]),
        ("GET", "/view", &[], &["set-cookie"]),
        ("GET", "/client.html", &[], &[]),
        ("GET", "/page/app.js", &[], &[]),
        ("GET", "/status", &[], &[]),
        ("GET", "/nothing", &[], &[]),
        ("GET", "/openapi.json", &[], &[]),
        ("POST", "/whip/cam", offer.as_bytes(), &["location"]),
    ] {
        let answer = ask(method, &format!("/t/{CONTROL}{target}"), body);
        assert_eq!(fields_with(&answer, CONTROL), fields, "{method} {target}: {:?}", answer.headers);
        assert!(!String::from_utf8_lossy(&answer.body).contains(CONTROL), "{method} {target}");
        for other in [PUBLISH, VIEW] {
            assert_eq!(fields_with(&answer, other), [""; 0], "{method} {target}");
        }
    }
    // A token that is none is kept by no browser.
    let answer = ask("GET", "/t/wrong-0123456789abcdef/", &[]);
    assert_eq!(fields_with(&answer, "wrong-"), [""; 0], "{:?}", answer.headers);
    // Of those who may watch, the link's is told, and a tag that ends soon.
    let bearer = format!("Bearer {VIEW}");
    let access = http::send(server.addr, "GET", "/access", &[("Authorization", &bearer)], &[]).expect(200);
    assert_untold("/access", access.text(), &[CONTROL, PUBLISH, VIEW]);
    assert!(matches!(&access.json()["link"], Value::String(link) if !link.is_empty()));
}
