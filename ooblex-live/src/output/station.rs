//! One encoder with its thread and its viewers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ooblex_core::{
    Clock, Frame, QueuePolicy, QueueReceiver, QueueSender, Sent, Stage, StreamId, StreamStats, queue,
};

use super::seat::{Offered, Seat};
use super::{Channel, LiveConfig, LiveCounters, Quality, Unit, WatchError};
use crate::codec::Codec;
use crate::encode::{self, Encoded, VideoEncoder};

/// Pictures that may fail one after the other before the encoder is given up.
const MAX_ERRORS_IN_A_ROW: u32 = 10;

/// An encoder that runs for the viewers of one codec and quality.
pub(super) struct Station {
    /// Codec and rung of the ladder.
    pub(super) key: (Codec, usize),
    frames: QueueSender<Frame>,
    shared: Arc<Shared>,
}

/// What the thread and the viewers have in common.
struct Shared {
    seats: Mutex<Vec<Arc<Seat>>>,
    key_wanted: AtomicBool,
    counters: Arc<LiveCounters>,
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Station {
    /// Starts the thread, which was counted already. It runs until the station's frames end.
    pub(super) fn start(
        key: (Codec, usize),
        quality: Quality,
        channel: &Channel,
        config: &LiveConfig,
        counters: Arc<LiveCounters>,
    ) -> Result<Arc<Self>, WatchError> {
        let begin = || {
            let encoder = encode::open(key.0, quality)?;
            let shared = Arc::new(Shared {
                seats: Mutex::default(),
                key_wanted: AtomicBool::new(true),
                counters: counters.clone(),
            });
            let (frames, waiting) = queue(QueuePolicy::LatestWins);
            let work = Encoding {
                codec: key.0,
                stream: channel.id.clone(),
                stats: channel.stats.clone(),
                shared: shared.clone(),
                encoder,
                clock: config.clock.clone(),
                key_gap: config.key_gap,
                max_waiting: config.max_waiting.max(1),
                started: config.clock.now(),
                last_key: None,
                generation: None,
                errors: 0,
            };
            // Names of threads are cut at 15 bytes by the system.
            let name = format!("enc-{}-{}", key.0, channel.id);
            std::thread::Builder::new().name(name).spawn(move || work.run(&waiting))?;
            Ok(Arc::new(Self { key, frames, shared }))
        };
        begin().inspect_err(|_| counters.free_encoder())
    }

    /// Gives the encoder its next picture; one that still waits is replaced.
    pub(super) fn give(&self, frame: Frame) {
        if let Sent::Displaced(_) = self.frames.try_send(frame) {
            self.shared.counters.superseded.increment();
        }
    }

    pub(super) fn take_seat(&self) -> Arc<Seat> {
        let seat = Arc::new(Seat::new(self.shared.counters.clone()));
        self.shared.seats().push(seat.clone());
        self.request_key();
        seat
    }

    /// Gives a seat back; true if it was the last one.
    pub(super) fn leave(&self, seat: &Arc<Seat>) -> bool {
        let mut seats = self.shared.seats();
        seats.retain(|other| !Arc::ptr_eq(other, seat));
        seats.is_empty()
    }

    pub(super) fn request_key(&self) {
        self.shared.key_wanted.store(true, Ordering::Relaxed);
    }

    pub(super) fn viewers(&self) -> usize {
        self.shared.seats().len()
    }

    /// Whether its thread has ended, or will.
    pub(super) fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Ends the thread once it has worked off its frame.
    pub(super) fn close(&self) {
        self.frames.close();
    }

    /// The same, and tells the viewers.
    pub(super) fn end(&self) {
        self.close();
        self.shared.seats().iter().for_each(|seat| seat.end(None));
    }
}

/// The thread's side.
struct Encoding {
    codec: Codec,
    stream: StreamId,
    stats: Arc<StreamStats>,
    shared: Arc<Shared>,
    encoder: Box<dyn VideoEncoder>,
    clock: Clock,
    key_gap: Duration,
    max_waiting: usize,
    started: Instant,
    last_key: Option<Instant>,
    /// Of the effect that made the last picture.
    generation: Option<u64>,
    errors: u32,
}

impl Encoding {
    fn run(mut self, frames: &QueueReceiver<Frame>) {
        while let Some(frame) = frames.recv_blocking() {
            if !frame.clearance.holds() {
                continue;
            }
            let encoded = catch_unwind(AssertUnwindSafe(|| self.encode(frame)));
            match encoded.unwrap_or_else(|_| Err("the encoder panicked".to_owned())) {
                Ok(Some(unit)) => self.hand_out(&unit),
                Ok(None) => self.errors = 0,
                Err(error) if !self.failed(&error) => {
                    frames.close();
                    self.shared.seats().iter().for_each(|seat| seat.end(Some(error.clone())));
                }
                Err(_) => {}
            }
        }
        self.shared.counters.free_encoder();
    }

    fn encode(&mut self, mut frame: Frame) -> Result<Option<Arc<Unit>>, String> {
        let begun = self.clock.now();
        let key = self.takes_key(frame.clearance.generation(), begun);
        let before = frame.image.counts();
        let pixels = frame.image.pixels().cloned();
        self.stats.add_picture_counts(before, frame.image.counts());
        let pixels = pixels.map_err(|e| e.to_string())?;
        frame.trace.mark(Stage::Handover, begun);
        let at = begun.saturating_duration_since(self.started);
        let encoded = self.encoder.encode(&pixels, at, key).map_err(|e| e.to_string())?;
        let Some(Encoded { data, is_key, width, height }) = encoded else { return Ok(None) };
        let now = self.clock.now();
        frame.trace.mark(Stage::Encode, now);
        self.stats.on_stage(Stage::Encode, now.saturating_duration_since(begun));
        self.generation = Some(frame.clearance.generation());
        if is_key {
            self.last_key = Some(now);
        }
        let received = frame.received;
        let age = now.saturating_duration_since(received);
        let captured = frame.captured.unwrap_or_else(|| SystemTime::now() - age);
        Ok(Some(Arc::new(Unit {
            codec: self.codec,
            is_key,
            sequence: frame.sequence,
            captured,
            received,
            data,
            width,
            height,
            clearance: frame.clearance,
            trace: frame.trace,
        })))
    }

    /// Whether the next picture is to be a key frame: somebody needs one, and the last is some time ago. Also after every
    /// switch of the effect, so that nothing of the pictures before it is left in those after it.
    fn takes_key(&self, generation: u64, now: Instant) -> bool {
        if self.generation.is_some_and(|last| last != generation) {
            return true;
        }
        let due = self.last_key.is_none_or(|last| now.saturating_duration_since(last) >= self.key_gap);
        due && self.shared.key_wanted.swap(false, Ordering::Relaxed)
    }

    fn hand_out(&mut self, unit: &Arc<Unit>) {
        self.errors = 0;
        let counters = &self.shared.counters;
        counters.encoded.increment();
        counters.bytes.add(unit.data.len() as u64);
        if unit.is_key {
            counters.keys.increment();
        }
        let mut needs_key = false;
        for seat in &*self.shared.seats() {
            needs_key |= seat.offer(unit, self.max_waiting) == Offered::NeedsKey;
        }
        if needs_key {
            self.shared.key_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether to go on after an error.
    fn failed(&mut self, error: &str) -> bool {
        self.shared.counters.encode_errors.increment();
        if self.errors == 0 {
            tracing::warn!(stream = %self.stream, codec = %self.codec, error, "a picture could not be encoded");
        }
        self.errors += 1;
        self.shared.key_wanted.store(true, Ordering::Relaxed);
        self.errors < MAX_ERRORS_IN_A_ROW
    }
}
