//! Guided filter of a picture by itself: smooth where it varies little, as it is where it varies much.
//!
//! Source: K. He, J. Sun and X. Tang, "Guided Image Filtering" (2010), with the picture as its own guide: in each window
//! the result is a * v + (1 - a) * mean, a = variance / (variance + eps); each sample takes the mean of all windows that
//! it lies in. Sums run along, so that the size of the window does not matter.

/// Scratch memory.
#[derive(Debug, Default)]
pub(crate) struct Guided {
    mean: Vec<f32>,
    square: Vec<f32>,
    sums: BoxMean,
}

impl Guided {
    /// Filters rows of `width` samples in place, with windows of `2 * radius + 1` samples a side; `deviation` is how much
    /// samples differ where half of the difference stays.
    pub(crate) fn run(&mut self, samples: &mut [u8], width: usize, radius: usize, deviation: f32) {
        let Self { mean, square, sums } = self;
        // Centred, so that squares stay small and their sums precise.
        let centred = |v: u8| f32::from(v) - 128.0;
        mean.clear();
        mean.extend(samples.iter().map(|v| centred(*v)));
        square.clear();
        square.extend(mean.iter().map(|v| v * v));
        sums.run(mean, width, radius);
        sums.run(square, width, radius);
        let eps = (deviation * deviation).max(0.01);
        for (mean, square) in mean.iter_mut().zip(square.iter_mut()) {
            let variance = (*square - *mean * *mean).max(0.0);
            let a = variance / (variance + eps);
            (*square, *mean) = (a, (1.0 - a) * *mean);
        }
        sums.run(mean, width, radius);
        sums.run(square, width, radius);
        for ((v, b), a) in samples.iter_mut().zip(&*mean).zip(&*square) {
            *v = (a * centred(*v) + b + 128.5) as u8;
        }
    }
}

/// Means of windows, cut at the border.
#[derive(Debug, Default)]
pub(crate) struct BoxMean {
    /// Sums along the rows.
    rows: Vec<f32>,
    /// Sums of these along the columns.
    columns: Vec<f32>,
    /// One over the samples of a window in a row.
    share: Vec<f32>,
}

impl BoxMean {
    /// Replaces each number by the mean of the window around it.
    pub(crate) fn run(&mut self, numbers: &mut [f32], width: usize, radius: usize) {
        let Self { rows, columns, share } = self;
        let height = numbers.len() / width.max(1);
        let samples = |at: usize, len: usize| ((at + radius + 1).min(len) - at.saturating_sub(radius)) as f32;
        share.clear();
        share.extend((0..width).map(|x| 1.0 / samples(x, width)));
        rows.resize(numbers.len(), 0.0);
        for (row, out) in numbers.chunks_exact(width.max(1)).zip(rows.chunks_exact_mut(width.max(1))) {
            let mut sum: f32 = row[..radius.min(width)].iter().sum();
            for (x, out) in out.iter_mut().enumerate() {
                sum += row.get(x + radius).unwrap_or(&0.0);
                *out = sum;
                sum -= x.checked_sub(radius).map_or(0.0, |x| row[x]);
            }
        }
        columns.clear();
        columns.resize(width, 0.0);
        let row = |y: usize| &rows[y * width..][..width];
        for y in 0..radius.min(height) {
            columns.iter_mut().zip(row(y)).for_each(|(sum, v)| *sum += v);
        }
        for y in 0..height {
            if y + radius < height {
                columns.iter_mut().zip(row(y + radius)).for_each(|(sum, v)| *sum += v);
            }
            let scale = 1.0 / samples(y, height);
            let out = &mut numbers[y * width..][..width];
            out.iter_mut()
                .zip(&*columns)
                .zip(&*share)
                .for_each(|((to, sum), share)| *to = sum * share * scale);
            if let Some(gone) = y.checked_sub(radius) {
                columns.iter_mut().zip(row(gone)).for_each(|(sum, v)| *sum -= v);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ooblex_core::testing::Random;

    use super::*;

    /// The definition, window by window.
    fn exact(samples: &[u8], width: usize, radius: usize, deviation: f64) -> Vec<f64> {
        let height = samples.len() / width;
        let window = |x: usize, y: usize| {
            let columns = move || x.saturating_sub(radius)..(x + radius + 1).min(width);
            let rows = y.saturating_sub(radius)..(y + radius + 1).min(height);
            rows.flat_map(move |y| columns().map(move |x| y * width + x))
        };
        let mean = |values: &[f64], x, y| {
            let (sum, count) = window(x, y).fold((0.0, 0.0), |(s, n), i| (s + values[i], n + 1.0));
            sum / count
        };
        let each = |f: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..samples.len()).map(|i| f(i % width, i / width)).collect()
        };
        let v: Vec<f64> = samples.iter().map(|v| f64::from(*v)).collect();
        let squares: Vec<f64> = v.iter().map(|v| v * v).collect();
        let a = each(&|x, y| {
            let variance = mean(&squares, x, y) - mean(&v, x, y).powi(2);
            variance / (variance + deviation * deviation)
        });
        let b = each(&|x, y| (1.0 - a[y * width + x]) * mean(&v, x, y));
        each(&|x, y| mean(&a, x, y) * v[y * width + x] + mean(&b, x, y))
    }

    #[test]
    fn equals_the_definition() {
        let mut random = Random::new(4);
        for (width, height, radius) in [(23, 17, 3), (5, 40, 7), (1, 1, 2), (9, 2, 1), (40, 40, 15)] {
            let samples: Vec<u8> = (0..width * height)
                .map(|i| (if i % width > width / 2 { 200 } else { 40 }) + random.below(50) as u8)
                .collect();
            let mut got = samples.clone();
            Guided::default().run(&mut got, width, radius, 20.0);
            for (i, (got, expected)) in got.iter().zip(exact(&samples, width, radius, 20.0)).enumerate() {
                assert!((f64::from(*got) - expected).abs() <= 0.51, "{width}x{height} {i}: {got} {expected}");
            }
        }
    }

    #[test]
    fn edges_stay_and_grain_goes() {
        let mut random = Random::new(6);
        let mut samples: Vec<u8> =
            (0..64 * 32).map(|i| (if i % 64 > 31 { 200 } else { 60 }) + random.below(9) as u8).collect();
        Guided::default().run(&mut samples, 64, 6, 15.0);
        let row = &samples[16 * 64..17 * 64];
        assert!(row[31] < 75 && row[32] > 190, "{} {}", row[31], row[32]);
        let flat = &row[4..20];
        let (low, high) = (flat.iter().min().expect("some"), flat.iter().max().expect("some"));
        assert!(high - low <= 2, "{low} to {high}, from 60 to 68");
    }
}
