//! A WHIP or WHEP session: `/whip/sessions/{session}`, `/whep/sessions/{session}`.

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ooblex_http::Problem;

use super::cors::Takes;
use super::request::{has_type, wrong_type};
use super::side::Side;
use super::{FRAGMENT, FragmentError, IfMatch, Shared, fragment, parse_fragment, print_fragment};
use crate::http::body;
use crate::webrtc::{Fragment, Restarted, SessionError, SessionId, WebRtc};

pub(super) type Name = Result<Path<String>, PathRejection>;

/// `DELETE`: the session ends at once. Conditions do not matter here (RFC 9725 section 4.3.1).
pub(super) async fn delete(side: Side, shared: &Shared, name: Name) -> Response {
    let closed = match session(name) {
        Ok(id) => side.knows(&shared.webrtc, &id) && shared.webrtc.close(&id).await,
        Err(error) => return Problem::from(error).into_response(),
    };
    if closed { StatusCode::OK.into_response() } else { Problem::from(SessionError::Unknown).into_response() }
}

/// `PATCH`: more candidates, or an ICE restart.
pub(super) async fn patch(side: Side, shared: &Shared, name: Name, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    change(side, shared, name, &parts.headers, body).await.unwrap_or_else(|problem| {
        let unsupported = problem.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let mut response = problem.into_response();
        if unsupported {
            Takes::Fragments.accepts(response.headers_mut());
        }
        response
    })
}

async fn change(
    side: Side,
    shared: &Shared,
    name: Name,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let id = session(name)?;
    if !side.knows(&shared.webrtc, &id) {
        return Err(SessionError::Unknown.into());
    }
    if !has_type(headers, FRAGMENT) {
        return Err(wrong_type(headers, FRAGMENT));
    }
    let condition = IfMatch::of(headers)
        .map_err(|e| Problem::new(400, "bad_if_match", e.to_string()).field("If-Match"))?
        .ok_or(SessionError::TagRequired)?;
    let body = body::collect(headers, body, fragment::MAX_BYTES).await?;
    let fragment = parse_fragment(&body)?;
    match trickle(&shared.webrtc, &id, &fragment, &condition).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        // Credentials that are not those of the ICE session ask for another one (RFC 9725 section 4.3.3).
        Err(SessionError::Fragment(_)) if fragment.credentials.is_some() => {
            Ok(restarted(&shared.webrtc.restart(&id, fragment).await?))
        }
        Err(error) => Err(error.into()),
    }
}

/// Adds candidates if the condition holds.
async fn trickle(
    webrtc: &WebRtc,
    id: &SessionId,
    fragment: &Fragment,
    condition: &IfMatch,
) -> Result<(), SessionError> {
    let any = ["*".to_owned()];
    let tags = match condition {
        IfMatch::Any => &any[..],
        IfMatch::Tags(tags) => &tags[..],
    };
    for tag in tags {
        match webrtc.trickle(id, fragment.clone(), Some(tag)).await {
            Err(SessionError::TagMismatch) => {}
            other => return other,
        }
    }
    Err(SessionError::TagMismatch)
}

/// The session that the path names. What cannot be the name of a session is just unknown.
fn session(name: Name) -> Result<SessionId, SessionError> {
    name.ok().and_then(|Path(name)| name.parse().ok()).ok_or(SessionError::Unknown)
}

fn restarted(restarted: &Restarted) -> Response {
    let mut response = (StatusCode::OK, print_fragment(restarted)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FRAGMENT));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Invariant: entity tags are visible ASCII.
    if let Ok(etag) = HeaderValue::from_str(&restarted.etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

impl From<FragmentError> for Problem {
    fn from(error: FragmentError) -> Self {
        let detail = error.to_string();
        match error {
            FragmentError::TooLarge { bytes } => {
                Self::new(413, "body_too_large", detail).value(bytes as u64).limit(fragment::MAX_BYTES as u64)
            }
            FragmentError::TooMany { limit, .. } => {
                Self::new(422, "too_many_candidates", detail).limit(limit as u64)
            }
            FragmentError::Empty => Self::new(400, "empty_body", detail),
            FragmentError::Line { line, .. } => {
                Self::new(400, "malformed_fragment", detail).value(line as u64)
            }
            FragmentError::HalfCredentials { .. } => Self::new(400, "malformed_fragment", detail),
        }
        .field("body")
    }
}
