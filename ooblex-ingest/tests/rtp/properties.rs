//! Whatever the link does, what comes out is whole, in order, and has its references.

use ooblex_ingest::rtp::AssemblerConfig;
use proptest::prelude::*;

use super::link::{self, Sent};
use super::streams::{self, Stream};

const FRAMES: usize = 50;

/// What the link does to one packet.
#[derive(Clone, Copy)]
struct Fate {
    delay: u64,
    lost: bool,
    repeated: Option<u64>,
}

impl std::fmt::Debug for Fate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self { lost: true, .. } => write!(f, "lost"),
            Self { delay, repeated: None, .. } => write!(f, "{delay}"),
            Self { delay, repeated: Some(later), .. } => write!(f, "{delay}+{later}"),
        }
    }
}

/// The first packet comes at once where nothing is lost, so that the stream begins with it.
fn healthy() -> impl Strategy<Value = Vec<Fate>> {
    fates(0.0, 30).prop_map(|mut fates| {
        fates[0].delay = 0;
        fates
    })
}

fn fates(loss: f64, jitter: u64) -> impl Strategy<Value = Vec<Fate>> {
    let repeated = prop::option::weighted(0.05, 0..400u64);
    let fate = (0..=jitter, prop::bool::weighted(loss), repeated);
    let fate = fate.prop_map(|(delay, lost, repeated)| Fate { delay, lost, repeated });
    prop::collection::vec(fate, 400)
}

fn suffer(packets: Vec<Sent>, fates: &[Fate]) -> Vec<Sent> {
    let mut out = Vec::new();
    for (sent, fate) in packets.into_iter().zip(fates.iter().cycle()) {
        if fate.lost {
            continue;
        }
        let at = sent.at + fate.delay;
        if let Some(later) = fate.repeated {
            out.push(Sent { at: at + later, ..sent.clone() });
        }
        out.push(Sent { at, ..sent });
    }
    out
}

fn any_link() -> impl Strategy<Value = Vec<Fate>> {
    let loss = prop::sample::select(vec![0.0, 0.01, 0.05, 0.3]);
    let jitter = prop::sample::select(vec![0u64, 3, 40, 300]);
    (loss, jitter).prop_flat_map(|(loss, jitter)| fates(loss, jitter))
}

fn any_stream() -> impl Strategy<Value = Stream> {
    prop::sample::select(streams::all(FRAMES))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_out_is_whole_in_order_and_has_its_references(
        stream in any_stream(),
        fates in any_link(),
    ) {
        let packets = suffer(link::sent(&stream), &fates);
        let count = packets.len() as u64;
        let run = link::run(&stream, AssemblerConfig::default(), packets);
        let shown = link::check(&stream, &run.units);
        let stats = run.stats;
        prop_assert_eq!(stats.packets, count);
        prop_assert_eq!(stats.frames, shown.len() as u64);
        prop_assert!(stats.frames + stats.broken + stats.unreferenced <= FRAMES as u64);
        prop_assert_eq!((stats.malformed, stats.oversized, stats.overflowed, stats.restarts), (0, 0, 0, 0));
        for pair in run.requests.windows(2) {
            prop_assert!(pair[1] - pair[0] >= 500);
        }
    }

    #[test]
    fn each_frame_comes_out_as_soon_as_all_before_are_there(stream in any_stream(), fates in healthy()) {
        let packets = suffer(link::sent(&stream), &fates);
        let mut due = vec![0; FRAMES];
        for (n, due) in due.iter_mut().enumerate() {
            // The first copy counts.
            let mut first = std::collections::BTreeMap::new();
            for sent in packets.iter().filter(|sent| sent.frame <= n) {
                let at = first.entry(sent.packet.sequence).or_insert(sent.at);
                *at = sent.at.min(*at);
            }
            *due = first.values().copied().max().unwrap_or(0);
        }
        let run = link::run(&stream, AssemblerConfig::default(), packets);
        prop_assert_eq!(link::check(&stream, &run.units).len(), FRAMES);
        prop_assert_eq!(run.at, due);
        prop_assert!(run.units.iter().all(|unit| !unit.gap));
        prop_assert!(run.requests.is_empty());
        prop_assert_eq!(run.stats.lost, 0);
    }
}
