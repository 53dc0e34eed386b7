//! The emotion that a face shows.
//!
//! Source of the order: oarriaga/face_classification, trained on FER2013.

use super::{OutputError, numbers};

/// What there is, by number.
pub(crate) const EMOTIONS: [&str; 7] = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];

/// Number and confidence of the likeliest emotion; `output` has the confidence of each.
pub(crate) fn likeliest(output: &[f32]) -> Result<(usize, f32), OutputError> {
    let output = numbers(output, EMOTIONS.len())?;
    let first = (0, output[0]);
    let (emotion, score) =
        output.iter().copied().enumerate().fold(first, |best, new| if new.1 > best.1 { new } else { best });
    Ok((emotion, score.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_is_taken() {
        assert_eq!(likeliest(&[0.1, 0.0, 0.2, 0.6, 0.1, 0.0, 0.0]), Ok((3, 0.6)));
        assert_eq!(likeliest(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5]), Ok((6, 1.0)));
        assert_eq!(likeliest(&[-1.0; 7]), Ok((0, 0.0)));
    }

    #[test]
    fn malformed_outputs_are_errors() {
        assert_eq!(likeliest(&[]), Err(OutputError::Length { found: 0, expected: 7 }));
        assert_eq!(likeliest(&[0.1; 8]), Err(OutputError::Length { found: 8, expected: 7 }));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(likeliest(&[0.0, 0.0, 0.0, 0.0, 0.0, bad, 0.0]), Err(OutputError::NotFinite));
        }
    }
}
