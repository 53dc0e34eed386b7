//! What viewers of video save: the demo clip at 720p, the same pictures by MJPEG and by each codec.

use std::time::Duration;

use ooblex_core::testing::process_one;
use ooblex_core::{BufferPool, FrameSource, Image, Options, Picture, PixelFormat, Registry};
use ooblex_ingest::file::{FileSource, Pace};
use ooblex_live::{Codec, LADDER, Quality, encode};
use ooblex_mjpeg::encode::jpeg_encoder;
use ooblex_tests::server::demo_clip;

const SIZE: (u32, u32) = (1280, 720);
/// What MJPEG viewers get unless a setting says otherwise.
const JPEG_QUALITY: u8 = 85;
const FPS: u32 = 30;

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

fn video_bytes(pictures: &[Image], codec: Codec, quality: Quality) -> usize {
    let mut encoder = encode::open(codec, quality).unwrap();
    let encoded = pictures.iter().zip(0u32..).map(|(image, n)| {
        let at = Duration::from_secs(1) * n / FPS;
        encoder.encode(image, at, n == 0).unwrap().expect("none is left out").data.len()
    });
    encoded.sum()
}

#[tokio::test]
async fn video_takes_an_eighth_of_mjpeg() {
    let pictures = pictures("edge_detection").await;
    let mut jpeg = jpeg_encoder().unwrap();
    let mjpeg: usize = pictures.iter().map(|image| jpeg.encode(image, JPEG_QUALITY).unwrap().len()).sum();
    for codec in [Codec::H264, Codec::Vp8] {
        let video = video_bytes(&pictures, codec, LADDER[0]);
        println!("{codec}: {video} bytes, MJPEG {mjpeg}: 1/{:.1}", mjpeg as f64 / video as f64);
        assert!(video * 8 <= mjpeg, "{codec} takes {video} bytes, MJPEG {mjpeg}");
    }
}

#[tokio::test]
async fn every_rung_keeps_its_rate() {
    let pictures = pictures("none").await;
    for codec in [Codec::H264, Codec::Vp8] {
        for quality in LADDER {
            let kbps = video_bytes(&pictures, codec, quality) * 8 / 1000 / 5;
            println!("{codec} at {} kbit/s: {kbps}", quality.kbps);
            let wanted = quality.kbps as usize;
            assert!(
                kbps * 100 <= wanted * 115 && kbps * 100 >= wanted * 85,
                "{codec}: {kbps} for {wanted} kbit/s"
            );
        }
    }
}
