//! The styles, and how one becomes another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ooblex_core::StreamId;

use crate::smooth::PAUSE;

/// How many there are.
pub(super) const COUNT: usize = 26;

/// Our names, in the order of the model. The styles have none of their own; these say what is seen.
pub(super) const NAMES: [&str; COUNT] = [
    "soft_ochre",
    "ink_on_yellow",
    "porcelain",
    "primary_strokes",
    "crimson_print",
    "autumn_oils",
    "night_dots",
    "expressionist",
    "pencil_on_white",
    "dark_mosaic",
    "terracotta",
    "sepia_hatching",
    "pastel",
    "green_glass",
    "teal_wash",
    "stained_glass",
    "violet_chalk",
    "red_weave",
    "olive_woodcut",
    "swirling_blue",
    "deep_red",
    "pink_and_blue",
    "ink_and_grey",
    "misty_dusk",
    "cyan_ink",
    "dark_dabs",
];

/// How much of each style there is; adds up to 1.
pub(super) type Weights = [f32; COUNT];

/// `blend` of 0 is `first` alone, 1 is `second` alone.
pub(super) fn mixture(first: usize, second: usize, blend: f32) -> Weights {
    let mut weights = [0.0; COUNT];
    weights[first.min(COUNT - 1)] += 1.0 - blend.clamp(0.0, 1.0);
    weights[second.min(COUNT - 1)] += blend.clamp(0.0, 1.0);
    weights
}

/// From what a stream last looked like to what it is to look like.
#[derive(Clone, Debug)]
pub(super) struct Fade {
    to: Weights,
    length: Duration,
    /// Once it has begun: where it comes from, and when.
    begun: Option<(Weights, Instant)>,
}

impl Fade {
    pub(super) fn new(to: Weights, length: Duration) -> Self {
        Self { to, length, begun: None }
    }

    /// The weights at `now`. The first call begins the fade, at `from` if there is something to come from.
    pub(super) fn at(&mut self, now: Instant, from: impl FnOnce() -> Option<Weights>) -> Weights {
        let to = self.to;
        let (from, start) = *self.begun.get_or_insert_with(|| (from().unwrap_or(to), now));
        let passed = now.saturating_duration_since(start);
        if passed >= self.length {
            return to;
        }
        let t = passed.as_secs_f32() / self.length.as_secs_f32();
        let t = t * t * (3.0 - 2.0 * t);
        std::array::from_fn(|i| from[i] + (to[i] - from[i]) * t)
    }
}

/// What each stream last looked like: how a new processor, made for other parameters, knows where to begin. Clones share
/// it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail(Arc<Mutex<BTreeMap<StreamId, (Weights, Instant)>>>);

impl Trail {
    /// What `stream` looked like up to a moment ago.
    pub(super) fn of(&self, stream: &StreamId, now: Instant) -> Option<Weights> {
        let trail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trail.get(stream).filter(|(_, when)| is_fresh(*when, now)).map(|(weights, _)| *weights)
    }

    /// Notes what `stream` looks like. Streams that look like nothing any more are forgotten.
    pub(super) fn note(&self, stream: &StreamId, weights: Weights, now: Instant) {
        let mut trail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match trail.get_mut(stream) {
            Some(entry) => *entry = (weights, now),
            None => {
                trail.retain(|_, (_, when)| is_fresh(*when, now));
                trail.insert(stream.clone(), (weights, now));
            }
        }
    }
}

fn is_fresh(when: Instant, now: Instant) -> bool {
    now.saturating_duration_since(when) <= PAUSE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> StreamId {
        StreamId::new(name).expect("a name")
    }

    #[test]
    fn names_are_different_words() {
        for (i, name) in NAMES.iter().enumerate() {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!NAMES[..i].contains(name), "{name}");
        }
    }

    #[test]
    fn mixtures_add_up() {
        for (first, second, blend) in [(3, 3, 0.5), (0, 25, 0.25), (7, 8, 1.5), (1, 2, -1.0)] {
            let weights = mixture(first, second, blend);
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
        let weights = mixture(0, 25, 0.25);
        assert_eq!((weights[0], weights[25]), (0.75, 0.25));
    }

    #[test]
    fn a_fade_runs_evenly_from_one_to_the_other() {
        let (from, to) = (mixture(1, 1, 0.0), mixture(2, 2, 0.0));
        let mut fade = Fade::new(to, Duration::from_millis(400));
        let start = Instant::now();
        let mut at = |ms: u64| fade.at(start + Duration::from_millis(ms), || Some(from));
        assert_eq!(at(0), from);
        let steps: Vec<Weights> = (1..=20).map(|i| at(i * 20)).collect();
        assert!(steps.windows(2).all(|pair| pair[1][2] > pair[0][2]));
        assert!(steps.iter().all(|w| (w.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        assert!((steps[9][1] - 0.5).abs() < 1e-5 && steps[19] == to);
        assert_eq!(at(10_000), to);
    }

    #[test]
    fn with_nothing_to_come_from_there_is_no_fade() {
        let to = mixture(2, 2, 0.0);
        let mut fade = Fade::new(to, Duration::from_millis(400));
        assert_eq!(fade.at(Instant::now(), || None), to);
        let mut none = Fade::new(to, Duration::ZERO);
        assert_eq!(none.at(Instant::now(), || Some(mixture(1, 1, 0.0))), to);
    }

    #[test]
    fn the_trail_is_of_each_stream_and_goes_cold() {
        let (trail, now) = (Trail::default(), Instant::now());
        let (a, b) = (mixture(1, 1, 0.0), mixture(2, 2, 0.0));
        trail.note(&stream("a"), a, now);
        trail.note(&stream("b"), b, now);
        assert_eq!(trail.of(&stream("a"), now), Some(a));
        assert_eq!(trail.of(&stream("b"), now + Duration::from_millis(300)), Some(b));
        let later = now + Duration::from_secs(5);
        assert_eq!(trail.of(&stream("a"), later), None);
        for i in 0..100 {
            trail.note(&stream(&format!("s{i}")), a, later + Duration::from_secs(2 * i));
        }
        assert!(trail.0.lock().expect("a lock").len() <= 2);
    }
}
