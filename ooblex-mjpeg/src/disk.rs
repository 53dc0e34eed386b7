//! Pictures on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use ooblex_core::{BoxError, Frame, FrameSink, ImageCodec, Picture, SinkError};

use crate::encode::EncoderPool;
use crate::multipart::{Framing, Part, PictureInfo};

/// In a file every part has its length and times.
const FRAMING: Framing = Framing::Delimited;

const QUALITY: u8 = 85;

/// Keeps one file with a stream's newest picture as JPEG, replaced as a whole: readers see the old picture or the
/// new one, never a part of it.
pub struct SnapshotSink {
    path: Arc<Path>,
    every: Duration,
    quality: u8,
    last: Option<Instant>,
    encoders: Arc<EncoderPool>,
}

impl SnapshotSink {
    /// Writes to `path`, at most once in `every`. Beside it, for a moment, lies a file with `.tmp` appended.
    pub fn new(path: impl Into<PathBuf>, every: Duration) -> Self {
        let path: PathBuf = path.into();
        Self { path: path.into(), every, quality: QUALITY, last: None, encoders: Arc::default() }
    }

    /// Another JPEG quality than 85: 1 to 100.
    pub fn quality(mut self, quality: u8) -> Self {
        self.quality = quality;
        self
    }
}

#[async_trait]
impl FrameSink for SnapshotSink {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < self.every) {
            return Ok(());
        }
        self.last = Some(now);
        let (path, quality, encoders) = (self.path.clone(), self.quality, self.encoders.clone());
        blocking(move || {
            let jpeg = jpeg_of(frame.image, quality, &encoders)?;
            let mut temporary = path.as_os_str().to_owned();
            temporary.push(".tmp");
            let written = std::fs::write(&temporary, &jpeg).and_then(|()| std::fs::rename(&temporary, &path));
            written.map_err(|e| at(&path, &e))
        })
        .await
        .map_err(SinkError::Frame)
    }

    fn has_demand(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() >= self.every)
    }
}

/// How a [`MjpegFileSink`] separates pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MjpegFormat {
    /// One JPEG after the other without anything between them: what players call raw MJPEG (`ffplay -f mjpeg`).
    Raw,
    /// The body of a `multipart/x-mixed-replace` response, as viewers get it (`ffplay -f mpjpeg`).
    Multipart,
}

/// Writes all frames of a stream to one file.
pub struct MjpegFileSink {
    path: Arc<Path>,
    format: MjpegFormat,
    quality: u8,
    file: Option<BufWriter<File>>,
    encoders: Arc<EncoderPool>,
}

impl MjpegFileSink {
    /// Creates the file, which must not exist yet.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn create(path: impl Into<PathBuf>, format: MjpegFormat) -> io::Result<Self> {
        let path: PathBuf = path.into();
        let mut file = BufWriter::new(OpenOptions::new().write(true).create_new(true).open(&path)?);
        if format == MjpegFormat::Multipart {
            file.write_all(&Part::preamble(FRAMING, Instant::now()).pieces(FRAMING).concat())?;
        }
        let (path, encoders) = (path.into(), Arc::default());
        Ok(Self { path, format, quality: QUALITY, file: Some(file), encoders })
    }

    /// Another JPEG quality than 85: 1 to 100.
    pub fn quality(mut self, quality: u8) -> Self {
        self.quality = quality;
        self
    }

    /// Lends the file to a thread. It is lost if writing fails: a file with a hole is no use.
    async fn with_file(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> Result<(), WriteError> + Send + 'static,
    ) -> Result<(), SinkError> {
        let path = self.path.clone();
        let gone = || SinkError::Fatal(format!("{} was closed after an error", path.display()).into());
        let mut file = self.file.take().ok_or_else(gone)?;
        let task = tokio::task::spawn_blocking(move || {
            let result = write(&mut file);
            (file, result)
        });
        let (file, result) = task.await.map_err(|e| SinkError::Fatal(e.into()))?;
        match result {
            Ok(()) => {
                self.file = Some(file);
                Ok(())
            }
            Err(WriteError::Picture(error)) => {
                self.file = Some(file);
                Err(SinkError::Frame(error))
            }
            Err(WriteError::File(error)) => Err(SinkError::Fatal(at(&self.path, &error))),
        }
    }
}

enum WriteError {
    Picture(BoxError),
    File(io::Error),
}

#[async_trait]
impl FrameSink for MjpegFileSink {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        let (format, quality, encoders) = (self.format, self.quality, self.encoders.clone());
        self.with_file(move |file| {
            let (now, wall) = (Instant::now(), SystemTime::now());
            let info = PictureInfo::of(&frame, now, wall);
            let size = (frame.image.width(), frame.image.height());
            let jpeg = jpeg_of(frame.image, quality, &encoders).map_err(WriteError::Picture)?;
            let written = match format {
                MjpegFormat::Raw => file.write_all(&jpeg),
                MjpegFormat::Multipart => {
                    let part = Part::new(jpeg, info, size, now, now, None);
                    part.pieces(FRAMING).iter().try_for_each(|piece| file.write_all(piece))
                }
            };
            written.map_err(WriteError::File)
        })
        .await
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        let format = self.format;
        self.with_file(move |file| {
            if format == MjpegFormat::Multipart {
                let closing = Part::closing(FRAMING, None, Instant::now()).pieces(FRAMING).concat();
                file.write_all(&closing).map_err(WriteError::File)?;
            }
            file.flush().and_then(|()| file.get_ref().sync_all()).map_err(WriteError::File)
        })
        .await
    }
}

/// The picture as JPEG: as it came if it is one already.
fn jpeg_of(mut picture: Picture, quality: u8, encoders: &EncoderPool) -> Result<Bytes, BoxError> {
    if let Some(encoded) = picture.as_encoded().filter(|e| e.codec == ImageCodec::Jpeg) {
        return Ok(encoded.data.clone());
    }
    Ok(encoders.encode(picture.pixels()?, quality)?)
}

async fn blocking(work: impl FnOnce() -> Result<(), BoxError> + Send + 'static) -> Result<(), BoxError> {
    tokio::task::spawn_blocking(work).await?
}

fn at(path: &Path, error: &io::Error) -> BoxError {
    format!("writing {} failed: {error}", path.display()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ooblex_core::testing::{frame_of, random_image};
    use ooblex_core::{ColorSpace, PixelFormat};

    fn frame(seed: u64) -> Frame {
        frame_of(random_image(PixelFormat::I420, 32, 24, ColorSpace::JPEG, 0, seed))
    }

    #[tokio::test]
    async fn a_snapshot_is_replaced_as_a_whole_and_not_too_often() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("newest.jpg");
        let mut sink = SnapshotSink::new(&path, Duration::from_secs(3600));
        assert!(sink.has_demand());
        sink.consume(frame(1)).await.expect("writes");
        let first = std::fs::read(&path).expect("is there");
        assert!(turbojpeg::read_header(&first).is_ok());
        assert!(!sink.has_demand());
        sink.consume(frame(2)).await.expect("leaves it out");
        assert_eq!(std::fs::read(&path).expect("is there"), first);
        let mut often = SnapshotSink::new(&path, Duration::ZERO).quality(50);
        often.consume(frame(2)).await.expect("writes");
        assert_ne!(std::fs::read(&path).expect("is there"), first);
        let names: Vec<_> = std::fs::read_dir(folder.path()).expect("lists").collect();
        assert_eq!(names.len(), 1, "nothing is left beside it");
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_costs_the_frame_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("missing/newest.jpg");
        let error =
            SnapshotSink::new(&path, Duration::ZERO).consume(frame(1)).await.expect_err("cannot write");
        assert!(matches!(error, SinkError::Frame(_)), "{error}");
        assert!(error.to_string().contains("newest.jpg"), "{error}");
    }

    #[tokio::test]
    async fn files_hold_every_picture_in_both_formats() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, format) in [("raw", MjpegFormat::Raw), ("multipart", MjpegFormat::Multipart)] {
            let path = folder.path().join(name);
            let mut sink = MjpegFileSink::create(&path, format).expect("creates");
            for seed in 0..3 {
                sink.consume(frame(seed)).await.expect("writes");
            }
            sink.finish().await.expect("finishes");
            let data = std::fs::read(&path).expect("is there");
            let starts = data.windows(3).filter(|w| *w == [0xFF, 0xD8, 0xFF]).count();
            assert_eq!(starts, 3, "{name}");
            let text = String::from_utf8_lossy(&data);
            assert_eq!(text.matches("--frame\r\n").count(), if format == MjpegFormat::Raw { 0 } else { 4 });
            assert_eq!(text.ends_with("--frame--\r\n"), format == MjpegFormat::Multipart);
            assert!(MjpegFileSink::create(&path, format).is_err(), "nothing is overwritten");
        }
    }
}
