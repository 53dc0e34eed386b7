//! Weights in memory.

use std::ops::Deref;
use std::sync::Arc;

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// ONNX, one file.
    Onnx,
    /// safetensors, and a list of nodes in JSON beside it.
    Safetensors,
    /// A TorchScript archive.
    TorchScript,
}

impl Format {
    /// `onnx`, `safetensors` or `torchscript`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::Safetensors => "safetensors",
            Self::TorchScript => "torchscript",
        }
    }
}

/// The bytes of a file: read, or compiled in. Cheap to clone.
#[derive(Clone, Debug)]
pub enum FileData {
    /// Compiled in; engines may use them where they are.
    Static(&'static [u8]),
    /// Read.
    Shared(Arc<[u8]>),
}

impl Deref for FileData {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Static(data) => data,
            Self::Shared(data) => data,
        }
    }
}

impl From<&'static [u8]> for FileData {
    fn from(data: &'static [u8]) -> Self {
        Self::Static(data)
    }
}

impl From<Vec<u8>> for FileData {
    fn from(data: Vec<u8>) -> Self {
        Self::Shared(data.into())
    }
}

impl From<Arc<[u8]>> for FileData {
    fn from(data: Arc<[u8]>) -> Self {
        Self::Shared(data)
    }
}

/// Weights in memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Weights {
    /// Published name of the model, for messages.
    pub name: Arc<str>,
    /// How they are stored.
    pub format: Format,
    /// The file.
    pub data: FileData,
    /// The nodes, for [`Format::Safetensors`].
    pub graph: Option<FileData>,
}

impl Weights {
    /// Weights of the model `name`.
    pub fn new(name: impl Into<Arc<str>>, format: Format, data: impl Into<FileData>) -> Self {
        Self { name: name.into(), format, data: data.into(), graph: None }
    }

    /// Adds the nodes.
    pub fn with_graph(mut self, graph: impl Into<FileData>) -> Self {
        self.graph = Some(graph.into());
        self
    }
}
