//! Engines, models and pictures.

use std::path::Path;
use std::sync::Arc;

use ooblex_models::engine::{
    self, Engine, EngineKind, FileData, Format, LoadOptions, Session, UseGpu, Weights,
};
use ooblex_models::{DType, Tensor};

pub(crate) use crate::onnxruntime::onnxruntime;

/// The package.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The engine, or nothing, said as a skipped test, where ONNX Runtime is not installed.
pub(crate) fn open(kind: EngineKind, test: &str) -> Option<Arc<dyn Engine>> {
    let library = onnxruntime();
    if kind == EngineKind::Onnx && library.is_none() {
        println!("SKIPPED {test}: .venv has no onnxruntime; scripts/setup.sh test installs it");
        return None;
    }
    Some(engine::open(kind, library.as_deref()).expect("the feature is on"))
}

/// The weights of a model, in the format that the engine reads.
pub(crate) fn weights(kind: EngineKind, model: &str) -> Weights {
    let read = |extension: &str| {
        let path = package().join("weights").join(format!("{model}.{extension}"));
        FileData::from(std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    };
    match kind.format() {
        Format::Onnx => Weights::new(model, Format::Onnx, read("onnx")),
        Format::TorchScript => {
            Weights::new(model, Format::TorchScript, read("pt")).with_graph(read("graph.json"))
        }
        format => Weights::new(model, format, read("safetensors")).with_graph(read("graph.json")),
    }
}

/// On the CPU, by one thread.
pub(crate) fn on_cpu() -> LoadOptions {
    let mut options = LoadOptions::default();
    options.use_gpu = UseGpu::Off;
    options
}

/// A loaded model, or nothing, as [`open`].
pub(crate) fn load(kind: EngineKind, model: &str, test: &str) -> Option<Box<dyn Session>> {
    let engine = open(kind, test)?;
    Some(engine.load(&weights(kind, model), &on_cpu()).unwrap_or_else(|e| panic!("{e}")))
}

/// A picture: width, height, and its samples in rows; three a pixel unless it is grey.
pub(crate) struct Samples {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) data: Vec<u8>,
}

/// Reads a PNG.
pub(crate) fn picture(path: &Path) -> Samples {
    let image = image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (width, height) = (image.width() as usize, image.height() as usize);
    let data =
        if image.color().has_color() { image.into_rgb8().into_raw() } else { image.into_luma8().into_raw() };
    Samples { width, height, data }
}

impl Samples {
    /// `[1,3,h,w]`; `order` are the channels of RGB to take, `number` makes a sample into a number.
    pub(crate) fn planes(&self, order: [usize; 3], number: impl Fn(usize, f32) -> f32) -> Tensor {
        let pixels = self.width * self.height;
        let mut data = Vec::with_capacity(3 * pixels);
        for (channel, from) in order.into_iter().enumerate() {
            data.extend(self.data.iter().skip(from).step_by(3).map(|&v| number(channel, f32::from(v))));
        }
        Tensor::from_f32(&[1, 3, self.height, self.width], data).expect("as many as pixels")
    }

    /// `[1,h,w,c]`, as the picture is.
    pub(crate) fn rows(&self, dtype: DType, number: impl Fn(f32) -> f32) -> Tensor {
        let channels = self.data.len() / (self.width * self.height);
        let shape = [1, self.height, self.width, channels];
        match dtype {
            DType::F32 => Tensor::from_f32(&shape, self.data.iter().map(|&v| number(f32::from(v))).collect()),
            _ => Tensor::from_i32(&shape, self.data.iter().map(|&v| i32::from(v)).collect()),
        }
        .expect("as many as samples")
    }
}
