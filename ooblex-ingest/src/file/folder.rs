//! A folder of pictures.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ooblex_core::{BoxError, BufferPool, SourceError};

use super::{Reader, Shown};
use crate::picture::{self, PictureError, PictureLimits};

/// Pictures a second unless the caller says otherwise.
// Invariant: 10 is not zero.
pub(super) const DEFAULT_FPS: NonZeroU32 = NonZeroU32::new(10).expect("not zero");

const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

pub(super) struct Folder {
    files: Vec<PathBuf>,
    next: usize,
    fps: NonZeroU32,
    limits: PictureLimits,
    pool: BufferPool,
}

impl Folder {
    pub(super) fn open(
        path: &Path,
        fps: NonZeroU32,
        limits: PictureLimits,
        pool: BufferPool,
    ) -> Result<Self, BoxError> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let file = entry?.path();
            let extension = file.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
            if extension.is_some_and(|e| EXTENSIONS.contains(&e.as_str())) && file.is_file() {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Err(format!("no picture here: no file ends in {}", EXTENSIONS.join(", ")).into());
        }
        files.sort_unstable();
        Ok(Self { files, next: 0, fps, limits, pool })
    }
}

impl Reader for Folder {
    fn rate(&self) -> NonZeroU32 {
        self.fps
    }

    fn next(&mut self) -> Result<Option<Shown>, SourceError> {
        let Some(file) = self.files.get(self.next) else { return Ok(None) };
        let at = self.next as i64;
        self.next += 1;
        let lost = |e: BoxError| SourceError::Frame(format!("{}: {e}", file.display()).into());
        let data = read_limited(file, self.limits.max_bytes).map_err(lost)?;
        let picture =
            picture::accept(data, &self.limits, &self.pool).map_err(|e: PictureError| lost(e.into()))?;
        Ok(Some(Shown { picture, at, lasts: 1 }))
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        self.next = 0;
        Ok(())
    }
}

fn read_limited(path: &Path, limit: usize) -> Result<Bytes, BoxError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > limit as u64 {
        return Err(PictureError::TooLarge { bytes, limit }.into());
    }
    let mut data = Vec::with_capacity(bytes as usize + 1);
    // One byte more than allowed, so that a file that grew is still refused.
    file.take(limit as u64 + 1).read_to_end(&mut data)?;
    Ok(data.into())
}
