//! Sizes that are written down in a file for operators that make tensors of any size.
//!
//! An engine in Rust that is asked for more memory than there is ends the process, so such a request must not reach it.

use std::collections::HashMap;

use super::wire::{Value, fields, number};

/// Lists of more numbers than this are no sizes.
const MOST_SIDES: usize = 16;
/// Inputs of an operator whose sizes multiply, and those each of which is a size.
const OPERATORS: [(&[u8], &[usize], &[usize]); 8] = [
    (b"ConstantOfShape", &[0], &[]),
    (b"Expand", &[1], &[]),
    (b"Tile", &[1], &[]),
    (b"Upsample", &[1], &[]),
    (b"Resize", &[2, 3], &[]),
    (b"Pad", &[], &[1]),
    (b"Range", &[], &[0, 1, 2]),
    (b"OneHot", &[], &[1]),
];
/// Attributes whose sizes multiply.
const ATTRIBUTES: [&[u8]; 5] = [b"shape", b"output_shape", b"kernel_shape", b"strides", b"dilations"];

/// The largest that a constant can mean, taken as a list that multiplies, and as single sizes.
#[derive(Clone, Copy, Default)]
struct Meaning {
    product: f64,
    largest: f64,
}

/// Everything of that kind in a file.
#[derive(Default)]
pub(super) struct Sizes<'a> {
    constants: HashMap<&'a [u8], Meaning>,
    /// Inputs, and whether their sizes multiply.
    uses: Vec<(&'a [u8], bool)>,
    /// The largest product in an attribute.
    attribute: f64,
}

impl<'a> Sizes<'a> {
    /// The largest number of numbers that anything in the file asks for.
    pub(super) fn worst(&self) -> f64 {
        let meaning = |(name, multiply): &(&[u8], bool)| {
            let meaning = self.constants.get(name).copied().unwrap_or_default();
            if *multiply { meaning.product } else { meaning.largest }
        };
        self.uses.iter().map(meaning).fold(self.attribute, f64::max)
    }

    /// Looks at a tensor of a graph.
    pub(super) fn note_tensor(&mut self, tensor: &'a [u8]) {
        let name = fields(tensor).find_map(|(field, value)| match value {
            Value::Bytes(name) if field == 8 => Some(name),
            _ => None,
        });
        if let Some(name) = name {
            self.note_constant(name, &numbers(tensor));
        }
    }

    /// Looks at an operator: whether it makes tensors of any size, or is itself a constant.
    pub(super) fn note_node(&mut self, node: &'a [u8]) {
        let (mut operator, mut inputs, mut output) = (&b""[..], Vec::new(), None);
        for (field, value) in fields(node) {
            match (field, value) {
                (1, Value::Bytes(name)) if inputs.len() < 4 => inputs.push(name),
                (2, Value::Bytes(name)) => output = output.or(Some(name)),
                (4, Value::Bytes(name)) => operator = name,
                _ => {}
            }
        }
        if let Some((_, multiplied, single)) = OPERATORS.iter().find(|(name, ..)| *name == operator) {
            let of = |indices: &[usize], multiply| {
                let names = indices.iter().filter_map(|index| inputs.get(*index));
                names.map(|name| (*name, multiply)).collect::<Vec<_>>()
            };
            self.uses.extend(of(multiplied, true).into_iter().chain(of(single, false)));
        }
        for (field, value) in fields(node) {
            let Value::Bytes(attribute) = value else { continue };
            match (field, output) {
                (5, Some(output)) if operator == b"Constant" => {
                    self.note_constant(output, &in_attribute(attribute))
                }
                (5, _) if fields(attribute).any(|field| named(&field, &ATTRIBUTES)) => {
                    self.attribute = self.attribute.max(meaning(&in_attribute(attribute)).product);
                }
                _ => {}
            }
        }
    }

    /// A name that is given twice means the larger.
    fn note_constant(&mut self, name: &'a [u8], numbers: &[f64]) {
        if numbers.is_empty() {
            return;
        }
        let (new, known) = (meaning(numbers), self.constants.entry(name).or_default());
        known.product = known.product.max(new.product);
        known.largest = known.largest.max(new.largest);
    }
}

fn meaning(numbers: &[f64]) -> Meaning {
    let positive = || numbers.iter().copied().filter(|number| *number > 0.0);
    Meaning {
        product: positive().product(),
        largest: numbers.iter().fold(0.0, |most, number| number.abs().max(most)),
    }
}

fn named(field: &(u64, Value<'_>), names: &[&[u8]]) -> bool {
    matches!(field, (1, Value::Bytes(name)) if names.contains(name))
}

/// Numbers of an attribute: a tensor, or the attribute itself.
fn in_attribute(attribute: &[u8]) -> Vec<f64> {
    let mut all = Vec::new();
    for (field, value) in fields(attribute) {
        match (field, value) {
            (5, Value::Bytes(tensor)) => all.extend(numbers(tensor)),
            (3 | 8, value) => integers(value, &mut all),
            (2 | 7, value) => floats(value, &mut all),
            _ => {}
        }
    }
    all.truncate(MOST_SIDES);
    all
}

/// Numbers of a tensor of few: 32-bit floats, and 32- and 64-bit integers.
fn numbers(tensor: &[u8]) -> Vec<f64> {
    let kind = fields(tensor).find_map(|(field, value)| match value {
        Value::Number(kind) if field == 2 => Some(kind),
        _ => None,
    });
    let mut all = Vec::new();
    for (field, value) in fields(tensor) {
        match (field, kind, value) {
            (9, Some(1), value) => floats(value, &mut all),
            (9, Some(6), Value::Bytes(raw)) if raw.len() <= 4 * MOST_SIDES => {
                all.extend(raw.as_chunks().0.iter().map(|bytes| f64::from(i32::from_le_bytes(*bytes))));
            }
            (9, Some(7), Value::Bytes(raw)) if raw.len() <= 8 * MOST_SIDES => {
                all.extend(raw.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64));
            }
            (4, Some(1), value) => floats(value, &mut all),
            (5 | 7, Some(6 | 7), value) => integers(value, &mut all),
            _ => {}
        }
        if all.len() > MOST_SIDES {
            return Vec::new();
        }
    }
    all
}

/// One or several.
fn integers(value: Value<'_>, to: &mut Vec<f64>) {
    match value {
        Value::Number(number) => to.push(number as i64 as f64),
        Value::Bytes(mut packed) if packed.len() <= 10 * MOST_SIDES => {
            while let Some(number) = number(&mut packed) {
                to.push(number as i64 as f64);
            }
        }
        _ => {}
    }
}

/// One or several.
fn floats(value: Value<'_>, to: &mut Vec<f64>) {
    if let Value::Fixed(raw) | Value::Bytes(raw) = value
        && raw.len() <= 4 * MOST_SIDES
    {
        to.extend(raw.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))));
    }
}
