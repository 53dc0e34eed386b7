//! A slimmer face.

use ooblex_core::{ImageError, KindSpec, Registry};

use super::face_warp::{self, Mover, Shape, bump};
use super::mesh_topology::OVAL;
use crate::manager::Models;

/// Between the eyes, chin.
const BETWEEN_EYES: u16 = 168;
const CHIN: u16 = 152;
/// How far to each side pixels move, in the face's own half width there: most at its border, by [`profile`].
const REACH: f32 = 1.732;
/// How far below the chin pixels move, in heights of the face.
const BELOW: f32 = 0.4;

/// Adds `face_slim`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let spec = KindSpec::new("face_slim", "A slimmer face").aliases(&["FaceSlimOn"]);
    face_warp::register(registry, models, spec, (0.15, 0.3), deform);
}

/// Draws cheeks and jaw towards the line from forehead to chin, by up to `strength` of the narrower width: not at all at
/// the eyes, fully from the mouth to the chin, and less again on the neck.
fn deform(face: &Shape, strength: f32, mover: &mut Mover<'_>) -> Result<(), ImageError> {
    let (origin, chin) = (face.at(BETWEEN_EYES), face.at(CHIN));
    let length = face.distance(BETWEEN_EYES, CHIN);
    if length <= 0.0 {
        return Ok(());
    }
    let down = [(chin[0] - origin[0]) / length, (chin[1] - origin[1]) / length];
    // Across and along the face, from between the eyes.
    let place = |[x, y]: [f32; 2]| {
        let (x, y) = (x - origin[0], y - origin[1]);
        [x * down[1] - y * down[0], x * down[0] + y * down[1]]
    };
    let across = OVAL.iter().map(|i| place(face.at(*i))[0]);
    let (left, right) = across.fold((0.0f32, 0.0f32), |(low, high), u| (low.min(u), high.max(u)));
    let reach = [-left, right].map(|half| (REACH * half).max(1.0));
    let end = length + BELOW * face.height();
    // The corners of what moves, in the picture.
    let corners = [(-reach[0], 0.0), (reach[1], 0.0), (-reach[0], end), (reach[1], end)]
        .map(|(u, v)| [origin[0] + u * down[1] + v * down[0], origin[1] - u * down[0] + v * down[1]]);
    let low = |i: usize| corners.iter().fold(f32::INFINITY, |low, c| low.min(c[i]));
    let high = |i: usize| corners.iter().fold(f32::NEG_INFINITY, |high, c| high.max(c[i]));
    mover.run([low(0), low(1), high(0), high(1)], |p| {
        let [u, v] = place(p);
        let t = u / if u < 0.0 { reach[0] } else { reach[1] };
        let along = smooth(v / (0.6 * length)) * smooth((end - v) / (end - length));
        let push = strength * u * profile(t * t) * along;
        [push * down[1], -push * down[0]]
    })
}

/// How much of the strength works at a share of the reach, given that share squared: nothing in the middle, so that nose
/// and mouth keep their shape, all at a third, nothing from 1. Up to a strength of 0.35 no two places come from one.
fn profile(q: f32) -> f32 {
    6.75 * q * bump(q)
}

/// 0 up to 0, 1 from 1, smooth in between: 3 t^2 - 2 t^3.
fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
