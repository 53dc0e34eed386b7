//! From a model's outputs to findings: pure functions.
