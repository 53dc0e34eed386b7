//! 17 joints of one person.

use std::sync::Arc;

use ooblex_core::{
    Annotation, AnnotationKind, BoxError, Frame, FrameProcessor, KindSpec, Options, ProcessContext,
    ProcessError, Registry, Verdict,
};

use super::drawing::{self, Drawing, confidence_param, smooth, smooth_param};
use super::figure::POSE;
use crate::manager::{MOVENET, ModelHandle, Models};
use crate::overlay::OverlayStyle;
use crate::postprocess::movenet::{Joint, joints};
use crate::postprocess::{movenet, outputs};
use crate::preprocess::{Fit, InputSpec, Layout, Preprocess, analysis_image};

const MIN_CONFIDENCE: f64 = 0.25;
/// The model always says something; fewer joints than this are nobody.
const LEAST_JOINTS: usize = 4;
const INPUT: InputSpec = InputSpec {
    layout: Layout::Nhwc,
    scale: [1.0; 3],
    fit: Fit::Letterbox,
    ..InputSpec::rgb01(movenet::SIDE, movenet::SIDE)
};

/// Notes the joints of a person as an annotation of the kind [`AnnotationKind::Points`], and draws them.
struct PoseDetection {
    handle: ModelHandle,
    input: Preprocess,
    min_confidence: f32,
    model: Arc<str>,
    label: Arc<str>,
    drawing: Drawing,
}

/// Adds `pose_detection`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let models = models.clone();
    registry.add(spec(), move |options: &Options| -> Result<_, BoxError> {
        Ok(smooth(PoseDetection::new(&models, options)?, options)?)
    });
}

fn spec() -> KindSpec {
    let spec = KindSpec::new("pose_detection", "17 joints of one person, and the skeleton between them")
        .aliases(&["pose", "pose_estimation", "PoseDetectionOn"])
        .needs_model(MOVENET)
        .param(confidence_param(MIN_CONFIDENCE, "confidence from which a joint is found"));
    drawing::params(spec, "green", 2).param(smooth_param())
}

impl PoseDetection {
    fn new(models: &Models, options: &Options) -> Result<Self, BoxError> {
        let style = OverlayStyle { edges: POSE.lines, points: POSE.points, ..OverlayStyle::default() };
        Ok(Self {
            handle: models.handle(MOVENET)?,
            input: Preprocess::new(INPUT),
            min_confidence: options.get_or("min_confidence", MIN_CONFIDENCE as f32)?,
            model: MOVENET.into(),
            label: "person".into(),
            drawing: Drawing::new(options, style, MOVENET)?,
        })
    }
}

impl FrameProcessor for PoseDetection {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        let image = analysis_image(&mut frame.image, &INPUT, self.drawing.is_likely())?;
        let placement = self.input.fill(&image, self.handle.input(0)?)?;
        // Pixels that are shared would be copied by drawing on them.
        drop(image);
        let [output] = outputs(self.handle.run(cx.deadline)?)?;
        let joints = joints(output)?;
        if let Some((score, point_scores)) = person(&joints, self.min_confidence) {
            let points = joints.iter().map(|joint| placement.point(joint.place)).collect();
            let (label, model) = (self.label.clone(), self.model.clone());
            let mut found = Annotation::new(AnnotationKind::Points, label, score, model)
                .with_points(points)
                .with_point_scores(point_scores);
            found.generation = cx.generation;
            frame.annotations.push(found);
        }
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

/// The score of a person, which is the mean of the joints found, and of each joint, 0 for those not found; `None` if
/// nobody is there.
fn person(joints: &[Joint], min_confidence: f32) -> Option<(f32, Vec<f32>)> {
    let is_found = |score: &f32| *score >= min_confidence;
    let scores: Vec<f32> = joints.iter().map(|j| if is_found(&j.score) { j.score } else { 0.0 }).collect();
    let count = scores.iter().filter(|score| is_found(score)).count();
    (count >= LEAST_JOINTS).then(|| (scores.iter().sum::<f32>() / count as f32, scores))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_joints_are_a_person_and_a_few_are_not() {
        let joints = |scores: &[f32]| -> Vec<Joint> {
            scores.iter().map(|score| Joint { place: [0.0; 2], score: *score }).collect()
        };
        assert_eq!(person(&joints(&[0.9, 0.9, 0.9, 0.2, 0.1, 0.0]), 0.25), None);
        let (score, scores) = person(&joints(&[0.5, 0.75, 0.25, 0.2, 0.5]), 0.25).expect("a person");
        assert_eq!((score, scores), (0.5, vec![0.5, 0.75, 0.25, 0.0, 0.5]));
        assert_eq!(person(&joints(&[0.5, 0.75, 0.25, 0.2, 0.5]), 0.3), None);
    }
}
