//! From RTP packets of a video track to access units in order, one layer at a time.
//!
//! A simulcast track interleaves all its layers. Which is the best is seen from its bit rate, for names of layers
//! (`a=rid`) say nothing by themselves; a change happens at a key frame of the layer that is changed to.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::offer::Format;
use crate::decode::VideoCodec;
use crate::live::{Coding, Unit};
use crate::rtp::orientation::Orientation;
use crate::rtp::{AccessUnit, Assembler, AssemblerConfig, Packet};

/// Layers of one track; browsers send three.
const MAX_LAYERS: usize = 8;
/// A layer without packets for this long is dead; another one takes its place.
const LAYER_SILENCE: Duration = Duration::from_millis(700);
/// Bit rates are compared over this long.
const RATE_WINDOW: Duration = Duration::from_millis(500);
/// Another layer must be this much above the present one, in percent.
const WORTH_CHANGING: u64 = 140;
/// A key frame of a better layer is asked for this often.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// An RTP packet as it comes from the network, reduced to what matters here.
#[derive(Clone, Debug)]
pub(super) struct Arrived {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) payload: Bytes,
    /// The byte of the orientation extension, if it has one.
    pub(super) orientation: Option<u8>,
}

/// Counts over all layers of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct VideoCounts {
    pub(super) packets: u64,
    pub(super) lost: u64,
    pub(super) frames: u64,
    pub(super) requests: u64,
}

/// Puts the packets of one track together.
pub(super) struct Video {
    codecs: Vec<(u8, VideoCodec)>,
    config: AssemblerConfig,
    layers: Vec<Layer>,
    /// The layer that is shown.
    active: Option<usize>,
    /// Counts of layers that are gone, and requests that are made here.
    past: VideoCounts,
    /// SSRCs to ask for a key frame whatever comes.
    requested: Vec<u32>,
}

struct Layer {
    ssrc: u32,
    payload_type: u8,
    codec: VideoCodec,
    assembler: Assembler,
    last_packet: Instant,
    rate: Rate,
    orientation: Turns,
    asked: Option<Instant>,
    clock: Option<SenderClock>,
}

/// Bytes in the last whole window.
struct Rate {
    since: Instant,
    bytes: u64,
    last: Option<u64>,
}

impl Rate {
    fn add(&mut self, bytes: usize, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed >= RATE_WINDOW {
            // A window that was left open for long is no measure of a rate.
            self.last = Some(self.bytes * RATE_WINDOW.as_micros() as u64 / passed.as_micros().max(1) as u64);
            (self.since, self.bytes) = (now, 0);
        }
        self.bytes += bytes as u64;
    }
}

/// Orientations by the time of the frame they came with.
#[derive(Default)]
struct Turns {
    now: Orientation,
    last: Orientation,
    ahead: VecDeque<(u32, Orientation)>,
}

impl Turns {
    fn note(&mut self, timestamp: u32, byte: u8) {
        let orientation = Orientation::from_byte(byte);
        if orientation != self.last && self.ahead.len() < 32 {
            self.last = orientation;
            self.ahead.push_back((timestamp, orientation));
        }
    }

    /// Of the frame with that time: what came with it, or with the last one before it.
    fn at(&mut self, timestamp: u32) -> Orientation {
        while let Some((from, orientation)) = self.ahead.front().copied() {
            if (timestamp.wrapping_sub(from) as i32) < 0 {
                break;
            }
            self.now = orientation;
            self.ahead.pop_front();
        }
        self.now
    }
}

/// What a sender report says: this media time is that time on the sender's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SenderClock {
    pub(super) timestamp: u32,
    pub(super) at: SystemTime,
}

impl SenderClock {
    fn when(self, timestamp: u32) -> Option<SystemTime> {
        let ticks = i64::from(timestamp.wrapping_sub(self.timestamp) as i32);
        let offset = Duration::from_micros(ticks.unsigned_abs() * 100 / 9);
        if ticks < 0 { self.at.checked_sub(offset) } else { self.at.checked_add(offset) }
    }
}

impl Video {
    pub(super) fn new(formats: &[Format], config: AssemblerConfig) -> Self {
        let codecs = formats.iter().filter_map(|f| Some((f.payload_type, f.codec?))).collect();
        Self {
            codecs,
            config,
            layers: Vec::new(),
            active: None,
            past: VideoCounts::default(),
            requested: Vec::new(),
        }
    }

    /// Takes a packet that came at `now`.
    pub(super) fn push(&mut self, packet: Arrived, now: Instant) {
        let Some(index) = self.layer(&packet, now) else { return };
        let Arrived { timestamp, payload, orientation, .. } = packet;
        let layer = &mut self.layers[index];
        layer.last_packet = now;
        layer.rate.add(payload.len(), now);
        if let Some(byte) = orientation {
            layer.orientation.note(timestamp, byte);
        }
        let packet = Packet { sequence: packet.sequence, timestamp, marker: packet.marker, payload };
        layer.assembler.push(packet, now);
    }

    /// Takes what a sender report says.
    pub(super) fn clock(&mut self, ssrc: u32, clock: SenderClock) {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.ssrc == ssrc) {
            layer.clock = Some(clock);
        }
    }

    /// The next access unit of the layer that is shown.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Unit> {
        for index in 0..self.layers.len() {
            if self.active == Some(index) {
                if let Some(unit) = self.layers[index].assembler.pop(now) {
                    return Some(self.layers[index].unit(unit, false));
                }
                continue;
            }
            while let Some(unit) = self.layers[index].assembler.pop(now) {
                if unit.keyframe && self.should_change(index, now) {
                    self.active = Some(index);
                    return Some(self.layers[index].unit(unit, true));
                }
            }
        }
        None
    }

    /// When [`pop`](Self::pop) must be called again although no packet came.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.layers.iter().filter_map(|layer| layer.assembler.wake_at()).min()
    }

    /// The SSRCs to ask for a key frame now.
    pub(super) fn take_requests(&mut self, now: Instant) -> Vec<u32> {
        let mut ask = std::mem::take(&mut self.requested);
        for index in 0..self.layers.len() {
            let better = self.active.is_some_and(|active| active != index) && self.should_change(index, now);
            let layer = &mut self.layers[index];
            // Without an active layer every one may become it.
            let shown = self.active.is_none_or(|active| active == index);
            let wanted = layer.assembler.take_keyframe_request(now) && shown;
            let due = layer.asked.is_none_or(|at| now.saturating_duration_since(at) >= ASK_INTERVAL);
            if wanted || (better && due) {
                layer.asked = Some(now);
                self.past.requests += 1;
                ask.push(layer.ssrc);
            }
        }
        ask
    }

    /// The decoder lost track: nothing more before a key frame of the layer that is shown.
    pub(super) fn require_keyframe(&mut self) {
        if let Some(active) = self.active {
            self.layers[active].assembler.require_keyframe();
        }
    }

    /// Asks for a key frame whatever comes: for a track that has fallen silent.
    pub(super) fn ask_anyway(&mut self) {
        let layer = self.active.and_then(|active| self.layers.get(active)).or(self.layers.first());
        self.requested.extend(layer.map(|layer| layer.ssrc));
    }

    /// The codec that is shown.
    pub(super) fn codec(&self) -> Option<VideoCodec> {
        self.active.map(|active| self.layers[active].codec)
    }

    pub(super) fn counts(&self) -> VideoCounts {
        self.layers.iter().fold(self.past, |sum, layer| sum.and(layer.counts()))
    }

    /// The layer of a packet; a new one if its SSRC or its codec is new.
    fn layer(&mut self, packet: &Arrived, now: Instant) -> Option<usize> {
        let found = self.layers.iter().position(|layer| layer.ssrc == packet.ssrc);
        if let Some(index) = found.filter(|&index| self.layers[index].payload_type == packet.payload_type) {
            return Some(index);
        }
        let codec = self.codecs.iter().find(|(pt, _)| *pt == packet.payload_type)?.1;
        if let Some(index) = found.filter(|&index| self.layers[index].codec == codec) {
            self.layers[index].payload_type = packet.payload_type;
            return Some(index);
        }
        let layer = Layer {
            ssrc: packet.ssrc,
            payload_type: packet.payload_type,
            codec,
            assembler: Assembler::new(codec, self.config),
            last_packet: now,
            rate: Rate { since: now, bytes: 0, last: None },
            orientation: Turns::default(),
            asked: None,
            clock: None,
        };
        let index = match found {
            Some(index) => index,
            None if self.layers.len() < MAX_LAYERS => {
                self.layers.push(layer);
                return Some(self.layers.len() - 1);
            }
            // The one that has been silent for longest makes room, for senders that change their SSRC.
            None => {
                let oldest = (0..self.layers.len()).min_by_key(|&index| self.layers[index].last_packet)?;
                if self.layers[oldest].is_alive(now) {
                    return None;
                }
                oldest
            }
        };
        let gone = std::mem::replace(&mut self.layers[index], layer);
        self.past = self.past.and(gone.counts());
        if self.active == Some(index) {
            self.active = None;
        }
        Some(index)
    }

    /// Whether `index` should be shown from its next key frame on.
    fn should_change(&self, index: usize, now: Instant) -> bool {
        let Some(active) = self.active.and_then(|active| self.layers.get(active)) else { return true };
        let layer = &self.layers[index];
        if !active.is_alive(now) {
            return layer.is_alive(now);
        }
        match (layer.rate.last, active.rate.last) {
            (Some(rate), Some(present)) => layer.is_alive(now) && rate * 100 > present * WORTH_CHANGING,
            _ => false,
        }
    }
}

impl VideoCounts {
    fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets + other.packets,
            lost: self.lost + other.lost,
            frames: self.frames + other.frames,
            requests: self.requests + other.requests,
        }
    }
}

impl Layer {
    fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last_packet) < LAYER_SILENCE
    }

    fn counts(&self) -> VideoCounts {
        let stats = self.assembler.stats();
        VideoCounts { packets: stats.packets, lost: stats.lost, frames: stats.frames, requests: 0 }
    }

    fn unit(&mut self, unit: AccessUnit, fresh: bool) -> Unit {
        // Media time keeps the lower half of the RTP timestamp.
        let timestamp = unit.pts as u32;
        let orientation = self.orientation.at(timestamp);
        Unit {
            number: 0,
            coding: Coding::Video(self.codec),
            data: unit.data,
            pts: unit.pts,
            keyframe: unit.keyframe,
            fresh,
            received: unit.received,
            captured: self.clock.and_then(|clock| clock.when(timestamp)),
            rotation: orientation.rotation(),
            mirrored: orientation.mirrored,
        }
    }
}

#[cfg(test)]
mod tests;
