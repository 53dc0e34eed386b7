//! Counters, drop reasons, histograms and rates: lock-free where frames pass.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::{LatencyTrace, Stage};
use crate::picture::PictureCounts;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a frame was not shown. Every drop has exactly one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// A newer frame arrived before this one was processed.
    Superseded,
    /// A queue in lossless or bounded mode was full.
    QueueFull,
    /// A newer frame was ready before a sink took this one.
    SinkBusy,
    /// Above `target_fps`.
    RateCap,
    /// Left out by `sample_every`.
    Sampled,
    /// Older than its latency budget.
    Expired,
    /// A source could not decode it.
    DecodeFailed,
    /// A processor failed on it, or was discarded, and its policy is to hold the last good picture; or the processor
    /// never returned it.
    ProcessFailed,
    /// The processor was not ready yet, and its policy is to hold the last good picture.
    NotReady,
    /// An effect that protects privacy was chosen after another one had processed it.
    Outdated,
    /// A processor decided to drop it.
    Processor,
    /// A sink could not take it.
    SinkFailed,
    /// The stream or the program ended first.
    Shutdown,
}

impl DropReason {
    /// Every reason, in the order of their discriminants.
    pub const ALL: [Self; 13] = [
        Self::Superseded,
        Self::QueueFull,
        Self::SinkBusy,
        Self::RateCap,
        Self::Sampled,
        Self::Expired,
        Self::DecodeFailed,
        Self::ProcessFailed,
        Self::NotReady,
        Self::Outdated,
        Self::Processor,
        Self::SinkFailed,
        Self::Shutdown,
    ];

    /// The label used in metrics and status: lowercase snake case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Superseded => "superseded",
            Self::QueueFull => "queue_full",
            Self::SinkBusy => "sink_busy",
            Self::RateCap => "rate_cap",
            Self::Sampled => "sampled",
            Self::Expired => "expired",
            Self::DecodeFailed => "decode_failed",
            Self::ProcessFailed => "process_failed",
            Self::NotReady => "not_ready",
            Self::Outdated => "outdated",
            Self::Processor => "processor",
            Self::SinkFailed => "sink_failed",
            Self::Shutdown => "shutdown",
        }
    }
}

/// One counter for each drop reason.
#[derive(Debug, Default)]
pub struct DropCounts([Counter; DropReason::ALL.len()]);

impl DropCounts {
    /// Counts one dropped frame.
    pub fn count(&self, reason: DropReason) {
        self.add(reason, 1);
    }

    /// Counts `n` dropped frames.
    pub fn add(&self, reason: DropReason, n: u64) {
        self.0[reason as usize].add(n);
    }

    /// Frames dropped for `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize].get()
    }

    /// Frames dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().map(Counter::get).sum()
    }

    /// Reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.into_iter().map(|r| (r, self.get(r))).filter(|(_, n)| *n > 0)
    }
}

/// Durations in buckets that are at most 1/8 wide of their value, from 1 microsecond to over an hour.
#[derive(Debug)]
pub struct Histogram {
    buckets: Box<[AtomicU64]>,
    count: AtomicU64,
    sum_us: AtomicU64,
}

const SUB_BUCKETS: u64 = 8;
const BUCKETS: usize = 256;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            count: AtomicU64::new(0),
            sum_us: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Adds one duration.
    pub fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets[Self::bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Durations recorded.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Sum of all durations.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Ordering::Relaxed))
    }

    /// The duration that a share `q` of all records stays at or below, `None` without records. The error is at
    /// most an eighth upwards.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let count = self.count();
        let wanted = ((count as f64 * q.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += bucket.load(Ordering::Relaxed);
            if seen >= wanted && count > 0 {
                return Some(Duration::from_micros(Self::upper_us(index)));
            }
        }
        None
    }

    /// Records at or below `limit`, to the width of a bucket: for cumulative metric buckets.
    pub fn count_at_most(&self, limit: Duration) -> u64 {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let within = self.buckets.iter().enumerate().take_while(|(i, _)| Self::upper_us(*i) <= limit);
        within.map(|(_, b)| b.load(Ordering::Relaxed)).sum()
    }

    fn bucket(us: u64) -> usize {
        if us < SUB_BUCKETS {
            return us as usize;
        }
        let exponent = u64::from(us.ilog2()) - 3;
        let index = (exponent + 1) * SUB_BUCKETS + ((us >> exponent) - SUB_BUCKETS);
        (index as usize).min(BUCKETS - 1)
    }

    fn upper_us(index: usize) -> u64 {
        let index = index as u64;
        if index < SUB_BUCKETS {
            return index;
        }
        let exponent = index / SUB_BUCKETS - 1;
        ((index % SUB_BUCKETS + SUB_BUCKETS + 1) << exponent) - 1
    }
}

/// Quantiles over the newest durations only, for what "now" looks like.
#[derive(Debug)]
pub struct Recent {
    ring: Mutex<(Vec<u32>, usize)>,
}

const RECENT: usize = 256;

impl Default for Recent {
    fn default() -> Self {
        Self { ring: Mutex::new((Vec::with_capacity(RECENT), 0)) }
    }
}

impl Recent {
    /// Adds one duration; the oldest of 256 leaves.
    pub fn record(&self, duration: Duration) {
        let us = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        let mut guard = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let (ring, next) = &mut *guard;
        if ring.len() < RECENT {
            ring.push(us)
        } else {
            ring[*next] = us
        }
        *next = (*next + 1) % RECENT;
    }

    /// The durations that the given shares of the newest records stay at or below; `None` without records.
    pub fn quantiles<const N: usize>(&self, shares: [f64; N]) -> Option<[Duration; N]> {
        let mut sorted = self.ring.lock().unwrap_or_else(PoisonError::into_inner).0.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        Some(shares.map(|q| {
            Duration::from_micros(sorted[(last as f64 * q.clamp(0.0, 1.0)).round() as usize].into())
        }))
    }
}

/// Frames a second over the last two seconds.
#[derive(Debug, Default)]
pub struct RateMeter {
    times: Mutex<std::collections::VecDeque<Instant>>,
}

const RATE_WINDOW: Duration = Duration::from_secs(2);
const RATE_CAPACITY: usize = 512;

impl RateMeter {
    /// Notes one frame.
    pub fn tick(&self, now: Instant) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        while times.len() >= RATE_CAPACITY || times.front().is_some_and(|t| *t + RATE_WINDOW < now) {
            times.pop_front();
        }
        times.push_back(now);
    }

    /// Frames a second; 0 when fewer than two came within the last two seconds.
    pub fn per_second(&self, now: Instant) -> f64 {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let mut within = times.iter().filter(|t| **t + RATE_WINDOW >= now);
        let (Some(first), Some(last)) = (within.next(), times.back()) else { return 0.0 };
        let span = last.saturating_duration_since(*first).as_secs_f64();
        let count = within.count();
        if span > 0.0 { count as f64 / span } else { 0.0 }
    }
}

/// Everything counted about one stream.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct StreamStats {
    /// Frames that sources handed over.
    pub received: Counter,
    /// Frames that left the last processor.
    pub processed: Counter,
    /// Frames dropped, by reason.
    pub dropped: DropCounts,
    /// Frames a processor failed on.
    pub process_errors: Counter,
    /// Times a processor did not return and was given up with its thread.
    pub hangs: Counter,
    /// Times a discarded processor was replaced by a new one of the same effect.
    pub recoveries: Counter,
    /// Times the source was opened again.
    pub source_restarts: Counter,
    /// Whole pictures decoded.
    pub decoded_full: Counter,
    /// Pictures of which luma alone was decoded.
    pub decoded_luma: Counter,
    /// Pictures decoded at a reduced size.
    pub decoded_reduced: Counter,
    /// Compressed pictures that lost that form because pixels changed.
    pub encoded_lost: Counter,
    /// Whole pictures converted from YUV to RGB.
    pub rgb_conversions: Counter,
    /// Whole pictures transferred from device to host.
    pub device_transfers: Counter,
    /// From received to leaving the last processor.
    pub latency: Histogram,
    /// The same over the newest frames.
    pub recent_latency: Recent,
    /// Rate at which frames arrive.
    pub rate_in: RateMeter,
    /// Rate at which frames leave the last processor.
    pub rate_out: RateMeter,
    size: AtomicU64,
    stages: StageTimes,
}

impl StreamStats {
    /// Notes one frame's arrival.
    pub fn on_received(&self, now: Instant, width: u32, height: u32) {
        self.received.increment();
        self.rate_in.tick(now);
        self.size.store(u64::from(width) << 32 | u64::from(height), Ordering::Relaxed);
    }

    /// Notes that a frame left the last processor.
    pub fn on_processed(&self, now: Instant, trace: &LatencyTrace) {
        self.processed.increment();
        self.rate_out.tick(now);
        self.latency.record(trace.total());
        self.recent_latency.record(trace.total());
        self.stages.record(trace);
    }

    /// Notes a frame's time in one stage after the last processor (encode, send).
    pub fn on_stage(&self, stage: Stage, spent: Duration) {
        self.stages.record_one(stage, spent);
    }

    /// Adds what a frame's picture went through between `before` and `after`.
    pub fn add_picture_counts(&self, before: PictureCounts, after: PictureCounts) {
        let pairs = [
            (&self.decoded_full, before.decoded_full, after.decoded_full),
            (&self.decoded_luma, before.decoded_luma, after.decoded_luma),
            (&self.decoded_reduced, before.decoded_reduced, after.decoded_reduced),
            (&self.encoded_lost, before.encoded_lost, after.encoded_lost),
            (&self.rgb_conversions, before.rgb_conversions, after.rgb_conversions),
            (&self.device_transfers, before.device_transfers, after.device_transfers),
        ];
        for (counter, before, after) in pairs {
            if after > before {
                counter.add(u64::from(after - before));
            }
        }
    }

    /// Width and height of the newest frame, zero before the first.
    pub fn size(&self) -> (u32, u32) {
        let size = self.size.load(Ordering::Relaxed);
        ((size >> 32) as u32, size as u32)
    }

    /// p50 and p99 over the newest frames of the time in each stage, in the order of the stages.
    pub fn stage_latency(&self) -> Vec<(Stage, [Duration; 2])> {
        self.stages.recent()
    }
}

/// Times in each stage. Process stages beyond the first eight share the last place.
#[derive(Debug, Default)]
struct StageTimes([Recent; Self::PLACES]);

impl StageTimes {
    const PROCESS: usize = 8;
    const PLACES: usize = Self::PROCESS + 5;

    fn place(stage: Stage) -> Option<usize> {
        Some(match stage {
            Stage::Receive => return None,
            Stage::Decode => 0,
            Stage::Queue => 1,
            Stage::Process(n) => 2 + usize::from(n).min(Self::PROCESS - 1),
            Stage::Handover => 2 + Self::PROCESS,
            Stage::Encode => 3 + Self::PROCESS,
            Stage::Send => 4 + Self::PROCESS,
        })
    }

    fn stage(place: usize) -> Stage {
        match place {
            0 => Stage::Decode,
            1 => Stage::Queue,
            n if n < 2 + Self::PROCESS => Stage::Process((n - 2) as u8),
            n if n == 2 + Self::PROCESS => Stage::Handover,
            n if n == 3 + Self::PROCESS => Stage::Encode,
            _ => Stage::Send,
        }
    }

    fn record(&self, trace: &LatencyTrace) {
        for (stage, spent) in trace.spans() {
            self.record_one(stage, spent);
        }
    }

    fn record_one(&self, stage: Stage, spent: Duration) {
        if let Some(place) = Self::place(stage) {
            self.0[place].record(spent);
        }
    }

    fn recent(&self) -> Vec<(Stage, [Duration; 2])> {
        let of = |(place, recent): (usize, &Recent)| {
            recent.quantiles([0.5, 0.99]).map(|q| (Self::stage(place), q))
        };
        self.0.iter().enumerate().filter_map(of).collect()
    }
}

/// Lets at most `per_second` frames through, without ever waiting for a tick: a frame is refused only when frames
/// have really come faster than that. A source at exactly the cap, jitter included, loses nothing.
#[derive(Debug)]
pub struct RateCap {
    per_second: f64,
    credit: Mutex<Credit>,
}

/// Frames that may pass, and when that was so.
type Credit = (f64, Option<Instant>);

/// Credit that may gather while frames come slowly: jitter of one whole frame is forgiven.
const MAX_CREDIT: f64 = 2.0;
/// What a frame costs: a rounding error must not cost a frame of a source that runs at exactly the cap.
const ONE_FRAME: f64 = 1.0 - 1e-6;

impl RateCap {
    /// A cap; 0 means none.
    pub fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), credit: Mutex::new((MAX_CREDIT, None)) }
    }

    /// Whether a frame that arrives at `now` may pass.
    pub fn admit(&self, now: Instant) -> bool {
        let Some((mut guard, _)) = self.credit_at(now) else { return true };
        let pass = guard.0 >= ONE_FRAME;
        if pass {
            guard.0 -= 1.0;
        }
        pass
    }

    /// How long a frame that may not pass at `now` waits for a newer one before it takes its turn itself. Whoever sends
    /// faster than the rate sends the next one sooner than that, jitter included, and it need not wait at all: what is in
    /// excess is left out instead of making all others late.
    pub fn patience(&self, now: Instant) -> Duration {
        const INTERVALS: f64 = 1.5;
        let Some((guard, rate)) = self.credit_at(now) else { return Duration::ZERO };
        Duration::from_secs_f64(((1.0 - guard.0).max(0.0) + INTERVALS) / rate)
    }

    /// The credit as it is at `now`, and the rate; `None` without a cap.
    fn credit_at(&self, now: Instant) -> Option<(MutexGuard<'_, Credit>, f64)> {
        let rate = self.per_second;
        if rate == 0.0 {
            return None;
        }
        let mut guard = self.credit.lock().unwrap_or_else(PoisonError::into_inner);
        let (credit, last) = &mut *guard;
        let elapsed = last.map_or(Duration::ZERO, |t| now.saturating_duration_since(t));
        *last = Some(now);
        *credit = (*credit + elapsed.as_secs_f64() * rate).min(MAX_CREDIT);
        Some((guard, rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_cover_their_values_within_an_eighth() {
        for us in (0..5_000).chain([65_535, 1_000_000, 59_999_999]) {
            let upper = Histogram::upper_us(Histogram::bucket(us));
            assert!(upper >= us && upper - us <= us / 8 + 1, "{us} lies in a bucket up to {upper}");
        }
    }

    #[test]
    fn quantiles_of_a_known_set() {
        let histogram = Histogram::default();
        let recent = Recent::default();
        assert_eq!(histogram.quantile(0.5), None);
        assert_eq!(recent.quantiles([0.5]), None);
        for ms in 1..=100 {
            histogram.record(Duration::from_millis(ms));
            recent.record(Duration::from_millis(ms));
        }
        let p99 = histogram.quantile(0.99).expect("records").as_millis();
        assert!((99..=112).contains(&p99), "{p99}");
        assert_eq!(histogram.count_at_most(Duration::from_secs(9)), 100);
        assert_eq!(recent.quantiles([0.0, 1.0]).expect("records"), [1, 100].map(Duration::from_millis));
    }

    #[test]
    fn recent_forgets() {
        let recent = Recent::default();
        recent.record(Duration::from_secs(1));
        (0..RECENT).for_each(|_| recent.record(Duration::from_millis(1)));
        assert_eq!(recent.quantiles([1.0]).expect("records"), [Duration::from_millis(1)]);
    }

    #[test]
    fn rate_is_measured_and_falls_to_zero() {
        let meter = RateMeter::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        (0..30).for_each(|i| meter.tick(at(i * 40)));
        assert!((meter.per_second(at(1200)) - 25.0).abs() < 0.01);
        assert_eq!(meter.per_second(at(9000)), 0.0);
    }

    #[test]
    fn a_source_at_the_cap_loses_nothing_and_a_faster_one_is_cut() {
        let start = Instant::now();
        let cap = RateCap::new(30);
        let jitter = [0i64, 14, -9, 6, -14, 12, 3, -7];
        let admitted = (0..900i64).filter(|i| {
            let us = i * 1_000_000 / 30 + jitter[(*i % 8) as usize] * 1_000 + 20_000;
            cap.admit(start + Duration::from_micros(us as u64))
        });
        assert_eq!(admitted.count(), 900);
        let cap = RateCap::new(30);
        let admitted =
            (0..600u64).filter(|i| cap.admit(start + Duration::from_micros(i * 1_000_000 / 60))).count();
        assert!((299..=302).contains(&admitted), "{admitted} of 600 at 60 a second");
        assert!((0..100).all(|_| RateCap::new(0).admit(start)));
        assert_eq!(RateCap::new(0).patience(start), Duration::ZERO);
    }
}
