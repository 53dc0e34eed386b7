//! STUN and TURN servers: where their addresses and credentials come from, and TURN over TCP and TLS.

mod server;
mod servers;
mod url;

pub use self::server::{IceServer, IceServerError};
pub use self::servers::IceServers;
pub use self::url::{IceTransport, IceUrl, IceUrlError};
