//! Larger eyes.

use ooblex_core::{ImageError, KindSpec, Registry};

use super::face_warp::{self, Mover, Shape};
use super::mesh_topology::{LEFT_EYE, RIGHT_EYE};
use crate::manager::Models;

/// Corners of the right and the left eye.
const CORNERS: [(u16, u16); 2] = [(33, 133), (362, 263)];

/// Adds `big_eyes`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let spec = KindSpec::new("big_eyes", "Larger eyes").aliases(&["BigEyesOn"]);
    face_warp::register(registry, models, spec, (0.3, 0.6), deform);
}

/// Enlarges a disc of the eye's own width around each eye; they touch between the eyes. In a face turned aside the nearer
/// eye looks wider, and the other one gets three quarters of its disc at least.
fn deform(face: &Shape, strength: f32, mover: &mut Mover<'_>) -> Result<(), ImageError> {
    let widths = CORNERS.map(|(a, b)| face.distance(a, b));
    let least = 0.75 * widths[0].max(widths[1]);
    for (eye, width) in [RIGHT_EYE, LEFT_EYE].into_iter().zip(widths) {
        mover.magnify(face.middle(eye), width.max(least), strength)?;
    }
    Ok(())
}
