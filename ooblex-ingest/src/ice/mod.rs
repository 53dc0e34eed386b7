//! STUN and TURN servers: where their addresses and credentials come from, and TURN over TCP and TLS.

use std::fmt;
use std::sync::Arc;

/// One STUN or TURN server, as browsers take it in `iceServers`.
#[derive(Clone, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:`, `turn:` and `turns:` URLs of the server.
    pub urls: Vec<String>,
    /// User name, if the server wants one.
    pub username: Option<String>,
    /// Password, if the server wants one.
    pub credential: Option<String>,
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// The servers to use. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct IceServers(Arc<[IceServer]>);

impl IceServers {
    /// Always these.
    pub fn fixed(servers: Vec<IceServer>) -> Self {
        Self(servers.into())
    }

    /// The servers to use now.
    pub fn current(&self) -> Vec<IceServer> {
        self.0.to_vec()
    }
}
