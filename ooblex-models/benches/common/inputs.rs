//! Weights for an engine, and something to run them on.

use ooblex_models::engine::{EngineKind, FileData, Format, Session, Weights};
use ooblex_models::{Tensor, TensorSpec};

/// The model in the engine's format, if there is one.
pub(crate) fn weights(kind: EngineKind, model: &str) -> Option<Weights> {
    let read = |extension: &str| {
        let path = format!("{}/weights/{model}.{extension}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).ok().map(FileData::from)
    };
    Some(match kind.format() {
        Format::Onnx => Weights::new(model, Format::Onnx, read("onnx")?),
        Format::TorchScript => {
            Weights::new(model, Format::TorchScript, read("pt")?).with_graph(read("graph.json")?)
        }
        format => Weights::new(model, format, read("safetensors")?).with_graph(read("graph.json")?),
    })
}

/// Inputs of noise from 0 to 1, or to 255: zeros would be faster. `sizes` stand for the sides that the model leaves open
/// after the first one, which is the batch.
pub(crate) fn noise(session: &dyn Session, sizes: [usize; 2], batch: usize) -> Vec<Tensor> {
    let input = |spec: &TensorSpec| {
        let mut sizes = sizes.into_iter();
        let side = |(index, side): (usize, &Option<usize>)| {
            side.or_else(|| if index == 0 { Some(batch) } else { sizes.next() }).unwrap_or(1)
        };
        let shape: Vec<usize> = spec.shape.iter().enumerate().map(side).collect();
        filled(Tensor::zeros(spec.dtype, &shape))
    };
    session.inputs().iter().map(input).collect()
}

fn filled(mut tensor: Tensor) -> Tensor {
    let mut state = 7u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    tensor.f32_mut().iter_mut().for_each(|v| *v = next() as f32 / (1u32 << 24) as f32);
    tensor.i32_mut().iter_mut().for_each(|v| *v = (next() >> 16) as i32);
    tensor
}
