//! What runs: health, status and streams.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderValue, header};
use ooblex_core::hub::{Stream, StreamState};
use ooblex_core::pipeline::PipelineState;
use ooblex_http::Problem;
use ooblex_models::engine::DeviceKind;
use ooblex_models::manager::AcceleratorReport;
use serde::Serialize;
use serde_json::{Value, json};

use super::{AppState, fresh};
use crate::access::Trusted;
use crate::arrival::Arrival;
use crate::cli::VERSION;
use crate::effect::{Params, to_json};

/// One stream as `/streams` shows it.
#[derive(Debug, Serialize)]
pub(super) struct StreamStatus {
    id: String,
    kind: &'static str,
    state: &'static str,
    effect: String,
    viewers: usize,
    width: u32,
    height: u32,
    fps_in: f64,
    fps_out: f64,
    dropped: BTreeMap<&'static str, u64>,
    latency_ms: Quantiles,
    whep_url: Option<String>,
}

/// One stream as `/status` shows it.
#[derive(Debug, Serialize)]
struct StreamDetail {
    #[serde(flatten)]
    status: StreamStatus,
    received: u64,
    processed: u64,
    generation: u64,
    params: Value,
    /// `running`, `loading` or `failed`.
    effect_state: &'static str,
    failure: Option<String>,
    stages: Vec<StageTime>,
}

/// The answer of `/status`.
#[derive(Debug, Serialize)]
struct Status {
    running: bool,
    effect: String,
    fps: f64,
    cuda_available: bool,
    mediapipe_available: bool,
    params: Value,
    generation: u64,
    newest: Option<String>,
    uptime_seconds: u64,
    viewers: usize,
    streams: Vec<StreamDetail>,
    transports: Value,
    session: Value,
    checkpoint: Value,
    tunnel: Value,
}

/// The answer of `/health`.
#[derive(Debug, Serialize)]
struct Health {
    status: &'static str,
    gpu_available: bool,
    gpu_name: Option<String>,
    queue_size: u64,
    active_connections: usize,
    version: &'static str,
    reasons: Vec<String>,
    accelerator: Accelerator,
}

/// Which accelerator was asked for, what really ran, and why.
#[derive(Debug, Serialize)]
struct Accelerator {
    requested: &'static str,
    ran: &'static str,
    engine: Option<&'static str>,
    version: Option<String>,
    reason: String,
}

impl From<&AcceleratorReport> for Accelerator {
    fn from(report: &AcceleratorReport) -> Self {
        Self {
            requested: report.requested.as_str(),
            ran: report.ran.as_str(),
            engine: report.engine.map(|engine| engine.as_str()),
            version: report.version.clone(),
            reason: report.reason.clone(),
        }
    }
}

/// Milliseconds that half and 99 % of the newest frames stay below; null before the first frame.
#[derive(Debug, Serialize)]
struct Quantiles {
    p50: Option<f64>,
    p99: Option<f64>,
}

/// Time in one stage, as [`Quantiles`].
#[derive(Debug, Serialize)]
struct StageTime {
    stage: String,
    #[serde(flatten)]
    ms: Quantiles,
}

impl Quantiles {
    fn of(times: Option<[Duration; 2]>) -> Self {
        let ms = |t: Duration| (t.as_secs_f64() * 1e5).round() / 100.0;
        Self { p50: times.map(|[p50, _]| ms(p50)), p99: times.map(|[_, p99]| ms(p99)) }
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn status_of(app: &AppState, stream: &Stream, now: Instant) -> StreamStatus {
    let stats = stream.stats();
    let (width, height) = stats.size();
    StreamStatus {
        id: stream.id().to_string(),
        kind: stream.kind(),
        state: stream.state(now).as_str(),
        effect: stream.pipeline().swap().active().name,
        viewers: app.viewers(stream.id()),
        width,
        height,
        fps_in: tenths(stats.rate_in.per_second(now)),
        fps_out: tenths(stats.rate_out.per_second(now)),
        dropped: stats.dropped.iter().map(|(reason, n)| (reason.as_str(), n)).collect(),
        latency_ms: Quantiles::of(stats.recent_latency.quantiles([0.5, 0.99])),
        whep_url: app.publishers().absent().is_none().then(|| format!("/whep/{}", stream.id())),
    }
}

fn detail_of(app: &AppState, stream: &Stream, now: Instant) -> StreamDetail {
    let active = stream.pipeline().swap().active();
    let steps = &active.steps;
    let name = |stage: ooblex_core::Stage| match stage {
        // The step's own name says more than its number.
        ooblex_core::Stage::Process(n) => {
            steps.get(usize::from(n)).cloned().unwrap_or_else(|| stage.to_string())
        }
        other => other.to_string(),
    };
    let stages = stream.stats().stage_latency().into_iter();
    StreamDetail {
        status: status_of(app, stream, now),
        received: stream.stats().received.get(),
        processed: stream.stats().processed.get(),
        generation: active.generation,
        params: params(&app.effects().of(stream.id()).params),
        effect_state: active.state.as_str(),
        failure: failure(app, stream, now),
        stages: stages
            .map(|(stage, times)| StageTime { stage: name(stage), ms: Quantiles::of(Some(times)) })
            .collect(),
    }
}

fn params(params: &Params) -> Value {
    let of = |options: &ooblex_core::Options| -> serde_json::Map<String, Value> {
        options.iter().map(|(name, value)| (name.to_owned(), to_json(value))).collect()
    };
    params
        .iter()
        .map(|(effect, options)| (effect.clone(), Value::Object(of(options))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// What is wrong with a stream, if anything, and what is done about it.
fn failure(app: &AppState, stream: &Stream, now: Instant) -> Option<String> {
    match stream.pipeline().state() {
        PipelineState::Reconnecting { reason } => Some(format!("its source is away: {reason}")),
        PipelineState::Failed { reason } => Some(format!("its source failed: {reason}")),
        _ => {
            let active = stream.pipeline().swap().active();
            let reason = active.failure()?;
            let next = app.effects().outlook(stream, now).map(|next| format!("; {next}"));
            Some(format!("its effect failed: {reason}{}", next.unwrap_or_default()))
        }
    }
}

/// `GET /streams`.
pub(super) async fn streams(State(app): State<AppState>) -> Response {
    let now = app.now();
    let streams: Vec<_> = app.hub().streams().iter().map(|s| status_of(&app, s, now)).collect();
    fresh(Json(streams))
}

/// Why the server is not entirely well; empty if it is.
fn reasons(app: &AppState) -> Vec<String> {
    let now = app.now();
    let open = |s: &&std::sync::Arc<Stream>| s.state(now) != StreamState::Ended;
    let streams = app.hub().streams();
    streams
        .iter()
        .filter(open)
        .filter_map(|s| failure(app, s, now).map(|f| format!("stream {}: {f}", s.id())))
        .chain(app.models().problems().iter().map(ToString::to_string))
        .chain(app.keeper().problem())
        .chain(app.tunnel().problem())
        .collect()
}

/// `GET /health`. Strangers learn only whether all is well.
pub(super) async fn health(State(app): State<AppState>, trusted: Option<Extension<Trusted>>) -> Response {
    let reasons = reasons(&app);
    let status = if reasons.is_empty() { "healthy" } else { "degraded" };
    if trusted.is_some_and(|Extension(Trusted(trusted))| !trusted) {
        return fresh(Json(json!({"status": status})));
    }
    let streams = app.hub().streams();
    let waiting: u64 = streams.iter().map(|s| s.pipeline().input().queue_counts().waiting).sum();
    let accelerator = app.models().accelerator();
    fresh(Json(Health {
        status,
        gpu_available: accelerator.ran != DeviceKind::Cpu,
        gpu_name: accelerator.gpu_name.clone(),
        queue_size: waiting,
        active_connections: app.open_connections() + app.publishers().connected(),
        version: VERSION,
        reasons,
        accelerator: (&accelerator).into(),
    }))
}

/// `GET /status`.
pub(super) async fn status(State(app): State<AppState>, arrival: Option<Extension<Arrival>>) -> Response {
    let arrival = arrival.map_or(Arrival::Direct, |Extension(arrival)| arrival);
    let now = app.now();
    let selection = app.effects().everywhere();
    let newest = app.hub().newest();
    let fps = newest.as_ref().map_or(0.0, |s| tenths(s.stats().rate_out.per_second(now)));
    let streams: Vec<_> = app.hub().streams().iter().map(|s| detail_of(&app, s, now)).collect();
    fresh(Json(Status {
        running: true,
        effect: selection.chain.to_string(),
        fps,
        cuda_available: app.models().accelerator().ran != DeviceKind::Cpu,
        mediapipe_available: false,
        params: params(&selection.params),
        generation: selection.generation,
        newest: newest.map(|s| s.id().to_string()),
        uptime_seconds: app.uptime().as_secs(),
        viewers: app.mjpeg().total_viewers(),
        streams,
        session: app.timer().status(Instant::now()),
        checkpoint: app.keeper().status(),
        transports: transports(&app, arrival),
        tunnel: app.tunnel().to_json(arrival),
    }))
}

/// Ways in and out, and why those that do not run do not.
fn transports(app: &AppState, arrival: Arrival) -> Value {
    let (publishers, sockets) = (app.publishers(), app.sockets().report());
    let of = |name: &str, path: &str, absent: Option<&str>| {
        let absent = absent.or(app.tunnel().absent(path, arrival));
        json!({"name": name, "path": path, "state": if absent.is_some() { "unavailable" } else { "running" }, "reason": absent})
    };
    let mut webrtc = of("webrtc", "/webrtc/offer", publishers.absent());
    if let (Some(webrtc), Value::Object(more)) = (webrtc.as_object_mut(), publishers.status()) {
        webrtc.extend(more);
    }
    let mut live = of("websocket_live", "/ws/live", None);
    live["publishing"] = sockets.publishing.into();
    live["viewing"] = sockets.viewing.into();
    let mut whep = of("whep", "/whep", publishers.absent());
    if let (Some(whep), Value::Object(more)) = (whep.as_object_mut(), publishers.viewers_status()) {
        whep.extend(more);
    }
    json!([
        of("upload", "/upload", None),
        of("websocket_upload", "/ws/upload", None),
        live,
        of("websocket_view", "/ws/view", None),
        of("mjpeg", "/stream.mjpg", None),
        of("snapshot", "/snapshot.jpg", None),
        webrtc,
        of("whip", "/whip", publishers.absent()),
        whep,
    ])
}

/// `GET /ice-servers`.
pub(super) async fn ice_servers(State(app): State<AppState>) -> Response {
    fresh(Json(app.publishers().ice_servers()))
}

/// `GET /metrics`.
pub(super) async fn metrics(State(app): State<AppState>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    match tokio::task::spawn_blocking(move || super::metrics::render(&app)).await {
        Ok(text) => fresh(([(header::CONTENT_TYPE, kind)], text)),
        Err(error) => {
            tracing::error!(%error, "counting panicked");
            Problem::new(500, "internal", "counting failed; the log says why").into_response()
        }
    }
}
