//! What is counted over all sockets.

use ooblex_core::Counter;

/// Counts over all sockets since the start.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SocketCounters {
    /// Pictures taken from publishers.
    pub received: Counter,
    /// Bytes of them.
    pub received_bytes: Counter,
    /// Pictures sent to viewers.
    pub sent: Counter,
    /// Bytes of them.
    pub sent_bytes: Counter,
    /// Pictures left out because their viewer was behind.
    pub behind: Counter,
    /// Pictures that viewers dropped because they came too late.
    pub late: Counter,
    /// Sockets closed for what their clients did.
    pub refused: Counter,
}
