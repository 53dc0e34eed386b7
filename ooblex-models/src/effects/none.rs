//! No effect.

use ooblex_core::{KindSpec, Options, PassThrough, RegistryError};

use super::Effect;

/// A compressed picture is not even decoded.
impl Effect for PassThrough {
    fn spec() -> KindSpec {
        KindSpec::new("none", "The original picture")
    }

    fn from_options(_: &Options) -> Result<Self, RegistryError> {
        Ok(Self)
    }
}
