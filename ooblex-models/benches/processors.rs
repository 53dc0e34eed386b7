//! Every kind that needs a model, on one stream at 1280x720, I420 in:
//! `cargo bench --profile release -p ooblex-models --bench processors -- onnx`.
//!
//! For each it prints the least time of a whole frame, and for the runs of models that this frame caused the least time
//! of the bare engine on inputs of the same size. What is left is the processor's own: filling inputs, reading outputs,
//! drawing, blending, and handing work to the model's thread.
//!
//! The argument names the engine; without one it is the fastest that is there. ONNX Runtime is that of the tests'
//! `.venv`, or else the one that is found or named by `ORT_DYLIB_PATH`. Models run on the CPU, on one thread.
#![allow(clippy::print_stdout)] // A command-line tool.

#[path = "common/inputs.rs"]
mod inputs;
#[path = "../tests/common/onnxruntime.rs"]
mod onnxruntime;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ooblex_core::testing::process_one;
use ooblex_core::{
    BoxError, BufferPool, ColorSpace, Frame, FrameProcessor, Image, Options, Picture, PixelFormat, Registry,
    StreamId, convert,
};
use ooblex_models::engine::{self, Engine, EngineKind, LoadOptions, UseGpu};
use ooblex_models::manager::{CENTERFACE, Models, ModelsConfig, STYLE};

const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
/// How long each processor and each engine is measured, after a third of that to warm up.
const TIME: Duration = Duration::from_secs(3);
/// Fewer frames than this are not enough, however long they take.
const FEWEST: usize = 20;

/// Least times of the bare engine by model.
type Bare = BTreeMap<String, Duration>;

fn main() -> Result<(), BoxError> {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = wanted.map(|name| name.parse::<EngineKind>()).transpose()?;
    let library = onnxruntime::onnxruntime();
    let choice = engine::choose(wanted, library.as_deref())?;
    println!("{} {}, one thread, {WIDTH}x{HEIGHT}, least ms\n", choice.report.kind, choice.report.version);
    let mut config = ModelsConfig::default();
    config.use_gpu = UseGpu::Off;
    let (mut registry, models) = (Registry::new(), Models::with_engine(config, choice.engine.clone()));
    ooblex_models::register_with(&mut registry, &models);
    let (picture, mut bare) = (picture()?, Bare::new());
    println!("| processor | whole | runs of models | bare engine | own |\n|---|---|---|---|---|");
    let kinds = registry.kinds().filter(|kind| kind.needs_model.is_some());
    let mut rows: Vec<_> = kinds.map(|kind| (kind.name.clone(), kind.name.clone(), Options::new())).collect();
    let small = Options::new().with("model", CENTERFACE);
    rows.push(("face_detection, small faces".into(), "face_detection".into(), small));
    for (label, kind, options) in rows {
        let mut processor = registry.build(&kind, &options)?;
        if let Err(error) = processor.warm_up() {
            println!("| {label} | {error} | | | |");
            continue;
        }
        let (whole, runs) = least_frame(processor.as_mut(), &models, &picture)?;
        let mut alone = Duration::ZERO;
        for (model, count) in &runs {
            if !bare.contains_key(model) {
                bare.insert(model.clone(), least_run(choice.engine.as_ref(), model)?);
            }
            alone += bare[model] * *count as u32;
        }
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (whole, alone) = (ms(whole), ms(alone));
        println!("| {label} | {whole:.2} | {} | {alone:.2} | {:.2} |", listed(&runs), whole - alone);
    }
    Ok(())
}

fn listed(runs: &[(String, u64)]) -> String {
    let one = |(model, count): &(String, u64)| match count {
        1 => model.clone(),
        count => format!("{count} x {model}"),
    };
    runs.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The least time of a frame, and the runs that it caused.
fn least_frame(
    processor: &mut dyn FrameProcessor,
    models: &Models,
    picture: &Image,
) -> Result<(Duration, Vec<(String, u64)>), BoxError> {
    let (pool, begun) = (BufferPool::default(), Instant::now());
    let mut least: Option<(Duration, Vec<(String, u64)>)> = None;
    let mut before = items(models);
    for number in 0.. {
        let mut frame = frame(picture, &pool)?;
        let start = Instant::now();
        process_one(processor, &mut frame).map_err(|error| error.inner().to_string())?;
        let took = start.elapsed();
        drop(frame);
        let after = items(models);
        let warm = number >= FEWEST / 2 && begun.elapsed() > TIME / 3;
        if warm && least.as_ref().is_none_or(|(least, _)| took < *least) {
            let runs = after.iter().map(|(model, count)| {
                (model.clone(), count - before.get(model).copied().unwrap_or_default())
            });
            least = Some((took, runs.filter(|(_, count)| *count > 0).collect()));
        }
        before = after;
        if number >= 2 * FEWEST && begun.elapsed() > TIME {
            break;
        }
    }
    Ok(least.ok_or("no frame was measured")?)
}

/// Runs of each model so far.
fn items(models: &Models) -> BTreeMap<String, u64> {
    models.status().into_iter().map(|model| (model.name, model.items)).collect()
}

/// The least time of a run of the bare engine, on inputs of the size that the processors give a picture of 1280x720.
fn least_run(engine: &dyn Engine, model: &str) -> Result<Duration, BoxError> {
    let sizes = match model {
        STYLE => [180, 320],
        CENTERFACE => [384, 640],
        _ => [0, 0],
    };
    let weights = inputs::weights(engine.kind(), model).ok_or("the engine has no weights for it")?;
    let mut options = LoadOptions::default();
    options.use_gpu = UseGpu::Off;
    let mut session = engine.load(&weights, &options)?;
    let (mut inputs, mut outputs) = (inputs::noise(session.as_ref(), sizes, 1), Vec::new());
    if model == CENTERFACE {
        // It takes components from 0 to 255.
        inputs.iter_mut().flat_map(|input| input.f32_mut()).for_each(|v| *v *= 255.0);
    }
    let (begun, mut least) = (Instant::now(), Duration::MAX);
    for number in 0.. {
        let start = Instant::now();
        session.run(&inputs, &mut outputs)?;
        least = least.min(start.elapsed());
        if number >= FEWEST && begun.elapsed() > TIME {
            break;
        }
    }
    Ok(least)
}

/// The astronaut as a camera would show her: limited range, stretched to 16:9.
fn picture() -> Result<Image, BoxError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/models/astronaut.png");
    let rgb = image::open(path)?.into_rgb8();
    let rgb = image::imageops::resize(&rgb, WIDTH, HEIGHT, image::imageops::FilterType::Triangle);
    let rgb = Image::from_vec(PixelFormat::Rgb, WIDTH, HEIGHT, ColorSpace::JPEG, rgb.into_raw())?;
    Ok(convert::convert(&rgb, PixelFormat::I420, ColorSpace::BT601, &BufferPool::default())?)
}

/// A frame with pixels of its own, as from a decoder: making it is not timed.
fn frame(picture: &Image, pool: &BufferPool) -> Result<Frame, BoxError> {
    let planes = (0..3)
        .map(|i| {
            let plane = picture.plane(i)?;
            Ok((plane.rows().flatten().copied().collect::<Vec<u8>>(), plane.row_bytes()))
        })
        .collect::<Result<Vec<_>, BoxError>>()?;
    let planes: Vec<_> = planes.iter().map(|(data, stride)| (&data[..], *stride)).collect();
    let image = Image::from_planes(PixelFormat::I420, WIDTH, HEIGHT, ColorSpace::BT601, &planes, pool)?;
    Ok(Frame::new(StreamId::default(), 1, Instant::now(), Picture::new(image, pool.clone())))
}
