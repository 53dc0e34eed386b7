//! The pages: plain files, compiled in.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use ooblex_http::Problem;

use super::headers::PAGE;

/// The plain client asks the server that it is told of, which may be another one.
const CLIENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' http: https:; \
     media-src 'self' blob:; connect-src 'self' http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

fn file(kind: &'static str, content: &'static str) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE));
    // A new version of the server brings a new page; the files are small.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    (headers, content).into_response()
}

/// `GET /`.
pub(super) async fn index() -> Response {
    file(HTML, include_str!("../../page/index.html"))
}

/// `GET /view`: the page for viewers.
pub(super) async fn view() -> Response {
    file(HTML, include_str!("../../page/view.html"))
}

/// `GET /client.html`: the plain client, which also works from another origin.
pub(super) async fn client() -> Response {
    let mut response = file(HTML, include_str!("../../page/client.html"));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CLIENT_POLICY));
    response
}

/// `GET /page/{file}`.
pub(super) async fn part(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, _)| *known == name) {
        Some((name, content)) => file(kind_of(name), content),
        None => Problem::new(404, "unknown_file", format!("the page has no file {name:?}")).into_response(),
    }
}

const HTML: &str = "text/html; charset=utf-8";

fn kind_of(name: &str) -> &'static str {
    match name.rsplit_once('.') {
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("../../page/", $name)))),*] };
}

/// What the pages are made of.
const FILES: &[(&str, &str)] = files![
    "access.js",
    "app.css",
    "app.js",
    "choices.js",
    "client.js",
    "down.js",
    "effects.js",
    "findings.js",
    "frames.js",
    "held.js",
    "http.js",
    "ice.js",
    "icon.svg",
    "kernel.js",
    "ladder.js",
    "ledger.js",
    "live.js",
    "mjpeg.js",
    "models.js",
    "overlay.js",
    "pace.js",
    "prompt.js",
    "publish.js",
    "qr.js",
    "quota.js",
    "relays.js",
    "server.js",
    "session.js",
    "share.js",
    "sketch.js",
    "source.js",
    "source_panel.js",
    "stage.js",
    "traffic.js",
    "tunnel.js",
    "up.js",
    "view.js",
    "watch.js",
    "ways.js",
    "webrtc.js",
    "whep.js",
    "wire.js",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The names behind a piece of text, up to the next quotation mark.
    fn named<'a>(content: &'a str, before: &str) -> Vec<&'a str> {
        content.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
    }

    #[test]
    fn whatever_the_pages_load_is_served_and_whatever_is_served_is_loaded() {
        let pages = [
            include_str!("../../page/index.html"),
            include_str!("../../page/view.html"),
            include_str!("../../page/client.html"),
        ];
        let of_pages = pages.iter().flat_map(|page| named(page, "=\"page/"));
        let of_files = FILES.iter().flat_map(|(_, content)| named(content, "from \"./"));
        let loaded: std::collections::BTreeSet<&str> = of_pages.chain(of_files).collect();
        let served: std::collections::BTreeSet<&str> = FILES.iter().map(|(name, _)| *name).collect();
        assert_eq!(loaded, served);
    }
}
