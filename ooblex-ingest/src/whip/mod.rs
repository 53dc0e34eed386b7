//! WHIP (RFC 9725), the JSON offer and WHEP (draft-ietf-wish-whep): how publishers and viewers reach [`crate::webrtc`] over
//! HTTP.
//!
//! [`router`] serves them all. What a publisher may choose beside its stream's name goes through [`StreamControl`].
//!
//! Rights are not checked here: whoever serves the router decides who gets that far, the same for an offer and for
//! requests about a session, and says by an [`ooblex_http::Caller`] extension who it is. Tokens never appear in what
//! the router answers. A session's URL names the session and nothing else; it is unguessable.

mod begin;
mod cors;
mod endpoint;
mod etag;
mod fragment;
mod json;
mod links;
mod request;
mod session;
mod side;
mod viewing;

use std::hash::RandomState;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, options, patch, post};
use http::{HeaderValue, Method, header};
use ooblex_http::Problem;

pub use self::cors::Cors;
use self::cors::Takes;
pub use self::etag::{BadIfMatch, IfMatch};
#[doc(hidden)]
pub use self::fragment::fuzz_fragment;
pub use self::fragment::{FragmentError, parse_fragment, print_fragment};
use self::side::Side;
use crate::control::StreamControl;
use crate::webrtc::WebRtc;

/// Media type of offers and answers (RFC 8866 section 8.1).
const SDP: &str = "application/sdp";
/// Media type of fragments (RFC 8840 section 9.1).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Settings of [`router`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WhipConfig {
    /// Pages of which other origins may publish.
    pub cors: Cors,
}

/// What handlers share.
struct Shared {
    webrtc: WebRtc,
    control: Arc<dyn StreamControl>,
    /// For callers that nobody has looked at yet.
    key: RandomState,
}

/// The routes that take WebRTC publishers into the hub of `webrtc`, and viewers to its
/// [`Broadcast`](crate::webrtc::Broadcast).
///
/// | Path | Methods | Is |
/// |---|---|---|
/// | `/whip`, `/whip/{stream}` | `POST`, `OPTIONS` | WHIP endpoint; `?stream=`, `?effect=` or `X-Transform-Type` |
/// | `/whip/sessions/{session}` | `PATCH`, `DELETE`, `OPTIONS` | WHIP session, as `Location` names it |
/// | `/whep` | `POST`, `OPTIONS` | WHEP endpoint of the stream that began last; `?stream=` |
/// | `/whep/{stream}` | `POST`, `OPTIONS` | WHEP endpoint of one stream |
/// | `/whep/sessions/{session}` | `PATCH`, `DELETE`, `OPTIONS` | WHEP session, as `Location` names it |
/// | `/webrtc/offer`, `/offer` | `POST`, `OPTIONS` | `{"sdp","type","model"?,"stream"?}` to `{"sdp","type","pc_id"}` |
///
/// Errors are problem documents. `Location` is an absolute path; a prefix under which an axum router nests this one
/// is in it.
///
/// ```
/// use std::sync::Arc;
/// use ooblex_ingest::webrtc::WebRtc;
/// use ooblex_ingest::control::NoControl;
/// use ooblex_ingest::whip::{self, WhipConfig};
///
/// fn publishers(webrtc: WebRtc) -> axum::Router {
///     let control = Arc::new(NoControl);
///     let webrtc = webrtc.with_control(control.clone());
///     axum::Router::new().nest("/in", whip::router(webrtc, control, WhipConfig::default()))
/// }
/// ```
pub fn router(webrtc: WebRtc, control: Arc<dyn StreamControl>, config: WhipConfig) -> Router {
    let shared = Arc::new(Shared { webrtc, control, key: RandomState::new() });
    let cors = config.cors;
    Router::new()
        .route("/whip", with(Takes::Sdp, post(endpoint::default)))
        .route("/whip/{stream}", with(Takes::Sdp, post(endpoint::named)))
        .route("/whip/sessions/{session}", of_session(Side::Publisher))
        .route("/whep", with(Takes::Sdp, post(viewing::newest)))
        .route("/whep/{stream}", with(Takes::Sdp, post(viewing::named)))
        .route("/whep/sessions/{session}", of_session(Side::Viewer))
        .route("/webrtc/offer", with(Takes::Json, post(json::offer)))
        .route("/offer", with(Takes::Json, post(json::offer)))
        .layer(axum::middleware::from_fn(move |request, next| cors.clone().decorate(request, next)))
        .with_state(shared)
}

/// `PATCH` and `DELETE` of a session.
fn of_session(side: Side) -> MethodRouter<Arc<Shared>> {
    let change = async move |State(shared): State<Arc<Shared>>, name: session::Name, request: Request| {
        session::patch(side, &shared, name, request).await
    };
    let end = async move |State(shared): State<Arc<Shared>>, name: session::Name| {
        session::delete(side, &shared, name).await
    };
    with(Takes::Fragments, patch(change).delete(end))
}

/// Adds `OPTIONS`, and 405 for every other method: RFC 9725 section 4.2 reserves them.
fn with(takes: Takes, methods: MethodRouter<Arc<Shared>>) -> MethodRouter<Arc<Shared>> {
    let methods =
        methods.merge(options(async move |State(shared): State<Arc<Shared>>, headers| match takes {
            Takes::Sdp => endpoint::options(&shared, &headers),
            _ => takes.options(),
        }));
    methods.fallback(async move |method: Method| not_allowed(&method, takes))
}

fn not_allowed(method: &Method, takes: Takes) -> Response {
    let allow = takes.methods();
    let detail = format!("{method} is not allowed here; use {allow}");
    let problem = Problem::new(405, "method_not_allowed", detail).field("method").value(method.as_str());
    let mut response = problem.limit(allow).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}
