//! Posterize.
