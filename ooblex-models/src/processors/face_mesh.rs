//! 468 points on each face.

use std::sync::Arc;

use ooblex_core::{
    Annotation, AnnotationKind, BoxError, Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType,
    ProcessContext, ProcessError, Registry, Verdict,
};

use super::drawing::{self, Drawing};
use super::face_shape::{MAX_FACES, max_faces};
use super::figure::MESH;
use super::mesh::MeshFinder;
use crate::manager::{FACEMESH, Models};
use crate::overlay::OverlayStyle;

const COLOR: (&str, [u8; 3]) = ("cyan", [0, 255, 255]);
const STYLES: [&str; 2] = ["tessellation", "points"];

/// Notes the points of each face as an annotation of the kind [`AnnotationKind::Points`], and draws them.
pub(super) struct FaceMesh {
    finder: MeshFinder,
    /// Numbers of the points that are noted; all if there is none.
    only: &'static [u16],
    model: Arc<str>,
    label: Arc<str>,
    drawing: Drawing,
}

impl FaceMesh {
    /// Of options that fit [`params`].
    pub(super) fn new(
        models: &Models,
        options: &Options,
        only: &'static [u16],
        style: OverlayStyle,
    ) -> Result<Self, BoxError> {
        let most = options.get_or("max_faces", MAX_FACES)?;
        Ok(Self {
            finder: MeshFinder::new(models, most)?,
            only,
            model: FACEMESH.into(),
            label: "face".into(),
            drawing: Drawing::new(options, style, FACEMESH)?,
        })
    }
}

/// What every kind that draws meshes takes.
pub(super) fn params(spec: KindSpec, color: &str, width_px: u8) -> KindSpec {
    drawing::params(spec.needs_model(FACEMESH).param(max_faces()), color, width_px)
}

/// Adds `face_mesh`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let spec = KindSpec::new("face_mesh", "468 points on each face").aliases(&["FaceMeshOn"]);
    let styles = STYLES.map(str::to_owned).to_vec();
    let spec = params(spec, COLOR.0, 1).param(ParamSpec::new(
        "style",
        ParamType::Choice(styles),
        STYLES[0],
        "draw lines between neighbours, or the points",
    ));
    let models = models.clone();
    registry.add(spec, move |options: &Options| {
        let points = options.get_or("style", STYLES[0].to_owned())? == STYLES[1];
        let edges = if points { &[] } else { MESH.lines };
        let points = points || MESH.points;
        let style = OverlayStyle { color: COLOR.1, width_px: 1, labels: false, points, edges };
        FaceMesh::new(&models, options, &[], style)
    });
}

impl FrameProcessor for FaceMesh {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        for mesh in self.finder.find(&mut frame.image, self.drawing.is_wanted(), cx.deadline)? {
            let points = match self.only {
                [] => mesh.points.clone(),
                only => only.iter().map(|i| mesh.points[usize::from(*i)]).collect(),
            };
            let kind = AnnotationKind::Points;
            let mut found =
                Annotation::new(kind, self.label.clone(), mesh.score, self.model.clone()).with_points(points);
            found.generation = cx.generation;
            frame.annotations.push(found);
        }
        self.drawing.draw(frame, cx)?;
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.finder.load()?)
    }

    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.drawing.take()
    }
}
