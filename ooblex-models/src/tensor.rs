//! What goes into a model and what comes out of it.

use std::fmt;

/// Type of the numbers in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit IEEE 754.
    F32,
    /// 32-bit signed integers.
    I32,
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
        })
    }
}

/// Numbers in row order (the last dimension is contiguous) in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone, Debug, PartialEq)]
enum Data {
    F32(Vec<f32>),
    I32(Vec<i32>),
}

/// Numbers of a tensor whose type is not known beforehand.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Numbers<'a> {
    /// 32-bit IEEE 754.
    F32(&'a [f32]),
    /// 32-bit signed integers.
    I32(&'a [i32]),
}

/// Whether there is neither an infinity nor a not-a-number among them.
pub(crate) fn all_finite(numbers: &[f32]) -> bool {
    // Without a way out of the inner loop it runs on many numbers at once.
    numbers.chunks(512).all(|chunk| chunk.iter().fold(true, |finite, v| finite & v.is_finite()))
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Self {
        let len = shape.iter().product();
        let data = match dtype {
            DType::F32 => Data::F32(vec![0.0; len]),
            DType::I32 => Data::I32(vec![0; len]),
        };
        Self { shape: shape.to_vec(), data }
    }

    /// A tensor around `data`; `None` unless its length is the product of the dimensions.
    pub fn from_f32(shape: &[usize], data: Vec<f32>) -> Option<Self> {
        (shape.iter().product::<usize>() == data.len())
            .then(|| Self { shape: shape.to_vec(), data: Data::F32(data) })
    }

    /// A tensor around `data`; `None` unless its length is the product of the dimensions.
    pub fn from_i32(shape: &[usize], data: Vec<i32>) -> Option<Self> {
        (shape.iter().product::<usize>() == data.len())
            .then(|| Self { shape: shape.to_vec(), data: Data::I32(data) })
    }

    /// Dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Type of the numbers.
    pub fn dtype(&self) -> DType {
        match self.data {
            Data::F32(_) => DType::F32,
            Data::I32(_) => DType::I32,
        }
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::F32(data) => data.len(),
            Data::I32(data) => data.len(),
        }
    }

    /// Whether there are none: a dimension is 0.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers.
    pub fn numbers(&self) -> Numbers<'_> {
        match &self.data {
            Data::F32(data) => Numbers::F32(data),
            Data::I32(data) => Numbers::I32(data),
        }
    }

    /// The numbers, if they are [`DType::F32`]; else nothing.
    pub fn f32(&self) -> &[f32] {
        match &self.data {
            Data::F32(data) => data,
            Data::I32(_) => &[],
        }
    }

    /// The numbers for writing, if they are [`DType::F32`]; else nothing.
    pub fn f32_mut(&mut self) -> &mut [f32] {
        match &mut self.data {
            Data::F32(data) => data,
            Data::I32(_) => &mut [],
        }
    }

    /// The numbers, if they are [`DType::I32`]; else nothing.
    pub fn i32(&self) -> &[i32] {
        match &self.data {
            Data::I32(data) => data,
            Data::F32(_) => &[],
        }
    }

    /// The numbers for writing, if they are [`DType::I32`]; else nothing.
    pub fn i32_mut(&mut self) -> &mut [i32] {
        match &mut self.data {
            Data::I32(data) => data,
            Data::F32(_) => &mut [],
        }
    }

    /// Changes type and dimensions; the numbers are unspecified afterwards. Allocates only to grow.
    pub fn reshape(&mut self, dtype: DType, shape: &[usize]) {
        if self.dtype() != dtype {
            *self = Self::zeros(dtype, shape);
            return;
        }
        let len = shape.iter().product();
        match &mut self.data {
            Data::F32(data) => data.resize(len, 0.0),
            Data::I32(data) => data.resize(len, 0),
        }
        self.shape.clear();
        self.shape.extend_from_slice(shape);
    }
}

impl Default for Tensor {
    /// No numbers, one dimension.
    fn default() -> Self {
        Self::zeros(DType::F32, &[0])
    }
}

/// What a model says about one of its inputs or outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TensorSpec {
    /// Name in the model.
    pub name: String,
    /// Type of the numbers.
    pub dtype: DType,
    /// Dimensions, outermost first; `None` where any size goes.
    pub shape: Vec<Option<usize>>,
}

impl TensorSpec {
    /// A description.
    pub fn new(name: impl Into<String>, dtype: DType, shape: Vec<Option<usize>>) -> Self {
        Self { name: name.into(), dtype, shape }
    }

    /// Whether a tensor of `dtype` and `shape` fits.
    pub fn fits(&self, dtype: DType, shape: &[usize]) -> bool {
        let same = |(own, given): (&Option<usize>, &usize)| own.is_none_or(|own| own == *given);
        dtype == self.dtype && shape.len() == self.shape.len() && self.shape.iter().zip(shape).all(same)
    }
}

impl fmt::Display for TensorSpec {
    /// `image f32 [1,3,?,?]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} [", self.name, self.dtype)?;
        for (index, side) in self.shape.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match side {
                Some(side) => write!(f, "{comma}{side}")?,
                None => write!(f, "{comma}?")?,
            }
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_compared_with_room_for_any() {
        let spec = TensorSpec::new("image", DType::F32, vec![None, Some(3), None]);
        assert!(spec.fits(DType::F32, &[7, 3, 9]));
        assert!(!spec.fits(DType::F32, &[7, 4, 9]));
        assert!(!spec.fits(DType::F32, &[7, 3]));
        assert!(!spec.fits(DType::I32, &[7, 3, 9]));
        assert_eq!(spec.to_string(), "image f32 [?,3,?]");
    }

    #[test]
    fn one_number_that_is_not_finite_is_found_anywhere() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 1, 511, 512, 1000] {
                let mut numbers = vec![f32::MAX; 1001];
                assert!(all_finite(&numbers));
                numbers[at] = bad;
                assert!(!all_finite(&numbers), "{bad} at {at}");
            }
        }
        assert!(all_finite(&[]));
    }

    #[test]
    fn a_tensor_has_as_many_numbers_as_its_shape_says() {
        assert!(Tensor::from_f32(&[2, 3], vec![0.0; 5]).is_none());
        let mut tensor = Tensor::from_f32(&[2, 3], vec![1.0; 6]).expect("fits");
        tensor.reshape(DType::F32, &[4, 1]);
        assert_eq!((tensor.shape(), tensor.len()), (&[4, 1][..], 4));
        tensor.reshape(DType::I32, &[2]);
        assert_eq!((tensor.i32(), tensor.f32()), (&[0, 0][..], &[][..]));
    }
}
