//! From a model's outputs to findings: pure functions.

pub(crate) mod blazeface;
