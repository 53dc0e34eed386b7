//! Several runs as one: inputs on top of each other, outputs apart again.

use crate::tensor::{Numbers, Tensor, TensorSpec};

/// Whether runs of a model can be stacked: every input and output has an open first dimension, the batch.
pub(super) fn stackable(inputs: &[TensorSpec], outputs: &[TensorSpec]) -> bool {
    let open = |spec: &TensorSpec| spec.shape.first() == Some(&None);
    !inputs.is_empty() && inputs.iter().chain(outputs).all(open)
}

/// Items in the first dimension of a run's inputs, if all of them have the same.
pub(super) fn rows(inputs: &[Tensor]) -> Option<usize> {
    let rows = *inputs.first()?.shape().first()?;
    inputs.iter().all(|input| input.shape().first() == Some(&rows)).then_some(rows)
}

/// Whether the inputs of two runs are alike but for the first dimension.
pub(super) fn alike(a: &[Tensor], b: &[Tensor]) -> bool {
    let same =
        |(a, b): (&Tensor, &Tensor)| a.dtype() == b.dtype() && a.shape().get(1..) == b.shape().get(1..);
    a.len() == b.len() && a.iter().zip(b).all(same)
}

/// Puts tensors that are [`alike`] on top of each other. Memory of `to` is used again.
pub(super) fn stack<'a>(parts: impl Iterator<Item = &'a Tensor> + Clone, to: &mut Tensor) {
    let Some(first) = parts.clone().next() else { return };
    let mut shape = first.shape().to_vec();
    if let Some(side) = shape.first_mut() {
        *side = parts.clone().filter_map(|part| part.shape().first()).sum();
    }
    to.reshape(first.dtype(), &shape);
    let mut at = 0;
    for part in parts {
        let end = at + part.len();
        match part.numbers() {
            Numbers::F32(data) => to.f32_mut()[at..end].copy_from_slice(data),
            Numbers::I32(data) => to.i32_mut()[at..end].copy_from_slice(data),
        }
        at = end;
    }
}

/// Copies `count` of the `total` items of a stacked tensor, the one of number `first` onwards; `None` unless the tensor
/// has so many.
pub(super) fn unstack(
    from: &Tensor,
    total: usize,
    first: usize,
    count: usize,
    to: &mut Tensor,
) -> Option<()> {
    let (&rows, rest) = from.shape().split_first()?;
    if rows != total {
        return None;
    }
    let each: usize = rest.iter().product();
    let mut shape = from.shape().to_vec();
    shape[0] = count;
    to.reshape(from.dtype(), &shape);
    let range = first * each..(first + count) * each;
    match from.numbers() {
        Numbers::F32(data) => to.f32_mut().copy_from_slice(data.get(range)?),
        Numbers::I32(data) => to.i32_mut().copy_from_slice(data.get(range)?),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    fn tensor(shape: &[usize], first: u8) -> Tensor {
        let data = (0..shape.iter().product::<usize>()).map(|n| f32::from(first) + n as f32).collect();
        Tensor::from_f32(shape, data).expect("fits")
    }

    #[test]
    fn what_was_stacked_comes_apart_again() {
        let parts = [tensor(&[1, 2, 3], 0), tensor(&[3, 2, 3], 50), tensor(&[1, 2, 3], 90)];
        let mut all = Tensor::default();
        stack(parts.iter(), &mut all);
        assert_eq!(all.shape(), [5, 2, 3]);
        let mut at = 0;
        for part in &parts {
            let (count, mut back) = (part.shape()[0], Tensor::default());
            assert_eq!(unstack(&all, 5, at, count, &mut back), Some(()));
            assert_eq!(&back, part);
            at += count;
        }
    }

    #[test]
    fn outputs_of_another_length_are_no_batch() {
        let mut to = Tensor::default();
        assert_eq!(unstack(&tensor(&[1, 4], 0), 2, 0, 1, &mut to), None);
        assert_eq!(unstack(&tensor(&[2, 4], 0), 2, 1, 2, &mut to), None);
    }

    #[test]
    fn only_an_open_first_dimension_is_a_batch() {
        let spec = |shape: &[Option<usize>]| TensorSpec::new("x", DType::F32, shape.to_vec());
        let (open, fixed) = (spec(&[None, Some(3)]), spec(&[Some(1), Some(3)]));
        let both = [open.clone(), fixed.clone()];
        assert!(stackable(&both[..1], &both[..1]));
        assert!(
            !stackable(&both, &both[..1]) && !stackable(&both[..1], &both) && !stackable(&[], &both[..1])
        );
        assert!(!stackable(&[spec(&[])], &both[..1]), "a shape that the model does not tell");
        assert!(alike(&[tensor(&[1, 4], 0)], &[tensor(&[2, 4], 0)]));
        assert!(!alike(&[tensor(&[1, 4], 0)], &[tensor(&[1, 5], 0)]));
        assert!(!alike(&[tensor(&[1, 4], 0)], &[Tensor::zeros(DType::I32, &[1, 4])]));
        assert_eq!(rows(&[tensor(&[2, 4], 0), tensor(&[2, 1], 0)]), Some(2));
        assert_eq!(rows(&[tensor(&[2, 4], 0), tensor(&[1, 4], 0)]), None);
    }
}
