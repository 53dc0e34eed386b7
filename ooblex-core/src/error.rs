//! Errors that cross component boundaries.

/// Any error, boxed: what sources, processors and sinks hand to the pipeline.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why an [`Image`](crate::Image) could not be made, read or converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A side is zero or larger than [`Image::MAX_SIDE`](crate::Image::MAX_SIDE).
    #[error("image size {width}x{height} is outside 1x1 to {max}x{max}", max = crate::Image::MAX_SIDE)]
    Size {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A row of a plane does not fit its stride.
    #[error("plane {plane} has a stride of {stride} bytes, a row needs {row_bytes}")]
    Stride {
        /// Plane index.
        plane: usize,
        /// Bytes between row starts.
        stride: usize,
        /// Visible bytes of a row.
        row_bytes: usize,
    },
    /// A plane reaches beyond its buffer.
    #[error("plane {plane} needs {needed} bytes, the buffer has {available}")]
    Length {
        /// Plane index.
        plane: usize,
        /// Bytes needed, offset included.
        needed: usize,
        /// Bytes there are.
        available: usize,
    },
    /// Another number of planes than the format has.
    #[error("{format:?} has {expected} planes, got {got}")]
    PlaneCount {
        /// The format.
        format: crate::PixelFormat,
        /// Planes the format has.
        expected: usize,
        /// Planes given or asked for.
        got: usize,
    },
    /// The pixels are in accelerator memory; call [`Image::to_host`](crate::Image::to_host) first.
    #[error("the pixels are in device memory; transfer them to the host first")]
    DeviceMemory,
    /// The accelerator could not hand its pixels over.
    #[error("transfer from the device failed: {0}")]
    Transfer(#[source] BoxError),
    /// The compressed picture could not be decoded.
    #[error("decoding the {codec} picture failed: {source}")]
    Decode {
        /// Codec name.
        codec: crate::ImageCodec,
        /// What the decoder said.
        #[source]
        source: BoxError,
    },
    /// The picture was moved elsewhere, for example to a worker that has died.
    #[error("the picture is no longer here")]
    Vacant,
    /// A reduction other than 1, 2, 4 or 8 was asked for.
    #[error("cannot reduce a picture by {0}; use 1, 2, 4 or 8")]
    Reduction(u8),
}
