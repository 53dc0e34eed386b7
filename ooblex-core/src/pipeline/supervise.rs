//! The task in front of a pipeline's thread: the source with its retries.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::PipelineState;
use super::input::{Input, Pushed};
use crate::frame::Frame;
use crate::processor::Mode;
use crate::source::{FrameSource, SourceError};
use crate::stats::{DropReason, StreamStats};

/// Growing pauses between attempts: each twice the last up to a cap, shortened by up to a quarter at random so
/// that many clients do not return at the same moment.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    cap: Duration,
    random: u64,
}

impl Backoff {
    /// Pauses from `first` to `cap`. `seed` decides the jitter.
    pub const fn new(first: Duration, cap: Duration, seed: u64) -> Self {
        Self { next: first, first, cap, random: seed | 1 }
    }

    /// The pause before the next attempt.
    pub fn pause(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(self.cap);
        // xorshift64 (Marsaglia 2003): any cheap generator will do for jitter.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        full - full.mul_f64((self.random % 1024) as f64 / 4096.0)
    }

    /// Begins again with the first pause, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

pub(super) struct SourceTask {
    pub(super) source: Box<dyn FrameSource>,
    pub(super) input: Input,
    pub(super) mode: Mode,
    pub(super) state: Arc<watch::Sender<PipelineState>>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) stats: Arc<StreamStats>,
    pub(super) backoff: Backoff,
}

impl SourceTask {
    pub(super) async fn run(mut self) {
        let over = loop {
            let next = tokio::select! {
                biased;
                _ = self.stopped.wait_for(|stopped| *stopped) => break PipelineState::Ended,
                next = self.source.as_mut().next_frame() => next,
            };
            match next {
                Ok(Some(frame)) => {
                    self.backoff.reset();
                    if self.take(frame).await.is_err() {
                        break PipelineState::Ended;
                    }
                    // A source that is always ready must not keep other tasks from running.
                    tokio::task::yield_now().await;
                }
                Ok(None) => break PipelineState::Ended,
                Err(SourceError::Frame(error)) => {
                    tracing::debug!(%error, "source lost a frame");
                    self.input.lost(DropReason::DecodeFailed);
                    tokio::task::yield_now().await;
                }
                Err(SourceError::Transient(error)) => {
                    if let Err(over) = self.reopen(error.to_string()).await {
                        break over;
                    }
                }
                Err(SourceError::Fatal(error)) => break PipelineState::Failed { reason: error.to_string() },
            }
        };
        if let PipelineState::Failed { reason } = &over {
            tracing::error!(%reason, "source failed");
        }
        self.input.close();
        super::report(&self.state, over);
    }

    async fn take(&mut self, frame: Frame) -> Result<Pushed, super::Rejected> {
        match self.mode {
            Mode::Live => self.input.push(frame),
            Mode::Lossless => self.input.push_wait(frame).await,
        }
    }

    async fn reopen(&mut self, mut reason: String) -> Result<(), PipelineState> {
        loop {
            let pause = self.backoff.pause();
            tracing::warn!(%reason, ?pause, "source interrupted, will be opened again");
            super::report(&self.state, PipelineState::Reconnecting { reason: reason.clone() });
            let attempt = async {
                tokio::time::sleep(pause).await;
                self.source.reopen().await
            };
            let attempt = tokio::select! {
                biased;
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(PipelineState::Ended),
                attempt = attempt => attempt,
            };
            match attempt {
                Ok(()) => {
                    self.stats.source_restarts.increment();
                    super::report(&self.state, PipelineState::Running);
                    return Ok(());
                }
                Err(SourceError::Fatal(error)) => {
                    return Err(PipelineState::Failed { reason: format!("{reason}; then: {error}") });
                }
                Err(SourceError::Frame(error) | SourceError::Transient(error)) => reason = error.to_string(),
            }
        }
    }
}
