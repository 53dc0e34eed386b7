//! Things of the 80 COCO classes.

use std::sync::Arc;

use ooblex_core::{
    Annotation, AnnotationKind, BoxError, Frame, FrameProcessor, KindSpec, Options, ProcessContext,
    ProcessError, Registry, Verdict,
};

use super::drawing::{self, Drawing, confidence_param, score_param, smooth, smooth_param};
use crate::manager::{ModelHandle, Models, NANODET};
use crate::overlay::OverlayStyle;
use crate::postprocess::{coco, nanodet, outputs};
use crate::preprocess::{Components, Fit, InputSpec, Preprocess, analysis_image};

const MIN_CONFIDENCE: f64 = 0.4;
/// Most things noted of one frame, the best ones.
const MOST: usize = 100;
const INPUT: InputSpec = InputSpec {
    components: Components::Bgr,
    mean: [103.53, 116.28, 123.675],
    scale: [1.0 / 57.375, 1.0 / 57.12, 1.0 / 58.395],
    fit: Fit::Letterbox,
    ..InputSpec::rgb01(nanodet::SIDE, nanodet::SIDE)
};

/// Notes each thing as a box with the name of its class, and draws it.
struct ObjectDetection {
    handle: ModelHandle,
    input: Preprocess,
    min_confidence: f32,
    model: Arc<str>,
    labels: [Arc<str>; 80],
    drawing: Drawing,
}

/// Adds `object_detection`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let models = models.clone();
    registry.add(spec(), move |options: &Options| -> Result<_, BoxError> {
        Ok(smooth(ObjectDetection::new(&models, options)?, options)?)
    });
}

fn spec() -> KindSpec {
    let spec = KindSpec::new("object_detection", "People, animals, vehicles and things of 80 kinds, by name")
        .aliases(&["object_detect", "ObjectDetectionOn"])
        .needs_model(NANODET)
        .param(confidence_param(MIN_CONFIDENCE, "confidence from which something is noted"));
    drawing::params(spec, "green", 2).param(score_param()).param(smooth_param())
}

impl ObjectDetection {
    fn new(models: &Models, options: &Options) -> Result<Self, BoxError> {
        let style = OverlayStyle { labels: options.get_or("score", true)?, ..OverlayStyle::default() };
        Ok(Self {
            handle: models.handle(NANODET)?,
            input: Preprocess::new(INPUT),
            min_confidence: options.get_or("min_confidence", MIN_CONFIDENCE as f32)?,
            model: NANODET.into(),
            labels: coco::CLASSES.map(Arc::from),
            drawing: Drawing::new(options, style, NANODET)?,
        })
    }
}

impl FrameProcessor for ObjectDetection {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = analysis_image(&mut frame.image, &INPUT, self.drawing.is_likely())?;
        let placement = self.input.fill(&image, self.handle.input(0)?)?;
        // Pixels that are shared would be copied by drawing on them.
        drop(image);
        let [s8, s16, s32, r8, r16, r32] = outputs(self.handle.run(cx.deadline)?)?;
        let mut things = nanodet::things([s8, s16, s32], [r8, r16, r32], self.min_confidence)?;
        things.truncate(MOST);
        frame.annotations.extend(things.iter().map(|thing| {
            let (label, model) = (self.labels[thing.class].clone(), self.model.clone());
            let mut found = Annotation::new(AnnotationKind::Box, label, thing.score, model)
                .with_bounds(placement.rect(thing.rect));
            found.generation = cx.generation;
            found
        }));
        self.drawing.draw(frame, cx)?;
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        self.handle.load()?;
        Ok(())
    }

    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.drawing.take()
    }
}
