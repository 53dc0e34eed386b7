//! Drawing on frames.

use ooblex_core::Registry;

/// Adds the overlays to `registry`.
pub(crate) fn register(_registry: &mut Registry) {}
