//! Processors that run models: one file each.

use ooblex_core::Registry;

use crate::manager::Models;

/// Adds every processor of this module to `registry`; they run the models of `models`.
pub fn register_models(registry: &mut Registry, models: &Models) {
    let _ = (registry, models);
}
