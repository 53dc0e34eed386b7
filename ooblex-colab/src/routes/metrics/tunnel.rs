//! What `/metrics` says of the tunnel.

use super::Text;
use crate::tunnel::{Measure, Phase, TunnelHub};

/// A number of a tunnel; `None` where it has none.
type OfTunnel = fn(&Measure) -> Option<u64>;

const NUMBERS: [(&str, &str, &str, OfTunnel); 7] = [
    ("ooblex_tunnel_opened_total", "counter", "Times the tunnel was opened.", |m| Some(m.opened)),
    ("ooblex_tunnel_sent_bytes_total", "counter", "Bytes towards viewers.", |m| Some(m.passed.sent)),
    ("ooblex_tunnel_received_bytes_total", "counter", "Bytes from viewers.", |m| Some(m.passed.received)),
    ("ooblex_tunnel_requests_total", "counter", "Requests through the tunnel.", |m| Some(m.passed.requests)),
    ("ooblex_tunnel_limit_bytes", "gauge", "Bytes that may go out through the tunnel.", |m| m.limits.bytes),
    ("ooblex_tunnel_limit_requests", "gauge", "Requests that may come through it.", |m| m.limits.requests),
    ("ooblex_tunnel_slowed", "gauge", "Whether viewers were slowed lately.", |m| Some(m.is_slowing.into())),
];

/// Without a tunnel, or a limit, its families are empty. There are four providers, and one at a time.
pub(super) fn tunnel(text: &mut Text, hub: &TunnelHub) {
    let measure = hub.measure();
    let name = "ooblex_tunnel_state";
    text.family(name, "gauge", "1 for the state that the tunnel is in.");
    for (state, measure) in Phase::ALL.into_iter().flat_map(|state| measure.map(|m| (state, m))) {
        let labels = [("provider", measure.provider), ("state", state.as_str())];
        text.sample(name, &labels, u8::from(state == measure.phase));
    }
    for (name, kind, help, read) in NUMBERS {
        text.family(name, kind, help);
        if let Some((measure, value)) = measure.and_then(|m| read(&m).map(|value| (m, value))) {
            text.sample(name, &[("provider", measure.provider)], value);
        }
    }
}
