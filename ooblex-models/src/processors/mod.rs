//! Processors that run models: one file each.

mod beauty_filter;
mod big_eyes;
mod drawing;
mod face_contour;
mod face_distort;
mod face_mesh;
mod face_shape;
mod face_slim;
mod face_warp;
mod faces;
mod held_boxes;
mod mesh;
mod mesh_topology;
mod pixelate_faces;

use ooblex_core::Registry;

use crate::manager::Models;

/// Adds every processor of this module to `registry`; they run the models of `models`.
pub fn register_models(registry: &mut Registry, models: &Models) {
    beauty_filter::register(registry, models);
    big_eyes::register(registry, models);
    face_contour::register(registry, models);
    face_distort::register(registry, models);
    face_mesh::register(registry, models);
    face_slim::register(registry, models);
    pixelate_faces::register(registry, models);
}
