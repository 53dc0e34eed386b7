//! The decoding thread of a publisher: access units in, frames out.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use ooblex_core::{
    BufferPool, Frame, Image, ImageError, LatencyTrace, MediaTime, Picture, Rotation, Stage, StreamId,
    convert,
};
use tokio::sync::{Notify, oneshot};

use super::{Coding, LiveError, Output, Unit, Units};
use crate::decode::{self, Decoded, VideoCodec, VideoDecoder};
use crate::picture::{self, PictureLimits};

/// Ticks a second of a unit's time.
const RATE: NonZeroU32 = NonZeroU32::new(90_000).unwrap();
/// Pictures that a decoder may hold back to put them in order; H.264 allows 16.
const MAX_HELD: usize = 64;

/// What the thread tells whoever reads the network.
#[derive(Default)]
pub struct Feedback {
    changed: Notify,
    keyframe: AtomicBool,
    over: Mutex<Option<String>>,
}

impl Feedback {
    /// Waits until there is something new. Cancel-safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether a key frame is needed, since this was asked last.
    pub fn take_keyframe(&self) -> bool {
        self.keyframe.swap(false, Ordering::Relaxed)
    }

    /// Why the thread has stopped by itself, if it has.
    pub fn over(&self) -> Option<String> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&self) {
        self.keyframe.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn stop(&self, why: String) {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.changed.notify_one();
    }
}

/// The thread of one publisher. Stops when its queue is closed, or this is dropped.
pub struct DecodeThread {
    feedback: Arc<Feedback>,
    units: Units,
    stopped: oneshot::Receiver<()>,
}

impl DecodeThread {
    /// Starts the thread, which opens `output` at once. Of `name` the system shows 15 bytes. `limits` is for single
    /// pictures.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(
        name: &str,
        stream: StreamId,
        limits: PictureLimits,
        units: Units,
        mut output: impl Output,
    ) -> std::io::Result<Self> {
        let feedback = Arc::<Feedback>::default();
        let (done, stopped) = oneshot::channel();
        let (thread_units, thread_feedback) = (units.clone(), feedback.clone());
        let run = move || {
            let work = AssertUnwindSafe(|| match output.open() {
                Ok(pool) => {
                    Decoding::new(stream, limits, pool, output, thread_feedback.clone()).run(&thread_units);
                }
                Err(error) => thread_feedback.stop(error.to_string()),
            });
            if catch_unwind(work).is_err() {
                thread_feedback.stop("the decoder failed".to_owned());
            }
            drop(done);
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { feedback, units, stopped })
    }

    /// What it has to say.
    pub fn feedback(&self) -> &Arc<Feedback> {
        &self.feedback
    }

    /// Stops the thread and waits until it has let go of everything.
    pub async fn stop(mut self) {
        self.units.close();
        let _ = (&mut self.stopped).await;
    }
}

impl Drop for DecodeThread {
    fn drop(&mut self) {
        self.units.close();
    }
}

/// What a picture takes over from its access unit.
struct Origin {
    number: u64,
    pts: i64,
    received: Instant,
    captured: Option<SystemTime>,
    rotation: Rotation,
    mirrored: bool,
}

struct Decoding<O> {
    stream: StreamId,
    limits: PictureLimits,
    pool: BufferPool,
    output: O,
    feedback: Arc<Feedback>,
    decoder: Option<(VideoCodec, Box<dyn VideoDecoder>)>,
    /// Of access units whose pictures have not come out yet.
    origins: VecDeque<Origin>,
    /// Everything up to the next key frame is dropped.
    broken: bool,
}

impl<O: Output> Decoding<O> {
    fn new(
        stream: StreamId,
        limits: PictureLimits,
        pool: BufferPool,
        output: O,
        feedback: Arc<Feedback>,
    ) -> Self {
        let origins = VecDeque::new();
        Self { stream, limits, pool, output, feedback, decoder: None, origins, broken: false }
    }

    fn run(mut self, units: &Units) {
        let mut decoded = Vec::new();
        while let Some(unit) = units.pop() {
            let number = unit.number;
            if self.broken && !unit.keyframe {
                self.output.skipped(number);
                continue;
            }
            let outcome = match unit.coding {
                Coding::Picture => self.picture(unit),
                Coding::Video(codec) => {
                    let outcome = self.decode(codec, unit, &mut decoded).map(|()| true);
                    let taken = decoded.drain(..).all(|picture| self.emit(picture));
                    outcome.map(|_| taken)
                }
            };
            match outcome {
                Ok(true) => {
                    self.broken = false;
                    self.output.decoded(number);
                }
                Ok(false) => {
                    self.feedback.stop("the stream has ended".to_owned());
                    return;
                }
                Err(error) => self.failed(number, &error),
            }
        }
    }

    fn decode(&mut self, codec: VideoCodec, unit: Unit, decoded: &mut Vec<Decoded>) -> Result<(), LiveError> {
        let Unit { number, data, pts, fresh, received, captured, rotation, mirrored, .. } = unit;
        if fresh || self.decoder.as_ref().is_none_or(|(present, _)| *present != codec) {
            self.origins.clear();
            self.decoder = Some((codec, decode::open(codec, self.pool.clone())?));
        }
        if self.origins.len() >= MAX_HELD {
            self.origins.pop_front();
        }
        self.origins.push_back(Origin { number, pts, received, captured, rotation, mirrored });
        match &mut self.decoder {
            Some((_, decoder)) => Ok(decoder.decode(&data, pts, decoded)?),
            None => Ok(()),
        }
    }

    fn failed(&mut self, number: u64, error: &LiveError) {
        if !self.broken {
            let codec = self.decoder.as_ref().map(|(codec, _)| codec.as_str());
            tracing::debug!(stream = %self.stream, codec, %error, "a frame could not be decoded");
        }
        self.output.failed(number, error);
        // The next single picture needs nothing of this one.
        if matches!(error, LiveError::Video(_)) {
            self.broken = true;
            self.feedback.ask();
        }
    }

    /// Passes a decoded picture on; false if nobody takes it any more.
    fn emit(&mut self, picture: Decoded) -> bool {
        // Pictures come out in the order of showing, which need not be that of decoding.
        let place = self.origins.iter().position(|origin| origin.pts == picture.pts);
        let Some(origin) = place.and_then(|place| self.origins.remove(place)) else { return true };
        let image = match upright(picture.image, origin.rotation, origin.mirrored, &self.pool) {
            Ok(image) => image,
            Err(error) => {
                self.failed(origin.number, &error.into());
                return true;
            }
        };
        let picture = Picture::new(image, self.pool.clone());
        let frame = Frame::new(self.stream.clone(), 0, origin.received, picture);
        let mut frame = frame.with_captured(origin.captured).with_pts(Some(MediaTime::new(origin.pts, RATE)));
        frame.trace = LatencyTrace::new(origin.received);
        frame.trace.mark(Stage::Decode, Instant::now());
        self.output.push(origin.number, frame)
    }

    /// Passes a single picture on, compressed as it is unless it must be decoded to be shown.
    fn picture(&mut self, unit: Unit) -> Result<bool, LiveError> {
        let picture = picture::accept(unit.data, &self.limits, &self.pool)?;
        let frame = Frame::new(self.stream.clone(), 0, unit.received, picture);
        Ok(self.output.push(unit.number, frame.with_captured(unit.captured)))
    }
}

/// Turns a picture as its sender held the camera: turned first, mirrored after.
fn upright(image: Image, rotation: Rotation, mirrored: bool, pool: &BufferPool) -> Result<Image, ImageError> {
    if rotation == Rotation::None && !mirrored {
        return Ok(image);
    }
    let turned = convert::rotate(&image, rotation, false, pool)?;
    if mirrored { convert::rotate(&turned, Rotation::None, true, pool) } else { Ok(turned) }
}
