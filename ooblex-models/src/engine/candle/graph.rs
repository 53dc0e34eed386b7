//! A list of nodes made into a program.
//!
//! A name in the list is that of a weight if the safetensors file has one; an empty name is an input left out.
//! Everything is checked while it is loaded: a program that was made can only fail on sizes that do not fit.

use std::collections::HashMap;

use candle_core::{DType as CandleType, Device, Tensor};
use safetensors::{Dtype, SafeTensors};

use super::ops::Op;
use crate::engine::graph_file::GraphFile;
use crate::tensor::TensorSpec;

/// Weights by name: tensors on the device, and lists of integers, which are sizes and stay here.
pub(super) struct Constants {
    tensors: HashMap<String, Tensor>,
    lists: HashMap<String, Vec<i64>>,
}

/// Where an operator's input comes from.
enum Operand {
    Constant(Tensor),
    Slot(usize),
}

struct Step {
    op: Op,
    inputs: Vec<Operand>,
    output: usize,
    /// Slots that nobody reads after this step.
    done: Vec<usize>,
}

/// Checked nodes with their weights.
pub(super) struct Program {
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    steps: Vec<Step>,
    results: Vec<Operand>,
    slots: usize,
}

impl Program {
    /// Reads both files and checks every node. What depends on weights alone is computed now.
    ///
    /// # Errors
    /// What is wrong, with the node's operator and output.
    pub(super) fn load(graph: &[u8], weights: &[u8], device: &Device) -> Result<Self, String> {
        let file = GraphFile::parse(graph)?;
        let (inputs, outputs) = (file.inputs(), file.outputs());
        let mut constants = Constants::read(weights, device)?;
        let mut slots: HashMap<String, usize> = HashMap::new();
        for input in &inputs {
            let number = slots.len();
            if constants.has(&input.name) || slots.insert(input.name.clone(), number).is_some() {
                return Err(format!("the name {:?} is given twice", input.name));
            }
        }
        let mut steps = Vec::with_capacity(file.nodes.len());
        for node in &file.nodes {
            let at = |reason: String| format!("{} that gives {:?}: {reason}", node.op, node.outputs);
            let [output] = node.outputs.as_slice() else { return Err(at("not one output".into())) };
            if output.is_empty() || constants.has(output) || slots.contains_key(output) {
                return Err(at("its name is given twice or not at all".into()));
            }
            let (op, names) = Op::parse(node, &node.inputs, &constants).map_err(at)?;
            let given = |name: &String| {
                operand(name, &constants, &slots).ok_or_else(|| at(format!("{name:?} is missing")))
            };
            let inputs = names.iter().map(given).collect::<Result<Vec<_>, _>>()?;
            let known: Option<Vec<&Tensor>> = inputs.iter().map(Operand::constant).collect();
            if let Some(known) = known {
                let value = op.apply(&known).map_err(|e| at(e.to_string()))?;
                constants.tensors.insert(output.clone(), value);
                continue;
            }
            let number = slots.len();
            slots.insert(output.clone(), number);
            steps.push(Step { op, inputs, output: number, done: Vec::new() });
        }
        let result = |output: &TensorSpec| {
            let value = operand(&output.name, &constants, &slots);
            value.ok_or_else(|| format!("no node gives the output {:?}", output.name))
        };
        let results = outputs.iter().map(result).collect::<Result<Vec<_>, _>>()?;
        let mut program = Self { inputs, outputs, steps, results, slots: slots.len() };
        program.find_last_uses();
        Ok(program)
    }

    fn find_last_uses(&mut self) {
        let mut used: Vec<bool> = vec![false; self.slots];
        self.results.iter().filter_map(Operand::slot).for_each(|slot| used[slot] = true);
        for step in self.steps.iter_mut().rev() {
            for slot in step.inputs.iter().filter_map(Operand::slot) {
                if !std::mem::replace(&mut used[slot], true) {
                    step.done.push(slot);
                }
            }
        }
    }

    pub(super) fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    pub(super) fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// Runs all steps on one tensor for each input.
    ///
    /// # Errors
    /// What candle said, with the operator.
    pub(super) fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, String> {
        let mut slots: Vec<Option<Tensor>> = inputs.into_iter().map(Some).collect();
        slots.resize_with(self.slots, || None);
        for step in &self.steps {
            let value = {
                let inputs: Option<Vec<&Tensor>> =
                    step.inputs.iter().map(|operand| operand.value(&slots)).collect();
                let inputs = inputs.ok_or("a step came before its inputs")?;
                step.op.apply(&inputs).map_err(|e| format!("{}: {e}", step.op.name()))?
            };
            slots[step.output] = Some(value);
            step.done.iter().for_each(|slot| slots[*slot] = None);
        }
        let results = self.results.iter().map(|operand| operand.value(&slots).cloned());
        results.collect::<Option<Vec<_>>>().ok_or_else(|| "an output was not computed".into())
    }
}

impl Operand {
    fn constant(&self) -> Option<&Tensor> {
        match self {
            Self::Constant(tensor) => Some(tensor),
            Self::Slot(_) => None,
        }
    }

    fn slot(&self) -> Option<usize> {
        match self {
            Self::Constant(_) => None,
            Self::Slot(slot) => Some(*slot),
        }
    }

    fn value<'a>(&'a self, slots: &'a [Option<Tensor>]) -> Option<&'a Tensor> {
        match self {
            Self::Constant(tensor) => Some(tensor),
            Self::Slot(slot) => slots.get(*slot)?.as_ref(),
        }
    }
}

fn operand(name: &str, constants: &Constants, slots: &HashMap<String, usize>) -> Option<Operand> {
    let constant = constants.tensors.get(name).cloned().map(Operand::Constant);
    constant.or_else(|| slots.get(name).copied().map(Operand::Slot))
}

impl Constants {
    fn read(weights: &[u8], device: &Device) -> Result<Self, String> {
        let file = SafeTensors::deserialize(weights).map_err(|e| format!("the weights are wrong: {e}"))?;
        let (mut tensors, mut lists) = (HashMap::new(), HashMap::new());
        for (name, view) in file.iter() {
            match view.dtype() {
                Dtype::F32 => {
                    let tensor = Tensor::from_raw_buffer(view.data(), CandleType::F32, view.shape(), device);
                    tensors.insert(name.to_owned(), tensor.map_err(|e| format!("the weight {name:?}: {e}"))?);
                }
                Dtype::I64 => {
                    let numbers = view
                        .data()
                        .chunks_exact(8)
                        .filter_map(|b| Some(i64::from_le_bytes(b.try_into().ok()?)));
                    lists.insert(name.to_owned(), numbers.collect());
                }
                other => {
                    return Err(format!("the weight {name:?} is of type {other:?}, which is not supported"));
                }
            }
        }
        Ok(Self { tensors, lists })
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name) || self.lists.contains_key(name)
    }

    /// A weight that has to be there.
    pub(super) fn tensor(&self, name: &str) -> Result<&Tensor, String> {
        self.tensors.get(name).ok_or_else(|| format!("the weight {name:?} is missing"))
    }

    /// A list of sizes that has to be there.
    pub(super) fn list(&self, name: &str) -> Result<&[i64], String> {
        self.lists.get(name).map(Vec::as_slice).ok_or_else(|| format!("the list {name:?} is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A safetensors file: sizes of the header, header, data.
    fn weights(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn load(nodes: &str) -> Result<Program, String> {
        let graph = format!(
            r#"{{"name":"t","opset":13,"inputs":[{{"name":"x","shape":[1,"c"]}}],"outputs":[{{"name":"y","shape":[1,"c"]}}],"nodes":[{nodes}]}}"#
        );
        let two = weights(r#"{"two":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &2f32.to_le_bytes());
        Program::load(graph.as_bytes(), &two, &Device::Cpu)
    }

    #[test]
    fn a_graph_runs_and_folds_what_is_constant() {
        let program = load(
            r#"{"op":"Mul","inputs":["two","two"],"outputs":["four"],"attrs":{}},
               {"op":"Add","inputs":["x","four"],"outputs":["z"],"attrs":{}},
               {"op":"Relu","inputs":["z"],"outputs":["y"],"attrs":{}}"#,
        )
        .expect("loads");
        assert_eq!(program.steps.len(), 2);
        // `x` and `z` are let go when they were read.
        assert_eq!(program.steps.iter().map(|step| step.done.clone()).collect::<Vec<_>>(), [[0], [1]]);
        let x = Tensor::new(&[[-5f32, 1.0, 3.0]], &Device::Cpu).expect("made");
        let y = program.run(vec![x]).expect("runs");
        assert_eq!(y[0].to_vec2::<f32>().expect("read"), [[0.0, 5.0, 7.0]]);
    }

    #[test]
    fn whatever_is_wrong_is_named_while_loading() {
        let relu = |input: &str, output: &str| {
            format!(r#"{{"op":"Relu","inputs":["{input}"],"outputs":["{output}"],"attrs":{{}}}}"#)
        };
        for (nodes, part) in [
            (r#"{"op":"Magic","inputs":["x"],"outputs":["y"],"attrs":{}}"#.to_owned(), "unknown operator"),
            (relu("nobody", "y"), "\"nobody\" is missing"),
            (relu("y", "y"), "\"y\" is missing"),
            (relu("x", "z"), "no node gives the output \"y\""),
            (relu("x", "x"), "given twice"),
            (relu("x", "two"), "given twice"),
            (r#"{"op":"Relu","inputs":["x"],"outputs":["y","z"],"attrs":{}}"#.to_owned(), "not one output"),
            (r#"{"op":"Add","inputs":["x"],"outputs":["y"],"attrs":{}}"#.to_owned(), "inputs"),
            (r#"{"op":"Concat","inputs":["x"],"outputs":["y"],"attrs":{}}"#.to_owned(), "axis"),
            (r#"{"op":"Conv","inputs":["x","w"],"outputs":["y"],"attrs":{}}"#.to_owned(), "\"w\" is missing"),
            (r#"{"op":"Relu"}"#.to_owned(), "missing field"),
            (
                r#"{"op":"Relu","inputs":["x"],"outputs":["y"],"attrs":{},"code":"1"}"#.to_owned(),
                "unknown field",
            ),
        ] {
            let error = load(&nodes).err().unwrap_or_default();
            assert!(error.contains(part), "{nodes}: {error}");
        }
    }

    #[test]
    fn weights_that_are_no_safetensors_are_refused() {
        let graph = br#"{"name":"t","opset":13,"inputs":[],"outputs":[],"nodes":[]}"#;
        let double = weights(r#"{"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#, &[0; 8]);
        let short = weights(r#"{"w":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}"#, &[0; 8]);
        // A pickle, as older PyTorch files are.
        for bad in [&b""[..], b"\x80\x02}q\x00.", b"PK\x03\x04", &double, &short] {
            assert!(Program::load(graph, bad, &Device::Cpu).is_err(), "{bad:?}");
        }
    }
}
