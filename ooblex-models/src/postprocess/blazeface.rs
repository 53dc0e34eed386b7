//! BlazeFace, short range: faces with six points, from 896 anchors.
//!
//! Source of the decoding: the model card of MediaPipe's face detector; weighted suppression as in Bazarevsky et al.,
//! "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs" (2019).

use super::overlap;

/// Side of the input, in whose pixels everything is.
const SIDE: f32 = 128.0;
/// Cells along a side, anchors in each.
const GRIDS: [(usize, usize); 2] = [(16, 2), (8, 6)];
/// Numbers for each anchor: centre, size and six points.
const NUMBERS: usize = 16;
/// Boxes that overlap more than this are of one face.
const SAME: f32 = 0.3;

/// A face in pixels of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Face {
    /// Left, top, width, height.
    pub(crate) rect: [f32; 4],
    /// Right eye, left eye, tip of the nose, mouth, right ear, left ear; right is the subject's.
    pub(crate) points: [[f32; 2]; 6],
    /// Confidence in [0, 1].
    pub(crate) score: f32,
}

/// Faces with a score of at least `min_confidence`, the best ones first. `regressors` are 16 numbers for each anchor,
/// `scores` one (before the sigmoid).
pub(crate) fn faces(regressors: &[f32], scores: &[f32], min_confidence: f32) -> Vec<Face> {
    let each = anchors().zip(regressors.chunks_exact(NUMBERS)).zip(scores);
    let mut candidates: Vec<Face> = each
        .filter_map(|((anchor, numbers), logit)| {
            let score = 1.0 / (1.0 + (-logit).exp());
            (score >= min_confidence).then(|| decode(anchor, numbers, score))
        })
        .collect();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut faces = Vec::new();
    while !candidates.is_empty() {
        let best = candidates.remove(0);
        let mut group = vec![best];
        candidates.retain(|face| {
            let same = overlap(&face.rect, &best.rect) > SAME;
            if same {
                group.push(*face);
            }
            !same
        });
        faces.push(mean(&group, best.score));
    }
    faces
}

fn anchors() -> impl Iterator<Item = [f32; 2]> {
    GRIDS.into_iter().flat_map(|(cells, each)| {
        let middle = move |i: usize| (i as f32 + 0.5) / cells as f32 * SIDE;
        let cell = move |i: usize| [middle(i / each % cells), middle(i / each / cells)];
        (0..cells * cells * each).map(cell)
    })
}

fn decode([x, y]: [f32; 2], numbers: &[f32], score: f32) -> Face {
    let (w, h) = (numbers[2], numbers[3]);
    let points = std::array::from_fn(|i| [x + numbers[4 + 2 * i], y + numbers[5 + 2 * i]]);
    Face { rect: [x + numbers[0] - w / 2.0, y + numbers[1] - h / 2.0, w, h], points, score }
}

/// Mean of boxes and points, weighted by score.
fn mean(group: &[Face], score: f32) -> Face {
    let total: f32 = group.iter().map(|face| face.score).sum();
    let of = |number: &dyn Fn(&Face) -> f32| {
        group.iter().map(|face| number(face) * face.score).sum::<f32>() / total
    };
    Face {
        rect: std::array::from_fn(|i| of(&|face| face.rect[i])),
        points: std::array::from_fn(|i| std::array::from_fn(|c| of(&|face| face.points[i][c]))),
        score,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANCHORS: usize = 896;

    /// Outputs in which the anchors given have a logit of 3 and these numbers.
    fn outputs(given: &[(usize, [f32; 4], f32)]) -> (Vec<f32>, Vec<f32>) {
        let (mut regressors, mut scores) = (vec![0.0; ANCHORS * NUMBERS], vec![-9.0; ANCHORS]);
        for (anchor, numbers, logit) in given {
            regressors[anchor * NUMBERS..][..4].copy_from_slice(numbers);
            regressors[anchor * NUMBERS + 4] = 5.0;
            scores[*anchor] = *logit;
        }
        (regressors, scores)
    }

    #[test]
    fn anchors_lie_in_rows_of_two_grids() {
        let all: Vec<[f32; 2]> = anchors().collect();
        assert_eq!(all.len(), ANCHORS);
        assert_eq!((all[0], all[1], all[2], all[33]), ([4.0, 4.0], [4.0, 4.0], [12.0, 4.0], [4.0, 12.0]));
        assert_eq!(
            (all[512], all[517], all[518], all[895]),
            ([8.0, 8.0], [8.0, 8.0], [24.0, 8.0], [120.0, 120.0])
        );
    }

    #[test]
    fn boxes_of_one_face_are_averaged_by_score() {
        // Cell (8, 8) of the first grid, both anchors: middle at 68; another face at the lower right.
        let cell = 2 * (8 * 16 + 8);
        let (regressors, scores) = outputs(&[
            (cell, [0.0, 0.0, 40.0, 40.0], 3.0),
            (cell + 1, [4.0, 0.0, 40.0, 40.0], 0.0),
            (895, [-10.0, -10.0, 20.0, 20.0], 5.0),
            (0, [0.0, 0.0, 10.0, 10.0], -0.5),
        ]);
        let found = faces(&regressors, &scores, 0.5);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].rect, [100.0, 100.0, 20.0, 20.0], "the better one first");
        let (a, b) = (1.0 / (1.0 + (-3.0f32).exp()), 0.5);
        let x = 48.0 + 4.0 * b / (a + b);
        assert!((found[1].rect[0] - x).abs() < 1e-3 && found[1].rect[1] == 48.0, "{found:?}");
        assert!((found[1].score - a).abs() < 1e-6 && (found[1].points[0][0] - 73.0).abs() < 1e-3);
        assert_eq!(faces(&regressors, &scores, 0.3).len(), 3, "a lower threshold finds more");
    }
}
