//! Every seed of the fuzz targets, cut and with bits turned: what `scripts/fuzz.sh` runs for long, in a moment and
//! where nothing can be instrumented.
#![allow(unreachable_pub)]

use std::path::Path;

#[path = "../../fuzz/src/live.rs"]
mod harness;

#[test]
fn seeds_and_what_is_like_them_are_read_or_refused() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    // xorshift64: the same damage in each run.
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    for (name, _) in harness::TARGETS {
        assert!(manifest.contains(&format!("\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")));
        let folder = std::fs::read_dir(fuzz.join("corpus").join(name)).expect("seeds");
        let mut seeds: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name} has none");
        for seed in seeds {
            let whole = std::fs::read(&seed).expect("reads");
            harness::run(name, &whole);
            for _ in 0..1000 {
                let mut data = whole.clone();
                data.truncate(data.len() - random(data.len() / 4));
                for _ in 0..=random(3) {
                    let at = random(data.len());
                    data[at] ^= 1 << random(8);
                }
                harness::run(name, &data);
            }
        }
    }
}
