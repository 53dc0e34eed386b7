//! Every model on every engine of the build, one thread: `cargo bench -p ooblex-models --bench engines`.
//!
//! `--features candle` and `--features torch` add those. ONNX Runtime is that of the tests' `.venv`, or else the one that
//! is found or named by `ORT_DYLIB_PATH`.
//! An accelerator is used if the build and the machine have one, and its batches of 4 and 16 are measured, too; on the
//! CPU a batch is one picture after the other. `scripts/bench_engines.py` gives ONNX Runtime's own figures.
#![allow(missing_docs)] // Criterion's macros make undocumented items.
#![allow(clippy::print_stdout)]

#[path = "common/inputs.rs"]
mod inputs;
#[path = "../tests/common/onnxruntime.rs"]
mod onnxruntime;

use std::process::Command;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ooblex_models::engine::{self, DeviceKind, EngineKind, LoadOptions};

/// Models, with sizes for dimensions that they leave open after the first.
const MODELS: [(&str, [usize; 2]); 9] = [
    ("blazeface_short_128", [0, 0]),
    ("selfie_landscape_144x256", [0, 0]),
    ("selfie_general_256", [0, 0]),
    ("style_multistyle26", [240, 320]),
    ("centerface", [320, 320]),
    ("nanodet_g_416", [0, 0]),
    ("movenet_lightning_192", [0, 0]),
    ("facemesh468_192", [0, 0]),
    ("emotion_minixception_64", [0, 0]),
];

fn gpu_name() -> String {
    let output = Command::new("nvidia-smi").args(["--query-gpu=name", "--format=csv,noheader"]).output();
    output.map_or_else(|_| "a GPU".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn engines(c: &mut Criterion) {
    let onnxruntime = onnxruntime::onnxruntime();
    for kind in EngineKind::ALL {
        let choice = match engine::choose(Some(kind), onnxruntime.as_deref()) {
            Ok(choice) => choice,
            Err(error) => {
                println!("{error}");
                continue;
            }
        };
        println!("{kind} {} {}", choice.report.version, choice.report.place.unwrap_or_default());
        for (model, sizes) in MODELS {
            let Some(weights) = inputs::weights(kind, model) else { continue };
            let mut session = choice.engine.load(&weights, &LoadOptions::default()).expect("loads");
            let ran = session.accelerator().ran;
            if ran != DeviceKind::Cpu {
                println!("{model} runs on {ran}, {}: {}", gpu_name(), session.accelerator().reason);
            }
            let mut group = c.benchmark_group(format!("engines/{model}"));
            group
                .sample_size(10)
                .warm_up_time(Duration::from_millis(300))
                .measurement_time(Duration::from_secs(1));
            let most = session.max_batch();
            for batch in [1, 4, 16].into_iter().filter(|batch| *batch <= most) {
                let (inputs, mut outputs) = (inputs::noise(session.as_ref(), sizes, batch), Vec::new());
                group.throughput(Throughput::Elements(batch as u64));
                group.bench_function(format!("{kind}/{ran}/{batch}"), |b| {
                    b.iter(|| session.run(&inputs, &mut outputs).expect("runs"));
                });
            }
        }
    }
}

criterion_group!(benches, engines);
criterion_main!(benches);
