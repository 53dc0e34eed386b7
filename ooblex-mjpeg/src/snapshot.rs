//! Snapshots: the newest picture of a stream, or the next one, or none.

use std::sync::Arc;

use bytes::Bytes;
#[cfg(feature = "server")]
use ooblex_core::Image;
use ooblex_core::{BufferPool, StreamId, convert};

use crate::hub::{Channel, MjpegHub, Shared, Shot, part_of};
use crate::multipart::PictureInfo;

/// A picture with what it says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// The stream it is from.
    pub stream: StreamId,
    /// The file.
    pub data: Bytes,
    /// Its sequence number and times.
    pub info: PictureInfo,
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The stream has no picture that is recent enough.
    #[error("No frame available")]
    NoFrame,
    /// A width of zero or more than the picture has.
    #[error("width is {width}; use 1 to {largest}")]
    Width {
        /// What was asked for.
        width: u32,
        /// The picture's width.
        largest: u32,
    },
    /// The picture could not be decoded or encoded.
    #[error("{0}")]
    Failed(String),
}

impl MjpegHub {
    /// The stream's picture as JPEG: the newest if it is fresh, else the next if one comes soon, else the newest
    /// if it is not too old ([`MjpegConfig`](crate::MjpegConfig) has the times). With `width` it is scaled down.
    /// The full-size picture is encoded at most once, for viewers and snapshots alike.
    ///
    /// # Errors
    /// [`SnapshotError`]; a stream that does not exist has no picture.
    pub async fn snapshot(&self, id: &StreamId, width: Option<u32>) -> Result<Snapshot, SnapshotError> {
        let (channel, shot) = self.shot(id).await?;
        let own = shot.frame.image.width();
        match width {
            Some(width) if !(1..=own).contains(&width) => Err(SnapshotError::Width { width, largest: own }),
            Some(width) if width < own => {
                let shared = self.0.shared.clone();
                let whole = shot.clone();
                let small = spawn(move || scaled(&whole, width, &shared, &channel)).await?;
                settled(&shot, Snapshot { stream: id.clone(), ..small })
            }
            _ => {
                let part =
                    part_of(shot.clone(), channel, |part| part).await.map_err(SnapshotError::Failed)?;
                let (data, info) = (part.jpeg().clone(), part.info.clone());
                settled(&shot, Snapshot { stream: id.clone(), data, info })
            }
        }
    }

    /// The stream's picture as PNG, with alpha if it has any; by the same rules.
    ///
    /// # Errors
    /// As [`snapshot`](Self::snapshot).
    #[cfg(feature = "server")]
    pub async fn snapshot_png(&self, id: &StreamId) -> Result<Snapshot, SnapshotError> {
        let (channel, shot) = self.shot(id).await?;
        let (shared, whole) = (self.0.shared.clone(), shot.clone());
        let data = spawn(move || {
            let pixels = decoded(&whole, &channel)?;
            let data = png(&pixels).map_err(|e| SnapshotError::Failed(e.to_string()))?;
            Ok((data, whole.info(&shared)))
        });
        let (data, info) = data.await?;
        settled(&shot, Snapshot { stream: id.clone(), data, info })
    }

    /// Picks the shot by age, waiting for the next one if that is worth it.
    async fn shot(&self, id: &StreamId) -> Result<(Arc<Channel>, Arc<Shot>), SnapshotError> {
        let config = self.config();
        let channel = self.channel(id).ok_or(SnapshotError::NoFrame)?;
        let age = |shot: &Shot| config.clock.now().saturating_duration_since(shot.at);
        let may_be_shown = |shot: &Arc<Shot>| shot.frame.clearance.holds();
        let mut newest = channel.newest.subscribe();
        let shot = newest.borrow_and_update().clone().filter(may_be_shown);
        if let Some(shot) = shot.filter(|shot| age(shot) <= config.snapshot_fresh) {
            return Ok((channel, shot));
        }
        let _ = tokio::time::timeout(config.snapshot_wait, newest.changed()).await;
        let shot = newest.borrow_and_update().clone().filter(may_be_shown);
        let shot = shot.filter(|shot| age(shot) <= config.snapshot_oldest).ok_or(SnapshotError::NoFrame)?;
        drop(newest);
        Ok((channel, shot))
    }
}

/// The snapshot, unless the picture must not be shown any more: encoding takes time.
fn settled(shot: &Shot, snapshot: Snapshot) -> Result<Snapshot, SnapshotError> {
    if shot.frame.clearance.holds() { Ok(snapshot) } else { Err(SnapshotError::NoFrame) }
}

async fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SnapshotError> + Send + 'static,
) -> Result<T, SnapshotError> {
    let panicked = |_| Err(SnapshotError::Failed("the encoder panicked".into()));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(panicked)
}

fn scaled(shot: &Shot, width: u32, shared: &Shared, channel: &Channel) -> Result<Snapshot, SnapshotError> {
    let failed = |error: &dyn std::fmt::Display| SnapshotError::Failed(error.to_string());
    let mut picture = shot.frame.image.clone();
    let before = picture.counts();
    let (full, height) = (u64::from(picture.width()), u64::from(picture.height()));
    // Decoding at a half, a quarter or an eighth saves most of the work if that is still large enough.
    let factor =
        [8u8, 4, 2, 1].into_iter().find(|f| full.div_ceil(u64::from(*f)) >= u64::from(width)).unwrap_or(1);
    let reduced = picture.reduced(factor);
    channel.stats.add_picture_counts(before, picture.counts());
    let reduced = reduced.map_err(|e| failed(&e))?;
    let height = ((height * u64::from(width) + full / 2) / full).max(1) as u32;
    let small = convert::resize(&reduced, width, height, &BufferPool::new(0)).map_err(|e| failed(&e))?;
    let data = shared.encoders.encode(&small, shared.config.quality).map_err(|e| failed(&e))?;
    shared.counters.encoded.increment();
    Ok(Snapshot { stream: channel.id.clone(), data, info: shot.info(shared) })
}

#[cfg(feature = "server")]
fn decoded(shot: &Shot, channel: &Channel) -> Result<Image, SnapshotError> {
    let mut picture = shot.frame.image.clone();
    let before = picture.counts();
    let pixels = picture.pixels().cloned();
    channel.stats.add_picture_counts(before, picture.counts());
    pixels.map_err(|e| SnapshotError::Failed(e.to_string()))
}

/// PNG of any picture: RGBA stays what it is, everything else becomes RGB.
#[cfg(feature = "server")]
fn png(image: &Image) -> Result<Bytes, ooblex_core::BoxError> {
    use image::codecs::png::{CompressionType, FilterType, PngEncoder};
    use image::{ExtendedColorType, ImageEncoder as _};
    use ooblex_core::PixelFormat;

    let (format, color) = match image.format() {
        PixelFormat::Rgba => (PixelFormat::Rgba, ExtendedColorType::Rgba8),
        _ => (PixelFormat::Rgb, ExtendedColorType::Rgb8),
    };
    let packed = convert::convert(image, format, image.color(), &BufferPool::new(0))?.to_packed()?;
    let mut out = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut out, CompressionType::Fast, FilterType::Adaptive);
    encoder.write_image(&packed, image.width(), image.height(), color)?;
    Ok(out.into())
}
