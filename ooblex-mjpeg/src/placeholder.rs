//! The picture that viewers see while a stream is away: "no signal" and the stream's name.

use ooblex_core::{BufferPool, ColorSpace, Image, ImageError, PixelFormat};

/// Size where nothing is known of the stream.
pub(crate) const DEFAULT_SIZE: (u32, u32) = (640, 480);

const BACKGROUND: u8 = 32;
const STRIPE: u8 = 44;
const TEXT: u8 = 225;
const NAME: u8 = 150;

/// Columns and rows of a letter.
const GLYPH: (usize, usize) = (5, 7);
/// Columns from one letter to the next.
const ADVANCE: usize = GLYPH.0 + 1;

/// Draws the placeholder at this size: full-range I420, grey diagonal stripes, two centred lines of text.
///
/// # Errors
/// [`ImageError::Size`].
pub fn placeholder(width: u32, height: u32, name: &str, pool: &BufferPool) -> Result<Image, ImageError> {
    let mut image = Image::alloc(PixelFormat::I420, width, height, ColorSpace::JPEG, pool)?;
    for chroma in [1, 2] {
        image.plane_mut(chroma)?.fill(128);
    }
    let mut luma = image.plane_mut(0)?;
    let period = (width.min(height) as usize / 8).max(8);
    for (y, row) in luma.rows_mut().enumerate() {
        for (x, px) in row.iter_mut().enumerate() {
            *px = if ((x + y) / period).is_multiple_of(2) { BACKGROUND } else { STRIPE };
        }
    }
    let (width, height) = (width as usize, height as usize);
    let mut write = |text: &str, centre: usize, largest: usize, value: u8| {
        let columns = text.chars().count() * ADVANCE - 1;
        let scale = (width * 4 / 5 / columns).min(largest);
        if scale == 0 {
            return;
        }
        let left = (width - columns * scale) / 2;
        let top = centre.saturating_sub(GLYPH.1 * scale / 2);
        for (n, letter) in text.chars().enumerate() {
            let glyph = glyph(letter);
            for y in (0..GLYPH.1 * scale).filter(|y| top + y < height) {
                let bits = glyph[y / scale];
                let row = luma.row_mut(top + y);
                for x in (0..GLYPH.0 * scale).filter(|x| bits >> (GLYPH.0 - 1 - x / scale) & 1 == 1) {
                    row[left + n * ADVANCE * scale + x] = value;
                }
            }
        }
    };
    write("NO SIGNAL", height * 2 / 5, height / 28, TEXT);
    let name = name.to_ascii_uppercase();
    if !name.is_empty() {
        write(&name, height * 3 / 5, (height / 60).max(1), NAME);
    }
    Ok(image)
}

/// Rows of a letter, top to bottom, five bits each. Drawn for this project.
fn glyph(letter: char) -> [u8; 7] {
    match letter {
        'A' => [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        'B' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110],
        'C' => [0b01111, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b01111],
        'D' => [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110],
        'E' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
        'F' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000],
        'G' => [0b01111, 0b10000, 0b10000, 0b10011, 0b10001, 0b10001, 0b01111],
        'H' => [0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        'I' => [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        'J' => [0b00111, 0b00010, 0b00010, 0b00010, 0b00010, 0b10010, 0b01100],
        'K' => [0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001],
        'L' => [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
        'M' => [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001],
        'N' => [0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001],
        'O' => [0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        'P' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000],
        'Q' => [0b01110, 0b10001, 0b10001, 0b10001, 0b10101, 0b10010, 0b01101],
        'R' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001],
        'S' => [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110],
        'T' => [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
        'U' => [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110],
        'V' => [0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100],
        'W' => [0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001],
        'X' => [0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001],
        'Y' => [0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100],
        'Z' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111],
        '0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        '1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        '2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        '3' => [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110],
        '4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        '5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        '6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
        '7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        '8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        '9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
        '-' => [0, 0, 0, 0b11111, 0, 0, 0],
        '_' => [0, 0, 0, 0, 0, 0, 0b11111],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bright(image: &Image) -> usize {
        let luma = image.plane(0).expect("luma");
        luma.rows().flatten().filter(|v| **v == TEXT).count()
    }

    #[test]
    fn the_text_is_there_and_centred() {
        let pool = BufferPool::default();
        let image = placeholder(640, 480, "cam-1", &pool).expect("draws");
        let luma = image.plane(0).expect("luma");
        let columns: Vec<usize> = (0..640).filter(|x| (0..480).any(|y| luma.row(y)[*x] == TEXT)).collect();
        let (left, right) = (columns[0], 639 - columns[columns.len() - 1]);
        assert!(left.abs_diff(right) <= 1 && left > 60, "{left} {right}");
        assert!(bright(&image) > 2_000);
        let other = placeholder(640, 480, "cam-2", &pool).expect("draws");
        assert_ne!(image.to_packed().expect("host"), other.to_packed().expect("host"), "the name is drawn");
    }

    #[test]
    fn every_size_and_name_can_be_drawn() {
        let pool = BufferPool::default();
        for (width, height) in [(1, 1), (2, 3), (16, 9), (65, 17), (1920, 1080), (64, 2000)] {
            for name in ["", "x", &"W_-9".repeat(16)] {
                let image = placeholder(width, height, name, &pool).expect("draws");
                assert_eq!((image.width(), image.height()), (width, height));
            }
        }
        assert!(placeholder(0, 4, "x", &pool).is_err());
    }
}
