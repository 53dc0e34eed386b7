//! `/metrics` in the text format of Prometheus. `docs/METRICS.md` describes every series.

mod models;
mod tunnel;

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ooblex_core::hub::StreamState;
use ooblex_core::{Counter, Histogram, StreamStats};
#[cfg(feature = "whip")]
use ooblex_ingest::webrtc::SessionState;
use ooblex_mjpeg::MjpegCounters;

use super::AppState;
use super::table::{By, ROUTES};
use crate::cli::VERSION;
use crate::process::Usage;

/// Upper bounds of the buckets of latency, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Requests by route. Paths that do not exist share one place, so the number of series is bounded.
#[derive(Debug)]
pub(super) struct Requests {
    routes: Vec<RouteCount>,
    /// Offers that were refused, by the code of the problem. Codes are fixed words, so there are few.
    offers: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct RouteCount {
    /// By hundreds of the status, 1xx to 5xx.
    by_status: [Counter; 5],
    time: Histogram,
    in_flight: AtomicU64,
}

impl Requests {
    pub(super) fn new() -> Self {
        let routes = (0..=ROUTES.len()).map(|_| RouteCount::default()).collect();
        Self { routes, offers: Mutex::default() }
    }

    fn place(&self, route: Option<usize>) -> &RouteCount {
        // Invariant: there is one place more than there are routes.
        &self.routes[route.unwrap_or(ROUTES.len())]
    }

    pub(super) fn begin(&self, route: Option<usize>) {
        self.place(route).in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes why a request was refused, if it was an offer.
    pub(super) fn refused(&self, route: usize, code: &'static str) {
        let route = &ROUTES[route];
        if route.method == "POST" && matches!(route.by, By::WebRtc) {
            *self.offers.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
        }
    }

    fn refused_offers(&self) -> BTreeMap<&'static str, u64> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a request whose response head is ready; `None` is a path that does not exist.
    pub(super) fn end(&self, route: Option<usize>, status: Option<u16>, took: Duration) {
        let place = self.place(route);
        place.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Some(status) = status {
            place.by_status[usize::from(status / 100).clamp(1, 5) - 1].increment();
            place.time.record(took);
        }
    }
}

/// Writes families and samples.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let escape = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let all: Vec<_> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
            let _ = write!(self.0, "{{{}}}", all.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A family of one sample without labels.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let count = histogram.count();
        for bound in BOUNDS {
            let within = histogram.count_at_most(Duration::from_secs_f64(bound)).min(count);
            let bound = bound.to_string();
            self.sample(&format!("{name}_bucket"), &[labels, &[("le", &bound)]].concat(), within);
        }
        self.sample(&format!("{name}_bucket"), &[labels, &[("le", "+Inf")]].concat(), count);
        self.sample(&format!("{name}_sum"), labels, histogram.sum().as_secs_f64());
        self.sample(&format!("{name}_count"), labels, count);
    }
}

/// Everything, as text. Looks for model files, so it may block.
pub(super) fn render(app: &AppState) -> String {
    let mut text = Text::default();
    process(&mut text, app);
    requests(&mut text, app.requests());
    viewers(&mut text, app);
    streams(&mut text, app);
    publishers(&mut text, app);
    sockets(&mut text, app);
    #[cfg(feature = "whip")]
    whep(&mut text, app);
    models::models(&mut text, app.models());
    tunnel::tunnel(&mut text, app.tunnel());
    text.0
}

fn process(text: &mut Text, app: &AppState) {
    text.family("ooblex_build_info", "gauge", "Always 1; the version is a label.");
    text.sample("ooblex_build_info", &[("version", VERSION)], 1);
    text.single("ooblex_uptime_seconds", "gauge", "Time since the start.", app.uptime().as_secs_f64());
    let usage = Usage::now();
    if let Some(bytes) = usage.resident_bytes {
        text.single("ooblex_process_resident_memory_bytes", "gauge", "Resident memory.", bytes);
    }
    if let Some(cpu) = usage.cpu {
        let help = "User and system time of the process.";
        text.single("ooblex_process_cpu_seconds_total", "counter", help, cpu.as_secs_f64());
    }
    if let Some(files) = usage.open_files {
        text.single("ooblex_process_open_files", "gauge", "Open files and sockets.", files);
    }
    if let Some(threads) = usage.threads {
        text.single("ooblex_process_threads", "gauge", "Threads.", threads);
    }
    text.single("ooblex_connections_open", "gauge", "Open connections of all kinds.", app.open_connections());
}

fn requests(text: &mut Text, requests: &Requests) {
    const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    let label = |place: usize| ROUTES.get(place).map_or(("any", "unknown"), |r| (r.method, r.path));
    let used: Vec<_> = requests.routes.iter().enumerate().filter(|(_, r)| r.time.count() > 0).collect();
    let name = "ooblex_http_requests_total";
    text.family(name, "counter", "Requests by route and class of status.");
    for (place, count) in &used {
        let (method, route) = label(*place);
        for (class, counter) in CLASSES.iter().zip(&count.by_status).filter(|(_, c)| c.get() > 0) {
            text.sample(name, &[("method", method), ("route", route), ("status", class)], counter.get());
        }
    }
    let name = "ooblex_http_request_duration_seconds";
    text.family(name, "histogram", "Time until the head of the response was ready.");
    for (place, count) in &used {
        let (method, route) = label(*place);
        text.histogram(name, &[("method", method), ("route", route)], &count.time);
    }
    let name = "ooblex_webrtc_offers_refused_total";
    text.family(name, "counter", "Offers of WebRTC publishers and viewers that were refused, by reason.");
    for (reason, count) in requests.refused_offers() {
        text.sample(name, &[("reason", reason)], count);
    }
    let in_flight: u64 = requests.routes.iter().map(|r| r.in_flight.load(Ordering::Relaxed)).sum();
    let help = "Requests whose response head is not ready yet.";
    text.single("ooblex_http_requests_in_flight", "gauge", help, in_flight);
}

/// A count of the MJPEG side.
type OfMjpeg = fn(&MjpegCounters) -> u64;

const MJPEG_COUNTERS: [(&str, &str, OfMjpeg); 9] = [
    ("ooblex_jpeg_encodes_total", "Pictures encoded for viewers and snapshots.", |c| c.encoded.get()),
    ("ooblex_jpeg_passed_through_total", "Uploaded JPEGs passed on untouched.", |c| c.passed_through.get()),
    ("ooblex_jpeg_encode_errors_total", "Pictures that could not be encoded.", |c| c.encode_errors.get()),
    ("ooblex_mjpeg_parts_sent_total", "Pictures sent, all viewers together.", |c| c.parts_sent.get()),
    ("ooblex_mjpeg_parts_skipped_total", "Pictures left out for slow viewers.", |c| c.parts_skipped.get()),
    ("ooblex_mjpeg_sent_bytes_total", "Bytes sent to viewers.", |c| c.bytes_sent.get()),
    ("ooblex_viewers_admitted_total", "Viewers that were admitted.", |c| c.viewers_admitted.get()),
    ("ooblex_viewers_refused_total", "Viewers above the limit.", |c| c.viewers_refused.get()),
    ("ooblex_viewers_stalled_total", "Viewers closed because they took nothing.", |c| {
        c.viewers_stalled.get()
    }),
];

fn viewers(text: &mut Text, app: &AppState) {
    let mjpeg = app.mjpeg();
    text.single("ooblex_viewers", "gauge", "Viewers of MJPEG streams.", mjpeg.total_viewers());
    for (name, help, read) in MJPEG_COUNTERS {
        text.single(name, "counter", help, read(mjpeg.counters()));
    }
}

/// A number of one stream.
type PerStream = fn(&StreamStats) -> u64;

const STREAM_COUNTERS: [(&str, &str, PerStream); 12] = [
    ("ooblex_frames_received_total", "Frames that arrived.", |s| s.received.get()),
    ("ooblex_frames_processed_total", "Frames that left the last processor.", |s| s.processed.get()),
    ("ooblex_process_errors_total", "Frames that a processor failed on.", |s| s.process_errors.get()),
    ("ooblex_effect_hangs_total", "Times an effect did not return and was given up.", |s| s.hangs.get()),
    ("ooblex_effect_recoveries_total", "Times a discarded effect was built again.", |s| s.recoveries.get()),
    ("ooblex_source_restarts_total", "Times a source was opened again.", |s| s.source_restarts.get()),
    ("ooblex_decoded_full_total", "Whole pictures decoded.", |s| s.decoded_full.get()),
    ("ooblex_decoded_luma_total", "Pictures of which luma alone was decoded.", |s| s.decoded_luma.get()),
    ("ooblex_decoded_reduced_total", "Pictures decoded at a reduced size.", |s| s.decoded_reduced.get()),
    ("ooblex_encoded_lost_total", "Compressed pictures whose pixels were changed.", |s| s.encoded_lost.get()),
    ("ooblex_rgb_conversions_total", "Whole pictures converted from YUV to RGB.", |s| {
        s.rgb_conversions.get()
    }),
    ("ooblex_device_transfers_total", "Whole pictures copied from a device.", |s| s.device_transfers.get()),
];

fn streams(text: &mut Text, app: &AppState) {
    let streams = app.hub().streams();
    let now = app.now();
    let name = "ooblex_streams";
    text.family(name, "gauge", "Streams by state.");
    for state in [StreamState::Live, StreamState::Stalled, StreamState::Ended] {
        let count = streams.iter().filter(|s| s.state(now) == state).count();
        text.sample(name, &[("state", state.as_str())], count);
    }
    for (name, help, read) in STREAM_COUNTERS {
        text.family(name, "counter", help);
        for stream in &streams {
            text.sample(name, &[("stream", stream.id().as_str())], read(stream.stats()));
        }
    }
    let name = "ooblex_frames_dropped_total";
    text.family(name, "counter", "Frames that were not shown, by reason.");
    for stream in &streams {
        for (reason, count) in stream.stats().dropped.iter() {
            text.sample(name, &[("stream", stream.id().as_str()), ("reason", reason.as_str())], count);
        }
    }
    let name = "ooblex_queue_frames";
    text.family(name, "gauge", "Frames that wait in front of the processors.");
    for stream in &streams {
        let waiting = stream.pipeline().input().queue_counts().waiting;
        text.sample(name, &[("stream", stream.id().as_str())], waiting);
    }
    let name = "ooblex_stream_viewers";
    text.family(name, "gauge", "Viewers of one stream.");
    for stream in &streams {
        text.sample(name, &[("stream", stream.id().as_str())], app.viewers(stream.id()));
    }
    let name = "ooblex_frame_latency_seconds";
    text.family(name, "histogram", "From the arrival of a frame to its leaving the last processor.");
    for stream in &streams {
        text.histogram(name, &[("stream", stream.id().as_str())], &stream.stats().latency);
    }
    let name = "ooblex_stage_latency_seconds";
    text.family(name, "summary", "Time of the newest 256 frames in each stage.");
    for stream in &streams {
        for (stage, times) in stream.stats().stage_latency() {
            let stage = stage.to_string();
            for (quantile, time) in ["0.5", "0.99"].into_iter().zip(times) {
                let labels = [("stream", stream.id().as_str()), ("stage", &stage), ("quantile", quantile)];
                text.sample(name, &labels, time.as_secs_f64());
            }
        }
    }
    effects(text, app);
}

/// Live video over WebSockets.
fn sockets(text: &mut Text, app: &AppState) {
    let (report, counters, live) = (app.sockets().report(), app.sockets().counters(), app.live());
    let name = "ooblex_live_sockets";
    text.family(name, "gauge", "Sockets for live video, by what they do; many do both.");
    for (does, count) in [("publishing", report.publishing), ("viewing", report.viewing)] {
        text.sample(name, &[("does", does)], count);
    }
    let name = "ooblex_live_pictures_total";
    text.family(name, "counter", "Pictures over sockets for live video.");
    for (way, count) in [("in", counters.received.get()), ("out", counters.sent.get())] {
        text.sample(name, &[("way", way)], count);
    }
    let name = "ooblex_live_bytes_total";
    text.family(name, "counter", "Bytes of these pictures.");
    for (way, count) in [("in", counters.received_bytes.get()), ("out", counters.sent_bytes.get())] {
        text.sample(name, &[("way", way)], count);
    }
    let name = "ooblex_live_pictures_skipped_total";
    text.family(
        name,
        "counter",
        "Pictures left out for a viewer: it was behind, or they came too late to be shown.",
    );
    for (reason, count) in [("behind", counters.behind.get()), ("late", counters.late.get())] {
        text.sample(name, &[("reason", reason)], count);
    }
    text.single(
        "ooblex_live_refused_total",
        "counter",
        "Sockets closed for what their clients did.",
        counters.refused.get(),
    );
    text.single("ooblex_live_encoders", "gauge", "Video encoders that run.", live.encoders());
    text.single(
        "ooblex_live_encoded_total",
        "counter",
        "Pictures encoded for viewers of video.",
        live.counters().encoded.get(),
    );
}

/// Counts of all sessions of one stream.
#[cfg(feature = "whip")]
type OfSession = fn(&ooblex_ingest::webrtc::SessionCounters) -> u64;

#[cfg(feature = "whip")]
const SESSION_COUNTERS: [(&str, &str, OfSession); 9] = [
    ("ooblex_webrtc_received_bytes_total", "Bytes of video in RTP packets.", |c| c.bytes),
    ("ooblex_webrtc_packets_total", "RTP packets of the layer that is shown.", |c| c.packets),
    ("ooblex_webrtc_packets_lost_total", "RTP packets that never came.", |c| c.packets_lost),
    ("ooblex_webrtc_packets_dropped_total", "RTP packets that could not be handed over in time.", |c| {
        c.packets_dropped
    }),
    ("ooblex_webrtc_frames_total", "Whole frames put together from packets.", |c| c.frames),
    ("ooblex_webrtc_frames_decoded_total", "Frames decoded.", |c| c.frames_decoded),
    ("ooblex_webrtc_frames_skipped_total", "Frames dropped because the decoder was behind.", |c| {
        c.frames_skipped
    }),
    ("ooblex_webrtc_decode_errors_total", "Frames that could not be decoded.", |c| c.decode_errors),
    ("ooblex_webrtc_keyframe_requests_total", "Key frames that were asked for.", |c| c.keyframe_requests),
];

#[cfg(feature = "whip")]
const SESSION_STATES: [SessionState; 5] = [
    SessionState::Connecting,
    SessionState::Waiting,
    SessionState::Live,
    SessionState::Stalled,
    SessionState::Disconnected,
];

#[cfg(feature = "whip")]
fn publishers(text: &mut Text, app: &AppState) {
    let sessions = app.publishers().sessions();
    let name = "ooblex_webrtc_sessions";
    text.family(name, "gauge", "WebRTC publishers by state.");
    for state in SESSION_STATES {
        let count = sessions.iter().filter(|s| s.state == state).count();
        text.sample(name, &[("state", state.as_str())], count);
    }
    let name = "ooblex_webrtc_relayed_sessions";
    let relayed = sessions.iter().filter(|s| s.path.as_ref().is_some_and(|p| p.is_relayed())).count();
    text.single(name, "gauge", "WebRTC publishers whose video comes through a TURN server.", relayed);
    relays(text, &sessions);
    for (name, help, read) in SESSION_COUNTERS {
        text.family(name, "counter", help);
        let mut by_stream = BTreeMap::new();
        for session in &sessions {
            *by_stream.entry(&session.stream).or_insert(0) += read(&session.counters);
        }
        for (stream, count) in by_stream {
            text.sample(name, &[("stream", stream.as_str())], count);
        }
    }
}

/// Counts of all viewers of one stream.
#[cfg(feature = "whip")]
type OfViewer = fn(&ooblex_ingest::webrtc::ViewerCounters) -> u64;

#[cfg(feature = "whip")]
const VIEWER_COUNTERS: [(&str, &str, OfViewer); 5] = [
    ("ooblex_whep_sent_bytes_total", "Bytes of video in RTP packets to viewers.", |c| c.bytes),
    ("ooblex_whep_packets_total", "RTP packets to viewers.", |c| c.packets),
    ("ooblex_whep_packets_asked_again_total", "RTP packets that viewers asked to be sent again.", |c| {
        c.packets_asked_again
    }),
    ("ooblex_whep_pictures_total", "Pictures sent to viewers.", |c| c.pictures),
    ("ooblex_whep_keyframe_requests_total", "Key frames that viewers asked for.", |c| c.key_requests),
];

#[cfg(feature = "whip")]
fn whep(text: &mut Text, app: &AppState) {
    let viewers = app.publishers().viewers();
    let name = "ooblex_whep_sessions";
    text.family(name, "gauge", "WebRTC viewers by state.");
    for state in SESSION_STATES {
        text.sample(name, &[("state", state.as_str())], viewers.iter().filter(|v| v.state == state).count());
    }
    for (name, help, read) in VIEWER_COUNTERS {
        text.family(name, "counter", help);
        let mut by_stream = BTreeMap::new();
        for viewer in &viewers {
            // Parentheses: no stream can have this name.
            let stream = viewer.stream.as_ref().map_or("(newest)", |stream| stream.as_str());
            *by_stream.entry(stream).or_insert(0) += read(&viewer.counters);
        }
        for (stream, count) in by_stream {
            text.sample(name, &[("stream", stream)], count);
        }
    }
}

/// What was not sent, and what went through relays.
#[cfg(feature = "whip")]
fn relays(text: &mut Text, sessions: &[ooblex_ingest::webrtc::SessionInfo]) {
    let name = "ooblex_webrtc_relay_bytes_total";
    text.family(name, "counter", "Bytes to and from STUN and TURN servers.");
    let servers = || sessions.iter().flat_map(|s| &s.servers);
    text.sample(name, &[("direction", "sent")], servers().map(|s| s.bytes_sent).sum::<u64>());
    text.sample(name, &[("direction", "received")], servers().map(|s| s.bytes_received).sum::<u64>());
    let name = "ooblex_webrtc_held_back_packets_total";
    text.family(name, "counter", "Packets to addresses that publishers named which were not sent.");
    let sum = |read: fn(&ooblex_ingest::webrtc::HeldBack) -> u64| -> u64 {
        sessions.iter().map(|s| read(&s.held_back)).sum()
    };
    for (reason, count) in [
        ("refused", sum(|h| h.refused)),
        ("rate", sum(|h| h.rate)),
        ("cap", sum(|h| h.cap)),
        ("unanswered", sum(|h| h.unanswered)),
    ] {
        text.sample(name, &[("reason", reason)], count);
    }
}

#[cfg(not(feature = "whip"))]
fn publishers(_: &mut Text, _: &AppState) {}

fn effects(text: &mut Text, app: &AppState) {
    let name = "ooblex_effect_info";
    text.family(name, "gauge", "Always 1; the effect of each stream is a label.");
    for stream in app.hub().streams() {
        let active = stream.pipeline().swap().active();
        text.sample(name, &[("stream", stream.id().as_str()), ("effect", &active.name)], 1);
    }
    let help = "Number of the newest switch of an effect.";
    text.single("ooblex_effect_generation", "gauge", help, app.effects().newest_generation());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.sample("x", &[("a", "b\"c\\d\ne")], 1);
        assert_eq!(text.0, "x{a=\"b\\\"c\\\\d\\ne\"} 1\n");
    }

    #[test]
    fn buckets_are_cumulative_and_end_with_the_count() {
        let histogram = Histogram::default();
        for ms in [1, 20, 20, 7000] {
            histogram.record(Duration::from_millis(ms));
        }
        let mut text = Text::default();
        text.histogram("h", &[], &histogram);
        let counts: Vec<u64> = text
            .0
            .lines()
            .filter(|l| l.starts_with("h_bucket"))
            .map(|l| l.rsplit(' ').next().expect("a value").parse().expect("a number"))
            .collect();
        assert!(counts.is_sorted(), "{counts:?}");
        assert_eq!(counts.len(), BOUNDS.len() + 1);
        assert_eq!(*counts.last().expect("+Inf"), 4);
        assert!(text.0.contains("h_bucket{le=\"0.025\"} 3"), "{}", text.0);
        assert!(text.0.contains("h_count 4"));
    }
}
