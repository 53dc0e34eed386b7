//! Every seed of the fuzz targets, cut and with bits turned: what `scripts/fuzz.sh` runs for long, in a moment and
//! where nothing can be instrumented.
#![allow(unreachable_pub)]

use std::path::Path;

#[path = "../../fuzz/src/models.rs"]
mod harness;
#[path = "../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn seeds_and_what_is_like_them_are_read_or_refused() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (name, target) in harness::TARGETS {
        replay::replay(&fuzz, name, *target, &replay::Damage { copies: 1000, cut: 4, bits: 3 });
    }
}
