//! Limits and times of the endpoint.

use std::time::Duration;

use super::NetworkConfig;

/// Limits and times of [`WebRtc`](super::WebRtc).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebRtcConfig {
    /// Addresses and ports.
    pub network: NetworkConfig,
    /// An answer waits for candidates no longer than this; what comes later is not in it.
    pub gather_timeout: Duration,
    /// Most publishers' sessions at once.
    pub max_sessions: usize,
    /// Most viewers' sessions at once.
    pub max_viewers: usize,
    /// Most sessions that have been answered but have not connected.
    pub max_half_open: usize,
    /// Most of these from one address.
    pub max_half_open_per_address: usize,
    /// A session that has not connected after this long is removed.
    pub connect_timeout: Duration,
    /// The publisher of a session that has sent nothing for this long may take over with a new one.
    pub takeover_after: Duration,
    /// A stream that got nothing for this long is `stalled`.
    pub stalled_after: Duration,
    /// Longest offer in bytes.
    pub max_offer_bytes: usize,
    /// Most media sections of an offer.
    pub max_media_sections: usize,
}

impl Default for WebRtcConfig {
    fn default() -> Self {
        Self {
            network: NetworkConfig::default(),
            gather_timeout: Duration::from_secs(2),
            max_sessions: 64,
            max_viewers: 64,
            max_half_open: 32,
            max_half_open_per_address: 8,
            connect_timeout: Duration::from_secs(25),
            takeover_after: Duration::from_secs(2),
            stalled_after: Duration::from_secs(5),
            max_offer_bytes: 64 * 1024,
            max_media_sections: 16,
        }
    }
}
