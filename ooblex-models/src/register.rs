//! Every kind that this crate was compiled with.

use ooblex_core::Registry;

use crate::manager::Models;

/// Adds everything that this crate was compiled with to `registry`, with models of its own; kinds of the same name are
/// replaced. Nothing is loaded yet.
pub fn register(registry: &mut Registry) {
    register_with(registry, &Models::default());
}

/// The same with given models, which all processors that need one share.
pub fn register_with(registry: &mut Registry, models: &Models) {
    #[cfg(feature = "effects")]
    crate::effects::register(registry);
    #[cfg(feature = "overlay")]
    crate::overlay::register(registry);
    #[cfg(all(feature = "effects", feature = "overlay"))]
    crate::processors::register_models(registry, models);
    let _ = (registry, models);
}
