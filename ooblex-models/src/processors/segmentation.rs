//! Which pixels show a person, as a translucent colour.

mod tint;

use ooblex_core::{
    BoxError, Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, ProcessContext, ProcessError,
    Registry, RegistryError, Verdict,
};

pub(super) use self::tint::Tint;
use super::background::{LABEL, Person, edge, edge_param, smooth, smooth_param};
use crate::manager::{ModelError, Models, SELFIE_GENERAL, SELFIE_LANDSCAPE};
use crate::overlay::OverlayStyle;

const COLOR: &str = "cyan";
/// Opacity, if nothing else is asked for.
const OPACITY: f32 = 0.5;

/// Annotates the person with a mask, and draws it unless someone else does.
pub struct Segmentation {
    person: Person,
    tint: Option<Tint>,
}

impl Segmentation {
    /// `smooth` and `edge` from 0 to 1: how much the mask is steadied, and how soft its edge is. Draws nothing yet.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn new(models: &Models, smooth: f32, edge: f32) -> Result<Self, ModelError> {
        Ok(Self { person: Person::new(models, smooth, edge)?, tint: None })
    }

    /// Draws the mask in `color` (red, green, blue) with an `opacity` from 0 to 1.
    pub fn drawn(mut self, color: [u8; 3], opacity: f32) -> Self {
        let models = [SELFIE_LANDSCAPE.into(), SELFIE_GENERAL.into()];
        self.tint = Some(Tint::new(models, [(LABEL.into(), color)], opacity));
        self
    }
}

impl FrameProcessor for Segmentation {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        self.person.find(frame, cx)?;
        match &mut self.tint {
            Some(tint) => tint.process(frame, cx),
            None => Ok(Verdict::Emit),
        }
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.person.load()?)
    }

    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.tint.take().map(|tint| Box::new(tint) as _)
    }
}

/// The parameter `draw`.
pub(super) fn draw_param() -> ParamSpec {
    ParamSpec::new("draw", ParamType::Bool, true, "draw what is found")
}

/// The parameter `opacity`.
pub(super) fn opacity_param() -> ParamSpec {
    ParamSpec::new("opacity", ParamType::Float(0.0..=1.0), OPACITY, "how much the colour covers")
}

/// Its value; `None` if nothing is to be drawn.
pub(super) fn opacity(options: &Options) -> Result<Option<f32>, RegistryError> {
    let opacity = options.get_or("opacity", OPACITY)?;
    Ok(options.get_or("draw", true)?.then_some(opacity))
}

pub(super) fn register(registry: &mut Registry, models: &Models) {
    let spec = KindSpec::new("segmentation", "The person marked by a translucent colour")
        .param(ParamSpec::new("color", ParamType::Text(16), COLOR, "colour: a name or #rrggbb"))
        .param(opacity_param())
        .param(draw_param())
        .param(edge_param())
        .param(smooth_param())
        .needs_model(SELFIE_LANDSCAPE);
    let models = models.clone();
    registry.add(spec, move |options: &Options| -> Result<_, BoxError> {
        let color = OverlayStyle::color_from(&options.get_or("color", COLOR.to_owned())?)?;
        let segmentation = Segmentation::new(&models, smooth(options)?, edge(options)?)?;
        Ok(match opacity(options)? {
            Some(opacity) => segmentation.drawn(color, opacity),
            None => segmentation,
        })
    });
}
