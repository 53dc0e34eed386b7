//! How large a picture a model can work on in a given time.

use std::time::Duration;

/// Sizes to choose from: the longer side, in pixels.
const SMALLEST: u32 = 128;
const LARGEST: u32 = 512;
const STEP: u32 = 32;
const START: u32 = 256;
/// A larger size is taken only if this share of the time is enough for it.
const ROOM: f64 = 0.85;
/// Frames in a row that must be too slow before a smaller size is taken.
const SLOW: u32 = 3;
/// Frames in a row that must leave room before a larger size is taken: at first, and at most.
const PATIENCE: u32 = 30;
const MOST_PATIENCE: u32 = 960;
/// Weight of the newest measurement.
const NEWEST: f64 = 0.25;

/// Finds the size by measuring. A size is given up soon when it is too slow and another tried late; one that turned out
/// to be too slow is tried again ever later, so that sizes do not swing.
#[derive(Debug)]
pub(super) struct Budget {
    side: u32,
    /// Seconds for a pixel.
    cost: Option<f64>,
    slow: u32,
    calm: u32,
    patience: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { side: START, cost: None, slow: 0, calm: 0, patience: PATIENCE }
    }
}

impl Budget {
    /// The longer side of the next picture.
    pub(super) fn side(&self) -> u32 {
        self.side
    }

    /// Notes that a picture of `pixels` took so long, where `limit` was allowed.
    pub(super) fn note(&mut self, pixels: usize, took: Duration, limit: Duration) {
        let now = took.as_secs_f64() / pixels.max(1) as f64;
        let cost = self.cost.map_or(now, |old| old + (now - old) * NEWEST);
        self.cost = Some(cost);
        let limit = limit.as_secs_f64();
        let shape = pixels as f64 / f64::from(self.side).powi(2);
        let takes = |side: u32| cost * shape * f64::from(side).powi(2);
        if takes(self.side) > limit && self.side > SMALLEST {
            (self.slow, self.calm) = (self.slow + 1, 0);
            if self.slow >= SLOW {
                while self.side > SMALLEST && takes(self.side) > ROOM * limit {
                    self.side -= STEP;
                }
                self.patience = (2 * self.patience).min(MOST_PATIENCE);
                self.slow = 0;
            }
            return;
        }
        self.slow = 0;
        let larger = self.side + STEP;
        if larger <= LARGEST && takes(larger) <= ROOM * limit {
            self.calm += 1;
            if self.calm >= self.patience {
                (self.side, self.calm) = (larger, 0);
            }
        } else {
            // It has found its place: the past does not matter any more.
            self.calm += 1;
            if self.calm >= self.patience {
                (self.patience, self.calm) = (PATIENCE, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    /// Sides after each frame of a machine that needs `cost(side)` nanoseconds for a pixel.
    fn run(budget: &mut Budget, frames: u32, mut cost: impl FnMut(u32) -> f64) -> Vec<u32> {
        let step = |_| {
            let side = budget.side();
            let pixels = (side * side * 9 / 16) as usize;
            budget.note(pixels, Duration::from_nanos((cost(side) * pixels as f64) as u64), LIMIT);
            budget.side()
        };
        (0..frames).map(step).collect()
    }

    #[test]
    fn it_settles_at_the_largest_size_that_fits() {
        for (cost, wanted) in
            [(300.0, 480..=512), (900.0, 256..=288), (2500.0, 160..=192), (50_000.0, 128..=128)]
        {
            let mut budget = Budget::default();
            let sides = run(&mut budget, 2000, |_| cost);
            assert!(wanted.contains(&budget.side()), "{cost}: {}", budget.side());
            assert!(sides[1000..].iter().all(|side| *side == budget.side()), "{cost}");
        }
    }

    #[test]
    fn too_slow_a_size_is_left_within_a_few_frames() {
        let mut budget = Budget::default();
        run(&mut budget, 2000, |_| 300.0);
        let sides = run(&mut budget, 20, |_| 3000.0);
        assert!(sides[19] <= 192, "{sides:?}");
    }

    #[test]
    fn one_slow_frame_changes_nothing() {
        let mut budget = Budget::default();
        let before = *run(&mut budget, 2000, |_| 800.0).last().expect("a side");
        let mut frame = 0;
        let sides = run(&mut budget, 60, |_| {
            frame += 1;
            if frame == 5 { 2400.0 } else { 800.0 }
        });
        assert!(sides.iter().all(|side| *side >= before), "{sides:?}");
    }

    /// A size that is slower than its pixels suggest is not tried again and again.
    #[test]
    fn sizes_do_not_swing() {
        let mut budget = Budget::default();
        let sides = run(&mut budget, 6000, |side| if side > 288 { 1500.0 } else { 500.0 });
        let changes = |sides: &[u32]| sides.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes(&sides[3000..]) <= 12, "{}", changes(&sides[3000..]));
        assert!(changes(&sides) <= 40, "{}", changes(&sides));
    }

    #[test]
    fn noise_does_not_move_it() {
        let mut random = ooblex_core::testing::Random::new(4);
        let mut budget = Budget::default();
        let sides = run(&mut budget, 5000, |_| 900.0 * (0.8 + random.below(400) as f64 / 1000.0));
        let changes = sides[1000..].windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!(changes <= 4, "{changes}");
    }
}
