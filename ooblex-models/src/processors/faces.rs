//! Where faces are, for processors that do something to them.

mod large;
mod small;

use std::time::Instant;

use ooblex_core::{BoxError, Image, ImageError, KindSpec, Options, ParamSpec, ParamType, Picture};

pub(crate) use self::large::LargeFaces;
pub(crate) use self::small::SmallFaces;
use crate::manager::{BLAZEFACE, CENTERFACE, ModelError, Models};
use crate::postprocess::face;
use crate::preprocess::{Fit, InputSpec, Placement, analysis_image};

/// What users call the models.
const NAMES: [&str; 2] = ["blazeface", CENTERFACE];

/// A face, in shares of the picture.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Face {
    /// Left, top, width, height.
    pub(crate) rect: [f32; 4],
    /// The subject's right and left eye, then what else the model finds.
    pub(crate) points: Vec<[f32; 2]>,
    /// Confidence in [0, 1].
    pub(crate) score: f32,
}

impl Face {
    /// What a model found in its input, which holds the picture as `placement` says.
    fn placed<const N: usize>(found: &face::Face<N>, placement: &Placement) -> Self {
        Self {
            rect: placement.rect(found.rect),
            points: found.points.iter().map(|point| placement.point(*point)).collect(),
            score: found.score,
        }
    }

    /// The subject's right and left eye.
    pub(crate) fn eyes(&self) -> [[f32; 2]; 2] {
        // Invariant: every model finds both eyes of a face.
        [self.points[0], self.points[1]]
    }
}

/// Finds faces in pictures, one after another of the same stream.
pub(crate) trait FindFaces: Send + 'static {
    /// Published name of the model.
    fn model(&self) -> &'static str;

    /// Loads what it needs; blocks.
    fn load(&mut self) -> Result<(), ModelError>;

    /// What it wants to see of a picture of this size.
    fn input(&self, width: u32, height: u32) -> InputSpec;

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

/// Adds the choice between the models.
pub(crate) fn params(spec: KindSpec) -> KindSpec {
    spec.needs_model(BLAZEFACE)
        .param(ParamSpec::new(
            "model",
            ParamType::Choice(NAMES.map(str::to_owned).to_vec()),
            NAMES[0],
            "centerface finds small faces, and takes longer",
        ))
        .param(
            ParamSpec::new(
                "input_size",
                ParamType::Int(128..=1920),
                i64::from(SmallFaces::LONGER_SIDE),
                "longer side of what centerface looks at: the larger, the smaller the faces it finds",
            )
            .unit("px"),
        )
}

/// The model that options ask for which fit [`params`].
pub(crate) fn finder(models: &Models, options: &Options) -> Result<Box<dyn FindFaces>, BoxError> {
    let longer_side = options.get_or("input_size", SmallFaces::LONGER_SIDE)?;
    Ok(match options.get_or("model", NAMES[0].to_owned())? {
        name if name == CENTERFACE => Box::new(SmallFaces::new(models, longer_side)?),
        _ => Box::new(LargeFaces::new(models)?),
    })
}

/// The picture for a model that wants `side` pixels of a part of it that is `share` of its longer side: a compressed one
/// is decoded as far as that takes, or as a whole if its pixels are wanted anyway.
pub(crate) fn look_closer(
    picture: &mut Picture,
    share: f32,
    side: usize,
    wants_pixels: bool,
) -> Result<Image, ImageError> {
    let longer = (side as f32 / share).ceil() as usize;
    let input = InputSpec { fit: Fit::Letterbox, ..InputSpec::rgb01(longer, longer) };
    analysis_image(picture, &input, wants_pixels)
}
