//! BlazeFace.

use std::time::Instant;

use ooblex_core::{BoxError, Image};

use super::{Face, FindFaces};
use crate::manager::{BLAZEFACE, ModelError, ModelHandle, Models};
use crate::postprocess::{blazeface, outputs};
use crate::preprocess::{Fit, InputSpec, Preprocess};

/// Side of the model's input.
const SIDE: usize = 128;
const INPUT: InputSpec = InputSpec {
    mean: [127.5; 3],
    scale: [1.0 / 127.5; 3],
    fit: Fit::Letterbox,
    ..InputSpec::rgb01(SIDE, SIDE)
};

/// BlazeFace: faces from 10 to 15 % of the picture's longer side upwards.
#[derive(Debug)]
pub(crate) struct LargeFaces {
    model: ModelHandle,
    input: Preprocess,
}

impl LargeFaces {
    pub(crate) fn new(models: &Models) -> Result<Self, ModelError> {
        Ok(Self { model: models.handle(BLAZEFACE)?, input: Preprocess::new(INPUT) })
    }
}

impl FindFaces for LargeFaces {
    fn model(&self) -> &'static str {
        BLAZEFACE
    }

    fn load(&mut self) -> Result<(), ModelError> {
        self.model.load().map(|_| ())
    }

    fn input(&self, _width: u32, _height: u32) -> InputSpec {
        INPUT
    }

    fn find(
        &mut self,
        image: &Image,
        min_confidence: f32,
        deadline: Option<Instant>,
    ) -> Result<Vec<Face>, BoxError> {
        let placement = self.input.fill(image, self.model.input(0)?)?;
        let [regressors, logits] = outputs(self.model.run(deadline)?)?;
        let faces = blazeface::faces(regressors, logits, min_confidence)?;
        Ok(faces.iter().map(|face| Face::placed(face, &placement)).collect())
    }
}
