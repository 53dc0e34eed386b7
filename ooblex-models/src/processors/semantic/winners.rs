//! From a model's output to the class of each pixel.

use crate::processors::manifest::Edges;
use crate::tensor::Tensor;

/// Most pixels of a model's output.
const MOST_PIXELS: usize = 4096 * 4096;
/// At full strength, how much more probable another class must be before a pixel changes to it, as a logarithm.
const MARGIN: f32 = 2.0;

/// The class of each pixel: the most probable one, or the one that it had as long as that is nearly as probable.
///
/// A model with a single output says by its sign whether its class is there; [`none`](Self::none) is then the other one,
/// and its logit is 0.
#[derive(Debug)]
pub(super) struct Winners {
    edges: Edges,
    margin: f32,
    count: usize,
    pub(super) width: usize,
    pub(super) height: usize,
    /// Class of each pixel, row after row.
    pub(super) classes: Vec<u16>,
    best: Vec<f32>,
    winners: Vec<u16>,
    /// Sum of exp(logit - best) over all classes.
    sums: Vec<f32>,
}

impl Winners {
    /// For `count` classes; `smooth` from 0 to 1 is how reluctantly a pixel changes its class.
    pub(super) fn new(edges: Edges, count: usize, smooth: f32) -> Self {
        Self {
            edges,
            margin: smooth.clamp(0.0, 1.0) * MARGIN,
            count,
            width: 0,
            height: 0,
            classes: Vec::new(),
            best: Vec::new(),
            winners: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// The class of pixels that belong to none.
    pub(super) fn none(&self) -> u16 {
        self.count as u16
    }

    /// Reads logits `[1, classes, rows, columns]`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn decide(&mut self, logits: &Tensor) -> Result<(), String> {
        let &[1, classes, height, width] = logits.shape() else {
            return Err(format!("its output is {:?}, not [1, classes, rows, columns]", logits.shape()));
        };
        if classes != self.count {
            return Err(format!("its output has {classes} classes, its manifest names {}", self.count));
        }
        let pixels = width.saturating_mul(height);
        if pixels == 0 || pixels > MOST_PIXELS || logits.f32().len() != classes * pixels {
            return Err(format!("its output {:?} is not a picture of numbers", logits.shape()));
        }
        self.find_best(logits.f32(), pixels);
        if !self.best.iter().all(|v| v.is_finite()) {
            return Err("its output is not finite".into());
        }
        let same = (self.width, self.height) == (width, height) && self.classes.len() == pixels;
        if same && self.margin > 0.0 {
            let (none, margin) = (self.none(), self.margin);
            for (i, class) in self.classes.iter_mut().enumerate() {
                let old = if *class == none { 0.0 } else { logits.f32()[usize::from(*class) * pixels + i] };
                let nearly = self.best[i] - old <= margin;
                // A logit that is not a number is no reason to stay.
                if !nearly {
                    *class = self.winners[i];
                }
            }
        } else {
            self.classes.clone_from(&self.winners);
        }
        (self.width, self.height) = (width, height);
        if self.edges == Edges::Soft {
            self.add_up(logits.f32(), pixels);
        }
        Ok(())
    }

    fn find_best(&mut self, logits: &[f32], pixels: usize) {
        let none = self.none();
        let start = if self.count == 1 { 0.0 } else { f32::NEG_INFINITY };
        self.best.clear();
        self.best.resize(pixels, start);
        self.winners.clear();
        self.winners.resize(pixels, none);
        for (class, plane) in logits.chunks_exact(pixels).enumerate() {
            for ((best, winner), &v) in self.best.iter_mut().zip(&mut self.winners).zip(plane) {
                if v > *best {
                    (*best, *winner) = (v, class as u16);
                }
            }
        }
    }

    fn add_up(&mut self, logits: &[f32], pixels: usize) {
        self.sums.clear();
        if self.count == 1 {
            self.sums.extend(self.best.iter().map(|best| (-best).exp()));
        } else {
            self.sums.resize(pixels, 0.0);
        }
        for plane in logits.chunks_exact(pixels) {
            for ((sum, best), v) in self.sums.iter_mut().zip(&self.best).zip(plane) {
                *sum += share(*v, *best);
            }
        }
    }

    /// How much each pixel belongs to `class`, 255 being certain, from the logits last read.
    pub(super) fn mask(&self, class: u16, logits: &Tensor, to: &mut Vec<u8>) {
        to.clear();
        match self.edges {
            Edges::Hard => to.extend(self.classes.iter().map(|c| if *c == class { 255 } else { 0 })),
            Edges::Soft => {
                let plane = logits.f32().iter().skip(usize::from(class) * self.best.len());
                let of_class = plane.zip(&self.best).zip(&self.sums);
                to.extend(of_class.map(|((v, best), sum)| (share(*v, *best) / sum * 255.0 + 0.5) as u8));
            }
        }
    }
}

/// exp(logit - best); nothing for what is not a number.
fn share(logit: f32, best: f32) -> f32 {
    let share = (logit - best).exp();
    if share.is_nan() { 0.0 } else { share }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(classes: usize, values: &[f32]) -> Tensor {
        Tensor::from_f32(&[1, classes, 1, values.len() / classes], values.to_vec()).expect("fits")
    }

    fn masks(winners: &mut Winners, logits: &Tensor) -> Vec<Vec<u8>> {
        winners.decide(logits).expect("decides");
        let mask = |class: usize| {
            let mut mask = Vec::new();
            winners.mask(class as u16, logits, &mut mask);
            mask
        };
        (0..winners.count).map(mask).collect()
    }

    #[test]
    fn the_most_probable_class_wins() {
        let logits = logits(3, &[0.0, 5.0, -1.0, 1.0, 0.0, -2.0, -1.0, 9.0, -3.0]);
        let hard = masks(&mut Winners::new(Edges::Hard, 3, 0.0), &logits);
        assert_eq!(hard, [[0, 0, 255], [255, 0, 0], [0, 255, 0]]);
        let soft = masks(&mut Winners::new(Edges::Soft, 3, 0.0), &logits);
        // softmax(0, 1, -1) = 0.245, 0.665, 0.090.
        assert_eq!([soft[0][0], soft[1][0], soft[2][0]], [62, 170, 23]);
        for i in 0..3 {
            let sum: u32 = soft.iter().map(|mask| u32::from(mask[i])).sum();
            assert!(sum.abs_diff(255) <= 2, "{sum}");
        }
    }

    #[test]
    fn a_single_class_is_there_where_its_logit_is_positive() {
        let logits = logits(1, &[-2.0, 0.0, 2.0]);
        let mut winners = Winners::new(Edges::Hard, 1, 0.0);
        assert_eq!(masks(&mut winners, &logits), [[0, 0, 255]]);
        assert_eq!(winners.classes, [winners.none(), winners.none(), 0]);
        // 1 / (1 + exp(2)) = 0.119.
        assert_eq!(masks(&mut Winners::new(Edges::Soft, 1, 0.0), &logits), [[30, 128, 225]]);
    }

    #[test]
    fn a_pixel_keeps_its_class_until_another_is_clearly_more_probable() {
        let both = |a: f32, b: f32| logits(2, &[a, b]);
        let classes = |smooth: f32| {
            let mut winners = Winners::new(Edges::Hard, 2, smooth);
            let step = |logits: Tensor| {
                winners.decide(&logits).expect("decides");
                winners.classes[0]
            };
            [both(1.0, 0.9), both(0.9, 1.0), both(0.0, 0.9), both(0.0, 1.1), both(0.5, 0.0)].map(step)
        };
        assert_eq!(classes(0.0), [0, 1, 1, 1, 0]);
        assert_eq!(classes(0.5), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn what_a_hostile_model_gives_is_refused_or_harmless() {
        let mut winners = Winners::new(Edges::Soft, 2, 0.5);
        let mut refused = |tensor: Tensor| winners.decide(&tensor).expect_err("refused");
        assert_eq!(refused(logits(3, &[0.0; 9])), "its output has 3 classes, its manifest names 2");
        assert_eq!(refused(logits(2, &[f32::NAN; 4])), "its output is not finite");
        assert_eq!(refused(logits(2, &[f32::INFINITY; 4])), "its output is not finite");
        let flat = Tensor::from_f32(&[2, 4], vec![0.0; 8]).expect("fits");
        assert_eq!(refused(flat), "its output is [2, 4], not [1, classes, rows, columns]");
        let empty = Tensor::from_f32(&[1, 2, 0, 4], Vec::new()).expect("fits");
        assert!(refused(empty).ends_with("is not a picture of numbers"));
        let whole = Tensor::from_i32(&[1, 2, 1, 1], vec![1, 2]).expect("fits");
        assert!(refused(whole).ends_with("is not a picture of numbers"));
        // One class is not a number: the other one wins.
        assert_eq!(masks(&mut winners, &logits(2, &[f32::NAN, 1.0])), [[0], [255]]);
    }
}
