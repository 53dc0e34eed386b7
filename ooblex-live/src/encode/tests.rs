//! Every encoder against an independent decoder.

use ooblex_core::{BufferPool, ColorSpace, PixelFormat};
use ooblex_ingest::decode::{self, Decoded, VideoCodec};

use super::*;
use crate::output::LADDER;

/// Soft structures that move by two pixels a picture; U and V differ.
fn picture(width: u32, height: u32, color: ColorSpace, n: u32) -> Image {
    let mut image =
        Image::alloc(PixelFormat::I420, width, height, color, &BufferPool::new(0)).expect("a size");
    for (index, mut plane) in image.i420_mut().expect("I420").into_iter().enumerate() {
        let step = if index == 0 { 1.0 } else { 2.0 };
        let (fx, fy) = [(23.0, 31.0), (90.0, 1e9), (1e9, 70.0)][index];
        for (y, row) in plane.rows_mut().enumerate() {
            for (x, v) in row.iter_mut().enumerate() {
                let (x, y) = (x as f64 * step + f64::from(2 * n), y as f64 * step);
                *v = (128.0 + 60.0 * (x / fx).sin() * (y / fy).cos()) as u8;
            }
        }
    }
    image
}

fn decoder(codec: Codec) -> Box<dyn decode::VideoDecoder> {
    let codec = if codec == Codec::H264 { VideoCodec::H264 } else { VideoCodec::Vp8 };
    decode::open(codec, BufferPool::new(2)).expect("a decoder")
}

/// Root of the mean squared difference of each plane.
fn differences(a: &Image, b: &Image) -> [f64; 3] {
    [0, 1, 2].map(|index| {
        let (a, b) = (a.plane(index).expect("host"), b.plane(index).expect("host"));
        let (mut sum, mut count) = (0.0, 0.0);
        for (a, b) in a.rows().zip(b.rows()) {
            for (a, b) in a.iter().zip(b) {
                sum += (f64::from(*a) - f64::from(*b)).powi(2);
                count += 1.0;
            }
        }
        (sum / count).sqrt()
    })
}

fn video() -> impl Iterator<Item = Codec> {
    supported().iter().copied().filter(|codec| *codec != Codec::Jpeg)
}

#[test]
fn what_is_encoded_decodes_to_the_same_picture() {
    for codec in video() {
        let (mut encoder, mut decoder) = (open(codec, LADDER[0]).expect("opens"), decoder(codec));
        let mut decoded: Vec<Decoded> = Vec::new();
        for n in 0..20 {
            let image = picture(320, 240, ColorSpace::BT601, n);
            let at = Duration::from_millis(33 * u64::from(n));
            let unit = encoder.encode(&image, at, n == 10).expect("encodes").expect("none is left out");
            assert_eq!(unit.is_key, n == 0 || n == 10, "{codec} {n}");
            assert_eq!((unit.width, unit.height), (320, 240));
            decoder.decode(&unit.data, n.into(), &mut decoded).expect("decodes");
            // Nothing is held back.
            let shown = decoded.pop().expect("a picture at once");
            assert!(decoded.is_empty() && shown.pts == i64::from(n));
            let off = differences(&image, &shown.image);
            assert!(off.iter().all(|off| *off < 6.0), "{codec} {n}: {off:?}");
        }
    }
}

#[test]
fn full_range_is_squeezed_and_another_matrix_is_said_or_converted() {
    for codec in video() {
        let (mut encoder, mut decoder) = (open(codec, LADDER[0]).expect("opens"), decoder(codec));
        let mut decoded = Vec::new();
        for (n, color) in [ColorSpace::JPEG, ColorSpace::BT709].into_iter().enumerate() {
            let image = picture(320, 240, color, 0);
            let at = Duration::from_secs(n as u64);
            let unit = encoder.encode(&image, at, true).expect("encodes").expect("a unit");
            decoder.decode(&unit.data, n as i64, &mut decoded).expect("decodes");
            let shown = decoded.pop().expect("a picture").image;
            let back = ooblex_core::convert::convert(&shown, PixelFormat::I420, color, &BufferPool::new(0));
            let off = differences(&image, &back.expect("converts"));
            assert!(off.iter().all(|off| *off < 6.0), "{codec} {color:?}: {off:?}");
            let kept = codec == Codec::H264 && shown.color().matrix == color.matrix;
            assert!(kept || codec == Codec::Vp8, "{codec} {:?}", shown.color());
        }
    }
}

#[test]
fn another_size_begins_with_a_key_frame() {
    for codec in video() {
        let (mut encoder, mut decoder) = (open(codec, LADDER[2]).expect("opens"), decoder(codec));
        let mut decoded = Vec::new();
        for (n, (from, to)) in [
            ((1280, 720), (854, 480)),
            ((641, 359), (640, 358)),
            ((9, 7), (16, 16)),
            ((720, 1280), (480, 854)),
        ]
        .into_iter()
        .enumerate()
        {
            let image = picture(from.0, from.1, ColorSpace::BT601, 0);
            let at = Duration::from_millis(n as u64);
            let unit = encoder.encode(&image, at, false).expect("encodes").expect("a unit");
            assert!(unit.is_key, "{codec} {from:?}");
            decoder.decode(&unit.data, n as i64, &mut decoded).expect("decodes");
            let shown = decoded.pop().expect("a picture").image;
            assert_eq!((shown.width(), shown.height()), to, "{codec} {from:?}");
            assert_eq!((unit.width, unit.height), to);
        }
    }
}

#[test]
fn the_bit_rate_is_kept() {
    for codec in video() {
        let mut sizes = Vec::new();
        for rung in [1, 4] {
            let mut encoder = open(codec, LADDER[rung]).expect("opens");
            let mut bytes = 0;
            for n in 0..60 {
                let mut image = picture(640, 480, ColorSpace::BT601, n);
                // Noise, which never compresses well.
                let mut random = ooblex_core::testing::Random::new(n.into());
                for mut plane in image.i420_mut().expect("I420") {
                    plane
                        .rows_mut()
                        .flatten()
                        .for_each(|v| *v = v.wrapping_add((random.next_u64() >> 61) as u8));
                }
                let at = Duration::from_millis(33 * u64::from(n));
                let unit = encoder.encode(&image, at, false).expect("encodes").expect("a unit");
                bytes += unit.data.len();
            }
            let wanted = LADDER[rung].kbps as usize * 1000 / 8 * 2;
            assert!(bytes < wanted * 2, "{codec}: {bytes} bytes in two seconds, wanted {wanted}");
            sizes.push(bytes);
        }
        assert!(sizes[1] * 2 < sizes[0], "{codec}: {sizes:?}");
    }
}

#[test]
fn jpeg_is_always_a_key_frame_and_as_small_as_asked() {
    let mut encoder = open(Codec::Jpeg, LADDER[3]).expect("opens");
    let image = picture(1280, 720, ColorSpace::JPEG, 0);
    let unit = encoder.encode(&image, Duration::ZERO, false).expect("encodes").expect("a unit");
    assert!(unit.is_key && unit.data.starts_with(&[0xff, 0xd8]));
    assert_eq!((unit.width, unit.height), (640, 360));
}
