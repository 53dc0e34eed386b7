//! Golden outputs, how the models' outputs are decoded, and how closely they have to agree.
//!
//! Decoding is written out here by the models' published descriptions, apart from the processors' own.

use std::path::PathBuf;

use ooblex_models::Tensor;
use serde_json::Value;

use crate::support::package;

/// The pictures and outputs of one model: those that come with the sources, or the larger set beside them.
pub(crate) struct Golden {
    folder: PathBuf,
    json: Value,
}

impl Golden {
    /// The set that comes with the sources.
    pub(crate) fn own(model: &str) -> Self {
        let folder = package().join("tests/golden/models");
        Self { json: read(&folder.join(format!("{model}.json"))), folder }
    }

    /// The larger set, if it is there.
    pub(crate) fn shared(model: &str) -> Option<Self> {
        let near = package().ancestors().map(|above| above.join("shared/models/golden"));
        let folder = near.into_iter().find(|folder| folder.is_dir())?;
        Some(Self { json: read(&folder.join(format!("{model}.json"))), folder })
    }

    /// Each picture with what is expected of it.
    pub(crate) fn pictures(&self) -> impl Iterator<Item = (PathBuf, &Value)> {
        let images = self.json["images"].as_object().expect("images");
        assert!(!images.is_empty());
        images.iter().map(|(name, expected)| (self.folder.join(name), expected))
    }
}

fn read(path: &std::path::Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All numbers in a value, in order.
pub(crate) fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap_or_else(|| panic!("{value} is no number")) as f32],
    }
}

/// Fails unless each number is within `tolerance` of what is expected.
#[track_caller]
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}: number {index} is {a}, not {b} within {tolerance}");
    }
}

/// A found thing: corners, score, class, and points.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) corners: [f32; 4],
    pub(crate) score: f32,
    pub(crate) class: usize,
    pub(crate) points: Vec<f32>,
}

fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let area = |c: &[f32; 4]| (c[2] - c[0]).max(0.0) * (c[3] - c[1]).max(0.0);
    let both = area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    both / (area(a) + area(b) - both)
}

/// Groups of the same class that overlap by more than `limit`, the best of each first.
pub(crate) fn groups(mut all: Vec<Found>, limit: f32) -> Vec<Vec<Found>> {
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut groups = Vec::new();
    while let Some(best) = all.first().cloned() {
        let same = |f: &Found| f.class == best.class && overlap(&f.corners, &best.corners) > limit;
        let (group, rest) = all.into_iter().partition(|f| same(f));
        groups.push(group);
        all = rest;
    }
    groups
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// BlazeFace: regressors `[1,896,16]` and logits `[1,896,1]` to faces in pixels of the 128 square.
pub(crate) fn blazeface(outputs: &[Tensor]) -> Vec<Found> {
    let (regressors, logits) = (outputs[0].f32(), outputs[1].f32());
    let mut anchors = Vec::new();
    for (cells, per_cell) in [(16, 2), (8, 6)] {
        for cell in 0..cells * cells {
            let at = |index: usize| (index as f32 + 0.5) / cells as f32 * 128.0;
            anchors.extend(std::iter::repeat_n((at(cell % cells), at(cell / cells)), per_cell));
        }
    }
    let mut all = Vec::new();
    for (index, (x, y)) in anchors.into_iter().enumerate() {
        let (r, score) = (&regressors[index * 16..][..16], sigmoid(logits[index]));
        if score >= 0.5 {
            let (cx, cy, w, h) = (r[0] + x, r[1] + y, r[2] / 2.0, r[3] / 2.0);
            let points = r[4..].chunks(2).flat_map(|p| [p[0] + x, p[1] + y]).collect();
            all.push(Found { corners: [cx - w, cy - h, cx + w, cy + h], score, class: 0, points });
        }
    }
    // Each face is the mean of its boxes, weighted by their scores.
    let mean = |group: Vec<Found>| {
        let total: f32 = group.iter().map(|f| f.score).sum();
        let mut face = group[0].clone();
        let blend = |get: &dyn Fn(&Found) -> f32| group.iter().map(|f| f.score * get(f)).sum::<f32>() / total;
        (0..4).for_each(|i| face.corners[i] = blend(&|f| f.corners[i]));
        (0..face.points.len()).for_each(|i| face.points[i] = blend(&|f| f.points[i]));
        face
    };
    groups(all, 0.3).into_iter().map(mean).collect()
}

/// NanoDet: three levels of class scores and of side distributions to boxes in pixels of the 416 square.
pub(crate) fn nanodet(named: &dyn Fn(&str) -> Vec<f32>) -> Vec<Found> {
    let mut all = Vec::new();
    for stride in [8usize, 16, 32] {
        let (classes, sides) = (named(&format!("cls_s{stride}")), named(&format!("reg_s{stride}")));
        let cells = 416 / stride;
        for cell in 0..cells * cells {
            let scores = &classes[cell * 80..][..80];
            let centre = |index: usize| (index as f32 + 0.5) * stride as f32;
            let (x, y) = (centre(cell % cells), centre(cell / cells));
            for (class, &score) in scores.iter().enumerate().filter(|(class, s)| **s >= 0.35 && *class != 61)
            {
                let side = |index: usize| {
                    let bins: Vec<f32> =
                        sides[cell * 44 + index * 11..][..11].iter().map(|v| v.exp()).collect();
                    let mean = bins.iter().enumerate().map(|(k, p)| k as f32 * p).sum::<f32>();
                    mean / bins.iter().sum::<f32>() * stride as f32
                };
                let corners = [x - side(0), y - side(1), x + side(2), y + side(3)];
                all.push(Found { corners, score, class, points: Vec::new() });
            }
        }
    }
    best(all, 0.6)
}

/// CenterFace: heat, sizes, offsets and landmarks at a quarter of the size to faces in pixels.
pub(crate) fn centerface(named: &dyn Fn(&str) -> Vec<f32>, width: usize, height: usize) -> Vec<Found> {
    let (heat, scale, offset, marks) =
        (named("heatmap"), named("scale"), named("offset"), named("landmarks"));
    let (w, cells) = (width / 4, width / 4 * (height / 4));
    let mut all = Vec::new();
    for cell in (0..cells).filter(|cell| heat[*cell] > 0.5) {
        let channel = |of: &[f32], index: usize| of[index * cells + cell];
        let (sh, sw) = (channel(&scale, 0).exp() * 4.0, channel(&scale, 1).exp() * 4.0);
        let centre = |index: usize, offset: f32| (index as f32 + offset + 0.5) * 4.0;
        let x = (centre(cell % w, channel(&offset, 1)) - sw / 2.0).max(0.0);
        let y = (centre(cell / w, channel(&offset, 0)) - sh / 2.0).max(0.0);
        let corners = [x, y, (x + sw).min(width as f32), (y + sh).min(height as f32)];
        let point = |j: usize| [channel(&marks, 2 * j + 1) * sw + x, channel(&marks, 2 * j) * sh + y];
        all.push(Found { corners, score: heat[cell], class: 0, points: (0..5).flat_map(point).collect() });
    }
    best(all, 0.3)
}

fn best(all: Vec<Found>, limit: f32) -> Vec<Found> {
    groups(all, limit).into_iter().filter_map(|group| group.into_iter().next()).collect()
}

/// Means of an 8x8 grid of blocks.
pub(crate) fn blocks(values: &[f32], width: usize) -> Vec<f32> {
    let height = values.len() / width;
    let (h, w) = (height / 8, width / 8);
    let block = |index: usize| {
        let rows = (0..h).flat_map(|y| &values[(index / 8 * h + y) * width + index % 8 * w..][..w]);
        rows.sum::<f32>() / (h * w) as f32
    };
    (0..64).map(block).collect()
}

/// Mean and standard deviation.
pub(crate) fn statistics(values: &[f32]) -> (f32, f32) {
    let mean = |values: &mut dyn Iterator<Item = f64>, count: usize| values.sum::<f64>() / count as f64;
    let average = mean(&mut values.iter().map(|v| f64::from(*v)), values.len());
    let square = mean(&mut values.iter().map(|v| (f64::from(*v) - average).powi(2)), values.len());
    (average as f32, square.sqrt() as f32)
}
