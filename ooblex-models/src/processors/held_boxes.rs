//! Boxes that stay for a while when a detector misses what is in them.

use std::time::{Duration, Instant};

use crate::postprocess::nms::overlap;

/// Overlap from which a box may be the successor of another.
const SAME: f32 = 0.1;
/// A box that is missed becomes larger by this at once, and by its own size while it is held.
const AT_ONCE: f32 = 0.15;
/// Frames that a box is held for at least, however far apart they are.
const FRAMES: u32 = 3;

/// Boxes (left, top, width, height) of the last frames.
#[derive(Debug)]
pub(super) struct HeldBoxes {
    hold: Duration,
    boxes: Vec<Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    /// Where it was found, in the frame before the last one and in the last one.
    before: [f32; 4],
    last: [f32; 4],
    seen: Instant,
    /// Frames since then.
    missed: u32,
}

impl HeldBoxes {
    /// Boxes stay for `hold` after they were found last, and for three frames at least; for none if `hold` is zero.
    pub(super) fn new(hold: Duration) -> Self {
        Self { hold, boxes: Vec::new() }
    }

    /// Takes note of what was found at `now`. Each box found succeeds one known box at most, the one that it overlaps most;
    /// known boxes without successor stay, so that a face beside another one is not lost to it.
    pub(super) fn update(&mut self, found: &[[f32; 4]], now: Instant) {
        let known = self.boxes.len();
        self.boxes.iter_mut().for_each(|held| held.missed += 1);
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (k, held) in self.boxes.iter().enumerate() {
            pairs.extend(found.iter().enumerate().map(|(f, rect)| (overlap(&held.last, rect), k, f)));
        }
        pairs.retain(|(overlap, ..)| *overlap > SAME);
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut succeeded, mut placed) = (vec![false; known], vec![false; found.len()]);
        for (_, k, f) in pairs {
            if !succeeded[k] && !placed[f] {
                (succeeded[k], placed[f]) = (true, true);
                self.boxes[k] = Held { before: self.boxes[k].last, last: found[f], seen: now, missed: 0 };
            }
        }
        let hold = self.hold;
        self.boxes.retain(|held| {
            let held_back = now.saturating_duration_since(held.seen) < hold || held.missed <= FRAMES;
            held.missed == 0 || (!hold.is_zero() && held_back)
        });
        let new = found.iter().zip(placed).filter(|(_, placed)| !placed);
        self.boxes.extend(new.map(|(rect, _)| Held { before: *rect, last: *rect, seen: now, missed: 0 }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.boxes.is_empty()
    }

    /// What the boxes cover at `now`: where a thing was in this frame and the one before, more the longer it is missed.
    pub(super) fn covered(&self, now: Instant) -> impl Iterator<Item = [f32; 4]> {
        self.boxes.iter().map(move |held| {
            let [x, y, w, h] = union(&held.before, &held.last);
            let time = now.saturating_duration_since(held.seen).as_secs_f32() / self.hold.as_secs_f32();
            let larger = if held.missed > 0 { AT_ONCE + time.min(1.0) } else { 0.0 };
            [x - w * larger / 2.0, y - h * larger / 2.0, w * (1.0 + larger), h * (1.0 + larger)]
        })
    }
}

fn union(a: &[f32; 4], b: &[f32; 4]) -> [f32; 4] {
    let (left, top) = (a[0].min(b[0]), a[1].min(b[1]));
    [left, top, (a[0] + a[2]).max(b[0] + b[2]) - left, (a[1] + a[3]).max(b[1] + b[3]) - top]
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_millis(1000);
    const A: [f32; 4] = [0.1, 0.1, 0.2, 0.2];
    const B: [f32; 4] = [0.25, 0.1, 0.2, 0.2];

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    fn contains(outer: &[f32; 4], inner: &[f32; 4]) -> bool {
        (0..2).all(|i| outer[i] <= inner[i] && outer[i] + outer[i + 2] >= inner[i] + inner[i + 2] - 1e-6)
    }

    #[test]
    fn a_box_that_is_missed_stays_and_grows_until_it_is_given_up() {
        let start = Instant::now();
        let mut held = HeldBoxes::new(HOLD);
        held.update(&[A], start);
        let mut last = held.covered(start).next().expect("a box");
        assert!(contains(&last, &A) && contains(&A, &last));
        for ms in (33..1000).step_by(33) {
            held.update(&[], after(start, ms));
            let now: Vec<_> = held.covered(after(start, ms)).collect();
            assert_eq!(now.len(), 1, "{ms}");
            assert!(contains(&now[0], &last) && now[0][2] > last[2], "{ms}: {now:?} after {last:?}");
            last = now[0];
        }
        assert!(last[2] > 0.4, "more than twice as wide in the end: {last:?}");
        held.update(&[], after(start, 1000));
        assert!(held.is_empty());
    }

    #[test]
    fn slow_frames_hold_a_box_as_well() {
        let start = Instant::now();
        let mut held = HeldBoxes::new(HOLD);
        held.update(&[A], start);
        for seconds in 1..4 {
            held.update(&[], after(start, 5000 * seconds));
            let covered: Vec<_> = held.covered(after(start, 5000 * seconds)).collect();
            assert!(covered.len() == 1 && contains(&covered[0], &A) && covered[0][2] < 0.5, "{covered:?}");
        }
        held.update(&[], after(start, 20_000));
        assert!(held.is_empty());
    }

    #[test]
    fn a_box_that_moves_covers_where_it_was() {
        let start = Instant::now();
        let mut held = HeldBoxes::new(HOLD);
        held.update(&[A], start);
        let moved = [0.14, 0.12, 0.18, 0.18];
        held.update(&[moved], after(start, 33));
        let covered: Vec<_> = held.covered(after(start, 33)).collect();
        assert_eq!(covered.len(), 1);
        assert!(contains(&covered[0], &A) && contains(&covered[0], &moved));
    }

    #[test]
    fn a_neighbour_does_not_stand_for_a_missed_face() {
        let start = Instant::now();
        let mut held = HeldBoxes::new(HOLD);
        held.update(&[A, B], start);
        // The faces overlap, and one of them is found a little nearer to the other.
        let found = [0.22, 0.1, 0.2, 0.2];
        for ms in [33, 66, 99] {
            held.update(&[found], after(start, ms));
            let covered: Vec<_> = held.covered(after(start, ms)).collect();
            assert_eq!(covered.len(), 2);
            assert!(
                covered.iter().any(|c| contains(c, &A)) && covered.iter().any(|c| contains(c, &found)),
                "{ms}"
            );
        }
    }

    #[test]
    fn without_holding_only_what_is_found_is_covered() {
        let start = Instant::now();
        let mut held = HeldBoxes::new(Duration::ZERO);
        held.update(&[A], start);
        assert_eq!(held.covered(start).count(), 1);
        held.update(&[], after(start, 1));
        assert!(held.is_empty());
    }
}
