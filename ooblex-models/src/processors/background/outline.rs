//! The person's outline without the background's colours.

use ooblex_core::{Image, ImageError};

use super::layer::Layer;
use crate::kernels::blend::{Blend, Grown};
use crate::kernels::gaussian::Weights;
use crate::kernels::grid::{FULL, Grid};
use crate::kernels::grow::Grow;
use crate::kernels::surround::Surround;

/// How far the person's colours are spread, as a standard deviation in samples of the reduced picture: an outline is
/// two to four of them wide.
const SPREAD: f64 = 2.0;

/// Replaces the colours of the person's outline by those of the person beside it. Pixels there show some of the
/// background, which would be seen as a rim in front of another one. Keeps its memory.
#[derive(Debug)]
pub(in crate::processors) struct Outline {
    /// How much of the picture stays: everything where it is the person alone, nothing from the middle of the outline on.
    core: Grid,
    /// The rest.
    hidden: Grid,
    surround: Surround,
    kernel: Weights,
    grow: [Grow; 2],
    blend: Blend,
}

impl Default for Outline {
    fn default() -> Self {
        Self {
            core: Grid::default(),
            hidden: Grid::default(),
            surround: Surround::default(),
            kernel: Weights::with_sigma(SPREAD),
            grow: Default::default(),
            blend: Blend::default(),
        }
    }
}

impl Outline {
    /// Cleans the outline that `layer` keeps of `image`, which is I420 or Gray8. What it does not keep at all is
    /// unspecified afterwards, but of the person's colours.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub(in crate::processors) fn clean(
        &mut self,
        layer: &Layer,
        image: &mut Image,
    ) -> Result<(), ImageError> {
        let (width, height) = (layer.keep.width(), layer.keep.height());
        self.core.resize(width, height);
        self.hidden.resize(width, height);
        let grids = self.core.samples_mut().iter_mut().zip(self.hidden.samples_mut());
        for (&keep, (core, hidden)) in layer.keep.samples().iter().zip(grids) {
            // Padding is unspecified.
            *core = (2 * keep.min(FULL)).saturating_sub(FULL);
            *hidden = FULL - *core;
        }
        let inside = self.surround.run(layer.simd, image, &self.hidden, layer.levels, &self.kernel)?;
        let mut behind = Grown::new(inside, layer.levels, &mut self.grow);
        self.blend.run(layer.simd, image, &self.core, layer.levels, &mut behind)
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::{BufferPool, Mask};

    use super::*;

    /// A grey person, 100, on a white wall, with an outline that shows both.
    fn scene() -> (Image, Mask) {
        let mut image = Image::black(640, 360, &BufferPool::default()).expect("a picture");
        let mut values = vec![0u8; 256 * 144];
        let inside =
            |x: f32, y: f32| ((0.25 - (x - 0.5).hypot((y - 0.5) / 16.0 * 9.0)) / 0.01).clamp(-0.5, 0.5) + 0.5;
        for (y, row) in image.plane_mut(0).expect("host").rows_mut().enumerate() {
            for (x, v) in row.iter_mut().enumerate() {
                *v = (250.0 - 150.0 * inside((x as f32 + 0.5) / 640.0, (y as f32 + 0.5) / 360.0)) as u8;
            }
        }
        for (i, v) in values.iter_mut().enumerate() {
            *v = (255.0 * inside(((i % 256) as f32 + 0.5) / 256.0, ((i / 256) as f32 + 0.5) / 144.0)) as u8;
        }
        (image, Mask { width: 256, height: 144, values: values.into() })
    }

    #[test]
    fn nothing_of_the_wall_is_left_in_the_outline() {
        let (mut image, mask) = scene();
        let original = image.clone();
        let mut layer = Layer::default();
        layer.keep_inside(&mask, 640, 360).expect("a whole mask");
        Outline::default().clean(&layer, &mut image).expect("cleans");
        let (before, after) = (original.plane(0).expect("host"), image.plane(0).expect("host"));
        let mut cleaned = 0;
        for y in 0..360 {
            for x in 0..640 {
                let (was, is, keep) = (before.row(y)[x], after.row(y)[x], layer.keep.row(y / 2)[x / 2]);
                match keep {
                    FULL if was == 100 => assert_eq!(is, 100, "at {x},{y}"),
                    // Half and more of the person, and yet the wall is seen.
                    keep if keep > FULL / 8 => {
                        cleaned += usize::from(was > 160);
                        assert!(is < 130, "at {x},{y}: {was} to {is}");
                    }
                    _ => {}
                }
            }
        }
        assert!(cleaned > 1000, "{cleaned}");
    }
}
