//! Why a model cannot be used.

use std::time::Duration;

use super::files::FileError;
use crate::engine::{EngineError, EngineKind};

/// Why a model cannot be used. The messages hold no paths, so that anybody may see them; the fields do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// No model has this name.
    #[error("unknown model {name:?}; known: {}", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The model has no weights that the engine can load.
    #[error("model {model}: no weights for the engine {engine}; there are some for: {}", has.join(", "))]
    NoWeights {
        /// The model.
        model: String,
        /// The engine.
        engine: EngineKind,
        /// Engines that it has weights for.
        has: Vec<String>,
    },
    /// The weights could not be read.
    #[error("model {model}: {source}")]
    File {
        /// The model.
        model: String,
        /// Why.
        #[source]
        source: FileError,
    },
    /// The engine could not load or run it.
    #[error("model {model}: {source}")]
    Engine {
        /// The model.
        model: String,
        /// What it said.
        #[source]
        source: EngineError,
    },
    /// The model would take more memory than models may use, and those that use it are needed.
    #[error("model {model}: needs about {} MB of {budget}, of which {} MB are allowed; in use: {}",
        needs >> 20, allowed >> 20, list(holders))]
    Memory {
        /// The model.
        model: String,
        /// Bytes that it needs.
        needs: u64,
        /// Which memory: `CPU memory` or `device memory`.
        budget: &'static str,
        /// Bytes that models may use together.
        allowed: u64,
        /// Models that could not be put away, with the bytes that each holds.
        holders: Vec<(String, u64)>,
    },
    /// The model has no such input.
    #[error("the model has {count} inputs, not one of number {index}")]
    NoSuchInput {
        /// The number asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A frame's deadline passed before its turn came.
    #[error("its deadline passed before the model had time for it")]
    Expired,
    /// The thread that owned the model is gone or stuck.
    #[error("model {model} was given up: {reason}")]
    Ended {
        /// The model.
        model: String,
        /// Why.
        reason: String,
    },
    /// The model was lost too often lately; it is tried again later.
    #[error("model {model} was lost too often and is tried again in {} s; the last time: {reason}", retry_in.as_secs() + 1)]
    Resting {
        /// The model.
        model: String,
        /// Why it was lost the last time.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// Somebody uses the model.
    #[error("model {model} is used by {users} running effects; switch them to another effect first")]
    InUse {
        /// The model.
        model: String,
        /// Handles of it; an effect of a stream holds one for each of its models.
        users: usize,
    },
    /// The model is to stay in memory.
    #[error("model {model} is pinned, so it stays in memory; take it out of the setting `pin`")]
    Pinned {
        /// The model.
        model: String,
    },
    /// The way models are run was asked for before it was set.
    #[error("the models are in use, so how they are run cannot be changed any more")]
    Configured,
}

impl ModelError {
    /// What happened, without the model's name in front.
    pub fn reason(&self) -> String {
        let text = self.to_string();
        match self {
            Self::NoWeights { model, .. }
            | Self::File { model, .. }
            | Self::Engine { model, .. }
            | Self::Memory { model, .. } => {
                text.strip_prefix(&format!("model {model}: ")).map(str::to_owned).unwrap_or(text)
            }
            _ => text,
        }
    }
}

fn list(holders: &[(String, u64)]) -> String {
    if holders.is_empty() {
        return "nothing by models".into();
    }
    let of = |(name, bytes): &(String, u64)| format!("{name} {} MB", bytes >> 20);
    holders.iter().map(of).collect::<Vec<_>>().join(", ")
}
