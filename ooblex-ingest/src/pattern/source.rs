//! The test pattern as a source.

use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ooblex_core::{
    BoxError, BufferPool, ColorSpace, Frame, FrameSource, Image, ImageError, MediaTime, Picture, PixelFormat,
    SourceError, StreamId,
};
use tokio::time::Instant as Tick;

use super::{MIN_SIZE, Mark, draw};
use crate::file::Pace;

/// Ticks a second of the pattern's media time, as RTP has them.
const RATE: NonZeroU32 = NonZeroU32::new(90_000).expect("not zero");
/// Frames in which the disc goes round once.
const ROUND: u32 = 120;
/// Pictures that may be on their way through a pipeline.
const POOLED: usize = 8;
/// Y, Cb, Cr of white, yellow, cyan, green, magenta, red, blue at 75 % (full range BT.601), and black.
const BARS: [[u8; 3]; 8] = [
    [191, 128, 128],
    [169, 32, 144],
    [134, 160, 32],
    [112, 64, 48],
    [79, 192, 208],
    [57, 96, 224],
    [22, 224, 112],
    [0, 128, 128],
];

/// Colour bars, a disc that moves on an ellipse, and the [mark](super) with the frame's number and the time at
/// which it was handed out.
///
/// Frames are full-range BT.601 I420. Drawing one costs a copy of the picture (about 0.1 ms at 720p) and happens in
/// the task that asks for it.
///
/// ```
/// use ooblex_core::FrameSource;
/// use ooblex_ingest::{file::Pace, pattern::{self, TestPattern}};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let mut source = TestPattern::new(320, 240, 30)?.pace(Pace::AsFast);
/// for expected in 1..=3 {
///     let mut frame = source.next_frame().await?.expect("never ends");
///     let luma = frame.image.luma()?;
///     let mark = pattern::read(&luma.plane(0)?).expect("readable");
///     assert_eq!(mark.counter, expected);
/// }
/// # Ok::<(), ooblex_core::BoxError>(()) }).unwrap();
/// ```
pub struct TestPattern {
    background: Image,
    fps: NonZeroU32,
    pace: Pace,
    limit: Option<u32>,
    counter: u32,
    began: Option<Tick>,
    /// Number of the time slot of the last frame.
    slot: u64,
    pool: BufferPool,
}

impl TestPattern {
    /// A pattern of this size, at least 160x120, with `fps` frames a second (1 to 1000), in real time.
    ///
    /// # Errors
    /// [`SourceError::Fatal`] for a size or rate out of range.
    pub fn new(width: u32, height: u32, fps: u32) -> Result<Self, SourceError> {
        let fatal = |e: BoxError| SourceError::Fatal(e);
        if width < MIN_SIZE.0 || height < MIN_SIZE.1 {
            let (w, h) = MIN_SIZE;
            return Err(fatal(
                format!("a test pattern of {width}x{height}; make it at least {w}x{h}").into(),
            ));
        }
        let rate = NonZeroU32::new(fps).filter(|fps| fps.get() <= 1000);
        let fps = rate.ok_or_else(|| fatal(format!("{fps} frames a second; use 1 to 1000").into()))?;
        let background = bars(width, height).map_err(|e| fatal(e.into()))?;
        Ok(Self {
            background,
            fps,
            pace: Pace::RealTime,
            limit: None,
            counter: 0,
            began: None,
            slot: 0,
            pool: BufferPool::new(POOLED),
        })
    }

    /// In real time (the default; late frames are skipped, not made up for) or as fast as asked.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Ends after this many frames.
    pub fn frames(mut self, count: u32) -> Self {
        self.limit = Some(count);
        self
    }

    fn render(&self, mark: Mark) -> Result<Image, ImageError> {
        let mut image = self.background.clone();
        let (width, height) = (image.width(), image.height());
        let planes: Vec<_> = (0..3).map(|n| image.plane(n)).collect::<Result<_, _>>()?;
        let planes: Vec<_> = planes.iter().map(|p| (p.data(), p.stride())).collect();
        image = Image::from_planes(PixelFormat::I420, width, height, ColorSpace::JPEG, &planes, &self.pool)?;
        disc(&mut image, self.counter)?;
        draw(&mut image, mark)?;
        Ok(image)
    }

    async fn wait(&mut self) {
        let began = *self.began.get_or_insert_with(Tick::now);
        if self.pace == Pace::AsFast {
            self.slot = u64::from(self.counter);
            return;
        }
        let next = if self.counter == 0 { 0 } else { self.slot + 1 };
        tokio::time::sleep_until(began + self.time_of(next)).await;
        // Slots that passed while nobody asked are left out.
        let passed = began.elapsed().as_nanos() * u128::from(self.fps.get()) / 1_000_000_000;
        self.slot = next.max(u64::try_from(passed).unwrap_or(u64::MAX));
    }

    fn time_of(&self, slot: u64) -> Duration {
        let fps = u64::from(self.fps.get());
        // Rounded up, so that the slot has begun when its time has come.
        Duration::from_secs(slot / fps) + Duration::from_nanos((slot % fps * 1_000_000_000).div_ceil(fps))
    }
}

#[async_trait]
impl FrameSource for TestPattern {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.limit.is_some_and(|limit| self.counter >= limit) {
            return Ok(None);
        }
        self.wait().await;
        self.counter = self.counter.wrapping_add(1);
        let captured = SystemTime::now();
        let since = captured.duration_since(UNIX_EPOCH).unwrap_or_default();
        let timecode_ms = since.as_millis() as u64 & ((1 << Mark::TIMECODE_BITS) - 1);
        let mark = Mark { counter: self.counter, timecode_ms };
        let image = self.render(mark).map_err(|e| SourceError::Fatal(e.into()))?;
        let ticks = u128::from(self.slot) * u128::from(RATE.get()) / u128::from(self.fps.get());
        let picture = Picture::new(image, self.pool.clone());
        let frame = Frame::new(StreamId::default(), self.counter.into(), Instant::now(), picture)
            .with_pts(i64::try_from(ticks).ok().map(|ticks| MediaTime::new(ticks, RATE)))
            .with_captured(Some(captured));
        Ok(Some(frame))
    }
}

fn bars(width: u32, height: u32) -> Result<Image, ImageError> {
    let mut image = Image::alloc(PixelFormat::I420, width, height, ColorSpace::JPEG, &BufferPool::new(0))?;
    for component in 0..3 {
        let levels = BARS.map(|bar| bar[component]);
        for row in image.plane_mut(component)?.rows_mut() {
            let length = row.len();
            for (x, v) in row.iter_mut().enumerate() {
                *v = levels[x * levels.len() / length];
            }
        }
    }
    Ok(image)
}

/// An orange disc; where it is follows from the counter alone.
fn disc(image: &mut Image, counter: u32) -> Result<(), ImageError> {
    const COLOR: [u8; 3] = [170, 48, 176];
    let angle = f64::from(counter % ROUND) / f64::from(ROUND) * std::f64::consts::TAU;
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    // Everything stays within the upper five sixths, clear of the mark.
    let (cx, cy) = (width * (0.5 + 0.35 * angle.cos()), height * (0.4 + 0.25 * angle.sin()));
    let radius = width.min(height) * 0.1;
    for (component, color) in COLOR.into_iter().enumerate() {
        let scale = if component == 0 { 1.0 } else { 2.0 };
        let (cx, cy, radius) = (cx / scale, cy / scale, radius / scale);
        let mut plane = image.plane_mut(component)?;
        for y in (cy - radius).ceil() as usize..=(cy + radius).floor() as usize {
            let half = (radius * radius - (y as f64 - cy).powi(2)).max(0.0).sqrt();
            plane.row_mut(y)[(cx - half).ceil() as usize..=(cx + half).floor() as usize].fill(color);
        }
    }
    Ok(())
}
