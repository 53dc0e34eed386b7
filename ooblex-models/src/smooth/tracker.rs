//! Boxes that do not tremble or vanish for a frame.

use std::time::{Duration, Instant};

use ooblex_core::Annotation;

use super::follow::Follow;
use crate::postprocess::nms::overlap;

/// Things that are followed at once; more are passed on as they come.
const MOST: usize = 128;
/// Least overlap of a box with the one before, as intersection over union.
const OVERLAP: f32 = 0.2;
/// At full strength: play and reach as shares of the box's size, share caught up at once, and how long a box that is
/// no longer found is kept.
const PLAY: f32 = 0.02;
const REACH: f32 = 0.1;
const SLOWEST: f32 = 0.15;
const KEEP: Duration = Duration::from_millis(400);
/// From this strength on, boxes are kept over frames in which they are missed.
const KEEP_FROM: f32 = 0.25;
/// A box is kept only if it was found this often before: no accident is prolonged.
const CONFIRMED: u32 = 3;
/// Play of the score at full strength.
const SCORE_PLAY: f32 = 0.04;

/// Steadies boxes and their points from frame to frame, and keeps a box over short misses.
///
/// Boxes of the same label and model belong together if they overlap, the best pair first. A box that stands still is
/// shown where it was, as long as it moves by less than some play, which is a share of its size; beyond that it is
/// followed, the closer the faster it moves. At strength s no edge of a box at rest is off by more than 0.02 s of its
/// size, and of one in even motion by more than 0.045 s.
///
/// Annotations without a box that have points count by the extent of these; others are left as they are. Memory is
/// bounded, whatever comes.
#[derive(Debug)]
pub struct Tracker {
    strength: f32,
    tracks: Vec<Track>,
    /// Pairs of track and annotation, the best first: overlap and their numbers.
    pairs: Vec<(f32, usize, usize)>,
    /// Which annotations belong to a track.
    taken: Vec<bool>,
}

/// One thing that is followed.
#[derive(Debug)]
struct Track {
    /// As it was last given away, with steadied places.
    shown: Annotation,
    seen: Instant,
    times: u32,
    /// Whether this frame had it.
    matched: bool,
}

impl Tracker {
    /// `strength` from 0, off, to 1, strongest.
    pub fn new(strength: f32) -> Self {
        Self { strength: strength.clamp(0.0, 1.0), tracks: Vec::new(), pairs: Vec::new(), taken: Vec::new() }
    }

    /// Forgets what was.
    pub fn reset(&mut self) {
        self.tracks.clear();
    }

    /// Steadies the annotations of one frame in place, and adds those that were missed in it, with a score that falls
    /// to nothing. `now` does not go back.
    pub fn update(&mut self, annotations: &mut Vec<Annotation>, now: Instant) {
        if self.strength == 0.0 {
            return;
        }
        self.match_up(annotations);
        for &(_, track, index) in &self.pairs {
            let track = &mut self.tracks[track];
            steady(&mut annotations[index], &track.shown, self.strength);
            remember(&mut track.shown, &annotations[index]);
            (track.seen, track.times) = (now, track.times.saturating_add(1));
        }
        for (annotation, _) in annotations.iter().zip(&self.taken).filter(|(_, taken)| !**taken) {
            if extent(annotation).is_some() && self.tracks.len() < MOST {
                self.tracks.push(Track { shown: annotation.clone(), seen: now, times: 1, matched: true });
            }
        }
        self.keep(annotations, now);
    }

    /// Fills `pairs` with those that belong together, each track and annotation at most once.
    fn match_up(&mut self, annotations: &[Annotation]) {
        self.pairs.clear();
        for (a, annotation) in annotations.iter().enumerate() {
            let Some(bounds) = extent(annotation) else { continue };
            for (t, track) in self.tracks.iter().enumerate() {
                let overlap = extent(&track.shown).map_or(0.0, |shown| overlap(&shown, &bounds));
                if overlap >= OVERLAP && alike(&track.shown, annotation) {
                    self.pairs.push((overlap, t, a));
                }
            }
        }
        self.pairs.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        self.tracks.iter_mut().for_each(|track| track.matched = false);
        self.taken.clear();
        self.taken.resize(annotations.len(), false);
        let (tracks, taken) = (&mut self.tracks, &mut self.taken);
        self.pairs.retain(|&(_, t, a)| {
            let free = !tracks[t].matched && !taken[a];
            if free {
                (tracks[t].matched, taken[a]) = (true, true);
            }
            free
        });
    }

    /// Adds what was missed for a short time, and forgets what was missed for longer.
    fn keep(&mut self, annotations: &mut Vec<Annotation>, now: Instant) {
        let strength = self.strength;
        let most = if strength >= KEEP_FROM { KEEP.mul_f32(strength) } else { Duration::ZERO };
        self.tracks.retain(|track| {
            if track.matched {
                return true;
            }
            let missed = now.saturating_duration_since(track.seen);
            if track.times < CONFIRMED || missed >= most {
                return false;
            }
            let mut kept = track.shown.clone();
            kept.score *= 1.0 - missed.as_secs_f32() / most.as_secs_f32();
            annotations.push(kept);
            true
        });
    }
}

fn alike(a: &Annotation, b: &Annotation) -> bool {
    a.kind == b.kind && a.label == b.label && a.model == b.model
}

/// Left, top, width and height of the box, or of the points where there is none; `None` if that is no place.
fn extent(annotation: &Annotation) -> Option<[f32; 4]> {
    let extent = annotation.bounds.or_else(|| {
        let found = |i: usize| annotation.point_scores.get(i).is_none_or(|score| *score > 0.0);
        let points = annotation.points.iter().enumerate().filter(|(i, _)| found(*i)).map(|(_, p)| *p);
        let [left, top, right, bottom] = points.fold(None, |area: Option<[f32; 4]>, [x, y]| {
            let [l, t, r, b] = area.unwrap_or([x, y, x, y]);
            Some([l.min(x), t.min(y), r.max(x), b.max(y)])
        })?;
        Some([left, top, right - left, bottom - top])
    })?;
    extent.iter().all(|v| v.is_finite()).then_some(extent)
}

/// Moves `annotation` to where it is to be shown, given where it was `shown` before.
fn steady(annotation: &mut Annotation, shown: &Annotation, strength: f32) {
    let Some([_, _, width, height]) = extent(annotation) else { return };
    let slow = 1.0 - (1.0 - SLOWEST) * strength;
    let rule = |size: f32| Follow {
        play: PLAY * strength * size.abs(),
        slow,
        reach: (REACH * size.abs()).max(f32::MIN_POSITIVE),
    };
    let (x, y) = (rule(width), rule(height));
    if let (Some([l, t, w, h]), Some([ol, ot, ow, oh])) = (annotation.bounds, shown.bounds) {
        let (left, top) = (x.step(ol, l), y.step(ot, t));
        let (right, bottom) = (x.step(ol + ow, l + w), y.step(ot + oh, t + h));
        annotation.bounds = Some([left, top, right - left, bottom - top]);
    }
    if annotation.points.len() == shown.points.len() {
        for (point, old) in annotation.points.iter_mut().zip(&shown.points) {
            *point = [x.step(old[0], point[0]), y.step(old[1], point[1])];
        }
    }
    let score = Follow { play: SCORE_PLAY * strength, slow, reach: 1.0 };
    annotation.score = score.step(shown.score, annotation.score);
}

/// Copies `annotation` into memory that is there already.
fn remember(shown: &mut Annotation, annotation: &Annotation) {
    shown.bounds = annotation.bounds;
    shown.points.clone_from(&annotation.points);
    shown.point_scores.clone_from(&annotation.point_scores);
    (shown.score, shown.generation) = (annotation.score, annotation.generation);
}

#[cfg(test)]
mod tests {
    use ooblex_core::AnnotationKind;
    use ooblex_core::testing::Random;

    use super::*;

    const FRAME: Duration = Duration::from_millis(33);

    fn face(bounds: [f32; 4]) -> Annotation {
        let points = vec![[bounds[0] + bounds[2] / 3.0, bounds[1] + bounds[3] / 3.0]];
        Annotation::new(AnnotationKind::Box, "face", 0.9, "model").with_bounds(bounds).with_points(points)
    }

    /// Bounds after each of these frames.
    fn follow(strength: f32, frames: impl IntoIterator<Item = Vec<Annotation>>) -> Vec<Vec<Annotation>> {
        let (mut tracker, mut now) = (Tracker::new(strength), Instant::now());
        let step = |mut found: Vec<Annotation>| {
            now += FRAME;
            tracker.update(&mut found, now);
            found
        };
        frames.into_iter().map(step).collect()
    }

    #[test]
    fn strength_zero_changes_nothing() {
        let frames: Vec<_> = (0..9).map(|i| vec![face([0.1 + i as f32 * 0.001, 0.1, 0.3, 0.3])]).collect();
        let mut with_gaps = frames.clone();
        with_gaps.push(Vec::new());
        assert_eq!(follow(0.0, with_gaps.clone()), with_gaps);
    }

    #[test]
    fn a_trembling_box_stands_still() {
        let mut random = Random::new(5);
        let mut tremble = || (random.below(2001) as f32 / 1000.0 - 1.0) * 0.0015;
        let noisy: Vec<_> =
            (0..60).map(|_| vec![face([0.3 + tremble(), 0.3 + tremble(), 0.3, 0.4])]).collect();
        let change = |frames: &[Vec<Annotation>]| {
            let edges = |f: &[Annotation]| f[0].bounds.expect("a box");
            let between = |pair: &[Vec<Annotation>]| {
                edges(&pair[0]).iter().zip(edges(&pair[1])).map(|(a, b)| (a - b).abs()).sum::<f32>()
            };
            frames.windows(2).map(between).sum::<f32>()
        };
        let (before, after) = (change(&noisy), change(&follow(0.5, noisy.clone())));
        assert!(after * 5.0 < before, "{before} to {after}");
    }

    #[test]
    fn motion_lags_by_no_more_than_the_stated_share() {
        for strength in [0.2, 0.5, 1.0] {
            for speed in [0.0005, 0.002, 0.01, 0.03, 0.1] {
                let at = |i: usize| 0.1 + speed * i as f32;
                let frames = (0..80).map(|i| vec![face([at(i), 0.2, 0.3, 0.4])]);
                for (i, found) in follow(strength, frames).iter().enumerate() {
                    let [left, _, width, _] = found[0].bounds.expect("a box");
                    let lag = (at(i) - left).abs().max((at(i) + 0.3 - left - width).abs()) / 0.3;
                    assert!(lag <= 0.045 * strength + 1e-4, "strength {strength} speed {speed}: {lag}");
                    assert_eq!(found.len(), 1);
                }
            }
        }
    }

    #[test]
    fn points_move_with_their_box() {
        let frames = (0..40).map(|i| vec![face([0.1 + 0.01 * i as f32, 0.2, 0.3, 0.3])]);
        for found in follow(0.7, frames) {
            let ([left, top, ..], [x, y]) = (found[0].bounds.expect("a box"), found[0].points[0]);
            assert!((x - left - 0.1).abs() < 0.01 && (y - top - 0.1).abs() < 0.01, "{found:?}");
        }
    }

    #[test]
    fn a_short_miss_is_bridged_with_a_falling_score_and_a_long_one_is_not() {
        let there = || vec![face([0.2, 0.2, 0.2, 0.2])];
        let frames = (0..5).map(|_| there()).chain((0..12).map(|_| Vec::new())).chain([there()]);
        let found = follow(0.5, frames);
        let scores: Vec<f32> = found[5..17].iter().filter_map(|f| f.first().map(|a| a.score)).collect();
        // 200 ms at strength 0.5.
        assert_eq!(scores.len(), 6, "{scores:?}");
        assert!(scores.windows(2).all(|pair| pair[1] < pair[0]) && scores[0] < 0.9, "{scores:?}");
        assert_eq!(found[17].len(), 1);
    }

    #[test]
    fn an_accident_is_not_prolonged() {
        let frames = [vec![face([0.2, 0.2, 0.2, 0.2])], Vec::new()];
        assert!(follow(1.0, frames)[1].is_empty());
    }

    #[test]
    fn things_of_another_kind_are_never_confused() {
        let cup = |x: f32| {
            Annotation::new(AnnotationKind::Box, "cup", 0.8, "model").with_bounds([x, 0.2, 0.2, 0.2])
        };
        let frames = (0..6).map(|i| {
            if i % 2 == 0 {
                vec![face([0.2, 0.2, 0.2, 0.2]), cup(0.201)]
            } else {
                vec![cup(0.201), face([0.2, 0.2, 0.2, 0.2])]
            }
        });
        for (i, found) in follow(1.0, frames).into_iter().enumerate() {
            assert_eq!(found.len(), 2);
            let labels: Vec<&str> = found.iter().map(|a| &*a.label).collect();
            assert_eq!(labels, if i % 2 == 0 { ["face", "cup"] } else { ["cup", "face"] });
            let cup = &found[1 - i % 2].bounds.expect("a box");
            assert!((cup[0] - 0.201).abs() < 1e-6, "{cup:?}");
        }
    }

    #[test]
    fn two_neighbours_keep_their_places() {
        let frames = (0..20).map(|i| {
            let (a, b) = (face([0.1 + 0.002 * i as f32, 0.2, 0.2, 0.2]), face([0.22, 0.2, 0.2, 0.2]));
            if i % 3 == 0 { vec![b, a] } else { vec![a, b] }
        });
        for (i, found) in follow(0.5, frames).into_iter().enumerate() {
            let left = |n: usize| found[n].bounds.expect("a box")[0];
            let (a, b) = if i % 3 == 0 { (left(1), left(0)) } else { (left(0), left(1)) };
            assert!((b - 0.22).abs() < 0.003 && (a - 0.1 - 0.002 * i as f32).abs() < 0.01, "{i}: {a} {b}");
        }
    }

    #[test]
    fn nothing_breaks_it_and_memory_is_bounded() {
        let mut random = Random::new(9);
        let odd = [f32::NAN, f32::INFINITY, -1e30, 0.0, 1e30];
        let (mut tracker, mut now) = (Tracker::new(1.0), Instant::now());
        for i in 0..200 {
            let mut number = || match random.below(12) {
                n @ 0..5 => odd[n as usize],
                _ => random.below(1000) as f32 / 1000.0,
            };
            let mut found: Vec<_> =
                (0..300).map(|_| face([number(), number(), number(), number()])).collect();
            found.push(Annotation::new(AnnotationKind::Label, "x", 0.5, "model"));
            now += FRAME * (i % 3);
            tracker.update(&mut found, now);
            assert!(tracker.tracks.len() <= MOST && found.len() <= 301 + MOST);
        }
        assert!(tracker.tracks.capacity() <= 2 * MOST);
    }

    #[test]
    fn points_alone_are_steadied_by_their_extent() {
        let pose = |x: f32| {
            let points = vec![[x, 0.2], [x + 0.2, 0.7], [5.0, 5.0]];
            Annotation::new(AnnotationKind::Points, "person", 0.8, "m")
                .with_points(points)
                .with_point_scores(vec![0.9, 0.8, 0.0])
        };
        let frames = (0..30).map(|i| vec![pose(0.3 + if i % 2 == 0 { 0.001 } else { 0.0 })]);
        let found = follow(0.5, frames);
        assert!(found.windows(2).all(|pair| pair[0][0].points == pair[1][0].points));
    }
}
