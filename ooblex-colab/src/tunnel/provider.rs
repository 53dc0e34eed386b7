//! What every kind of tunnel has to do, and what is known of its provider.

use std::net::SocketAddr;

use async_trait::async_trait;

use super::{cloudflared, command, program, ssh};
use crate::config::{Config, PublicUrl, TunnelChoice};

/// Opens tunnels of one kind.
#[async_trait]
pub(super) trait Tunnel: Send {
    /// Opens a tunnel that forwards to `local`. A tunnel that is not open after half a minute is given up.
    ///
    /// # Errors
    /// [`TunnelError`]; nothing is left running then.
    async fn open(&mut self, local: SocketAddr) -> Result<Box<dyn Running>, TunnelError>;
}

/// An open tunnel. Dropping it closes it.
#[async_trait]
pub(super) trait Running: Send {
    /// Where it is reached.
    fn url(&self) -> &PublicUrl;

    /// Waits for the next thing that becomes of it. Safe to cancel. Not called again after its end.
    async fn next(&mut self) -> Change;

    /// Closes it in good order; takes two seconds at most.
    async fn close(self: Box<Self>);
}

/// What becomes of an open tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is reached at another address.
    Moved,
    /// It has lost its way to the provider and looks for it by itself.
    Lost(String),
    /// It has found it again.
    Back,
    /// It is over.
    Ended(TunnelError),
}

/// Why a tunnel is not open. The text is for people and holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TunnelError {
    /// Trying again may help.
    #[error("{0}")]
    Transient(String),
    /// Somebody has to change something first.
    #[error("{0}")]
    Fatal(String),
}

/// The tunnel that the configuration asks for.
pub(super) fn of(config: &Config) -> Option<Box<dyn Tunnel>> {
    Some(match &config.tunnel {
        TunnelChoice::None => return None,
        TunnelChoice::Ngrok => ngrok(config),
        TunnelChoice::Cloudflared => program::tunnel(cloudflared::Cloudflared::new(config)),
        TunnelChoice::Ssh(host) => program::tunnel(ssh::Ssh::new(host.clone(), config)),
        TunnelChoice::Command => program::tunnel(command::Own::new(config)?),
    })
}

#[cfg(feature = "ngrok")]
fn ngrok(config: &Config) -> Box<dyn Tunnel> {
    Box::new(super::ngrok::Ngrok::new(config))
}

#[cfg(not(feature = "ngrok"))]
fn ngrok(_: &Config) -> Box<dyn Tunnel> {
    Box::new(NotBuilt)
}

#[cfg(not(feature = "ngrok"))]
struct NotBuilt;

#[cfg(not(feature = "ngrok"))]
#[async_trait]
impl Tunnel for NotBuilt {
    async fn open(&mut self, _: SocketAddr) -> Result<Box<dyn Running>, TunnelError> {
        Err(TunnelError::Fatal(
            "this program was built without the feature `ngrok`; build it with, or choose another tunnel"
                .into(),
        ))
    }
}

/// What a provider allows before it refuses. `None` is no limit that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes towards viewers, in a month.
    pub(super) bytes: Option<u64>,
    /// Requests, in a month.
    pub(super) requests: Option<u64>,
    /// Requests in a minute.
    pub(super) requests_per_minute: Option<u64>,
}

/// The free plan of ngrok (<https://ngrok.com/docs/pricing-limits/free-plan-limits/>).
pub(super) const NGROK_FREE: Limits =
    Limits { bytes: Some(1_000_000_000), requests: Some(20_000), requests_per_minute: Some(4_000) };

impl Limits {
    /// Those of the provider, or those that the configuration has instead.
    pub(super) fn of(config: &Config) -> Self {
        let known = if config.tunnel == TunnelChoice::Ngrok { NGROK_FREE } else { Self::default() };
        let given = |given: Option<u64>, known: Option<u64>, unit: u64| match given {
            Some(given) => Some(given.saturating_mul(unit)).filter(|limit| *limit > 0),
            None => known,
        };
        Self {
            bytes: given(config.tunnel_quota_mb, known.bytes, 1_000_000),
            requests: given(config.tunnel_quota_requests, known.requests, 1),
            requests_per_minute: known.requests_per_minute,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_replaces_what_is_known() {
        let mut config = Config::default();
        assert_eq!(Limits::of(&config), Limits::default());
        config.tunnel = TunnelChoice::Ngrok;
        assert_eq!(Limits::of(&config), NGROK_FREE);
        (config.tunnel_quota_mb, config.tunnel_quota_requests) = (Some(5_000), Some(0));
        assert_eq!(Limits::of(&config), Limits { bytes: Some(5_000_000_000), requests: None, ..NGROK_FREE });
    }
}
