use ooblex_core::testing::random_image;
use ooblex_core::{BufferPool, ColorMatrix, ColorRange, ColorSpace, PixelFormat, convert};
use turbojpeg::{Decompressor, PixelFormat as Out};

use super::*;

fn encoders() -> Vec<(&'static str, Box<dyn JpegEncoder>)> {
    vec![("default", jpeg_encoder().expect("initialises")), ("pure", Box::new(pure::PureEncoder::default()))]
}

/// Decodes to packed RGB.
fn decode(jpeg: &[u8]) -> turbojpeg::Image<Vec<u8>> {
    turbojpeg::decompress(jpeg, Out::RGB).expect("decodes")
}

fn flat(format: PixelFormat, width: u32, height: u32, color: ColorSpace, values: [u8; 3]) -> Image {
    let mut image = Image::alloc(format, width, height, color, &BufferPool::default()).expect("a valid size");
    for plane in 0..format.plane_count() {
        let mut plane_mut = image.plane_mut(plane).expect("a plane");
        for row in plane_mut.rows_mut() {
            for (i, v) in row.iter_mut().enumerate() {
                *v = match (format, plane) {
                    (PixelFormat::Nv12, 1) => values[1 + i % 2],
                    _ => values[plane],
                };
            }
        }
    }
    image
}

#[test]
fn limited_white_and_black_become_255_and_0() {
    let limited = [ColorSpace::BT601, ColorSpace::BT709];
    for (name, mut encoder) in encoders() {
        for color in limited {
            for format in [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Gray8] {
                for (luma, want) in [(235, 255), (16, 0), (255, 255), (0, 0)] {
                    let jpeg =
                        encoder.encode(&flat(format, 34, 18, color, [luma, 128, 128]), 90).expect("encodes");
                    let rgb = decode(&jpeg);
                    assert!(rgb.pixels.iter().all(|v| *v == want), "{name} {format:?} {color:?} {luma}");
                }
            }
        }
    }
}

#[test]
fn full_range_and_rgb_keep_their_extremes() {
    for (name, mut encoder) in encoders() {
        for format in PixelFormat::ALL {
            for value in [0, 255] {
                let mut image = flat(format, 20, 20, ColorSpace::JPEG, [value, 128, 128]);
                if !format.is_yuv() {
                    image.plane_mut(0).expect("plane").fill(value);
                }
                let rgb = decode(&encoder.encode(&image, 90).expect("encodes"));
                assert!(rgb.pixels.iter().all(|v| *v == value), "{name} {format:?} {value}");
            }
        }
    }
}

#[test]
fn colours_survive_every_format_range_and_matrix() {
    let pool = BufferPool::default();
    let colours = [[200u8, 40, 60], [30, 180, 90], [20, 60, 220], [128, 128, 128], [240, 230, 40]];
    for (name, mut encoder) in encoders() {
        for rgb in colours {
            let mut source = Image::alloc(PixelFormat::Rgb, 37, 23, ColorSpace::JPEG, &pool).expect("size");
            for row in source.plane_mut(0).expect("plane").rows_mut() {
                row.chunks_exact_mut(3).for_each(|px| px.copy_from_slice(&rgb));
            }
            for format in PixelFormat::ALL.into_iter().filter(|f| *f != PixelFormat::Gray8) {
                for range in [ColorRange::Limited, ColorRange::Full] {
                    for matrix in [ColorMatrix::Bt601, ColorMatrix::Bt709] {
                        let color = ColorSpace { range, matrix };
                        let image = convert::convert(&source, format, color, &pool).expect("converts");
                        let out = decode(&encoder.encode(&image, 95).expect("encodes"));
                        assert_eq!((out.width, out.height), (37, 23));
                        for px in out.pixels.chunks_exact(3) {
                            let worst = px.iter().zip(&rgb).map(|(a, b)| a.abs_diff(*b)).max();
                            assert!(worst <= Some(5), "{name} {format:?} {color:?}: {px:?} is not {rgb:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn odd_sizes_and_padded_strides_encode_and_never_panic() {
    let spaces = [ColorSpace::JPEG, ColorSpace::BT601, ColorSpace::BT709];
    for (_, mut encoder) in encoders() {
        for format in PixelFormat::ALL {
            for (width, height) in [(1, 1), (1, 2), (2, 1), (3, 5), (16, 16), (17, 33), (65, 31), (640, 3)] {
                for (n, color) in spaces.into_iter().enumerate() {
                    let image = random_image(format, width, height, color, [0, 1, 29][n], 7);
                    let jpeg = encoder.encode(&image, 80).expect("encodes");
                    let header =
                        Decompressor::new().expect("initialises").read_header(&jpeg).expect("a header");
                    assert_eq!(
                        (header.width, header.height),
                        (width as usize, height as usize),
                        "{format:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn padding_is_never_seen() {
    for (_, mut encoder) in encoders() {
        for format in PixelFormat::ALL {
            let image = random_image(format, 33, 17, ColorSpace::BT601, 11, 3);
            let packed = Image::from_vec(format, 33, 17, image.color(), image.to_packed().expect("host"))
                .expect("packed");
            let (a, b) = (encoder.encode(&image, 85), encoder.encode(&packed, 85));
            assert_eq!(a.expect("encodes"), b.expect("encodes"), "{format:?}");
        }
    }
}

#[test]
fn a_quality_out_of_range_is_refused_and_quality_matters() {
    for (_, mut encoder) in encoders() {
        let image = random_image(PixelFormat::I420, 64, 64, ColorSpace::JPEG, 0, 1);
        assert!(matches!(encoder.encode(&image, 0), Err(EncodeError::Quality(0))));
        assert!(matches!(encoder.encode(&image, 101), Err(EncodeError::Quality(101))));
        let small = encoder.encode(&image, 20).expect("encodes").len();
        assert!(small < encoder.encode(&image, 90).expect("encodes").len());
    }
}

#[test]
fn the_pool_uses_an_encoder_again() {
    let pool = EncoderPool::default();
    let image = random_image(PixelFormat::I420, 8, 8, ColorSpace::JPEG, 0, 1);
    for _ in 0..3 {
        pool.encode(&image, 85).expect("encodes");
    }
    assert_eq!(pool.0.lock().expect("unpoisoned").len(), 1);
}
