//! BlazeFace, short range: faces with six points, from 896 anchors.
//!
//! Source of the decoding: the model card of MediaPipe's face detector; weighted suppression as in Bazarevsky et al.,
//! "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs" (2019).

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

/// Intersection over union of two rectangles.
fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let side = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let both = side(0) * side(1);
    let all = a[2] * a[3] + b[2] * b[3] - both;
    if all > 0.0 { both / all } else { 0.0 }
}
