//! The live protocol on the wire: `docs/LIVE_PROTOCOL.md`. No sockets, no clocks.

mod client;
mod close;
mod header;
mod server;

pub use self::client::{ClientMessage, Hello, Kinds, MAX_TEXT, MessageError, Publishes, Views};
pub use self::close::{Close, CloseCode};
pub use self::header::{HEADER_LEN, Header, HeaderError};
pub(crate) use self::server::problem_text;
pub use self::server::{Percentiles, Publishing, ServerMessage, Skipped, Viewing};

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "ooblex.live.1";
