//! Mutated streams: whatever strangers send, a decoder neither crashes nor takes memory or time without bound.

use std::time::{Duration, Instant};

use ooblex_core::BufferPool;
use ooblex_ingest::decode::{self, MAX_VIDEO_PIXELS, VideoCodec};
use proptest::prelude::*;

use crate::clips;

/// Far more than any unit of these clips takes, however much it claims; a machine that is busy may be slow.
const UNIT_TIME: Duration = Duration::from_secs(5);
/// Resident memory at most, everything included.
const MEMORY_KB: u64 = 700_000;

/// What is done to the units of a stream.
#[derive(Clone, Debug)]
enum Mutation {
    Byte {
        unit: usize,
        at: usize,
        value: u8,
    },
    /// Among the first bytes: parameter sets and headers.
    Head {
        unit: usize,
        at: usize,
        value: u8,
    },
    Cut {
        unit: usize,
        at: usize,
    },
    Remove {
        unit: usize,
    },
    Repeat {
        unit: usize,
    },
    Swap {
        unit: usize,
        other: usize,
    },
    /// The beginning of one unit with the end of another.
    Splice {
        unit: usize,
        at: usize,
        other: usize,
    },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = || 0..1_000_000usize;
    prop_oneof![
        (index(), index(), any::<u8>()).prop_map(|(unit, at, value)| Mutation::Byte { unit, at, value }),
        (index(), index(), any::<u8>()).prop_map(|(unit, at, value)| Mutation::Head { unit, at, value }),
        (index(), index()).prop_map(|(unit, at)| Mutation::Cut { unit, at }),
        index().prop_map(|unit| Mutation::Remove { unit }),
        index().prop_map(|unit| Mutation::Repeat { unit }),
        (index(), index()).prop_map(|(unit, other)| Mutation::Swap { unit, other }),
        (index(), index(), index()).prop_map(|(unit, at, other)| Mutation::Splice { unit, at, other }),
    ]
}

fn mutate(units: &mut Vec<Vec<u8>>, mutation: &Mutation) {
    let count = units.len();
    match *mutation {
        Mutation::Byte { unit, at, value } => {
            let unit = &mut units[unit % count];
            if let Some(at) = at.checked_rem(unit.len()) {
                unit[at] = value;
            }
        }
        Mutation::Head { unit, at, value } => {
            let unit = &mut units[unit % count % 3];
            if let Some(at) = at.checked_rem(unit.len().min(48)) {
                unit[at] = value;
            }
        }
        Mutation::Cut { unit, at } => {
            let unit = &mut units[unit % count];
            unit.truncate(at % (unit.len() + 1));
        }
        Mutation::Remove { unit } if count > 1 => drop(units.remove(unit % count)),
        Mutation::Remove { .. } => {}
        Mutation::Repeat { unit } => units.insert(unit % count, units[unit % count].clone()),
        Mutation::Swap { unit, other } => units.swap(unit % count, other % count),
        Mutation::Splice { unit, at, other } => {
            let tail = units[other % count].clone();
            let unit = &mut units[unit % count];
            let at = at % (unit.len() + 1);
            unit.truncate(at);
            unit.extend_from_slice(&tail[at.min(tail.len())..]);
        }
    }
}

/// Resident memory at its highest, where the system tells.
fn peak_kb() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn survives(codec: VideoCodec, streams: &[Vec<Vec<u8>>], choice: usize, mutations: &[Mutation]) {
    let mut units = streams[choice % streams.len()].clone();
    mutations.iter().for_each(|m| mutate(&mut units, m));
    let mut decoder = decode::open(codec, BufferPool::new(4)).expect("opens");
    let mut out = Vec::new();
    for (n, unit) in units.iter().enumerate() {
        let begun = Instant::now();
        let _ = decoder.decode(unit, n as i64, &mut out);
        assert!(begun.elapsed() < UNIT_TIME, "unit {n} took {:?}", begun.elapsed());
        assert!(out.len() <= 17, "{} pictures of one unit", out.len());
        for decoded in out.drain(..) {
            let (width, height) = (decoded.image.width(), decoded.image.height());
            assert!(u64::from(width) * u64::from(height) <= MAX_VIDEO_PIXELS);
        }
    }
    decoder.flush(&mut out).expect("flushes");
    if let Some(peak) = peak_kb() {
        assert!(peak < MEMORY_KB, "{peak} kB");
    }
}

fn vpx(names: [&str; 2]) -> Vec<Vec<Vec<u8>>> {
    names.map(|name| clips::ivf(name).into_iter().map(|(_, frame)| frame).collect()).to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn vp8_survives(choice in 0..2usize, mutations in prop::collection::vec(mutation(), 1..8)) {
        survives(VideoCodec::Vp8, &vpx(["vp8.ivf", "vp8_hidden.ivf"]), choice, &mutations);
    }

    #[test]
    fn vp9_survives(choice in 0..2usize, mutations in prop::collection::vec(mutation(), 1..8)) {
        survives(VideoCodec::Vp9, &vpx(["vp9.ivf", "vp9_hidden.ivf"]), choice, &mutations);
    }

    #[test]
    fn h264_survives(choice in 0..4usize, mutations in prop::collection::vec(mutation(), 1..8)) {
        let names = ["pan.mp4", "h264_high.mp4", "h264_main.mp4", "h264_b.mp4"];
        let streams = names.map(|name| clips::h264(name).into_iter().map(|unit| unit.data).collect());
        survives(VideoCodec::H264, &streams, choice, &mutations);
    }
}
