//! Semantic segmentation by a model of the user's own: which pixels belong to which class.

mod winners;

use std::path::Path;
use std::sync::Arc;

use ooblex_core::{
    Annotation, AnnotationKind, BoxError, Frame, FrameProcessor, KindSpec, Mask, Options, ProcessContext,
    ProcessError, Registry, Verdict,
};

use self::winners::Winners;
use super::background::{Masks, smooth, smooth_param};
use super::manifest::{Class, Manifest, ManifestError, SegmentationSpec};
use super::segmentation::{Tint, draw_param, opacity, opacity_param};
use crate::manager::{ModelError, ModelHandle, Models};
use crate::preprocess::{Preprocess, analysis_image};
use crate::smooth::Smooth;

/// Most classes that are reported of one frame: those that cover most of it.
const MOST_FOUND: usize = 16;
/// Classes that cover a smaller share of the picture are not reported.
const LEAST: f32 = 0.001;

/// Annotates each class that a model finds with a mask, the largest first, and draws those that have a colour unless
/// someone else does. Classes without a colour are neither reported nor drawn.
pub struct Semantic {
    handle: ModelHandle,
    preprocess: Preprocess,
    winners: Winners,
    /// Names, and whether they are reported.
    classes: Vec<(Arc<str>, bool)>,
    /// Pixels of each class.
    areas: Vec<u32>,
    values: Vec<u8>,
    masks: Masks,
    tint: Option<Tint>,
    /// Whether masks are drawn, here or by whoever took the drawing.
    draws: bool,
}

impl Semantic {
    /// `name` is the model's in `models`; `smooth` from 0 to 1 is how reluctantly a pixel changes its class. Draws
    /// nothing yet.
    ///
    /// # Errors
    /// [`ModelError::Unknown`].
    pub fn new(
        models: &Models,
        name: &str,
        spec: &SegmentationSpec,
        smooth: f32,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            handle: models.handle(name)?,
            preprocess: Preprocess::new(spec.input),
            winners: Winners::new(spec.edges, spec.classes.len(), smooth),
            classes: spec.classes.iter().map(|c| (c.name.as_str().into(), c.color.is_some())).collect(),
            areas: Vec::new(),
            values: Vec::new(),
            masks: Masks::default(),
            tint: None,
            draws: false,
        })
    }

    /// Draws the masks in these colours with an `opacity` from 0 to 1.
    pub fn drawn(mut self, classes: &[Class], opacity: f32) -> Self {
        let colors = classes.iter().filter_map(|class| Some((class.name.as_str().into(), class.color?)));
        self.tint = Some(Tint::new([self.handle.name()], colors, opacity));
        self.draws = true;
        self
    }

    fn annotate(&mut self, frame: &mut Frame, generation: u64) {
        let Some(logits) = self.handle.outputs().first() else { return };
        let (winners, count) = (&self.winners, self.classes.len());
        // One more for pixels of no class.
        self.areas.clear();
        self.areas.resize(count + 1, 0);
        winners.classes.iter().for_each(|class| self.areas[usize::from(*class)] += 1);
        let pixels = winners.classes.len();
        let least = (LEAST * pixels as f32).max(1.0) as u32;
        let wanted = |class: &usize| self.areas[*class] >= least && self.classes[*class].1;
        let mut found: Vec<usize> = (0..count).filter(wanted).collect();
        found.sort_by_key(|class| std::cmp::Reverse(self.areas[*class]));
        for class in found.into_iter().take(MOST_FOUND) {
            winners.mask(class as u16, logits, &mut self.values);
            let inside = winners.classes.iter().zip(&self.values).filter(|(c, _)| usize::from(**c) == class);
            let sum: u64 = inside.map(|(_, v)| u64::from(*v)).sum();
            let score = sum as f32 / self.areas[class] as f32 / 255.0;
            let (width, height) = (winners.width as u32, winners.height as u32);
            let mask = Mask { width, height, values: self.masks.share(&self.values) };
            let label = self.classes[class].0.clone();
            let mut annotation = Annotation::new(AnnotationKind::Mask, label, score, self.handle.name());
            annotation.generation = generation;
            frame.annotations.push(annotation.with_mask(mask));
        }
    }
}

impl FrameProcessor for Semantic {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = analysis_image(&mut frame.image, self.preprocess.spec(), self.draws)?;
        self.preprocess.fill(&image, self.handle.input(0)?)?;
        // Drawing would copy pixels that somebody shares.
        drop(image);
        let outputs = self.handle.run(cx.deadline)?;
        let seen = outputs.first().ok_or("it has no output".to_owned());
        let seen = seen.and_then(|output| self.winners.decide(output));
        seen.map_err(|reason| format!("model {}: {reason}", self.handle.name()))?;
        self.annotate(frame, cx.generation);
        match &mut self.tint {
            Some(tint) => tint.process(frame, cx),
            None => Ok(Verdict::Emit),
        }
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        self.handle.load()?;
        Ok(())
    }

    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.tint.take().map(|tint| Box::new(tint) as _)
    }
}

/// Adds the model that a manifest describes to `models`, and a kind of its name to `registry`, which annotates and
/// draws what it finds. For the operator: never call it with a path that a stranger chose.
///
/// # Errors
/// [`ManifestError`] with the field that is wrong and what to write instead.
pub fn register_segmentation(
    registry: &mut Registry,
    models: &Models,
    manifest: &Path,
) -> Result<(), ManifestError> {
    let (card, spec) = Manifest::load(manifest)?;
    let name = card.name.to_string();
    if registry.resolve(&name).is_ok() || models.card(&name).is_ok() {
        return Err(ManifestError::Taken(name));
    }
    let kind = KindSpec::new(&name, &card.task)
        .param(opacity_param())
        .param(draw_param())
        .param(smooth_param())
        .needs_model(&name);
    models.add(card);
    let models = models.clone();
    registry.add(kind, move |options: &Options| -> Result<_, BoxError> {
        let smooth = smooth(options)?;
        let semantic = Semantic::new(&models, &name, &spec, smooth)?;
        let semantic = match opacity(options)? {
            Some(opacity) => semantic.drawn(&spec.classes, opacity),
            None => semantic,
        };
        Ok(Smooth::new(semantic, smooth))
    });
    Ok(())
}
