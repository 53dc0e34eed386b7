//! The WHEP endpoint: `/whep` and `/whep/{stream}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use ooblex_http::Problem;

use super::Shared;
use super::begin::Begun;
use super::endpoint::{created, offer, or_problem};
use super::request::{Target, mounted_at, view_request};
use super::side::Side;

/// `POST /whep`: the stream that began last, or `?stream=`.
pub(super) async fn newest(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    or_problem(view(&shared, None, &parts, body).await)
}

/// `POST /whep/{stream}`.
pub(super) async fn named(
    State(shared): State<Arc<Shared>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    or_problem(view(&shared, Some(name), &parts, body).await)
}

async fn view(
    shared: &Shared,
    name: Option<Result<Path<String>, PathRejection>>,
    parts: &Parts,
    body: Body,
) -> Result<Response, Problem> {
    let stream = Target::stream(parts, name)?;
    let offer = offer(shared, parts, body).await?;
    let request = view_request(shared, &parts.extensions, stream);
    let published = shared.webrtc.view(&offer, request).await?;
    let begun = Begun::new(&shared.webrtc, published);
    created(shared, Side::Viewer, &mounted_at(&parts.extensions, &parts.uri), begun)
}
