//! The background exchanged for a colour, a gradient or a picture.

use ooblex_core::{
    BoxError, ColorSpace, FailurePolicy, Frame, FrameProcessor, Image, KindSpec, Options, ParamSpec,
    ParamType, PixelFormat, ProcessContext, ProcessError, Registry, Verdict,
};

use super::background::{
    Backgrounds, Layer, NONE, Outline, Person, covering, edge, edge_param, smooth, smooth_param,
};
use crate::color::Levels;
use crate::kernels::blend::{Flat, Picture};
use crate::manager::{ModelError, Models, SELFIE_LANDSCAPE};
use crate::overlay::OverlayStyle;

/// The gradient: purple at the top, blue at the bottom.
const GRADIENT: [[u8; 3]; 2] = [[110, 40, 170], [40, 90, 210]];
/// The value of `color` that means the gradient.
const NO_COLOR: &str = "gradient";

/// What is shown instead of the background.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Background {
    /// Red, green, blue.
    Color([u8; 3]),
    /// From the first colour at the top to the second at the bottom.
    Gradient([u8; 3], [u8; 3]),
    /// A picture, which covers the frame and keeps its shape.
    Picture(Image),
}

impl Default for Background {
    /// From purple to blue.
    fn default() -> Self {
        let [top, bottom] = GRADIENT;
        Self::Gradient(top, bottom)
    }
}

/// Shows something else behind the person. If nobody is found, only that is seen; if anything fails, nothing is shown.
pub struct BackgroundReplace {
    person: Person,
    layer: Layer,
    outline: Outline,
    background: Background,
    /// The picture in the frame's size and colour space.
    fitted: Option<(ColorSpace, Image)>,
    row: Vec<u8>,
}

impl BackgroundReplace {
    /// `smooth` and `edge` from 0 to 1: how much the mask is steadied, and how soft its edge is.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn new(models: &Models, background: Background, smooth: f32, edge: f32) -> Result<Self, ModelError> {
        let person = Person::new(models, smooth, edge)?;
        let (layer, outline) = (Layer::default(), Outline::default());
        Ok(Self { person, layer, outline, background, fitted: None, row: Vec::new() })
    }
}

impl FrameProcessor for BackgroundReplace {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let mask = self.person.find(frame, cx)?;
        let image = frame.image.make(PixelFormat::I420)?;
        let (width, height, color) = (image.width(), image.height(), image.color());
        self.layer.keep_inside(&mask, width, height)?;
        self.outline.clean(&self.layer, image)?;
        let yuv = |rgb: &[u8; 3]| Levels::of(color).yuv(*rgb);
        let (top, bottom) = match &self.background {
            Background::Color(rgb) => (yuv(rgb), yuv(rgb)),
            Background::Gradient(top, bottom) => (yuv(top), yuv(bottom)),
            Background::Picture(picture) => {
                let same =
                    |(c, i): &(ColorSpace, Image)| (*c, i.width(), i.height()) == (color, width, height);
                if !self.fitted.as_ref().is_some_and(same) {
                    self.fitted = Some((color, covering(picture, (width, height), color, cx.pool)?));
                }
                if let Some((_, fitted)) = &self.fitted {
                    self.layer.blend(image, &mut Picture::new(fitted, &mut self.row))?;
                }
                return Ok(Verdict::Emit);
            }
        };
        self.layer.blend(image, &mut Flat::new(top, bottom, height as usize))?;
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.person.load()?)
    }

    fn on_failure(&self) -> FailurePolicy {
        FailurePolicy::Blank
    }
}

pub(super) fn register(registry: &mut Registry, models: &Models, backgrounds: &Backgrounds) {
    let names = std::iter::once(NONE).chain(backgrounds.names()).map(str::to_owned).collect();
    let spec = KindSpec::new("background_replace", "Another background: a gradient, a colour or a picture")
        .aliases(&["BackgroundReplaceOn"])
        .param(ParamSpec::new("color", ParamType::Text(16), NO_COLOR, "a name or #rrggbb, or `gradient`"))
        .param(ParamSpec::new("image", ParamType::Choice(names), NONE, "a picture that the operator offers"))
        .param(edge_param())
        .param(smooth_param())
        .needs_model(SELFIE_LANDSCAPE)
        .on_failure(FailurePolicy::Blank);
    let (models, backgrounds) = (models.clone(), backgrounds.clone());
    registry.add(spec, move |options: &Options| -> Result<_, BoxError> {
        let image = options.get_or("image", NONE.to_owned())?;
        let color = options.get_or("color", NO_COLOR.to_owned())?;
        let background = match backgrounds.get(&image) {
            Some(picture) => Background::Picture(picture.clone()),
            None if color.eq_ignore_ascii_case(NO_COLOR) => Background::default(),
            None => Background::Color(OverlayStyle::color_from(&color)?),
        };
        Ok(BackgroundReplace::new(&models, background, smooth(options)?, edge(options)?)?)
    });
}
