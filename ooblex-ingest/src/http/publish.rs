//! From checked bytes to a frame in the hub: what all upload routes share.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ooblex_core::StreamId;
use ooblex_core::hub::{Hub, HubError};
use ooblex_core::pipeline::Pushed;
use ooblex_http::Problem;
use tokio::sync::Semaphore;

use super::KIND;
use crate::picture::{self, PictureLimits};

#[derive(Clone)]
pub(super) struct Publisher {
    pub(super) hub: Hub,
    pub(super) limits: PictureLimits,
    /// Pictures that must be decoded to be accepted, at the same time: as many as there are processors.
    decoding: Arc<Semaphore>,
}

impl Publisher {
    pub(super) fn new(hub: Hub, limits: PictureLimits) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { hub, limits, decoding: Arc::new(Semaphore::new(processors)) }
    }

    /// Checks a picture and queues it. Nothing is touched unless the picture is sound.
    pub(super) async fn publish(
        &self,
        id: &StreamId,
        data: Bytes,
        captured: Option<SystemTime>,
    ) -> Result<Pushed, Problem> {
        let inspected = picture::inspect(data, &self.limits)?;
        let pool = self.hub.get(id).map(|stream| stream.pool().clone()).unwrap_or_default();
        let picture = if inspected.needs_decode() {
            let permit = self.decoding.clone().acquire_owned().await;
            let decode = move || {
                let _permit = permit;
                inspected.into_picture(&pool)
            };
            tokio::task::spawn_blocking(decode)
                .await
                .map_err(|e| Problem::new(500, "internal", format!("the decoder failed: {e}")))??
        } else {
            inspected.into_picture(&pool)?
        };
        // A stream can end between being found and being pushed to; then it begins again.
        for _ in 0..2 {
            let stream = self.hub.publish(id, KIND).map_err(|e| self.refused(&e))?;
            if let Ok(pushed) = stream.push(picture.clone(), captured, None) {
                return Ok(pushed);
            }
        }
        Err(Problem::new(503, "stream_ended", format!("stream {id} ended just now; send again")))
    }

    fn refused(&self, error: &HubError) -> Problem {
        let detail = error.to_string();
        match error {
            HubError::TooManyStreams { limit } => Problem::new(429, "too_many_streams", detail)
                .field("stream")
                .limit(*limit as u64)
                // After that long a silent stream has made room.
                .retry_after(self.hub.config().idle_after),
            HubError::NameTaken { id, .. } => {
                Problem::new(409, "name_taken", detail).field("stream").value(id.as_str())
            }
            HubError::ShuttingDown => Problem::new(503, "shutting_down", detail),
            _ => Problem::new(500, "stream_failed", detail),
        }
    }
}
