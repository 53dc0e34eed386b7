//! What viewers of video save, and what they lose: the demo clip at 720p, the same pictures by MJPEG and by each codec.

use std::time::Duration;

use bytes::Bytes;
use ooblex_core::convert::resize;
use ooblex_core::testing::process_one;
use ooblex_core::{BufferPool, FrameSource, Image, Options, Picture, PixelFormat, Registry};
use ooblex_ingest::decode::{self, VideoCodec};
use ooblex_ingest::file::{FileSource, Pace};
use ooblex_live::{Codec, LADDER, Quality, encode};
use ooblex_mjpeg::encode::jpeg_encoder;
use ooblex_tests::server::demo_clip;

const SIZE: (u32, u32) = (1280, 720);
/// What MJPEG viewers get unless a setting says otherwise.
const JPEG_QUALITY: u8 = 85;
const FPS: u32 = 30;
/// The luma of the plain clip, in dB, at each rung of the ladder: two less than the codec that is worse there had.
const LEAST_PSNR: [f64; LADDER.len()] = [42.0, 39.0, 37.0, 36.0, 31.0];

/// The pictures of the demo clip, repeated to fill 720p, with an effect: five seconds.
async fn pictures(effect: &str) -> Vec<Image> {
    let mut registry = Registry::new();
    ooblex_models::register(&mut registry);
    let mut processor = registry.build(effect, &Options::new()).unwrap();
    let mut clip = FileSource::open(demo_clip(), Pace::AsFast).unwrap();
    let mut pictures = Vec::new();
    while let Some(mut frame) = clip.next_frame().await.unwrap() {
        let whole = tiled(frame.image.pixels().unwrap());
        frame.image = Picture::new(whole, BufferPool::new(2));
        process_one(&mut processor, &mut frame).unwrap();
        pictures.push(frame.image.pixels().unwrap().clone());
    }
    assert_eq!(pictures.len() as u32, 5 * FPS);
    pictures
}

/// The picture again and again until 720p is full, so that it has the detail of one of that size.
fn tiled(image: &Image) -> Image {
    assert_eq!(image.format(), PixelFormat::I420);
    let (width, height) = SIZE;
    let mut whole =
        Image::alloc(PixelFormat::I420, width, height, image.color(), &BufferPool::new(0)).unwrap();
    for index in 0..3 {
        let from: Vec<&[u8]> = image.plane(index).unwrap().rows().collect();
        for (y, row) in whole.plane_mut(index).unwrap().rows_mut().enumerate() {
            let from = from[y % from.len()];
            row.chunks_mut(from.len()).for_each(|to| to.copy_from_slice(&from[..to.len()]));
        }
    }
    whole
}

fn encoded(pictures: &[Image], codec: Codec, quality: Quality) -> Vec<Bytes> {
    let mut encoder = encode::open(codec, quality).unwrap();
    let encoded = pictures.iter().zip(0u32..).map(|(image, n)| {
        let at = Duration::from_secs(1) * n / FPS;
        encoder.encode(image, at, n == 0).unwrap().expect("none is left out").data
    });
    encoded.collect()
}

fn size_of(encoded: &[Bytes]) -> usize {
    encoded.iter().map(Bytes::len).sum()
}

/// Peak signal-to-noise ratio of the luma of all pictures together, in dB: decoded against what went in, made as small as
/// the rung makes it.
fn psnr(pictures: &[Image], codec: Codec, encoded: &[Bytes]) -> f64 {
    let codec = if codec == Codec::H264 { VideoCodec::H264 } else { VideoCodec::Vp8 };
    let mut decoder = decode::open(codec, BufferPool::new(4)).unwrap();
    let (mut decoded, mut shown, mut squares, mut samples) = (Vec::new(), 0, 0u64, 0u64);
    for n in 0..=encoded.len() {
        match encoded.get(n) {
            Some(data) => decoder.decode(data, n as i64, &mut decoded).unwrap(),
            None => decoder.flush(&mut decoded).unwrap(),
        }
        for picture in decoded.drain(..) {
            assert_eq!(picture.pts, shown, "each once and in order");
            let (got, sent) = (&picture.image, &pictures[shown as usize]);
            let sent = resize(sent, got.width(), got.height(), &BufferPool::new(0)).unwrap();
            let (got, sent) = (got.plane(0).unwrap(), sent.plane(0).unwrap());
            for (got, sent) in got.rows().zip(sent.rows()) {
                let square = |(got, sent): (&u8, &u8)| u64::from(got.abs_diff(*sent)).pow(2);
                squares += got.iter().zip(sent).map(square).sum::<u64>();
                samples += got.len() as u64;
            }
            shown += 1;
        }
    }
    assert_eq!(shown as usize, pictures.len());
    10.0 * (255.0 * 255.0 * samples as f64 / squares as f64).log10()
}

#[tokio::test]
async fn video_takes_an_eighth_of_mjpeg() {
    let pictures = pictures("edge_detection").await;
    let mut jpeg = jpeg_encoder().unwrap();
    let mjpeg: usize = pictures.iter().map(|image| jpeg.encode(image, JPEG_QUALITY).unwrap().len()).sum();
    for codec in [Codec::H264, Codec::Vp8] {
        let video = size_of(&encoded(&pictures, codec, LADDER[0]));
        println!("{codec}: {video} bytes, MJPEG {mjpeg}: 1/{:.1}", mjpeg as f64 / video as f64);
        assert!(video * 8 <= mjpeg, "{codec} takes {video} bytes, MJPEG {mjpeg}");
    }
}

#[tokio::test]
async fn every_rung_keeps_its_rate_and_the_picture() {
    let pictures = pictures("none").await;
    for codec in [Codec::H264, Codec::Vp8] {
        let mut better = f64::INFINITY;
        for (quality, least) in LADDER.into_iter().zip(LEAST_PSNR) {
            let encoded = encoded(&pictures, codec, quality);
            let kbps = size_of(&encoded) * 8 / 1000 / 5;
            let psnr = psnr(&pictures, codec, &encoded);
            println!(
                "{codec} at {} kbit/s: {kbps}, {psnr:.1} dB at {} rows",
                quality.kbps, quality.max_height
            );
            let wanted = quality.kbps as usize;
            assert!(
                kbps * 100 <= wanted * 115 && kbps * 100 >= wanted * 85,
                "{codec}: {kbps} for {wanted} kbit/s"
            );
            assert!(psnr >= least, "{codec} at {wanted} kbit/s: {psnr:.1} dB");
            // Below, pictures are smaller, and the numbers of other sizes are no measure.
            if quality.max_height == SIZE.1 {
                assert!(psnr < better, "{codec} at {wanted} kbit/s: {psnr:.1} dB, {better:.1} at more");
                better = psnr;
            }
        }
    }
}
