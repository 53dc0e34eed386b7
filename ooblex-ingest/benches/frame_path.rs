//! What a picture costs on its way in, one thread. `cargo bench -p ooblex-ingest`.
//!
//! 720p pictures of about 150 kB, the size that a camera sends; compare ratios, not milliseconds.
#![allow(missing_docs, clippy::unwrap_used)]

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use ooblex_core::{BufferPool, ColorSpace, FrameSource, Image, PictureDecoder, PixelFormat, Want};
use ooblex_ingest::decode::JpegDecoder;
use ooblex_ingest::file::{FileSource, Pace, Repeat};
use ooblex_ingest::pattern::{self, TestPattern};
use ooblex_ingest::picture::{self, PictureLimits};
use turbojpeg::{Compressor, Subsamp};

/// The test picture, tiled to 720p.
fn photograph() -> Image {
    let pool = BufferPool::new(4);
    let data = Bytes::from_static(include_bytes!("../tests/data/upright.png"));
    let mut small = picture::accept(data, &PictureLimits::default(), &pool).unwrap();
    let small = small.pixels().unwrap();
    let mut large = Image::alloc(PixelFormat::Rgb, 1280, 720, ColorSpace::JPEG, &pool).unwrap();
    let from = small.plane(0).unwrap();
    for (y, row) in large.plane_mut(0).unwrap().rows_mut().enumerate() {
        for (x, px) in row.chunks_exact_mut(3).enumerate() {
            // Each source pixel covers 4 x 4, shifted a little so that edges do not fall on block borders.
            let (sx, sy) = ((x + y / 7) / 4 % 96, y / 4 % 64);
            px.copy_from_slice(&from.row(sy)[3 * sx..3 * sx + 3]);
        }
    }
    large
}

fn jpeg(image: &Image, subsamp: Subsamp) -> Bytes {
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(85).unwrap();
    compressor.set_subsamp(subsamp).unwrap();
    let pixels = image.to_packed().unwrap();
    let format = turbojpeg::PixelFormat::RGB;
    let picture = turbojpeg::Image { pixels: &pixels[..], width: 1280, pitch: 3840, height: 720, format };
    compressor.compress_to_vec(picture).unwrap().into()
}

fn pictures(c: &mut Criterion) {
    let limits = PictureLimits::default();
    let pool = BufferPool::new(4);
    let image = photograph();
    let plain = jpeg(&image, Subsamp::Sub2x2);
    let comment = [&plain[..2], b"\xFF\xFE\x00\x08secret", &plain[2..]].concat();
    let commented = Bytes::from(comment);
    c.bench_function(&format!("accept/clean/{}kB", plain.len() / 1000), |b| {
        b.iter(|| picture::accept(plain.clone(), &limits, &pool).unwrap());
    });
    c.bench_function("accept/with a comment to drop", |b| {
        b.iter(|| picture::accept(commented.clone(), &limits, &pool).unwrap());
    });
    for (name, subsamp) in [("420", Subsamp::Sub2x2), ("422", Subsamp::Sub2x1), ("444", Subsamp::None)] {
        let data = jpeg(&image, subsamp);
        let encoded = picture::accept(data, &limits, &pool).unwrap().as_encoded().unwrap().clone();
        for (what, want) in [("full", Want::Full), ("luma", Want::Luma), ("quarter", Want::Reduced(4))] {
            c.bench_function(&format!("decode/720p {name}/{what}"), |b| {
                b.iter(|| JpegDecoder::new().decode(&encoded, want, &pool).unwrap());
            });
        }
    }
}

fn sources(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut source = TestPattern::new(1280, 720, 30).unwrap().pace(Pace::AsFast);
    c.bench_function("pattern/720p frame", |b| {
        b.iter(|| runtime.block_on(source.next_frame()).unwrap().unwrap());
    });
    let mut frame = runtime.block_on(source.next_frame()).unwrap().unwrap();
    let luma = frame.image.luma().unwrap();
    c.bench_function("pattern/720p read", |b| {
        b.iter(|| pattern::read(&luma.plane(0).unwrap()).unwrap());
    });
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/pan.mp4");
    let mut clip = FileSource::open(clip, Pace::AsFast).unwrap().repeat(Repeat::Forever);
    c.bench_function("file/160x120 H.264 frame", |b| {
        b.iter(|| runtime.block_on(clip.next_frame()).unwrap().unwrap());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1))
        .without_plots();
    targets = pictures, sources
}
criterion_main!(benches);
