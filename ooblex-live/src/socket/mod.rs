//! `GET /ws/live` and `GET /ws/view`: video over one WebSocket, both ways. `docs/LIVE_PROTOCOL.md` has the wire.
//!
//! Rights are not checked here: whoever serves the router decides who gets that far, says by an
//! [`ooblex_http::Caller`] extension who it is, and by [`ooblex_http::MayView`] whether a publisher may see what becomes
//! of its stream.

mod begin;
mod climb;
mod config;
mod counters;
mod effects;
mod flight;
mod limits;
mod outbox;
mod owners;
mod publish;
mod session;
mod view;

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use axum::routing::get;
use http::{Extensions, HeaderMap, header};
use ooblex_core::StreamId;
use ooblex_core::hub::Hub;
use ooblex_http::{Caller, MayView, Problem};
use ooblex_ingest::control::StreamControl;
use serde::Deserialize;
use tokio::sync::watch;

pub use self::config::SocketConfig;
pub use self::counters::SocketCounters;
use self::limits::Seats;
use self::owners::Owners;
use crate::LiveHub;
use crate::protocol::{HEADER_LEN, MAX_TEXT, SUBPROTOCOL};

/// What feeds the streams of publishers here, as [`Stream::kind`](ooblex_core::hub::Stream::kind) tells.
pub const KIND: &str = "websocket";
/// A message up to this many times too large is still read, so that the peer gets to see why it is refused.
const READ_LIMITS: usize = 2;

/// The WebSockets of a hub's publishers and viewers. Cheap to clone.
#[derive(Clone)]
pub struct LiveSockets(Arc<Shared>);

/// How many sockets there are, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketReport {
    /// All that are open.
    pub open: usize,
    /// Those that publish.
    pub publishing: usize,
    /// Those that view; many do both.
    pub viewing: usize,
}

struct Shared {
    hub: Hub,
    live: LiveHub,
    control: Arc<dyn StreamControl>,
    config: SocketConfig,
    seats: Seats,
    owners: Owners,
    counters: Arc<SocketCounters>,
    viewing: Arc<AtomicUsize>,
    stopping: watch::Sender<bool>,
    /// For callers that nobody has looked at yet.
    key: RandomState,
}

impl LiveSockets {
    /// Sockets into and out of `hub`, whose streams have sinks of `live`. Publishers switch effects by `control`.
    pub fn new(hub: Hub, live: LiveHub, control: Arc<dyn StreamControl>, config: SocketConfig) -> Self {
        let owners = Owners::new(hub.clone(), config.grace, config.resume_within);
        Self(Arc::new(Shared {
            hub,
            live,
            control,
            config,
            seats: Seats::default(),
            owners,
            counters: Arc::default(),
            viewing: Arc::default(),
            stopping: watch::Sender::new(false),
            key: RandomState::new(),
        }))
    }

    /// The routes `/ws/live` and `/ws/view`.
    pub fn router(&self) -> Router {
        Router::new().route("/ws/live", get(live)).route("/ws/view", get(view)).with_state(self.0.clone())
    }

    /// How many sockets there are.
    pub fn report(&self) -> SocketReport {
        SocketReport {
            open: self.0.seats.total(),
            publishing: self.0.owners.connected(),
            viewing: self.0.viewing.load(Ordering::Relaxed),
        }
    }

    /// Counts since the start.
    pub fn counters(&self) -> &SocketCounters {
        &self.0.counters
    }

    /// Closes every socket, and those that are still to come.
    pub fn shutdown(&self) {
        self.0.stopping.send_replace(true);
    }
}

#[derive(Deserialize)]
struct Parameters {
    stream: Option<String>,
}

type Asked = Result<Query<Parameters>, QueryRejection>;
type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

async fn live(
    State(shared): State<Arc<Shared>>,
    query: Asked,
    headers: HeaderMap,
    extensions: Extensions,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    let may_view = MayView::of_request(&extensions);
    begin(shared, query, &headers, &extensions, upgrade, true, may_view)
}

async fn view(
    State(shared): State<Arc<Shared>>,
    query: Asked,
    headers: HeaderMap,
    extensions: Extensions,
    upgrade: Upgrade,
) -> Result<Response, Problem> {
    begin(shared, query, &headers, &extensions, upgrade, false, true)
}

fn begin(
    shared: Arc<Shared>,
    query: Asked,
    headers: &HeaderMap,
    extensions: &Extensions,
    upgrade: Upgrade,
    may_publish: bool,
    may_view: bool,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|e| Problem::new(400, "not_a_websocket", e.body_text().to_lowercase()))?;
    let Query(Parameters { stream }) =
        query.map_err(|e| Problem::new(400, "bad_query", e.body_text().to_lowercase()))?;
    let bad = |e: ooblex_core::StreamIdError| Problem::new(400, "bad_name", e.to_string()).field("stream");
    let stream = stream.map(|name| StreamId::new(&name).map_err(|e| bad(e).value(name))).transpose()?;
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut offered = offered.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).peekable();
    if offered.peek().is_some() && !offered.any(|name| name.trim() == SUBPROTOCOL) {
        let detail = format!("none of the offered subprotocols is spoken here; offer {SUBPROTOCOL}");
        return Err(Problem::new(400, "unknown_subprotocol", detail).known([SUBPROTOCOL.to_owned()]));
    }
    let caller = Caller::of_request(extensions, &shared.key).map(|caller| caller.publisher);
    let entry = begin::Entry { stream, caller, may_publish, may_view };
    let limit = (shared.config.pictures.max_bytes + HEADER_LEN).max(MAX_TEXT);
    let upgrade = upgrade.protocols([SUBPROTOCOL]).max_message_size(limit);
    let upgrade = upgrade.max_frame_size(limit.saturating_mul(READ_LIMITS));
    Ok(upgrade.on_upgrade(move |socket| session::serve(shared, entry, socket)))
}
