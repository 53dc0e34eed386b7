//! From a picture's components at a tensor's size to the tensor.

use super::resample::Rows;
use super::source::Matrix;
use super::{InputSpec, Layout};

/// A number of a tensor.
pub(super) trait Number: Copy {
    /// The nearest one.
    fn of(v: f32) -> Self;
}

impl Number for f32 {
    #[inline(always)]
    fn of(v: f32) -> Self {
        v
    }
}

impl Number for i32 {
    /// Halves go to the even one; `v` is below 2^22.
    #[inline(always)]
    fn of(v: f32) -> Self {
        // Adding 1.5 * 2^23 leaves a whole number in the low bits, without a call or a branch.
        const SHIFT: f32 = 12_582_912.0;
        (v + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
    }
}

/// A tensor that is written row by row.
pub(super) struct Target<'a, T> {
    pub(super) data: &'a mut [T],
    pub(super) spec: &'a InputSpec,
    pub(super) matrix: Matrix,
    /// First column of the picture in the tensor.
    pub(super) left: usize,
    /// First row of the picture in the tensor.
    pub(super) top: usize,
}

impl<T: Number> Target<'_, T> {
    /// Writes black everywhere.
    pub(super) fn blacken(&mut self) {
        let spec = self.spec;
        let black: [T; 3] = std::array::from_fn(|c| T::of(-spec.mean[c] * spec.scale[c]));
        match (spec.layout, spec.components.count()) {
            (Layout::Nhwc, 3) => self.data.as_chunks_mut().0.fill(black),
            _ => {
                let planes = self.data.chunks_exact_mut((spec.width * spec.height).max(1));
                planes.zip(black).for_each(|(plane, v)| plane.fill(v));
            }
        }
    }
}

impl<T: Number> Rows for Target<'_, T> {
    #[inline(always)]
    fn row(&mut self, y: usize, components: [&[f32]; 3]) {
        let spec = self.spec;
        let (row, width) = ((self.top + y) * spec.width + self.left, components[0].len());
        for c in 0..spec.components.count() {
            let value = Value::new(self.matrix.rows[c], spec.mean[c], spec.scale[c]);
            match (spec.layout, spec.components.count()) {
                (Layout::Nhwc, 3) => {
                    let (to, _) = self.data[3 * row..3 * (row + width)].as_chunks_mut::<3>();
                    value.write(components, to.iter_mut().map(|pixel| &mut pixel[c]));
                }
                _ => {
                    let start = c * spec.width * spec.height + row;
                    value.write(components, self.data[start..start + width].iter_mut());
                }
            }
        }
    }
}

/// How one component of the tensor is made.
struct Value {
    row: [f32; 4],
    scale: f32,
    offset: f32,
}

impl Value {
    fn new(row: [f32; 4], mean: f32, scale: f32) -> Self {
        Self { row, scale, offset: -mean * scale }
    }

    #[inline(always)]
    fn write<'a, T: Number + 'a>(&self, [a, b, c]: [&[f32]; 3], to: impl Iterator<Item = &'a mut T>) {
        let [fa, fb, fc, constant] = self.row;
        for (((&a, &b), &c), to) in a.iter().zip(b).zip(c).zip(to) {
            let v = (fa * a + fb * b + fc * c + constant).clamp(0.0, 255.0);
            *to = T::of(v * self.scale + self.offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_the_nearest_ones() {
        for (v, expected) in
            [(0.0, 0), (0.4999, 0), (0.5001, 1), (254.6, 255), (-1.2, -1), (-127.6, -128), (1e6, 1_000_000)]
        {
            assert_eq!(i32::of(v), expected, "{v}");
        }
    }
}
