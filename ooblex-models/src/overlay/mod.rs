//! Drawing on frames.

mod font;
mod text;

use ooblex_core::Registry;
pub use text::{Corner, TextOverlay};

/// Adds the overlays to `registry`.
pub(crate) fn register(registry: &mut Registry) {
    registry.add(TextOverlay::spec(), TextOverlay::from_options);
}
