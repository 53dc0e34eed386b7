//! From a picture's planes into a model's input: crop or fit, colour, normalisation and layout in one pass.

mod reference;

use ooblex_core::{BufferPool, Image, ImageError};

use crate::tensor::{DType, Tensor};

/// Order of the numbers in a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// Picture, component, row, column.
    Nchw,
    /// Picture, row, column, component.
    Nhwc,
}

/// Components of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Components {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// Luma alone.
    Luma,
}

impl Components {
    /// How many there are.
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Luma => 1,
        }
    }
}

/// How a picture is brought to a model's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fit {
    /// Each side by itself.
    Stretch,
    /// Whole and undistorted, in the middle, with black beside it.
    Letterbox,
}

/// What a model wants to see: `(v - mean) * scale` of each component v, 0 to 255 in full range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InputSpec {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Order of the numbers.
    pub layout: Layout,
    /// Components and their order.
    pub components: Components,
    /// Taken off, for each component in the order of `components`.
    pub mean: [f32; 3],
    /// Multiplied with, likewise.
    pub scale: [f32; 3],
    /// How the picture gets this size.
    pub fit: Fit,
}

impl InputSpec {
    /// RGB in 0 to 1, NCHW, stretched.
    pub const fn rgb01(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            layout: Layout::Nchw,
            components: Components::Rgb,
            mean: [0.0; 3],
            scale: [1.0 / 255.0; 3],
            fit: Fit::Stretch,
        }
    }

    /// The shape of a tensor for one picture.
    pub fn shape(&self) -> [usize; 4] {
        let c = self.components.count();
        match self.layout {
            Layout::Nchw => [1, c, self.height, self.width],
            Layout::Nhwc => [1, self.height, self.width, c],
        }
    }
}

/// A square part of a picture, turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Square {
    /// Its middle, in pixels of the picture; the middle of the first pixel is at 0.5.
    pub center: [f32; 2],
    /// Its side in pixels.
    pub side: f32,
    /// How far it is turned clockwise, in radians.
    pub angle: f32,
}

/// Where the pixels of a tensor lie in the picture: an affine map from tensor pixels (the middle of the first one at
/// 0.5) to shares of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Rows of the map: x = `m[0][0] * tx + m[0][1] * ty + m[0][2]`, y likewise.
    pub map: [[f32; 3]; 2],
}

impl Placement {
    /// Where a point of the tensor, in its pixels, lies in the picture; 0 to 1 where it is inside.
    pub fn point(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        self.map.map(|[a, b, c]| a * x + b * y + c)
    }

    /// Where a rectangle (left, top, width, height) that is not turned lies in the picture.
    pub fn rect(&self, [x, y, w, h]: [f32; 4]) -> [f32; 4] {
        let [left, top] = self.point([x, y]);
        let [right, bottom] = self.point([x + w, y + h]);
        [left, top, right - left, bottom - top]
    }
}

/// Fills model inputs from pictures; keeps its scratch memory from picture to picture.
#[derive(Debug)]
pub struct Preprocess {
    spec: InputSpec,
    pool: BufferPool,
}

impl Preprocess {
    /// For a model that wants this.
    pub fn new(spec: InputSpec) -> Self {
        Self { spec, pool: BufferPool::new(2) }
    }

    /// What the model wants.
    pub fn spec(&self) -> &InputSpec {
        &self.spec
    }

    /// Writes the whole picture into `tensor`, which gets the right shape; of type [`DType::I32`] it gets whole
    /// numbers. Where the picture is more than twice as large as the tensor, pixels are averaged; else bilinear.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub fn fill(&mut self, image: &Image, tensor: &mut Tensor) -> Result<Placement, ImageError> {
        self.shape(tensor);
        reference::fill(&self.spec, image, tensor, &self.pool)
    }

    /// Writes a square part of the picture; what lies outside the picture is black.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub fn fill_square(
        &mut self,
        image: &Image,
        square: &Square,
        tensor: &mut Tensor,
    ) -> Result<Placement, ImageError> {
        self.shape(tensor);
        reference::fill_square(&self.spec, image, square, tensor, &self.pool)
    }

    fn shape(&self, tensor: &mut Tensor) {
        let shape = self.spec.shape();
        if tensor.shape() != shape {
            let dtype = tensor.dtype();
            tensor.reshape(dtype, &shape);
        }
        debug_assert!(matches!(tensor.dtype(), DType::F32 | DType::I32));
    }
}
