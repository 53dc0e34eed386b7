//! `NAME.graph.json`, which lies beside weights in formats that do not describe the model themselves.
//!
//! Members: `name`, `opset`, `inputs` and `outputs` (each a list of names and shapes, where a word instead of a number
//! leaves the size open), and `nodes`, in the order of execution: operator, inputs, outputs and attributes as ONNX has
//! them. TorchScript brings its own nodes; of its list none are read.

use serde::Deserialize;

use crate::tensor::{DType, TensorSpec};

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // Some members are read by one engine alone, and some are for people.
pub(super) struct GraphFile {
    pub(super) name: String,
    pub(super) opset: u32,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    #[serde(default)]
    pub(super) nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Port {
    name: String,
    shape: Vec<Side>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Side {
    Fixed(usize),
    Open(#[allow(dead_code)] String),
}

/// One operator.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // Read by candle alone.
pub(super) struct Node {
    pub(super) op: String,
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    pub(super) attrs: serde_json::Map<String, serde_json::Value>,
}

impl GraphFile {
    /// Reads it.
    ///
    /// # Errors
    /// Where it is wrong.
    pub(super) fn parse(json: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(json).map_err(|e| format!("the list of nodes is wrong: {e}"))
    }

    /// What goes in; floats.
    pub(super) fn inputs(&self) -> Vec<TensorSpec> {
        self.inputs.iter().map(Port::spec).collect()
    }

    /// What comes out; floats.
    pub(super) fn outputs(&self) -> Vec<TensorSpec> {
        self.outputs.iter().map(Port::spec).collect()
    }
}

impl Port {
    fn spec(&self) -> TensorSpec {
        let side = |side: &Side| match side {
            Side::Fixed(side) => Some(*side),
            Side::Open(_) => None,
        };
        TensorSpec::new(&self.name, DType::F32, self.shape.iter().map(side).collect())
    }
}
