//! JPEG into planes: every sampling and size, against the picture that was compressed.
#![cfg(feature = "turbojpeg")]
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use ooblex_core::{
    BufferPool, ColorSpace, Encoded, Image, ImageCodec, Picture, PictureDecoder, PixelFormat, Want, convert,
};
use ooblex_ingest::decode::JpegDecoder;
use ooblex_ingest::picture::{self, PictureLimits};
use turbojpeg::{Compressor, Subsamp};

const SAMPLINGS: [Subsamp; 7] = [
    Subsamp::None,
    Subsamp::Sub2x1,
    Subsamp::Sub2x2,
    Subsamp::Sub1x2,
    Subsamp::Sub4x1,
    Subsamp::Sub1x4,
    Subsamp::Gray,
];

fn accept(data: Vec<u8>) -> Picture {
    picture::accept(data.into(), &PictureLimits::default(), &BufferPool::default()).unwrap()
}

/// The astronaut, cut to a size.
fn rgb(width: u32, height: u32) -> Image {
    let mut whole = accept(include_bytes!("data/upright.png").to_vec());
    let whole = whole.pixels().unwrap().clone();
    let mut cut =
        Image::alloc(PixelFormat::Rgb, width, height, ColorSpace::JPEG, &BufferPool::new(0)).unwrap();
    for (to, from) in cut.plane_mut(0).unwrap().rows_mut().zip(whole.plane(0).unwrap().rows()) {
        let bytes = to.len();
        to.copy_from_slice(&from[..bytes]);
    }
    cut
}

fn compress(image: &Image, configure: impl FnOnce(&mut Compressor)) -> Vec<u8> {
    let mut compressor = Compressor::new().unwrap();
    compressor.set_quality(96).unwrap();
    configure(&mut compressor);
    let pixels = image.to_packed().unwrap();
    let (width, height) = (image.width() as usize, image.height() as usize);
    let format = turbojpeg::PixelFormat::RGB;
    let picture = turbojpeg::Image { pixels: &pixels[..], width, pitch: width * 3, height, format };
    compressor.compress_to_vec(picture).unwrap()
}

fn encoded(data: Vec<u8>) -> Encoded {
    accept(data).as_encoded().unwrap().clone()
}

/// Mean absolute difference of a plane.
fn distance(a: &Image, b: &Image, plane: usize) -> f64 {
    assert_eq!((a.format(), a.width(), a.height()), (b.format(), b.width(), b.height()));
    let (a, b) = (a.plane(plane).unwrap(), b.plane(plane).unwrap());
    let diffs = a.rows().flatten().zip(b.rows().flatten()).map(|(a, b)| f64::from(a.abs_diff(*b)));
    diffs.sum::<f64>() / (a.row_bytes() * a.row_count()) as f64
}

#[test]
fn every_sampling_and_odd_size_becomes_i420_of_the_same_picture() {
    let pool = BufferPool::default();
    for (width, height) in [(96, 64), (95, 63), (33, 17), (17, 64), (96, 1), (1, 64), (2, 2), (1, 1)] {
        let original = rgb(width, height);
        let reference = convert::convert(&original, PixelFormat::I420, ColorSpace::JPEG, &pool).unwrap();
        for sampling in SAMPLINGS {
            let data = compress(&original, |c| c.set_subsamp(sampling).unwrap());
            let decoded = JpegDecoder::new().decode(&encoded(data), Want::Full, &pool).unwrap();
            assert_eq!(decoded.color(), ColorSpace::JPEG);
            let what = format!("{sampling:?} {width}x{height}");
            if sampling == Subsamp::Gray {
                let gray = convert::convert(&reference, PixelFormat::Gray8, ColorSpace::JPEG, &pool).unwrap();
                assert!(distance(&decoded, &gray, 0) < 2.5, "{what}");
                continue;
            }
            assert!(distance(&decoded, &reference, 0) < 2.5, "{what}: {}", distance(&decoded, &reference, 0));
            // Samplings coarser than 4:2:0 in one direction lose more colour.
            let limit = if matches!(sampling, Subsamp::Sub4x1 | Subsamp::Sub1x4) { 6.0 } else { 2.5 };
            for plane in [1, 2] {
                let d = distance(&decoded, &reference, plane);
                assert!(d < limit, "{what} plane {plane}: {d}");
            }
        }
    }
}

#[test]
fn luma_alone_is_the_luma_of_the_whole() {
    let pool = BufferPool::default();
    for sampling in [Subsamp::None, Subsamp::Sub2x1, Subsamp::Sub2x2, Subsamp::Sub1x2, Subsamp::Gray] {
        let data = encoded(compress(&rgb(95, 63), |c| c.set_subsamp(sampling).unwrap()));
        let full = JpegDecoder::new().decode(&data, Want::Full, &pool).unwrap();
        let luma = JpegDecoder::new().decode(&data, Want::Luma, &pool).unwrap();
        assert_eq!(luma.format(), PixelFormat::Gray8);
        assert!(luma.plane(0).unwrap().rows().eq(full.plane(0).unwrap().rows()), "{sampling:?}");
    }
}

#[test]
fn reduced_pictures_are_the_averages() {
    let pool = BufferPool::default();
    for sampling in SAMPLINGS {
        let data = encoded(compress(&rgb(95, 63), |c| c.set_subsamp(sampling).unwrap()));
        let full = JpegDecoder::new().decode(&data, Want::Full, &pool).unwrap();
        for factor in [2, 4, 8] {
            let small = JpegDecoder::new().decode(&data, Want::Reduced(factor), &pool).unwrap();
            let n = u32::from(factor);
            assert_eq!((small.width(), small.height()), (95u32.div_ceil(n), 63u32.div_ceil(n)));
            let reference = convert::reduce(&full, factor, &pool).unwrap();
            let d = distance(&small, &reference, 0);
            assert!(d < 3.0, "{sampling:?} by {factor}: {d}");
        }
        // The handle is as before.
        let again = JpegDecoder::new().decode(&data, Want::Full, &pool).unwrap();
        assert_eq!(distance(&again, &full, 0), 0.0);
    }
    let data = encoded(compress(&rgb(8, 8), |_| {}));
    assert!(JpegDecoder::new().decode(&data, Want::Reduced(3), &pool).is_err());
}

#[test]
fn adobe_rgb_keeps_its_colours() {
    let pool = BufferPool::default();
    let file = include_bytes!("data/rgb.jpg");
    assert!(file.windows(5).any(|w| w == b"Adobe"), "the sample is what it is named");
    let mut picture = accept(file.to_vec());
    let decoded = picture.pixels().unwrap().clone();
    assert_eq!(decoded.format(), PixelFormat::Rgb);
    assert!(distance(&decoded, &rgb(96, 64), 0) < 2.0);
    let luma = JpegDecoder::new().decode(&encoded(file.to_vec()), Want::Luma, &pool).unwrap();
    let reference = convert::convert(&rgb(96, 64), PixelFormat::Gray8, ColorSpace::JPEG, &pool).unwrap();
    assert!(distance(&luma, &reference, 0) < 2.0);
}

#[test]
fn decoding_again_takes_no_new_memory() {
    let pool = BufferPool::new(4);
    let data = encoded(compress(&rgb(96, 64), |c| c.set_subsamp(Subsamp::Sub2x2).unwrap()));
    for _ in 0..10 {
        JpegDecoder::new().decode(&data, Want::Full, &pool).unwrap();
    }
    assert_eq!(pool.stats().allocated, 1);
}

#[test]
fn a_damaged_scan_is_an_error_and_the_next_picture_is_fine() {
    let pool = BufferPool::default();
    let good = compress(&rgb(96, 64), |c| c.set_subsamp(Subsamp::Sub2x2).unwrap());
    let reference = JpegDecoder::new().decode(&encoded(good.clone()), Want::Full, &pool).unwrap();
    let scan = good.windows(2).position(|w| w == [0xFF, 0xDA]).unwrap() + 14;
    let mut failed = 0;
    for at in (scan..good.len() - 40).step_by(97) {
        let mut bad = good.clone();
        // Cut the scan short: the structure stays sound, the coefficients do not.
        bad.drain(at..good.len() - 2);
        failed += u32::from(JpegDecoder::new().decode(&encoded(bad), Want::Full, &pool).is_err());
        let again = JpegDecoder::new().decode(&encoded(good.clone()), Want::Full, &pool).unwrap();
        assert_eq!(distance(&again, &reference, 0), 0.0);
    }
    assert!(failed > 10, "{failed}");
}

#[test]
fn padding_before_the_end_is_tolerated_as_cheap_cameras_write_it() {
    let pool = BufferPool::default();
    let good = compress(&rgb(96, 64), |c| c.set_subsamp(Subsamp::Sub2x2).unwrap());
    let end = good.len() - 2;
    let padded = [&good[..end], &[0; 7], &good[end..]].concat();
    let a = JpegDecoder::new().decode(&encoded(good), Want::Full, &pool).unwrap();
    let b = JpegDecoder::new().decode(&encoded(padded), Want::Full, &pool).unwrap();
    assert_eq!(distance(&a, &b, 0), 0.0);
}

#[test]
fn lossless_and_wrong_codecs_are_refused() {
    let data = compress(&rgb(16, 16), |c| c.set_lossless(true).unwrap());
    let error = picture::accept(data.into(), &PictureLimits::default(), &BufferPool::default());
    assert!(error.unwrap_err().to_string().contains("lossless"));
    let png = Bytes::from_static(include_bytes!("data/upright.png"));
    let encoded = Encoded { codec: ImageCodec::Png, data: png, width: 96, height: 64 };
    assert!(JpegDecoder::new().decode(&encoded, Want::Full, &BufferPool::default()).is_err());
}
