//! What is known about a model before it is loaded.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::engine::{EngineKind, Format};

/// A model: what it is for, who made it, and which files hold its weights.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelCard {
    /// Published name, lowercase snake case.
    pub name: Cow<'static, str>,
    /// What it does, in a few words.
    pub task: Cow<'static, str>,
    /// Licence of the weights, as SPDX writes it.
    pub licence: Cow<'static, str>,
    /// Who made it, where the file came from, and what is not known about it.
    pub origin: Cow<'static, str>,
    /// The weights, once for each format that there is.
    pub files: Vec<ModelFile>,
    /// Sizes of the inputs to warm it up with, for inputs of no fixed size; the first dimension is the batch.
    pub warm_up: Vec<Vec<usize>>,
}

/// Weights in one format.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelFile {
    /// How they are stored.
    pub format: Format,
    /// Name of the file, without folder.
    pub name: Cow<'static, str>,
    /// SHA-256 of the file in lowercase hexadecimal; checked whenever it is read. `None` for a file of the user's own.
    pub sha256: Option<Cow<'static, str>>,
    /// Length in bytes; 0 if not known.
    pub bytes: u64,
    /// The file itself, if it is compiled in.
    pub content: Option<&'static [u8]>,
    /// The folder that it lies in, if that is not to be searched for.
    pub folder: Option<PathBuf>,
    /// A second file that belongs to it: the nodes of a safetensors file.
    pub beside: Option<Box<ModelFile>>,
}

impl ModelCard {
    /// A model of the user's own, with no file yet.
    pub fn new(name: impl Into<Cow<'static, str>>, task: impl Into<Cow<'static, str>>) -> Self {
        Self {
            name: name.into(),
            task: task.into(),
            licence: "unknown".into(),
            origin: "the user's own".into(),
            files: Vec::new(),
            warm_up: Vec::new(),
        }
    }

    /// Adds weights.
    pub fn file(mut self, file: ModelFile) -> Self {
        self.files.push(file);
        self
    }

    /// Names the licence of the weights.
    pub fn licence(mut self, licence: impl Into<Cow<'static, str>>) -> Self {
        self.licence = licence.into();
        self
    }

    /// Says where the weights come from.
    pub fn origin(mut self, origin: impl Into<Cow<'static, str>>) -> Self {
        self.origin = origin.into();
        self
    }

    /// Says with which sizes to warm the model up; one list of dimensions for each input.
    pub fn warm_up(mut self, shapes: &[&[usize]]) -> Self {
        self.warm_up = shapes.iter().map(|shape| shape.to_vec()).collect();
        self
    }

    /// Engines that can load one of its files.
    pub fn engines(&self) -> impl Iterator<Item = EngineKind> {
        EngineKind::ALL.into_iter().filter(|kind| self.file_for(kind.format()).is_some())
    }

    /// The weights in `format`, if there are any.
    pub fn file_for(&self, format: Format) -> Option<&ModelFile> {
        self.files.iter().find(|file| file.format == format)
    }
}

impl ModelFile {
    /// A file that is found by its name.
    pub fn named(format: Format, name: impl Into<Cow<'static, str>>) -> Self {
        Self { format, name: name.into(), sha256: None, bytes: 0, content: None, folder: None, beside: None }
    }

    /// An ONNX file that is compiled in.
    pub fn onnx(content: &'static [u8]) -> Self {
        Self {
            bytes: content.len() as u64,
            content: Some(content),
            ..Self::named(Format::Onnx, "compiled in")
        }
    }

    /// Says in which folder it lies; no other is searched.
    pub fn in_folder(self, folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), ..self }
    }

    /// Sets length and SHA-256.
    pub(super) fn checked(self, bytes: u64, sha256: &'static str) -> Self {
        Self { bytes, sha256: Some(sha256.into()), ..self }
    }

    /// Compiles the file in.
    #[cfg(any(feature = "onnx", feature = "rten"))]
    pub(super) fn embedded(self, content: &'static [u8]) -> Self {
        Self { content: Some(content), ..self }
    }

    /// Adds the file that belongs to it.
    pub(super) fn with(self, beside: Self) -> Self {
        Self { beside: Some(Box::new(beside)), ..self }
    }
}
