//! Processors that run models: one file each.

mod drawing;
mod face_contour;
mod face_mesh;
mod faces;
mod mesh;
mod mesh_topology;

use ooblex_core::Registry;

use crate::manager::Models;

/// Adds every processor of this module to `registry`; they run the models of `models`.
pub fn register_models(registry: &mut Registry, models: &Models) {
    face_contour::register(registry, models);
    face_mesh::register(registry, models);
}
