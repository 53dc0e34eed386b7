//! Faces made unrecognisable.

use std::time::Duration;

use ooblex_core::{
    BoxError, FailurePolicy, Frame, FrameProcessor, KindSpec, Options, ParamSpec, ParamType, ProcessContext,
    ProcessError, Registry, Verdict,
};

use super::faces::{self, Face, FindFaces};
use super::held_boxes::HeldBoxes;
use crate::kernels::hide::{Hide, Style};
use crate::manager::Models;
use crate::planar::make_planar;
use crate::preprocess::analysis_image;

/// A face that is no face costs a few pixels; a missed one costs the purpose.
const MIN_CONFIDENCE: f64 = 0.3;
const HOLD_MS: i64 = 1000;
/// Side of a block in widths of what is hidden: eight blocks across a head, five across a face.
const BLOCK: f64 = 0.125;
/// Least side of a block in pixels: a small face has few details, and they must go as well.
const LEAST_BLOCK: f32 = 8.0;
/// Width and height of a head in those of the box that spans it from brow to chin, and how much of that its middle is
/// higher.
const HEAD: [f32; 2] = [1.6, 1.8];
const HIGHER: f32 = 0.2;
const STYLES: [(&str, Style); 3] =
    [("mosaic", Style::Mosaic), ("blur", Style::Blur), ("black", Style::Black)];

/// Hides the heads of all faces, found anew in every frame. A face that is missed stays hidden for a while, in a box that
/// grows. Whatever goes wrong is an error: whether there are faces is then unknown, and the stream goes black.
struct PixelateFaces {
    finder: Box<dyn FindFaces>,
    min_confidence: f32,
    heads: HeldBoxes,
    hide: Hide,
    style: Style,
    block: f32,
}

/// Adds `pixelate_faces`.
pub(super) fn register(registry: &mut Registry, models: &Models) {
    let models = models.clone();
    registry
        .add(spec(), move |options: &Options| PixelateFaces::new(faces::finder(&models, options)?, options));
}

fn spec() -> KindSpec {
    let words = |words: &[&str]| ParamType::Choice(words.iter().map(|word| (*word).to_owned()).collect());
    let styles = STYLES.map(|(name, _)| name);
    let spec = KindSpec::new("pixelate_faces", "Faces made unrecognisable")
        .aliases(&["PixelateFacesOn", "TrumpOn"])
        .on_failure(FailurePolicy::Blank)
        .param(ParamSpec::new("style", words(&styles), styles[0], "what is left of a face"))
        .param(ParamSpec::new(
            "block",
            ParamType::Float(0.08..=0.5),
            BLOCK,
            "side of a block, as a share of the head's width; 8 pixels at least",
        ))
        .param(
            ParamSpec::new(
                "hold_ms",
                ParamType::Int(0..=10_000),
                HOLD_MS,
                "how long a missed face stays hidden, three frames at least",
            )
            .unit("ms"),
        )
        .param(ParamSpec::new(
            "min_confidence",
            ParamType::Float(0.05..=0.95),
            MIN_CONFIDENCE,
            "confidence from which something is a face",
        ));
    faces::params(spec)
}

impl PixelateFaces {
    fn new(finder: Box<dyn FindFaces>, options: &Options) -> Result<Self, BoxError> {
        let style: String = options.get_or("style", STYLES[0].0.to_owned())?;
        let hold = Duration::from_millis(options.get_or("hold_ms", HOLD_MS as u64)?);
        Ok(Self {
            finder,
            min_confidence: options.get_or("min_confidence", MIN_CONFIDENCE as f32)?,
            heads: HeldBoxes::new(hold),
            hide: Hide::default(),
            style: STYLES.iter().find(|(name, _)| *name == style).map_or(Style::Mosaic, |(_, style)| *style),
            block: options.get_or("block", BLOCK as f32)?,
        })
    }
}

impl FrameProcessor for PixelateFaces {
    fn process(&mut self, frame: &mut Frame, cx: &mut ProcessContext<'_>) -> Result<Verdict, ProcessError> {
        // A compressed picture is decoded in full only where pixels will be changed.
        let input = self.finder.input(frame.image.width(), frame.image.height());
        let image = analysis_image(&mut frame.image, &input, !self.heads.is_empty())?;
        let faces = self.finder.find(&image, self.min_confidence, cx.deadline)?;
        drop(image);
        let heads: Vec<[f32; 4]> = faces.iter().map(head).collect();
        self.heads.update(&heads, cx.now);
        if self.heads.is_empty() {
            return Ok(Verdict::Emit);
        }
        let image = make_planar(&mut frame.image)?;
        let (width, height) = (image.width() as f32, image.height() as f32);
        for [x, y, w, h] in self.heads.covered(cx.now) {
            let area = [x * width, y * height, w * width, h * height];
            let block = (self.block * area[2]).max(LEAST_BLOCK);
            self.hide.run(image, area, block, self.style)?;
        }
        Ok(Verdict::Emit)
    }

    fn warm_up(&mut self) -> Result<(), BoxError> {
        Ok(self.finder.load()?)
    }

    fn on_failure(&self) -> FailurePolicy {
        FailurePolicy::Blank
    }
}

/// The whole head of a face.
fn head(face: &Face) -> [f32; 4] {
    let [x, y, w, h] = face.rect;
    let (width, height) = (w * HEAD[0], h * HEAD[1]);
    [x + (w - width) / 2.0, y + (h - height) / 2.0 - h * HIGHER, width, height]
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Instant;

    use ooblex_core::testing::random_image;
    use ooblex_core::{
        BufferPool, Clock, ColorSpace, Encoded, Image, ImageCodec, Picture, PictureDecoder, PixelFormat,
        StreamId, Want, convert,
    };

    use super::*;
    use crate::manager::ModelError;
    use crate::preprocess::InputSpec;

    const FACE: [f32; 4] = [0.4, 0.4, 0.2, 0.2];

    /// Finds what it is told to find, frame by frame; then fails.
    struct Script(VecDeque<Result<Vec<[f32; 4]>, String>>);

    impl FindFaces for Script {
        fn load(&mut self) -> Result<(), ModelError> {
            Ok(())
        }
        fn model(&self) -> &'static str {
            "script"
        }
        fn input(&self, _: u32, _: u32) -> InputSpec {
            InputSpec::rgb01(8, 8)
        }
        fn find(&mut self, _: &Image, _: f32, _: Option<Instant>) -> Result<Vec<Face>, BoxError> {
            let found = self.0.pop_front().unwrap_or_else(|| Err("the script is over".into()))?;
            Ok(found.into_iter().map(|rect| Face { rect, points: vec![[0.5; 2]; 2], score: 0.9 }).collect())
        }
    }

    fn processor(script: impl IntoIterator<Item = Result<Vec<[f32; 4]>, String>>) -> PixelateFaces {
        let finder = Box::new(Script(script.into_iter().collect()));
        PixelateFaces::new(finder, &Options::new()).expect("builds")
    }

    /// A stand-in for a JPEG of noise.
    struct Noise;

    impl PictureDecoder for Noise {
        fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
            let noise =
                random_image(PixelFormat::I420, encoded.width, encoded.height, ColorSpace::JPEG, 0, 3);
            let factor = if let Want::Reduced(factor) = want { factor } else { 1 };
            Ok(convert::reduce(&noise, factor, pool)?)
        }
    }

    /// Runs a frame at `ms` milliseconds.
    fn run(processor: &mut PixelateFaces, start: Instant, ms: u64) -> Result<Frame, ProcessError> {
        let encoded = Encoded { codec: ImageCodec::Jpeg, data: Default::default(), width: 100, height: 100 };
        let pool = BufferPool::default();
        let picture = Picture::encoded(encoded, Arc::new(Noise), pool.clone());
        let clock = Clock::manual(start + Duration::from_millis(ms));
        let mut frame = Frame::new(StreamId::default(), 1, start, picture);
        assert_eq!(processor.process(&mut frame, &mut ProcessContext::new(&clock, &pool))?, Verdict::Emit);
        Ok(frame)
    }

    /// How many pixels of the square in the middle, where the face is, are still there.
    fn left_of_the_face(frame: &mut Frame) -> usize {
        let noise = random_image(PixelFormat::I420, 100, 100, ColorSpace::JPEG, 0, 3);
        let (before, after) =
            (noise.plane(0).expect("plane"), frame.image.pixels().expect("pixels").plane(0).expect("plane"));
        (40..60).map(|y| (40..60).filter(|x| before.row(y)[*x] == after.row(y)[*x]).count()).sum()
    }

    #[test]
    fn a_missed_face_stays_hidden_and_then_is_given_up() {
        let missed = std::iter::repeat_with(|| Ok(vec![])).take(40);
        let mut processor = processor([Ok(vec![FACE])].into_iter().chain(missed));
        let start = Instant::now();
        for ms in (0..1000).step_by(33) {
            let mut frame = run(&mut processor, start, ms).expect("processes");
            assert!(frame.image.as_encoded().is_none(), "{ms} ms: the compressed original went through");
            assert!(left_of_the_face(&mut frame) < 20, "{ms} ms");
        }
        let mut frame = run(&mut processor, start, 1000).expect("processes");
        assert!(frame.image.as_encoded().is_some(), "nobody there: the picture as it came");
        assert_eq!(left_of_the_face(&mut frame), 400);
    }

    #[test]
    fn a_detector_that_fails_lets_no_picture_through() {
        let mut processor =
            processor([Ok(vec![]), Err("broken".into()), Ok(vec![FACE]), Err("broken".into())]);
        let start = Instant::now();
        assert!(run(&mut processor, start, 0).is_ok());
        assert!(run(&mut processor, start, 33).is_err());
        assert!(run(&mut processor, start, 66).is_ok());
        assert!(run(&mut processor, start, 99).is_err(), "not even with boxes to go by");
        assert_eq!(processor.on_failure(), FailurePolicy::Blank);
        assert_eq!(spec().on_failure, FailurePolicy::Blank);
    }

    #[test]
    fn nobody_there_costs_no_full_decode() {
        let mut processor = processor([Ok(vec![]), Ok(vec![FACE]), Ok(vec![FACE])]);
        let start = Instant::now();
        let counts = |frame: Frame| (frame.image.counts().decoded_reduced, frame.image.counts().decoded_full);
        assert_eq!(counts(run(&mut processor, start, 0).expect("processes")), (1, 0));
        assert_eq!(counts(run(&mut processor, start, 33).expect("processes")), (1, 1));
        assert_eq!(counts(run(&mut processor, start, 66).expect("processes")), (0, 1));
    }

    #[test]
    fn every_face_is_hidden() {
        let faces = [FACE, [0.0, 0.0, 0.1, 0.1], [0.85, 0.8, 0.2, 0.25]];
        let mut frame = run(&mut processor([Ok(faces.to_vec())]), Instant::now(), 0).expect("processes");
        let noise = random_image(PixelFormat::I420, 100, 100, ColorSpace::JPEG, 0, 3);
        let (before, after) =
            (noise.plane(0).expect("plane"), frame.image.pixels().expect("pixels").plane(0).expect("plane"));
        for [x, y, w, h] in faces {
            let [left, top, right, bottom] = [x, y, x + w, y + h].map(|v| ((v * 100.0) as usize).min(100));
            let kept = (top..bottom).flat_map(|y| (left..right).map(move |x| (x, y)));
            let kept = kept.filter(|(x, y)| before.row(*y)[*x] == after.row(*y)[*x]).count();
            assert!(kept * 20 < (right - left) * (bottom - top), "{kept} pixels of the face at {x}, {y}");
        }
        assert_eq!(before.row(5)[90], after.row(5)[90], "where nobody is");
    }
}
