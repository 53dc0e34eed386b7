//! Outlines of faces, eyes, brows and lips.

use ooblex_core::{KindSpec, Options, Registry};

use super::face_mesh::{FaceMesh, params};
use super::figure::CONTOUR;
use super::mesh_topology::CONTOUR_POINTS;
use crate::manager::Models;
use crate::overlay::OverlayStyle;

const COLOR: (&str, [u8; 3]) = ("white", [255, 255, 255]);

/// Adds `face_contour`: as `face_mesh`, but only the 128 points on contours, contour after contour.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let spec =
        KindSpec::new("face_contour", "Outlines of faces, eyes, brows and lips").aliases(&["FaceContourOn"]);
    let models = models.clone();
    registry.add(params(spec, COLOR.0, 2), move |options: &Options| {
        let (edges, points) = (CONTOUR.lines, CONTOUR.points);
        let style = OverlayStyle { color: COLOR.1, width_px: 2, labels: false, points, edges };
        FaceMesh::new(&models, options, CONTOUR_POINTS, style)
    });
}
