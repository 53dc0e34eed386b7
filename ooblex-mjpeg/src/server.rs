//! The routes that viewers use.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::{Body as HttpBody, Frame};
use ooblex_core::StreamId;
use ooblex_core::hub::{Hub, StreamState};
use ooblex_http::{Problem, Takeover};
use tokio::task::JoinHandle;

use crate::hub::MjpegHub;
use crate::multipart::{CONTENT_TYPE, Framing};
use crate::query;
use crate::snapshot::{Snapshot, SnapshotError};
use crate::viewing::{PartStream, Refused, Target, Ticket};

/// A viewer that finds no place is asked to come back after this long.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The same where there is no picture yet.
const NO_FRAME_RETRY: Duration = Duration::from_secs(1);

/// The routes for viewers of `hub`'s streams, whose frames `mjpeg` gets through its [sinks](MjpegHub::sink).
///
/// | Route | Answer |
/// |---|---|
/// | `GET /stream.mjpg` | the stream that began last, until it ends; then the next; a placeholder without one |
/// | `GET /streams/{name}/stream.mjpg`, `/{name}.mjpg` | that stream until it ends |
/// | `GET /snapshot.jpg` | the newest picture of the stream that began last |
/// | `GET /streams/{name}/snapshot.jpg`, `/{name}.jpg` | the newest picture of that stream |
/// | `GET /streams/{name}/snapshot.png` | the same as PNG, with alpha |
///
/// Streams take `?fps=` and `?advance_headers=` (0 or 1, decided by the browser otherwise, see [`Framing`]), JPEG
/// snapshots `?width=`. Errors are [problem documents](Problem). The aliases occupy
/// `/{file}`, every path of one segment that no other route takes; a host whose own routes collide with that nests
/// this router under a prefix.
///
/// Under [`ooblex_http::serve`] viewers are written by the fan-out thread directly; under any other server their
/// responses are ordinary streaming bodies with the same bytes.
pub fn router(hub: Hub, mjpeg: MjpegHub) -> Router {
    let state = Arc::new(Viewing { hub, mjpeg, follower: OnceLock::new() });
    let only_get = |route: MethodRouter<Arc<Viewing>>| route.fallback(method_not_allowed);
    Router::new()
        .route("/stream.mjpg", only_get(get(newest_stream)))
        .route("/streams/{name}/stream.mjpg", only_get(get(named_stream)))
        .route("/snapshot.jpg", only_get(get(newest_snapshot)))
        .route("/streams/{name}/snapshot.jpg", only_get(get(named_snapshot)))
        .route("/streams/{name}/snapshot.png", only_get(get(named_png)))
        .route("/{file}", get(alias).fallback(alias_of_another_method))
        .with_state(state)
}

struct Viewing {
    hub: Hub,
    mjpeg: MjpegHub,
    follower: OnceLock<AbortOnDrop>,
}

/// What else of a request matters to a viewer.
struct Asked {
    method: Method,
    chromium_picture: bool,
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self { method: parts.method.clone(), chromium_picture: is_chromium_picture(&parts.headers) })
    }
}

/// Whether a request is a Chromium browser's that shows the answer as a picture. Such a browser shows a part only
/// when the next one's headers are complete. `Sec-Fetch-Dest` (W3C Fetch Metadata) is sent where the page is
/// secure; elsewhere `Accept` tells a picture or a tab from a script.
fn is_chromium_picture(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let shows = match headers.get("sec-fetch-dest") {
        Some(dest) => ["image", "document", "iframe", "frame", "embed", "object"]
            .iter()
            .any(|d| dest.as_bytes() == d.as_bytes()),
        None => ["image/", "text/html"].iter().any(|kind| text("accept").starts_with(kind)),
    };
    shows && text("user-agent").contains("Chrome/")
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Name = Result<Path<String>, PathRejection>;

impl Viewing {
    /// The named stream, if it is live.
    fn live(&self, name: &str) -> Result<StreamId, Problem> {
        let id = StreamId::new(name).map_err(|e| bad_name(&e.to_string(), name))?;
        let live = self.hub.get(&id).is_some_and(|s| !s.pipeline().state().is_over());
        if live { Ok(id) } else { Err(self.unknown(name)) }
    }

    fn unknown(&self, name: &str) -> Problem {
        let now = self.hub.config().clock.now();
        let streams = self.hub.streams().into_iter().filter(|s| s.state(now) != StreamState::Ended);
        Problem::new(404, "unknown_stream", format!("no live stream is called {name}"))
            .field("stream")
            .value(name)
            .known(streams.map(|s| s.id().to_string()))
    }

    fn newest(&self) -> Option<StreamId> {
        self.hub.newest().map(|stream| stream.id().clone())
    }

    /// Keeps the fan-out thread informed of what the newest stream is; begins with the first viewer who asks.
    fn follow(&self) {
        self.follower.get_or_init(|| {
            let (hub, mjpeg) = (self.hub.clone(), self.mjpeg.clone());
            AbortOnDrop(tokio::spawn(async move {
                let mut changes = hub.watch();
                loop {
                    changes.borrow_and_update();
                    mjpeg.set_newest(hub.newest().map(|stream| stream.id().clone()).as_ref());
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            }))
        });
    }

    fn watch(&self, target: Target, query: Option<&str>, request: &Asked) -> Result<Response, Problem> {
        let fps = query::fps(query)?;
        let ahead = query::advance_headers(query)?.unwrap_or(request.chromium_picture);
        if request.method == Method::HEAD {
            return Ok(stream_head(Body::empty()));
        }
        let ticket = self.mjpeg.admit(target, fps).map_err(|refused| match refused {
            Refused::UnknownStream(id) => self.unknown(id.as_str()),
            Refused::TooManyViewers { limit } => Problem::new(429, "too_many_viewers", refused.to_string())
                .limit(limit)
                .retry_after(RETRY_AFTER),
        })?;
        let framing = if ahead { Framing::Ahead } else { Framing::Delimited };
        Ok(stream_response(ticket.framing(framing)))
    }

    async fn snapshot(&self, id: Option<&StreamId>, query: Option<&str>) -> Result<Response, Problem> {
        let width = query::width(query)?;
        let snapshot = match id {
            Some(id) => self.mjpeg.snapshot(id, width).await,
            None => Err(SnapshotError::NoFrame),
        };
        snapshot.map(|s| picture(s, "image/jpeg")).map_err(|e| no_picture(&e))
    }
}

async fn newest_stream(
    State(viewing): State<Arc<Viewing>>,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    viewing.follow();
    viewing.watch(Target::Newest(viewing.newest()), query.as_deref(), &asked)
}

async fn named_stream(
    State(viewing): State<Arc<Viewing>>,
    name: Name,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    let id = viewing.live(&decoded(name)?)?;
    viewing.watch(Target::Stream(id), query.as_deref(), &asked)
}

async fn newest_snapshot(
    State(viewing): State<Arc<Viewing>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    viewing.snapshot(viewing.newest().as_ref(), query.as_deref()).await
}

async fn named_snapshot(
    State(viewing): State<Arc<Viewing>>,
    name: Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let id = viewing.live(&decoded(name)?)?;
    viewing.snapshot(Some(&id), query.as_deref()).await
}

async fn named_png(State(viewing): State<Arc<Viewing>>, name: Name) -> Result<Response, Problem> {
    let id = viewing.live(&decoded(name)?)?;
    let snapshot = viewing.mjpeg.snapshot_png(&id).await;
    snapshot.map(|s| picture(s, "image/png")).map_err(|e| no_picture(&e))
}

/// `/{name}.mjpg` and `/{name}.jpg`: the router cannot match a suffix.
async fn alias(
    State(viewing): State<Arc<Viewing>>,
    file: Name,
    RawQuery(query): RawQuery,
    asked: Asked,
) -> Result<Response, Problem> {
    let file = decoded(file)?;
    if let Some(name) = file.strip_suffix(".mjpg") {
        let id = viewing.live(name)?;
        return viewing.watch(Target::Stream(id), query.as_deref(), &asked);
    }
    match file.strip_suffix(".jpg") {
        Some(name) => viewing.snapshot(Some(&viewing.live(name)?), query.as_deref()).await,
        None => Err(not_found(&file)),
    }
}

async fn alias_of_another_method(file: Name) -> Response {
    match decoded(file) {
        Ok(file) if !file.ends_with(".mjpg") && !file.ends_with(".jpg") => not_found(&file).into_response(),
        Ok(_) => method_not_allowed().await,
        Err(problem) => problem.into_response(),
    }
}

async fn method_not_allowed() -> Response {
    let problem = Problem::new(405, "method_not_allowed", "this route takes GET and HEAD only");
    ([(header::ALLOW, "GET, HEAD")], problem).into_response()
}

fn not_found(file: &str) -> Problem {
    Problem::new(404, "not_found", format!("there is nothing at /{file}"))
}

fn bad_name(detail: &str, name: &str) -> Problem {
    Problem::new(400, "bad_name", detail).field("stream").value(name)
}

fn decoded(name: Name) -> Result<String, Problem> {
    name.map(|Path(name)| name).map_err(|e| bad_name(&e.body_text().to_lowercase(), ""))
}

fn no_picture(error: &SnapshotError) -> Problem {
    match error {
        SnapshotError::NoFrame => {
            Problem::new(503, "no_frame", error.to_string()).retry_after(NO_FRAME_RETRY)
        }
        SnapshotError::Width { width, largest } => query::out_of_range("width", *width, *largest),
        SnapshotError::Failed(reason) => {
            Problem::new(503, "no_frame", format!("the newest picture cannot be shown: {reason}"))
                .retry_after(NO_FRAME_RETRY)
        }
    }
}

/// Neither browsers nor proxies may keep pictures.
fn forbid_caching(headers: &mut HeaderMap) {
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, no-cache, must-revalidate, max-age=0"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
}

fn picture(snapshot: Snapshot, content_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(snapshot.data));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    forbid_caching(headers);
    if let Ok(stream) = HeaderValue::from_str(snapshot.stream.as_str()) {
        headers.insert("x-ooblex-stream", stream);
    }
    headers.insert("x-ooblex-sequence", snapshot.info.sequence.into());
    headers.insert("x-ooblex-captured-ms", snapshot.info.captured_ms.into());
    headers.insert("x-ooblex-latency-ms", snapshot.info.latency_ms.into());
    response
}

fn stream_head(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    forbid_caching(headers);
    // Keeps nginx and those who follow it from collecting the stream.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A response that is written by the fan-out thread where the server hands over its socket, and by itself elsewhere.
fn stream_response(ticket: Ticket) -> Response {
    let ticket = Arc::new(Mutex::new(Some(ticket)));
    let taking = ticket.clone();
    let mut response = stream_head(Body::new(Watching { ticket, parts: None }));
    response.extensions_mut().insert(Takeover::new(move |taken| {
        let ticket = taking.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (ticket, taken.stream.into_std()) {
            (Some(ticket), Ok(stream)) => ticket.attach(stream, taken.guard),
            (None, _) => {}
            (_, Err(error)) => tracing::debug!(%error, "a viewer's socket could not be taken over"),
        }
    }));
    response
}

/// The body of a viewer's response under a server without takeover. Begins to watch when it is first polled.
struct Watching {
    ticket: Arc<Mutex<Option<Ticket>>>,
    parts: Option<PartStream>,
}

impl HttpBody for Watching {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.parts.is_none() {
            let ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.parts = ticket.map(Ticket::into_parts);
        }
        let Some(parts) = &mut self.parts else { return Poll::Ready(None) };
        Poll::Ready(ready!(parts.poll_next(cx)).map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ahead(headers: &[(&'static str, &str)]) -> bool {
        let pairs = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"))
        });
        is_chromium_picture(&pairs.collect())
    }

    #[test]
    fn headers_go_ahead_for_pictures_in_chromium_alone() {
        let chrome = (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36",
        );
        let firefox =
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
        for dest in ["image", "document", "iframe"] {
            assert!(is_ahead(&[chrome, ("sec-fetch-dest", dest)]), "{dest}");
            assert!(!is_ahead(&[firefox, ("sec-fetch-dest", dest)]), "{dest}");
        }
        assert!(
            !is_ahead(&[chrome, ("sec-fetch-dest", "empty"), ("accept", "image/webp")]),
            "a script reads parts"
        );
        assert!(
            is_ahead(&[chrome, ("accept", "image/avif,image/webp,*/*;q=0.8")]),
            "no Sec-Fetch-Dest on plain HTTP"
        );
        assert!(is_ahead(&[chrome, ("accept", "text/html,application/xhtml+xml")]));
        assert!(!is_ahead(&[chrome, ("accept", "*/*")]));
        assert!(!is_ahead(&[("user-agent", "Lavf/60.3.100"), ("accept", "*/*")]));
        assert!(!is_ahead(&[]));
    }
}
