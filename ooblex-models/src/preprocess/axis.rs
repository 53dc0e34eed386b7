//! Which samples of a row or column make which samples of a smaller or larger one.

/// Averages where there are more than this many samples for one, else interpolates.
pub(super) const AVERAGE_ABOVE: f64 = 2.0;

/// A stretch of a row or column, in samples; the middle of the first one is at 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    /// Where it begins.
    pub(super) start: f64,
    /// How many samples become one.
    pub(super) step: f64,
}

impl Span {
    /// The same stretch where samples lie twice as far apart.
    pub(super) fn halved(self) -> Self {
        Self { start: self.start / 2.0, step: self.step / 2.0 }
    }
}

/// Which samples make one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tap {
    /// The first of them.
    pub(super) first: usize,
    /// From each to the next; more than 1 only where there are so many that weights would vanish.
    pub(super) every: usize,
    at: usize,
    /// How many there are, at least one.
    pub(super) count: usize,
    /// One divided by the sum of their weights.
    pub(super) unit: f32,
}

impl Tap {
    /// One behind the last of them.
    pub(super) fn end(&self) -> usize {
        self.first + (self.count - 1) * self.every + 1
    }
}

/// All taps of a row or column, with whole numbers for weights. Keeps its memory from plan to plan.
#[derive(Debug, Default)]
pub(super) struct Axis {
    taps: Vec<Tap>,
    weights: Vec<u16>,
}

impl Axis {
    /// Plans `out` samples of `span` in a row of `samples`, which stand for a picture `extent` samples long: half a
    /// sample less than `samples` where chroma covers one column only. The weights of one tap add up to `most` or to
    /// little less, by rounding to at most 1 more.
    ///
    /// What lies outside the row is left out of averages; interpolation repeats the border.
    pub(super) fn plan(&mut self, span: Span, out: usize, samples: usize, extent: f64, most: u16) {
        self.taps.clear();
        self.weights.clear();
        for i in 0..out {
            let begin = span.start + i as f64 * span.step;
            if span.step > AVERAGE_ABOVE {
                self.average(begin, begin + span.step, samples, extent, most);
            } else {
                self.interpolate(begin + span.step / 2.0, samples, most);
            }
        }
    }

    /// The taps in order.
    pub(super) fn taps(&self) -> &[Tap] {
        &self.taps
    }

    /// Weights of one of them.
    pub(super) fn weights(&self, tap: &Tap) -> &[u16] {
        &self.weights[tap.at..tap.at + tap.count]
    }

    /// Samples by how much of each lies between `begin` and `end`.
    fn average(&mut self, begin: f64, end: f64, samples: usize, extent: f64, most: u16) {
        let (begin, end) = (begin.max(0.0), end.min(extent));
        let (first, last) = (begin as usize, (end.ceil() as usize).min(samples));
        if end <= begin || first >= last {
            return self.interpolate(begin, samples, most);
        }
        let unit = (f64::from(most) / (end - begin)).floor();
        let at = self.weights.len();
        // More samples than `most` get weights of 1, as many as may be.
        let every = (last - first).div_ceil(usize::from(most));
        for sample in (first..last).step_by(every) {
            let covered = (end.min(sample as f64 + 1.0) - begin.max(sample as f64)) * unit;
            self.weights.push(if every == 1 { covered.round() as u16 } else { 1 });
        }
        self.push(first, every, at);
    }

    /// The two samples beside `place`.
    fn interpolate(&mut self, place: f64, samples: usize, most: u16) {
        let place = (place - 0.5).clamp(0.0, (samples - 1) as f64);
        let (first, at) = (place as usize, self.weights.len());
        let second = (place.fract() * f64::from(most)).round() as u16;
        self.weights.push(most - second);
        if second > 0 {
            self.weights.push(second);
        }
        self.push(first, 1, at);
    }

    fn push(&mut self, first: usize, every: usize, at: usize) {
        let sum: u32 = self.weights[at..].iter().map(|&w| u32::from(w)).sum();
        self.taps.push(Tap { first, every, at, count: self.weights.len() - at, unit: 1.0 / sum as f32 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(start: f64, step: f64, out: usize, samples: usize) -> Axis {
        let mut axis = Axis::default();
        axis.plan(Span { start, step }, out, samples, samples as f64, 256);
        axis
    }

    fn shares(axis: &Axis, index: usize) -> (usize, Vec<f32>) {
        let tap = &axis.taps()[index];
        (tap.first, axis.weights(tap).iter().map(|&w| f32::from(w) * tap.unit).collect())
    }

    #[test]
    fn whole_factors_average_without_rounding() {
        let axis = plan(0.0, 10.0, 128, 1280);
        for (i, tap) in axis.taps().iter().enumerate() {
            assert_eq!((tap.first, tap.end()), (10 * i, 10 * i + 10));
            assert_eq!(axis.weights(tap), [25; 10]);
        }
    }

    #[test]
    fn shares_follow_what_is_covered() {
        let axis = plan(0.0, 2.5, 4, 10);
        assert_eq!(shares(&axis, 0).0, 0);
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.01);
        assert!(near(&shares(&axis, 0).1, &[0.4, 0.4, 0.2]), "{:?}", shares(&axis, 0));
        assert!(near(&shares(&axis, 1).1, &[0.2, 0.4, 0.4]) && shares(&axis, 1).0 == 2);
    }

    #[test]
    fn interpolation_is_between_middles_and_repeats_the_border() {
        let axis = plan(0.0, 0.5, 8, 4);
        assert_eq!(shares(&axis, 0), (0, vec![1.0]));
        assert_eq!(shares(&axis, 1), (0, vec![0.75, 0.25]));
        assert_eq!(shares(&axis, 2), (0, vec![0.25, 0.75]));
        assert_eq!(shares(&axis, 7), (3, vec![1.0]));
        assert_eq!(shares(&plan(0.0, 1.0, 4, 4), 2), (2, vec![1.0]));
    }

    #[test]
    fn half_a_sample_at_the_end_counts_half() {
        let mut axis = Axis::default();
        axis.plan(Span { start: 0.0, step: 2.5 }, 1, 3, 2.5, 250);
        assert_eq!(axis.weights(&axis.taps()[0]), [100, 100, 50]);
    }

    proptest::proptest! {
        #[test]
        fn every_tap_is_inside_and_its_weights_add_up(
            samples in 1usize..70_000, out in 1usize..40, start in -9.0..9.0f64, step in 0.01..3000.0f64, most in 200u16..20_000,
        ) {
            let mut axis = Axis::default();
            axis.plan(Span { start, step }, out, samples, samples as f64, most);
            proptest::prop_assert_eq!(axis.taps().len(), out);
            for tap in axis.taps() {
                proptest::prop_assert!(tap.end() <= samples);
                let sum: u32 = axis.weights(tap).iter().map(|&w| u32::from(w)).sum();
                proptest::prop_assert!(sum >= 1 && sum <= u32::from(most) + 1, "{} of {}", sum, most);
                proptest::prop_assert!((sum as f32 * tap.unit - 1.0).abs() < 1e-5);
            }
        }
    }
}
