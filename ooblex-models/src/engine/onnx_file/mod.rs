//! Looks through an ONNX file before a library gets it.
//!
//! Libraries do what they find there: given a model in memory that names other files for its tensors, ONNX Runtime 1.32
//! reads any file below or, by `..`, above the working directory, and 1.20 reads any file at all. Weights come from
//! strangers, so what a file may ask for is checked here, by reading the protocol buffers that it consists of
//! (onnx.proto3 of ONNX 1.18; the encoding is described at protobuf.dev/programming-guides/encoding). Nothing is copied,
//! and what is not of interest is skipped.

mod sizes;
mod wire;

use self::sizes::Sizes;
use self::wire::{Value, next, number};
use super::MAX_ELEMENTS;

/// Graphs in attributes of nodes of graphs, one in the other; `If` and `Loop` nest a handful.
const MAX_DEPTH: usize = 24;

/// Checks that the file keeps everything in itself, and that no tensor in it has more than [`MAX_ELEMENTS`] numbers: not
/// by its own account, and not by sizes that are written down for operators which make tensors of any size. Sizes that
/// are only computed while the model runs cannot be foreseen.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(file: &[u8]) -> Result<(), String> {
    let mut scan = Scan::default();
    scan.walk(file, Message::Model, 0)?;
    if scan.graphs == 0 {
        return Err("it is no ONNX file: it holds no graph".into());
    }
    if scan.sizes.worst() > MAX_ELEMENTS as f64 { Err(too_large()) } else { Ok(()) }
}

/// What is found out on the way.
#[derive(Default)]
struct Scan<'a> {
    graphs: usize,
    sizes: Sizes<'a>,
}

/// The messages that lead to tensors and shapes.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
}

impl Message {
    /// The message in field number `field` of this one, if it is of interest.
    fn inside(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Function, 11) | (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Graph, 11..=13) | (Self::Function, 12) => Self::ValueInfo,
            (Self::ValueInfo, 2) | (Self::Attribute, 14 | 15) => Self::Type,
            (Self::Type, 1 | 8) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Dimension,
            _ => return None,
        })
    }
}

impl<'a> Scan<'a> {
    /// Goes through one message and those in it; gives the product of the dimensions in it.
    fn walk(&mut self, mut rest: &'a [u8], message: Message, depth: usize) -> Result<u64, String> {
        // A graph in a graph is three messages deeper.
        if depth > MAX_DEPTH * 3 {
            return Err(format!("its graphs are nested more than {MAX_DEPTH} deep"));
        }
        match message {
            Message::Graph => self.graphs += 1,
            Message::Node => self.sizes.note_node(rest),
            Message::Tensor => self.sizes.note_tensor(rest),
            _ => {}
        }
        let mut elements = 1u64;
        while !rest.is_empty() {
            let (field, value) =
                next(&mut rest).ok_or("it is no ONNX file: it breaks off or makes no sense")?;
            match (message, field, value) {
                (Message::Tensor, 13, _) | (Message::Tensor, 14, Value::Number(1..)) => {
                    let text = "it keeps tensors in other files, which are never read; save it with everything inside";
                    return Err(text.into());
                }
                (_, field, value) if is_dimension(message, field) => {
                    elements = product(elements, dimensions(value)?)?;
                }
                // An open dimension has a name, or nothing at all.
                (Message::Dimension, 1, Value::Number(side)) => elements = side,
                (_, field, Value::Bytes(inner)) => {
                    if let Some(inside) = message.inside(field) {
                        let inner = self.walk(inner, inside, depth + 1)?;
                        if inside == Message::Dimension {
                            elements = product(elements, inner)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(elements)
    }
}

fn is_dimension(message: Message, field: u64) -> bool {
    matches!((message, field), (Message::Tensor, 1) | (Message::SparseTensor, 3))
}

/// Dimensions, one or packed into one field.
fn dimensions(value: Value<'_>) -> Result<u64, String> {
    match value {
        Value::Number(side) => Ok(side),
        Value::Bytes(mut packed) => {
            let mut all = 1;
            while !packed.is_empty() {
                let side = number(&mut packed).ok_or("it is no ONNX file: a dimension breaks off")?;
                all = product(all, side)?;
            }
            Ok(all)
        }
        Value::Fixed(_) => Err("it is no ONNX file: a dimension is of another type".into()),
    }
}

/// A negative dimension is a huge number here.
fn product(elements: u64, side: u64) -> Result<u64, String> {
    elements.checked_mul(side).filter(|product| *product <= MAX_ELEMENTS as u64).ok_or_else(too_large)
}

fn too_large() -> String {
    format!("a tensor in it has more than {MAX_ELEMENTS} numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(mut value: u64, to: &mut Vec<u8>) {
        while value >= 0x80 {
            to.push(value as u8 | 0x80);
            value >>= 7;
        }
        to.push(value as u8);
    }

    fn scalar(field: u64, value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint(field << 3, &mut bytes);
        varint(value, &mut bytes);
        bytes
    }

    fn message(field: u64, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        varint(field << 3 | 2, &mut bytes);
        varint(content.len() as u64, &mut bytes);
        [bytes, content.to_vec()].concat()
    }

    fn tensor(dims: &[u64], more: &[u8]) -> Vec<u8> {
        [dims.iter().flat_map(|&side| scalar(1, side)).collect(), more.to_vec()].concat()
    }

    /// A model whose graph has this field.
    fn model(field: u64, content: &[u8]) -> Vec<u8> {
        message(7, &message(field, content))
    }

    #[test]
    fn whole_models_pass() {
        for file in [
            &include_bytes!("../../../weights/blazeface_short_128.onnx")[..],
            include_bytes!("../../../weights/style_multistyle26.onnx"),
            include_bytes!("../../../weights/movenet_lightning_192.onnx"),
            include_bytes!("../../../weights/centerface.onnx"),
        ] {
            assert_eq!(check(file), Ok(()));
            // Broken off inside the graph, which is the longest field by far.
            let error = check(&file[..file.len() / 2]).expect_err("half a file");
            assert!(error.starts_with("it is no ONNX file"), "{error}");
        }
    }

    #[test]
    fn nothing_is_read_from_other_files() {
        let outside = [message(13, b"\x0a\x08location"), scalar(14, 1)];
        for (what, tensor) in [
            ("name", tensor(&[2], &outside[0])),
            ("place", tensor(&[2], &outside[1])),
            ("default", tensor(&[2], &[])),
        ] {
            let attribute = message(5, &tensor);
            let subgraph = message(6, &message(5, &tensor));
            let function = message(25, &message(7, &message(5, &attribute)));
            let sparse = message(1, &tensor);
            for (place, file) in [
                ("initializer", model(5, &tensor)),
                ("constant", model(1, &message(5, &attribute))),
                ("branch", model(1, &message(5, &subgraph))),
                ("function", [message(7, &[]), function].concat()),
                ("sparse", model(15, &sparse)),
                ("training", [message(7, &[]), message(20, &message(1, &message(5, &tensor)))].concat()),
            ] {
                assert_eq!(check(&file).is_ok(), what == "default", "{what} in {place}");
            }
        }
    }

    #[test]
    fn huge_tensors_are_refused_wherever_they_are_declared() {
        let most = MAX_ELEMENTS as u64;
        let declared = |sides: &[u64]| {
            let shape: Vec<u8> = sides.iter().flat_map(|&side| message(1, &scalar(1, side))).collect();
            message(2, &message(1, &message(2, &shape)))
        };
        let named = message(2, &message(1, &message(2, &message(1, &message(2, b"batch")))));
        assert_eq!(check(&model(11, &named)), Ok(()));
        for (sides, good) in [
            (&[1, 3, 416, 416][..], true),
            (&[most], true),
            (&[most, 2], false),
            (&[0, most], true),
            (&[u64::MAX], false),
            (&[1 << 40, 1 << 40], false),
        ] {
            assert_eq!(check(&model(5, &tensor(sides, &[]))).is_ok(), good, "initializer {sides:?}");
            assert_eq!(check(&model(11, &declared(sides))).is_ok(), good, "input {sides:?}");
            assert_eq!(check(&model(12, &declared(sides))).is_ok(), good, "output {sides:?}");
            let mut packed = Vec::new();
            sides.iter().for_each(|&side| varint(side, &mut packed));
            assert_eq!(check(&model(5, &message(1, &packed))).is_ok(), good, "packed {sides:?}");
        }
    }

    proptest::proptest! {
        /// Whatever a file is made of, it is judged, and nothing worse happens.
        #[test]
        fn damage_never_panics(changes in proptest::collection::vec((0usize..4000, 0u8..=255), 1..30), end in 0usize..4000) {
            let mut file = include_bytes!("../../../weights/movenet_lightning_192.onnx")[..4000].to_vec();
            changes.iter().for_each(|&(at, byte)| file[at] = byte);
            // The file says how long its graph is; half of the time it is to fit what is left.
            let inner = message(7, &file[..end]);
            let _ = (check(&file[..end]), check(&inner));
        }
    }

    #[test]
    fn what_is_no_onnx_file_is_refused() {
        let mut nested = message(5, &[]);
        for _ in 0..100 {
            nested = message(1, &message(5, &message(6, &nested)));
        }
        let error = check(&message(7, &nested)).expect_err("nested");
        assert!(error.contains("nested"), "{error}");
        for file in [&b""[..], b"\x80", b"\x0f", b"\x3a\x05ab", b"PK\x03\x04 a TorchScript file", &[0xff; 64]]
        {
            assert!(check(file).is_err(), "{file:?}");
        }
    }
}
