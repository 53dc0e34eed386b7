//! One turbojpeg encode of a 720p picture from planes: by this the figures of different machines are compared. The
//! machine of the project's published targets takes 2.25 ms.
//!
//! The picture is made, not read: blurred noise over a gradient, about 150 kB at quality 85, like a real photograph.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use ooblex_mjpeg::encode::{jpeg_encoder, jpeg_encoder_name};

mod picture;

fn calibrate(c: &mut Criterion) {
    let image = picture::photo_like();
    let mut encoder = jpeg_encoder().expect("initialises");
    let bytes = encoder.encode(&image, 85).expect("encodes").len();
    c.bench_function(
        &format!("calibrate: 720p from planes by {}, {bytes} bytes", jpeg_encoder_name()),
        |b| {
            b.iter(|| encoder.encode(black_box(&image), 85).expect("encodes"));
        },
    );
}

criterion_group!(benches, calibrate);
criterion_main!(benches);
