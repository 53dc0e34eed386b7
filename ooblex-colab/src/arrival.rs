//! By which way requests reach the server.

use http::Extensions;

/// How a request came. A tunnel forwards to a listener of its own on loopback, so what arrives there comes from outside,
/// whatever its address says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// At an address that the server was told to listen on.
    #[default]
    Direct,
    /// Through the tunnel.
    Tunnel,
}

impl Arrival {
    /// That of a request, by its extensions.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}
