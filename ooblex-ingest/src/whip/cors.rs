//! Publishing and watching pages of other origins, and what `OPTIONS` says (RFC 9725 section 4.2, the Fetch standard).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{FRAGMENT, SDP};

/// Which pages of other origins may publish.
///
/// Whatever this says, `OPTIONS` tells methods and media types. Pages of the router's own origin need no permission.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// None by this router. For hosts that answer for other origins themselves, and for the careful.
    #[default]
    Off,
    /// All of them.
    Any,
    /// Those of these origins, as browsers write them: `https://example.org`.
    Origins(Vec<String>),
}

/// Header fields that a page needs to see.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Location, Link, ETag, Allow, Accept-Post, Accept-Patch, Retry-After");
/// Header fields that a page needs to send.
const SENT: HeaderValue = HeaderValue::from_static("Content-Type, Authorization, If-Match, X-Transform-Type");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// Seconds for which a browser may remember an answer to `OPTIONS`.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

impl Cors {
    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(header::ORIGIN)?;
        match self {
            Self::Off => None,
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Origins(list) => {
                list.iter().any(|o| o.as_bytes() == origin.as_bytes()).then(|| origin.clone())
            }
        }
    }

    /// Lets allowed pages read the response, whatever it is, and answers their preflights.
    pub(super) async fn decorate(self, request: Request, next: Next) -> Response {
        let allowed = self.allowed(request.headers());
        let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let preflight = request.method() == Method::OPTIONS && asks;
        let mut response = next.run(request).await;
        let headers = response.headers_mut();
        if matches!(self, Self::Origins(_)) {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        let Some(origin) = allowed else { return response };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if preflight {
            if let Some(allow) = headers.get(header::ALLOW).cloned() {
                headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
            }
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, SENT);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
        response
    }
}

/// What a path takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Offers as SDP.
    Sdp,
    /// Offers as JSON.
    Json,
    /// Fragments, and the end.
    Fragments,
}

impl Takes {
    pub(super) const fn methods(self) -> &'static str {
        match self {
            Self::Sdp | Self::Json => "POST, OPTIONS",
            Self::Fragments => "PATCH, DELETE, OPTIONS",
        }
    }

    /// `Accept-Post` (W3C Linked Data Platform 7.1) or `Accept-Patch` (RFC 5789 section 3.1).
    pub(super) fn accepts(self, headers: &mut HeaderMap) {
        let (name, value) = match self {
            Self::Sdp => (ACCEPT_POST, SDP),
            Self::Json => (ACCEPT_POST, "application/json"),
            Self::Fragments => (ACCEPT_PATCH, FRAGMENT),
        };
        headers.insert(name, HeaderValue::from_static(value));
    }

    /// The answer to `OPTIONS`: 200, because RFC 9725 section 4.2 says so.
    pub(super) fn options(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        headers.insert(header::ALLOW, HeaderValue::from_static(self.methods()));
        self.accepts(headers);
        response
    }
}
