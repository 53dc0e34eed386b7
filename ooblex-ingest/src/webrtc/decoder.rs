//! The decoding thread of a session: access units in, frames out.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use ooblex_core::{
    BoxError, BufferPool, Frame, Image, LatencyTrace, MediaTime, Picture, Rotation, Stage, StreamId, convert,
};
use tokio::sync::{Notify, oneshot};

use super::handle::SessionHandle;
use super::units::{Unit, Units};
use crate::decode::{self, Decoded, VideoCodec, VideoDecoder, VideoError};
use crate::rtp::orientation::Orientation;

/// Ticks a second of RTP video.
const RATE: NonZeroU32 = NonZeroU32::new(90_000).unwrap();
/// Pictures that a decoder may hold back to put them in order; H.264 allows 16.
const MAX_HELD: usize = 64;

/// Where a session's pictures go.
pub(super) trait Output: Send + 'static {
    /// Called first, on the decoding thread; may take its time. Gives the pool for pictures.
    fn open(&mut self) -> Result<BufferPool, BoxError>;

    /// Takes a picture; false if it takes no more.
    fn push(&mut self, frame: Frame) -> bool;

    /// An access unit could not be decoded.
    fn lost(&mut self);
}

/// What the thread tells the session's task.
#[derive(Default)]
pub(super) struct Feedback {
    pub(super) changed: Notify,
    keyframe: AtomicBool,
    over: Mutex<Option<String>>,
}

impl Feedback {
    /// Whether a key frame is needed, since this was asked last.
    pub(super) fn take_keyframe(&self) -> bool {
        self.keyframe.swap(false, Ordering::Relaxed)
    }

    /// Why the thread has stopped by itself, if it has.
    pub(super) fn over(&self) -> Option<String> {
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

/// The thread of one session. Stops when its queue is closed.
pub(super) struct DecodeThread {
    pub(super) feedback: Arc<Feedback>,
    units: Units,
    stopped: oneshot::Receiver<()>,
}

impl DecodeThread {
    /// Starts the thread, which opens `output` at once.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(
        units: Units,
        mut output: impl Output,
        session: Arc<SessionHandle>,
    ) -> std::io::Result<Self> {
        let feedback = Arc::<Feedback>::default();
        let (done, stopped) = oneshot::channel();
        let (thread_units, thread_feedback) = (units.clone(), feedback.clone());
        let run = move || {
            let work = AssertUnwindSafe(|| match output.open() {
                Ok(pool) => Decoding::new(session, pool, output, thread_feedback.clone()).run(&thread_units),
                Err(error) => thread_feedback.stop(error.to_string()),
            });
            if catch_unwind(work).is_err() {
                thread_feedback.stop("the decoder failed".to_owned());
            }
            drop(done);
        };
        // Names of threads are cut at 15 bytes by the system.
        std::thread::Builder::new().name("webrtc-decode".to_owned()).spawn(run)?;
        Ok(Self { feedback, units, stopped })
    }

    /// Stops the thread and waits until it has let go of everything.
    pub(super) async fn stop(self) {
        self.units.close();
        let _ = self.stopped.await;
    }
}

/// What a picture takes over from its access unit.
struct Origin {
    pts: i64,
    received: Instant,
    captured: Option<SystemTime>,
    orientation: Orientation,
}

struct Decoding<O> {
    session: Arc<SessionHandle>,
    pool: BufferPool,
    output: O,
    feedback: Arc<Feedback>,
    decoder: Option<(VideoCodec, Box<dyn VideoDecoder>)>,
    /// Of access units whose pictures have not come out yet.
    origins: VecDeque<Origin>,
    /// Everything up to the next key frame is dropped.
    broken: bool,
    /// It is reported that nothing can be shown.
    reported: bool,
}

impl<O: Output> Decoding<O> {
    fn new(session: Arc<SessionHandle>, pool: BufferPool, output: O, feedback: Arc<Feedback>) -> Self {
        Self {
            session,
            pool,
            output,
            feedback,
            decoder: None,
            origins: VecDeque::new(),
            broken: false,
            reported: false,
        }
    }

    fn run(mut self, units: &Units) {
        let mut decoded = Vec::new();
        while let Some(unit) = units.pop() {
            if self.broken && !unit.keyframe {
                self.session.shared.on_skipped(1);
                continue;
            }
            let outcome = self.decode(unit, &mut decoded);
            for picture in decoded.drain(..) {
                if !self.emit(picture) {
                    self.feedback.stop("the stream has ended".to_owned());
                    return;
                }
            }
            match outcome {
                Ok(()) => self.broken = false,
                Err(error) => self.failed(&error),
            }
        }
    }

    fn decode(&mut self, unit: Unit, decoded: &mut Vec<Decoded>) -> Result<(), VideoError> {
        let Unit { codec, data, pts, fresh, received, captured, orientation, .. } = unit;
        if fresh || self.decoder.as_ref().is_none_or(|(present, _)| *present != codec) {
            self.origins.clear();
            self.decoder = Some((codec, decode::open(codec, self.pool.clone())?));
        }
        if self.origins.len() >= MAX_HELD {
            self.origins.pop_front();
        }
        self.origins.push_back(Origin { pts, received, captured, orientation });
        match &mut self.decoder {
            Some((_, decoder)) => decoder.decode(&data, pts, decoded),
            None => Ok(()),
        }
    }

    fn failed(&mut self, error: &VideoError) {
        let codec = self.decoder.as_ref().map(|(codec, _)| codec.as_str());
        if !self.broken {
            tracing::debug!(stream = %self.session.stream, codec, %error, "a frame could not be decoded");
        }
        self.broken = true;
        self.session.shared.on_decode_error();
        self.output.lost();
        if let VideoError::Unsupported(_) = error {
            let text = error.to_string();
            let mut status = self.session.shared.status();
            if status.problem.as_ref() != Some(&text) {
                tracing::warn!(stream = %self.session.stream, codec, %error, "a publisher's video cannot be shown");
                status.problem = Some(text);
                self.reported = true;
            }
        }
        self.feedback.ask();
    }

    /// Passes a picture on; false if nobody takes it any more.
    fn emit(&mut self, picture: Decoded) -> bool {
        // Pictures come out in the order of showing, which need not be that of decoding.
        let place = self.origins.iter().position(|origin| origin.pts == picture.pts);
        let Some(origin) = place.and_then(|place| self.origins.remove(place)) else { return true };
        let image = match upright(picture.image, origin.orientation, &self.pool) {
            Ok(image) => image,
            Err(error) => {
                tracing::debug!(stream = %self.session.stream, %error, "a picture could not be turned");
                self.output.lost();
                return true;
            }
        };
        let now = Instant::now();
        let frame = Frame::new(
            self.session.stream.clone(),
            0,
            origin.received,
            Picture::new(image, self.pool.clone()),
        );
        let mut frame = frame.with_captured(origin.captured).with_pts(Some(MediaTime::new(origin.pts, RATE)));
        frame.trace = LatencyTrace::new(origin.received);
        frame.trace.mark(Stage::Decode, now);
        if !self.session.shared.has_picture() {
            tracing::info!(
                stream = %self.session.stream,
                width = frame.image.width(),
                height = frame.image.height(),
                after_ms = now.saturating_duration_since(self.session.shared.created()).as_millis() as u64,
                "first picture of a WebRTC publisher",
            );
        }
        self.session.shared.on_picture(now);
        if std::mem::take(&mut self.reported) {
            self.session.shared.status().problem = None;
        }
        self.output.push(frame)
    }
}

/// Turns a picture as its sender held the camera.
fn upright(
    image: Image,
    orientation: Orientation,
    pool: &BufferPool,
) -> Result<Image, ooblex_core::ImageError> {
    if orientation.is_upright() {
        return Ok(image);
    }
    let rotation = match orientation.quarter_turns % 4 {
        1 => Rotation::Clockwise90,
        2 => Rotation::Half,
        3 => Rotation::Clockwise270,
        _ => Rotation::None,
    };
    // Turned first, mirrored after.
    let turned = convert::rotate(&image, rotation, false, pool)?;
    if orientation.mirrored { convert::rotate(&turned, Rotation::None, true, pool) } else { Ok(turned) }
}

/// Feeds a stream of a hub.
pub(super) struct ToHub {
    pub(super) hub: ooblex_core::hub::Hub,
    pub(super) id: StreamId,
    pub(super) patience: ooblex_core::hub::Patience,
    pub(super) stream: Option<Arc<ooblex_core::hub::Stream>>,
}

impl Output for ToHub {
    fn open(&mut self) -> Result<BufferPool, BoxError> {
        let stream = self.hub.publish_with(&self.id, super::KIND, self.patience)?;
        let pool = stream.pool().clone();
        self.stream = Some(stream);
        Ok(pool)
    }

    fn push(&mut self, frame: Frame) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.pipeline().input().push(frame).is_ok())
    }

    fn lost(&mut self) {
        if let Some(stream) = &self.stream {
            stream.pipeline().input().lost(ooblex_core::DropReason::DecodeFailed);
        }
    }
}
