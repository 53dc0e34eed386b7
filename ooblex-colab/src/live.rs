//! Live video over WebSockets, as the settings want it.

use std::sync::Arc;
use std::time::Duration;

use ooblex_core::hub::Hub;
use ooblex_ingest::picture::PictureLimits;
use ooblex_live::socket::{LiveSockets, SocketConfig};

use crate::config::Config;
use crate::graph::Graph;
use crate::publisher::PublisherControl;

/// Sockets into and out of `hub`.
pub(crate) fn sockets(config: &Config, hub: &Hub, graph: &Graph) -> LiveSockets {
    let mut sockets = SocketConfig::default();
    sockets.budget = Duration::from_millis(config.live_budget_ms);
    sockets.max_sessions = config.max_live_sessions;
    sockets.max_sessions_per_caller = config.max_connections_per_address.min(config.max_live_sessions);
    sockets.pictures = PictureLimits { max_bytes: config.max_body_bytes, max_pixels: config.max_pixels };
    let control = Arc::new(PublisherControl { hub: hub.clone(), effects: graph.effects.clone() });
    LiveSockets::new(hub.clone(), graph.live.clone(), control, sockets)
}
