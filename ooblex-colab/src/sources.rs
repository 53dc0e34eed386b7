//! Streams that the command line asks for: clips, the test pattern, other servers' MJPEG, the demo.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ooblex_core::hub::{Hub, HubError};
use ooblex_core::{BoxError, SourceError, StreamId};
use ooblex_ingest::file::{FileSource, Pace};
use ooblex_ingest::http::MjpegSource;
use ooblex_ingest::pattern::TestPattern;
use ooblex_ingest::picture::PictureLimits;

use crate::config::{SourcePlace, SourceSpec, without_secrets};

/// Name of the stream that shows the bundled clip.
pub(crate) const DEMO: &str = "demo";
/// The bundled clip; `assets/README.md` says where it comes from.
const CLIP: &[u8] = include_bytes!("../assets/astronaut_pan_640x480.mp4");

/// Size and rate of the test pattern.
const PATTERN: (u32, u32, u32) = (1280, 720, 30);

/// Why a source could not be attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// It cannot be opened.
    #[error("source {stream} ({place}): {reason}")]
    Open {
        /// The stream.
        stream: StreamId,
        /// The source, without secrets.
        place: String,
        /// Why.
        #[source]
        reason: BoxError,
    },
    /// The stream cannot begin.
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// Opens a source and begins its stream. Blocks while a file is opened.
pub(crate) fn attach(hub: &Hub, spec: &SourceSpec, limits: PictureLimits) -> Result<(), AttachError> {
    let failed = |place: String, reason: SourceError| AttachError::Open {
        stream: spec.stream.clone(),
        place,
        reason: inner(reason),
    };
    let id = &spec.stream;
    match &spec.place {
        SourcePlace::Pattern => {
            let (width, height, fps) = PATTERN;
            let source = TestPattern::new(width, height, fps).map_err(|e| failed("pattern".into(), e))?;
            hub.attach(id, "pattern", source, false)?
        }
        SourcePlace::File(path) => {
            let source = FileSource::open(path, Pace::RealTime).and_then(|s| s.limits(limits));
            let source = source.map_err(|e| failed(path.display().to_string(), e))?;
            hub.attach(id, "file", source, false)?
        }
        SourcePlace::Mjpeg(url) => {
            let source = MjpegSource::new(url, limits).map_err(|e| failed(without_secrets(url), e))?;
            hub.attach(id, "mjpeg", source, false)?
        }
    };
    Ok(())
}

/// Begins the stream of the bundled clip; it counts last when the newest stream is looked for.
pub(crate) fn attach_demo(hub: &Hub) -> Result<(), AttachError> {
    let id = StreamId::new(DEMO).unwrap_or_default();
    let failed =
        |reason: BoxError| AttachError::Open { stream: id.clone(), place: "bundled clip".into(), reason };
    let path = spill(CLIP).map_err(|e| failed(format!("cannot write a temporary file: {e}").into()))?;
    let source = FileSource::open(&path, Pace::RealTime);
    // The source holds the open file; its name is not needed any more.
    let _ = std::fs::remove_file(&path);
    hub.attach(&id, "file", source.map_err(|e| failed(inner(e)))?, true)?;
    Ok(())
}

/// The error without core's words around it.
fn inner(error: SourceError) -> BoxError {
    match error {
        SourceError::Frame(e) | SourceError::Transient(e) | SourceError::Fatal(e) => e,
        other => other.into(),
    }
}

/// Writes to a new file of its own that nobody else could have made.
fn spill(bytes: &[u8]) -> io::Result<PathBuf> {
    use std::hash::{BuildHasher, RandomState};
    let path: PathBuf =
        std::env::temp_dir().join(format!("ooblex-{:016x}.mp4", RandomState::new().hash_one(0)));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&path)?;
    match file.write_all(bytes) {
        Ok(()) => Ok(path),
        Err(error) => {
            let _ = std::fs::remove_file(Path::new(&path));
            Err(error)
        }
    }
}
