//! What the bytes of a picture mean: where its components lie, and what has to be done to get a model's from them.

use ooblex_core::{Image, PixelFormat};

use super::Components;
use crate::color::Levels;

/// Where one component of a picture lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Channel {
    /// The plane.
    pub(super) plane: usize,
    /// Bytes from one sample to the next.
    pub(super) step: usize,
    /// Bytes before the first sample.
    pub(super) offset: usize,
    /// Whether there is one sample for two pixels, both ways.
    pub(super) halved: bool,
}

const fn channel(plane: usize, step: usize, offset: usize, halved: bool) -> Channel {
    Channel { plane, step, offset, halved }
}

/// The components: luma and chroma, or red, green and blue; luma alone of a picture that has nothing else.
pub(super) fn channels(format: PixelFormat) -> &'static [Channel] {
    match format {
        PixelFormat::I420 => {
            const { &[channel(0, 1, 0, false), channel(1, 1, 0, true), channel(2, 1, 0, true)] }
        }
        PixelFormat::Nv12 => {
            const { &[channel(0, 1, 0, false), channel(1, 2, 0, true), channel(1, 2, 1, true)] }
        }
        PixelFormat::Rgb => {
            const { &[channel(0, 3, 0, false), channel(0, 3, 1, false), channel(0, 3, 2, false)] }
        }
        PixelFormat::Bgr => {
            const { &[channel(0, 3, 2, false), channel(0, 3, 1, false), channel(0, 3, 0, false)] }
        }
        PixelFormat::Rgba => {
            const { &[channel(0, 4, 0, false), channel(0, 4, 1, false), channel(0, 4, 2, false)] }
        }
        _ => const { &[channel(0, 1, 0, false)] },
    }
}

/// How a model's components follow from a picture's: component = m0 a + m1 b + m2 c + m3, cut off at 0 and 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Matrix {
    /// One row for each of the model's components.
    pub(super) rows: [[f32; 4]; 3],
    /// The picture's value of black.
    pub(super) black: [f32; 3],
    /// How many of the picture's components matter: one or all.
    pub(super) channels: usize,
}

impl Matrix {
    /// From this picture to these components in full range.
    pub(super) fn new(image: &Image, components: Components) -> Self {
        let (rgb, black) = rgb(image);
        let [red, green, blue] = rgb;
        // Models of luma were trained on BT.601.
        let luma = std::array::from_fn(|i| 0.299 * red[i] + 0.587 * green[i] + 0.114 * blue[i]);
        let mut rows = match components {
            Components::Rgb => [red, green, blue],
            Components::Bgr => [blue, green, red],
            Components::Luma => [luma; 3],
        };
        let all = channels(image.format()).len();
        let matters = |row: &[f32; 4]| row[1].abs().max(row[2].abs()) > 1e-4;
        let channels = if all > 1 && rows.iter().any(matters) { all } else { 1 };
        if channels == 1 {
            for row in &mut rows {
                row[3] += row[1] * black[1] + row[2] * black[2];
                (row[1], row[2]) = (0.0, 0.0);
            }
        }
        Self { rows, black, channels }
    }
}

/// Red, green and blue from the picture's components, and its black.
fn rgb(image: &Image) -> ([[f32; 4]; 3], [f32; 3]) {
    if !image.format().is_yuv() {
        return ([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], [0.0; 3]);
    }
    let levels = Levels::of(image.color());
    let full = 255.0 / f32::from(levels.white);
    let black = [f32::from(levels.black), 128.0, 128.0];
    let row = |u: f32, v: f32| {
        let factors = [full, full * u, full * v];
        let offset: f32 = factors.iter().zip(black).map(|(f, b)| -f * b).sum();
        [factors[0], factors[1], factors[2], offset]
    };
    ([row(0.0, levels.rv), row(-levels.gu, -levels.gv), row(levels.bu, 0.0)], black)
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::random_image;
    use ooblex_core::{BufferPool, ColorSpace, convert};

    use super::*;

    const SPACES: [ColorSpace; 3] = [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709];

    #[test]
    fn colours_are_those_of_the_reference_conversion() {
        for format in PixelFormat::ALL {
            for color in SPACES {
                let image = random_image(format, 2, 2, color, 0, 5);
                let rgb =
                    convert::convert(&image, PixelFormat::Rgb, ColorSpace::JPEG, &BufferPool::default());
                let rgb = rgb.expect("converts");
                let matrix = Matrix::new(&image, Components::Rgb);
                let values = [0, 1, 2].map(|i| match channels(format).get(i) {
                    Some(c) => f32::from(image.plane(c.plane).expect("host").row(0)[c.offset]),
                    None => 0.0,
                });
                for (row, &expected) in matrix.rows.iter().zip(rgb.plane(0).expect("host").row(0)) {
                    let value: f32 = row[3] + row.iter().zip(values).map(|(f, v)| f * v).sum::<f32>();
                    let off = (value.clamp(0.0, 255.0) - f32::from(expected)).abs();
                    assert!(off < 1.0, "{format:?} {color:?}: {value} for {expected}");
                }
            }
        }
    }

    #[test]
    fn luma_needs_chroma_only_where_the_matrix_differs() {
        let needed = |format, color, components| {
            Matrix::new(&random_image(format, 2, 2, color, 0, 1), components).channels
        };
        assert_eq!(needed(PixelFormat::I420, ColorSpace::JPEG, Components::Luma), 1);
        assert_eq!(needed(PixelFormat::I420, ColorSpace::BT601, Components::Luma), 1);
        assert_eq!(needed(PixelFormat::Nv12, ColorSpace::BT709, Components::Luma), 3);
        assert_eq!(needed(PixelFormat::Gray8, ColorSpace::JPEG, Components::Rgb), 1);
        assert_eq!(needed(PixelFormat::I420, ColorSpace::JPEG, Components::Rgb), 3);
    }

    #[test]
    fn black_is_black() {
        for format in PixelFormat::ALL {
            for color in SPACES {
                let matrix = Matrix::new(&random_image(format, 2, 2, color, 0, 1), Components::Rgb);
                for row in matrix.rows {
                    let black: f32 = row[3] + row.iter().zip(matrix.black).map(|(f, v)| f * v).sum::<f32>();
                    assert!(black.abs() < 1e-3, "{format:?} {color:?}: {black}");
                }
            }
        }
    }
}
