//! NanoDet: things of the 80 COCO classes, from three grids of cells.
//!
//! Source of the decoding: RangiLyu/nanodet; sides of boxes as distributions from Li et al., "Generalized Focal Loss"
//! (2020).

use super::coco::CLASSES;
use super::nms::{Candidate, best};
use super::{OutputError, finite, numbers};

/// Side of the input, in whose pixels everything is.
pub(crate) const SIDE: usize = 416;
/// Pixels along a cell of each grid.
const STRIDES: [usize; 3] = [8, 16, 32];
/// Numbers of a side's distribution: how likely it is 0, 1, 2, ... cells away.
const BINS: usize = 11;
/// Boxes of a class that overlap more than this are of one thing.
const SAME: f32 = 0.6;
/// The class that the copy of the model which there is finds where there is none, by an overflow in its conversion.
const BROKEN_CLASS: usize = 61;

/// A thing in pixels of the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Thing {
    /// Left, top, width, height.
    pub(crate) rect: [f32; 4],
    /// Number of its class in [`CLASSES`].
    pub(crate) class: usize,
    /// Confidence in [0, 1].
    pub(crate) score: f32,
}

impl Candidate for Thing {
    fn rect(&self) -> &[f32; 4] {
        &self.rect
    }
    fn score(&self) -> f32 {
        self.score
    }
    fn class(&self) -> usize {
        self.class
    }
}

/// Things with a score of at least `min_confidence`, the best ones first. `scores` are those of all classes for each
/// cell of the three grids, `sides` four distributions: left, top, right, bottom.
pub(crate) fn things(
    scores: [&[f32]; 3],
    sides: [&[f32]; 3],
    min_confidence: f32,
) -> Result<Vec<Thing>, OutputError> {
    let mut candidates = Vec::new();
    for ((stride, scores), sides) in STRIDES.into_iter().zip(scores).zip(sides) {
        let across = SIDE / stride;
        let cells = across * across;
        let (scores, sides) = (numbers(scores, cells * CLASSES.len())?, numbers(sides, cells * 4 * BINS)?);
        let each = scores.chunks_exact(CLASSES.len()).zip(sides.chunks_exact(4 * BINS)).enumerate();
        for (cell, (scores, sides)) in each {
            // Without a way out of the loop it runs on many numbers at once.
            if !scores.iter().fold(false, |any, score| any | (*score >= min_confidence)) {
                continue;
            }
            let rect = decode([cell % across, cell / across], stride as f32, sides);
            finite(&rect)?;
            let found = scores.iter().enumerate().filter(|(_, score)| **score >= min_confidence);
            let found = found.filter(|(class, _)| *class != BROKEN_CLASS);
            candidates.extend(found.map(|(class, score)| Thing { rect, class, score: score.min(1.0) }));
        }
    }
    Ok(best(candidates, SAME))
}

fn decode(cell: [usize; 2], stride: f32, sides: &[f32]) -> [f32; 4] {
    let [x, y] = cell.map(|at| (at as f32 + 0.5) * stride);
    let side = |i: usize| mean_bin(&sides[i * BINS..][..BINS]) * stride;
    let (left, top) = (side(0), side(1));
    [x - left, y - top, left + side(2), top + side(3)]
}

/// Mean of a distribution over 0, 1, 2, ..., given as what a softmax makes it from.
fn mean_bin(logits: &[f32]) -> f32 {
    let largest = logits.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (bin, logit) in logits.iter().enumerate() {
        let p = (logit - largest).exp();
        sum += p;
        weighted += p * bin as f32;
    }
    weighted / sum
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;
    use proptest::prelude::*;

    use super::*;

    struct Outputs {
        scores: [Vec<f32>; 3],
        sides: [Vec<f32>; 3],
    }

    impl Outputs {
        fn new() -> Self {
            let of = |numbers: usize| STRIDES.map(|stride| vec![0.0; (SIDE / stride).pow(2) * numbers]);
            Self { scores: of(80), sides: of(4 * BINS) }
        }

        /// A thing in cell (x, y) of a grid whose sides are this many cells away.
        fn put(&mut self, grid: usize, [x, y]: [usize; 2], class: usize, score: f32, sides: [usize; 4]) {
            let cell = y * (SIDE / STRIDES[grid]) + x;
            self.scores[grid][cell * 80 + class] = score;
            for (i, side) in sides.into_iter().enumerate() {
                self.sides[grid][(cell * 4 + i) * BINS + side] = 50.0;
            }
        }

        fn things(&self, least: f32) -> Result<Vec<Thing>, OutputError> {
            things(self.scores.each_ref().map(Vec::as_slice), self.sides.each_ref().map(Vec::as_slice), least)
        }
    }

    #[test]
    fn the_mean_of_a_distribution_is_its_side() {
        let mut logits = [0.0; BINS];
        assert!((mean_bin(&logits) - 5.0).abs() < 1e-6);
        logits[3] = 90.0;
        assert_eq!(mean_bin(&logits), 3.0);
        logits[4] = 90.0;
        assert!((mean_bin(&logits) - 3.5).abs() < 1e-6);
        assert!((mean_bin(&logits.map(|v| v * 1e30)) - 3.5).abs() < 1e-6, "exponents do not overflow");
    }

    #[test]
    fn sides_are_counted_from_the_middle_of_the_cell() {
        let mut outputs = Outputs::new();
        outputs.put(0, [10, 20], 2, 0.9, [1, 2, 3, 4]);
        outputs.put(1, [5, 1], 0, 0.8, [1, 1, 1, 1]);
        outputs.put(2, [12, 12], 79, 0.7, [10, 10, 0, 0]);
        let found = outputs.things(0.35).expect("good outputs");
        assert_eq!(
            found,
            [
                Thing { rect: [76.0, 148.0, 32.0, 48.0], class: 2, score: 0.9 },
                Thing { rect: [72.0, 8.0, 32.0, 32.0], class: 0, score: 0.8 },
                Thing { rect: [80.0, 80.0, 320.0, 320.0], class: 79, score: 0.7 },
            ]
        );
        assert_eq!(outputs.things(0.85).expect("good outputs").len(), 1);
    }

    #[test]
    fn a_thing_seen_by_several_cells_is_one_and_two_classes_are_two() {
        let mut outputs = Outputs::new();
        outputs.put(0, [10, 20], 2, 0.6, [4, 4, 4, 4]);
        outputs.put(0, [11, 20], 2, 0.9, [5, 4, 3, 4]);
        outputs.put(1, [5, 10], 2, 0.7, [2, 2, 2, 2]);
        outputs.put(0, [10, 20], 7, 0.5, [4, 4, 4, 4]);
        let found = outputs.things(0.35).expect("good outputs");
        let found: Vec<_> = found.iter().map(|thing| (thing.class, thing.score)).collect();
        assert_eq!(found, [(2, 0.9), (7, 0.5)]);
    }

    #[test]
    fn the_broken_class_is_never_found() {
        let mut outputs = Outputs::new();
        outputs.put(0, [10, 20], BROKEN_CLASS, 1.0, [4, 4, 4, 4]);
        assert_eq!((outputs.things(0.1), CLASSES[BROKEN_CLASS]), (Ok(vec![]), "toilet"));
    }

    #[test]
    fn malformed_outputs_are_errors() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut outputs = Outputs::new();
            outputs.scores[2][5] = bad;
            assert_eq!(outputs.things(0.4), Err(OutputError::NotFinite), "{bad}");
            let mut outputs = Outputs::new();
            outputs.sides[1][5] = bad;
            assert_eq!(outputs.things(0.4), Err(OutputError::NotFinite), "{bad}");
        }
        let mut outputs = Outputs::new();
        outputs.scores.swap(0, 1);
        let expected = OutputError::Length { found: 676 * 80, expected: 2704 * 80 };
        assert_eq!(outputs.things(0.4), Err(expected));
        outputs.scores.swap(0, 1);
        outputs.sides[0].pop();
        assert!(outputs.things(0.4).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn nothing_breaks_it(seed in any::<u64>(), largest in 0f32..3e38, least in 0f32..=1.0) {
            let mut random = Random::new(seed);
            let mut outputs = Outputs::new();
            let mut number = |largest: f32| (random.below(2001) as f32 / 1000.0 - 1.0) * largest;
            outputs.scores.iter_mut().flatten().for_each(|v| *v = number(2.0));
            outputs.sides.iter_mut().flatten().for_each(|v| *v = number(largest));
            let found = outputs.things(least).expect("finite numbers");
            let side = 10.0 * 32.0 * 2.0;
            for thing in &found {
                prop_assert!((least..=1.0).contains(&thing.score) && thing.class < 80);
                prop_assert!(thing.rect[2..].iter().all(|v| (0.0..=side + 0.1).contains(v)), "{:?}", thing);
            }
        }
    }
}
