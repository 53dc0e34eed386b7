//! Every registered processor takes whatever picture comes: of any size from one pixel to 4K, odd or padded, in every
//! format, and a thousand random ones.

use ooblex_core::testing::conformance;
use ooblex_core::{KindSpec, Options, Registry};

const FRAMES: u64 = 1000;

/// With their parameters as they are by default.
fn conform(which: impl Fn(&KindSpec) -> bool) {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let kinds: Vec<String> =
        registry.kinds().filter(|kind| which(kind)).map(|kind| kind.name.clone()).collect();
    assert!(!kinds.is_empty());
    for kind in kinds {
        conformance(|| registry.build(&kind, &Options::new()).expect("builds"), FRAMES)
            .unwrap_or_else(|e| panic!("{kind}: {e}"));
    }
}

#[test]
fn effects_conform() {
    conform(|kind| kind.needs_model.is_none());
}

#[test]
fn what_looks_for_faces_conforms() {
    conform(|kind| kind.needs_model.is_some() && kind.name.contains("face"));
}

#[test]
fn what_looks_for_things_conforms() {
    conform(|kind| kind.name == "object_detection");
}

#[test]
fn what_else_runs_models_conforms() {
    conform(|kind| {
        kind.needs_model.is_some() && !kind.name.contains("face") && kind.name != "object_detection"
    });
}
