//! One stream's stages: a source or an input, processors on a thread, sinks as tasks.
//!
//! ```text
//! FrameSource (task) --\                                  /--> queue --> FrameSink (task)
//!                       >-- Input --> queue --> thread --<
//! pushes (any caller) -/             processors, swap     \--> queue --> FrameSink (task)
//! ```
//!
//! What needs no thread of its own takes no detour: in live mode a processor that is free (`none`) runs where the frame
//! is pushed, and a sink that can take a frame without waiting takes it where it was processed.
//!
//! A processor that does not return costs its stream that frame, that processor and that thread: another thread goes
//! on with the effect's failure policy.
//!
//! In live mode every queue is [`QueuePolicy::LatestWins`](crate::QueuePolicy), so the age of what leaves is bounded by the
//! time of processing, not by the length of a queue. In lossless mode every queue blocks.

mod builder;
mod effect;
mod input;
mod job;
mod outlet;
mod runner;
mod supervise;
mod swap;
mod watchdog;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use self::builder::HANG_AFTER;
pub use self::builder::PipelineBuilder;
pub use self::effect::{ActiveEffect, Effect, EffectState};
pub use self::input::{Input, Pushed, Rejected};
pub use self::supervise::Backoff;
pub use self::swap::{Sample, Swap};
use crate::stats::StreamStats;

/// How a pipeline is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PipelineState {
    /// Frames may pass.
    Running,
    /// The source is away and is being opened again.
    Reconnecting {
        /// What happened.
        reason: String,
    },
    /// The source has failed for good.
    Failed {
        /// What happened.
        reason: String,
    },
    /// The source has ended or the pipeline was stopped.
    Ended,
}

impl PipelineState {
    /// Whether no further frame will come.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Ended)
    }
}

/// Stages that were still busy when the deadline of a stop passed. They are left behind and end when they can.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("still busy after {waited:?}: {}", stages.join(", "))]
pub struct Laggards {
    /// Names of the stages.
    pub stages: Vec<String>,
    /// How long they were waited for.
    pub waited: Duration,
}

/// A running pipeline. Dropping it stops the pipeline without waiting.
pub struct Pipeline {
    input: Input,
    swap: Swap,
    stats: Arc<StreamStats>,
    state: Arc<watch::Sender<PipelineState>>,
    stop: watch::Sender<bool>,
    stages: Mutex<Vec<(String, JoinHandle<()>)>>,
}

impl Pipeline {
    /// Begins to describe a pipeline for the stream `name`.
    pub fn builder(stream: crate::StreamId) -> PipelineBuilder {
        PipelineBuilder::new(stream)
    }

    /// Where frames can be pushed in, beside or instead of a source.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// The running effect, and the way to change it.
    pub fn swap(&self) -> &Swap {
        &self.swap
    }

    /// Counters.
    pub fn stats(&self) -> &Arc<StreamStats> {
        &self.stats
    }

    /// The state now.
    pub fn state(&self) -> PipelineState {
        self.state.borrow().clone()
    }

    /// The state, for waiting on its changes.
    pub fn watch_state(&self) -> watch::Receiver<PipelineState> {
        self.state.subscribe()
    }

    /// Waits until the source has ended or failed and everything it delivered has left the sinks (in live mode:
    /// everything that was not dropped).
    pub async fn finished(&self) -> PipelineState {
        let mut state = self.state.subscribe();
        let over = state.wait_for(PipelineState::is_over).await.map(|s| s.clone());
        let stages = std::mem::take(&mut *self.stages.lock().unwrap_or_else(PoisonError::into_inner));
        for (_, stage) in stages {
            // A stage that panicked has already been reported by its runner.
            let _ = stage.await;
        }
        over.unwrap_or(PipelineState::Ended)
    }

    /// Stops the source, closes the queues, drains (lossless) or discards (live) what waits, finishes the sinks and
    /// waits for every stage until `deadline` has passed. A second stop is harmless.
    ///
    /// # Errors
    /// [`Laggards`] naming the stages that were still busy.
    pub async fn stop(&self, deadline: Duration) -> Result<(), Laggards> {
        self.begin_stop();
        let stages = std::mem::take(&mut *self.stages.lock().unwrap_or_else(PoisonError::into_inner));
        let until = tokio::time::Instant::now() + deadline;
        let mut late = Vec::new();
        for (name, stage) in stages {
            if tokio::time::timeout_at(until, stage).await.is_err() {
                late.push(name);
            }
        }
        if late.is_empty() { Ok(()) } else { Err(Laggards { stages: late, waited: deadline }) }
    }
}

impl Pipeline {
    /// Begins a [`stop`](Self::stop) without waiting: from here on no frame is accepted.
    pub fn begin_stop(&self) {
        self.stop.send_replace(true);
        self.input.close();
        report(&self.state, PipelineState::Ended);
    }
}

/// Changes the state unless the pipeline is over: the first end is the one that is reported.
fn report(state: &watch::Sender<PipelineState>, new: PipelineState) {
    state.send_if_modified(|now| {
        let open = !now.is_over();
        if open {
            *now = new;
        }
        open
    });
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.begin_stop();
    }
}

#[cfg(test)]
mod tests;
