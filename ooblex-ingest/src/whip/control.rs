//! What a publisher may change about its stream while it sends.

use async_trait::async_trait;
use ooblex_core::StreamId;
use ooblex_http::Problem;

/// Changes a stream's effect on behalf of its publisher.
#[async_trait]
pub trait StreamControl: Send + Sync + 'static {
    /// Chooses the effect chain of a stream, now or when it begins. Names are checked before anything starts.
    ///
    /// # Errors
    /// A [`Problem`] that names what is unknown and what would be known.
    async fn set_effect(&self, stream: &StreamId, chain: &str) -> Result<(), Problem>;

    /// Switches the chosen effect off, or on again.
    ///
    /// # Errors
    /// A [`Problem`].
    async fn enable(&self, stream: &StreamId, enabled: bool) -> Result<(), Problem>;
}
