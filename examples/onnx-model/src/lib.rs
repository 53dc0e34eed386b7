//! A model of your own in a crate of its own: this one says how warm or cool a picture's colours are.
//!
//! It depends on `ooblex-core` and `ooblex-models` alone. The server with it is
//! `let app = App::new(); let models = app.models().clone(); app.with(|kinds| ooblex_warmth::register(kinds, &models)).run()`.

use ooblex_core::prelude::*;
use ooblex_models::manager::{ModelCard, ModelFile, ModelHandle, Models};
use ooblex_models::preprocess::{InputSpec, Preprocess};

const MODEL: &str = "warmth";
const LABELS: [&str; 2] = ["warm", "cool"];

/// Labels each picture `warm` or `cool`.
pub struct Warmth {
    model: ModelHandle,
    input: Preprocess,
}

impl FrameProcessor for Warmth {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        self.input.fill(frame.image.pixels()?, self.model.input(0)?)?;
        let shares = self.model.run(cx.deadline)?[0].f32();
        let winner = usize::from(shares[1] > shares[0]);
        let mut found = Annotation::new(AnnotationKind::Label, LABELS[winner], shares[winner], MODEL);
        found.generation = cx.generation;
        frame.annotations.push(found);
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.model.load().map(drop)?)
    }
}

/// Adds the model to `models` and the kind `warmth` to a registry.
pub fn register(registry: &mut Registry, models: &Models) {
    let weights = ModelFile::onnx(include_bytes!("warmth.onnx"));
    models.add(ModelCard::new(MODEL, "warm or cool colours").licence("MIT OR Apache-2.0").file(weights));
    let models = models.clone();
    registry.add(
        KindSpec::new(MODEL, "Says whether the colours are warm or cool").needs_model(MODEL),
        move |_: &Options| {
            Ok::<_, BoxError>(Warmth {
                model: models.handle(MODEL)?,
                input: Preprocess::new(InputSpec::rgb01(64, 64)),
            })
        },
    );
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::{conformance, frame_of, process_one};

    use super::*;

    fn build() -> Box<dyn FrameProcessor> {
        let mut registry = Registry::new();
        register(&mut registry, &Models::default());
        let mut warmth = registry.build("warmth", &Options::new()).expect("builds");
        warmth.warm_up().expect("loads");
        warmth
    }

    #[test]
    fn it_tells_red_from_blue() {
        let mut warmth = build();
        for (red, blue, label) in [(200, 40, "warm"), (40, 200, "cool")] {
            let pixels = [red, 90, blue].repeat(32 * 20);
            let image =
                Image::from_vec(PixelFormat::Rgb, 32, 20, ColorSpace::JPEG, pixels).expect("a picture");
            let mut frame = frame_of(image);
            process_one(&mut warmth, &mut frame).expect("processes");
            let found = &frame.annotations[0];
            assert_eq!((&*found.label, frame.annotations.len()), (label, 1));
            assert!(found.score > 0.9, "{}", found.score);
        }
    }

    #[test]
    fn it_conforms() {
        conformance(build, 60).expect("conforms");
    }
}
