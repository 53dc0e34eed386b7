//! Renders every effect of this crate into one contact sheet:
//! `cargo run --release -p ooblex-models --example gallery -- docs/gallery.jpg`.
//!
//! The picture is NASA's portrait of an astronaut (public domain). Each tile went through the registry as the frames
//! of a stream would, and its label through `text_overlay`. Models run by rten on the CPU, so that the sheet does not
//! depend on what else is installed.
#![allow(clippy::print_stdout)] // A command-line tool.

use std::path::Path;
use std::time::{Duration, Instant};

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use ooblex_core::testing::frame_of;
use ooblex_core::{
    BoxError, BufferPool, Clock, ColorSpace, Frame, FrameProcessor, Image, Options, PixelFormat,
    ProcessContext, Registry, convert,
};
use ooblex_models::Chain;
use ooblex_models::engine::{EngineKind, UseGpu};
use ooblex_models::manager::{Models, ModelsConfig};

const COLUMNS: usize = 4;
const QUALITY: u8 = 80;
/// Shown beside the single effects.
const CHAIN: &str = "edge_detection|invert";
/// Draws what steps before it found, and nothing alone.
const OVERLAY: &str = "overlay";
/// What steadies itself from frame to frame has settled after so many.
const FRAMES: usize = 3;
/// Frames come at this pace.
const PACE: Duration = Duration::from_millis(40);

fn main() -> Result<(), BoxError> {
    let target = std::env::args().nth(1).unwrap_or_else(|| "gallery.jpg".into());
    let mut registry = Registry::new();
    let mut config = ModelsConfig::default();
    (config.engine, config.use_gpu) = (Some(EngineKind::Rten), UseGpu::Off);
    ooblex_models::register_with(&mut registry, &Models::new(config));
    let pool = BufferPool::default();
    let picture = picture(&pool)?;
    let kinds = registry.kinds().map(|kind| kind.name.clone()).filter(|name| name != OVERLAY);
    let effects: Vec<String> = kinds.chain([CHAIN.to_owned()]).collect();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let (sheet_width, sheet_height) = (COLUMNS * width, effects.len().div_ceil(COLUMNS) * height);
    let mut sheet = vec![0; sheet_width * sheet_height * 3];
    for (number, effect) in effects.iter().enumerate() {
        let tile = tile(effect, &picture, &registry, &pool)?;
        let (left, top) = (number % COLUMNS * width * 3, number / COLUMNS * height);
        for (y, row) in tile.plane(0)?.rows().enumerate() {
            let start = (top + y) * sheet_width * 3 + left;
            sheet[start..start + row.len()].copy_from_slice(row);
        }
    }
    let mut encoder = Encoder::new_file(&target, QUALITY)?;
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.encode(&sheet, sheet_width as u16, sheet_height as u16, ColorType::Rgb)?;
    println!("{target}: {sheet_width}x{sheet_height}, {} tiles", effects.len());
    Ok(())
}

fn picture(pool: &BufferPool) -> Result<Image, BoxError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gallery.png");
    let rgb = image::open(path)?.into_rgb8();
    let (width, height) = rgb.dimensions();
    let rgb = Image::from_vec(PixelFormat::Rgb, width, height, ColorSpace::JPEG, rgb.into_raw())?;
    Ok(convert::convert(&rgb, PixelFormat::I420, ColorSpace::JPEG, pool)?)
}

/// The picture after `effect`, labelled, in RGB.
fn tile(effect: &str, picture: &Image, registry: &Registry, pool: &BufferPool) -> Result<Image, BoxError> {
    let clock = Clock::manual(Instant::now());
    let run = |processor: &mut dyn FrameProcessor, frame: &mut Frame| {
        let result = processor.process(frame, &mut ProcessContext::new(&clock, pool));
        result.map_err(|error| format!("{effect}: {}", error.inner()))
    };
    let mut processor = Chain::parse(effect, registry)?.build(registry, &Default::default())?;
    processor.warm_up()?;
    let mut frame = frame_of(picture.clone());
    for _ in 0..FRAMES {
        clock.advance(PACE);
        frame = frame_of(picture.clone());
        frame.received = clock.now();
        run(&mut processor, &mut frame)?;
    }
    let label = Options::new().with("text", effect).with("size", 2).with("corner", "bottom_left");
    run(&mut registry.build("text_overlay", &label)?, &mut frame)?;
    Ok(convert::convert(frame.image.pixels()?, PixelFormat::Rgb, ColorSpace::JPEG, pool)?)
}
