//! What there is to say about models.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::engine::{Accelerator, EngineKind, Format};

/// What a model is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModelState {
    /// It can be loaded.
    Available,
    /// It is being loaded.
    Loading,
    /// It is in memory.
    Loaded,
    /// It could not be loaded, or is lost again and again.
    Failed,
    /// Its file is in none of the folders.
    Missing,
}

impl ModelState {
    /// `available`, `loading`, `loaded`, `failed` or `missing`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Loading => "loading",
            Self::Loaded => "loaded",
            Self::Failed => "failed",
            Self::Missing => "missing",
        }
    }
}

impl fmt::Display for ModelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where the weights of one format are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FilePlace {
    /// Compiled in.
    Embedded,
    /// In a folder. Whether it is the published file is checked when it is read.
    Found(PathBuf),
    /// In none of the folders.
    Missing,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStatus {
    /// How the weights are stored.
    pub format: Format,
    /// Its name, without folder.
    pub name: String,
    /// Its length in bytes; 0 if not known.
    pub bytes: u64,
    /// Where it is.
    pub place: FilePlace,
}

/// Everything about one model.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelStatus {
    /// Published name.
    pub name: String,
    /// What it does.
    pub task: String,
    /// Licence of the weights.
    pub licence: String,
    /// Who made it, and what is not known about it.
    pub origin: String,
    /// What it is doing.
    pub state: ModelState,
    /// What runs it, while it is in memory.
    pub engine: Option<EngineKind>,
    /// Where it runs and why, while it is in memory.
    pub accelerator: Option<Accelerator>,
    /// Memory that it holds, in bytes, as far as it is known; stuck threads included.
    pub memory_bytes: u64,
    /// Whether it stays in memory.
    pub is_pinned: bool,
    /// Handles of it: effects that run or are being made ready.
    pub users: usize,
    /// How long loading took, while it is in memory.
    pub load_time: Option<Duration>,
    /// Items that wait for their turn.
    pub waiting: u64,
    /// Runs of the engine so far.
    pub batches: u64,
    /// Items in these.
    pub items: u64,
    /// Items not run because their deadline had passed.
    pub expired: u64,
    /// How often it was lost: it panicked, hung or failed to load.
    pub lost: u64,
    /// Threads that do not return from a run.
    pub stuck: usize,
    /// Why it could not be loaded, or was lost.
    pub failure: Option<String>,
    /// When it is tried again, after it was lost too often.
    pub retry_in: Option<Duration>,
    /// Why it does not run where it was wanted.
    pub degraded: Option<String>,
    /// Its files.
    pub files: Vec<FileStatus>,
}

/// Something that is not as it should be, for health reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ModelProblem {
    /// The model.
    pub model: String,
    /// What is wrong with it. Holds no paths.
    pub reason: String,
}

impl fmt::Display for ModelProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model {}: {}", self.model, self.reason)
    }
}
