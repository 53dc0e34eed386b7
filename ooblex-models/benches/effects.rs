//! Every effect on one thread at 1280x720, I420 in: `cargo bench -p ooblex-models`.
//!
//! `scripts/bench_effects.sh` runs this side by side with OpenCV on the same picture.
#![allow(missing_docs)] // Criterion's macros make undocumented items.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use ooblex_core::testing::process_one;
use ooblex_core::{BufferPool, ColorSpace, Frame, Image, Options, Picture, PixelFormat, Registry, StreamId};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;

/// The golden picture of the astronaut, enlarged bilinearly; the benchmark of OpenCV does the same.
fn picture() -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/astronaut.input.png");
    let packed = image::open(&path).expect("a golden picture").into_luma8();
    let (stride, data) = (packed.width() as usize, packed.as_raw());
    let (width, height) = (321usize, 243usize);
    let (half, rows) = (stride / 2, height.div_ceil(2));
    [(0, width, height), (stride * height, half, rows), (stride * height + half, half, rows)]
        .into_iter()
        .enumerate()
        .map(|(i, (offset, width, height))| {
            let shift = u32::from(i > 0);
            enlarge(
                &data[offset..],
                stride,
                (width, height),
                ((WIDTH >> shift) as usize, (HEIGHT >> shift) as usize),
            )
        })
        .collect()
}

fn enlarge(data: &[u8], stride: usize, (w, h): (usize, usize), (width, height): (usize, usize)) -> Vec<u8> {
    let place = |i: usize, to: usize, from: usize| {
        let at = ((i as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, from as f32 - 1.0);
        (at as usize, (at as usize + 1).min(from - 1), at.fract())
    };
    let mut out = Vec::with_capacity(width * height);
    for y in 0..height {
        let (top, bottom, fy) = place(y, height, h);
        for x in 0..width {
            let (left, right, fx) = place(x, width, w);
            let at = |x: usize, y: usize| f32::from(data[y * stride + x]);
            let upper = at(left, top) * (1.0 - fx) + at(right, top) * fx;
            let lower = at(left, bottom) * (1.0 - fx) + at(right, bottom) * fx;
            out.push((upper * (1.0 - fy) + lower * fy).round() as u8);
        }
    }
    out
}

fn effects(c: &mut Criterion) {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let original = picture();
    let mut group = c.benchmark_group("effects_720p");
    for spec in registry.kinds().filter(|kind| kind.needs_model.is_none()) {
        let mut processor = registry.build(&spec.name, &Options::new()).expect("builds");
        let pool = BufferPool::default();
        let planes: Vec<(&[u8], usize)> = original
            .iter()
            .enumerate()
            .map(|(i, p)| (&p[..], (WIDTH as usize) >> usize::from(i > 0)))
            .collect();
        group.bench_function(&spec.name, |b| {
            // Each round gets a copy of its own from the pool, as from a decoder; copying is not timed.
            b.iter_batched(
                || {
                    let image = Image::from_planes(
                        PixelFormat::I420,
                        WIDTH,
                        HEIGHT,
                        ColorSpace::JPEG,
                        &planes,
                        &pool,
                    );
                    let picture = Picture::new(image.expect("a picture"), pool.clone());
                    Frame::new(StreamId::default(), 1, Instant::now(), picture)
                },
                |mut frame| {
                    process_one(&mut processor, &mut frame).expect("processes");
                    black_box(frame)
                },
                criterion::BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(900)).without_plots();
    targets = effects
}
criterion_main!(benches);
