//! Every route: what it is, who serves it, and what it may answer. The router, `/openapi.json`, the methods that are
//! allowed, CORS and the metrics all read this table.

use axum::routing::{MethodRouter, get, post};

use super::{AppState, annotations, control, models, openapi, page, probe, state, tokens};
use crate::access::Right;

/// Who answers.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// This crate.
    Own(fn() -> MethodRouter<AppState>),
    /// The router of `ooblex-ingest`.
    Ingest,
    /// The router of `ooblex-mjpeg`.
    Mjpeg,
    /// The router of `ooblex-ingest` for WebRTC.
    WebRtc,
    /// The router of `ooblex-live` for video over WebSockets.
    Live,
}

/// One operation.
pub(super) struct Route {
    /// `GET` (which answers `HEAD`, too), `POST`, `PATCH` or `DELETE`.
    pub(super) method: &'static str,
    /// The path; `{name}` stands for one segment or, before a suffix, for the beginning of one.
    pub(super) path: &'static str,
    /// What the caller must be allowed to do.
    pub(super) right: Right,
    /// One line for `/openapi.json`.
    pub(super) summary: &'static str,
    /// Query parameters: name, JSON type, meaning.
    pub(super) query: &'static [(&'static str, &'static str, &'static str)],
    /// Media types of the body of a request.
    pub(super) takes: &'static [&'static str],
    /// Status of a good answer.
    pub(super) good: u16,
    /// Media type of a good answer; empty if it has no body.
    pub(super) gives: &'static str,
    /// Status codes of errors, each a problem document.
    pub(super) errors: &'static [u16],
    /// Who answers.
    pub(super) by: By,
}

const STREAM: (&str, &str, &str) = ("stream", "string", "name of the stream, `default` if absent");
const LIVE_STREAM: (&str, &str, &str) =
    ("stream", "string", "name of the stream; if absent a new one to publish, the newest to view");
const NEWEST: (&str, &str, &str) =
    ("stream", "string", "name of the stream, the one that began last if absent");
const FPS: (&str, &str, &str) = ("fps", "integer", "most pictures a second");
const ADVANCE_HEADERS: (&str, &str, &str) =
    ("advance_headers", "integer", "1: the next part's headers leave with a picture; 0: they do not");
const WIDTH: (&str, &str, &str) =
    ("width", "integer", "width of the picture in pixels; it is never enlarged");
const EFFECT: (&str, &str, &str) = ("effect", "string", "an effect, or several joined by | or +");
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const OFFER_ERRORS: &[u16] = &[400, 404, 409, 413, 415, 422, 429, 503];
const PICTURES: &[&str] = &["image/jpeg", "image/png", "image/webp"];
const JSON: &str = "application/json";
const JPEG: &str = "image/jpeg";
const MULTIPART: &str = "multipart/x-mixed-replace; boundary=frame";
const UPLOAD_ERRORS: &[u16] = &[400, 403, 409, 413, 415, 422, 429, 503];
const EFFECT_ERRORS: &[u16] = &[400, 403, 404, 413, 422, 503];

impl Route {
    const fn get(
        path: &'static str,
        right: Right,
        summary: &'static str,
        gives: &'static str,
        by: By,
    ) -> Self {
        Self {
            method: "GET",
            path,
            right,
            summary,
            query: &[],
            takes: &[],
            good: 200,
            gives,
            errors: &[],
            by,
        }
    }

    const fn post(
        path: &'static str,
        right: Right,
        summary: &'static str,
        gives: &'static str,
        by: By,
    ) -> Self {
        Self { method: "POST", ..Self::get(path, right, summary, gives, by) }
    }

    /// A route of WebRTC publishers.
    const fn webrtc(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self { method, ..Self::get(path, Right::Publish, summary, "", By::WebRtc) }
    }

    /// A route of WebRTC viewers.
    const fn whep(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        Self { method, ..Self::get(path, Right::View, summary, "", By::WebRtc) }
    }

    const fn gives(self, good: u16, gives: &'static str) -> Self {
        Self { good, gives, ..self }
    }

    const fn query(self, query: &'static [(&'static str, &'static str, &'static str)]) -> Self {
        Self { query, ..self }
    }

    const fn takes(self, takes: &'static [&'static str]) -> Self {
        Self { takes, ..self }
    }

    const fn errors(self, errors: &'static [u16]) -> Self {
        Self { errors, ..self }
    }
}

/// The table. Where two paths fit a request, the first one counts.
pub(super) const ROUTES: &[Route] = &[
    Route::get("/", Right::Public, "the page", "text/html; charset=utf-8", By::Own(|| get(page::index))),
    Route::get(
        "/view",
        Right::Public,
        "the page for viewers, without controls",
        "text/html; charset=utf-8",
        By::Own(|| get(page::view)),
    )
    .query(&[
        ("stream", "string", "name of the stream, the newest if absent"),
        ("transport", "string", "the one way to use: webrtc, ws, ws-jpeg, http or snapshot"),
    ]),
    Route::get(
        "/client.html",
        Right::Public,
        "a plain client: a camera by WebRTC, MJPEG back",
        "text/html; charset=utf-8",
        By::Own(|| get(page::client)),
    ),
    Route::get("/page/{file}", Right::Public, "what the pages are made of", "*/*", By::Own(|| get(page::part)))
        .errors(&[404]),
    Route::post(
        "/upload",
        Right::Publish,
        "publish a picture; its type is found out by content",
        "text/plain; charset=utf-8",
        By::Ingest,
    )
    .query(&[STREAM])
    .takes(PICTURES)
    .errors(UPLOAD_ERRORS),
    Route::post(
        "/upload_frame",
        Right::Publish,
        "the same as /upload",
        "text/plain; charset=utf-8",
        By::Ingest,
    )
    .query(&[STREAM])
    .takes(PICTURES)
    .errors(UPLOAD_ERRORS),
    Route::post(
        "/frame",
        Right::Publish,
        "publish a picture in base64, with or without a data-URL prefix",
        "text/plain; charset=utf-8",
        By::Ingest,
    )
    .query(&[STREAM])
    .takes(&["text/plain"])
    .errors(UPLOAD_ERRORS),
    Route::get(
        "/ws/upload",
        Right::Publish,
        "WebSocket: one picture a binary message, one JSON text reply each",
        "application/json",
        By::Ingest,
    )
    .query(&[STREAM])
    .gives(101, "application/json")
    .errors(&[400, 403, 409, 429, 503]),
    Route::get(
        "/ws/live",
        Right::Publish,
        "WebSocket: video both ways, docs/LIVE_PROTOCOL.md; to view, too, needs the right to view",
        "application/octet-stream",
        By::Live,
    )
    .query(&[LIVE_STREAM])
    .gives(101, "application/octet-stream")
    .errors(&[400, 403]),
    Route::get(
        "/ws/view",
        Right::View,
        "WebSocket: video for a viewer, docs/LIVE_PROTOCOL.md",
        "application/octet-stream",
        By::Live,
    )
    .query(&[LIVE_STREAM])
    .gives(101, "application/octet-stream")
    .errors(&[400, 403]),
    Route::webrtc("POST", "/whip", "publish by WHIP (RFC 9725) as the stream `default`")
        .query(&[STREAM, EFFECT])
        .takes(&[SDP])
        .gives(201, SDP)
        .errors(OFFER_ERRORS),
    Route::webrtc("POST", "/whip/{stream}", "publish by WHIP (RFC 9725)")
        .query(&[EFFECT])
        .takes(&[SDP])
        .gives(201, SDP)
        .errors(OFFER_ERRORS),
    Route::webrtc(
        "PATCH",
        "/whip/sessions/{session}",
        "add candidates (204), or restart ICE (200, with a fragment)",
    )
    .takes(&[FRAGMENT])
    .gives(204, "")
    .errors(&[400, 404, 412, 413, 415, 422, 428]),
    Route::webrtc("DELETE", "/whip/sessions/{session}", "end a session").errors(&[404]),
    Route::whep("POST", "/whep", "watch the stream that began last, by WHEP")
        .query(&[NEWEST])
        .takes(&[SDP])
        .gives(201, SDP)
        .errors(OFFER_ERRORS),
    Route::whep("POST", "/whep/{stream}", "watch one stream by WHEP")
        .takes(&[SDP])
        .gives(201, SDP)
        .errors(OFFER_ERRORS),
    Route::whep(
        "PATCH",
        "/whep/sessions/{session}",
        "add candidates (204), or restart ICE (200, with a fragment)",
    )
    .takes(&[FRAGMENT])
    .gives(204, "")
    .errors(&[400, 404, 412, 413, 415, 422, 428]),
    Route::whep("DELETE", "/whep/sessions/{session}", "end a viewer's session").errors(&[404]),
    Route::webrtc("POST", "/webrtc/offer", "publish by WebRTC, and get the processed picture back if the offer asks to receive: offer and answer as JSON")
        .query(&[STREAM, EFFECT])
        .takes(&[JSON])
        .gives(200, JSON)
        .errors(OFFER_ERRORS),
    Route::webrtc("POST", "/offer", "the same as /webrtc/offer")
        .query(&[STREAM, EFFECT])
        .takes(&[JSON])
        .gives(200, JSON)
        .errors(OFFER_ERRORS),
    Route::get(
        "/ice-servers",
        Right::Publish,
        "STUN and TURN servers for a page that publishes",
        JSON,
        By::Own(|| get(state::ice_servers)),
    ),
    Route::get("/stream.mjpg", Right::View, "the stream that began last, as MJPEG", MULTIPART, By::Mjpeg)
        .query(&[FPS, ADVANCE_HEADERS])
        .errors(&[422, 429]),
    Route::get("/streams/{name}/stream.mjpg", Right::View, "one stream as MJPEG", MULTIPART, By::Mjpeg)
        .query(&[FPS, ADVANCE_HEADERS])
        .errors(&[400, 404, 422, 429]),
    Route::get("/snapshot.jpg", Right::View, "newest picture of the stream that began last", JPEG, By::Mjpeg)
        .query(&[WIDTH])
        .errors(&[422, 503]),
    Route::get("/streams/{name}/snapshot.jpg", Right::View, "newest picture of one stream", JPEG, By::Mjpeg)
        .query(&[WIDTH])
        .errors(&[400, 404, 422, 503]),
    Route::get(
        "/streams/{name}/snapshot.png",
        Right::View,
        "newest picture of one stream, lossless",
        "image/png",
        By::Mjpeg,
    )
    .errors(&[400, 404, 422, 503]),
    Route::get(
        "/streams/{name}/annotations",
        Right::View,
        "what was found in the newest frame of one stream; as server-sent events, or on a WebSocket, of every frame",
        JSON,
        By::Own(|| get(annotations::annotations)),
    )
    .errors(&[400, 404, 503]),
    Route::get("/{name}.mjpg", Right::View, "the same as /streams/{name}/stream.mjpg", MULTIPART, By::Mjpeg)
        .query(&[FPS, ADVANCE_HEADERS])
        .errors(&[400, 404, 422, 429]),
    Route::get("/{name}.jpg", Right::View, "the same as /streams/{name}/snapshot.jpg", JPEG, By::Mjpeg)
        .query(&[WIDTH])
        .errors(&[400, 404, 422, 503]),
    Route::get("/health", Right::Public, "whether everything works", JSON, By::Own(|| get(state::health))),
    Route::get("/status", Right::View, "what runs, in detail", JSON, By::Own(|| get(state::status))),
    Route::get("/streams", Right::View, "every stream", JSON, By::Own(|| get(state::streams))),
    Route::get("/effects", Right::View, "the effects there are", JSON, By::Own(|| get(control::effects)))
        .query(&[("detail", "string", "`full` for an array with aliases and parameters")])
        .errors(&[422]),
    Route::post(
        "/effect",
        Right::Control,
        "switch all live and later streams to an effect or a chain",
        JSON,
        By::Own(|| post(control::switch_all)),
    )
    .takes(&[JSON])
    .errors(EFFECT_ERRORS),
    Route::post(
        "/streams/{name}/effect",
        Right::Control,
        "switch one stream to an effect or a chain",
        JSON,
        By::Own(|| post(control::switch_one)),
    )
    .takes(&[JSON])
    .errors(EFFECT_ERRORS),
    Route::get(
        "/set_effect/{name}",
        Right::Control,
        "switch all streams; use POST /effect instead",
        JSON,
        By::Own(|| get(control::set_effect)),
    )
    .errors(&[403, 404, 422, 503]),
    Route::get("/models", Right::View, "the models there are", JSON, By::Own(|| get(models::list))),
    Route::post(
        "/models/{model}/load",
        Right::Control,
        "load a model, unless it is in memory; waits until it is",
        JSON,
        By::Own(|| post(models::load)),
    )
    .errors(&[400, 403, 404, 503]),
    Route::post(
        "/models/{model}/unload",
        Right::Control,
        "put a model away that no effect uses",
        JSON,
        By::Own(|| post(models::unload)),
    )
    .errors(&[400, 403, 404, 409]),
    Route::get(
        "/metrics",
        Right::View,
        "counters and latencies for Prometheus",
        "text/plain; version=0.0.4; charset=utf-8",
        By::Own(|| get(state::metrics)),
    ),
    Route::get(
        "/access",
        Right::View,
        "what the token gives, and tokens for addresses that a page shows",
        JSON,
        By::Own(|| get(tokens::access)),
    ),
    Route::post(
        "/tokens/{kind}/rotate",
        Right::Control,
        "replace a token (control, publish, view, link) by a new one, and end what the old one let in",
        JSON,
        By::Own(|| post(tokens::rotate)),
    )
    .errors(&[400, 404, 409, 503]),
    Route::post(
        "/tokens/{kind}/revoke",
        Right::Control,
        "take a token (publish, view, link) back, and end what it let in",
        JSON,
        By::Own(|| post(tokens::revoke)),
    )
    .errors(&[400, 404, 409]),
    Route::get(
        "/tunnel/probe/{nonce}/{step}",
        Right::Public,
        "by this the server finds out what its tunnel lets through; of no use to others",
        "*/*",
        By::Own(|| get(probe::probe)),
    )
    .errors(&[400, 404]),
    Route::get("/openapi.json", Right::View, "this description", JSON, By::Own(|| get(openapi::document))),
];

/// What the table says about a path.
pub(super) struct Found {
    /// Every method of the path, with its place in the table.
    pub(super) methods: Vec<(&'static str, usize)>,
}

impl Found {
    /// For an `Allow` header.
    pub(super) fn allow(&self) -> String {
        let mut allow: Vec<&str> = self.methods.iter().map(|(m, _)| *m).collect();
        if allow.contains(&"GET") {
            allow.push("HEAD");
        }
        allow.push("OPTIONS");
        allow.join(", ")
    }

    /// The operation for a method.
    pub(super) fn operation(&self, method: &http::Method) -> Option<usize> {
        let method = if method == http::Method::HEAD { "GET" } else { method.as_str() };
        self.methods.iter().find(|(m, _)| *m == method).map(|(_, index)| *index)
    }
}

/// Looks a path up.
pub(super) fn find(path: &str) -> Option<Found> {
    let first = ROUTES.iter().find(|route| fits(route.path, path))?;
    let same = ROUTES.iter().enumerate().filter(|(_, route)| route.path == first.path);
    Some(Found { methods: same.map(|(index, route)| (route.method, index)).collect() })
}

/// Whether a path fits a template, segment by segment.
fn fits(template: &str, path: &str) -> bool {
    let (mut template, mut path) = (template.split('/'), path.split('/'));
    loop {
        match (template.next(), path.next()) {
            (None, None) => return true,
            (Some(t), Some(p)) if segment_fits(t, p) => {}
            _ => return false,
        }
    }
}

fn segment_fits(template: &str, segment: &str) -> bool {
    match template.strip_prefix('{').and_then(|t| t.split_once('}')) {
        None => template == segment,
        Some((_, suffix)) => segment.strip_suffix(suffix).is_some_and(|name| !name.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found() {
        let path_of = |path: &str| find(path).map(|f| ROUTES[f.methods[0].1].path);
        for (path, template) in [
            ("/", "/"),
            ("/stream.mjpg", "/stream.mjpg"),
            ("/cam.mjpg", "/{name}.mjpg"),
            ("/cam.jpg", "/{name}.jpg"),
            ("/snapshot.jpg", "/snapshot.jpg"),
            ("/streams/a/stream.mjpg", "/streams/{name}/stream.mjpg"),
            ("/streams/a/effect", "/streams/{name}/effect"),
            ("/set_effect/blur%7Csepia", "/set_effect/{name}"),
        ] {
            assert_eq!(path_of(path), Some(template));
        }
        for path in
            ["", "/.mjpg", "/health/", "//", "/streams//effect", "/nothing", "/a/b.mjpg", "/set_effect/"]
        {
            assert_eq!(path_of(path), None, "{path}");
        }
    }

    #[test]
    fn methods_of_a_path() {
        let found = find("/effect").expect("found");
        assert_eq!(found.allow(), "POST, OPTIONS");
        assert!(found.operation(&http::Method::GET).is_none());
        let found = find("/health").expect("found");
        assert_eq!(found.allow(), "GET, HEAD, OPTIONS");
        assert_eq!(found.operation(&http::Method::HEAD), found.operation(&http::Method::GET));
    }
}
