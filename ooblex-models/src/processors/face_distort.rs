//! A face as in a convex mirror.

use ooblex_core::{ImageError, KindSpec, Registry};

use super::face_warp::{self, Mover, Shape};
use crate::manager::Models;

/// Tip of the nose.
const NOSE: u16 = 1;
/// Radius of the bulge in heights of the face: from the nose to the forehead and the chin, and the cheeks with them.
const RADIUS: f32 = 0.6;

/// Adds `face_distort`. `TrumpOn` is not among its names although one of the Python project's workers used it so: another
/// one's `TrumpOn` hid faces, and whoever asks for that must not get a face that can be recognised.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let spec = KindSpec::new("face_distort", "A face as in a convex mirror").aliases(&["FaceDistortOn"]);
    face_warp::register(registry, models, spec, (0.5, 0.8), deform);
}

/// A bulge around the nose.
fn deform(face: &Shape, strength: f32, mover: &mut Mover<'_>) -> Result<(), ImageError> {
    mover.magnify(face.at(NOSE), RADIUS * face.height(), strength)
}
