//! A link that delays, loses and repeats packets, and an assembler at its end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ooblex_ingest::rtp::{AccessUnit, Assembler, AssemblerConfig, AssemblerStats, Packet};

use super::streams::Stream;

/// Media time between frames, 90 kHz.
pub(crate) const TICKS: u32 = 3000;

/// A packet with when it comes, and the frame it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: u64,
    pub(crate) frame: usize,
    pub(crate) packet: Packet,
}

/// Packets of a stream, 33 ms a frame and 1 ms a packet, with sequence numbers and timestamps about to wrap.
pub(crate) fn sent(stream: &Stream) -> Vec<Sent> {
    let mut sequence = u16::MAX - 40;
    let mut out = Vec::new();
    for (n, frame) in stream.frames.iter().enumerate() {
        for (at, payload) in frame.payloads.iter().enumerate() {
            let timestamp = (u32::MAX - 10 * TICKS).wrapping_add(n as u32 * TICKS);
            let marker = at + 1 == frame.payloads.len();
            let packet = Packet { sequence, timestamp, marker, payload: payload.clone() };
            out.push(Sent { at: n as u64 * 33 + at as u64, frame: n, packet });
            sequence = sequence.wrapping_add(1);
        }
    }
    out
}

/// What a run gave.
pub(crate) struct Run {
    pub(crate) units: Vec<AccessUnit>,
    /// When each came out, in milliseconds from the start.
    pub(crate) at: Vec<u64>,
    /// When a key frame was asked for.
    pub(crate) requests: Vec<u64>,
    pub(crate) stats: AssemblerStats,
}

/// Pushes the packets at their times and takes access units whenever the assembler says so.
pub(crate) fn run(stream: &Stream, config: AssemblerConfig, mut packets: Vec<Sent>) -> Run {
    packets.sort_by_key(|sent| sent.at);
    let start = Instant::now();
    let mut assembler = Assembler::new(stream.codec, config);
    let mut run = Run { units: vec![], at: vec![], requests: vec![], stats: assembler.stats() };
    let mut take = |assembler: &mut Assembler, at: u64| {
        let now = start + Duration::from_millis(at);
        while let Some(unit) = assembler.pop(now) {
            run.units.push(unit);
            run.at.push(at);
        }
        if assembler.take_keyframe_request(now) {
            run.requests.push(at);
        }
    };
    let millis = |at: Instant| (at - start).as_micros().div_ceil(1000) as u64;
    for sent in packets {
        while let Some(wake) = assembler.wake_at().map(millis).filter(|&wake| wake < sent.at) {
            take(&mut assembler, wake);
        }
        assembler.push(sent.packet, start + Duration::from_millis(sent.at));
        take(&mut assembler, sent.at);
    }
    while let Some(wake) = assembler.wake_at().map(millis) {
        take(&mut assembler, wake);
    }
    run.stats = assembler.stats();
    run
}

/// The frames that came out: whole, in order, each after all that it refers to.
pub(crate) fn check(stream: &Stream, units: &[AccessUnit]) -> BTreeSet<usize> {
    let mut shown = BTreeSet::new();
    let mut next = 0;
    let first = i64::from(u32::MAX - 10 * TICKS);
    for unit in units {
        let same = |data: &Bytes| data == &unit.data;
        let n = (next..stream.frames.len()).find(|&n| same(&stream.frames[n].data)).unwrap_or_else(|| {
            panic!("{}: after frame {next} came {unit:?}, which was not sent", stream.name)
        });
        let frame = &stream.frames[n];
        for reference in &frame.refers_to {
            assert!(shown.contains(reference), "{}: frame {n} refers to {reference}", stream.name);
        }
        assert_eq!(unit.keyframe, frame.keyframe, "{}: frame {n}", stream.name);
        // The time of the first frame that was seen may lie behind the wrap.
        assert_eq!((unit.pts - first - n as i64 * i64::from(TICKS)) % (1 << 32), 0, "{}", stream.name);
        shown.insert(n);
        next = n + 1;
    }
    shown
}
