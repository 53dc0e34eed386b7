//! Where faces are, for processors that do something to them.

use std::time::Instant;

use ooblex_core::{BoxError, Image, ImageError, Picture};

use crate::manager::{BLAZEFACE, CENTERFACE, ModelError, ModelHandle, Models};
use crate::postprocess::{blazeface, centerface};
use crate::preprocess::{Components, Fit, InputSpec, Layout, Preprocess};

/// Side of the model's input.
const SIDE: usize = 128;

/// A face, in shares of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Face {
    /// Left, top, width, height.
    pub(crate) rect: [f32; 4],
    /// The subject's right and left eye.
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

/// CenterFace: faces from some 10 pixels of a picture of 640 upwards, at some thirty times the cost.
#[derive(Debug)]
pub(crate) struct SmallFaces {
    model: ModelHandle,
    input: Preprocess,
}

/// Longer side of the model's input.
const LARGEST: u32 = 640;
/// Sides of the input are multiples of this.
const MULTIPLE: u32 = 32;

impl SmallFaces {
    pub(crate) fn new(models: &Models) -> Result<Self, ModelError> {
        Ok(Self { model: models.handle(CENTERFACE)?, input: Preprocess::new(Self::spec(1, 1)) })
    }

    /// The model's input for a picture of this size.
    fn spec(width: u32, height: u32) -> InputSpec {
        let scale = (LARGEST as f32 / width.max(height) as f32).min(1.0);
        let side = |v: u32| ((v as f32 * scale).ceil() as u32).next_multiple_of(MULTIPLE) as usize;
        InputSpec { scale: [1.0; 3], ..InputSpec::rgb01(side(width), side(height)) }
    }
}

impl FindFaces for SmallFaces {
    fn load(&mut self) -> Result<(), ModelError> {
        self.model.load().map(|_| ())
    }

    fn least_side(&self) -> u32 {
        LARGEST
    }

    fn find(
        &mut self,
        image: &Image,
        min_confidence: f32,
        deadline: Option<Instant>,
    ) -> Result<Vec<Face>, BoxError> {
        let spec = Self::spec(image.width(), image.height());
        if *self.input.spec() != spec {
            self.input = Preprocess::new(spec);
        }
        let placement = self.input.fill(image, self.model.shape_input(0, &spec.shape())?)?;
        let [heatmap, scale, offset, landmarks] = self.model.run(deadline)? else {
            return Err("the face detector has other outputs than expected".into());
        };
        let maps = centerface::Maps {
            width: spec.width / 4,
            height: spec.height / 4,
            heatmap: numbers(heatmap.f32())?,
            scale: numbers(scale.f32())?,
            offset: numbers(offset.f32())?,
            landmarks: numbers(landmarks.f32())?,
        };
        let faces = centerface::faces(&maps, min_confidence);
        let faces = faces.ok_or("the face detector gave maps of another size than expected")?;
        // The exponent of a size may be anything.
        faces.iter().try_for_each(|face| numbers(&face.rect).map(|_| ()))?;
        let face = |face: centerface::Face| Face {
            rect: placement.rect(face.rect),
            eyes: face.eyes.map(|eye| placement.point(eye)),
            score: face.score,
        };
        Ok(faces.into_iter().map(face).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_gives_no_numbers_fails() {
        assert!(numbers(&[0.0, -1e9]).is_ok());
        for bad in [&[][..], &[0.0, f32::NAN], &[f32::NEG_INFINITY]] {
            assert!(numbers(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn small_faces_are_looked_for_in_an_input_of_whole_cells() {
        let size = |width, height| {
            let spec = SmallFaces::spec(width, height);
            (spec.width, spec.height)
        };
        assert_eq!((size(1280, 720), size(640, 480), size(3840, 2160)), ((640, 384), (640, 480), (640, 384)));
        assert_eq!((size(1, 1), size(100, 33), size(9, 5000)), ((32, 32), (128, 64), (32, 640)));
    }
}
