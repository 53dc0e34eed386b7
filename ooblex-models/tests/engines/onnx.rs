//! Writes small ONNX files (onnx.proto3; IR version 8, opset 17), good ones and bad ones.

/// Types of numbers, as ONNX numbers them.
pub(crate) const FLOAT: u64 = 1;
pub(crate) const INT64: u64 = 7;
pub(crate) const STRING: u64 = 8;
pub(crate) const BOOL: u64 = 9;

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field that is a number.
pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field that is text, bytes or a message.
pub(crate) fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [varint(field << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

/// An attribute of integers.
pub(crate) fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|&value| number(8, value as u64)).collect();
    bytes(5, [bytes(1, name), values, number(20, 7)].concat())
}

/// An attribute that is one integer.
pub(crate) fn int(name: &str, value: i64) -> Vec<u8> {
    bytes(5, [bytes(1, name), number(3, value as u64), number(20, 2)].concat())
}

/// A node with its attributes.
pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let inputs: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name)).collect();
    let outputs: Vec<u8> = outputs.iter().flat_map(|name| bytes(2, name)).collect();
    bytes(1, [inputs, outputs, bytes(4, op), attributes.concat()].concat())
}

/// A tensor in the graph; `content` are its fields after type and name.
pub(crate) fn tensor(name: &str, dtype: u64, sides: &[u64], content: &[u8]) -> Vec<u8> {
    let sides: Vec<u8> = sides.iter().flat_map(|&side| number(1, side)).collect();
    bytes(5, [sides, number(2, dtype), bytes(8, name), content.to_vec()].concat())
}

/// A list of integers in the graph.
pub(crate) fn list(name: &str, values: &[i64]) -> Vec<u8> {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, INT64, &[values.len() as u64], &bytes(9, raw))
}

fn value(field: u64, name: &str, dtype: u64, sides: &[Option<u64>]) -> Vec<u8> {
    let side = |side: &Option<u64>| match side {
        Some(side) => bytes(1, number(1, *side)),
        None => bytes(1, bytes(2, "open")),
    };
    let shape: Vec<u8> = sides.iter().flat_map(side).collect();
    let kind = bytes(1, [number(1, dtype), bytes(2, shape)].concat());
    bytes(field, [bytes(1, name), bytes(2, kind)].concat())
}

/// Something that goes in.
pub(crate) fn input(name: &str, dtype: u64, sides: &[Option<u64>]) -> Vec<u8> {
    value(11, name, dtype, sides)
}

/// Something that comes out.
pub(crate) fn output(name: &str, dtype: u64, sides: &[Option<u64>]) -> Vec<u8> {
    value(12, name, dtype, sides)
}

/// The file.
pub(crate) fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    let opset = bytes(8, number(2, 17));
    [number(1, 8), opset, bytes(7, [bytes(2, "test"), graph.concat()].concat())].concat()
}
