//! One run of a model, watched by ONNX Runtime's profiler.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::placement::{self, Placement};
use super::session::OnnxSession;
use crate::engine::{Session, probe_inputs};

/// Runs a session that was made with profiling on, once, on zeros, and reads the profile.
///
/// # Errors
/// What ONNX Runtime said, or that the profile cannot be read.
pub(super) fn run(session: &mut OnnxSession) -> Result<Placement, String> {
    let inputs = probe_inputs(session.inputs());
    session.run(&inputs, &mut Vec::new()).map_err(|e| e.to_string())?;
    let profile = session.session_mut().end_profiling().map_err(|e| e.message().to_owned())?;
    let profile = std::fs::read_to_string(profile).map_err(|e| format!("the profile cannot be read: {e}"))?;
    Ok(placement::read(&profile))
}

/// A folder for one profile, removed with it.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it; fails if anything has that name.
    pub(super) fn new() -> std::io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ooblex-probe-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).map(|()| Self(path))
    }

    /// What the file's name begins with.
    pub(super) fn file(&self) -> impl AsRef<Path> + use<> {
        self.0.join("profile")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(path = %self.0.display(), %error, "a profile was left behind");
        }
    }
}
