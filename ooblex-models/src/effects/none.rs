//! No effect.

use ooblex_core::{
    Frame, FrameProcessor, KindSpec, Options, ProcessContext, ProcessError, RegistryError, Verdict,
};

use super::Effect;

/// Leaves frames as they are: a compressed picture is not even decoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct None;

impl FrameProcessor for None {
    fn process(&mut self, _frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        Ok(Verdict::Emit)
    }
}

impl Effect for None {
    fn spec() -> KindSpec {
        KindSpec::new("none", "The original picture")
    }

    fn from_options(_: &Options) -> Result<Self, RegistryError> {
        Ok(Self)
    }
}
