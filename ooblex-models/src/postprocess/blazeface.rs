//! BlazeFace, short range: faces with six points, from 896 anchors.
//!
//! Source of the decoding: the model card of MediaPipe's face detector; weighted suppression as in Bazarevsky et al.,
//! "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs" (2019).

use super::nms::merged;
use super::{OutputError, face, finite, logit, numbers, sigmoid};

/// Side of the input, in whose pixels everything is.
const SIDE: f32 = 128.0;
/// Cells along a side, anchors in each.
const GRIDS: [(usize, usize); 2] = [(16, 2), (8, 6)];
/// Anchors of both grids.
const COUNT: usize = 896;
/// Numbers for each anchor: centre, size and six points.
const NUMBERS: usize = 16;
/// Boxes that overlap more than this are of one face.
const SAME: f32 = 0.3;
/// Middles of the anchors' cells, row by row.
static ANCHORS: [[f32; 2]; COUNT] = anchors();

/// Right eye, left eye, tip of the nose, mouth, right ear, left ear; right is the subject's.
pub(crate) type Face = face::Face<6>;

/// Faces with a score of at least `min_confidence`, the best ones first. `regressors` are 16 numbers for each of 896
/// anchors, `logits` one.
pub(crate) fn faces(
    regressors: &[f32],
    logits: &[f32],
    min_confidence: f32,
) -> Result<Vec<Face>, OutputError> {
    let (regressors, logits) = (numbers(regressors, COUNT * NUMBERS)?, numbers(logits, COUNT)?);
    let least = logit(min_confidence);
    let each = ANCHORS.iter().zip(regressors.chunks_exact(NUMBERS)).zip(logits);
    let candidates = each
        .filter(|(_, logit)| **logit >= least)
        .map(|((anchor, numbers), logit)| decode(*anchor, numbers, sigmoid(*logit)))
        .collect();
    let faces = merged(candidates, SAME, mean);
    for face in &faces {
        finite(&face.rect)?;
        finite(face.points.as_flattened())?;
    }
    Ok(faces)
}

const fn anchors() -> [[f32; 2]; COUNT] {
    let (mut anchors, mut index, mut grid) = ([[0.0; 2]; COUNT], 0, 0);
    while grid < GRIDS.len() {
        let (cells, each) = GRIDS[grid];
        let step = SIDE / cells as f32;
        let mut i = 0;
        while i < cells * cells * each {
            let (x, y) = (i / each % cells, i / each / cells);
            anchors[index] = [(x as f32 + 0.5) * step, (y as f32 + 0.5) * step];
            (index, i) = (index + 1, i + 1);
        }
        grid += 1;
    }
    anchors
}

fn decode([x, y]: [f32; 2], numbers: &[f32], score: f32) -> Face {
    let (w, h) = (numbers[2], numbers[3]);
    let points = std::array::from_fn(|i| [x + numbers[4 + 2 * i], y + numbers[5 + 2 * i]]);
    Face { rect: [x + numbers[0] - w / 2.0, y + numbers[1] - h / 2.0, w, h], points, score }
}

/// Mean of boxes and points, weighted by score, with the score of the best.
fn mean(group: &[Face]) -> Face {
    // The sigmoid of a very small logit is 0.
    let weight = |face: &Face| face.score.max(f32::MIN_POSITIVE);
    let total: f32 = group.iter().map(weight).sum();
    let of = |number: &dyn Fn(&Face) -> f32| {
        group.iter().map(|face| number(face) * weight(face)).sum::<f32>() / total
    };
    Face {
        rect: std::array::from_fn(|i| of(&|face| face.rect[i])),
        points: std::array::from_fn(|i| std::array::from_fn(|c| of(&|face| face.points[i][c]))),
        score: group[0].score,
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;
    use proptest::prelude::*;

    use super::*;

    /// Outputs in which the anchors given have a logit of 3 and these numbers.
    fn outputs(given: &[(usize, [f32; 4], f32)]) -> (Vec<f32>, Vec<f32>) {
        let (mut regressors, mut scores) = (vec![0.0; COUNT * NUMBERS], vec![-9.0; COUNT]);
        for (anchor, numbers, logit) in given {
            regressors[anchor * NUMBERS..][..4].copy_from_slice(numbers);
            regressors[anchor * NUMBERS + 4] = 5.0;
            scores[*anchor] = *logit;
        }
        (regressors, scores)
    }

    #[test]
    fn anchors_lie_in_rows_of_two_grids() {
        let all = &ANCHORS;
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
        let found = faces(&regressors, &scores, 0.5).expect("good outputs");
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(found[0].rect, [100.0, 100.0, 20.0, 20.0], "the better one first");
        let (a, b) = (1.0 / (1.0 + (-3.0f32).exp()), 0.5);
        let x = 48.0 + 4.0 * b / (a + b);
        assert!((found[1].rect[0] - x).abs() < 1e-3 && found[1].rect[1] == 48.0, "{found:?}");
        assert!((found[1].score - a).abs() < 1e-6 && (found[1].points[0][0] - 73.0).abs() < 1e-3);
        assert_eq!(
            faces(&regressors, &scores, 0.3).expect("good outputs").len(),
            3,
            "a lower threshold finds more"
        );
    }

    #[test]
    fn malformed_outputs_are_errors() {
        let (regressors, logits) = outputs(&[(7, [0.0, 0.0, 40.0, 40.0], 3.0)]);
        let with = |index: usize, number: f32| {
            let mut regressors = regressors.clone();
            regressors[7 * NUMBERS + index] = number;
            faces(&regressors, &logits, 0.5)
        };
        assert!(with(9, 5.0).is_ok());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(with(9, bad), Err(OutputError::NotFinite), "{bad}");
            let mut logits = logits.clone();
            logits[0] = bad;
            assert_eq!(faces(&regressors, &logits, 0.5), Err(OutputError::NotFinite), "{bad}");
        }
        let mut large = regressors.clone();
        (large[7 * NUMBERS], large[7 * NUMBERS + 2]) = (f32::MAX, f32::MIN);
        assert_eq!(faces(&large, &logits, 0.5), Err(OutputError::NotFinite), "sums overflow");
        for wrong in [&[][..], &logits[1..]] {
            assert!(matches!(faces(&regressors, wrong, 0.5), Err(OutputError::Length { .. })));
        }
        assert!(matches!(faces(&regressors[16..], &logits, 0.5), Err(OutputError::Length { .. })));
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(seed in any::<u64>(), largest in 0f32..1e30, least in 0f32..=1.0) {
            let mut random = Random::new(seed);
            let mut numbers = |count: usize, largest: f32| -> Vec<f32> {
                (0..count).map(|_| (random.below(2001) as f32 / 1000.0 - 1.0) * largest).collect()
            };
            let (regressors, logits) = (numbers(COUNT * NUMBERS, largest), numbers(COUNT, largest.min(300.0)));
            let found = faces(&regressors, &logits, least).expect("finite numbers that cannot overflow");
            for (i, face) in found.iter().enumerate() {
                prop_assert!((least - 1e-6..=1.0).contains(&face.score));
                prop_assert!(i == 0 || face.score <= found[i - 1].score);
            }
        }
    }
}
