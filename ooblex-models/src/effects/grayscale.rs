//! Black and white.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ProcessContext, ProcessError, RegistryError, Verdict,
};

use super::Effect;

/// Drops chroma. The result is the luma plane itself as a Gray8 picture in the same memory and range: no pixel
/// is read or written. A compressed picture is decoded without its colour.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grayscale;

impl FrameProcessor for Grayscale {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let luma = frame.image.luma()?;
        frame.image.set(luma);
        Ok(Verdict::Emit)
    }
}

impl Effect for Grayscale {
    fn spec() -> KindSpec {
        KindSpec::new("grayscale", "Black and white").aliases(&["GrayOn", "gray", "grey"])
    }

    fn from_options(_: &Options) -> Result<Self, RegistryError> {
        Ok(Self)
    }
}
