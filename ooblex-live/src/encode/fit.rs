//! Pictures as video encoders take them: I420 of even sides, limited range, no larger than asked for.

use ooblex_core::{BufferPool, ColorRange, ColorSpace, Image, ImageError, PixelFormat, convert};

/// The least that every encoder takes on either side.
const LEAST: u32 = 16;

/// The size at which a picture is encoded: no higher than `max_height`, of the same shape, with even sides of at
/// least 16.
///
/// ```
/// use ooblex_live::encode::fitted_size;
///
/// assert_eq!(fitted_size(1280, 720, 480), (854, 480));
/// assert_eq!(fitted_size(640, 360, 720), (640, 360));
/// assert_eq!(fitted_size(5, 3, 720), (16, 16));
/// ```
pub fn fitted_size(width: u32, height: u32, max_height: u32) -> (u32, u32) {
    // The shorter side counts, so that a phone held upright gets as many pixels.
    let (shorter, limit) = (width.min(height), max_height.max(LEAST));
    if shorter <= limit {
        return ((width & !1).max(LEAST), (height & !1).max(LEAST));
    }
    let (shorter, limit) = (u64::from(shorter), u64::from(limit));
    // Invariant: smaller than `side`.
    let scaled = |side: u32| ((u64::from(side) * limit + shorter) / (2 * shorter) * 2) as u32;
    (scaled(width), scaled(height))
}

/// Y, U and V without padding between rows.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) color: ColorSpace,
    pub(super) y: &'a [u8],
    pub(super) u: &'a [u8],
    pub(super) v: &'a [u8],
}

/// Fits pictures; keeps its memory.
pub(super) struct Fit {
    pool: BufferPool,
    data: Vec<u8>,
}

impl Default for Fit {
    fn default() -> Self {
        Self { pool: BufferPool::new(2), data: Vec::new() }
    }
}

impl Fit {
    /// Fits `image`; `bt601` for codecs that know no other matrix.
    ///
    /// # Errors
    /// [`ImageError`] for device memory.
    pub(super) fn run(
        &mut self,
        image: &Image,
        max_height: u32,
        bt601: bool,
    ) -> Result<Planes<'_>, ImageError> {
        let (width, height) = fitted_size(image.width(), image.height(), max_height);
        let smaller = width < image.width() & !1 || height < image.height() & !1;
        let matrix = if bt601 { ColorSpace::BT601.matrix } else { image.color().matrix };
        let color = ColorSpace { matrix, range: ColorRange::Limited };
        let image = if image.format() != PixelFormat::I420 || image.color().matrix != matrix {
            &convert::convert(image, PixelFormat::I420, ColorSpace { matrix, ..image.color() }, &self.pool)?
        } else {
            image
        };
        let image = if smaller { &convert::resize(image, width, height, &self.pool)? } else { image };
        let squeeze = image.color().range == ColorRange::Full;
        let (w, h) = (width as usize, height as usize);
        self.data.resize(w * h * 3 / 2, 0);
        let (y, rest) = self.data.split_at_mut(w * h);
        let (u, v) = rest.split_at_mut(w * h / 4);
        for (index, to) in [&mut *y, &mut *u, &mut *v].into_iter().enumerate() {
            let plane = image.plane(index)?;
            let stride = if index == 0 { w } else { w / 2 };
            let copy: fn(&[u8], &mut [u8]) = match (squeeze, index) {
                (false, _) => |from, to| to.copy_from_slice(from),
                (true, 0) => squeeze_luma,
                (true, _) => squeeze_chroma,
            };
            for (row, to) in to.chunks_exact_mut(stride).enumerate() {
                let from = plane.row(row.min(plane.row_count() - 1));
                let common = from.len().min(stride);
                copy(&from[..common], &mut to[..common]);
                // Tiny pictures: their border goes on.
                let last = to[common - 1];
                to[common..].fill(last);
            }
        }
        Ok(Planes { width, height, color, y, u, v })
    }
}

/// 0 to 255 becomes 16 to 235, rounded.
fn squeeze_luma(from: &[u8], to: &mut [u8]) {
    from.iter().zip(to).for_each(|(v, to)| *to = 16 + by_255(u16::from(*v) * 219));
}

/// 0 to 255 around 128 becomes 16 to 240, rounded.
fn squeeze_chroma(from: &[u8], to: &mut [u8]) {
    const MIDDLE: u16 = 128 * (255 - 224);
    from.iter().zip(to).for_each(|(v, to)| *to = by_255(u16::from(*v) * 224 + MIDDLE));
}

/// `v` / 255, rounded, of values up to 65,279: in 16 bits, so that compilers make SIMD code of it.
#[inline(always)]
fn by_255(v: u16) -> u8 {
    let v = v + 128;
    ((v + (v >> 8)) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use ooblex_core::convert::{chroma_table, luma_table};
    use ooblex_core::testing::random_image;

    use super::*;

    #[test]
    fn ranges_are_squeezed_as_the_tables_say() {
        let all: Vec<u8> = (0..=255).collect();
        let mut squeezed = [0; 256];
        squeeze_luma(&all, &mut squeezed);
        assert_eq!(squeezed, luma_table(ColorRange::Full, ColorRange::Limited));
        squeeze_chroma(&all, &mut squeezed);
        assert_eq!(squeezed, chroma_table(ColorRange::Full, ColorRange::Limited));
    }

    #[test]
    fn sizes_are_even_and_keep_the_shape() {
        for (from, limit, to) in [
            ((1280, 720), 720, (1280, 720)),
            ((1281, 721), 720, (1280, 720)),
            ((720, 1280), 480, (480, 854)),
            ((1280, 720), 240, (426, 240)),
            ((1, 1), 720, (16, 16)),
            ((3840, 10), 240, (3840, 16)),
        ] {
            assert_eq!(fitted_size(from.0, from.1, limit), to, "{from:?} at {limit}");
        }
    }

    #[test]
    fn every_format_and_size_fits() {
        let mut fit = Fit::default();
        for format in PixelFormat::ALL {
            for (width, height, limit) in [(1, 1, 720), (33, 47, 720), (64, 48, 16), (101, 67, 32)] {
                for color in [ColorSpace::JPEG, ColorSpace::BT709] {
                    let image = random_image(format, width, height, color, 3, 1);
                    let planes = fit.run(&image, limit, true).expect("fits");
                    assert_eq!((planes.width, planes.height), fitted_size(width, height, limit));
                    let (w, h) = (planes.width as usize, planes.height as usize);
                    assert_eq!(
                        (planes.y.len(), planes.u.len(), planes.v.len()),
                        (w * h, w * h / 4, w * h / 4)
                    );
                    assert_eq!(planes.color, ColorSpace::BT601);
                }
            }
        }
    }

    #[test]
    fn an_unscaled_picture_is_the_same_picture() {
        let image = random_image(PixelFormat::I420, 64, 48, ColorSpace::BT709, 5, 2);
        let mut fit = Fit::default();
        let planes = fit.run(&image, 720, false).expect("fits");
        assert_eq!(planes.color, ColorSpace::BT709);
        let packed = image.to_packed().expect("host");
        assert!([planes.y, planes.u, planes.v].concat() == packed);
    }
}
