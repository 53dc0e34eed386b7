//! Ooblex core.
