//! What the processors share that treat the person and the background differently.

mod layer;
mod masks;
mod outline;
mod person;
mod pictures;

use ooblex_core::{Options, ParamSpec, ParamType, RegistryError};

pub(super) use self::layer::Layer;
pub(super) use self::masks::Masks;
pub(super) use self::outline::Outline;
pub(super) use self::person::{LABEL, Person};
pub use self::pictures::{Backgrounds, BackgroundsError};
pub(super) use self::pictures::{NONE, covering};

/// How much the mask is steadied, if nothing else is asked for.
const SMOOTH: f32 = 0.5;
/// How soft the mask's edge is, if nothing else is asked for: a smoothstep from 0.3 to 0.7.
const EDGE: f32 = 0.4;

/// The parameter `smooth`.
pub(super) fn smooth_param() -> ParamSpec {
    ParamSpec::new(
        "smooth",
        ParamType::Float(0.0..=1.0),
        SMOOTH,
        "how much the mask is steadied, 0 for not at all",
    )
}

/// The parameter `edge`.
pub(super) fn edge_param() -> ParamSpec {
    ParamSpec::new("edge", ParamType::Float(0.0..=1.0), EDGE, "softness of the person's outline")
}

/// Its value.
pub(super) fn smooth(options: &Options) -> Result<f32, RegistryError> {
    options.get_or("smooth", SMOOTH)
}

/// Its value.
pub(super) fn edge(options: &Options) -> Result<f32, RegistryError> {
    options.get_or("edge", EDGE)
}
