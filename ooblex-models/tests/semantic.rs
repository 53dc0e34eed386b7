//! Semantic models of the user's own, from manifest to colours.
#![cfg(feature = "rten")]

#[path = "common/onnx.rs"]
mod onnx;

use std::path::PathBuf;

use ooblex_core::testing::{conformance, frame_of, process_one, random_image};
use ooblex_core::{
    AnnotationKind, BoxError, BufferPool, ColorSpace, Encoded, FailurePolicy, Frame, Image, ImageCodec,
    Options, Picture, PictureDecoder, PixelFormat, Registry, StreamId, Want, convert,
};
use ooblex_models::engine::EngineKind;
use ooblex_models::manager::{FilePlace, ModelState, Models, ModelsConfig};
use ooblex_models::processors::register_segmentation;

/// Red, blue and everything else.
const CLASSES: [[f32; 4]; 3] = [[0.0, 0.0, 0.0, 2.0], [8.0, -4.0, -4.0, 0.0], [-4.0, -4.0, 8.0, 0.0]];

struct Scene {
    _folder: tempfile::TempDir,
    manifest: PathBuf,
    registry: Registry,
    models: Models,
}

fn scene(model: &[u8], edges: &str) -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("flags.json");
    let json = format!(
        r##"{{ "name": "flags", "task": "red and blue", "file": "flags.onnx", "edges": "{edges}",
            "input": {{ "width": 32, "height": 16 }},
            "classes": [{{ "name": "rest" }}, {{ "name": "red", "color": "yellow" }}, {{ "name": "blue", "color": "#00ff00" }}] }}"##
    );
    std::fs::write(&manifest, json).expect("written");
    std::fs::write(folder.path().join("flags.onnx"), model).expect("written");
    let mut config = ModelsConfig::default();
    config.engine = Some(EngineKind::Rten);
    let (mut registry, models) = (Registry::new(), Models::new(config));
    ooblex_models::register_with(&mut registry, &models);
    Scene { _folder: folder, manifest, registry, models }
}

fn registered(model: &[u8], edges: &str) -> Scene {
    let mut scene = scene(model, edges);
    register_segmentation(&mut scene.registry, &scene.models, &scene.manifest).expect("a good manifest");
    scene
}

/// A third red, a third grey, a third blue.
fn flag() -> Frame {
    let row: Vec<u8> = (0..96)
        .flat_map(|x| match x / 32 {
            0 => [220, 20, 20],
            1 => [128, 128, 128],
            _ => [20, 20, 220],
        })
        .collect();
    let rgb = Image::from_vec(PixelFormat::Rgb, 96, 48, ColorSpace::JPEG, row.repeat(48)).expect("a picture");
    let pool = BufferPool::default();
    frame_of(convert::convert(&rgb, PixelFormat::I420, ColorSpace::BT601, &pool).expect("converts"))
}

#[test]
fn classes_become_masks_and_colours() {
    for edges in ["hard", "soft"] {
        let scene = registered(&onnx::linear(16, 32, &CLASSES), edges);
        let kind = scene.registry.resolve("flags").expect("a kind");
        assert_eq!((kind.needs_model.as_deref(), kind.on_failure), (Some("flags"), FailurePolicy::Pass));
        let mut processor =
            scene.registry.build("flags", &Options::new().with("opacity", 1)).expect("builds");
        processor.warm_up().expect("loads");
        let mut frame = flag();
        process_one(&mut processor, &mut frame).expect("processes");
        let mut labels: Vec<&str> = frame.annotations.iter().map(|a| &*a.label).collect();
        labels.sort_unstable();
        assert_eq!(labels, ["blue", "red"], "a class without a colour is not reported");
        for annotation in &frame.annotations {
            let mask = annotation.mask.as_ref().expect("a mask");
            assert_eq!((annotation.kind, mask.width, mask.height), (AnnotationKind::Mask, 32, 16));
            assert!(annotation.score > 0.9 && &*annotation.model == "flags");
            let row = &mask.values[5 * 32..6 * 32];
            let (red, blue) = (row[3], row[29]);
            let wanted = if &*annotation.label == "red" { (red, blue) } else { (blue, red) };
            assert!(wanted.0 > 230 && wanted.1 < 10 && row[16] < 40, "{edges}: {row:?}");
        }
        let rgb = frame.image.make(PixelFormat::Rgb).expect("converts");
        let row = rgb.plane(0).expect("host").row(20);
        let near = |x: usize, color: [u8; 3]| {
            row[3 * x..3 * x + 3].iter().zip(color).all(|(a, b)| a.abs_diff(b) < 30)
        };
        assert!(near(8, [255, 255, 0]) && near(48, [128, 128, 128]) && near(88, [0, 255, 0]), "{edges}");
    }
}

#[test]
fn drawing_can_be_left_to_the_end_of_a_chain_or_out() {
    let scene = registered(&onnx::linear(16, 32, &CLASSES), "soft");
    let build =
        |draw: bool| scene.registry.build("flags", &Options::new().with("draw", draw)).expect("builds");
    assert!(build(true).take_overlay().is_some());
    let mut silent = build(false);
    assert!(silent.take_overlay().is_none());
    let (mut frame, mut untouched) = (flag(), flag());
    process_one(&mut silent, &mut frame).expect("processes");
    let bytes = |frame: &mut Frame| frame.image.pixels().expect("pixels").to_packed().expect("host");
    assert_eq!(bytes(&mut frame), bytes(&mut untouched));
    assert_eq!(frame.annotations.len(), 2);
}

/// A stand-in for a JPEG of noise.
struct Noise;

impl PictureDecoder for Noise {
    fn decode(&self, encoded: &Encoded, want: Want, pool: &BufferPool) -> Result<Image, BoxError> {
        let noise = random_image(PixelFormat::I420, encoded.width, encoded.height, ColorSpace::JPEG, 0, 3);
        let factor = if let Want::Reduced(factor) = want { factor } else { 1 };
        Ok(convert::reduce(&noise, factor, pool)?)
    }
}

#[test]
fn pixels_that_nobody_draws_on_are_not_decoded() {
    let scene = registered(&onnx::linear(16, 32, &CLASSES), "hard");
    for (draw, expected) in [(false, (1, 0)), (true, (0, 1))] {
        let encoded = Encoded { codec: ImageCodec::Jpeg, data: Default::default(), width: 300, height: 200 };
        let picture = Picture::encoded(encoded, std::sync::Arc::new(Noise), BufferPool::default());
        let mut frame = Frame::new(StreamId::default(), 1, std::time::Instant::now(), picture);
        let mut processor =
            scene.registry.build("flags", &Options::new().with("draw", draw)).expect("builds");
        process_one(&mut processor, &mut frame).expect("processes");
        let counts = frame.image.counts();
        assert_eq!((counts.decoded_reduced, counts.decoded_full), expected, "draw {draw}");
    }
}

#[test]
fn it_conforms() {
    let scene = registered(&onnx::linear(16, 32, &CLASSES), "soft");
    conformance(|| scene.registry.build("flags", &Options::new()).expect("builds"), 200).expect("conforms");
}

#[test]
fn its_file_counts_as_found_in_the_folder_of_the_manifest() {
    let scene = registered(&onnx::linear(16, 32, &CLASSES), "soft");
    let status = scene.models.status_by_name("flags").expect("a model");
    assert_eq!(status.state, ModelState::Available);
    assert!(matches!(status.files[0].place, FilePlace::Found(_)), "{:?}", status.files);
}

#[test]
fn names_that_are_taken_are_refused() {
    let mut scene = registered(&onnx::linear(16, 32, &CLASSES), "soft");
    let again = register_segmentation(&mut scene.registry, &scene.models, &scene.manifest);
    assert_eq!(
        again.expect_err("taken").to_string(),
        "manifest field `name` is \"flags\", which is taken; choose another name"
    );
}

/// Models that are not what their manifest says end in errors that name them.
#[test]
fn hostile_models_end_in_clear_errors() {
    let nan = [[f32::NAN; 4]; 3];
    for (model, wanted) in [
        (onnx::linear(16, 32, &CLASSES[..2]), "its output has 2 classes, its manifest names 3"),
        (onnx::linear(16, 32, &nan), "not finite"),
        (b"no model at all".to_vec(), "could not be loaded"),
        (onnx::linear(16, 32, &CLASSES)[..90].to_vec(), "could not be loaded"),
        (onnx::linear(16, 40, &CLASSES), "given f32 [1, 3, 16, 32]"),
    ] {
        let scene = registered(&model, "soft");
        let mut processor = scene.registry.build("flags", &Options::new()).expect("builds");
        let mut frame = frame_of(random_image(PixelFormat::I420, 96, 48, ColorSpace::JPEG, 0, 1));
        let warm = processor.warm_up().err().map(|e| e.to_string());
        let error = warm.unwrap_or_else(|| {
            process_one(&mut processor, &mut frame).expect_err("fails").inner().to_string()
        });
        assert!(error.contains("flags") && error.contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn a_model_that_was_changed_is_not_loaded() {
    let mut scene = scene(&onnx::linear(16, 32, &CLASSES), "soft");
    let json = std::fs::read_to_string(&scene.manifest).expect("read");
    let json = json.replace("\"edges\"", &format!("\"sha256\": \"{}\", \"edges\"", "0".repeat(64)));
    std::fs::write(&scene.manifest, json).expect("written");
    register_segmentation(&mut scene.registry, &scene.models, &scene.manifest).expect("a good manifest");
    let mut processor = scene.registry.build("flags", &Options::new()).expect("builds");
    let error = processor.warm_up().expect_err("changed").to_string();
    assert!(error.contains("has the SHA-256"), "{error}");
}
