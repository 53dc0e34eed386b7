//! Every model on every engine that has weights for it equals its golden outputs.

use std::path::Path;

use ooblex_models::engine::{EngineKind, Session};
use ooblex_models::{DType, Tensor};
use serde_json::Value;

use crate::golden::{self, Golden, assert_close, numbers};
use crate::support::{load, picture};

type Check = fn(&mut dyn Session, &Path, &Value);

/// Checks one model on the pictures that come with the sources, and on the larger set where that is.
fn check(kind: EngineKind, model: &str, file: &str, check: Check) {
    let name = format!("models::{kind}::{model}");
    let Some(mut session) = load(kind, model, &name) else { return };
    for (path, expected) in Golden::own(file).pictures() {
        // Twice: engines do other things when a size comes again.
        check(session.as_mut(), &path, expected);
        check(session.as_mut(), &path, expected);
    }
    // Some names differ there.
    let Some(shared) = Golden::shared(&file.replace("centerface", "centerface_dyn")) else { return };
    for (path, expected) in shared.pictures().filter(|(path, _)| fits(model, path)) {
        check(session.as_mut(), &path, expected);
    }
}

/// Pictures that a model takes without a resize.
fn fits(model: &str, path: &Path) -> bool {
    let name = path.to_string_lossy();
    model != "centerface" || name.ends_with("astronaut.png")
}

fn run(session: &mut dyn Session, inputs: &[Tensor]) -> Vec<Tensor> {
    let mut outputs = Vec::new();
    session.run(inputs, &mut outputs).unwrap_or_else(|e| panic!("{e}"));
    for (spec, output) in session.outputs().iter().zip(&outputs) {
        assert!(spec.fits(output.dtype(), output.shape()), "{spec} is {:?}", output.shape());
    }
    outputs
}

/// The output of that name, as numbers.
fn named(session: &dyn Session, outputs: &[Tensor], name: &str) -> Vec<f32> {
    let index = session.outputs().iter().position(|spec| spec.name == name);
    outputs[index.unwrap_or_else(|| panic!("no output {name}"))].f32().to_vec()
}

fn blazeface(session: &mut dyn Session, path: &Path, expected: &Value) {
    let input = picture(path).planes([0, 1, 2], |_, v| v / 127.5 - 1.0);
    let outputs = run(session, &[input]);
    for top in expected["top3"].as_array().expect("three") {
        let anchor = top["anchor"].as_u64().expect("a number") as usize;
        assert_close("logit", &outputs[1].f32()[anchor..=anchor], &numbers(&top["logit"]), 1e-2);
        assert_close("regressor", &outputs[0].f32()[anchor * 16..][..16], &numbers(&top["regressor"]), 1e-2);
    }
    let (faces, expected) = (golden::blazeface(&outputs), expected["detections"].as_array().expect("faces"));
    assert_eq!(faces.len(), expected.len());
    for (face, expected) in faces.iter().zip(expected) {
        assert_close("box", &face.corners, &numbers(&expected["box_px_xyxy"]), 0.05);
        assert_close("score", &[face.score], &numbers(&expected["score"]), 1e-3);
        assert_close("keypoints", &face.points, &numbers(&expected["keypoints_px"]), 0.05);
    }
}

fn selfie(session: &mut dyn Session, path: &Path, expected: &Value) {
    let picture = picture(path);
    let outputs = run(session, &[picture.planes([0, 1, 2], |_, v| v / 255.0)]);
    let mask = outputs[0].f32();
    let over = mask.iter().filter(|v| **v > 0.5).count() as f32 / mask.len() as f32;
    assert_close("mean", &[golden::statistics(mask).0], &numbers(&expected["mean"]), 2e-3);
    assert_close("fraction", &[over], &numbers(&expected["frac_gt_0_5"]), 2e-3);
    assert_close("blocks", &golden::blocks(mask, picture.width), &numbers(&expected["grid8_mean"]), 5e-3);
}

fn style(session: &mut dyn Session, path: &Path, expected: &Value) {
    let picture = picture(path);
    for (name, expected) in expected.as_object().expect("styles") {
        let number: usize = name.trim_start_matches("style_").parse().expect("a number");
        let mut weights = Tensor::zeros(DType::F32, &[26]);
        weights.f32_mut()[number] = 1.0;
        let outputs = run(session, &[picture.planes([0, 1, 2], |_, v| v / 255.0), weights]);
        let planes: Vec<&[f32]> = outputs[0].f32().chunks(picture.width * picture.height).collect();
        let (means, deviations): (Vec<f32>, Vec<f32>) =
            planes.iter().map(|plane| golden::statistics(plane)).unzip();
        assert_close("mean", &means, &numbers(&expected["mean_rgb"]), 3e-3);
        assert_close("deviation", &deviations, &numbers(&expected["std_rgb"]), 3e-3);
        let luma = |i: usize| 0.299 * planes[0][i] + 0.587 * planes[1][i] + 0.114 * planes[2][i];
        let luma: Vec<f32> = (0..planes[0].len()).map(luma).collect();
        assert_close("luma", &golden::blocks(&luma, picture.width), &numbers(&expected["grid8_luma"]), 5e-3);
    }
}

fn nanodet(session: &mut dyn Session, path: &Path, expected: &Value) {
    let (mean, deviation) = ([103.53, 116.28, 123.675], [57.375, 57.12, 58.395]);
    let input = picture(path).planes([2, 1, 0], |channel, v| (v - mean[channel]) / deviation[channel]);
    let outputs = run(session, &[input]);
    let found = golden::nanodet(&|name| named(session, &outputs, name));
    let expected = expected.as_array().expect("boxes");
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(Some(found.class as u64), expected["class_id"].as_u64());
        assert_close("box", &found.corners, &numbers(&expected["box_px_xyxy"]), 0.1);
        assert_close("score", &[found.score], &numbers(&expected["score"]), 1e-3);
    }
}

fn centerface(session: &mut dyn Session, path: &Path, expected: &Value) {
    let picture = picture(path);
    let outputs = run(session, &[picture.planes([0, 1, 2], |_, v| v)]);
    let found = golden::centerface(&|name| named(session, &outputs, name), picture.width, picture.height);
    let expected = expected.as_array().expect("faces");
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert_close("box", &found.corners, &numbers(&expected["box_px_xyxy"]), 1.0);
        assert_close("score", &[found.score], &numbers(&expected["score"]), 0.02);
        assert_close("landmarks", &found.points, &numbers(&expected["landmarks_px"]), 1.0);
    }
}

fn movenet(session: &mut dyn Session, path: &Path, expected: &Value) {
    let outputs = run(session, &[picture(path).rows(DType::I32, |v| v)]);
    assert_close("keypoints", outputs[0].f32(), &numbers(&expected["keypoints_yxs"]), 2e-3);
}

fn facemesh(session: &mut dyn Session, path: &Path, expected: &Value) {
    let outputs = run(session, &[picture(path).rows(DType::F32, |v| v / 255.0)]);
    let landmarks = named(session, &outputs, "landmarks");
    for (index, expected) in expected["landmarks_px"].as_object().expect("points") {
        let index: usize = index.parse().expect("a number");
        assert_close("landmark", &landmarks[3 * index..][..3], &numbers(expected), 0.05);
    }
    let presence = named(session, &outputs, "presence");
    assert_close("presence", &presence, &numbers(&expected["presence_logit"]), 0.05);
}

fn emotion(session: &mut dyn Session, path: &Path, expected: &Value) {
    let outputs = run(session, &[picture(path).rows(DType::F32, |v| (v / 255.0 - 0.5) * 2.0)]);
    assert_close("probabilities", outputs[0].f32(), &numbers(expected), 1e-3);
}

/// The four models that every engine has weights for.
macro_rules! small_models {
    ($kind:expr) => {
        #[test]
        fn blazeface_short_128() {
            check($kind, "blazeface_short_128", "blazeface_short_128.exact", blazeface);
        }

        #[test]
        fn selfie_landscape_144x256() {
            check($kind, "selfie_landscape_144x256", "selfie_landscape_144x256", selfie);
        }

        #[test]
        fn selfie_general_256() {
            check($kind, "selfie_general_256", "selfie_general_256", selfie);
        }

        #[test]
        fn style_multistyle26() {
            check($kind, "style_multistyle26", "style_multistyle26", style);
        }
    };
}

/// The others, which there are as ONNX alone.
macro_rules! larger_models {
    ($kind:expr) => {
        #[test]
        fn nanodet_g_416() {
            check($kind, "nanodet_g_416", "nanodet_g_416", nanodet);
        }

        #[test]
        fn centerface() {
            check($kind, "centerface", "centerface", super::centerface);
        }

        #[test]
        fn movenet_lightning_192() {
            check($kind, "movenet_lightning_192", "movenet_lightning_192", movenet);
        }

        #[test]
        fn facemesh468_192() {
            check($kind, "facemesh468_192", "facemesh468_192", facemesh);
        }

        #[test]
        fn emotion_minixception_64() {
            check($kind, "emotion_minixception_64", "emotion_minixception_64", emotion);
        }
    };
}

#[cfg(feature = "onnx")]
mod onnx {
    use super::*;
    small_models!(EngineKind::Onnx);
    larger_models!(EngineKind::Onnx);
}

#[cfg(feature = "rten")]
mod rten {
    use super::*;
    small_models!(EngineKind::Rten);
    larger_models!(EngineKind::Rten);
}

#[cfg(feature = "candle")]
mod candle {
    use super::*;
    small_models!(EngineKind::Candle);
}

#[cfg(feature = "torch")]
mod torch {
    use super::*;
    small_models!(EngineKind::Torch);
}
