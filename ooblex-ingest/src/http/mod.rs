//! Pictures over HTTP: the upload routes, and a source that pulls an MJPEG stream.

pub(crate) mod body;
mod multipart;
mod post;
mod publish;
mod pull;
mod ws;

use ::http::{HeaderValue, Method, header, request::Parts};
use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post as on_post};
use ooblex_core::StreamId;
use ooblex_core::hub::Hub;
use ooblex_http::Problem;
use serde::Deserialize;

use self::publish::Publisher;
pub use self::pull::MjpegSource;
use crate::picture::PictureLimits;

/// The kind of stream that uploads feed.
const KIND: &str = "upload";

/// The routes that take pictures into `hub`: `POST /upload`, `/upload_frame` and `/frame`, `GET /ws/upload`.
///
/// A `POST` is answered as soon as its picture is found sound and queued, not when it was processed. Errors are
/// problem documents; a refused picture leaves no trace, and other streams do not notice.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use ooblex_core::{FrameSink, PassThrough, BoxError, StreamId};
/// use ooblex_core::hub::{Beginning, Hub, HubConfig, StreamFactory};
/// use ooblex_core::pipeline::Effect;
/// use ooblex_ingest::{http, picture::PictureLimits};
///
/// struct Nothing;
/// impl StreamFactory for Nothing {
///     fn effect(&self, _: &StreamId) -> Result<Effect, BoxError> {
///         Effect::prepare("none", 0, Box::new(PassThrough))
///     }
///     fn sinks(&self, _: &Beginning<'_>) -> Vec<Box<dyn FrameSink>> {
///         Vec::new()
///     }
/// }
///
/// let hub = Hub::new(HubConfig::default(), Nothing);
/// let router: axum::Router = http::router(hub, PictureLimits::default());
/// # drop(router); });
/// ```
pub fn router(hub: Hub, limits: PictureLimits) -> Router {
    let allow = |methods: &'static str| move |method: Method| async move { not_allowed(&method, methods) };
    Router::new()
        .route("/upload", on_post(post::raw).fallback(allow("POST")))
        .route("/upload_frame", on_post(post::raw).fallback(allow("POST")))
        .route("/frame", on_post(post::base64).fallback(allow("POST")))
        .route("/ws/upload", get(ws::upload).fallback(allow("GET, HEAD")))
        .with_state(Publisher::new(hub, limits))
}

fn not_allowed(method: &Method, allowed: &'static str) -> Response {
    let detail = format!("{method} is not allowed here; use {allowed}");
    let problem = Problem::new(405, "method_not_allowed", detail).value(method.as_str());
    let mut response = problem.into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The stream that a request names: `?stream=`, else `default`. Other parameters are not looked at.
struct Target(StreamId);

#[derive(Deserialize)]
struct Parameters {
    stream: Option<String>,
}

impl FromRequestParts<Publisher> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Publisher) -> Result<Self, Problem> {
        let parameters: Result<Query<Parameters>, QueryRejection> =
            Query::from_request_parts(parts, state).await;
        let Query(Parameters { stream }) =
            parameters.map_err(|e| Problem::new(400, "bad_query", e.body_text().to_lowercase()))?;
        let Some(name) = stream else { return Ok(Self(StreamId::default())) };
        match StreamId::new(&name) {
            Ok(id) => Ok(Self(id)),
            Err(e) => Err(Problem::new(400, "bad_name", e.to_string()).field("stream").value(name)),
        }
    }
}
