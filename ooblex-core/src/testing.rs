//! Test doubles for this crate's own tests and for yours (feature `testing`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::buffer::BufferPool;
use crate::clock::Clock;
use crate::error::BoxError;
use crate::frame::{Frame, StreamId};
use crate::image::{Image, PlaneLayout};
use crate::picture::Picture;
use crate::pixel::{ColorSpace, PixelFormat};
use crate::processor::{FrameProcessor, ProcessContext, ProcessError};
use crate::sink::{FrameSink, SinkError};
use crate::source::{FrameSource, SourceError};

/// A small pseudo-random generator (xorshift64, Marsaglia 2003): the same seed gives the same pictures everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator that depends on nothing but `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next_u64() % n.max(1)
    }
}

/// A picture of random pixels whose rows have `padding` extra bytes.
///
/// # Panics
/// If a side is zero or beyond [`Image::MAX_SIDE`].
pub fn random_image(
    format: PixelFormat,
    width: u32,
    height: u32,
    color: ColorSpace,
    padding: usize,
    seed: u64,
) -> Image {
    let mut random = Random::new(seed);
    let (mut layout, mut len) = (Vec::new(), 0);
    for plane in 0..format.plane_count() {
        let stride = format.row_bytes(plane, width) + padding;
        layout.push(PlaneLayout { offset: len, stride });
        len += stride * format.rows(plane, height);
    }
    let bytes: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
    // Invariant: the layout was computed from the same size and format.
    Image::from_buffer(format, width, height, color, bytes.into(), &layout).expect("a valid layout")
}

/// A frame around `image`, number 1 of the stream `default`, received now.
pub fn frame_of(image: Image) -> Frame {
    Frame::new(StreamId::default(), 1, Instant::now(), Picture::new(image, BufferPool::default()))
}

/// Runs one frame through a processor as a runner would.
///
/// # Errors
/// What the processor said.
pub fn process_one(
    processor: &mut dyn FrameProcessor,
    frame: &mut Frame,
) -> Result<crate::Verdict, ProcessError> {
    let (clock, pool) = (Clock::system(), frame.image.pool().clone());
    processor.process(frame, &mut ProcessContext::new(&clock, &pool))
}

/// A step of a [`ScriptedSource`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// Deliver this frame.
    Frame(Box<Frame>),
    /// Fail like this.
    Error(SourceError),
    /// Wait until the script is told to go on.
    Wait(Arc<Notify>),
}

/// A source that follows a script and then ends. Opening it again succeeds.
#[derive(Debug, Default)]
pub struct ScriptedSource {
    steps: VecDeque<Step>,
    /// Times it was opened again.
    pub reopened: Arc<Mutex<u32>>,
}

impl ScriptedSource {
    /// A source that does these steps in order.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), reopened: Arc::default() }
    }

    /// A source of `count` black frames of this size.
    ///
    /// # Panics
    /// If a side is zero or beyond [`Image::MAX_SIDE`].
    pub fn black(count: usize, width: u32, height: u32) -> Self {
        let pool = BufferPool::default();
        // Invariant: the caller gives a valid size.
        let image = Image::black(width, height, &pool).expect("a valid size");
        Self::new((0..count).map(|_| Step::Frame(Box::new(frame_of(image.clone())))))
    }
}

#[async_trait]
impl FrameSource for ScriptedSource {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        while let Some(Step::Wait(wait)) = self.steps.front() {
            let wait = wait.clone();
            wait.notified().await;
            // Cancel-safe: a step leaves the script only when it is done.
            self.steps.pop_front();
        }
        match self.steps.pop_front() {
            Some(Step::Frame(frame)) => Ok(Some(*frame)),
            Some(Step::Error(error)) => Err(error),
            Some(Step::Wait(_)) | None => Ok(None),
        }
    }

    async fn reopen(&mut self) -> Result<(), SourceError> {
        *self.reopened.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ok(())
    }
}

/// A sink that keeps what it gets. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CollectingSink {
    inner: Arc<Mutex<Collected>>,
    arrived: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Collected {
    frames: Vec<Frame>,
    finished: bool,
}

impl CollectingSink {
    /// The frames so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.lock().frames.clone()
    }

    /// The sequence numbers so far.
    pub fn sequences(&self) -> Vec<u64> {
        self.lock().frames.iter().map(|f| f.sequence).collect()
    }

    /// Whether the stream has ended.
    pub fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// Waits until `count` frames have arrived; false if that takes longer than `limit`.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> bool {
        let enough = async {
            while self.lock().frames.len() < count {
                self.arrived.notified().await;
            }
        };
        tokio::time::timeout(limit, enough).await.is_ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Collected> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl FrameSink for CollectingSink {
    async fn consume(&mut self, frame: Frame) -> Result<(), SinkError> {
        self.lock().frames.push(frame);
        self.arrived.notify_one();
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        self.lock().finished = true;
        self.arrived.notify_one();
        Ok(())
    }
}

/// Runs a processor over pictures of every format, of sizes from 1x1 to 4K, odd ones and padded ones included, and
/// over `random` further ones, and checks what holds for every processor: identity and clocks are kept, the result
/// is a readable picture, and it never panics. `build` makes a new processor for each series.
///
/// # Errors
/// What went wrong, and for which picture.
pub fn conformance<P, F>(mut build: F, random: u64) -> Result<(), BoxError>
where
    P: FrameProcessor,
    F: FnMut() -> P,
{
    const SIZES: [(u32, u32); 10] =
        [(1, 1), (2, 2), (1, 9), (9, 1), (3, 5), (16, 16), (31, 17), (64, 48), (321, 243), (17, 128)];
    let mut numbers = Random::new(random);
    let spaces = [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709];
    for format in PixelFormat::ALL {
        let mut processor = build();
        let mut run = |width, height, color, padding, seed| {
            check_one(&mut processor, random_image(format, width, height, color, padding, seed))
        };
        for (index, (width, height)) in SIZES.into_iter().enumerate() {
            for (n, color) in spaces.into_iter().enumerate() {
                run(width, height, color, [0, 1, 13][(index + n) % 3], index as u64)?;
            }
        }
        for _ in 0..random / PixelFormat::ALL.len() as u64 {
            let color = spaces[numbers.below(3) as usize];
            let (width, height) = (1 + numbers.below(200) as u32, 1 + numbers.below(150) as u32);
            run(width, height, color, numbers.below(9) as usize, numbers.next_u64())?;
        }
    }
    let mut processor = build();
    check_one(&mut processor, random_image(PixelFormat::I420, 3840, 2160, ColorSpace::BT709, 0, 4))
}

fn check_one<P: FrameProcessor>(processor: &mut P, image: Image) -> Result<(), BoxError> {
    let what = format!("{:?} {}x{} {:?}", image.format(), image.width(), image.height(), image.color());
    let original = image.to_packed()?;
    let kept = image.clone();
    let mut frame = frame_of(image);
    frame.sequence = 42;
    let received = frame.received;
    let run = std::panic::AssertUnwindSafe(|| process_one(processor, &mut frame));
    let result = std::panic::catch_unwind(run).map_err(|_| format!("{what}: panicked"))?;
    result.map_err(|e| format!("{what}: {}", e.inner()))?;
    if frame.sequence != 42 || frame.received != received || frame.stream != StreamId::default() {
        return Err(format!("{what}: identity or clocks were changed").into());
    }
    if kept.to_packed()? != original {
        return Err(format!("{what}: a shared picture was changed in place").into());
    }
    let out = frame.image.pixels().map_err(|e| format!("{what}: {e}"))?;
    let bytes = out.to_packed()?.len();
    let expected: usize = (0..out.format().plane_count())
        .map(|p| out.format().row_bytes(p, out.width()) * out.format().rows(p, out.height()))
        .sum();
    if bytes == expected {
        Ok(())
    } else {
        Err(format!("{what}: {bytes} bytes came out, not {expected}").into())
    }
}
