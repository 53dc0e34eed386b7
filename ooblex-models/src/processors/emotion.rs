//! What faces show.

use std::sync::Arc;
use std::time::Instant;

use ooblex_core::{
    Annotation, AnnotationKind, BoxError, Frame, FrameProcessor, Image, KindSpec, Options, ParamSpec,
    ParamType, ProcessContext, ProcessError, Registry, Verdict,
};

use super::drawing::{self, Drawing, confidence_param, score_param, smooth, smooth_param};
use super::faces::{Face, FindFaces, LargeFaces, look_closer};
use crate::manager::{EMOTION, ModelHandle, Models};
use crate::overlay::OverlayStyle;
use crate::postprocess::emotion::{EMOTIONS, likeliest};
use crate::postprocess::outputs;
use crate::preprocess::{Components, InputSpec, Layout, Preprocess, analysis_image};

const MIN_CONFIDENCE: f64 = 0.5;
/// Faces looked at unless told otherwise, and most that can be.
const MAX_FACES: i64 = 4;
const MOST_FACES: i64 = 16;
/// Side of the model's input.
const SIDE: usize = 64;
const INPUT: InputSpec = InputSpec {
    layout: Layout::Nhwc,
    components: Components::Luma,
    mean: [127.5; 3],
    scale: [1.0 / 127.5; 3],
    ..InputSpec::rgb01(SIDE, SIDE)
};
/// How much further up and down than the face's box the model looks, in heights of it.
const ABOVE: f32 = 0.2;
const BELOW: f32 = 0.05;

/// Notes each face as a box with the name of the emotion it shows, and draws it.
struct Emotion {
    faces: LargeFaces,
    handle: ModelHandle,
    input: Preprocess,
    min_confidence: f32,
    most: usize,
    model: Arc<str>,
    labels: [Arc<str>; 7],
    drawing: Drawing,
}

/// Adds `emotion`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let models = models.clone();
    registry.add(spec(), move |options: &Options| -> Result<_, BoxError> {
        Ok(smooth(Emotion::new(&models, options)?, options)?)
    });
}

fn spec() -> KindSpec {
    let most = ParamSpec::new(
        "max_faces",
        ParamType::Int(1..=MOST_FACES),
        MAX_FACES,
        "most faces to look at, the clearest ones",
    );
    let spec = KindSpec::new("emotion", "Faces, with the emotion that each shows")
        .aliases(&["EmotionOn"])
        .needs_model(EMOTION)
        .param(confidence_param(MIN_CONFIDENCE, "confidence from which something is a face"))
        .param(most);
    drawing::params(spec, "green", 2).param(score_param()).param(smooth_param())
}

impl Emotion {
    fn new(models: &Models, options: &Options) -> Result<Self, BoxError> {
        let style = OverlayStyle { labels: options.get_or("score", true)?, ..OverlayStyle::default() };
        Ok(Self {
            faces: LargeFaces::new(models)?,
            handle: models.handle(EMOTION)?,
            input: Preprocess::new(INPUT),
            min_confidence: options.get_or("min_confidence", MIN_CONFIDENCE as f32)?,
            most: options.get_or("max_faces", MAX_FACES as usize)?,
            model: EMOTION.into(),
            labels: EMOTIONS.map(Arc::from),
            drawing: Drawing::new(options, style, EMOTION)?,
        })
    }

    /// Number and confidence of the emotion that a face shows.
    fn look_at(
        &mut self,
        face: &Face,
        image: &Image,
        deadline: Option<Instant>,
    ) -> Result<(usize, f32), BoxError> {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let [x, y, w, h] = face.rect;
        let part = [x * width, (y - ABOVE * h) * height, w * width, (1.0 + ABOVE + BELOW) * h * height];
        self.input.fill_rect(image, part, self.handle.input(0)?)?;
        let [output] = outputs(self.handle.run(deadline)?)?;
        Ok(likeliest(output)?)
    }
}

impl FrameProcessor for Emotion {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let (width, height) = (frame.image.width(), frame.image.height());
        let input = self.faces.input(width, height);
        let image = analysis_image(&mut frame.image, &input, self.drawing.is_likely())?;
        let mut faces = self.faces.find(&image, self.min_confidence, cx.deadline)?;
        drop(image);
        faces.truncate(self.most);
        for face in faces {
            let share = face.rect[2] * width as f32 / width.max(height) as f32;
            let image = look_closer(&mut frame.image, share, SIDE, self.drawing.is_wanted())?;
            let (emotion, score) = self.look_at(&face, &image, cx.deadline)?;
            let (label, model) = (self.labels[emotion].clone(), self.model.clone());
            let mut found = Annotation::new(AnnotationKind::Box, label, score, model).with_bounds(face.rect);
            found.generation = cx.generation;
            frame.annotations.push(found);
        }
        self.drawing.draw(frame, cx)?;
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        self.faces.load()?;
        self.handle.load()?;
        Ok(())
    }

    fn take_overlay(&mut self) -> Option<Box<dyn FrameProcessor>> {
        self.drawing.take()
    }
}
