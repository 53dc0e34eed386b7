//! Processors that look for a person or paint, at 1280x720, I420 in: `cargo bench -p ooblex-models --bench processors_masks`.
//!
//! Each is timed whole. Beside it stand its parts that are not its own: the model alone, and the way from the picture
//! into the model's input. What is left is its own work: masks, blur, blending, and the copy of the picture that it
//! writes to.
#![allow(missing_docs)] // Criterion's macros make undocumented items.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ooblex_core::testing::process_one;
use ooblex_core::{
    BufferPool, ColorSpace, Frame, Image, Options, Picture, PixelFormat, Registry, StreamId, convert,
};
use ooblex_models::manager::{Models, SELFIE_LANDSCAPE, STYLE};
use ooblex_models::preprocess::{InputSpec, Preprocess};
use ooblex_models::smooth::MaskSmoother;

/// The astronaut as a camera would show her: 1280x720, limited range.
fn picture() -> Image {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models/astronaut.png");
    let rgb = image::open(path).expect("a golden picture").into_rgb8();
    let rgb = image::imageops::resize(&rgb, 1280, 720, image::imageops::FilterType::Triangle);
    let rgb =
        Image::from_vec(PixelFormat::Rgb, 1280, 720, ColorSpace::JPEG, rgb.into_raw()).expect("a picture");
    convert::convert(&rgb, PixelFormat::I420, ColorSpace::BT601, &BufferPool::default()).expect("converts")
}

/// A frame with pixels of its own, as from a decoder: making them is not timed.
fn frame(original: &Image, pool: &BufferPool) -> Frame {
    let planes = [0, 1, 2].map(|i| original.plane(i).expect("host memory"));
    let planes =
        planes.map(|plane| (plane.rows().flatten().copied().collect::<Vec<u8>>(), plane.row_bytes()));
    let planes = planes.each_ref().map(|(data, stride)| (&data[..], *stride));
    let image = Image::from_planes(PixelFormat::I420, 1280, 720, ColorSpace::BT601, &planes, pool);
    Frame::new(StreamId::default(), 1, Instant::now(), Picture::new(image.expect("a picture"), pool.clone()))
}

fn whole(c: &mut Criterion) {
    let (original, pool) = (picture(), BufferPool::default());
    let (mut registry, models) = (Registry::new(), Models::default());
    ooblex_models::register_with(&mut registry, &models);
    let mut group = c.benchmark_group("masks_720p");
    for (name, effect, options) in [
        ("background_blur", "background_blur", Options::new()),
        ("background_blur_strongest", "background_blur", Options::new().with("strength", 100)),
        ("background_remove", "background_remove", Options::new()),
        ("background_remove_alpha", "background_remove", Options::new().with("mode", "alpha")),
        ("background_replace", "background_replace", Options::new()),
        ("segmentation", "segmentation", Options::new()),
        ("segmentation_undrawn", "segmentation", Options::new().with("draw", false)),
        ("style_transfer", "style_transfer", Options::new()),
    ] {
        let mut processor = registry.build(effect, &options).expect("builds");
        processor.warm_up().expect("loads");
        group.bench_function(name, |b| {
            b.iter_batched(
                || frame(&original, &pool),
                |mut frame| {
                    process_one(&mut processor, &mut frame).expect("processes");
                    black_box(frame)
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn parts(c: &mut Criterion) {
    let (original, models) = (picture(), Models::default());
    let mut group = c.benchmark_group("masks_720p_parts");
    for (name, width, height) in [(SELFIE_LANDSCAPE, 256, 144), (STYLE, 320, 180)] {
        let mut handle = models.handle(name).expect("a model");
        let mut input = Preprocess::new(InputSpec::rgb01(width, height));
        handle.load().expect("loads");
        input.fill(&original, handle.input(0).expect("an input")).expect("fills");
        group.bench_function(format!("model/{name}"), |b| {
            b.iter(|| black_box(handle.run(None).expect("runs")).len())
        });
        group.bench_function(format!("input/{name}"), |b| {
            b.iter(|| input.fill(&original, handle.input(0).expect("an input")).expect("fills"));
        });
    }
    let (mut smoother, mut values) = (MaskSmoother::new(0.5), vec![99u8; 256 * 144]);
    group.bench_function("smoother/256x144", |b| b.iter(|| smoother.update(&mut values, 256, 144)));
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2)).without_plots();
    targets = whole, parts
}
criterion_main!(benches);
