//! Every seed of the fuzz targets, cut and with bits turned: what `scripts/fuzz.sh` runs for long, in a moment and
//! where nothing can be instrumented.
#![cfg(all(feature = "h264", feature = "vpx", feature = "whip"))]
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod harness;

/// The inputs of one target, and shorter and slightly wrong ones made from them.
fn replay(name: &str, damaged: usize) {
    let (_, target) = harness::TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    // xorshift64: the same damage in each run.
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    for seed in seeds {
        let data = std::fs::read(&seed).unwrap();
        target(&data);
        for _ in 0..damaged {
            let mut data = data.clone();
            data.truncate(data.len() - random(data.len() / 2));
            for _ in 0..=random(4) {
                let at = random(data.len());
                data[at] ^= 1 << random(8);
            }
            target(&data);
        }
    }
}

macro_rules! seeds {
    ($($name:ident: $damaged:expr,)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name), $damaged);
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            let targets: Vec<_> = harness::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(replayed[..], targets);
            // And built.
            let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/Cargo.toml")).unwrap();
            for name in targets {
                assert!(manifest.contains(&format!("\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")));
            }
        }
    };
}

seeds! {
    rtp_vp8: 500,
    rtp_vp9: 500,
    rtp_h264: 500,
    rtp_av1: 500,
    decode_vp8: 40,
    decode_vp9: 40,
    decode_h264: 40,
    offer: 40,
    fragment: 500,
    ice_list: 500,
    turn_stream: 500,
}
