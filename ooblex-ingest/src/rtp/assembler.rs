//! Packets in, access units out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::decode::VideoCodec;

use super::format::{self, Ending, Format, Verdict};
use super::reorder::{Arrived, Event, Reorder};
use super::request::KeyframeRequests;
use super::{AccessUnit, AssemblerStats, Packet};

/// Finished access units that may wait for [`Assembler::pop`]; more mean that nobody takes them.
const MAX_READY: usize = 256;

/// Limits of an [`Assembler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssemblerConfig {
    /// The longest that packets wait for a missing one. 150 ms.
    pub max_wait: Duration,
    /// The largest access unit. 4 MiB: a key frame of 4K video takes a tenth of that.
    pub max_frame_bytes: usize,
    /// The most packets that wait for a missing one. 2048.
    pub max_held_packets: usize,
    /// The most payload that waits for a missing packet. 8 MiB.
    pub max_held_bytes: usize,
}

impl Default for AssemblerConfig {
    fn default() -> Self {
        Self {
            max_wait: Duration::from_millis(150),
            max_frame_bytes: 4 << 20,
            max_held_packets: 2048,
            max_held_bytes: 8 << 20,
        }
    }
}

impl AssemblerConfig {
    /// Sets the longest wait for a missing packet.
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// Sets the size of the largest access unit.
    pub const fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes;
        self
    }

    /// Sets how many packets, and how many bytes of payload, may wait for a missing packet.
    pub const fn max_held(mut self, packets: usize, bytes: usize) -> Self {
        self.max_held_packets = packets;
        self.max_held_bytes = bytes;
        self
    }
}

/// Puts the packets of one video track together to access units that can be decoded in the order in which they
/// come out.
///
/// After each [`push`](Self::push), and when [`wake_at`](Self::wake_at) has come, call [`pop`](Self::pop) until it
/// yields nothing, then [`take_keyframe_request`](Self::take_keyframe_request). A new SSRC or codec needs a new
/// assembler.
pub struct Assembler {
    max_frame_bytes: usize,
    reorder: Reorder,
    format: Box<dyn Format>,
    /// The frame that is being collected; its data so far is in `data`.
    open: Option<Open>,
    data: Vec<u8>,
    /// Packets lost since the last packet, while no frame is open.
    lost_before: u64,
    /// No packet was seen yet: the first one may be from the middle of a frame.
    fresh: bool,
    time: MediaTime,
    /// Something was lost or left out since the last access unit came out.
    gap: bool,
    ready: VecDeque<AccessUnit>,
    ready_bytes: usize,
    requests: KeyframeRequests,
    stats: AssemblerStats,
}

struct Open {
    timestamp: u32,
    pts: i64,
    received: Instant,
    whole: bool,
    oversized: bool,
    lost_before: u64,
    /// Packets lost since its last packet.
    lost_after: u64,
}

impl Assembler {
    /// An assembler for the packets of one SSRC that carry `codec`.
    pub fn new(codec: VideoCodec, config: AssemblerConfig) -> Self {
        Self {
            max_frame_bytes: config.max_frame_bytes,
            reorder: Reorder::new(config.max_wait, config.max_held_packets, config.max_held_bytes),
            format: format::of(codec),
            open: None,
            data: Vec::new(),
            lost_before: 0,
            fresh: true,
            time: MediaTime::default(),
            gap: false,
            ready: VecDeque::new(),
            ready_bytes: 0,
            requests: KeyframeRequests::default(),
            stats: AssemblerStats::default(),
        }
    }

    /// Takes a packet that came at `now`. Copies its payload at most once; allocates nothing while packets come in
    /// order, but for the access unit.
    pub fn push(&mut self, packet: Packet, now: Instant) {
        self.stats.packets += 1;
        self.requests.heard(now);
        self.reorder.insert(packet, now, &mut self.stats);
        self.advance(now);
    }

    /// The next access unit, in the order of decoding.
    pub fn pop(&mut self, now: Instant) -> Option<AccessUnit> {
        self.advance(now);
        let unit = self.ready.pop_front()?;
        self.ready_bytes -= unit.data.len();
        self.stats.frames += 1;
        self.stats.keyframes += u64::from(unit.keyframe);
        Some(unit)
    }

    /// When [`pop`](Self::pop) must be called again although no packet came: a missing packet is given up then.
    pub fn wake_at(&self) -> Option<Instant> {
        self.reorder.wake_at()
    }

    /// Whether to send a picture loss indication (RFC 4585 section 6.3.1) now: at once when the first frame is not
    /// a whole key frame or references are lost, then after half a second and ever more rarely, at least each
    /// second.
    pub fn take_keyframe_request(&mut self, now: Instant) -> bool {
        let asks = self.requests.take(now);
        self.stats.keyframe_requests += u64::from(asks);
        asks
    }

    /// Leaves out everything up to the next key frame and asks for one: for callers whose decoder failed, or who
    /// had to drop an access unit.
    pub fn require_keyframe(&mut self) {
        self.stats.unreferenced += self.ready.len() as u64;
        self.ready.clear();
        self.ready_bytes = 0;
        self.format.forget();
        self.gap = true;
        self.requests.want();
    }

    /// What has happened so far.
    pub fn stats(&self) -> AssemblerStats {
        AssemblerStats { wait: self.reorder.wait(), ..self.stats }
    }

    fn advance(&mut self, now: Instant) {
        loop {
            let format = &self.format;
            let Some(event) = self.reorder.next(now, |payload| format.starts_frame(payload)) else { return };
            match event {
                Event::Packet(arrived) => self.packet(&arrived),
                Event::Lost(count) => self.lost(count),
                Event::Restarted => self.restarted(),
            }
        }
    }

    fn lost(&mut self, count: u64) {
        self.stats.lost += count;
        match &mut self.open {
            Some(open) => open.lost_after += count,
            None => self.lost_before += count,
        }
    }

    fn restarted(&mut self) {
        if self.open.take().is_some() {
            self.stats.broken += 1;
        }
        self.data.clear();
        self.lost_before = 0;
        self.fresh = true;
        self.format.forget();
        self.gap = true;
        self.time.restart();
        self.requests.want();
    }

    fn packet(&mut self, arrived: &Arrived) {
        let Packet { timestamp, marker, payload, .. } = &arrived.packet;
        if payload.is_empty() {
            self.stats.padding += 1;
            return;
        }
        match &mut self.open {
            Some(open) if open.timestamp == *timestamp => {
                if std::mem::take(&mut open.lost_after) > 0 {
                    open.whole = false;
                    self.format.hole();
                }
                open.received = open.received.max(arrived.at);
            }
            _ => self.begin(arrived),
        }
        self.append(payload);
        if *marker {
            self.finish();
        }
    }

    /// Ends the frame before, which had no marker, and opens one.
    fn begin(&mut self, arrived: &Arrived) {
        if let Some(open) = &mut self.open {
            // Its last packets may be among the lost ones, and so may whole frames after it.
            self.lost_before = open.lost_after;
            open.whole &= open.lost_after == 0;
            self.finish();
        }
        let Packet { timestamp, payload, .. } = &arrived.packet;
        let lost_before = std::mem::take(&mut self.lost_before);
        let follows = !std::mem::take(&mut self.fresh) && lost_before == 0;
        self.open = Some(Open {
            timestamp: *timestamp,
            pts: self.time.unwrap(*timestamp, arrived.at),
            received: arrived.at,
            whole: follows || self.format.starts_frame(payload),
            oversized: false,
            lost_before,
            lost_after: 0,
        });
    }

    fn append(&mut self, payload: &Bytes) {
        let Some(open) = &mut self.open else { return };
        if self.format.append(payload, &mut self.data).is_err() {
            // After a loss, the rest of what was cut is no fault of the sender.
            self.stats.malformed += u64::from(open.whole);
            open.whole = false;
        }
        open.oversized |= self.data.len() > self.max_frame_bytes;
        if open.oversized {
            open.whole = false;
            self.data.clear();
        }
    }

    fn finish(&mut self) {
        let Some(open) = self.open.take() else { return };
        let ending = Ending { whole: open.whole, lost_before: open.lost_before };
        match self.format.finish(ending, &mut self.data) {
            Verdict::Show { keyframe } => self.show(&open, keyframe),
            // Nothing was missing if the next one follows.
            Verdict::NoPicture => self.lost_before += open.lost_before,
            Verdict::Broken if open.oversized => {
                self.stats.oversized += 1;
                self.gap = true;
            }
            Verdict::Broken => {
                self.stats.broken += 1;
                self.gap = true;
            }
            Verdict::Unreferenced => {
                self.stats.unreferenced += 1;
                self.gap = true;
            }
        }
        self.data.clear();
        if self.format.needs_keyframe() {
            self.requests.want();
        }
    }

    fn show(&mut self, open: &Open, keyframe: bool) {
        // The next frame is likely as large, and key frames do not set the size of all others.
        let next = Vec::with_capacity((self.data.len() * 5 / 4).clamp(1 << 10, 1 << 17));
        let data = Bytes::from(std::mem::replace(&mut self.data, next));
        if self.ready.len() >= MAX_READY || self.ready_bytes + data.len() > 2 * self.max_frame_bytes {
            self.stats.overflowed += 1 + self.ready.len() as u64;
            self.ready.clear();
            self.require_keyframe();
            return;
        }
        if keyframe {
            self.requests.satisfied();
        }
        self.ready_bytes += data.len();
        self.ready.push_back(AccessUnit {
            data,
            pts: open.pts,
            keyframe,
            received: open.received,
            gap: std::mem::take(&mut self.gap) || open.lost_before > 0,
        });
    }
}

impl std::fmt::Debug for Assembler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assembler").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// 32-bit timestamps without the wrap.
#[derive(Default)]
struct MediaTime {
    last: Option<(u32, i64, Instant)>,
    restarted: bool,
}

impl MediaTime {
    fn unwrap(&mut self, timestamp: u32, at: Instant) -> i64 {
        let pts = match self.last {
            None => i64::from(timestamp),
            // The sender has chosen a new origin: media time goes on by as much as time has.
            Some((_, pts, before)) if self.restarted => {
                let elapsed = at.saturating_duration_since(before).as_micros().min(1 << 40) as i64;
                pts + (elapsed * 9 / 100).max(1)
            }
            Some((last, pts, _)) => pts + i64::from(timestamp.wrapping_sub(last) as i32),
        };
        self.restarted = false;
        self.last = Some((timestamp, pts, at));
        pts
    }

    fn restart(&mut self) {
        self.restarted = true;
    }
}
