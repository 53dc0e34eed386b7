//! How detectors draw what they find.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, ProcessContext, ProcessError,
    RegistryError,
};

use crate::overlay::{Overlay, OverlayStyle};

/// Parameters of a detector that draws with lines.
pub(crate) fn params(spec: KindSpec, color: &str, width_px: u8) -> KindSpec {
    spec.param(ParamSpec::new("draw", ParamType::Bool, true, "draw what is found"))
        .param(ParamSpec::new("color", ParamType::Text(16), color, "colour: a name or #rrggbb"))
        .param(ParamSpec::new("width", ParamType::Int(1..=32), width_px, "thickness of lines").unit("px"))
}

/// A detector's own overlay, until a chain takes it to draw at its end.
#[derive(Debug)]
pub(crate) struct Drawing {
    wanted: bool,
    overlay: Option<Overlay>,
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
        Ok(Self { wanted, overlay: wanted.then_some(overlay) })
    }

    /// Whether anybody draws what is found, and needs the pixels for it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(crate) fn draw(
        &mut self,
        frame: &mut Frame,
        cx: &mut ProcessContext<'_>,
    ) -> Result<(), ProcessError> {
        self.overlay.as_mut().map_or(Ok(()), |overlay| overlay.process(frame, cx).map(|_| ()))
    }

    pub(crate) fn take(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.overlay.take().map(|overlay| Box::new(overlay) as Box<dyn FrameProcessor>)
    }
}
