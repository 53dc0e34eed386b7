use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use http::Request;
use ooblex_core::Registry;
use ooblex_core::hub::HubConfig;
use ooblex_ingest::picture::PictureLimits;
use ooblex_live::{LiveConfig, LiveHub};
use ooblex_mjpeg::MjpegConfig;
use serde_json::{Value, json};

use super::*;
use crate::access::{COOKIE, Rights};
use crate::cli::Arguments;
use crate::config::load;
use crate::graph::Graph;

mod findings;
mod models;
mod safety;

/// A server without sockets.
struct Site {
    router: Router,
    app: AppState,
}

/// Pictures pass as they are unless a flag says otherwise.
fn site_with(flags: &[&str]) -> Site {
    let (mut registry, models) = (Registry::new(), Models::default());
    ooblex_models::register_with(&mut registry, &models);
    let flags: Vec<&str> = ["--model-name", "none"].iter().chain(flags).copied().collect();
    site_of(&flags, registry, models)
}

fn site_of(flags: &[&str], registry: Registry, models: Models) -> Site {
    let list = std::iter::once("--no-config").chain(flags.iter().copied()).map(Into::into);
    let arguments = Arguments::parse(list).expect("good flags");
    let config = load(&arguments, []).expect("a good configuration").config;
    // Tests that bring models have configured them already.
    drop(models.configure(crate::models::models_config(&config)));
    let effects = EffectControl::new(registry, &config.model_name).expect("a good effect");
    let mjpeg = MjpegHub::new(MjpegConfig::default()).expect("starts");
    let annotations = AnnotationHub::default();
    let graph = Graph {
        effects: effects.clone(),
        mjpeg: mjpeg.clone(),
        live: LiveHub::new(LiveConfig::default()),
        annotations,
    };
    let hub = Hub::new(HubConfig::default(), graph.clone());
    let ingest = ooblex_ingest::http::router(hub.clone(), PictureLimits::default());
    let watching = ooblex_mjpeg::router(hub.clone(), mjpeg.clone());
    let publishers = Publishers::new(&config, &hub, &effects, &graph.live);
    let keeper = std::sync::Arc::new(crate::checkpoint::Keeper::new(Default::default(), Default::default()));
    let app = AppState::new(config, hub, graph, models, publishers, ConnectionLimits::default(), keeper);
    Site { router: router(app.clone(), ingest, watching), app }
}

fn site() -> Site {
    site_with(&[])
}

impl Site {
    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).expect("a good request");
        Service::call(&mut self.router.clone(), request).await.expect("answers")
    }

    /// The same from an address.
    async fn ask_from(&self, from: [u8; 4], method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).expect("a good request");
        request.extensions_mut().insert(ConnectInfo(std::net::SocketAddr::from((from, 5))));
        Service::call(&mut self.router.clone(), request).await.expect("answers")
    }

    async fn json(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        read(self.ask(method, path, &[], body.to_owned()).await).await
    }

    async fn get(&self, path: &str) -> Value {
        let (status, value) = self.json("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// A request that must fail, with a problem document that agrees with the status.
    async fn problem(&self, method: &str, path: &str, body: &str, status: u16, code: &str) -> Value {
        let response = self.ask(method, path, &[], body.to_owned()).await;
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{method} {path} {body}");
        let (found, problem) = read(response).await;
        assert_eq!(
            (found, problem["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {body}: {problem}"
        );
        assert_eq!((&problem["type"], &problem["status"]), (&json!("about:blank"), &json!(status)));
        assert!(problem["title"].is_string());
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(!detail.is_empty() && !detail.ends_with('.'), "{detail}");
        problem
    }
}

async fn read(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 24).await.expect("a body");
    let value =
        serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into());
    (status, value)
}

fn id(name: &str) -> ooblex_core::StreamId {
    ooblex_core::StreamId::new(name).expect("a good name")
}

#[tokio::test]
async fn what_is_described_is_served_and_what_is_served_is_described() {
    let site = site();
    let document = site.get("/openapi.json").await;
    let paths = document["paths"].as_object().expect("paths");
    let described: Vec<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().expect("methods").keys().map(move |m| (m.to_uppercase(), path.clone()))
        })
        .collect();
    let served: Vec<(String, String)> =
        ROUTES.iter().map(|r| (r.method.to_owned(), r.path.to_owned())).collect();
    assert_eq!(described.len(), served.len());
    assert!(served.iter().all(|s| described.contains(s)));
    site.app.hub().publish(&id("cam"), "upload").expect("begins");
    for (method, path) in described {
        let route = ROUTES.iter().find(|r| r.method == method && r.path == path).expect("in the table");
        let (asked, path) = example(route);
        let (status, answer) = read(site.ask(asked, &path, &[], "").await).await;
        let absent =
            status == 404 && (answer["code"] == "unknown_session" || answer["code"] == "unknown_probe");
        assert!(absent || ![404, 405, 500].contains(&status), "{method} {path}: {status}");
        for other in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let found = table::find(&path).expect("in the table");
            if found.methods.iter().all(|(m, _)| *m != other) {
                let response = site.ask(other, &path, &[], "").await;
                assert_eq!(response.status(), 405, "{other} {path}");
                assert_eq!(response.headers()["allow"].to_str().expect("text"), found.allow());
                let (_, problem) = read(response).await;
                assert_eq!(problem["code"], "method_not_allowed");
            }
        }
    }
}

#[tokio::test]
async fn unknown_routes_are_problems_with_a_hint() {
    let site = site();
    let problem = site.problem("GET", "/heath", "", 404, "unknown_route").await;
    assert!(problem["detail"].as_str().expect("text").contains("did you mean /health?"), "{problem}");
    for path in ["/nothing", "/streams/", "/a/b/c", "/page/../secret", "/.mjpg"] {
        site.problem("GET", path, "", 404, "unknown_route").await;
        site.problem("POST", path, "", 404, "unknown_route").await;
    }
}

#[tokio::test]
async fn effects_are_listed_in_both_forms() {
    let site = site();
    let short = site.get("/effects").await;
    let full = site.get("/effects?detail=full").await;
    let full = full.as_array().expect("an array");
    assert_eq!(short.as_object().expect("an object").len(), full.len());
    let edges = full.iter().find(|e| e["name"] == "edge_detection").expect("edges");
    assert_eq!(short["edge_detection"], edges["description"]);
    assert!(edges["aliases"].as_array().expect("aliases").contains(&json!("EdgeOn")));
    let low =
        edges["parameters"].as_array().expect("parameters").iter().find(|p| p["name"] == "low").expect("low");
    for key in ["type", "min", "max", "default", "unit"] {
        assert!(low.get(key).is_some(), "{low} has no {key}");
    }
    let figure = |name: &str| full.iter().find(|e| e["name"] == name).expect("a detector")["figure"].clone();
    assert_eq!(figure("edge_detection"), json!(null));
    let pose = figure("pose_detection");
    assert_eq!((&pose["lines"][0], &pose["points"]), (&json!([0, 1]), &json!(true)));
    let lines = |name: &str| figure(name)["lines"].as_array().map(Vec::len);
    assert_eq!(["pose_detection", "face_mesh", "face_contour"].map(lines), [Some(16), Some(1322), Some(128)]);
    site.problem("GET", "/effects?detail=ful", "", 422, "unknown_detail").await;
}

#[tokio::test]
async fn switching_answers_with_the_canonical_chain() {
    let site = site();
    let (status, answer) = site
        .json("POST", "/effect", r#"{"effect":"blur + EdgeOn","params":{"edge_detection":{"low":50}}}"#)
        .await;
    assert_eq!(
        (status, answer),
        (200, json!({"stream": null, "effect": "blur|edge_detection", "generation": 2}))
    );
    let status = site.get("/status").await;
    assert_eq!(
        (&status["effect"], &status["params"]["edge_detection"]["low"]),
        (&json!("blur|edge_detection"), &json!(50))
    );
    site.app.hub().publish(&id("cam"), "upload").expect("begins");
    let (_, answer) = site.json("POST", "/streams/cam/effect", r#"{"model_name":"sepia"}"#).await;
    assert_eq!(answer, json!({"stream": "cam", "effect": "sepia", "generation": 3}));
    assert_eq!(site.get("/streams").await[0]["effect"], "sepia");
    assert_eq!(site.get("/set_effect/mirror%7Cinvert").await, json!({"effect": "mirror|invert"}));
    assert_eq!(site.get("/streams").await[0]["effect"], "mirror|invert");
}

#[tokio::test]
async fn every_mistake_in_a_switch_has_its_problem() {
    let site = site();
    let known = site.problem("POST", "/effect", r#"{"effect":"seppia"}"#, 404, "unknown_effect").await;
    assert!(known["known"].as_array().expect("names").contains(&json!("sepia")), "{known}");
    assert_eq!((&known["field"], &known["value"]), (&json!("effect"), &json!("seppia")));
    let known = site.problem("GET", "/set_effect/nothing", "", 404, "unknown_effect").await;
    assert!(known["known"].as_array().expect("names").len() > 10);
    let range = site
        .problem(
            "POST",
            "/effect",
            r#"{"effect":"edge_detection","params":{"edge_detection":{"low":-1}}}"#,
            422,
            "parameter_out_of_range",
        )
        .await;
    assert_eq!(range["field"], "params.edge_detection.low");
    assert_eq!(range["value"], -1);
    assert!(range["limit"].is_string(), "{range}");
    for (body, status, code) in [
        ("", 400, "empty_body"),
        ("{", 400, "malformed_json"),
        ("[]", 400, "wrong_type"),
        ("{}", 400, "missing_key"),
        (r#"{"effect":5}"#, 400, "wrong_type"),
        (r#"{"effect":"none","efect":1}"#, 400, "unknown_key"),
        (r#"{"effect":"none","model":"blur"}"#, 400, "duplicate_key"),
        (r#"{"effect":"none","params":[]}"#, 400, "wrong_type"),
        (r#"{"effect":"blur","params":{"blur":5}}"#, 400, "wrong_type"),
        (r#"{"effect":"blur","params":{"blur":{"strength":null}}}"#, 422, "parameter_type"),
        (r#"{"effect":"blur","params":{"blur":{"strength":"much"}}}"#, 422, "parameter_type"),
        (r#"{"effect":"blur","params":{"blur":{"strenght":5}}}"#, 422, "unknown_parameter"),
        (r#"{"effect":"blur","params":{"sepia":{}}}"#, 422, "parameter_not_in_chain"),
        (r#"{"effect":"blur","params":{"bluur":{}}}"#, 404, "unknown_effect"),
        (r#"{"effect":""}"#, 422, "bad_chain"),
        (r#"{"effect":"blur||sepia"}"#, 422, "bad_chain"),
        (r#"{"effect":"blur blur blur blur blur blur blur blur blur"}"#, 422, "chain_too_long"),
    ] {
        site.problem("POST", "/effect", body, status, code).await;
    }
    site.problem("POST", "/streams/cam/effect", "[]", 400, "wrong_type").await;
    let absent =
        site.problem("POST", "/streams/cam/effect", r#"{"effect":"none"}"#, 404, "unknown_stream").await;
    assert_eq!(absent["value"], "cam");
    site.problem("POST", "/effect", &" ".repeat(70_000), 413, "body_too_large").await;
    site.problem("POST", "/streams/a.b/effect", r#"{"effect":"none"}"#, 400, "bad_name").await;
    site.problem("POST", "/streams/stream/effect", r#"{"effect":"none"}"#, 400, "bad_name").await;
    site.problem("POST", "/streams/%FF/effect", r#"{"effect":"none"}"#, 400, "bad_name").await;
    site.problem("GET", "/set_effect/%FF", "", 400, "bad_name").await;
    assert_eq!(site.get("/status").await["generation"], 1, "nothing was switched");
}

#[tokio::test]
async fn other_sites_cannot_switch_or_publish() {
    let site = site_with(&["--cors-origins", "https://ok.example"]);
    let foreign = [("host", "localhost:8081"), ("origin", "https://evil.example")];
    for (method, path) in
        [("GET", "/set_effect/sepia"), ("POST", "/effect"), ("POST", "/upload"), ("GET", "/ws/upload")]
    {
        let response = site.ask(method, path, &foreign, r#"{"effect":"sepia"}"#).await;
        assert_eq!(response.status(), 403, "{method} {path}");
        assert!(response.headers().get("access-control-allow-origin").is_none());
        let (_, problem) = read(response).await;
        assert_eq!(
            (&problem["code"], &problem["value"]),
            (&json!("cross_site"), &json!("https://evil.example"))
        );
    }
    for path in ["/ws/live", "/ws/view"] {
        let socket = [foreign[0], foreign[1], ("upgrade", "websocket")];
        assert_eq!(site.ask("GET", path, &socket, "").await.status(), 403, "{path}");
        let own = [foreign[0], ("origin", "http://localhost:8081"), socket[2]];
        assert_eq!(site.ask("GET", path, &own, "").await.status(), 400, "{path}: no handshake");
    }
    let image = [("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "image")];
    assert_eq!(site.ask("GET", "/set_effect/sepia", &image, "").await.status(), 403);
    let listed =
        [("host", "localhost:8081"), ("origin", "https://ok.example"), ("sec-fetch-site", "cross-site")];
    let response = site.ask("POST", "/effect", &listed, r#"{"effect":"sepia"}"#).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://ok.example");
    assert_eq!(response.headers()["vary"], "Origin");
    assert_eq!(site.get("/status").await["effect"], "sepia");
}

#[tokio::test]
async fn preflights_and_options() {
    let site = site_with(&["--cors-origins", "https://ok.example"]);
    let ask = |origin| [("origin", origin), ("access-control-request-method", "POST")];
    let response = site.ask("OPTIONS", "/effect", &ask("https://ok.example"), "").await;
    assert_eq!(response.status(), 204);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://ok.example");
    let response = site.ask("OPTIONS", "/effect", &ask("https://evil.example"), "").await;
    assert_eq!(response.status(), 403);
    let response = site.ask("OPTIONS", "/effect", &[], "").await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["allow"].to_str().expect("text")),
        (204, "POST, OPTIONS")
    );
}

#[tokio::test]
async fn health_has_the_fields_of_the_plan_and_honest_more() {
    let health = site_with(&["--use-gpu", "off"]).get("/health").await;
    let keys: Vec<&str> = health.as_object().expect("an object").keys().map(String::as_str).collect();
    for key in [
        "status",
        "gpu_available",
        "gpu_name",
        "queue_size",
        "active_connections",
        "version",
        "reasons",
        "accelerator",
    ] {
        assert!(keys.contains(&key), "{key}: {health}");
    }
    assert_eq!(keys.len(), 8);
    assert_eq!(
        (&health["status"], &health["gpu_available"], &health["gpu_name"]),
        (&json!("healthy"), &json!(false), &Value::Null)
    );
    assert_eq!(
        (&health["accelerator"]["requested"], &health["accelerator"]["ran"]),
        (&json!("off"), &json!("cpu"))
    );
}

#[tokio::test]
async fn a_failed_effect_degrades_health_and_says_why() {
    use ooblex_core::{Frame, FrameProcessor, Image, Picture, ProcessContext, ProcessError, Verdict};
    struct Broken;
    impl FrameProcessor for Broken {
        fn process(&mut self, _: &mut Frame, _: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
            Err(ProcessError::Fatal("out of luck".into()))
        }
    }
    let site = site();
    let stream = site.app.hub().publish(&id("cam"), "upload").expect("begins");
    let effect = ooblex_core::pipeline::Effect::prepare("broken", 9, Box::new(Broken)).expect("prepares");
    stream.pipeline().swap().to(effect);
    let pool = stream.pool().clone();
    let picture = Picture::new(Image::black(32, 32, &pool).expect("an image"), pool);
    stream.push(picture, None, None).expect("takes it");
    let health = loop {
        let health = site.get("/health").await;
        if health["status"] == "degraded" {
            break health;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    };
    let reason = health["reasons"][0].as_str().expect("a reason");
    assert!(
        reason.starts_with("stream cam: its effect failed: ") && reason.contains("out of luck"),
        "{reason}"
    );
}

#[tokio::test]
async fn streams_have_exactly_the_fields_of_the_contract() {
    let site = site();
    assert_eq!(site.get("/streams").await, json!([]));
    site.app.hub().publish(&id("cam"), "upload").expect("begins");
    let streams = site.get("/streams").await;
    // A build without WebRTC has no viewers by it.
    let whep_url = cfg!(feature = "whip").then_some("/whep/cam");
    let expected = json!([{
        "id": "cam", "kind": "upload", "state": "live", "effect": "none", "viewers": 0, "width": 0, "height": 0,
        "fps_in": 0.0, "fps_out": 0.0, "dropped": {}, "latency_ms": {"p50": null, "p99": null}, "whep_url": whep_url
    }]);
    assert_eq!(streams, expected);
    let status = site.get("/status").await;
    for (key, value) in [
        ("running", json!(true)),
        ("effect", json!("none")),
        ("fps", json!(0.0)),
        ("cuda_available", json!(false)),
        ("mediapipe_available", json!(false)),
        ("tunnel", Value::Null),
    ] {
        assert_eq!(status[key], value, "{key}");
    }
    assert_eq!(status["streams"][0]["id"], "cam");
    let transports = status["transports"].as_array().expect("transports");
    assert!(transports.iter().all(|t| (t["state"] == "running") == t["reason"].is_null()), "{status}");
}

#[tokio::test]
async fn metrics_are_well_formed_and_documented() {
    let site = site();
    site.app.hub().publish(&id("cam"), "upload").expect("begins");
    site.ask("GET", "/health", &[], "").await;
    site.ask("GET", "/nothing", &[], "").await;
    let response = site.ask("GET", "/metrics", &[], "").await;
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let (_, text) = read(response).await;
    let text = text.as_str().expect("text");
    let document = include_str!("../../../docs/METRICS.md");
    let mut families = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(family) => {
                let name = family.split(' ').next().expect("a name");
                assert!(name.starts_with("ooblex_"), "{name}");
                assert!(!families.contains(&name), "{name} twice");
                assert!(document.contains(&format!("`{name}`")), "{name} is not in docs/METRICS.md");
                families.push(name);
            }
            None if line.starts_with('#') => {}
            None => {
                let (name, value) = line.rsplit_once(' ').expect("a value");
                value.parse::<f64>().unwrap_or_else(|e| panic!("{line}: {e}"));
                let name = name.split('{').next().expect("a name");
                let family = families.last().expect("a family first");
                assert!(name.starts_with(family), "{name} stands under {family}");
            }
        }
    }
    for sample in [
        "ooblex_http_requests_total{method=\"GET\",route=\"/health\",status=\"2xx\"} 1",
        "ooblex_http_requests_total{method=\"any\",route=\"unknown\",status=\"4xx\"} 1",
        "ooblex_frames_received_total{stream=\"cam\"} 0",
        "ooblex_streams{state=\"live\"} 1",
        "ooblex_http_requests_in_flight 1",
    ] {
        assert!(text.lines().any(|l| l == sample), "{sample}\n{text}");
    }
    // A build without publishers has none of theirs.
    let whole = cfg!(feature = "whip");
    for name in document
        .split('`')
        .filter(|name| whole || !name.starts_with("ooblex_webrtc_"))
        .filter(|word| word.len() > 7 && word.starts_with("ooblex_") && !word.contains('{'))
    {
        assert!(families.contains(&name), "docs/METRICS.md names {name}, which is not there");
    }
}

#[tokio::test]
async fn the_page_is_served_with_its_policy() {
    let site = site();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/view", "text/html; charset=utf-8"),
        ("/client.html", "text/html; charset=utf-8"),
        ("/page/app.css", "text/css; charset=utf-8"),
        ("/page/app.js", "text/javascript; charset=utf-8"),
        ("/page/icon.svg", "image/svg+xml"),
    ] {
        let response = site.ask("GET", path, &[], "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], kind, "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        let policy = response.headers()["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let head = site.ask("HEAD", path, &[], "").await;
        assert_eq!(head.status(), 200);
    }
    site.problem("GET", "/page/nothing.js", "", 404, "unknown_file").await;
    let (_, page) = read(site.ask("GET", "/", &[], "").await).await;
    let page = page.as_str().expect("text");
    assert!(!page.contains("http://") && !page.contains("https://"), "nothing comes from elsewhere");
}

const PUBLISH: &str = "publish-publish-1";
const VIEW: &str = "view-view-view-1";
const CONTROL: &str = "control-control-1";

fn guarded_site() -> Site {
    let flags =
        [("publish", PUBLISH), ("view", VIEW), ("control", CONTROL)].map(|(n, t)| format!("--{n}-token={t}"));
    site_with(&flags.each_ref().map(String::as_str))
}

/// How a route of the table is asked for.
fn example(route: &table::Route) -> (&'static str, String) {
    let name = if route.path.starts_with("/set_effect") { "none" } else { "cam" };
    let path = route
        .path
        .replace("{model}", ooblex_models::manager::BLAZEFACE)
        .replace("{file}", "app.js")
        .replace("{kind}", "link");
    let path = ["{name}", "{stream}", "{session}"].iter().fold(path, |p, n| p.replace(n, name));
    // HEAD, because a stream never ends.
    let endless = route.method == "GET" && route.path.ends_with(".mjpg");
    (if endless { "HEAD" } else { route.method }, path)
}

#[tokio::test]
async fn every_route_asks_for_its_right_however_the_token_comes() {
    let site = guarded_site();
    site.app.hub().publish(&id("cam"), "upload").expect("begins");
    let (mut last, mut asked) = (0u32, 0);
    for route in ROUTES {
        let (method, path) = example(route);
        let wrong = "wrong-wrong-wrong-1";
        for (token, gives) in [
            ("", Rights::of(&[])),
            (wrong, Rights::of(&[])),
            (VIEW, Rights::of(&[Right::View])),
            (PUBLISH, Rights::of(&[Right::Publish])),
            (CONTROL, Rights::ALL),
        ] {
            let (bearer, cookie) = (format!("Bearer {token}"), format!("{COOKIE}={token}"));
            let protocol = format!("ooblex, ooblex.token.{token}");
            let same = ("sec-fetch-site", "same-origin");
            for (via, path, headers) in [
                ("bearer", path.clone(), vec![("authorization", bearer.as_str())]),
                ("cookie", path.clone(), vec![("cookie", &cookie), same]),
                ("path", format!("/t/{token}{path}"), vec![]),
                ("subprotocol", path.clone(), vec![("sec-websocket-protocol", &protocol)]),
                ("query", format!("{path}?token={token}"), vec![]),
            ] {
                let (path, headers) =
                    if token.is_empty() { (example(route).1, vec![]) } else { (path, headers) };
                let gives = if via == "query" { gives.only(Right::View) } else { gives };
                last += 1;
                let from = (0x0a00_0000 + last).to_be_bytes();
                let response = site.ask_from(from, method, &path, &headers).await;
                let what = format!("{method} {path} with {token:?} by {via}");
                let (status, headers) = (response.status().as_u16(), response.headers().clone());
                assert!(!format!("{headers:?}").contains(wrong), "{what}: {headers:?}");
                let challenge = headers.get("www-authenticate").map(|h| h.to_str().expect("text"));
                match () {
                    () if gives.allow(route.right) => {
                        let of_a_moment = ["/sessions/{session}", "/probe/{nonce}/{step}"];
                        let absent = status == 404 && of_a_moment.iter().any(|end| route.path.ends_with(end));
                        assert!(
                            absent || ![401, 403, 404, 405, 429, 500].contains(&status),
                            "{what}: {status}"
                        );
                        assert_eq!(challenge, None);
                    }
                    () if token.is_empty() || token == wrong => {
                        assert_eq!(status, 401, "{what}");
                        assert!(
                            challenge.expect("says how").starts_with("Bearer realm=\"ooblex\""),
                            "{what}"
                        );
                    }
                    () => assert_eq!(status, 403, "{what}"),
                }
                if !gives.allow(route.right) && method != "HEAD" {
                    let (_, problem) = read(response).await;
                    let text = problem.to_string();
                    assert!(problem["code"].is_string(), "{what}: {text}");
                    assert!(
                        [wrong, VIEW, PUBLISH, CONTROL].iter().all(|t| !text.contains(t)),
                        "{what}: {text}"
                    );
                }
                asked += 1;
            }
        }
    }
    assert_eq!(asked, ROUTES.len() * 25);
}

#[cfg(feature = "whip")]
#[tokio::test]
async fn publishers_reach_whip_through_the_table() {
    let site = site_with(&["--cors-origins", "https://ok.example"]);
    let sdp = [("content-type", "application/sdp")];
    let refused = site.ask("POST", "/whip/cam?effect=blur", &sdp, "nonsense").await;
    assert_eq!(refused.status(), 400);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    assert_eq!(site.ask("POST", "/whip", &[("content-type", "text/plain")], "v=0").await.status(), 415);
    let offer = |sdp: &str| json!({"sdp": sdp, "type": "offer"}).to_string();
    site.problem("POST", "/offer", &offer("nonsense"), 400, "bad_offer").await;
    site.problem("POST", "/webrtc/offer?effect=seppia", &offer("v=0"), 404, "unknown_effect").await;
    site.problem("DELETE", "/whip/sessions/abc", "", 404, "unknown_session").await;
    site.problem("DELETE", "/whep/sessions/abc", "", 404, "unknown_session").await;
    assert_eq!(site.ask("POST", "/whep/cam", &sdp, "nonsense").await.status(), 400);
    for (path, allow) in [
        ("/whip", "POST, OPTIONS"),
        ("/whip/cam", "POST, OPTIONS"),
        ("/whip/sessions/abc", "PATCH, DELETE, OPTIONS"),
        ("/whep", "POST, OPTIONS"),
        ("/whep/cam", "POST, OPTIONS"),
        ("/whep/sessions/abc", "PATCH, DELETE, OPTIONS"),
    ] {
        for method in ["GET", "HEAD", "PUT"] {
            let response = site.ask(method, path, &[], "").await;
            assert_eq!(
                (response.status().as_u16(), &response.headers()["allow"]),
                (405, &allow.parse().expect("a value"))
            );
        }
        let wanted = [
            ("origin", "https://ok.example"),
            ("access-control-request-method", allow[..5].trim_end_matches(',')),
        ];
        let response = site.ask("OPTIONS", path, &wanted, "").await;
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers();
        assert!(headers.contains_key("accept-post") || headers.contains_key("accept-patch"), "{headers:?}");
        assert_eq!(headers["access-control-allow-methods"], allow);
        assert_eq!(headers["access-control-allow-origin"], "https://ok.example");
        let sent = headers["access-control-allow-headers"].to_str().expect("text");
        assert!(sent.contains("If-Match") && sent.contains("Authorization"), "{sent}");
        let exposed = headers["access-control-expose-headers"].to_str().expect("text");
        assert!(["Location", "Link", "ETag"].iter().all(|name| exposed.contains(name)), "{exposed}");
        let foreign = [("origin", "https://evil.example"), wanted[1]];
        assert_eq!(site.ask("OPTIONS", path, &foreign, "").await.status(), 403);
    }
    let (_, metrics) = read(site.ask("GET", "/metrics", &[], "").await).await;
    let metrics = metrics.as_str().expect("text").to_owned();
    for sample in
        ["{reason=\"bad_offer\"} 3", "{reason=\"unsupported_type\"} 1", "{reason=\"unknown_effect\"} 1"]
    {
        let line = format!("ooblex_webrtc_offers_refused_total{sample}");
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn without_webrtc_its_routes_say_why() {
    let site = site_with(&["--no-webrtc"]);
    let problem = site.problem("POST", "/whip/cam", "v=0", 404, "no_webrtc").await;
    assert!(problem["detail"].as_str().expect("text").contains(": "), "{problem}");
    assert_eq!(site.get("/ice-servers").await, json!({"iceServers": []}));
    let status = site.get("/status").await;
    let whip = status["transports"].as_array().expect("an array").iter().find(|t| t["name"] == "whip");
    assert_eq!(whip.expect("whip")["state"], "unavailable");
}

#[tokio::test]
async fn strangers_learn_only_whether_all_is_well() {
    let site = guarded_site();
    assert_eq!(site.get("/health").await, json!({"status": "healthy"}));
    let bearer = format!("Bearer {VIEW}");
    let (_, health) = read(site.ask("GET", "/health", &[("authorization", &bearer)], "").await).await;
    assert!(health["version"].is_string(), "{health}");
    let (_, health) =
        read(site.ask("GET", "/health", &[("authorization", "Bearer nonsense")], "").await).await;
    assert_eq!(health, json!({"status": "healthy"}));
}

#[tokio::test]
async fn opening_the_page_with_a_token_sets_a_cookie_and_a_wrong_cookie_is_taken_back() {
    let site = guarded_site();
    let response = site.ask("GET", &format!("/t/{CONTROL}/"), &[("x-forwarded-proto", "https")], "").await;
    assert_eq!(response.status(), 200);
    let expected = format!("{COOKIE}={CONTROL}; Path=/; HttpOnly; SameSite=Lax; Secure");
    assert_eq!(response.headers()["set-cookie"].to_str().expect("text"), expected);
    for path in
        ["/t/wrong-wrong-wrong-1/", "/", "/t/control-control-1/page/app.js", "/t/view-view-view-1/status"]
    {
        let response = site.ask("GET", path, &[], "").await;
        assert_eq!(response.status(), 200, "{path}");
        assert!(response.headers().get("set-cookie").is_none(), "{path}");
    }
    let stale = [("cookie", "ooblex_token=of-long-ago-12345")];
    let response = site.ask("GET", "/status", &stale, "").await;
    assert_eq!(response.status(), 401);
    assert!(response.headers()["set-cookie"].to_str().expect("text").ends_with("Max-Age=0"));
    let response = site.ask("GET", &format!("/t/{CONTROL}"), &[], "").await;
    assert_eq!(response.status(), 308);
    assert_eq!(response.headers()["location"].to_str().expect("text"), format!("{CONTROL}/"));
}

#[tokio::test]
async fn guessing_is_answered_by_429() {
    let site = guarded_site();
    let from = [192, 0, 2, 1];
    let mut statuses = Vec::new();
    for n in 0..25 {
        let path = format!("/t/guess-guess-guess-{n}/status");
        statuses.push(site.ask_from(from, "GET", &path, &[]).await.status().as_u16());
    }
    assert_eq!(statuses[..20], [401; 20]);
    assert!(statuses[20..].contains(&429), "{statuses:?}");
    let response = site.ask_from(from, "GET", &format!("/t/{CONTROL}/status"), &[]).await;
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(site.ask_from(from, "GET", "/page/app.js", &[]).await.status(), 200);
    let other = site.ask_from([192, 0, 2, 2], "GET", &format!("/t/{CONTROL}/status"), &[]).await;
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn without_tokens_a_token_does_no_harm() {
    let site = site();
    for path in ["/status?token=whatever", "/t/whatever/status", "/t/whatever/"] {
        assert_eq!(site.ask("GET", path, &[("authorization", "Bearer x")], "").await.status(), 200, "{path}");
    }
}
