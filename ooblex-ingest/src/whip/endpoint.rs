//! The WHIP endpoint: `/whip` and `/whip/{stream}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ooblex_http::Problem;

use super::begin::{Back, Begun};
use super::cors::Takes;
use super::request::{Target, has_type, mounted_at, publish_request, wrong_type};
use super::side::Side;
use super::{SDP, Shared, begin, links};
use crate::http::body;

/// `POST /whip`.
pub(super) async fn default(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    respond(&shared, None, request).await
}

/// `POST /whip/{stream}`.
pub(super) async fn named(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    respond(&shared, Some(name), request).await
}

/// `OPTIONS`. Servers that need no credentials are named here, too, for clients that have to know them before they
/// make an offer; but not in a preflight (RFC 9725 section 4.6).
pub(super) fn options(shared: &Shared, request: &HeaderMap) -> Response {
    let mut response = Takes::Sdp.options();
    if !request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        links::append(&shared.webrtc.ice_servers().for_page(), false, response.headers_mut());
    }
    response
}

async fn respond(
    shared: &Shared,
    name: Option<Result<Path<String>, PathRejection>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    or_problem(publish(shared, name, &parts, body).await)
}

/// The response, or the problem with what would be taken.
pub(super) fn or_problem(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(|problem| {
        let unsupported = problem.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let mut response = problem.into_response();
        if unsupported {
            Takes::Sdp.accepts(response.headers_mut());
        }
        response
    })
}

async fn publish(
    shared: &Shared,
    name: Option<Result<Path<String>, PathRejection>>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    let Target { stream, effect } = Target::of(parts, name)?;
    let offer = offer(shared, parts, body).await?;
    let request = publish_request(shared, &parts.extensions, stream);
    let begun = begin::begin(shared, &offer, request, effect, Back::Nothing).await?;
    created(shared, Side::Publisher, &mounted_at(&parts.extensions, &parts.uri), begun)
}

/// The offer that a request carries.
pub(super) async fn offer(shared: &Shared, parts: &Parts, body: Body) -> Result<String, Problem> {
    if !has_type(&parts.headers, SDP) {
        return Err(wrong_type(&parts.headers, SDP));
    }
    let offer = body::collect(&parts.headers, body, shared.webrtc.config().max_offer_bytes).await?;
    text(&offer).map(str::to_owned)
}

/// The offer as text.
fn text(offer: &[u8]) -> Result<&str, Problem> {
    if offer.trim_ascii().is_empty() {
        return Err(Problem::new(400, "empty_body", "body is empty; send an SDP offer").field("body"));
    }
    std::str::from_utf8(offer).map_err(|e| {
        let detail = format!("body is not an SDP offer: byte {} is not UTF-8", e.valid_up_to());
        Problem::new(400, "bad_offer", detail).field("body").value(e.valid_up_to() as u64)
    })
}

/// 201, with everything that a client needs for the rest of the session.
pub(super) fn created(
    shared: &Shared,
    side: Side,
    prefix: &str,
    mut begun: Begun,
) -> Result<Response, Problem> {
    let Some(published) = begun.answer() else { return Err(Problem::new(500, "internal", "no answer")) };
    let location = format!("{prefix}{}/sessions/{}", side.root(), published.id);
    let mut response = (StatusCode::CREATED, published.answer).into_response();
    response.extensions_mut().insert(published.id);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(SDP));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Invariant: a prefix was part of a request's path, names of sessions and entity tags are visible ASCII.
    if let (Ok(mut location), Ok(etag)) =
        (HeaderValue::from_str(&location), HeaderValue::from_str(&published.etag))
    {
        location.set_sensitive(true);
        headers.insert(header::LOCATION, location);
        headers.insert(header::ETAG, etag);
    }
    Takes::Fragments.accepts(headers);
    links::append(&shared.webrtc.ice_servers().for_page(), true, headers);
    Ok(response)
}
