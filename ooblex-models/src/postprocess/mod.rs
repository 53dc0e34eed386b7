//! From a model's outputs to findings: pure functions. What does not have the right length, or is not finite, is an error
//! and never "nothing found".

pub(crate) mod blazeface;
pub(crate) mod centerface;
pub(crate) mod coco;
pub(crate) mod emotion;
pub(crate) mod face;
pub(crate) mod movenet;
pub(crate) mod nanodet;
pub(crate) mod nms;

use crate::tensor::{Tensor, all_finite};

/// Why a model's outputs cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutputError {
    /// Other outputs than this model has.
    #[error("the model gave {found} outputs, not {expected}")]
    Count { found: usize, expected: usize },
    /// An output of another size, or of integers.
    #[error("the model gave {found} numbers where {expected} were expected")]
    Length { found: usize, expected: usize },
    /// An infinity, or no number at all.
    #[error("the model gave something that is no finite number")]
    NotFinite,
}

/// The numbers of each output.
pub(crate) fn outputs<const N: usize>(tensors: &[Tensor]) -> Result<[&[f32]; N], OutputError> {
    let tensors: &[Tensor; N] =
        tensors.try_into().map_err(|_| OutputError::Count { found: tensors.len(), expected: N })?;
    Ok(tensors.each_ref().map(Tensor::f32))
}

/// An output, if it has `expected` numbers and all are finite.
pub(crate) fn numbers(output: &[f32], expected: usize) -> Result<&[f32], OutputError> {
    if output.len() != expected {
        return Err(OutputError::Length { found: output.len(), expected });
    }
    finite(output)
}

/// Numbers, if all are finite: sums and exponents of finite ones need not be.
fn finite<T: AsRef<[f32]> + ?Sized>(numbers: &T) -> Result<&T, OutputError> {
    if all_finite(numbers.as_ref()) { Ok(numbers) } else { Err(OutputError::NotFinite) }
}

/// What becomes `p` by [`sigmoid`].
fn logit(p: f32) -> f32 {
    (p / (1.0 - p)).ln()
}

pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_checked() {
        let one = Tensor::from_f32(&[3], vec![0.0, -1e9, 1.0]).expect("fits");
        let integers = Tensor::from_i32(&[2], vec![1, 2]).expect("fits");
        let both = [one, integers];
        let [numbers_of_one, none] = outputs(&both).expect("two of them");
        assert_eq!((numbers_of_one, none), (&[0.0, -1e9, 1.0][..], &[][..]));
        assert_eq!(outputs::<3>(&both), Err(OutputError::Count { found: 2, expected: 3 }));
        assert!(numbers(numbers_of_one, 3).is_ok());
        assert_eq!(numbers(numbers_of_one, 2), Err(OutputError::Length { found: 3, expected: 2 }));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(numbers(&[0.0, bad], 2), Err(OutputError::NotFinite), "{bad}");
        }
    }

    #[test]
    fn logits_are_what_sigmoids_undo() {
        for p in [0.01, 0.3, 0.5, 0.97] {
            assert!((sigmoid(logit(p)) - p).abs() < 1e-6, "{p}");
        }
        assert_eq!((logit(0.0), logit(1.0)), (f32::NEG_INFINITY, f32::INFINITY));
        assert_eq!((sigmoid(-1e9), sigmoid(1e9)), (0.0, 1.0));
    }
}
