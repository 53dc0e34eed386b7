//! How detectors draw what they find.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, ProcessContext, ProcessError,
    RegistryError,
};

use crate::overlay::{Overlay, OverlayStyle};
use crate::smooth::Smooth;

/// Parameters of a detector that draws with lines; see [`Drawing::new`].
pub(crate) fn params(spec: KindSpec, color: &str, width_px: u8) -> KindSpec {
    spec.param(ParamSpec::new("draw", ParamType::Bool, true, "draw what is found"))
        .param(ParamSpec::new("color", ParamType::Text(16), color, "colour: a name or #rrggbb"))
        .param(ParamSpec::new("width", ParamType::Int(1..=32), width_px, "thickness of lines").unit("px"))
}

/// The parameter `score` of a detector that draws boxes.
pub(crate) fn score_param() -> ParamSpec {
    ParamSpec::new("score", ParamType::Bool, true, "write label and score beside boxes").aliases(&["labels"])
}

/// The parameter `min_confidence`.
pub(crate) fn confidence_param(default: f64, what: &str) -> ParamSpec {
    ParamSpec::new("min_confidence", ParamType::Float(0.05..=0.95), default, what)
        .aliases(&["min_detection_confidence"])
}

/// The parameter `smooth` of a detector, off by default; see [`smooth`].
pub(crate) fn smooth_param() -> ParamSpec {
    let strength = ParamType::Float(0.0..=1.0);
    ParamSpec::new("smooth", strength, 0.0, "how much what is found is steadied, 0 for not at all")
}

/// A detector that is as steady as options say that fit [`smooth_param`].
pub(crate) fn smooth<P: FrameProcessor>(detector: P, options: &Options) -> Result<Smooth<P>, RegistryError> {
    Ok(Smooth::new(detector, options.get_or("smooth", 0.0)?))
}

/// A detector's own overlay, until a chain takes it to draw at its end.
#[derive(Debug)]
pub(crate) struct Drawing {
    wanted: bool,
    model: &'static str,
    overlay: Option<Overlay>,
    /// Whether there was something to draw on the last frame.
    drew: bool,
}

impl Drawing {
    /// From options that fit [`params`]; `style` has their defaults and decides the rest.
    pub(crate) fn new(
        options: &Options,
        style: OverlayStyle,
        model: &'static str,
    ) -> Result<Self, RegistryError> {
        let color: Option<String> = options.get("color")?;
        let color = color.map_or(Ok(style.color), |text| OverlayStyle::color_from(&text))?;
        let width_px = options.get_or("width", style.width_px)?;
        let overlay = Overlay::new(OverlayStyle { color, width_px, ..style }).only_model(model);
        let wanted = options.get_or("draw", true)?;
        Ok(Self { wanted, model, overlay: wanted.then_some(overlay), drew: false })
    }

    /// Whether anybody draws what is found, and needs the pixels for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Whether the next frame's pixels will probably be needed for that, because those of the last one were.
    pub(crate) fn is_likely(&self) -> bool {
        self.wanted && self.drew
    }

    /// Draws what was found in this frame, unless the overlay was taken.
    pub(crate) fn draw(
        &mut self,
        frame: &mut Frame,
        cx: &mut ProcessContext<'_>,
    ) -> Result<(), ProcessError> {
        self.drew = frame.annotations.iter().any(|annotation| *annotation.model == *self.model);
        self.overlay.as_mut().map_or(Ok(()), |overlay| overlay.process(frame, cx).map(|_| ()))
    }

    pub(crate) fn take(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.overlay.take().map(|overlay| Box::new(overlay) as Box<dyn FrameProcessor>)
    }
}
