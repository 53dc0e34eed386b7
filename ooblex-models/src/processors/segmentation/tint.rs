//! Masks as translucent colours.

use std::sync::Arc;

use ooblex_core::{Frame, FrameProcessor, PixelFormat, ProcessContext, ProcessError, Verdict};

use crate::color::Levels;
use crate::kernels::blend::Flat;
use crate::processors::background::Layer;

/// Lays the colour of its class over each mask of certain models, in YUV, one after another. Frames without such a mask
/// stay as they are: nothing is decoded.
pub(in crate::processors) struct Tint {
    models: Vec<Arc<str>>,
    colors: Vec<(Arc<str>, [u8; 3])>,
    opacity: f32,
    layer: Layer,
}

impl Tint {
    /// `colors` by label: red, green, blue. `opacity` from 0 to 1.
    pub(in crate::processors) fn new(
        models: impl IntoIterator<Item = Arc<str>>,
        colors: impl IntoIterator<Item = (Arc<str>, [u8; 3])>,
        opacity: f32,
    ) -> Self {
        let (models, colors) = (models.into_iter().collect(), colors.into_iter().collect());
        Self { models, colors, opacity: opacity.clamp(0.0, 1.0), layer: Layer::default() }
    }
}

impl FrameProcessor for Tint {
    fn process(&mut self, frame: &mut Frame, _cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        for annotation in &frame.annotations {
            let color = self.colors.iter().find(|(label, _)| *label == annotation.label);
            let (Some(mask), Some((_, rgb))) = (&annotation.mask, color) else { continue };
            if !self.models.contains(&annotation.model) {
                continue;
            }
            let image = frame.image.make(PixelFormat::I420)?;
            let (width, height) = (image.width(), image.height());
            self.layer.keep_outside(mask, self.opacity, width, height)?;
            let color = Levels::of(image.color()).yuv(*rgb);
            self.layer.blend(image, &mut Flat::new(color, color, height as usize))?;
        }
        Ok(Verdict::Emit)
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::{frame_of, process_one, random_image};
    use ooblex_core::{Annotation, AnnotationKind, ColorSpace, Mask};

    use super::*;

    fn frame(color: ColorSpace) -> Frame {
        let mut image = random_image(PixelFormat::I420, 64, 32, color, 1, 2);
        let grey = Levels::of(color).yuv([128; 3]);
        (0..3).for_each(|i| image.plane_mut(i).expect("host").fill(grey[i].round() as u8));
        let mut frame = frame_of(image);
        let mask = Mask { width: 2, height: 1, values: [0, 255].into() };
        let found = |label: &str, model: &str| {
            Annotation::new(AnnotationKind::Mask, label, 1.0, model).with_mask(mask.clone())
        };
        frame.annotations = vec![found("road", "a"), found("road", "b"), found("sky", "a")];
        frame
    }

    #[test]
    fn a_class_gets_its_colour_in_every_colour_space() {
        for color in [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709] {
            let mut tint = Tint::new(["a".into()], [("road".into(), [255, 0, 0])], 0.5);
            let mut frame = frame(color);
            process_one(&mut tint, &mut frame).expect("processes");
            let image = frame.image.pixels().expect("pixels");
            let levels = Levels::of(color);
            let (grey, red) = (levels.yuv([128; 3]), levels.yuv([255, 0, 0]));
            for plane in 0..3 {
                let row = image.plane(plane).expect("host").row(7);
                let (left, right) = (f32::from(row[0]), f32::from(row[row.len() - 1]));
                assert!((left - grey[plane]).abs() <= 1.0, "{color:?}");
                assert!((right - (grey[plane] + red[plane]) / 2.0).abs() <= 1.5, "{color:?}: {right}");
            }
        }
    }

    #[test]
    fn masks_of_other_models_and_classes_are_not_drawn() {
        let mut tint = Tint::new(["c".into()], [("road".into(), [255, 0, 0]), ("x".into(), [0; 3])], 1.0);
        let mut frame = frame(ColorSpace::JPEG);
        let before = frame.image.pixels().expect("pixels").to_packed().expect("host");
        process_one(&mut tint, &mut frame).expect("processes");
        assert_eq!(frame.image.pixels().expect("pixels").to_packed().expect("host"), before);
    }
}
