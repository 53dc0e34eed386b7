//! What is told about servers, to be shown to people.

use std::net::SocketAddr;
use std::time::Duration;

use super::IceTransport;

/// How far a session has come with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ServerState {
    /// Nothing has been asked, or there is no answer yet.
    Waiting,
    /// It answered: a STUN server with the address that it sees, a TURN server with the one that it relays.
    Working,
    /// It was no use; the detail says why.
    Failed,
    /// It was not needed.
    Unused,
}

impl ServerState {
    /// `waiting`, `working`, `failed` or `unused`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Working => "working",
            Self::Failed => "failed",
            Self::Unused => "unused",
        }
    }
}

/// What one session tried with one server, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerReport {
    /// Its URL.
    pub url: String,
    /// How it is reached.
    pub transport: IceTransport,
    /// How far that is.
    pub state: ServerState,
    /// Why it failed, in the server's own words where it gave any; or what is remarkable although it works.
    pub detail: Option<String>,
    /// The address that it sees (STUN) or relays (TURN).
    pub address: Option<SocketAddr>,
    /// Time of the last request there and back.
    pub round_trip: Option<Duration>,
    /// Bytes to it, as datagrams would carry them.
    pub bytes_sent: u64,
    /// Bytes from it.
    pub bytes_received: u64,
    /// Packets that a stuck TCP connection or a busy session lost.
    pub dropped: u64,
}
