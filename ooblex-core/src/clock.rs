//! Media time, the clock that runners read, and the latency trace that every frame carries.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A presentation time in ticks of a rate, as containers and RTP carry it. The origin is the sender's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaTime {
    /// Ticks since the origin; may be negative.
    pub ticks: i64,
    /// Ticks a second, 90,000 for RTP video.
    pub rate: NonZeroU32,
}

impl MediaTime {
    /// `ticks` at `rate` ticks a second.
    pub const fn new(ticks: i64, rate: NonZeroU32) -> Self {
        Self { ticks, rate }
    }

    /// Seconds since the origin.
    pub fn as_secs_f64(self) -> f64 {
        self.ticks as f64 / f64::from(self.rate.get())
    }
}

/// What the time is: the system's monotonic clock, or one that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Mutex<Instant>>>);

impl Clock {
    /// The system's monotonic clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still at `start` until [`advance`](Self::advance) moves it. Clones move together.
    pub fn manual(start: Instant) -> Self {
        Self(Some(Arc::new(Mutex::new(start))))
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Moves a manual clock forward; the system clock is left alone.
    pub fn advance(&self, by: Duration) {
        if let Some(time) = &self.0 {
            *time.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}

/// A point on a frame's way. An instant says when the frame **left** that stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The last byte of the frame arrived.
    Receive,
    /// Decoded into pixels by the source (a decode on demand counts towards the processor that asked).
    Decode,
    /// Taken from the queue in front of the processors.
    Queue,
    /// Processor number n of the chain is done, counted from 0.
    Process(u8),
    /// Taken from the queue in front of the sink.
    Handover,
    /// Encoded for viewers.
    Encode,
    /// Handed to the network.
    Send,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive => f.write_str("receive"),
            Self::Decode => f.write_str("decode"),
            Self::Queue => f.write_str("queue"),
            Self::Process(n) => write!(f, "process{n}"),
            Self::Handover => f.write_str("handover"),
            Self::Encode => f.write_str("encode"),
            Self::Send => f.write_str("send"),
        }
    }
}

/// When a frame left each stage: a fixed inline array, no allocation. Marks beyond the last place are dropped.
#[derive(Clone, Copy, Debug)]
pub struct LatencyTrace {
    marks: [(Stage, Instant); Self::CAPACITY],
    len: usize,
}

impl LatencyTrace {
    /// Marks that fit.
    pub const CAPACITY: usize = 16;

    /// A trace that begins when the frame's last byte arrived.
    pub fn new(received: Instant) -> Self {
        Self { marks: [(Stage::Receive, received); Self::CAPACITY], len: 1 }
    }

    /// Notes that the frame left `stage` at `now`.
    pub fn mark(&mut self, stage: Stage, now: Instant) {
        if let Some(place) = self.marks.get_mut(self.len) {
            *place = (stage, now);
            self.len += 1;
        }
    }

    /// The marks in the order in which they were made.
    pub fn marks(&self) -> &[(Stage, Instant)] {
        &self.marks[..self.len]
    }

    /// Time spent in each stage after the first mark. The durations add up to [`total`](Self::total).
    pub fn spans(&self) -> impl Iterator<Item = (Stage, Duration)> + '_ {
        self.marks().windows(2).map(|pair| (pair[1].0, pair[1].1.saturating_duration_since(pair[0].1)))
    }

    /// From the first mark to the last.
    pub fn total(&self) -> Duration {
        let marks = self.marks();
        marks[marks.len() - 1].1.saturating_duration_since(marks[0].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_add_up_to_the_total() {
        let start = Instant::now();
        let mut trace = LatencyTrace::new(start);
        for (i, stage) in [Stage::Queue, Stage::Process(0), Stage::Encode].into_iter().enumerate() {
            trace.mark(stage, start + Duration::from_millis(3 + 7 * i as u64));
        }
        assert_eq!(trace.spans().map(|(_, d)| d).sum::<Duration>(), trace.total());
        assert_eq!(trace.total(), Duration::from_millis(17));
    }

    #[test]
    fn a_full_trace_drops_further_marks() {
        let now = Instant::now();
        let mut trace = LatencyTrace::new(now);
        for n in 0..40 {
            trace.mark(Stage::Process(n), now);
        }
        assert_eq!(trace.marks().len(), LatencyTrace::CAPACITY);
    }

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = Clock::manual(Instant::now());
        let (a, other) = (clock.now(), clock.clone());
        other.advance(Duration::from_secs(3));
        assert_eq!(clock.now() - a, Duration::from_secs(3));
    }
}
