//! With the real library, where the tests' Python environment has it.
#![allow(clippy::print_stdout)] // How a test says that it skips.

use std::path::PathBuf;

use super::*;
use crate::engine::{FileData, Format, UseGpu};
use crate::tensor::Tensor;

/// The library of the environment `.venv` above the package.
fn library() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let near = above.map(|here| Surroundings { here: Some(here.to_path_buf()), ..Surroundings::default() });
    near.into_iter().find_map(|near| library::find(&near).ok()).map(|library| library.path)
}

fn open(test: &str) -> Option<Onnx> {
    let Some(library) = library() else {
        println!("SKIPPED {test}: .venv has no onnxruntime; scripts/setup.sh test installs it");
        return None;
    };
    Some(Onnx::open(Some(&library)).expect("opens"))
}

fn weights(file: &'static [u8]) -> Weights {
    Weights::new("test", Format::Onnx, FileData::from(file))
}

fn style(height: usize, value: f32) -> Vec<Tensor> {
    let mut inputs =
        vec![Tensor::zeros(crate::DType::F32, &[1, 3, height, 64]), Tensor::zeros(crate::DType::F32, &[26])];
    inputs[0].f32_mut().iter_mut().enumerate().for_each(|(i, v)| *v = (i % 7) as f32 * value);
    inputs[1].f32_mut()[7] = 1.0;
    inputs
}

const STYLE: &[u8] = include_bytes!("../../../weights/style_multistyle26.onnx");

#[test]
fn a_probe_finds_out_that_the_cpu_ran_it() {
    let Some(engine) = open("engine::ort::tests::a_probe_finds_out_that_the_cpu_ran_it") else { return };
    let probed = engine.probe(&weights(STYLE), &LoadOptions::default(), Vec::new()).expect("runs");
    assert_eq!(probed.ran, super::super::DeviceKind::Cpu);
    let (before, after) = probed.reason.split_once(" of ").expect("a count");
    assert!(before.ends_with(" 0"), "{}", probed.reason);
    let all: usize = after.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!(all > 20, "{}", probed.reason);
}

#[test]
fn buffers_are_bound_by_size_and_results_stay_the_same() {
    let Some(engine) = open("engine::ort::tests::buffers_are_bound_by_size_and_results_stay_the_same") else {
        return;
    };
    let options = LoadOptions { use_gpu: UseGpu::Off, ..LoadOptions::default() };
    let mut session = engine.on_cpu(&weights(STYLE), &options).expect("loads");
    let before = session.memory_bytes();
    let mut first = Vec::new();
    // The second run of each size is the first with bound buffers.
    let (mut outputs, sizes) = (Vec::new(), [32, 64, 32, 64, 64, 32]);
    for (index, height) in sizes.into_iter().enumerate() {
        session.run(&style(height, 0.1), &mut outputs).expect("runs");
        assert_eq!(outputs[0].shape(), [1, 3, height, 64]);
        match first.iter().find(|(known, _): &&(usize, Tensor)| *known == height) {
            Some((_, known)) => assert_eq!(known, &outputs[0], "run {index}"),
            None => first.push((height, outputs[0].clone())),
        }
    }
    // What is bound is what is given now, not what was given first.
    let memory = (outputs[0].f32().as_ptr(), session.memory_bytes());
    session.run(&style(32, 0.05), &mut outputs).expect("runs");
    assert_ne!(&first[0].1, &outputs[0]);
    assert_eq!((outputs[0].f32().as_ptr(), session.memory_bytes()), memory, "nothing is allocated again");
    let buffers = 2 * 3 * 64 * (32 + 64) + 2 * 26;
    assert_eq!(session.memory_bytes() - before, 4 * buffers as u64);
    session.rest().expect("rests");
    session.run(&style(64, 0.1), &mut outputs).expect("runs");
    assert_eq!(&first[1].1, &outputs[0]);
    // Sizes that are no longer used are let go.
    for height in [8, 16, 24, 40, 48, 56] {
        session.run(&style(height + 32, 0.1), &mut outputs).expect("runs");
    }
    assert!(session.memory_bytes() < before + 4 * 4 * 2 * (3 * 64 * 88 + 26));
}

#[test]
fn a_process_has_one_library() {
    let Some(engine) = open("engine::ort::tests::a_process_has_one_library") else { return };
    assert!(Onnx::open(Some(&engine.library.path)).is_ok());
    let error = environment::of(Path::new("/some/other/libonnxruntime.so")).expect_err("another");
    assert!(error.contains("already"), "{error}");
    assert!(engine.place().is_some_and(|place| place.contains("libonnxruntime.so")));
    assert!(engine.version().starts_with("1."));
}
