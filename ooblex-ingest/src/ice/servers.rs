//! The servers to use now.

use std::sync::Arc;

use super::IceServer;

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
