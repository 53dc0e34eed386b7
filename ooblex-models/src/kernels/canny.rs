//! Canny's edge detector: Sobel gradient, thinning, hysteresis.
//!
//! Source: J. Canny, "A Computational Approach to Edge Detection" (1986). The discretisation is the one that
//! OpenCV documents for `cv::Canny` with a 3x3 aperture and the L1 norm: borders repeated for the gradient,
//! magnitude zero outside the picture, directions split at 22.5 and 67.5 degrees.

use ooblex_core::{ColorRange, Plane, PlaneMut};

use crate::simd::{Kernel, Lanes, Simd};

/// tan(22.5 degrees) with 15 fractional bits.
const TAN_22_5: u16 = 13_573;
/// Classes in the map between thinning and hysteresis.
const WEAK: u8 = 1;
const EDGE: u8 = 255;

/// Scratch memory of the detector; holds a byte per pixel once used.
#[derive(Debug, Default)]
pub(crate) struct Canny {
    /// Three full-range luma rows, each with one repeated pixel at either end.
    luma: [Vec<u8>; 3],
    /// Horizontal and vertical gradients of two rows.
    dx: [Vec<i16>; 2],
    dy: [Vec<i16>; 2],
    /// Gradient magnitudes of three rows, with a zero at either end.
    magnitude: [Vec<i16>; 3],
    /// One class a pixel with a border of none.
    map: Vec<u8>,
    stack: Vec<usize>,
}

impl Canny {
    /// Writes 255 on edges of `luma` and 0 elsewhere to `out`, which has the same size.
    ///
    /// `low` and `high` are thresholds of |dx| + |dy| in full-range luma steps (Sobel weights 1 2 1, so a clean
    /// step of height h has magnitude 4 h): a pixel above `high` is an edge, one above `low` is if it touches one.
    pub(crate) fn run(
        &mut self,
        simd: Simd,
        luma: Plane<'_>,
        range: ColorRange,
        (low, high): (i16, i16),
        out: &mut PlaneMut<'_>,
    ) {
        let (width, height) = (luma.row_bytes(), luma.row_count());
        self.resize(width, height);
        simd.run(Thin { canny: self, luma, limited: range == ColorRange::Limited, low, high });
        self.follow(width, height);
        simd.run(Emit { map: &self.map, width, out });
    }

    fn resize(&mut self, width: usize, height: usize) {
        self.luma.iter_mut().for_each(|row| row.resize(width + 2, 0));
        self.dx.iter_mut().chain(&mut self.dy).for_each(|row| row.resize(width, 0));
        for row in &mut self.magnitude {
            row.clear();
            row.resize(width + 2, 0);
        }
        let len = (width + 2) * (height + 2);
        self.map.resize(len, 0);
        // Thinning writes every inner pixel; the border must be empty even if the shape has changed.
        let stride = width + 2;
        self.map[..stride].fill(0);
        self.map[len - stride..].fill(0);
        for row in self.map.chunks_exact_mut(stride) {
            row[0] = 0;
            row[stride - 1] = 0;
        }
    }

    /// Hysteresis: every weak pixel connected to an edge becomes one.
    fn follow(&mut self, width: usize, height: usize) {
        let stride = width + 2;
        let around = [
            -(stride as isize) - 1,
            -(stride as isize),
            -(stride as isize) + 1,
            -1,
            1,
            stride as isize - 1,
            stride as isize,
            stride as isize + 1,
        ];
        let (map, stack) = (&mut self.map[..], &mut self.stack);
        let mut spread = |map: &mut [u8], from: usize| {
            let mut at = from;
            loop {
                for step in around {
                    let next = at.wrapping_add_signed(step);
                    if map[next] == WEAK {
                        map[next] = EDGE;
                        stack.push(next);
                    }
                }
                match stack.pop() {
                    Some(next) => at = next,
                    None => break,
                }
            }
        };
        // The border is empty, so a neighbour of any edge is inside the map.
        let (start, end) = (stride, stride * (height + 1));
        let mut at = start;
        while at < end {
            let word =
                map.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes);
            let strong = word & 0x8080_8080_8080_8080;
            if strong == 0 {
                at += 8;
                continue;
            }
            for index in at..(at + 8).min(end) {
                if map[index] == EDGE {
                    spread(map, index);
                }
            }
            at += 8;
        }
    }
}

struct Thin<'a> {
    canny: &'a mut Canny,
    luma: Plane<'a>,
    limited: bool,
    low: i16,
    high: i16,
}

impl Kernel for Thin<'_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Self { canny, luma, limited, low, high } = self;
        let (width, height) = (luma.row_bytes(), luma.row_count());
        let stride = width + 2;
        load(luma.row(0), limited, &mut canny.luma[0]);
        load(luma.row(0), limited, &mut canny.luma[2]);
        load(luma.row(1.min(height - 1)), limited, &mut canny.luma[1]);
        // Row `y` of the loop: gradient of y, then thinning of y - 1, whose lower neighbour is now known.
        for y in 0..=height {
            let (below, current) = ((y + 1) % 3, y % 3);
            if y < height {
                if y > 0 {
                    load(luma.row((y + 1).min(height - 1)), limited, &mut canny.luma[below]);
                }
                let [a, b, c] = [(y + 2) % 3, current, below].map(|i| canny.luma[i].as_slice());
                let magnitude = &mut canny.magnitude[current][1..=width];
                gradient(a, b, c, &mut canny.dx[y % 2], &mut canny.dy[y % 2], magnitude);
            } else {
                canny.magnitude[current].fill(0);
            }
            if y > 0 {
                // Nothing lies above the first row; its ring slot is unused so far and holds zeros.
                let [p, q, n] = [(y + 1) % 3, (y + 2) % 3, current].map(|i| canny.magnitude[i].as_slice());
                let map = &mut canny.map[y * stride + 1..y * stride + 1 + width];
                thin(p, q, n, &canny.dx[(y + 1) % 2], &canny.dy[(y + 1) % 2], low, high, map);
            }
        }
    }
}

/// Copies a row with its ends repeated, expanded to full range if it is limited.
#[inline(always)]
fn load(row: &[u8], limited: bool, to: &mut [u8]) {
    let width = row.len();
    let inner = &mut to[1..=width];
    if limited {
        for (to, &v) in inner.iter_mut().zip(row) {
            *to = expand(v);
        }
    } else {
        inner.copy_from_slice(row);
    }
    to[0] = to[1];
    to[width + 1] = to[width];
}

/// Limited-range luma to full range: 255 (v - 16) / 219, rounded and clamped.
#[inline(always)]
pub(crate) fn expand(v: u8) -> u8 {
    // 255/219 = 1 + 36/219; the second part has 16 fractional bits of v << 3.
    const FACTOR: u16 = (36.0 / 219.0 * 65536.0 + 0.5) as u16;
    let v = u16::from(v.saturating_sub(16));
    let eighths = (v << 3) + super::high(v << 3, FACTOR);
    ((eighths + 4) >> 3).min(255) as u8
}

/// Sobel gradients of the middle one of three padded rows, and |dx| + |dy|.
#[inline(always)]
fn gradient(a: &[u8], b: &[u8], c: &[u8], dx: &mut [i16], dy: &mut [i16], magnitude: &mut [i16]) {
    let n = dx.len();
    let (dy, magnitude) = (&mut dy[..n], &mut magnitude[..n]);
    let split = |row| -> [&[u8]; 3] { split(row, n) };
    let ([a0, a1, a2], [b0, _, b2], [c0, c1, c2]) = (split(a), split(b), split(c));
    let wide = i16::from;
    for x in 0..n {
        let h = wide(a2[x]) - wide(a0[x]) + 2 * (wide(b2[x]) - wide(b0[x])) + wide(c2[x]) - wide(c0[x]);
        let v = wide(c0[x]) + 2 * wide(c1[x]) + wide(c2[x]) - wide(a0[x]) - 2 * wide(a1[x]) - wide(a2[x]);
        dx[x] = h;
        dy[x] = v;
        magnitude[x] = h.abs() + v.abs();
    }
}

/// The left, middle and right neighbours of each of `n` pixels in a padded row.
#[inline(always)]
fn split<T>(row: &[T], n: usize) -> [&[T]; 3] {
    [&row[..n], &row[1..][..n], &row[2..][..n]]
}

/// Keeps the pixels whose magnitude is a maximum across the edge.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // Separate slices: the compiler then knows that they do not overlap.
fn thin(p: &[i16], q: &[i16], n: &[i16], dx: &[i16], dy: &[i16], low: i16, high: i16, map: &mut [u8]) {
    let len = map.len();
    let (dx, dy) = (&dx[..len], &dy[..len]);
    let ([p0, p1, p2], [q0, q1, q2], [n0, n1, n2]) = (split(p, len), split(q, len), split(n, len));
    for x in 0..len {
        let (h, v, m) = (dx[x], dy[x], q1[x]);
        let (ax, ay) = (h.abs(), v.abs());
        // floor(|dx| tan 22.5): the fraction is never 0 unless dx is, so integer comparisons stay exact.
        let t = super::high(2 * ax as u16, TAN_22_5) as i16;
        let flat = mask(ay <= t);
        let steep = mask(ay > t + 2 * ax);
        let rising = (h ^ v) >> 15;
        // `first` must be exceeded and `second` reached; on a diagonal both must be exceeded.
        let first = select(flat, q0[x], select(steep, p1[x], select(rising, p2[x], p0[x])));
        let second = select(flat, q2[x], select(steep, n1[x], select(rising, n0[x], n2[x]) + 1));
        let keep = mask(m > low) & mask(m > first) & mask(m >= second);
        let class = select(mask(m > high), i16::from(EDGE), i16::from(WEAK));
        map[x] = (keep & class) as u8;
    }
}

/// All ones where `condition` holds. Masks keep the loop free of branches, which the vectoriser needs.
#[inline(always)]
fn mask(condition: bool) -> i16 {
    -i16::from(condition)
}

#[inline(always)]
fn select(mask: i16, yes: i16, no: i16) -> i16 {
    no ^ ((yes ^ no) & mask)
}

struct Emit<'a, 'b> {
    map: &'a [u8],
    width: usize,
    out: &'a mut PlaneMut<'b>,
}

impl Kernel for Emit<'_, '_> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let stride = self.width + 2;
        for (row, to) in self.map[stride..].chunks_exact(stride).zip(self.out.rows_mut()) {
            for (to, &class) in to.iter_mut().zip(&row[1..]) {
                *to = if class == EDGE { 255 } else { 0 };
            }
        }
    }
}
