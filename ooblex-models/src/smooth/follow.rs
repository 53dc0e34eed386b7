//! The one rule by which everything here is steadied.

/// Follows a measured number: stays where it is while the measurement moves within some play, and beyond that goes
/// towards it, the faster the further away it is.
///
/// Play alone makes noise vanish, whatever its frequency, at the price of being at most so far off; pursuit whose gain
/// rises to one keeps fast motion from lagging any further.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Follow {
    /// How far the measurement may move before it is followed, at least 0.
    pub(super) play: f32,
    /// Which share of a small rest is caught up at once, 0 to 1.
    pub(super) slow: f32,
    /// From which rest on all of it is caught up at once, above 0.
    pub(super) reach: f32,
}

impl Follow {
    /// Where to go from `state` when `measured` comes; there itself if either is not finite.
    pub(super) fn step(self, state: f32, measured: f32) -> f32 {
        let off = measured - state;
        if !off.is_finite() {
            return measured;
        }
        let rest = off.abs() - self.play;
        if rest <= 0.0 {
            return state;
        }
        let gain = self.slow + (1.0 - self.slow) * (rest / self.reach).min(1.0);
        state + (rest * gain).copysign(off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLLOW: Follow = Follow { play: 1.0, slow: 0.25, reach: 10.0 };

    #[test]
    fn noise_within_the_play_is_not_seen() {
        let mut state = 50.0;
        for i in 0..100 {
            state = FOLLOW.step(state, 50.0 + if i % 2 == 0 { 0.9 } else { -0.9 });
        }
        assert_eq!(state, 50.0);
    }

    #[test]
    fn the_state_never_overshoots_and_comes_as_close_as_the_play() {
        for start in [-30.0, 0.0, 48.0, 200.0] {
            let mut state = start;
            for _ in 0..200 {
                let next = FOLLOW.step(state, 50.0);
                assert!((next - 50.0).abs() <= (state - 50.0).abs());
                state = next;
            }
            assert!((state - 50.0f32).abs() <= 1.001, "{start}: {state}");
        }
    }

    #[test]
    fn fast_motion_is_followed_at_once_up_to_the_play() {
        assert_eq!(FOLLOW.step(0.0, 20.0), 19.0);
        assert_eq!(FOLLOW.step(0.0, -20.0), -19.0);
        assert_eq!(Follow { play: 0.0, slow: 1.0, reach: 1.0 }.step(3.0, 3.5), 3.5);
    }

    #[test]
    fn what_is_not_finite_is_passed_on_and_forgotten() {
        assert!(FOLLOW.step(1.0, f32::NAN).is_nan());
        assert_eq!(FOLLOW.step(f32::NAN, 7.0), 7.0);
    }
}
