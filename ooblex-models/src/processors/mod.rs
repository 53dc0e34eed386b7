//! Processors that run models: one file each.

mod background;
mod background_blur;
mod background_remove;
mod background_replace;
mod beauty_filter;
mod big_eyes;
mod drawing;
mod emotion;
mod face_contour;
mod face_detection;
mod face_distort;
mod face_mesh;
mod face_shape;
mod face_slim;
mod face_warp;
mod faces;
mod figure;
mod held_boxes;
pub mod manifest;
mod mesh;
mod mesh_topology;
mod object_detection;
mod pixelate_faces;
mod pose_detection;
mod segmentation;
mod semantic;
mod style_transfer;

use ooblex_core::Registry;

pub use self::background::{Backgrounds, BackgroundsError};
pub use self::background_blur::BackgroundBlur;
pub use self::background_remove::{BackgroundRemove, Removal};
pub use self::background_replace::{Background, BackgroundReplace};
pub use self::figure::{Figure, figure_of};
pub use self::segmentation::Segmentation;
pub use self::semantic::{Semantic, register_segmentation};
pub use self::style_transfer::{StyleOptions, StyleTransfer};
use crate::manager::Models;

/// Adds every processor of this module to `registry`; they run the models of `models`.
pub fn register_models(registry: &mut Registry, models: &Models) {
    background_blur::register(registry, models);
    background_remove::register(registry, models);
    register_backgrounds(registry, models, &Backgrounds::new());
    beauty_filter::register(registry, models);
    big_eyes::register(registry, models);
    emotion::register(registry, models);
    face_contour::register(registry, models);
    face_detection::register(registry, models);
    face_distort::register(registry, models);
    face_mesh::register(registry, models);
    face_slim::register(registry, models);
    object_detection::register(registry, models);
    pixelate_faces::register(registry, models);
    pose_detection::register(registry, models);
    segmentation::register(registry, models);
    style_transfer::register(registry, models);
}

/// Adds `background_replace` again, now with pictures to choose from.
pub fn register_backgrounds(registry: &mut Registry, models: &Models, backgrounds: &Backgrounds) {
    background_replace::register(registry, models, backgrounds);
}
