//! Left and right exchanged.

use std::sync::Arc;

use ooblex_core::{
    Annotation, Frame, FrameProcessor, KindSpec, Options, ProcessContext, ProcessError, RegistryError,
    Verdict,
};

use super::{Effect, make_planar};
use crate::simd::{Kernel, Lanes, Simd};

/// Exchanges left and right, in every plane and in the annotations that came with the frame.
#[derive(Debug, Default)]
pub struct Mirror {
    simd: Simd,
}

impl FrameProcessor for Mirror {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = make_planar(&mut frame.image)?;
        for index in 0..image.format().plane_count() {
            let mut plane = image.plane_mut(index)?;
            plane.rows_mut().for_each(|row| self.simd.run(Reverse(row)));
        }
        frame.annotations.iter_mut().for_each(mirror_annotation);
        Ok(Verdict::Emit)
    }
}

struct Reverse<'a>(&'a mut [u8]);

impl Kernel for Reverse<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        self.0.reverse();
    }
}

fn mirror_annotation(annotation: &mut Annotation) {
    if let Some([left, _, width, _]) = &mut annotation.bounds {
        *left = 1.0 - *left - *width;
    }
    for [x, _] in &mut annotation.points {
        *x = 1.0 - *x;
    }
    if let Some(mask) = &mut annotation.mask {
        let mut values = mask.values.to_vec();
        values.chunks_mut((mask.width as usize).max(1)).for_each(<[u8]>::reverse);
        mask.values = Arc::from(values);
    }
}

impl Effect for Mirror {
    fn spec() -> KindSpec {
        KindSpec::new("mirror", "Left and right exchanged").aliases(&["MirrorOn"])
    }

    fn from_options(_: &Options) -> Result<Self, RegistryError> {
        Ok(Self::default())
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::{frame_of, process_one, random_image};
    use ooblex_core::{AnnotationKind, ColorSpace, Mask, PixelFormat};

    use super::*;

    #[test]
    fn annotations_follow_the_picture() {
        let mut frame = frame_of(random_image(PixelFormat::I420, 8, 8, ColorSpace::JPEG, 0, 1));
        let values: Arc<[u8]> = vec![1, 2, 3, 4, 5, 6].into();
        frame.annotations.push(
            Annotation::new(AnnotationKind::Box, "face", 0.9, "test")
                .with_bounds([0.1, 0.2, 0.3, 0.4])
                .with_points(vec![[0.25, 0.5], [1.0, 0.0]])
                .with_mask(Mask { width: 3, height: 2, values }),
        );
        process_one(&mut Mirror::default(), &mut frame).expect("mirrors");
        let found = &frame.annotations[0];
        let bounds = found.bounds.expect("bounds");
        assert!(bounds.iter().zip([0.6, 0.2, 0.3, 0.4]).all(|(a, b)| (a - b).abs() < 1e-6), "{bounds:?}");
        assert_eq!(found.points, [[0.75, 0.5], [0.0, 0.0]]);
        assert_eq!(found.mask.as_ref().expect("mask").values[..], [3, 2, 1, 6, 5, 4]);
    }

    #[test]
    fn mirroring_twice_gives_the_original() {
        for format in [PixelFormat::I420, PixelFormat::Gray8] {
            let image = random_image(format, 31, 17, ColorSpace::BT709, 5, 3);
            let mut frame = frame_of(image.clone());
            let mut mirror = Mirror::default();
            process_one(&mut mirror, &mut frame).expect("mirrors");
            assert_ne!(
                frame.image.pixels().expect("pixels").to_packed().expect("host"),
                image.to_packed().expect("host")
            );
            process_one(&mut mirror, &mut frame).expect("mirrors");
            assert_eq!(
                frame.image.pixels().expect("pixels").to_packed().expect("host"),
                image.to_packed().expect("host")
            );
        }
    }
}
