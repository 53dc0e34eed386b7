//! Encoding 720p pictures of every kind, and what range expansion and a change of matrix add.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ooblex_core::{BufferPool, ColorMatrix, ColorRange, ColorSpace, PixelFormat, convert};
use ooblex_mjpeg::encode::jpeg_encoder;

mod picture;

fn encode(c: &mut Criterion) {
    let pool = BufferPool::new(0);
    let source = picture::photo_like();
    let mut encoder = jpeg_encoder().expect("initialises");
    let mut group = c.benchmark_group("encode 720p");
    let bt709_full = ColorSpace { range: ColorRange::Full, matrix: ColorMatrix::Bt709 };
    for (name, format, color) in [
        ("I420, full range (nothing to do)", PixelFormat::I420, ColorSpace::JPEG),
        ("I420, limited range", PixelFormat::I420, ColorSpace::BT601),
        ("I420, limited range, BT.709", PixelFormat::I420, ColorSpace::BT709),
        ("I420, full range, BT.709", PixelFormat::I420, bt709_full),
        ("NV12, limited range", PixelFormat::Nv12, ColorSpace::BT601),
        ("Gray8, limited range", PixelFormat::Gray8, ColorSpace::BT601),
        ("RGB", PixelFormat::Rgb, ColorSpace::JPEG),
        ("RGBA", PixelFormat::Rgba, ColorSpace::JPEG),
    ] {
        let image = convert::convert(&source, format, color, &pool).expect("converts");
        group.bench_function(name, |b| b.iter(|| encoder.encode(black_box(&image), 85).expect("encodes")));
    }
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
