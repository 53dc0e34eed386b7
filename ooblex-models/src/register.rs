//! Every kind that this crate was compiled with.

use ooblex_core::Registry;

/// Adds everything that this crate was compiled with to `registry`; kinds of the same name are replaced.
pub fn register(registry: &mut Registry) {
    #[cfg(feature = "effects")]
    crate::effects::register(registry);
    #[cfg(feature = "overlay")]
    crate::overlay::register(registry);
    #[cfg(not(any(feature = "effects", feature = "overlay")))]
    let _ = registry;
}
