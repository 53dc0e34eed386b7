//! Where weights are found, and whether they are what they should be.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::card::{ModelCard, ModelFile};
use crate::engine::{FileData, Format, Weights};

/// A model file larger than this is not read.
pub(super) const LARGEST: u64 = 2 << 30;
/// The folder beside the program, and in the user's data folder.
const FOLDER: &str = "models";
/// The folder of the source tree.
const IN_SOURCES: &str = "ooblex-models/weights";

/// Why weights could not be read. The messages hold no folders, so that anybody may see them; the fields do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// No file of that name in any folder.
    #[error("{name} is in none of the {} folders for models", searched.len())]
    Missing {
        /// The file.
        name: String,
        /// The folders.
        searched: Vec<PathBuf>,
    },
    /// The file is not the published one.
    #[error(
        "{} has the SHA-256 {found}, not {expected} as published; delete it and get it again",
        file_name(path)
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// The file could not be read.
    #[error("{} could not be read: {reason}", file_name(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The name is no file name.
    #[error("{0:?} is not the name of a model file; use letters, digits and . _ -, with no dot in front")]
    Name(String),
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Folders in which weights are looked for, the first one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath(Vec<PathBuf>);

impl SearchPath {
    /// Exactly these folders.
    pub fn new(folders: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(folders.into_iter().collect())
    }

    /// `first` and the user's data folder, whether they exist yet or not; then where an installed program finds its
    /// models: `models` beside the program and `share/ooblex/models` beside its folder; and in a source tree the folder
    /// with the weights, whether the program was started from its root or lies below it.
    pub fn standard(first: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut folders: Vec<PathBuf> = first.into_iter().chain(user_folder()).collect();
        let kept = folders.len();
        let program = std::env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
        if let Some(home) = program.as_deref().and_then(Path::parent) {
            folders.push(home.join(FOLDER));
            folders.push(home.join("../share/ooblex").join(FOLDER));
        }
        // `cargo test` and `cargo run` say where the package is.
        let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let near = package.iter().flat_map(|p| [Some(p.as_path()), p.parent()]).flatten();
        let above = program.iter().flat_map(|exe| exe.ancestors().skip(1).take(5));
        folders.extend(near.chain(above).map(|folder| folder.join(IN_SOURCES)));
        folders.push(PathBuf::from(IN_SOURCES));
        let mut seen = Vec::new();
        for (index, folder) in folders.into_iter().enumerate() {
            let real = folder.canonicalize().unwrap_or_else(|_| folder.clone());
            let is_new = seen.iter().all(|(_, other)| *other != real);
            if is_new && (index < kept || folder.is_dir()) {
                seen.push((folder, real));
            }
        }
        Self(seen.into_iter().map(|(folder, _)| folder).collect())
    }

    /// The folders.
    pub fn folders(&self) -> &[PathBuf] {
        &self.0
    }

    /// Where the file is, if it is in one of the folders.
    ///
    /// # Errors
    /// [`FileError::Name`] for a name that leads out of the folders, [`FileError::Missing`].
    pub fn find(&self, name: &str) -> Result<PathBuf, FileError> {
        check_name(name)?;
        let found = self.0.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| FileError::Missing { name: name.to_owned(), searched: self.0.clone() })
    }

    /// Where a model's file is: in its own folder, if it has one, and in no other.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(super) fn find_file(&self, file: &ModelFile) -> Result<PathBuf, FileError> {
        match &file.folder {
            Some(folder) => Self::new([folder.clone()]).find(&file.name),
            None => self.find(&file.name),
        }
    }

    /// The weights of a model in `format`, read and checked.
    ///
    /// # Errors
    /// [`FileError`].
    pub(super) fn weights(&self, card: &ModelCard, format: Format) -> Result<Option<Weights>, FileError> {
        let Some(file) = card.file_for(format) else { return Ok(None) };
        let weights = Weights::new(card.name.as_ref(), format, self.read(file)?);
        Ok(Some(match &file.beside {
            Some(beside) => weights.with_graph(self.read(beside)?),
            None => weights,
        }))
    }

    fn read(&self, file: &ModelFile) -> Result<FileData, FileError> {
        if let Some(content) = file.content {
            return Ok(content.into());
        }
        let path = self.find_file(file)?;
        let data = read(&path)?;
        if let Some(expected) = file.sha256.as_deref() {
            let found = sha256(&data);
            if found != expected {
                return Err(FileError::Changed { path, found, expected: expected.to_owned() });
            }
        }
        Ok(data.into())
    }
}

/// Where files of the user's own and fetched ones lie: `$XDG_DATA_HOME/ooblex/models` or `~/.local/share/ooblex/models`.
pub fn user_folder() -> Option<PathBuf> {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let data = data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share")))?;
    Some(data.join("ooblex").join(FOLDER))
}

/// The SHA-256 of `data` in lowercase hexadecimal.
pub fn sha256(data: &[u8]) -> String {
    hex(&Sha256::digest(data))
}

/// The SHA-256 of a file in lowercase hexadecimal. Reads it in pieces.
///
/// # Errors
/// [`FileError::Read`].
pub fn sha256_of_file(path: &Path) -> Result<String, FileError> {
    let failed = |e: std::io::Error| FileError::Read { path: path.to_owned(), reason: e.to_string() };
    let (mut file, mut sum, mut buffer) =
        (File::open(path).map_err(failed)?, Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hex(&sum.finalize())),
            count => sum.update(&buffer[..count]),
        }
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Invariant: writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Names cannot lead out of a folder.
pub(super) fn check_name(name: &str) -> Result<(), FileError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.is_empty() && name.len() <= 200 && name.chars().all(plain) && !name.starts_with('.') {
        Ok(())
    } else {
        Err(FileError::Name(name.chars().take(200).collect()))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |reason: String| FileError::Read { path: path.to_owned(), reason };
    let file = File::open(path).map_err(|e| failed(e.to_string()))?;
    let mut data = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut data).map_err(|e| failed(e.to_string()))?;
    if data.len() as u64 > LARGEST {
        return Err(failed(format!("it is larger than {LARGEST} bytes")));
    }
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for bad in ["", "../x.onnx", "a/b", "/etc/passwd", ".hidden", "a\\b", "x\0", &"x".repeat(300)] {
            assert!(matches!(SearchPath::default().find(bad), Err(FileError::Name(_))), "{bad:?}");
        }
        assert!(matches!(SearchPath::default().find("x.onnx"), Err(FileError::Missing { .. })));
    }

    #[test]
    fn folders_that_may_come_are_kept_and_none_is_searched_twice() {
        let home = tempfile::tempdir().expect("a folder");
        let (there, later) = (home.path().join("there"), home.path().join("later"));
        std::fs::create_dir(&there).expect("a folder");
        let path = SearchPath::standard([later.clone(), there.clone(), there.join("../there")]);
        assert_eq!(path.folders()[..2], [later.clone(), there.clone()]);
        let real = |folder: &PathBuf| folder.canonicalize().ok();
        assert_eq!(path.folders().iter().filter(|f| real(f) == real(&there)).count(), 1);
        std::fs::create_dir(&later).expect("a folder");
        std::fs::write(later.join("x.onnx"), "weights").expect("writes");
        assert_eq!(path.find("x.onnx"), Ok(later.join("x.onnx")));
    }

    #[test]
    fn sums_are_as_published() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
