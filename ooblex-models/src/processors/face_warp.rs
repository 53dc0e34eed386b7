//! Effects that move the pixels of faces.

use ooblex_core::{
    BoxError, Frame, FrameProcessor, Image, ImageError, KindSpec, Options, ParamSpec, ParamType,
    ProcessContext, ProcessError, Registry, Verdict,
};

pub(super) use super::face_shape::Shape;
use super::face_shape::{MAX_FACES, max_faces};
use super::mesh::MeshFinder;
use crate::kernels::warp::Warp;
use crate::manager::{FACEMESH, Models};
use crate::planar::make_planar;

/// Moves pixels of one picture.
pub(super) struct Mover<'a> {
    image: &'a mut Image,
    warp: &'a mut Warp,
}

impl Mover<'_> {
    /// See [`Warp::run`].
    pub(super) fn run(
        &mut self,
        region: [f32; 4],
        displacement: impl Fn([f32; 2]) -> [f32; 2],
    ) -> Result<(), ImageError> {
        self.warp.run(self.image, region, displacement)
    }

    /// Enlarges what lies around `center`: in the middle by 1 / (1 - `strength`), `strength` being less than 1, falling
    /// smoothly to nothing at `radius`.
    pub(super) fn magnify(&mut self, center: [f32; 2], radius: f32, strength: f32) -> Result<(), ImageError> {
        let [x, y] = center;
        self.run([x - radius, y - radius, x + radius, y + radius], |p| {
            let (dx, dy) = (p[0] - x, p[1] - y);
            let factor = -strength * bump((dx * dx + dy * dy) / (radius * radius));
            [dx * factor, dy * factor]
        })
    }
}

/// 1 at 0, falling smoothly to 0 at 1: (1 - q)^2, where q is the square of a share of a radius.
pub(super) fn bump(q: f32) -> f32 {
    (1.0 - q.min(1.0)).powi(2)
}

type Deform = fn(&Shape, f32, &mut Mover<'_>) -> Result<(), ImageError>;

/// Finds faces and moves their pixels. Pictures without faces stay compressed.
struct FaceWarp {
    finder: MeshFinder,
    warp: Warp,
    strength: f32,
    deform: Deform,
}

/// Adds a kind that deforms each face by its strength, which is 0 to `most` and `default` unless given.
pub(super) fn register(
    registry: &mut Registry,
    models: &Models,
    spec: KindSpec,
    (default, most): (f64, f64),
    deform: Deform,
) {
    let spec = spec
        .needs_model(FACEMESH)
        .param(ParamSpec::new("strength", ParamType::Float(0.0..=most), default, "how much; 0 is not at all"))
        .param(max_faces());
    let models = models.clone();
    registry.add(spec, move |options: &Options| {
        let finder = MeshFinder::new(&models, options.get_or("max_faces", MAX_FACES)?)?;
        let strength = options.get_or("strength", default as f32)?;
        Ok::<_, BoxError>(FaceWarp { finder, warp: Warp::default(), strength, deform })
    });
}

impl FrameProcessor for FaceWarp {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let shapes = Shape::find(&mut self.finder, frame, cx)?;
        if shapes.is_empty() || self.strength <= 0.0 {
            return Ok(Verdict::Emit);
        }
        let image = make_planar(&mut frame.image)?;
        for shape in &shapes {
            (self.deform)(shape, self.strength, &mut Mover { image, warp: &mut self.warp })?;
        }
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.finder.load()?)
    }
}
