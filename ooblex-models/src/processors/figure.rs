//! What detectors draw between the points that they find.

use super::mesh_topology::{CONTOUR_EDGES, TESSELLATION};
use crate::postprocess::coco::SKELETON;

/// How the points of one finding make a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figure {
    /// Lines between points, by their numbers from 0.
    pub lines: &'static [(u16, u16)],
    /// Whether the points are drawn, too.
    pub points: bool,
}

pub(super) const POSE: Figure = Figure { lines: SKELETON, points: true };
pub(super) const MESH: Figure = Figure { lines: TESSELLATION, points: false };
pub(super) const CONTOUR: Figure = Figure { lines: CONTOUR_EDGES, points: false };

/// The figure that the detector of this name draws unless told otherwise; `None` for kinds without lines.
pub fn figure_of(kind: &str) -> Option<Figure> {
    match kind {
        "pose_detection" => Some(POSE),
        "face_mesh" => Some(MESH),
        "face_contour" => Some(CONTOUR),
        _ => None,
    }
}
