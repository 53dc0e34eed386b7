//! Seeds, whole and damaged: the tests of the crates under test include this file and run them through their targets.

use std::path::Path;

/// How a seed is damaged.
pub struct Damage {
    /// Copies of each seed that are damaged.
    pub copies: usize,
    /// At most the part 1 in so many is cut off.
    pub cut: usize,
    /// Most bits that are turned.
    pub bits: usize,
}

/// Gives `target` every seed in the corpus of `name`, and what `damage` makes of it: the same in each run. `fuzz` is the
/// folder of the fuzz targets, in whose manifest the target must stand.
pub fn replay(fuzz: &Path, name: &str, target: fn(&[u8]), damage: &Damage) {
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("a manifest");
    assert!(
        manifest.contains(&format!("\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")),
        "{name}"
    );
    let folder = std::fs::read_dir(fuzz.join("corpus").join(name)).expect("seeds");
    let mut seeds: Vec<_> = folder.map(|entry| entry.expect("an entry").path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{name} has no seeds");
    // xorshift64.
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    for seed in seeds {
        let whole = std::fs::read(&seed).expect("reads");
        target(&whole);
        for _ in 0..damage.copies {
            let mut data = whole.clone();
            data.truncate(data.len() - random(data.len() / damage.cut));
            for _ in 0..=random(damage.bits) {
                let at = random(data.len());
                data[at] ^= 1 << random(8);
            }
            target(&data);
        }
    }
}
