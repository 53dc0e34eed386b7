//! How a provider fares.

use std::time::Duration;

/// Whether a provider's servers can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderState {
    /// Its first list has not come yet.
    Waiting,
    /// They can.
    Ready,
    /// They can, but the last fetch failed.
    Stale,
    /// There are none; the error says why.
    Failed,
}

impl ProviderState {
    /// `waiting`, `ready`, `stale` or `failed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Stale => "stale",
            Self::Failed => "failed",
        }
    }
}

/// How a provider fares, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProviderReport {
    /// What it is called.
    pub name: String,
    /// Whether its servers can be used.
    pub state: ProviderState,
    /// Its URLs.
    pub servers: usize,
    /// Until its credentials end, if that is known.
    pub expires_in: Option<Duration>,
    /// Until it is asked again.
    pub refresh_in: Option<Duration>,
    /// Why the last fetch failed, if it did.
    pub error: Option<String>,
    /// Fetches so far.
    pub fetches: u64,
    /// Failures since the last success.
    pub failures: u32,
    /// Whether browsers are told of its servers with credentials.
    pub for_page: bool,
}
