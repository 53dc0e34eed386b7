//! Limits of the sockets.

use std::time::Duration;

use ooblex_ingest::picture::PictureLimits;

/// Limits and times of [`LiveSockets`](super::LiveSockets).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SocketConfig {
    /// A viewer more than this behind is brought to live.
    pub budget: Duration,
    /// Pictures of one publisher that may be unacknowledged; it loses its connection at twice as many.
    pub window: usize,
    /// Most sockets at once.
    pub max_sessions: usize,
    /// Most sockets of one caller: of one token, or of one address without tokens.
    pub max_sessions_per_caller: usize,
    /// How long a client may take to say hello.
    pub hello_within: Duration,
    /// A client that takes nothing for this long is gone, and a viewer that acknowledges nothing is closed.
    pub stalled_after: Duration,
    /// The stream of a publisher whose connection broke outlasts it by this.
    pub grace: Duration,
    /// A token gives its stream's name back for this long.
    pub resume_within: Duration,
    /// What a picture may be.
    pub pictures: PictureLimits,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(250),
            window: 4,
            max_sessions: 128,
            max_sessions_per_caller: 64,
            hello_within: Duration::from_secs(5),
            stalled_after: Duration::from_secs(10),
            grace: Duration::from_secs(10),
            resume_within: Duration::from_secs(60),
            pictures: PictureLimits::default(),
        }
    }
}
