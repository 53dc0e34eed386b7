//! From a picture of 1280x720 into model inputs, on one thread: `cargo bench -p ooblex-models --bench preprocess`.
//!
//! `scripts/bench_preprocess.sh` runs this side by side with OpenCV.
#![allow(missing_docs)] // Criterion's macros make undocumented items.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ooblex_core::testing::random_image;
use ooblex_core::{ColorSpace, PixelFormat};
use ooblex_models::preprocess::{Components, Fit, InputSpec, Layout, Preprocess, Square};
use ooblex_models::{DType, Tensor};

fn letterbox(side: usize) -> InputSpec {
    InputSpec {
        fit: Fit::Letterbox,
        mean: [127.5; 3],
        scale: [1.0 / 127.5; 3],
        ..InputSpec::rgb01(side, side)
    }
}

fn preprocess(c: &mut Criterion) {
    let mut group = c.benchmark_group("preprocess_720p");
    let movenet = InputSpec { layout: Layout::Nhwc, mean: [0.0; 3], scale: [1.0; 3], ..letterbox(192) };
    let i420 = PixelFormat::I420;
    for (name, spec, format, dtype) in [
        ("i420_128_letterbox", letterbox(128), i420, DType::F32),
        ("nv12_128_letterbox", letterbox(128), PixelFormat::Nv12, DType::F32),
        ("rgb_128_letterbox", letterbox(128), PixelFormat::Rgb, DType::F32),
        ("i420_256x144_stretch", InputSpec::rgb01(256, 144), i420, DType::F32),
        ("i420_256x256_stretch", InputSpec::rgb01(256, 256), i420, DType::F32),
        ("i420_192_letterbox_i32", movenet, i420, DType::I32),
        ("i420_416_letterbox", letterbox(416), i420, DType::F32),
        ("i420_640x384_stretch", InputSpec::rgb01(640, 384), i420, DType::F32),
    ] {
        let image = random_image(format, 1280, 720, ColorSpace::BT601, 0, 1);
        let (mut preprocess, mut tensor) = (Preprocess::new(spec), Tensor::zeros(dtype, &[0]));
        group.bench_function(name, |b| {
            b.iter(|| preprocess.fill(black_box(&image), &mut tensor).expect("host memory"));
        });
    }
    let image = random_image(i420, 1280, 720, ColorSpace::BT601, 0, 1);
    for side in [150.0, 370.0, 600.0] {
        let (mut preprocess, mut tensor) = (Preprocess::new(InputSpec::rgb01(192, 192)), Tensor::default());
        let square = Square { center: [600.0, 350.0], side, angle: 0.2 };
        group.bench_function(format!("i420_192_square_of_{side}"), |b| {
            b.iter(|| preprocess.fill_square(black_box(&image), &square, &mut tensor).expect("host memory"));
        });
    }
    let grey = InputSpec { components: Components::Luma, ..InputSpec::rgb01(64, 64) };
    let (mut preprocess, mut tensor) = (Preprocess::new(grey), Tensor::default());
    let mut left = 300.0;
    group.bench_function("i420_64_rect_that_moves", |b| {
        b.iter(|| {
            left = if left < 310.0 { left + 0.25 } else { 300.0 };
            preprocess
                .fill_rect(black_box(&image), [left, 200.0, 200.0, 250.0], &mut tensor)
                .expect("host memory")
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(900)).without_plots();
    targets = preprocess
}
criterion_main!(benches);
