//! Why a picture is refused.

use ooblex_core::{BoxError, ImageCodec};

/// Why a picture is refused. Converts into a problem document (feature `http`).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// No bytes.
    #[error("the body is empty; send one JPEG, PNG or WebP picture")]
    Empty,
    /// More bytes than allowed.
    #[error("body is {bytes} bytes, limit {limit}")]
    TooLarge {
        /// Bytes that came or were announced.
        bytes: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// More pixels than allowed.
    #[error("picture is {width}x{height}, {} pixels, limit {limit}", u64::from(*width) * u64::from(*height))]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Pixels allowed.
        limit: u64,
    },
    /// Not one of the types that are understood.
    #[error("not a JPEG, PNG or WebP picture: it begins with {begins}")]
    UnknownType {
        /// The first bytes in hexadecimal.
        begins: String,
    },
    /// The file ends too early.
    #[error("{codec} is truncated: it ends at byte {offset}, {what}")]
    Truncated {
        /// The type.
        codec: ImageCodec,
        /// Length of what came.
        offset: usize,
        /// In the middle of what.
        what: String,
    },
    /// The file breaks the rules of its format.
    #[error("{codec} is corrupt at byte {offset}: {what}")]
    Corrupt {
        /// The type.
        codec: ImageCodec,
        /// Where.
        offset: usize,
        /// How.
        what: String,
    },
    /// A variant of the format that cannot be shown.
    #[error("{codec} variant is not supported: {what}")]
    Unsupported {
        /// The type.
        codec: ImageCodec,
        /// The variant.
        what: String,
    },
    /// It had to be decoded to be shown, and that failed.
    #[error("{codec} cannot be decoded: {source}")]
    Decode {
        /// The type.
        codec: ImageCodec,
        /// Why.
        source: BoxError,
    },
}

#[cfg(feature = "http")]
impl From<PictureError> for ooblex_http::Problem {
    fn from(error: PictureError) -> Self {
        use PictureError as E;
        let detail = error.to_string();
        match error {
            E::Empty => Self::new(400, "empty_body", detail).field("body"),
            E::TooLarge { bytes, limit } => {
                Self::new(413, "body_too_large", detail).field("body").value(bytes).limit(limit as u64)
            }
            E::TooManyPixels { width, height, limit } => Self::new(413, "too_many_pixels", detail)
                .field("pixels")
                .value(u64::from(width) * u64::from(height))
                .limit(limit),
            E::UnknownType { .. } => Self::new(415, "unsupported_type", detail).field("body"),
            E::Truncated { offset, .. } => {
                Self::new(422, "truncated", detail).field("body").value(offset as u64)
            }
            E::Corrupt { offset, .. } => Self::new(422, "corrupt", detail).field("body").value(offset as u64),
            E::Unsupported { .. } => Self::new(422, "unsupported_variant", detail).field("body"),
            E::Decode { .. } => Self::new(422, "corrupt", detail).field("body"),
        }
    }
}
