//! Every seed of the fuzz targets, cut and with bits turned: what `scripts/fuzz.sh` runs for long, in a moment and
//! where nothing can be instrumented.
#![cfg(all(feature = "h264", feature = "vpx", feature = "whip"))]
#![allow(clippy::unwrap_used, unreachable_pub)]

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod harness;
#[path = "../../fuzz/src/replay.rs"]
mod replay;

/// The inputs of one target, and shorter and slightly wrong ones made from them.
fn check(name: &str, copies: usize) {
    let (_, target) = harness::TARGETS.iter().find(|(target, _)| *target == name).unwrap();
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    replay::replay(&fuzz, name, *target, &replay::Damage { copies, cut: 2, bits: 4 });
}

macro_rules! seeds {
    ($($name:ident: $copies:expr,)*) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), $copies);
            }
        )*

        #[test]
        fn every_target_is_replayed() {
            let replayed = [$(stringify!($name)),*];
            let targets: Vec<_> = harness::TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(replayed[..], targets);
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
