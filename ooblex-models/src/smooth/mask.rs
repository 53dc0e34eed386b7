//! Masks that do not flicker.

use std::sync::Arc;

use ooblex_core::Mask;

use crate::simd::{Kernel, LANES, Lanes, Simd};

/// Fractional bits of a remembered confidence.
const FRACTION: i32 = 7;
const FULL: u16 = 255 << FRACTION;
/// Play at full strength, in steps of 255.
const PLAY: f32 = 48.0;
/// Which share of a small rest is caught up in one frame at full strength.
const SLOWEST: f32 = 0.1;

/// Steadies a mask from frame to frame, each pixel by itself: hysteresis, in that a pixel stays as it is while its
/// confidence changes by less than some play, and beyond that an exponential average whose gain rises with the change.
///
/// The play vanishes towards a clear no and a clear yes, so that these are always reached. A change of more than 64
/// beyond the play is followed at once: nothing is dragged along by motion.
#[derive(Debug)]
pub struct MaskSmoother {
    play: u16,
    slow: u16,
    size: (u32, u32),
    state: Vec<u16>,
    padded: Vec<u8>,
    simd: Simd,
}

impl MaskSmoother {
    /// `strength` from 0, off, to 1, strongest.
    pub fn new(strength: f32) -> Self {
        let strength = strength.clamp(0.0, 1.0);
        let slow = 1.0 - (1.0 - SLOWEST) * strength;
        Self {
            play: (strength * PLAY * f32::from(1u16 << FRACTION)) as u16,
            slow: (slow * 32767.0) as u16,
            size: (0, 0),
            state: Vec::new(),
            padded: Vec::new(),
            simd: Simd::detect(),
        }
    }

    /// Forgets what was: the next mask is taken as it is.
    pub fn reset(&mut self) {
        self.size = (0, 0);
    }

    /// Steadies `values`, a mask of `width` columns and `height` rows. A mask of another size than the one before is
    /// taken as it is.
    ///
    /// # Panics
    /// If there are not `width * height` values.
    pub fn update(&mut self, values: &mut [u8], width: u32, height: u32) {
        assert_eq!(values.len(), width as usize * height as usize, "a mask of {width}x{height}");
        let fresh = self.size != (width, height);
        if fresh {
            self.size = (width, height);
            self.state.clear();
            self.state.extend(values.iter().map(|&v| u16::from(v) << FRACTION));
            self.state.resize(values.len().next_multiple_of(LANES), 0);
        } else if self.play > 0 || self.slow < 32767 {
            self.padded.clear();
            self.padded.extend_from_slice(values);
            self.padded.resize(self.state.len(), 0);
            let (play, slow) = (self.play, self.slow);
            self.simd.run(Steady { state: &mut self.state, values: &mut self.padded, play, slow });
            values.copy_from_slice(&self.padded[..values.len()]);
        }
    }

    /// Steadies a mask whose size is what it says; another one is left as it is. Copies the values if they are shared.
    pub fn update_mask(&mut self, mask: &mut Mask) {
        if mask.values.len() == mask.width as usize * mask.height as usize {
            let values: &mut [u8] = Arc::make_mut(&mut mask.values);
            self.update(values, mask.width, mask.height);
        }
    }
}

struct Steady<'a> {
    state: &'a mut [u16],
    values: &'a mut [u8],
    play: u16,
    slow: u16,
}

impl Kernel for Steady<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { state, values, play, slow } = self;
        let (most, slow, rest) = (L::splat(play), L::splat(slow), L::splat(32767 - slow));
        for (state, value) in state.chunks_exact_mut(LANES).zip(values.chunks_exact_mut(LANES)) {
            let (old, new) = (L::load(state), L::widen(value).up::<FRACTION>());
            let play = most.min(new).min(L::splat(FULL).minus(new));
            let step = old.i_clamp(new.minus(play), new.plus(play)).minus(old);
            // A rest of 64 steps of 255, or 2^13 here, is the whole way from `slow` to 1.
            let far = step.i_max(L::splat(0).minus(step)).min(L::splat((1 << 13) - 1)).up::<3>();
            let next = old.plus(step.i_scale(slow.plus(far.high(rest))));
            next.store(state);
            next.plus(L::splat(1 << (FRACTION - 1))).down::<FRACTION>().narrow(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;

    use super::*;

    fn run(smoother: &mut MaskSmoother, value: u8) -> u8 {
        let mut values = [value; 21];
        smoother.update(&mut values, 7, 3);
        assert!(values.iter().all(|v| *v == values[0]));
        values[0]
    }

    #[test]
    fn strength_zero_changes_nothing() {
        let (mut smoother, mut random) = (MaskSmoother::new(0.0), Random::new(1));
        for _ in 0..50 {
            let value = random.below(256) as u8;
            assert_eq!(run(&mut smoother, value), value);
        }
    }

    #[test]
    fn noise_on_an_edge_vanishes() {
        let (mut smoother, mut random) = (MaskSmoother::new(0.5), Random::new(1));
        run(&mut smoother, 128);
        for _ in 0..100 {
            assert_eq!(run(&mut smoother, 108 + random.below(40) as u8), 128);
        }
    }

    #[test]
    fn clear_answers_are_reached() {
        for strength in [0.2, 0.5, 1.0] {
            for (from, to) in [(128, 0), (128, 255), (0, 255), (255, 0)] {
                let mut smoother = MaskSmoother::new(strength);
                run(&mut smoother, from);
                let last = (0..60).map(|_| run(&mut smoother, to)).last();
                assert_eq!(last, Some(to), "{strength}: {from} to {to}");
            }
        }
    }

    #[test]
    fn what_changes_much_changes_at_once() {
        let mut smoother = MaskSmoother::new(1.0);
        run(&mut smoother, 0);
        assert_eq!(run(&mut smoother, 255), 255);
        assert_eq!(run(&mut smoother, 0), 0);
    }

    #[test]
    fn another_size_and_a_reset_begin_anew() {
        let mut smoother = MaskSmoother::new(1.0);
        run(&mut smoother, 100);
        let mut other = [110u8; 4];
        smoother.update(&mut other, 2, 2);
        assert_eq!(other, [110; 4]);
        run(&mut smoother, 100);
        smoother.reset();
        assert_eq!(run(&mut smoother, 110), 110);
    }

    #[test]
    fn a_mask_that_is_not_what_it_says_is_left_alone() {
        let mut mask = Mask { width: 3, height: 3, values: Arc::from([7u8; 4]) };
        MaskSmoother::new(1.0).update_mask(&mut mask);
        assert_eq!(mask.values[..], [7; 4]);
    }
}
