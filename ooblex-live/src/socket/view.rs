//! The viewing half of a session: the newest pictures, no more of them than the viewer can take.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ooblex_core::StreamId;
use ooblex_core::hub::Hub;

use super::climb::{Climb, Limits, Why};
use super::counters::SocketCounters;
use super::flight::Flight;
use crate::protocol::{Close, CloseCode, HEADER_LEN, Header, Percentiles, ServerMessage, Skipped};
use crate::{Codec, LADDER, LiveHub, Unit, Watch, WatchError};

/// Ages that are kept for the statistics of one second.
const MOST_AGES: usize = 256;

/// Which stream is shown.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// This one, until it ends.
    Named(StreamId),
    /// The newest, and when it has ended the next one.
    Newest,
}

/// What a viewer gets to see.
pub(super) enum Seen {
    /// From the quality that is shown.
    Shown(Option<Arc<Unit>>),
    /// From the quality that is to be shown.
    Coming(Option<Arc<Unit>>),
}

/// What is to be sent.
#[derive(Default)]
pub(super) struct Due {
    pub(super) messages: Vec<ServerMessage>,
    pub(super) picture: Option<Bytes>,
}

pub(super) struct View {
    live: LiveHub,
    target: Target,
    codec: Codec,
    stream: Option<StreamId>,
    shown: Option<Watch>,
    coming: Option<(Watch, Why)>,
    climb: Climb,
    flight: Flight,
    /// Pictures were left out: it goes on with a key frame.
    broken: bool,
    /// The picture of the stream that was sent last.
    last: Option<u64>,
    sent: u64,
    acked: u64,
    acked_bytes: u64,
    skipped: Skipped,
    ages: Vec<f64>,
    counters: Arc<SocketCounters>,
}

impl View {
    pub(super) fn new(
        live: LiveHub,
        target: Target,
        codec: Codec,
        limits: Limits,
        budget: Duration,
        counters: Arc<SocketCounters>,
        now: Instant,
    ) -> Self {
        Self {
            live,
            target,
            codec,
            stream: None,
            shown: None,
            coming: None,
            climb: Climb::new(codec, limits, budget, now),
            flight: Flight::new(budget),
            broken: false,
            last: None,
            sent: 0,
            acked: 0,
            acked_bytes: 0,
            skipped: Skipped::default(),
            ages: Vec::new(),
            counters,
        }
    }

    /// Whether it waits for a stream to begin.
    pub(super) fn is_waiting(&self) -> bool {
        self.shown.is_none() && self.coming.is_none()
    }

    /// Takes its place in front of its stream, if that is live.
    ///
    /// # Errors
    /// If there is no encoder for it.
    pub(super) fn attach(&mut self, hub: &Hub) -> Result<(), Close> {
        if !self.is_waiting() {
            return Ok(());
        }
        let stream = match &self.target {
            Target::Named(stream) => Some(stream.clone()),
            Target::Newest => hub.newest().map(|stream| stream.id().clone()),
        };
        let Some(stream) = stream else { return Ok(()) };
        match self.live.watch(&stream, self.codec, self.climb.rung()) {
            Ok(watch) => {
                self.stream = Some(stream);
                self.last = None;
                self.flight.restart();
                self.coming = Some((watch, Why::Start));
                Ok(())
            }
            Err(WatchError::UnknownStream(_)) => Ok(()),
            Err(error @ WatchError::TooManyEncoders(_)) => {
                Err(Close::new(CloseCode::TryLater, error.to_string()))
            }
            Err(error) => Err(Close::new(CloseCode::Failed, error.to_string())),
        }
    }

    /// The next picture. Cancel-safe.
    pub(super) async fn next(&mut self) -> Seen {
        match (&mut self.shown, &mut self.coming) {
            (Some(shown), Some((coming, _))) => tokio::select! {
                unit = shown.next() => Seen::Shown(unit),
                unit = coming.next() => Seen::Coming(unit),
            },
            (Some(shown), None) => Seen::Shown(shown.next().await),
            (None, Some((coming, _))) => Seen::Coming(coming.next().await),
            (None, None) => std::future::pending().await,
        }
    }

    /// Deals with what was seen; `free` says whether a picture could leave now.
    ///
    /// # Errors
    /// If there is nothing more to see.
    pub(super) fn take(&mut self, seen: Seen, free: bool, now: Instant) -> Result<Due, Close> {
        let mut due = Due::default();
        let unit = match seen {
            Seen::Shown(Some(unit)) => unit,
            Seen::Coming(Some(unit)) => {
                let Some((watch, why)) = self.coming.take() else { return Ok(due) };
                due.messages.push(self.quality(&watch, why));
                self.shown = Some(watch);
                self.broken = false;
                unit
            }
            Seen::Coming(None) if self.shown.is_some() => {
                self.coming = None;
                return Ok(due);
            }
            Seen::Shown(None) | Seen::Coming(None) => return self.ended(due),
        };
        let may_send = free && self.flight.may_send(now);
        if self.broken && unit.is_key && may_send {
            self.broken = false;
        }
        if self.broken || !may_send {
            self.broken = true;
            self.skipped.behind += 1;
            self.counters.behind.increment();
            return Ok(due);
        }
        // Another encoder may still be at what the one before has sent; and what is withdrawn must not leave. What follows
        // either would refer to it.
        if self.last.is_some_and(|last| unit.sequence < last) || !unit.clearance.holds() {
            self.shown.iter().for_each(Watch::skip_to_key);
            return Ok(due);
        }
        let picture = message(&unit);
        self.flight.sent(unit.sequence, picture.len(), now);
        self.last = Some(unit.sequence);
        self.sent += 1;
        self.counters.sent.increment();
        self.counters.sent_bytes.add(picture.len() as u64);
        due.picture = Some(picture);
        Ok(due)
    }

    /// The stream has ended, or its encoder has failed.
    fn ended(&mut self, mut due: Due) -> Result<Due, Close> {
        let watch = self.shown.take().or(self.coming.take().map(|(watch, _)| watch));
        if let Some(why) = watch.and_then(|watch| watch.failure()) {
            return Err(Close::new(CloseCode::Failed, format!("the encoder failed: {why}")));
        }
        let stream = self.stream.take().unwrap_or_default();
        due.messages.push(ServerMessage::End { reason: format!("stream {stream} has ended") });
        Ok(due)
    }

    /// Whether nothing can be shown any more after the end of the stream.
    pub(super) fn is_over(&self) -> bool {
        self.is_waiting() && matches!(self.target, Target::Named(_))
    }

    /// The viewer has shown a picture, or dropped it.
    ///
    /// # Errors
    /// If it was never sent.
    pub(super) fn acked(
        &mut self,
        seq: u64,
        age_ms: Option<f64>,
        shown: bool,
        now: Instant,
    ) -> Result<(), Close> {
        let acked = self.flight.acked(seq, now);
        let acked =
            acked.map_err(|_| Close::new(CloseCode::Protocol, format!("picture {seq} was never sent")))?;
        let Some(acked) = acked else { return Ok(()) };
        self.acked += 1;
        self.acked_bytes += acked.bytes as u64;
        self.climb.acked(acked.waited, acked.bytes);
        if let Some(age) = age_ms.filter(|_| self.ages.len() < MOST_AGES) {
            self.ages.push(age);
        }
        if !shown {
            self.skipped.late += 1;
            self.counters.late.increment();
        }
        self.resume(now);
        Ok(())
    }

    /// Goes on with the newest picture once what was on its way has arrived.
    pub(super) fn resume(&mut self, now: Instant) {
        if self.broken && self.flight.may_send(now) {
            self.broken = false;
            self.shown.iter().for_each(Watch::skip_to_key);
        }
    }

    /// How long the oldest picture that was sent has not been acknowledged.
    pub(super) fn unacknowledged_for(&self, now: Instant) -> Duration {
        self.flight.unacknowledged_for(now)
    }

    /// Something else went there and back.
    pub(super) fn measured(&mut self, took: Duration, now: Instant) {
        self.flight.measured(took, now);
    }

    /// The viewer cannot decode what it has.
    pub(super) fn request_key(&self) {
        self.shown.iter().for_each(Watch::request_key);
    }

    /// Other limits from now on.
    pub(super) fn limit(&mut self, limits: Limits, now: Instant) {
        let why = self.climb.limit(limits, now);
        self.change(why);
    }

    /// Looks whether another quality suits better.
    pub(super) fn look(&mut self, now: Instant) {
        let why = self.climb.look(self.flight.waiting(now), now);
        self.change(why);
    }

    fn change(&mut self, why: Option<Why>) {
        let (Some(why), Some(stream)) = (why, &self.stream) else { return };
        match self.live.watch(stream, self.codec, self.climb.rung()) {
            Ok(watch) => self.coming = Some((watch, why)),
            // It goes on as it is.
            Err(error) => tracing::debug!(%stream, %error, "a viewer's quality stays as it is"),
        }
    }

    fn quality(&self, watch: &Watch, why: Why) -> ServerMessage {
        let (codec, rung) = watch.quality();
        let quality = LADDER[rung];
        ServerMessage::Quality {
            stream: self.stream.clone().unwrap_or_default().to_string(),
            codec: codec.as_str(),
            height: quality.max_height,
            kbps: quality.kbps,
            reason: why.as_str(),
        }
    }

    /// What happened in the last second.
    pub(super) fn stats(&mut self) -> ServerMessage {
        let bytes = std::mem::take(&mut self.acked_bytes);
        let mut ages = std::mem::take(&mut self.ages);
        ServerMessage::Stats {
            sent: self.sent,
            acked: self.acked,
            skipped: self.skipped,
            kbps: u32::try_from(bytes * 8 / 1000).unwrap_or(u32::MAX),
            rtt_ms: self.flight.round_trip().map(|way| way.as_secs_f64() * 1e3),
            age_ms: Percentiles::of(&mut ages),
        }
    }
}

/// A picture with its header.
fn message(unit: &Unit) -> Bytes {
    let header = Header {
        codec: unit.codec,
        is_key: unit.is_key,
        sequence: unit.sequence,
        captured_us: micros(unit.captured),
    };
    let mut message = Vec::with_capacity(HEADER_LEN + unit.data.len());
    message.extend_from_slice(&header.encode());
    message.extend_from_slice(&unit.data);
    message.into()
}

/// A time as it is on the wire.
pub(super) fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
