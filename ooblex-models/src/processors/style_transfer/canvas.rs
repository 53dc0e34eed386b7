//! What the model paints, steadied, and laid over a whole picture in YUV.

use ooblex_core::{BufferPool, ColorSpace, Image, ImageError, PixelFormat};

use crate::color::Levels;
use crate::kernels::resize::Resize;

/// A small painted picture; keeps its memory.
#[derive(Debug, Default)]
pub(super) struct Canvas {
    width: usize,
    height: usize,
    /// Red, green and blue from 0 to 1, plane after plane.
    rgb: Vec<f32>,
    /// Y, U and V.
    planes: [Vec<u8>; 3],
    resize: [Resize; 2],
}

impl Canvas {
    /// Forgets what was painted.
    pub(super) fn clear(&mut self) {
        self.rgb.clear();
    }

    /// Takes a new painting, planes of red, green and blue, of which `rest` is the old one, if that has the same size.
    /// What is not a number counts as black.
    pub(super) fn paint(&mut self, painted: &[f32], width: usize, height: usize, rest: f32) {
        let clean = |v: f32| if v.is_nan() { 0.0 } else { v.clamp(0.0, 1.0) };
        if (self.width, self.height, self.rgb.len()) == (width, height, painted.len()) && rest > 0.0 {
            for (old, new) in self.rgb.iter_mut().zip(painted) {
                *old = *old * rest + clean(*new) * (1.0 - rest);
            }
        } else {
            (self.width, self.height) = (width, height);
            self.rgb.clear();
            self.rgb.extend(painted.iter().map(|v| clean(*v)));
        }
    }

    /// The painting as an I420 picture of this size; its own sides are even.
    ///
    /// # Errors
    /// [`ImageError`].
    pub(super) fn picture(
        &mut self,
        (width, height): (u32, u32),
        color: ColorSpace,
        pool: &BufferPool,
    ) -> Result<Image, ImageError> {
        self.mix_yuv(&Levels::of(color));
        let mut image = Image::alloc(PixelFormat::I420, width, height, color, pool)?;
        for (index, source) in self.planes.iter().enumerate() {
            let shift = usize::from(index > 0);
            let (w, h) = (self.width >> shift, self.height >> shift);
            let mut target = image.plane_mut(index)?;
            let (columns, rows) = (target.row_bytes(), target.row_count());
            let over = |side: u32| side as f32 / (1 << shift) as f32;
            let resize = &mut self.resize[shift];
            resize.prepare((w, columns, over(width)), (h, rows, over(height)));
            for y in 0..rows {
                resize.bytes(y, |y| &source[y * w..][..w], target.row_mut(y));
            }
        }
        Ok(image)
    }

    fn mix_yuv(&mut self, levels: &Levels) {
        let (width, pixels) = (self.width, self.width * self.height);
        let (red, rest) = self.rgb.split_at(pixels);
        let (green, blue) = rest.split_at(pixels);
        let white = f32::from(levels.white);
        let [kr, kg, kb] = levels.weights.map(|weight| weight * white);
        let [luma, us, vs] = &mut self.planes;
        let black = f32::from(levels.black) + 0.5;
        luma.clear();
        let rgb = red.iter().zip(green).zip(blue);
        luma.extend(rgb.map(|((r, g), b)| (kr * r + kg * g + kb * b + black) as u8));
        us.clear();
        vs.clear();
        // Sums of four pixels.
        let (to_u, to_v, quarter) =
            (white / levels.bu / 4.0, white / levels.rv / 4.0, [kr, kg, kb].map(|k| k / white));
        for y in (0..self.height).step_by(2) {
            let pair = |plane: &[f32], x: usize| {
                let at = y * width + x;
                plane[at] + plane[at + 1] + plane[at + width] + plane[at + width + 1]
            };
            for x in (0..width).step_by(2) {
                let (r, g, b) = (pair(red, x), pair(green, x), pair(blue, x));
                let y = quarter[0] * r + quarter[1] * g + quarter[2] * b;
                us.push(((b - y) * to_u + 128.5) as u8);
                vs.push(((r - y) * to_v + 128.5) as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::convert;
    use ooblex_core::testing::Random;

    use super::*;

    #[test]
    fn a_painting_becomes_the_picture_that_it_is() {
        let mut random = Random::new(3);
        let (width, height) = (16usize, 12usize);
        // Blocks of 2x2, which halved chroma can show.
        let blocks: Vec<[u8; 3]> =
            (0..width * height / 4).map(|_| [0; 3].map(|_: u8| random.below(256) as u8)).collect();
        let at = |x: usize, y: usize| blocks[y / 2 * (width / 2) + x / 2];
        let pixels: Vec<[u8; 3]> = (0..width * height).map(|i| at(i % width, i / width)).collect();
        let plane = |c: usize| pixels.iter().map(move |p| f32::from(p[c]) / 255.0);
        let painted: Vec<f32> = plane(0).chain(plane(1)).chain(plane(2)).collect();
        let pool = BufferPool::default();
        let rgb =
            Image::from_vec(PixelFormat::Rgb, 16, 12, ColorSpace::JPEG, pixels.concat()).expect("a picture");
        for color in [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709] {
            let mut canvas = Canvas::default();
            canvas.paint(&painted, width, height, 0.3);
            let got = canvas.picture((16, 12), color, &pool).expect("a picture");
            let wanted = convert::convert(&rgb, PixelFormat::I420, color, &pool).expect("converts");
            let (got, wanted) = (got.to_packed().expect("host"), wanted.to_packed().expect("host"));
            assert!(got.iter().zip(&wanted).all(|(a, b)| a.abs_diff(*b) <= 1), "{color:?}");
        }
    }

    #[test]
    fn the_old_painting_shines_through_until_it_is_cleared() {
        let pool = BufferPool::default();
        let mut canvas = Canvas::default();
        let luma = |canvas: &mut Canvas, value: f32, side: usize| {
            canvas.paint(&vec![value; side * side * 3], side, side, 0.25);
            canvas.picture((9, 7), ColorSpace::JPEG, &pool).expect("a picture").plane(0).expect("host").row(3)
                [4]
        };
        assert_eq!(luma(&mut canvas, 1.0, 8), 255);
        assert_eq!(luma(&mut canvas, 0.0, 8), 64);
        assert_eq!(luma(&mut canvas, 0.0, 8), 16);
        assert_eq!(luma(&mut canvas, 1.0, 16), 255, "another size begins anew");
        canvas.clear();
        assert_eq!(luma(&mut canvas, f32::NAN, 16), 0);
    }
}
