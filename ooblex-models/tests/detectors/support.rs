//! Pictures, detectors, and how what they find is compared.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ooblex_core::testing::{frame_of, process_one};
use ooblex_core::{
    BoxError, BufferPool, ColorSpace, Encoded, Frame, FrameProcessor, Image, ImageCodec, Options, Picture,
    PictureDecoder, PixelFormat, Registry, StreamId, Want, convert,
};
use ooblex_models::engine::{EngineKind, UseGpu};
use ooblex_models::manager::{Models, ModelsConfig};
use serde_json::Value;

use crate::onnxruntime::onnxruntime;

/// Detectors on one engine, on the CPU.
pub(crate) struct Lab {
    registry: Registry,
}

impl Lab {
    pub(crate) fn rten() -> Self {
        Self::new(EngineKind::Rten, None)
    }

    /// With ONNX Runtime; nothing, said as a skipped test, where it is not installed.
    pub(crate) fn onnx(test: &str) -> Option<Self> {
        let library = onnxruntime();
        if library.is_none() {
            // The runner's names do not have the binary's.
            let test = test.split_once("::").map_or(test, |(_, test)| test);
            println!("SKIPPED {test}: .venv has no onnxruntime; scripts/setup.sh test installs it");
        }
        library.map(|library| Self::new(EngineKind::Onnx, Some(library)))
    }

    fn new(engine: EngineKind, onnxruntime: Option<PathBuf>) -> Self {
        let mut config = ModelsConfig::default();
        (config.engine, config.use_gpu, config.onnxruntime) = (Some(engine), UseGpu::Off, onnxruntime);
        let mut registry = Registry::new();
        ooblex_models::register_with(&mut registry, &Models::new(config));
        Self { registry }
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn build(&self, effect: &str, options: &Options) -> Box<dyn FrameProcessor> {
        self.registry.build(effect, options).unwrap_or_else(|e| panic!("{effect}: {e}"))
    }

    /// A frame after a detector that draws nothing.
    pub(crate) fn look(&self, effect: &str, options: Options, image: &Image) -> Frame {
        let mut frame = frame_of(image.clone());
        process_one(&mut self.build(effect, &options.with("draw", false)), &mut frame).expect("processes");
        frame
    }
}

/// A file of the golden set that comes with the sources.
pub(crate) fn golden(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "golden", name].iter().collect()
}

/// A file of the larger set beside the sources; nothing, said as a skipped test, where that is not.
pub(crate) fn shared(name: &str, test: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = here.ancestors().map(|above| above.join("shared/models/golden")).find(|path| path.is_dir());
    if folder.is_none() {
        println!("SKIPPED {test}: shared/models/golden is not here");
    }
    folder.map(|folder| folder.join(name))
}

pub(crate) fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What OpenCV and ONNX Runtime find in a picture; see `scripts/golden/make_detectors.py`.
pub(crate) fn whole(picture: &str, model: &str) -> Value {
    json(&golden("models/whole.json"))["pictures"][picture][model].take()
}

/// All numbers in a value, in order.
pub(crate) fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap_or_else(|| panic!("{value} is no number")) as f32],
    }
}

/// A picture as RGB.
pub(crate) fn open(path: &Path) -> Image {
    let rgb = image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into_rgb8();
    let (width, height) = rgb.dimensions();
    Image::from_vec(PixelFormat::Rgb, width, height, ColorSpace::JPEG, rgb.into_raw()).expect("a picture")
}

pub(crate) fn yuv(image: &Image, color: ColorSpace) -> Image {
    convert::convert(image, PixelFormat::I420, color, &BufferPool::default()).expect("converts")
}

/// A picture of the golden set in YUV.
pub(crate) fn picture(name: &str) -> Image {
    yuv(&open(&golden(name)), ColorSpace::JPEG)
}

/// A picture that is still compressed, and is decoded to `image`.
pub(crate) fn compressed(image: &Image) -> Frame {
    struct Known(Image);
    impl PictureDecoder for Known {
        fn decode(&self, _: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
            let factor = if let Want::Reduced(factor) = want { factor } else { 1 };
            Ok(convert::reduce(&self.0, factor, pool)?)
        }
    }
    let (width, height) = (image.width(), image.height());
    let encoded = Encoded { codec: ImageCodec::Jpeg, data: Default::default(), width, height };
    let picture = Picture::encoded(encoded, Arc::new(Known(image.clone())), BufferPool::default());
    Frame::new(StreamId::default(), 1, Instant::now(), picture)
}

/// Something found, in pixels.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) label: String,
    pub(crate) score: f32,
    /// Left, top, right, bottom.
    pub(crate) corners: [f32; 4],
    pub(crate) points: Vec<[f32; 2]>,
    pub(crate) point_scores: Vec<f32>,
}

/// What a frame says was found.
pub(crate) fn found(frame: &Frame) -> Vec<Found> {
    let (width, height) = (frame.image.width() as f32, frame.image.height() as f32);
    let each = frame.annotations.iter().map(|a| {
        let [x, y, w, h] = a.bounds.unwrap_or_default();
        Found {
            label: a.label.to_string(),
            score: a.score,
            corners: [x * width, y * height, (x + w) * width, (y + h) * height],
            points: a.points.iter().map(|[x, y]| [x * width, y * height]).collect(),
            point_scores: a.point_scores.clone(),
        }
    });
    each.collect()
}

/// Intersection over union.
pub(crate) fn overlap(a: &[f32], b: &[f32]) -> f32 {
    let side = |i: usize| (a[i + 2].min(b[i + 2]) - a[i].max(b[i])).max(0.0);
    let area = |r: &[f32]| (r[2] - r[0]) * (r[3] - r[1]);
    let both = side(0) * side(1);
    both / (area(a) + area(b) - both)
}

/// Fails unless what was found is what was expected, one for one and in order: boxes that overlap by `least`, and scores
/// that differ by at most `score`.
#[track_caller]
pub(crate) fn assert_found(
    found: &[Found],
    expected: &[(Vec<f32>, f32)],
    least: f32,
    score: f32,
    what: &str,
) {
    assert_eq!(found.len(), expected.len(), "{what}: {found:?} instead of {expected:?}");
    for (found, (corners, expected)) in found.iter().zip(expected) {
        let overlap = overlap(&found.corners, corners);
        let off = (found.score - expected).abs();
        assert!(
            overlap >= least && off <= score,
            "{what}: {found:?} instead of {corners:?} {expected}: {overlap}"
        );
    }
}

/// Fails if a point is further off than this share of the box.
#[track_caller]
pub(crate) fn assert_points(found: &Found, expected: &Value, most: f32, what: &str) {
    let size = (found.corners[2] - found.corners[0]).max(found.corners[3] - found.corners[1]);
    let expected = numbers(expected);
    assert_eq!(found.points.len() * 2, expected.len(), "{what}");
    for (point, expected) in found.points.iter().zip(expected.chunks(2)) {
        let off = (point[0] - expected[0]).hypot(point[1] - expected[1]) / size;
        assert!(off <= most, "{what}: {point:?} instead of {expected:?}: {off} of the box");
    }
}
