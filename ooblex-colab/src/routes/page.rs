//! The page: plain files, compiled in.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};

/// Everything comes from this server. `frame-ancestors` lets a notebook show the page in its output.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'self' https://colab.research.google.com https://*.googleusercontent.com https://*.colab.dev";

fn file(kind: &'static str, content: &'static str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    // A new version of the server brings a new page; the files are small.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    (headers, content).into_response()
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// `GET /`.
pub(super) async fn index() -> Response {
    file("text/html; charset=utf-8", include_str!("../../page/index.html"))
}

/// `GET /page/app.css`.
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("../../page/app.css"))
}

/// `GET /page/app.js`.
pub(super) async fn script() -> Response {
    file(SCRIPT, include_str!("../../page/app.js"))
}

/// `GET /page/camera.js`.
pub(super) async fn camera() -> Response {
    file(SCRIPT, include_str!("../../page/camera.js"))
}

/// `GET /page/effects.js`.
pub(super) async fn effects() -> Response {
    file(SCRIPT, include_str!("../../page/effects.js"))
}

/// `GET /page/models.js`.
pub(super) async fn models() -> Response {
    file(SCRIPT, include_str!("../../page/models.js"))
}

/// `GET /page/picture.js`.
pub(super) async fn picture() -> Response {
    file(SCRIPT, include_str!("../../page/picture.js"))
}

/// `GET /page/publish.js`.
pub(super) async fn publish() -> Response {
    file(SCRIPT, include_str!("../../page/publish.js"))
}

/// `GET /page/webrtc.js`.
pub(super) async fn webrtc() -> Response {
    file(SCRIPT, include_str!("../../page/webrtc.js"))
}

/// `GET /page/icon.svg`.
pub(super) async fn icon() -> Response {
    file("image/svg+xml", include_str!("../../page/icon.svg"))
}
