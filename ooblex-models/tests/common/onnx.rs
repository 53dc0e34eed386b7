//! Tiny ONNX files, written field by field: the format is that of protocol buffers, and the numbers of the fields are
//! those of onnx.proto.

/// A field that holds bytes: text or a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::from(number) << 3 | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend_from_slice(bytes);
    out
}

/// A field that holds a whole number.
fn number(number: u8, value: u64) -> Vec<u8> {
    let mut out = varint(u64::from(number) << 3);
    out.extend(varint(value));
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// An input or output: name, and shape of f32.
fn value_info(name: &str, shape: &[u64]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&side| field(1, &number(1, side))).collect();
    let tensor = [number(1, 1), field(2, &dims)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

fn weights(name: &str, shape: &[u64], values: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&side| number(1, side)).collect();
    let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    [dims, number(2, 1), field(8, name.as_bytes()), field(9, &raw)].concat()
}

/// An attribute of a node: whole numbers.
fn attribute(name: &str, values: &[u64]) -> Vec<u8> {
    let ints: Vec<u8> = values.iter().flat_map(|&v| number(8, v)).collect();
    [field(1, name.as_bytes()), ints, number(20, 7)].concat()
}

/// A model whose logits are linear in R, G and B: one row of three weights and an offset for each class.
pub(crate) fn linear(height: u64, width: u64, classes: &[[f32; 4]]) -> Vec<u8> {
    let count = classes.len() as u64;
    let factors: Vec<f32> = classes.iter().flat_map(|c| c[..3].to_vec()).collect();
    let offsets: Vec<f32> = classes.iter().map(|c| c[3]).collect();
    let node = ["image", "w", "b"].iter().flat_map(|name| field(1, name.as_bytes()));
    let node: Vec<u8> = node
        .chain(field(2, b"logits"))
        .chain(field(4, b"Conv"))
        .chain(field(5, &attribute("kernel_shape", &[1, 1])))
        .chain(field(5, &attribute("strides", &[1, 1])))
        .collect();
    let graph = [
        field(1, &node),
        field(2, b"linear"),
        field(5, &weights("w", &[count, 3, 1, 1], &factors)),
        field(5, &weights("b", &[count], &offsets)),
        field(11, &value_info("image", &[1, 3, height, width])),
        field(12, &value_info("logits", &[1, count, height, width])),
    ]
    .concat();
    [number(1, 8), field(8, &number(2, 13)), field(7, &graph)].concat()
}
