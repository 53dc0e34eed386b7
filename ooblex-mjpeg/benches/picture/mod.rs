//! A picture that costs an encoder about as much as a photograph does.

use ooblex_core::testing::Random;
use ooblex_core::{BufferPool, ColorSpace, Image, PixelFormat};
use ooblex_mjpeg::encode::jpeg_encoder;

/// Size of the JPEG that the published encode time belongs to.
const BYTES: usize = 150_000;

/// A 720p picture in full-range I420: a gradient with blurred noise, as strong as 150 kB at quality 85 take.
pub(crate) fn photo_like() -> Image {
    let mut encoder = jpeg_encoder().expect("initialises");
    let (mut low, mut high) = (0, 1000);
    while high - low > 1 {
        let middle = (low + high) / 2;
        let bytes = encoder.encode(&draw(middle), 85).expect("encodes").len();
        if bytes < BYTES { low = middle } else { high = middle }
    }
    draw(high)
}

fn draw(strength: i32) -> Image {
    let mut random = Random::new(1);
    let pool = BufferPool::new(0);
    let mut image =
        Image::alloc(PixelFormat::I420, 1280, 720, ColorSpace::JPEG, &pool).expect("a valid size");
    for (index, mut plane) in image.i420_mut().expect("planes").into_iter().enumerate() {
        let (w, h) = (plane.row_bytes(), plane.row_count());
        let mut noise: Vec<i32> = (0..w * h).map(|_| random.below(256) as i32 - 128).collect();
        for _ in 0..2 {
            for step in [1, w] {
                for i in 0..w * h - step {
                    noise[i] = (noise[i] + noise[i + step]) / 2;
                }
            }
        }
        for y in 0..h {
            for (x, v) in plane.row_mut(y).iter_mut().enumerate() {
                let base = if index == 0 { 40 + (x * 160 / w) as i32 } else { 128 };
                *v = (base + noise[y * w + x] * strength / 500).clamp(0, 255) as u8;
            }
        }
    }
    image
}
