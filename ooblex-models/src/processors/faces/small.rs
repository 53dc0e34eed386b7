//! CenterFace.

use std::time::Instant;

use ooblex_core::{BoxError, Image};

use super::{Face, FindFaces};
use crate::manager::{CENTERFACE, ModelError, ModelHandle, Models};
use crate::postprocess::{centerface, outputs};
use crate::preprocess::{InputSpec, Preprocess};

/// Sides of the input are multiples of this.
const MULTIPLE: u32 = 32;
/// Pixels of the input along a cell of the maps that come out.
const CELL: usize = 4;

/// CenterFace: faces from some 10 pixels of its input upwards, at some thirty times the cost of BlazeFace.
#[derive(Debug)]
pub(crate) struct SmallFaces {
    model: ModelHandle,
    input: Preprocess,
    longer_side: u32,
}

impl SmallFaces {
    /// Longer side of the input unless told otherwise.
    pub(crate) const LONGER_SIDE: u32 = 640;

    /// The input's longer side is at most `longer_side` pixels, rounded up to whole cells.
    pub(crate) fn new(models: &Models, longer_side: u32) -> Result<Self, ModelError> {
        let input = Preprocess::new(spec(1, 1, longer_side));
        Ok(Self { model: models.handle(CENTERFACE)?, input, longer_side })
    }
}

/// The model's input for a picture of this size: the picture stretched to the next multiples. A stream whose pictures are
/// of one size has one input size, and of pictures larger than the input all of one shape share it.
fn spec(width: u32, height: u32, longer_side: u32) -> InputSpec {
    let scale = (longer_side as f32 / width.max(height) as f32).min(1.0);
    let side = |v: u32| ((v as f32 * scale).ceil() as u32).next_multiple_of(MULTIPLE) as usize;
    InputSpec { scale: [1.0; 3], ..InputSpec::rgb01(side(width), side(height)) }
}

impl FindFaces for SmallFaces {
    fn model(&self) -> &'static str {
        CENTERFACE
    }

    fn load(&mut self) -> Result<(), ModelError> {
        self.model.load().map(|_| ())
    }

    fn input(&self, width: u32, height: u32) -> InputSpec {
        spec(width, height, self.longer_side)
    }

    fn find(
        &mut self,
        image: &Image,
        min_confidence: f32,
        deadline: Option<Instant>,
    ) -> Result<Vec<Face>, BoxError> {
        let spec = self.input(image.width(), image.height());
        self.input.set_size(spec.width, spec.height);
        let placement = self.input.fill(image, self.model.shape_input(0, &spec.shape())?)?;
        let [heatmap, scale, offset, landmarks] = outputs(self.model.run(deadline)?)?;
        let (width, height) = (spec.width / CELL, spec.height / CELL);
        let maps = centerface::Maps { width, height, heatmap, scale, offset, landmarks };
        let faces = centerface::faces(&maps, min_confidence)?;
        Ok(faces.iter().map(|face| Face::placed(face, &placement)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_follows_the_picture_in_whole_cells() {
        let size = |width, height, longer| {
            let spec = spec(width, height, longer);
            (spec.width, spec.height)
        };
        for (width, height, expected) in [
            (1280, 720, (640, 384)),
            (640, 480, (640, 480)),
            (3840, 2160, (640, 384)),
            (720, 1280, (384, 640)),
            (1, 1, (32, 32)),
            (100, 33, (128, 64)),
            (9, 5000, (32, 640)),
        ] {
            assert_eq!(size(width, height, 640), expected, "{width}x{height}");
        }
        assert_eq!((size(1280, 720, 1000), size(1280, 720, 1920)), ((1024, 576), (1280, 736)));
    }
}
