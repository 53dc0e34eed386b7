//! MoveNet: the joints of one person.
//!
//! Source of the decoding: the model card of MoveNet SinglePose Lightning.

use super::coco::JOINTS;
use super::{OutputError, numbers};

/// Side of the input, in whose pixels places are.
pub(crate) const SIDE: usize = 192;

/// A joint in pixels of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Joint {
    pub(crate) place: [f32; 2],
    /// Confidence in [0, 1].
    pub(crate) score: f32,
}

/// All joints, in the order of [`JOINTS`], from y, x and score of each.
pub(crate) fn joints(output: &[f32]) -> Result<[Joint; JOINTS], OutputError> {
    let output = numbers(output, 3 * JOINTS)?;
    let mut joints = [Joint::default(); JOINTS];
    for (joint, of) in joints.iter_mut().zip(output.chunks_exact(3)) {
        let place = [of[1], of[0]].map(|v| v * SIDE as f32);
        *joint = Joint { place, score: of[2].clamp(0.0, 1.0) };
    }
    Ok(joints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joints_are_read_height_first() {
        let mut output = [0.0; 51];
        output[3..6].copy_from_slice(&[0.25, 0.5, 1.25]);
        let joints = joints(&output).expect("a good output");
        assert_eq!(joints[1], Joint { place: [96.0, 48.0], score: 1.0 });
        assert_eq!(joints[16], Joint::default());
    }

    #[test]
    fn malformed_outputs_are_errors() {
        assert_eq!(joints(&[0.0; 50]), Err(OutputError::Length { found: 50, expected: 51 }));
        assert_eq!(joints(&[]), Err(OutputError::Length { found: 0, expected: 51 }));
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 2, 50] {
                let mut output = [0.0; 51];
                output[at] = bad;
                assert_eq!(joints(&output), Err(OutputError::NotFinite), "{bad} at {at}");
            }
        }
    }
}
