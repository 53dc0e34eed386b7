//! What a picture costs on its way in, one thread. `cargo bench -p ooblex-ingest`.
//!
//! 720p pictures of about 150 kB, the size that a camera sends; compare ratios, not milliseconds. Live video needs clips,
//! which `make_clips.sh FILE FOLDER` beside this file makes of any video; `OOBLEX_BENCH_CLIPS=FOLDER` says where they
//! are. Times of live video are CPU times of the thread.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use ooblex_core::{
    BufferPool, ColorSpace, FrameSource, Image, PictureDecoder, PixelFormat, Rotation, Want, convert,
};
use ooblex_ingest::decode::{self, Decoded, JpegDecoder, VideoCodec, VideoDecoder};
use ooblex_ingest::file::{FileSource, Pace, Repeat};
use ooblex_ingest::pattern::{self, TestPattern};
use ooblex_ingest::picture::{self, PictureLimits};
use ooblex_mjpeg::encode::jpeg_encoder;
use turbojpeg::{Compressor, Subsamp};

#[path = "../tests/decode/clips.rs"]
#[allow(dead_code)]
mod clips;

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

/// CPU time of this thread so far.
fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Measures CPU time.
fn cpu(c: &mut Criterion, name: &str, mut routine: impl FnMut()) {
    c.bench_function(name, |b| {
        b.iter_custom(|iterations| {
            let begun = now();
            (0..iterations).for_each(|_| routine());
            now() - begun
        });
    });
}

/// A clip that is decoded over and over.
struct Endless {
    units: Vec<Vec<u8>>,
    next: usize,
    decoder: Box<dyn VideoDecoder>,
    out: Vec<Decoded>,
}

impl Endless {
    fn open(name: &str, codec: VideoCodec) -> Option<Self> {
        let folder = std::env::var_os("OOBLEX_BENCH_CLIPS")?;
        let file = std::path::Path::new(&folder).join(name);
        let units = match codec {
            VideoCodec::H264 => clips::h264(&file).into_iter().map(|unit| unit.data).collect(),
            _ => clips::ivf(&file).into_iter().map(|(_, frame)| frame).collect(),
        };
        let decoder = decode::open(codec, BufferPool::new(4)).unwrap();
        Some(Self { units, next: 0, decoder, out: Vec::new() })
    }

    fn picture(&mut self) -> Image {
        while self.out.is_empty() {
            let unit = &self.units[self.next % self.units.len()];
            self.decoder.decode(unit, self.next as i64, &mut self.out).unwrap();
            self.next += 1;
        }
        self.out.remove(0).image
    }
}

/// From an access unit to a JPEG: the parts, and the whole.
fn live(c: &mut Criterion) {
    let clips = [
        ("H.264 constrained baseline", "baseline.mp4", VideoCodec::H264),
        ("H.264 high", "high.mp4", VideoCodec::H264),
        ("VP8", "vp8.ivf", VideoCodec::Vp8),
        ("VP9", "vp9.ivf", VideoCodec::Vp9),
    ];
    let pool = BufferPool::new(4);
    let mut encoder = jpeg_encoder().unwrap();
    for (name, file, codec) in clips {
        let Some(mut clip) = Endless::open(file, codec) else { continue };
        cpu(c, &format!("live/{name}/decode"), || drop(clip.picture()));
        for (matrix, color) in [("BT.601", ColorSpace::BT601), ("BT.709", ColorSpace::BT709)] {
            cpu(c, &format!("live/{name}/decode and encode {matrix}"), || {
                let mut image = clip.picture();
                image.set_color(color);
                encoder.encode(&image, 85).unwrap();
            });
        }
    }
    let Some(mut clip) = Endless::open("vp8.ivf", VideoCodec::Vp8) else { return };
    let image = clip.picture();
    let full = convert::convert(&image, PixelFormat::I420, ColorSpace::JPEG, &pool).unwrap();
    cpu(c, "live/encode full range, the calibration", || drop(encoder.encode(&full, 85).unwrap()));
    for (name, color) in [("BT.601", ColorSpace::BT601), ("BT.709", ColorSpace::BT709)] {
        let mut image = image.clone();
        image.set_color(color);
        cpu(c, &format!("live/encode limited {name}"), || drop(encoder.encode(&image, 85).unwrap()));
    }
    cpu(c, "live/copy to pool memory", || {
        let planes = [0, 1, 2].map(|n| image.plane(n).unwrap()).map(|p| (p.data(), p.stride()));
        let (width, height) = (image.width(), image.height());
        drop(Image::from_planes(PixelFormat::I420, width, height, image.color(), &planes, &pool).unwrap());
    });
    for (name, rotation, mirror) in [
        ("a quarter", Rotation::Clockwise90, false),
        ("a half", Rotation::Half, false),
        ("mirrored", Rotation::None, true),
    ] {
        cpu(c, &format!("live/turn {name}"), || {
            drop(convert::rotate(&image, rotation, mirror, &pool).unwrap());
        });
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
    targets = pictures, sources, live
}
criterion_main!(benches);
