//! How annotations are drawn.

use ooblex_core::RegistryError;

/// Names that a colour may be given by, beside `#rrggbb`.
const NAMES: [(&str, [u8; 3]); 12] = [
    ("black", [0, 0, 0]),
    ("white", [255, 255, 255]),
    ("grey", [128, 128, 128]),
    ("red", [255, 0, 0]),
    ("orange", [255, 128, 0]),
    ("yellow", [255, 255, 0]),
    ("green", [0, 255, 0]),
    ("cyan", [0, 255, 255]),
    ("blue", [0, 0, 255]),
    ("purple", [128, 0, 255]),
    ("magenta", [255, 0, 255]),
    ("pink", [255, 128, 192]),
];

/// How annotations are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OverlayStyle {
    /// Red, green, blue.
    pub color: [u8; 3],
    /// Thickness of lines in pixels, at least 1, in pictures whose shorter side is less than 1440 pixels; twice as much
    /// from there on, three times from 2160.
    pub width_px: u8,
    /// Whether label and score are written beside boxes.
    pub labels: bool,
    /// Whether points are drawn, as discs.
    pub points: bool,
    /// Lines between points, by their numbers: the joints of a skeleton, the edges of a mesh.
    pub edges: &'static [(u16, u16)],
}

impl OverlayStyle {
    /// Reads a colour: `#rrggbb`, or one of a few names. Case does not matter.
    ///
    /// # Errors
    /// [`RegistryError::OutOfRange`] with what is allowed.
    pub fn color_from(text: &str) -> Result<[u8; 3], RegistryError> {
        let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, color)| *color);
        named.or_else(|| hexadecimal(text)).ok_or_else(|| RegistryError::OutOfRange {
            option: "color".into(),
            value: text.into(),
            allowed: format!("#rrggbb, {}", NAMES.map(|(name, _)| name).join(", ")),
        })
    }
}

impl Default for OverlayStyle {
    /// Green, lines of 2 pixels, with labels and points, without lines between points.
    fn default() -> Self {
        Self { color: [0, 255, 0], width_px: 2, labels: true, points: true, edges: &[] }
    }
}

fn hexadecimal(text: &str) -> Option<[u8; 3]> {
    let digits =
        text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let [_, r, g, b] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some([r, g, b])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_read_by_name_and_by_number() {
        for (text, color) in [("#0a0Bff", [10, 11, 255]), ("Green", [0, 255, 0]), ("#000000", [0; 3])] {
            assert_eq!(OverlayStyle::color_from(text).expect(text), color);
        }
        for text in ["", "#", "#12345", "#1234567", "123456", "#12345g", "#+12345", "#12345é", "gren"] {
            let error = OverlayStyle::color_from(text).expect_err(text).to_string();
            assert!(
                error.starts_with(&format!("option \"color\" is {text:?}; allowed: #rrggbb, black, ")),
                "{error}"
            );
        }
    }
}
