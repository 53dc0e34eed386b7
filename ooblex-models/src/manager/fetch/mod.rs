//! Fetching weights over HTTPS, so that a file is either whole and right or not there at all.
//!
//! A file is written under a temporary name in its folder, checked against the SHA-256 that is known beforehand,
//! flushed to the disk and then renamed. What broke off is kept and goes on where it stopped, if the server still has
//! the same version (strong ETag, `If-Range`); whatever was put together is checked as a whole. A lock keeps two pulls
//! into one folder from getting into each other's way.
//!
//! ```no_run
//! use ooblex_models::manager::fetch::{Fetcher, Progress, Wanted};
//! use ooblex_models::manager::{CENTERFACE, Models};
//!
//! let fetcher = Fetcher::new("https://example.org/models/", "/var/lib/ooblex/models")?;
//! let card = Models::default().card(CENTERFACE)?;
//! for file in &card.files {
//!     for wanted in Wanted::of(file)? {
//!         fetcher.pull(&wanted, &mut |_: Progress| {})?;
//!     }
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod address;
mod body;
mod half;
mod http;
mod manifest;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

pub use self::address::Address;
use self::body::{Checked, Stop};
use self::half::Half;
pub use self::half::{Head, Plan, Resume, judge, resume};
use self::http::Response;
pub use self::manifest::{ListedModel, Manifest, Wanted};
use super::files::{FileError, sha256_of_file};

/// Why a file was not fetched. Its folder is then as it was before, but for what may be resumed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Nothing may be fetched from there.
    #[error("{address}: {reason}")]
    Address {
        /// The address, without what may be secret in it.
        address: String,
        /// Why not.
        reason: String,
    },
    /// The name is no file name.
    #[error(transparent)]
    Name(FileError),
    /// It is not known how the file must look, so it could not be checked.
    #[error("{name} cannot be fetched: {reason}")]
    Unknown {
        /// The file.
        name: String,
        /// What is not known.
        reason: String,
    },
    /// The manifest is none.
    #[error("the manifest cannot be read: {reason}")]
    Manifest {
        /// Why.
        reason: String,
    },
    /// The server could not be reached, or broke off.
    #[error("{address}: {reason}")]
    Connection {
        /// Where.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server has not what is wanted.
    #[error("{address}: {reason}")]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The file broke off; the next pull goes on there if the server allows it.
    #[error("{name} broke off after {got} of {wanted} bytes: {reason}; pull it again to go on")]
    BrokeOff {
        /// The file.
        name: String,
        /// Bytes that came.
        got: u64,
        /// Bytes that it has.
        wanted: u64,
        /// Why.
        reason: String,
    },
    /// More came than the file has. Nothing of it is kept.
    #[error("{name} has {wanted} bytes, but the server sends more")]
    TooLong {
        /// The file.
        name: String,
        /// Bytes that it has.
        wanted: u64,
    },
    /// It is another file. Nothing of it is kept.
    #[error("{name} came with the SHA-256 {found}, not {expected}; the server has another file of that name")]
    Changed {
        /// The file.
        name: String,
        /// What came.
        found: String,
        /// What should have come.
        expected: String,
    },
    /// It could not be written. Nothing of it is kept.
    #[error("{name} could not be written to {}: {reason}", folder.display())]
    Write {
        /// The file.
        name: String,
        /// The folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
}

/// How far a pull is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Another pull into this folder has to end first.
    Waiting,
    /// Bytes begin to come.
    Begun {
        /// Bytes that were there from an earlier pull.
        from: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Bytes are there.
    Got {
        /// So many.
        done: u64,
        /// Of so many.
        total: u64,
    },
}

/// What became of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pulled {
    /// The right file was there already.
    WasThere(PathBuf),
    /// It came.
    Came {
        /// Where it is now.
        path: PathBuf,
        /// Bytes of it that were there from an earlier pull.
        resumed_from: u64,
    },
}

/// The name of the file that is locked while something is fetched into its folder.
const LOCK: &str = ".pull.lock";
/// How often a file is asked for: the rest of a part, the whole, and the whole again after a wrong part.
const ATTEMPTS: usize = 3;

/// Fetches files from one place into one folder.
#[derive(Clone, Debug)]
pub struct Fetcher {
    source: Source,
    folder: PathBuf,
}

#[derive(Clone, Debug)]
enum Source {
    Folder(Address),
    Manifest(Address),
}

impl Fetcher {
    /// Fetches from `address` into `folder`. An address that ends with `.json` is that of a [`Manifest`]; any other one
    /// is that of a folder that holds the files by their names. Neither has a query.
    ///
    /// # Errors
    /// [`FetchError::Address`].
    pub fn new(address: &str, folder: impl Into<PathBuf>) -> Result<Self, FetchError> {
        let address = Address::parse(address)?.without_query()?;
        let source = match address.is_manifest() {
            true => Source::Manifest(address),
            false => Source::Folder(address.into_folder()?),
        };
        Ok(Self { source, folder: folder.into() })
    }

    /// Where files are put.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Fetches the manifest, if the address is that of one. Blocks.
    ///
    /// # Errors
    /// [`FetchError`].
    pub fn manifest(&self) -> Result<Option<Manifest>, FetchError> {
        let Source::Manifest(address) = &self.source else { return Ok(None) };
        let response = http::get(address, None)?;
        if response.head.status != 200 {
            return Err(refused(address, format!("the server answers with status {}", response.head.status)));
        }
        let text = response.read(manifest::LONGEST).map_err(|e| broken(address, &e))?;
        Manifest::parse(&text, address).map(Some)
    }

    /// Fetches one file, unless it is there already. Blocks.
    ///
    /// # Errors
    /// [`FetchError`]; what was there under its name is still there then.
    pub fn pull(&self, wanted: &Wanted, progress: &mut dyn FnMut(Progress)) -> Result<Pulled, FetchError> {
        let target = self.folder.join(&wanted.name);
        let write = |e: io::Error| self.not_written(wanted, &e);
        fs::create_dir_all(&self.folder).map_err(write)?;
        let _lock = self.lock(progress).map_err(write)?;
        if sha256_of_file(&target).is_ok_and(|sum| sum == wanted.sha256) {
            return Ok(Pulled::WasThere(target));
        }
        let address = match (&wanted.address, &self.source) {
            (Some(address), _) => address.clone(),
            (None, Source::Folder(folder)) => folder.join(&wanted.name)?,
            (None, Source::Manifest(_)) => self.locate(wanted)?,
        };
        let half = Half::new(&self.folder, &wanted.name);
        for _ in 0..ATTEMPTS {
            if let Some(resumed_from) = self.attempt(&address, wanted, &half, &target, progress)? {
                return Ok(Pulled::Came { path: target, resumed_from });
            }
        }
        Err(refused(&address, "the server sends parts that do not belong together".into()))
    }

    fn locate(&self, wanted: &Wanted) -> Result<Address, FetchError> {
        let located = self.manifest()?.map(|manifest| manifest.locate(wanted)).transpose()?;
        let unknown = || FetchError::Unknown { name: wanted.name.clone(), reason: "it lies nowhere".into() };
        located.and_then(|located| located.address).ok_or_else(unknown)
    }

    /// Holds off other pulls into this folder. Where files cannot be locked, they are at least checked.
    fn lock(&self, progress: &mut dyn FnMut(Progress)) -> io::Result<File> {
        let lock = File::options().create(true).truncate(false).write(true).open(self.folder.join(LOCK))?;
        match lock.try_lock() {
            Err(fs::TryLockError::WouldBlock) => {
                progress(Progress::Waiting);
                lock.lock()?;
            }
            Err(fs::TryLockError::Error(error)) => {
                tracing::debug!(%error, "models are fetched without a lock")
            }
            Ok(()) => {}
        }
        Ok(lock)
    }

    /// Asks once; `None` if the whole has to be asked for.
    fn attempt(
        &self,
        address: &Address,
        wanted: &Wanted,
        half: &Half,
        target: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<u64>, FetchError> {
        let write = |e: io::Error| {
            half.discard();
            self.not_written(wanted, &e)
        };
        let place = address.to_string();
        let part = half.resume(&place, wanted);
        let response = http::get(address, part.as_ref())?;
        let (file, from) = match judge(&response.head, part.as_ref(), wanted.bytes) {
            Plan::Append => (half.reopen().map_err(write)?, part.map_or(0, |part| part.from)),
            Plan::Begin => (half.begin(&place, response.head.etag.as_deref(), wanted).map_err(write)?, 0),
            Plan::AskAgain => {
                half.discard();
                return Ok(None);
            }
            Plan::Refuse(reason) => return Err(refused(address, reason)),
        };
        progress(Progress::Begun { from, total: wanted.bytes });
        let found = self.receive(response, &file, from, wanted, half, progress)?;
        if found == wanted.sha256 {
            half.install(&file, target).map_err(write)?;
            return Ok(Some(from));
        }
        half.discard();
        if from > 0 {
            // The part may have been the wrong one.
            return Ok(None);
        }
        Err(FetchError::Changed { name: wanted.name.clone(), found, expected: wanted.sha256.clone() })
    }

    /// Writes what comes after the first `from` bytes; gives the SHA-256 of the whole.
    fn receive(
        &self,
        response: Response,
        file: &File,
        from: u64,
        wanted: &Wanted,
        half: &Half,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<String, FetchError> {
        let total = wanted.bytes;
        let mut checked = Checked::new(file, from).map_err(|e| self.not_written(wanted, &e))?;
        let stop = checked.fill(response.body(), total, &mut |done| progress(Progress::Got { done, total }));
        match stop {
            Ok(()) => Ok(checked.sha256()),
            Err(Stop::Read(reason)) => {
                // Kept for the next pull.
                let got = checked.length();
                Err(FetchError::BrokeOff { name: wanted.name.clone(), got, wanted: total, reason })
            }
            Err(Stop::TooLong) => {
                half.discard();
                Err(FetchError::TooLong { name: wanted.name.clone(), wanted: total })
            }
            Err(Stop::Write(error)) => {
                half.discard();
                Err(self.not_written(wanted, &error))
            }
        }
    }

    fn not_written(&self, wanted: &Wanted, error: &io::Error) -> FetchError {
        let reason = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("the disk is full; {} bytes are needed", wanted.bytes)
            }
            _ => error.to_string(),
        };
        FetchError::Write { name: wanted.name.clone(), folder: self.folder.clone(), reason }
    }
}

fn refused(address: &Address, reason: String) -> FetchError {
    FetchError::Refused { address: address.to_string(), reason }
}

fn broken(address: &Address, error: &io::Error) -> FetchError {
    FetchError::Connection { address: address.to_string(), reason: error.to_string() }
}
