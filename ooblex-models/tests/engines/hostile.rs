//! Files that make no sense, or mean harm, end in errors, and what is unusual but right works.

use ooblex_models::engine::{EngineError, EngineKind, Format, Session, Weights};
use ooblex_models::manager::{ModelCard, ModelFile, Models, ModelsConfig};
use ooblex_models::{DType, Tensor};

use crate::onnx::{
    BOOL, FLOAT, INT64, STRING, bytes, input, int, ints, list, model, node, number, output, tensor,
};
use crate::support::{on_cpu, onnxruntime, open, weights};

fn load(kind: EngineKind, file: Vec<u8>, test: &str) -> Option<Result<Box<dyn Session>, EngineError>> {
    let engine = open(kind, &format!("hostile::{kind}::{test}"))?;
    Some(engine.load(&Weights::new("hostile", Format::Onnx, file), &on_cpu()))
}

/// The error of loading, or of running on ones.
fn failure(kind: EngineKind, file: Vec<u8>, test: &str) -> Option<String> {
    let error = match load(kind, file, test)? {
        Err(error) => error,
        Ok(mut session) => {
            let ones = |spec: &ooblex_models::TensorSpec| {
                let shape: Vec<usize> = spec.shape.iter().map(|side| side.unwrap_or(2)).collect();
                let mut tensor = Tensor::zeros(spec.dtype, &shape);
                tensor.f32_mut().fill(1.0);
                tensor
            };
            let inputs: Vec<Tensor> = session.inputs().iter().map(ones).collect();
            match session.run(&inputs, &mut Vec::new()) {
                Err(error) => error,
                Ok(()) => return Some("it works".into()),
            }
        }
    };
    let known =
        matches!(error, EngineError::Load { .. } | EngineError::Run { .. } | EngineError::OutOfMemory { .. });
    assert!(known, "{error:?}");
    Some(error.to_string())
}

const X: [Option<u64>; 4] = [Some(1), Some(1), Some(4), Some(4)];

fn picture_to_picture(nodes: Vec<u8>, weights: Vec<u8>) -> Vec<u8> {
    model(&[nodes, weights, input("x", FLOAT, &X), output("y", FLOAT, &[None, None, None, None])])
}

fn relu() -> Vec<u8> {
    node("Relu", &["x"], &["y"], &[])
}

fn no_models(kind: EngineKind) {
    let good =
        std::fs::read(crate::support::package().join("weights/blazeface_short_128.onnx")).expect("there");
    for (what, file) in [
        ("nothing", Vec::new()),
        ("text", b"this is no model".to_vec()),
        ("half", good[..good.len() / 2].to_vec()),
        ("ONNX Runtime's own format", [&[0, 0, 0, 0], &b"ORTM"[..], &[0; 64]].concat()),
        ("pickle", b"\x80\x02cos\nsystem\nq\x00".to_vec()),
    ] {
        let Some(failure) = failure(kind, file, "no_models") else { return };
        assert!(failure.contains("it is no ONNX file"), "{what}: {failure}");
    }
}

fn other_files(kind: EngineKind) {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, 1f32.to_le_bytes()).expect("written");
    let relative = secret.strip_prefix("/").expect("absolute");
    let up = format!("{}{}", "../".repeat(30), relative.display());
    for location in [secret.to_string_lossy().as_ref(), &up, "secret"] {
        let place = bytes(13, [bytes(1, "location"), bytes(2, location)].concat());
        let weight = tensor("w", FLOAT, &[1], &[place, number(14, 1)].concat());
        let file = picture_to_picture(node("Add", &["x", "w"], &["y"], &[]), weight);
        let Some(failure) = failure(kind, file, "other_files") else { return };
        assert!(failure.contains("keeps tensors in other files"), "{location}: {failure}");
    }
}

fn huge_sizes(kind: EngineKind) {
    let huge = 1i64 << 34;
    let constant = |shape: &[i64]| {
        model(&[
            list("s", shape),
            node("ConstantOfShape", &["s"], &["c"], &[]),
            node("ReduceMax", &["c"], &["m"], &[int("keepdims", 0)]),
            node("Add", &["x", "m"], &["y"], &[]),
            input("x", FLOAT, &X),
            output("y", FLOAT, &X),
        ])
    };
    let resized =
        |op: &str, inputs: &[&str], sizes: Vec<u8>| picture_to_picture(node(op, inputs, &["y"], &[]), sizes);
    let scales: Vec<u8> = [1f32, 1.0, 1e5, 1e5].iter().flat_map(|v| v.to_le_bytes()).collect();
    for (what, file) in [
        ("input", model(&[relu(), input("x", FLOAT, &[Some(1 << 40)]), output("y", FLOAT, &[None])])),
        ("output", model(&[relu(), input("x", FLOAT, &[None]), output("y", FLOAT, &[Some(1 << 40)])])),
        (
            "weight",
            picture_to_picture(node("Add", &["x", "w"], &["y"], &[]), tensor("w", FLOAT, &[1 << 40], &[])),
        ),
        ("overflow", picture_to_picture(relu(), tensor("w", FLOAT, &[1 << 33, 1 << 33], &[]))),
        ("negative", picture_to_picture(relu(), tensor("w", FLOAT, &[u64::MAX], &[]))),
        ("constant", constant(&[huge])),
        ("product", constant(&[1 << 20, 1 << 20])),
        ("expand", resized("Expand", &["x", "s"], list("s", &[1, 1, huge, 4]))),
        ("tile", resized("Tile", &["x", "s"], list("s", &[1, 1, huge, 1]))),
        ("pad", resized("Pad", &["x", "s"], list("s", &[0, 0, huge, 0, 0, 0, 0, 0]))),
        ("resize", resized("Resize", &["x", "", "s"], tensor("s", FLOAT, &[4], &bytes(9, scales)))),
    ] {
        let Some(failure) = failure(kind, file, "huge_sizes") else { return };
        assert!(failure.contains("more than 268435456 numbers"), "{what}: {failure}");
    }
}

fn nonsense(kind: EngineKind) {
    let conv = |attributes: &[Vec<u8>]| {
        let weight = tensor("w", FLOAT, &[1, 1, 2, 2], &bytes(9, [0; 16]));
        picture_to_picture(node("Conv", &["x", "w"], &["y"], attributes), weight)
    };
    let of = |op: &str, inputs: &[&str], attributes: &[Vec<u8>], weights: Vec<u8>| {
        picture_to_picture(node(op, inputs, &["y"], attributes), weights)
    };
    for (what, file) in [
        ("unknown operator", of("Magic", &["x"], &[], Vec::new())),
        ("missing input", of("Add", &["x", "nobody"], &[], Vec::new())),
        (
            "cycle",
            picture_to_picture(
                [node("Relu", &["y"], &["z"], &[]), node("Relu", &["z"], &["y"], &[])].concat(),
                Vec::new(),
            ),
        ),
        ("no output", model(&[relu(), input("x", FLOAT, &X), output("other", FLOAT, &X)])),
        ("groups", conv(&[int("group", 7)])),
        ("strides of 0", conv(&[ints("strides", &[0, 0])])),
        ("dilations of 0", conv(&[ints("dilations", &[0, 0])])),
        ("negative pads", conv(&[ints("pads", &[-9, -9, -9, -9])])),
        ("huge kernel", of("MaxPool", &["x"], &[ints("kernel_shape", &[1 << 40, 1 << 40])], Vec::new())),
        ("kernel of 0", of("MaxPool", &["x"], &[ints("kernel_shape", &[0, 0])], Vec::new())),
        (
            "strides of 0 in a pool",
            of("AveragePool", &["x"], &[ints("kernel_shape", &[2, 2]), ints("strides", &[0, 0])], Vec::new()),
        ),
        ("reshape", of("Reshape", &["x", "s"], &[], list("s", &[7, 7]))),
        ("reshape to less than nothing", of("Reshape", &["x", "s"], &[], list("s", &[-5]))),
        ("axis", of("Concat", &["x", "x"], &[int("axis", 99)], Vec::new())),
        ("order", of("Transpose", &["x"], &[ints("perm", &[0, 0, 0, 0])], Vec::new())),
        ("index", of("Gather", &["x", "s"], &[int("axis", 3)], list("s", &[1 << 40]))),
        ("short weight", of("Add", &["x", "w"], &[], tensor("w", FLOAT, &[100], &bytes(9, [0; 4])))),
        ("type", of("Add", &["x", "w"], &[], list("w", &[1]))),
    ] {
        let Some(failure) = failure(kind, file, "nonsense") else { return };
        assert_ne!(failure, "it works", "{what}");
    }
}

fn types(kind: EngineKind) {
    let test = format!("hostile::{kind}::types");
    let copy = node("Identity", &["x"], &["y"], &[]);
    let text = model(&[copy, input("x", STRING, &[Some(2)]), output("y", STRING, &[Some(2)])]);
    let Some(error) = load(kind, text, "types").map(|result| result.err()) else { return };
    assert!(matches!(error, Some(EngineError::Load { .. })), "{test}: {error:?}");
    // 64-bit integers and truth values come out as 32-bit integers.
    let file = model(&[
        node("Shape", &["x"], &["shape"], &[]),
        tensor("zero", FLOAT, &[], &bytes(9, [0; 4])),
        node("Greater", &["x", "zero"], &["over"], &[]),
        input("x", FLOAT, &[None, Some(2)]),
        output("shape", INT64, &[Some(2)]),
        output("over", BOOL, &[None, Some(2)]),
    ]);
    let mut session = load(kind, file, "types").expect("there").expect("loads");
    let input = Tensor::from_f32(&[2, 2], vec![-1.0, 2.0, 0.0, 5.0]).expect("fits");
    let mut outputs = Vec::new();
    for _ in 0..3 {
        session.run(std::slice::from_ref(&input), &mut outputs).expect("runs");
        assert_eq!((outputs[0].i32(), outputs[0].shape()), (&[2, 2][..], &[2][..]));
        assert_eq!((outputs[1].i32(), outputs[1].shape()), (&[0, 1, 0, 1][..], &[2, 2][..]));
    }
}

/// How many results there are depends on the numbers that go in.
fn results_of_any_size(kind: EngineKind) {
    let file = model(&[
        node("NonZero", &["x"], &["y"], &[]),
        input("x", FLOAT, &[Some(4)]),
        output("y", INT64, &[Some(1), None]),
    ]);
    let Some(session) = load(kind, file, "results_of_any_size") else { return };
    let mut session = session.expect("loads");
    let mut outputs = Vec::new();
    for (numbers, expected) in [
        ([0.0, 1.0, 0.0, 1.0], &[1, 3][..]),
        ([0.0, 1.0, 0.0, 1.0], &[1, 3]),
        ([1.0, 1.0, 1.0, 1.0], &[0, 1, 2, 3]),
        ([0.0, 0.0, 2.0, 0.0], &[2]),
    ] {
        let input = Tensor::from_f32(&[4], numbers.to_vec()).expect("fits");
        session.run(&[input], &mut outputs).expect("runs");
        assert_eq!(outputs[0].i32(), expected);
    }
}

fn wrong_inputs(kind: EngineKind) {
    let Some(engine) = open(kind, &format!("hostile::{kind}::wrong_inputs")) else { return };
    let mut session = engine.load(&weights(kind, "blazeface_short_128"), &on_cpu()).expect("loads");
    let shape = |side: usize| [1, 3, side, side];
    for inputs in [
        vec![],
        vec![Tensor::zeros(DType::F32, &shape(64))],
        vec![Tensor::zeros(DType::I32, &shape(128))],
        vec![Tensor::zeros(DType::F32, &[3, 128, 128])],
        vec![Tensor::zeros(DType::F32, &shape(128)); 2],
    ] {
        let error = session.run(&inputs, &mut Vec::new()).expect_err("wrong");
        assert!(matches!(error, EngineError::Input { .. }), "{error}");
    }
    let mut outputs = Vec::new();
    session.run(&[Tensor::zeros(DType::F32, &shape(128))], &mut outputs).expect("still works");
    assert_eq!(outputs[0].shape(), [1, 896, 16]);
    assert!(session.memory_bytes() > 100_000);
    assert_eq!(session.max_batch(), 1);
    assert_eq!(session.accelerator().reason, "switched off");
}

/// A model of the user's own that divides by zero is refused when it is loaded.
fn not_finite(kind: EngineKind) {
    if open(kind, &format!("hostile::{kind}::not_finite")).is_none() {
        return;
    }
    let file = picture_to_picture(node("Div", &["x", "x"], &["y"], &[]), Vec::new());
    let mut config = ModelsConfig::default();
    (config.engine, config.onnxruntime) = (Some(kind), onnxruntime());
    let models = Models::new(config);
    models.add(ModelCard::new("zero", "divides by zero").file(ModelFile::onnx(file.leak())));
    let error = models.handle("zero").and_then(|mut handle| handle.load().map(drop)).expect_err("not finite");
    assert!(error.to_string().contains("not finite"), "{error}");
    assert_eq!(models.engine_report().expect("there").kind, kind);
}

macro_rules! tests {
    ($engine:ident, $feature:literal, $kind:expr) => {
        #[cfg(feature = $feature)]
        mod $engine {
            use super::*;

            #[test]
            fn no_models() {
                super::no_models($kind);
            }

            #[test]
            fn other_files() {
                super::other_files($kind);
            }

            #[test]
            fn huge_sizes() {
                super::huge_sizes($kind);
            }

            #[test]
            fn nonsense() {
                super::nonsense($kind);
            }

            #[test]
            fn types() {
                super::types($kind);
            }

            #[test]
            fn results_of_any_size() {
                super::results_of_any_size($kind);
            }

            #[test]
            fn wrong_inputs() {
                super::wrong_inputs($kind);
            }

            #[test]
            fn not_finite() {
                super::not_finite($kind);
            }
        }
    };
}

tests!(onnx, "onnx", EngineKind::Onnx);
tests!(rten, "rten", EngineKind::Rten);

#[cfg(feature = "candle")]
#[test]
fn candle_refuses_wrong_inputs() {
    wrong_inputs(EngineKind::Candle);
}

#[cfg(feature = "torch")]
#[test]
fn torch_refuses_wrong_inputs() {
    wrong_inputs(EngineKind::Torch);
}

#[cfg(feature = "torch")]
#[test]
fn torch_refuses_what_is_no_torchscript() {
    let engine = open(EngineKind::Torch, "").expect("the feature is on");
    let good = weights(EngineKind::Torch, "blazeface_short_128");
    for data in [b"".to_vec(), b"\x80\x02}q\x00.".to_vec(), good.data[..good.data.len() / 2].to_vec()] {
        let mut bad = good.clone();
        bad.data = data.into();
        assert!(matches!(engine.load(&bad, &on_cpu()), Err(EngineError::Load { .. })));
    }
    let mut alone = good;
    alone.graph = None;
    assert!(matches!(engine.load(&alone, &on_cpu()), Err(EngineError::Load { .. })));
}
