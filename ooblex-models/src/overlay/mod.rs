//! Drawing on frames.

mod canvas;
mod draw;
mod font;
mod mask;
mod style;
mod text;

pub use draw::Overlay;
use ooblex_core::Registry;
pub use style::OverlayStyle;
pub use text::{Corner, TextOverlay};

/// Dots from one character to the next.
const CELL: usize = font::WIDTH + 1;
/// Dots from one line of text to the next.
const ROW: usize = font::HEIGHT + 1;

/// Adds the overlays to `registry`.
pub(crate) fn register(registry: &mut Registry) {
    registry.add(Overlay::spec(), Overlay::from_options);
    registry.add(TextOverlay::spec(), TextOverlay::from_options);
}
