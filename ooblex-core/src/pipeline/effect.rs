//! What is done to a stream's frames, and how it is doing.

use crate::clock::Clock;
use crate::error::{BoxError, caught};
use crate::frame::Frame;
use crate::processor::{FailurePolicy, FrameProcessor, Mode, ProcessContext, ProcessError, Verdict};

/// A processor that is ready to run, or a place that is kept for one, with the name that users know it by.
pub struct Effect {
    /// The chain as users write it, for example `blur|edge_detection`.
    pub name: String,
    /// Number of the switch that brought it; rises with every switch.
    pub generation: u64,
    pub(super) policy: FailurePolicy,
    /// `None` while it is being loaded.
    pub(super) processor: Option<Box<dyn FrameProcessor>>,
    /// Why loading failed.
    pub(super) failure: Option<String>,
}

impl Effect {
    /// Warms the processor up. Call it off the hot path: it may block for as long as a model takes to load.
    ///
    /// # Errors
    /// What [`FrameProcessor::warm_up`] said, or how it panicked; nothing was switched then.
    pub fn prepare(
        name: impl Into<String>,
        generation: u64,
        mut processor: Box<dyn FrameProcessor>,
    ) -> Result<Self, BoxError> {
        caught(|| processor.warm_up())?;
        Ok(Self::new(name.into(), generation, processor))
    }

    pub(super) fn new(name: String, generation: u64, processor: Box<dyn FrameProcessor>) -> Self {
        let policy = processor.on_failure();
        Self { name, generation, policy, processor: Some(processor), failure: None }
    }

    /// An effect that is still being loaded: a stream can begin with it at once. Frames are treated by `policy` until
    /// an effect of the same generation takes its place ([`Swap::to`](super::Swap::to)); the first one waits half a
    /// second for that.
    pub fn pending(name: impl Into<String>, generation: u64, policy: FailurePolicy) -> Self {
        Self { name: name.into(), generation, policy, processor: None, failure: None }
    }

    /// Makes the failure policy at least as strict as `policy`.
    pub fn at_least(self, policy: FailurePolicy) -> Self {
        Self { policy: self.policy.strictest(policy), ..self }
    }

    /// Whether running a frame costs next to nothing, so that there is nothing to rehearse.
    pub fn is_free(&self) -> bool {
        self.processor.as_ref().is_some_and(|p| p.is_free())
    }

    /// Runs the processor once on a frame like those to come, and looks at what it does with it. Blocks as long as the
    /// processor takes. The frame is not shown.
    ///
    /// # Errors
    /// The processor failed, panicked, lost the frame's identity, or gave a picture that cannot be read.
    pub fn rehearse(&mut self, mut frame: Frame) -> Result<(), BoxError> {
        let Some(processor) = &mut self.processor else { return Ok(()) };
        let (stream, sequence, received) = (frame.stream.clone(), frame.sequence, frame.received);
        let (clock, pool) = (Clock::system(), frame.image.pool().clone());
        let mut cx =
            ProcessContext::new(&clock, &pool).with_mode(Mode::Live).with_generation(self.generation);
        let verdict = caught(|| {
            let error = |(ProcessError::Frame(e) | ProcessError::Fatal(e))| e;
            processor.process(&mut frame, &mut cx).map_err(error)
        })?;
        if (&frame.stream, frame.sequence, frame.received) != (&stream, sequence, received) {
            return Err("it changed the identity of a frame".into());
        }
        if verdict == Verdict::Emit {
            caught(|| Ok(frame.image.pixels().map(drop)?))?;
        }
        Ok(())
    }
}

/// Whether an effect does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EffectState {
    /// It does.
    Running,
    /// Its processor is being loaded; its failure policy applies until then.
    Loading,
    /// Its processor was discarded or could not be loaded; its failure policy applies.
    Failed {
        /// What happened.
        reason: String,
    },
}

impl EffectState {
    /// `running`, `loading` or `failed`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Loading => "loading",
            Self::Failed { .. } => "failed",
        }
    }
}

/// What is running, for status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ActiveEffect {
    /// The chain as users write it.
    pub name: String,
    /// Number of the switch that brought it.
    pub generation: u64,
    /// Names of its steps, at least one.
    pub steps: Vec<String>,
    /// What viewers see while it is loaded and after it failed.
    pub on_failure: FailurePolicy,
    /// How it is doing.
    pub state: EffectState,
}

impl ActiveEffect {
    /// Why it does not work, if it failed.
    pub fn failure(&self) -> Option<&str> {
        match &self.state {
            EffectState::Failed { reason } => Some(reason),
            EffectState::Running | EffectState::Loading => None,
        }
    }

    pub(super) fn of(effect: &Effect) -> Self {
        let mut steps = effect.processor.as_ref().map(|p| p.steps()).unwrap_or_default();
        if steps.is_empty() {
            steps.push(effect.name.clone());
        }
        let state = match (&effect.failure, &effect.processor) {
            (Some(reason), _) => EffectState::Failed { reason: reason.clone() },
            (None, None) => EffectState::Loading,
            (None, Some(_)) => EffectState::Running,
        };
        Self {
            name: effect.name.clone(),
            generation: effect.generation,
            steps,
            on_failure: effect.policy,
            state,
        }
    }
}
