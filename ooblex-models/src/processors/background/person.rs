//! Where the person is: a steady, soft mask.

use std::sync::Arc;
use std::time::Instant;

use ooblex_core::{Annotation, AnnotationKind, BoxError, Frame, Image, Mask, ProcessContext, ProcessError};

use super::masks::Masks;
use crate::manager::{ModelError, ModelHandle, Models, SELFIE_GENERAL, SELFIE_LANDSCAPE};
use crate::preprocess::{InputSpec, Preprocess, analysis_image};
use crate::smooth::{MaskSmoother, PAUSE};

/// The label of the mask.
pub(in crate::processors) const LABEL: &str = "person";

/// Pictures at least this much wider than high go to the model for wide ones.
const WIDE: f32 = 1.25;
/// Confidence of a pixel from which it counts as the person, of 255.
const INSIDE: u8 = 128;

/// Finds the person in pictures. Wide ones are stretched to 256x144, others to 256x256, each for a model of its own.
pub(in crate::processors) struct Person {
    wide: Eye,
    square: Eye,
    smoother: MaskSmoother,
    /// From the model's confidence to the mask's.
    edge: [u8; 256],
    values: Vec<u8>,
    masks: Masks,
    last: Option<Instant>,
}

/// A model with what it wants to see.
struct Eye {
    handle: ModelHandle,
    preprocess: Preprocess,
}

impl Eye {
    fn new(models: &Models, model: &str, width: usize, height: usize) -> Result<Self, ModelError> {
        let preprocess = Preprocess::new(InputSpec::rgb01(width, height));
        Ok(Self { handle: models.handle(model)?, preprocess })
    }

    /// Confidences of the pixels, row after row.
    fn see(&mut self, image: &Image, deadline: Option<Instant>) -> Result<&[f32], BoxError> {
        self.preprocess.fill(image, self.handle.input(0)?)?;
        let spec = self.preprocess.spec();
        let pixels = spec.width * spec.height;
        let name = self.handle.name();
        let seen = self.handle.run(deadline)?.first().map_or(&[][..], |output| output.f32());
        if seen.len() == pixels {
            Ok(seen)
        } else {
            Err(format!("{name} gives {} numbers, not one for each of {pixels} pixels", seen.len()).into())
        }
    }
}

impl Person {
    /// `smooth` from 0 to 1: how much the mask is steadied. `edge` from 0, hard, to 1: over which share of the model's
    /// confidence, around one half, the mask goes from nothing to everything.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub(in crate::processors) fn new(models: &Models, smooth: f32, edge: f32) -> Result<Self, ModelError> {
        Ok(Self {
            wide: Eye::new(models, SELFIE_LANDSCAPE, 256, 144)?,
            square: Eye::new(models, SELFIE_GENERAL, 256, 256)?,
            smoother: MaskSmoother::new(smooth),
            edge: edge_table(edge),
            values: Vec::new(),
            masks: Masks::default(),
            last: None,
        })
    }

    /// Loads the model for wide pictures, which video nearly always is; the other one is loaded when it is needed.
    ///
    /// # Errors
    /// [`ModelError`].
    pub(in crate::processors) fn load(&mut self) -> Result<(), ModelError> {
        self.wide.handle.load().map(|_| ())
    }

    /// The mask of the person in the frame's picture. A person who is there is annotated as well. A compressed picture is
    /// decoded `whole` if the pixels are needed anyway, else at a reduced size.
    ///
    /// # Errors
    /// Whatever decoding or the model says.
    pub(in crate::processors) fn find(
        &mut self,
        frame: &mut Frame,
        cx: &ProcessContext<'_>,
        whole: bool,
    ) -> Result<Mask, ProcessError> {
        let wide = frame.image.width() as f32 >= WIDE * frame.image.height() as f32;
        let eye = if wide { &mut self.wide } else { &mut self.square };
        let image = analysis_image(&mut frame.image, eye.preprocess.spec(), whole)?;
        let seen = eye.see(&image, cx.deadline).map_err(ProcessError::Frame)?;
        self.values.clear();
        // What is not a number becomes 0: not the person.
        self.values.extend(seen.iter().map(|v| (v * 255.0 + 0.5) as u8));
        let spec = eye.preprocess.spec();
        let (width, height) = (spec.width as u32, spec.height as u32);
        if self.last.replace(cx.now).is_some_and(|last| cx.now.saturating_duration_since(last) > PAUSE) {
            self.smoother.reset();
        }
        self.smoother.update(&mut self.values, width, height);
        self.values.iter_mut().for_each(|v| *v = self.edge[usize::from(*v)]);
        let mask = Mask { width, height, values: self.masks.share(&self.values) };
        let model = eye.handle.name();
        frame.annotations.retain(|a| a.kind != AnnotationKind::Mask || a.model != model);
        frame.annotations.extend(annotation(&mask, model, cx.generation));
        Ok(mask)
    }
}

/// Smoothstep over `edge` around one half.
fn edge_table(edge: f32) -> [u8; 256] {
    let edge = edge.clamp(1.0 / 255.0, 1.0);
    std::array::from_fn(|v| {
        let t = ((v as f32 / 255.0 - 0.5) / edge + 0.5).clamp(0.0, 1.0);
        (t * t * (3.0 - 2.0 * t) * 255.0).round() as u8
    })
}

/// The mask with the box around what is inside; nothing if nobody is.
fn annotation(mask: &Mask, model: Arc<str>, generation: u64) -> Option<Annotation> {
    let width = mask.width as usize;
    let inside = |row: &[u8]| row.iter().any(|v| *v >= INSIDE);
    let mut rows = mask.values.chunks_exact(width).enumerate().filter(|(_, row)| inside(row)).map(|(y, _)| y);
    let top = rows.next()?;
    let bottom = rows.next_back().unwrap_or(top) + 1;
    let columns = mask.values.chunks_exact(width).filter_map(|row| {
        let left = row.iter().position(|v| *v >= INSIDE)?;
        Some((left, row.iter().rposition(|v| *v >= INSIDE)? + 1))
    });
    let (left, right) = columns.fold((width, 0), |(l, r), (left, right)| (l.min(left), r.max(right)));
    let share = |v: usize, of: u32| v as f32 / of as f32;
    let [x, y] = [share(left, mask.width), share(top, mask.height)];
    let bounds = [x, y, share(right, mask.width) - x, share(bottom, mask.height) - y];
    let score = f32::from(mask.values.iter().copied().max()?) / 255.0;
    let mut found = Annotation::new(AnnotationKind::Mask, LABEL, score, model);
    found.generation = generation;
    Some(found.with_bounds(bounds).with_mask(mask.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_a_smoothstep_around_one_half() {
        // 0.3 to 0.7.
        let table = edge_table(0.4);
        assert_eq!([0, 76, 127, 128, 179, 255].map(|v: usize| table[v]), [0, 0, 126, 129, 255, 255]);
        assert!(table.windows(2).all(|pair| pair[0] <= pair[1]));
        let hard = edge_table(0.0);
        assert_eq!([127, 128].map(|v: usize| hard[v]), [0, 255]);
        let soft = edge_table(1.0);
        assert_eq!([0, 64, 255].map(|v: usize| soft[v]), [0, 40, 255]);
    }

    #[test]
    fn the_box_encloses_what_is_inside() {
        let mut values = vec![0u8; 40];
        (values[13], values[16], values[24], values[39]) = (255, 200, 130, 127);
        let mask = Mask { width: 10, height: 4, values: values.into() };
        let found = annotation(&mask, "m".into(), 7).expect("somebody");
        let wanted = [0.3, 0.25, 0.4, 0.5];
        let bounds = found.bounds.expect("a box");
        assert!(bounds.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{bounds:?}");
        assert_eq!((found.score, found.generation, &*found.label), (1.0, 7, "person"));
        let nobody = Mask { width: 10, height: 4, values: [127; 40].into() };
        assert!(annotation(&nobody, "m".into(), 7).is_none());
    }
}
