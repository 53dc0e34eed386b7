//! From a picture's planes into a model's input: crop or fit, colour, normalisation and layout in one pass.
//!
//! Each plane is resized to the tensor's size as it is, chroma from its half resolution; colour and normalisation follow
//! at the tensor's size, row by row. No picture in RGB is made at any size, and nothing is allocated once sizes repeat.

mod axis;
mod picture;
#[cfg(test)]
mod reference;
mod resample;
mod source;
mod square;
mod target;

use ooblex_core::{Image, ImageError};

use self::axis::Span;
pub use self::picture::analysis_image;
use self::resample::{Job, Resampler};
use self::source::Matrix;
pub use self::square::Square;
use self::square::Turned;
use self::target::{Number, Target};
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
    /// Luma alone, with the weights of BT.601.
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
    resampler: Resampler,
    turned: Turned,
}

impl Preprocess {
    /// For a model that wants this.
    pub fn new(spec: InputSpec) -> Self {
        Self { spec, resampler: Resampler::default(), turned: Turned::default() }
    }

    /// What the model wants.
    pub fn spec(&self) -> &InputSpec {
        &self.spec
    }

    /// Changes the tensor's size, for models that take any.
    pub fn set_size(&mut self, width: usize, height: usize) {
        (self.spec.width, self.spec.height) = (width, height);
    }

    /// Writes the whole picture into `tensor`, which gets the right shape; of type [`DType::I32`] it gets whole
    /// numbers. A side that becomes more than twice as small is averaged, else interpolated.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub fn fill(&mut self, image: &Image, tensor: &mut Tensor) -> Result<Placement, ImageError> {
        self.fill_rect(image, [0.0, 0.0, image.width() as f32, image.height() as f32], tensor)
    }

    /// Writes a part of the picture, given in its pixels as left, top, width and height. What lies outside the picture
    /// is cut off first; at least a pixel is left.
    ///
    /// # Errors
    /// [`ImageError::DeviceMemory`].
    pub fn fill_rect(
        &mut self,
        image: &Image,
        rect: [f32; 4],
        tensor: &mut Tensor,
    ) -> Result<Placement, ImageError> {
        let ([left, width], [top, height]) =
            (part(rect[0], rect[2], image.width()), part(rect[1], rect[3], image.height()));
        let place = Place::new(&self.spec, width, height);
        let across = Span { start: left, step: width / place.width as f64 };
        let down = Span { start: top, step: height / place.height as f64 };
        let matrix = Matrix::new(image, self.spec.components);
        let job = Job { across, down, width: place.width, height: place.height, channels: matrix.channels };
        self.shape(tensor);
        match tensor.dtype() {
            DType::F32 => self.resample(image, job, matrix, place, tensor.f32_mut())?,
            DType::I32 => self.resample(image, job, matrix, place, tensor.i32_mut())?,
        }
        let row = |span: Span, offset: usize, side: u32| {
            let [step, start] =
                [span.step, span.start - offset as f64 * span.step].map(|v| v / f64::from(side));
            (step as f32, start as f32)
        };
        let (x, left) = row(across, place.left, image.width());
        let (y, top) = row(down, place.top, image.height());
        Ok(Placement { map: [[x, 0.0, left], [0.0, y, top]] })
    }

    /// Writes a square part of the picture; what lies outside the picture is black. A square that is not finite, or
    /// has no size, is all black.
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
        let place = square.placement(image, self.spec.width, self.spec.height);
        let matrix = Matrix::new(image, self.spec.components);
        let Self { spec, resampler, turned } = self;
        let (left, top) = (0, 0);
        match tensor.dtype() {
            DType::F32 => {
                let data = tensor.f32_mut();
                turned.run(image, square, resampler, Target { data, spec, matrix, left, top })?;
            }
            DType::I32 => {
                let data = tensor.i32_mut();
                turned.run(image, square, resampler, Target { data, spec, matrix, left, top })?;
            }
        }
        Ok(place)
    }

    fn resample<T: Number>(
        &mut self,
        image: &Image,
        job: Job,
        matrix: Matrix,
        Place { left, top, .. }: Place,
        data: &mut [T],
    ) -> Result<(), ImageError> {
        let mut target = Target { data, spec: &self.spec, matrix, left, top };
        if (job.width, job.height) != (self.spec.width, self.spec.height) {
            target.blacken();
        }
        self.resampler.run(image, job, target)
    }

    fn shape(&self, tensor: &mut Tensor) {
        let shape = self.spec.shape();
        if tensor.shape() != shape {
            tensor.reshape(tensor.dtype(), &shape);
        }
    }
}

/// Where a picture lies in a tensor, in its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Place {
    fn new(spec: &InputSpec, width: f64, height: f64) -> Self {
        let (all_width, all_height) = (spec.width, spec.height);
        match spec.fit {
            Fit::Stretch => Self { left: 0, top: 0, width: all_width, height: all_height },
            Fit::Letterbox => {
                let scale = (all_width as f64 / width).min(all_height as f64 / height);
                let side = |side: f64, all: usize| ((side * scale).round() as usize).clamp(1, all.max(1));
                let (width, height) = (side(width, all_width), side(height, all_height));
                let (left, top) = ((all_width - width) / 2, (all_height - height) / 2);
                Self { left, top, width, height }
            }
        }
    }
}

/// A stretch of a side of `size` pixels, cut to what there is; at least a pixel. Returns its start and its length.
fn part(start: f32, length: f32, size: u32) -> [f64; 2] {
    let (start, length, size) = (f64::from(start), f64::from(length), f64::from(size));
    let begin = if start.is_finite() { start.clamp(0.0, size - 1.0) } else { 0.0 };
    let end = start + length;
    let end = if end.is_finite() { end.clamp(begin + 1.0, size) } else { size };
    [begin, end - begin]
}

#[cfg(test)]
mod tests;
