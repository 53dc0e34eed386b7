//! What every finder of faces finds.

use super::nms::Candidate;

/// A face with N points, in pixels of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Face<const N: usize> {
    /// Left, top, width, height.
    pub(crate) rect: [f32; 4],
    /// The subject's right and left eye, then what the model says.
    pub(crate) points: [[f32; 2]; N],
    /// Confidence in [0, 1].
    pub(crate) score: f32,
}

impl<const N: usize> Candidate for Face<N> {
    fn rect(&self) -> &[f32; 4] {
        &self.rect
    }
    fn score(&self) -> f32 {
        self.score
    }
}
