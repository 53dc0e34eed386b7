//! STUN and TURN servers: where their addresses and credentials come from, and TURN over TCP and TLS.

pub(crate) mod dns;
pub mod provider;
#[doc(hidden)]
pub mod relay;
mod report;
mod server;
mod servers;
pub(crate) mod stun;
mod url;

pub use self::report::{ServerReport, ServerState};
pub use self::server::{IceServer, IceServerError};
pub use self::servers::IceServers;
pub use self::url::{IceTransport, IceUrl, IceUrlError};
pub use crate::tls::{Trust, TrustError};
pub use ooblex_core::Secret;
