//! What a session does with its pictures, and what it notes about them.

use std::sync::Arc;
use std::time::Instant;

use ooblex_core::hub::{Hub, Patience, Stream};
use ooblex_core::{BoxError, BufferPool, DropReason, Frame, StreamId};

use super::handle::SessionHandle;
use crate::decode::VideoError;
use crate::live::{self, LiveError};

/// Where a session's pictures go.
pub(super) trait Output: Send + 'static {
    /// Called first, on the decoding thread; may take its time. Gives the pool for pictures.
    fn open(&mut self) -> Result<BufferPool, BoxError>;

    /// Takes a picture; false if it takes no more.
    fn push(&mut self, frame: Frame) -> bool;

    /// An access unit could not be decoded.
    fn lost(&mut self);
}

/// Notes in a session what becomes of its video.
pub(super) struct Watched<O> {
    session: Arc<SessionHandle>,
    output: O,
    /// It is reported that nothing can be shown.
    reported: bool,
}

impl<O: Output> Watched<O> {
    pub(super) fn new(session: Arc<SessionHandle>, output: O) -> Self {
        Self { session, output, reported: false }
    }
}

impl<O: Output> live::Output for Watched<O> {
    fn open(&mut self) -> Result<BufferPool, BoxError> {
        self.output.open()
    }

    fn push(&mut self, _: u64, frame: Frame) -> bool {
        let (shared, now) = (&self.session.shared, Instant::now());
        if !shared.has_picture() {
            tracing::info!(
                stream = %self.session.stream,
                width = frame.image.width(),
                height = frame.image.height(),
                after_ms = now.saturating_duration_since(shared.created()).as_millis() as u64,
                "first picture of a WebRTC publisher",
            );
        }
        shared.on_picture(now);
        if std::mem::take(&mut self.reported) {
            shared.status().problem = None;
        }
        self.output.push(frame)
    }

    fn skipped(&mut self, _: u64) {
        self.session.shared.on_skipped(1);
    }

    fn failed(&mut self, _: u64, error: &LiveError) {
        self.output.lost();
        let LiveError::Video(error) = error else { return };
        self.session.shared.on_decode_error();
        if let VideoError::Unsupported(_) = error {
            let text = error.to_string();
            let mut status = self.session.shared.status();
            if status.problem.as_ref() != Some(&text) {
                tracing::warn!(stream = %self.session.stream, %error, "a publisher's video cannot be shown");
                status.problem = Some(text);
                self.reported = true;
            }
        }
    }
}

/// Feeds a stream of a hub.
pub(super) struct ToHub {
    pub(super) hub: Hub,
    pub(super) id: StreamId,
    pub(super) patience: Patience,
    pub(super) stream: Option<Arc<Stream>>,
}

impl Output for ToHub {
    fn open(&mut self) -> Result<BufferPool, BoxError> {
        let stream = self.hub.publish_with(&self.id, super::KIND, self.patience)?;
        let pool = stream.pool().clone();
        self.stream = Some(stream);
        Ok(pool)
    }

    fn push(&mut self, frame: Frame) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.pipeline().input().push(frame).is_ok())
    }

    fn lost(&mut self) {
        if let Some(stream) = &self.stream {
            stream.pipeline().input().lost(DropReason::DecodeFailed);
        }
    }
}
