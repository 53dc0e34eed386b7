//! The model manager, with an engine and a device that do as they are told.

mod batches;
mod control;
mod losses;
mod memory;
mod weights;

use std::time::{Duration, Instant};

use ooblex_core::Clock;
use ooblex_models::manager::{ModelError, ModelHandle, ModelsConfig, SearchPath};

/// How long tests wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// No folders, and a clock that stands still.
fn config() -> ModelsConfig {
    let mut config = ModelsConfig::default();
    config.path = SearchPath::default();
    config.clock = Clock::manual(Instant::now());
    config
}

/// The same with changes.
fn config_with(change: impl FnOnce(&mut ModelsConfig)) -> ModelsConfig {
    let mut config = config();
    change(&mut config);
    config
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a scripted model on `number` and checks what comes out.
fn double(handle: &mut ModelHandle, number: f32) -> Result<(), ModelError> {
    handle.shape_input(0, &[1, 4])?.f32_mut().fill(number);
    let outputs = handle.run(None)?;
    assert_eq!((outputs[0].shape(), outputs[0].f32()), (&[1, 4][..], &[2.0 * number; 4][..]));
    Ok(())
}
