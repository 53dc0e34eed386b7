//! Where faces are: BlazeFace, for processors that do something to them.

use std::time::Instant;

use ooblex_core::{BoxError, Image, ImageError, Picture};

use crate::manager::{BLAZEFACE, ModelError, ModelHandle, Models};
use crate::postprocess::blazeface;
use crate::preprocess::{Components, Fit, InputSpec, Layout, Preprocess};

/// Side of the model's input.
const SIDE: usize = 128;

/// A face, in shares of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Face {
    /// Left, top, width, height.
    pub(crate) rect: [f32; 4],
    /// The subject's right and left eye, if the model finds them.
    pub(crate) eyes: [[f32; 2]; 2],
    /// Confidence in [0, 1].
    pub(crate) score: f32,
}

/// Finds faces in pictures, one after another of the same stream.
pub(crate) trait FindFaces: Send + 'static {
    /// Loads what it needs; blocks.
    fn load(&mut self) -> Result<(), ModelError>;

    /// How many pixels the longer side of a picture should have at least.
    fn least_side(&self) -> u32;

    /// Faces with at least this confidence, the best ones first.
    ///
    /// # Errors
    /// Whatever kept it from looking: nothing is known about the picture then.
    fn find(
        &mut self,
        image: &Image,
        min_confidence: f32,
        deadline: Option<Instant>,
    ) -> Result<Vec<Face>, BoxError>;
}

/// BlazeFace: faces from 10 to 15 % of the picture's longer side upwards.
#[derive(Debug)]
pub(crate) struct LargeFaces {
    model: ModelHandle,
    input: Preprocess,
}

impl LargeFaces {
    pub(crate) fn new(models: &Models) -> Result<Self, ModelError> {
        let spec = InputSpec {
            width: SIDE,
            height: SIDE,
            layout: Layout::Nchw,
            components: Components::Rgb,
            mean: [127.5; 3],
            scale: [1.0 / 127.5; 3],
            fit: Fit::Letterbox,
        };
        Ok(Self { model: models.handle(BLAZEFACE)?, input: Preprocess::new(spec) })
    }
}

impl FindFaces for LargeFaces {
    fn load(&mut self) -> Result<(), ModelError> {
        self.model.load().map(|_| ())
    }

    fn least_side(&self) -> u32 {
        SIDE as u32
    }

    fn find(
        &mut self,
        image: &Image,
        min_confidence: f32,
        deadline: Option<Instant>,
    ) -> Result<Vec<Face>, BoxError> {
        let placement = self.input.fill(image, self.model.input(0)?)?;
        let [regressors, scores] = self.model.run(deadline)? else {
            return Err("the face detector has other outputs than expected".into());
        };
        let (regressors, scores) = (numbers(regressors.f32())?, numbers(scores.f32())?);
        let faces = blazeface::faces(regressors, scores, min_confidence);
        Ok(faces
            .into_iter()
            .map(|face| Face {
                rect: placement.rect(face.rect),
                eyes: [placement.point(face.points[0]), placement.point(face.points[1])],
                score: face.score,
            })
            .collect())
    }
}

/// What came out of a model, if it can be relied on: a model that does not compute sees no faces where there are some.
pub(crate) fn numbers(output: &[f32]) -> Result<&[f32], BoxError> {
    let finite = !output.is_empty() && output.iter().all(|v| v.is_finite());
    finite.then_some(output).ok_or_else(|| "the model gave something that is no number".into())
}

/// The picture for a model that wants a longer side of at least `least` pixels: a compressed one is decoded at the
/// smallest size that will do.
pub(crate) fn look(picture: &mut Picture, least: u32) -> Result<Image, ImageError> {
    if picture.as_pixels().is_none() {
        let longer = picture.width().max(picture.height());
        if let Some(factor) = [8u8, 4, 2].into_iter().find(|factor| longer / u32::from(*factor) >= least) {
            return picture.reduced(factor);
        }
    }
    picture.pixels().cloned()
}
