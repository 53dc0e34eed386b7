//! Bilinear resizing between any two sizes, row by row.

/// Fractional bits of a resized sample.
pub(crate) const FRACTION: u32 = 8;

/// Two neighbours and the weight of the second one, of 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tap {
    first: u32,
    second: u32,
    weight: u32,
}

/// Resizes planes of one size to another; keeps its tables and scratch memory.
#[derive(Debug, Default)]
pub(crate) struct Resize {
    shape: Option<[Side; 2]>,
    columns: Vec<Tap>,
    rows: Vec<Tap>,
    /// Two rows of the source, mixed.
    mixed: Vec<u16>,
}

/// Width or height: samples of the source, samples wanted, and over how many of those the whole source is spread.
/// The last is less than the second where the target reaches beyond the picture.
pub(crate) type Side = (usize, usize, f32);

impl Resize {
    /// Prepares for sources and targets of this width and height.
    pub(crate) fn prepare(&mut self, width: Side, height: Side) {
        if self.shape != Some([width, height]) {
            self.columns = taps(width);
            self.rows = taps(height);
            self.shape = Some([width, height]);
        }
    }

    /// Samples of row `y` of the target, with [`FRACTION`] bits; `source` gives rows of the source.
    pub(crate) fn row<'a>(
        &mut self,
        y: usize,
        source: impl Fn(usize) -> &'a [u8],
    ) -> impl Iterator<Item = u16> {
        let Tap { first, second, weight } = self.rows[y];
        let (above, below) = (source(first as usize), source(second as usize));
        self.mixed.clear();
        let (keep, add) = (256 - weight as u16, weight as u16);
        // 255 * 256 fits 16 bits.
        self.mixed.extend(above.iter().zip(below).map(|(a, b)| u16::from(*a) * keep + u16::from(*b) * add));
        self.columns.iter().map(|tap| {
            let [a, b] = [tap.first, tap.second].map(|at| u32::from(self.mixed[at as usize]));
            ((a * (256 - tap.weight) + b * tap.weight + 128) >> 8) as u16
        })
    }

    /// The same, rounded to bytes.
    pub(crate) fn bytes<'a>(&mut self, y: usize, source: impl Fn(usize) -> &'a [u8], to: &mut [u8]) {
        for (to, v) in to.iter_mut().zip(self.row(y, source)) {
            *to = ((u32::from(v) + (1 << (FRACTION - 1))) >> FRACTION) as u8;
        }
    }
}

/// Half-pixel centres, the border repeated.
fn taps((from, to, over): Side) -> Vec<Tap> {
    let last = from.saturating_sub(1);
    let tap = |i: usize| {
        let place = ((i as f32 + 0.5) * from as f32 / over - 0.5).clamp(0.0, last as f32);
        // Rounding may reach the next sample; its weight is then whole, which is right as well.
        let weight = (place.fract() * 256.0).round() as u32;
        Tap { first: place as u32, second: (place as u32 + 1).min(last as u32), weight }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(source: &[u8], width: Side, height: Side) -> Vec<Vec<u8>> {
        let mut resize = Resize::default();
        resize.prepare(width, height);
        let row = |y| {
            let mut out = vec![0; width.1];
            resize.bytes(y, |y| &source[y * width.0..][..width.0], &mut out);
            out
        };
        (0..height.1).map(row).collect()
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let source: Vec<u8> = (0..35).map(|i| i * 7).collect();
        assert_eq!(resized(&source, (7, 7, 7.0), (5, 5, 5.0)).concat(), source);
    }

    #[test]
    fn neighbours_are_mixed_by_distance() {
        let rows = resized(&[0, 200, 100, 40], (2, 4, 4.0), (2, 4, 4.0));
        assert_eq!(rows[0], [0, 50, 150, 200]);
        assert_eq!(rows[3], [100, 85, 55, 40]);
        // Three quarters of the upper row, one quarter of the lower.
        assert_eq!(rows[1], [25, 59, 126, 160]);
    }

    #[test]
    fn what_lies_beyond_the_picture_repeats_its_border() {
        // The source covers two and a half of the three columns.
        let rows = resized(&[10, 20, 30, 40, 50], (5, 3, 2.5), (1, 1, 1.0));
        assert_eq!(rows[0], [15, 35, 50]);
    }
}
