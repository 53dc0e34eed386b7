//! Faces, with what the model knows of eyes, nose and mouth.

use std::sync::Arc;

use ooblex_core::{
    Annotation, AnnotationKind, BoxError, Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType,
    ProcessContext, ProcessError, Registry, Verdict,
};

use super::drawing::{self, Drawing, confidence_param, score_param, smooth, smooth_param};
use super::faces::{self, FindFaces};
use crate::manager::Models;
use crate::overlay::OverlayStyle;
use crate::preprocess::analysis_image;

const MIN_CONFIDENCE: f64 = 0.5;

/// Notes each face as a box with landmarks, and draws it.
struct FaceDetection {
    finder: Box<dyn FindFaces>,
    min_confidence: f32,
    model: Arc<str>,
    label: Arc<str>,
    drawing: Drawing,
}

/// Adds `face_detection`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let models = models.clone();
    registry.add(spec(), move |options: &Options| -> Result<_, BoxError> {
        Ok(smooth(FaceDetection::new(&models, options)?, options)?)
    });
}

fn spec() -> KindSpec {
    let landmarks = ParamSpec::new("landmarks", ParamType::Bool, true, "draw eyes, nose, mouth and ears")
        .aliases(&["points"]);
    let spec = KindSpec::new("face_detection", "Faces, with eyes, nose and mouth")
        .aliases(&["FaceOn", "FaceDetectionOn"])
        .param(confidence_param(MIN_CONFIDENCE, "confidence from which something is a face"));
    let spec = drawing::params(faces::params(spec), "green", 2);
    spec.param(score_param()).param(landmarks).param(smooth_param())
}

impl FaceDetection {
    fn new(models: &Models, options: &Options) -> Result<Self, BoxError> {
        let finder = faces::finder(models, options)?;
        let style = OverlayStyle {
            labels: options.get_or("score", true)?,
            points: options.get_or("landmarks", true)?,
            ..OverlayStyle::default()
        };
        Ok(Self {
            min_confidence: options.get_or("min_confidence", MIN_CONFIDENCE as f32)?,
            model: finder.model().into(),
            label: "face".into(),
            drawing: Drawing::new(options, style, finder.model())?,
            finder,
        })
    }
}

impl FrameProcessor for FaceDetection {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let input = self.finder.input(frame.image.width(), frame.image.height());
        let image = analysis_image(&mut frame.image, &input, self.drawing.is_likely())?;
        let faces = self.finder.find(&image, self.min_confidence, cx.deadline)?;
        // Pixels that are shared would be copied by drawing on them.
        drop(image);
        for face in faces {
            let (label, model) = (self.label.clone(), self.model.clone());
            let mut found = Annotation::new(AnnotationKind::Box, label, face.score, model)
                .with_bounds(face.rect)
                .with_points(face.points);
            found.generation = cx.generation;
            frame.annotations.push(found);
        }
        self.drawing.draw(frame, cx)?;
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.finder.load()?)
    }

    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.drawing.take()
    }
}
